// The parts of the server that know no sockets: targets, routes, base64, streams, requests out of bytes.
#include <gtest/gtest.h>

#include "net/base64.h"
#include "net/page.h"
#include "net/request_reader.h"
#include "net/router.h"
#include "net/sse.h"
#include "net/target.h"

namespace onsight::net {
namespace {

TEST(Target, PathAndQueryAreDecoded) {
  const auto target = parse_target("/v1/models/a%20b+c?key=x%26y&flag&two=a+b");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/v1/models/a b+c");
  const std::vector<std::pair<std::string, std::string>> query = {{"key", "x&y"}, {"flag", ""}, {"two", "a b"}};
  EXPECT_EQ(target->query, query);
  EXPECT_EQ(parse_target("http://host:80/a?b=c")->path, "/a");
  EXPECT_EQ(parse_target("http://host")->path, "/");
  EXPECT_EQ(parse_target("/v1/")->path, "/v1/");
  EXPECT_EQ(parse_target("*")->path, "*");
}

TEST(Page, ItsScriptsAndNoOthers) {
  const std::string policy = content_security_policy("<script>alert(1)</script><p><script type=module>2</script>");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  // echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64
  EXPECT_NE(policy.find("script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=' 'sha256-"),
            std::string::npos);
  EXPECT_EQ(policy.find("script-src 'unsafe-inline'"), std::string::npos);
  const Page page("<html>");
  const HttpResponse first = page.respond({});
  EXPECT_EQ(first.body, "<html>");
  HttpRequest again;
  again.headers.add("If-None-Match", std::string(first.headers.get("ETag")));
  EXPECT_EQ(page.respond(again).status, 304);
}

TEST(Target, WhatLeadsElsewhereIsRefused) {
  for (const char* bad : {"",      "v1",      "/../etc/passwd",  "/a/../b",     "/%2e%2e/b", "/a/%2E./b",
                          "/.",    "/a//b",   "//evil.example/", "/a%2f..%2fb", "/..%2fb",   "/a%2F.",
                          "/a%2f", "/%2fb",   "/a%2f%2fb",       "/a%252fb",    "/a%2%46b",  "/a%5cb",
                          "/a\\b", "/a%00b",  "/a%0d%0ab",       "/a%",         "/a%4",      "/a%zz",
                          "/%ff",  "/%c0%ae", "/%ed%a0%80",      "/?a=%0a",     "/?a=%ff",   "/\x7f"})
    EXPECT_FALSE(parse_target(bad)) << bad;
}

TEST(Target, EncodedSlashesAreOfTheirSegment) {
  EXPECT_EQ(parse_target("/v1/models/a%2fb%20c%2Fd")->path, "/v1/models/a%2Fb c%2Fd");
}

TEST(Target, OfWhatIsRefusedTheStartIsRead) {
  for (const auto& [target, path] :
       {std::pair("/v1/../x", "/v1/"), std::pair("/v1beta/models/%zz?a=b", "/v1beta/models/"),
        std::pair("/a?b=%ff", "/a"), std::pair("/../x", "/"), std::pair("/a/b%2f../c", "/a/"), std::pair("x", "")}) {
    Target out;
    EXPECT_FALSE(read_target(target, out)) << target;
    EXPECT_EQ(out.path, path);
  }
}

TEST(Router, PatternsNameSegments) {
  Router<int> router;
  router.add("GET", "/v1/models", 1);
  router.add("GET", "/v1/models/{model}", 2);
  router.add("POST", "/v1beta/models/{model}:generateContent", 3);
  router.add("POST", "/v1beta/models/{model}:streamGenerateContent", 4);
  router.add("GET", "/v1beta/models/{model}", 5);
  router.add("GET", "/{a}-{b}/end", 6);
  EXPECT_EQ(*router.find("GET", "/v1/models").target, 1);
  const auto found = router.find("GET", "/v1/models/nano");
  EXPECT_EQ(*found.target, 2);
  EXPECT_EQ(found.names.at("model"), "nano");
  EXPECT_EQ(*router.find("HEAD", "/v1/models/nano").target, 2);
  const auto content = router.find("POST", "/v1beta/models/my:nano:generateContent");
  EXPECT_EQ(*content.target, 3);
  EXPECT_EQ(content.names.at("model"), "my:nano");
  EXPECT_EQ(*router.find("POST", "/v1beta/models/nano:streamGenerateContent").target, 4);
  EXPECT_EQ(*router.find("GET", "/x-y/end").target, 6);
  for (const char* path : {"/v1/models/", "/v1/models/a/b", "/v1/model", "/", "", "/-y/end"})
    EXPECT_FALSE(router.find("GET", path).target) << path;
  EXPECT_FALSE(router.find("POST", "/v1beta/models/:generateContent").target);
  const auto wrong = router.find("PUT", "/v1beta/models/nano:generateContent");
  EXPECT_FALSE(wrong.target);
  EXPECT_EQ(wrong.allowed, (std::vector<std::string>{"POST", "GET"}));
}

TEST(Router, NamesMaySpanSegments) {
  Router<int> router;
  router.add("POST", "/models/{+model}:generateContent", 1);
  router.add("POST", "/models/{+model}:{method}", 2);
  router.add("GET", "/models/{+model}", 3);
  router.add("GET", "/files/{name}", 4);
  const auto model = [&](const char* method, const char* path) { return router.find(method, path).names["model"]; };
  EXPECT_EQ(model("GET", "/models/nano"), "nano");
  EXPECT_EQ(model("GET", "/models/a/b"), "a/b");
  EXPECT_EQ(model("GET", "/models/a%2Fb%2Fc"), "a/b/c");
  EXPECT_EQ(model("POST", "/models/a/b:c:generateContent"), "a/b:c");
  const auto other = router.find("POST", "/models/a/b:embed");
  EXPECT_EQ(*other.target, 2);
  EXPECT_EQ(other.names.at("model"), "a/b");
  EXPECT_EQ(other.names.at("method"), "embed");
  EXPECT_EQ(router.find("GET", "/files/a%2Fb").names.at("name"), "a%2Fb");
  for (const char* path : {"/models/", "/models", "/files/a/b"}) EXPECT_FALSE(router.find("GET", path).target) << path;
}

TEST(Base64, ThereAndBack) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(base64_decode(base64_encode(bytes), "here").value(), bytes);
    bytes += static_cast<char>(i * 37);
  }
  EXPECT_EQ(base64_encode("light work."), "bGlnaHQgd29yay4=");
  EXPECT_EQ(base64_decode("bGln\nHR3\r\nb3Jr", "here").value().size(), 8u);
  EXPECT_EQ(base64_decode("_-8", "here").value(), base64_decode("/+8=", "here").value());
}

TEST(Base64, WhatIsNoneIsRefused) {
  for (const char* bad : {"a", "abcde", "ab=c", "ab===", "a=", "ab!c", "\xc3\xa9"}) {
    const auto decoded = base64_decode(bad, "messages[0]");
    ASSERT_FALSE(decoded) << bad;
    EXPECT_EQ(decoded.error().message.substr(0, 11), "messages[0]");
  }
}

TEST(DataUrl, TypeAndBytes) {
  const auto url = parse_data_url("data:image/png;name=x;base64,aGk=", "here");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->type, "image/png");
  EXPECT_EQ(url->bytes, "hi");
  EXPECT_EQ(parse_data_url("DATA:;BASE64,aGk=", "here")->bytes, "hi");
  for (const char* bad :
       {"", "http://a/", "data:", "data:image/png;base64", "data:text/plain,hi", "data:image/png;base64,!"})
    EXPECT_FALSE(parse_data_url(bad, "here")) << bad;
}

TEST(Sse, LinesOfData) {
  EXPECT_EQ(sse_event("{}"), "data: {}\n\n");
  EXPECT_EQ(sse_event("a\nb", "done"), "event: done\ndata: a\ndata: b\n\n");
  EXPECT_EQ(sse_event(""), "data: \n\n");
}

TEST(Http, FieldsCannotBreakOut) {
  const std::string head = head_of(200, {{"X", "a\r\nSet-Cookie: b"}});
  EXPECT_EQ(head, "HTTP/1.1 200 OK\r\nX: a  Set-Cookie: b\r\n\r\n");
}

// Feeds `bytes` as connections do, so many at once, and keeps what was not used.
RequestReader feed(std::string_view bytes, size_t at_once, const ReaderLimits& limits = {}) {
  RequestReader reader(limits);
  std::string held;
  using State = RequestReader::State;
  for (size_t i = 0; i < bytes.size(); i += at_once) {
    held += bytes.substr(i, at_once);
    for (;;) {
      const auto before = reader.state();
      held.erase(0, reader.feed(held));
      if (reader.state() == State::kDone || reader.state() == State::kFailed) return reader;
      if (reader.state() == before) break;
    }
  }
  return reader;
}

TEST(RequestReader, BodiesOfAllKinds) {
  for (const size_t at_once : {1, 2, 3, 7, 1000}) {
    auto reader = feed("POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET", at_once);
    ASSERT_EQ(reader.state(), RequestReader::State::kDone);
    HttpRequest request = reader.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/a");
    EXPECT_EQ(request.query_value("b"), "c");
    EXPECT_EQ(request.headers.get("hOST"), "x");
    EXPECT_EQ(request.body, "hello");
    EXPECT_TRUE(request.keep_alive);
    auto chunked =
        feed("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
             at_once);
    ASSERT_EQ(chunked.state(), RequestReader::State::kDone);
    EXPECT_EQ(chunked.take().body, "abcde");
    for (const char* end : {"0\r\n\r\n", "00\r\n\r\n", "0\r\nX: y\r\n\r\n", "1\r\n0\r\n0\r\n\r\n"}) {
      auto last = feed("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(end), at_once);
      ASSERT_EQ(last.state(), RequestReader::State::kDone) << end;
      EXPECT_EQ(last.take().body, *end == '1' ? "0" : "") << end;
    }
    auto old = feed("GET / HTTP/1.0\r\n\r\n", at_once);
    ASSERT_EQ(old.state(), RequestReader::State::kDone);
    EXPECT_FALSE(old.take().keep_alive);
  }
}

TEST(RequestReader, RefusalsHaveTheirStatus) {
  const ReaderLimits limits{.header_bytes = 200, .target_bytes = 50, .body_bytes = 10};
  const std::string many = [] {
    std::string fields;
    for (int i = 0; i < 20; ++i) fields += "X-Field: 0123456789\r\n";
    return fields;
  }();
  const std::pair<std::string, int> cases[] = {
      {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(300, 'a'), 431},
      {"GET / HTTP/1.1\r\nHost: x\r\n" + many + "\r\n", 431},
      {"GET /" + std::string(60, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
      {"GET /" + std::string(300, 'a'), 414},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n", 413},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(300, 'a'), 431},
      {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"GET /../x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"hello\r\n\r\n", 400},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n\r\n", 415},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", 417},
  };
  for (const auto& [bytes, status] : cases) {
    for (const size_t at_once : {1, 1000}) {
      const auto reader = feed(bytes, at_once, limits);
      ASSERT_EQ(reader.state(), RequestReader::State::kFailed) << bytes;
      EXPECT_EQ(reader.status(), status) << bytes << reader.message();
    }
  }
}

TEST(RequestReader, WhatIsRefusedHasItsPath) {
  const ReaderLimits limits{.header_bytes = 200, .target_bytes = 50, .body_bytes = 10};
  for (const char* rest : {"Content-Length: 11\r\n\r\n", "Content-Encoding: gzip\r\n\r\n", "Expect: miracles\r\n\r\n",
                           "Transfer-Encoding: gzip\r\n\r\n", "Host: y\r\n\r\n", "No field\r\n\r\n",
                           "Transfer-Encoding: chunked\r\n\r\nb\r\n"}) {
    for (const size_t at_once : {1, 1000}) {
      const auto reader =
          feed("POST /a/%62?c=d HTTP/1.1\r\nHost: x\r\nX-Key: k\r\n" + std::string(rest), at_once, limits);
      ASSERT_EQ(reader.state(), RequestReader::State::kFailed) << rest;
      EXPECT_EQ(reader.head().method, "POST") << rest;
      EXPECT_EQ(reader.head().path, "/a/b") << rest;
      if (rest != std::string_view("No field\r\n\r\n")) {
        EXPECT_EQ(reader.head().headers.get("x-key"), "k") << rest;
      }
    }
  }
  const auto large = feed("GET /a HTTP/1.1\r\nX: " + std::string(300, 'a'), 7, limits);
  EXPECT_EQ(large.status(), 431);
  EXPECT_EQ(large.head().path, "/a");
  EXPECT_EQ(feed("GET /a HTTP/2.0\r\nHost: x\r\n\r\n", 1000).head().path, "/a");
  for (const auto& [bytes, path] : {std::pair("GET /a HTTP/1.1\r\nHost: ", "/a"), std::pair("GET /a HTTP/1", ""),
                                    std::pair("hello\r\n", ""), std::pair("\r\n", ""), std::pair("", "")}) {
    auto reader = feed(bytes, 1000);
    reader.give_up(bytes);
    EXPECT_EQ(reader.head().path, path) << bytes;
  }
}

}  // namespace
}  // namespace onsight::net
