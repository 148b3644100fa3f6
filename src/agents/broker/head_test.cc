#include "agents/broker/head.h"

#include <gtest/gtest.h>

namespace onsight::agents::broker {
namespace {

const std::string kGet = "GET /a HTTP/1.1\r\nHost: h\r\n";

TEST(BrokerHead, OfARequest) {
  const std::string text =
      "POST http://h/a?b=c HTTP/1.1\r\nHost: h\r\nX-Y:  two words \t\r\nContent-Length: 12\r\nConnection: x-y, "
      "close\r\n\r\n";
  ASSERT_EQ(head_end(text + "rest"), text.size());
  const auto head = parse_request_head(text);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->method, "POST");
  EXPECT_EQ(head->target, "http://h/a?b=c");
  EXPECT_EQ(head->headers.get("x-y"), "two words");
  EXPECT_EQ(head->length, 12u);
  EXPECT_EQ(head->body, BodyKind::kLength);
  EXPECT_FALSE(head->keep_alive);
  EXPECT_TRUE(is_hop_by_hop("X-Y", head->headers));
  EXPECT_TRUE(is_hop_by_hop("upgrade", head->headers));
  EXPECT_FALSE(is_hop_by_hop("Host", head->headers));
}

// What two programs could read in two ways.
TEST(BrokerHead, SmuggledRequestsAreRefused) {
  for (const std::string& bad : {
           kGet + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
           kGet + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
           kGet + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
           kGet + "Content-Length: 3\r\ncontent-length: 4\r\n\r\n",
           kGet + "Content-Length: +3\r\n\r\n",
           kGet + "Content-Length: 3, 3\r\n\r\n",
           kGet + "Content-Length: 0x3\r\n\r\n",
           kGet + "Content-Length: \r\n\r\n",
           kGet + "Content-Length: 99999999999999999999\r\n\r\n",
           kGet + "Transfer-Encoding: gzip, chunked\r\n\r\n",
           kGet + "Transfer-Encoding: identity\r\n\r\n",
           kGet + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
           kGet + "Transfer-Encoding: \"chunked\"\r\n\r\n",
           kGet + "Transfer-Encoding:\vchunked\r\n\r\n",
           kGet + "Transfer-Encoding : chunked\r\n\r\n",
           kGet + "X: a\r\n b\r\n\r\n",
           kGet + " X: a\r\n\r\n",
           kGet + "X: a\nY: b\r\n\r\n",
           kGet + "X: a\rY: b\r\n\r\n",
           kGet + std::string("X: a\0b\r\n\r\n", 10),
           kGet + "X\r\n\r\n",
           kGet + ": x\r\n\r\n",
           kGet + "X y: z\r\n\r\n",
           kGet + "Host: other\r\n\r\n",
           kGet + "Expect: 200-ok\r\n\r\n",
           std::string("GET /a HTTP/1.1\r\n\r\n"),
           std::string("GET /a HTTP/1.0\r\nHost: h\r\n\r\n"),
           std::string("GET /a HTTP/2\r\nHost: h\r\n\r\n"),
           std::string("GET  /a HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET\t/a HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("get /a HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET /a\r\nHost: h\r\n\r\n"),
           std::string("\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
       }) {
    const auto head = parse_request_head(bad);
    EXPECT_FALSE(head) << bad;
    EXPECT_EQ(head ? "" : head.error().reason, "bad_request") << bad;
  }
  std::string many = kGet;
  for (int i = 0; i < 200; ++i) many += "X: y\r\n";
  EXPECT_EQ(parse_request_head(many + "\r\n").error().reason, "too_large");
}

// In one piece, and byte by byte, the same.
Result<std::string> read_chunked(std::string_view text, size_t at_once, size_t* left = nullptr) {
  BodyReader reader(BodyKind::kChunked, 0);
  std::string held, out;
  size_t taken = 0;
  while (!reader.done()) {
    if (taken == text.size()) return bad_input("not whole");
    held += text.substr(taken, at_once);
    taken = std::min(text.size(), taken + at_once);
    TRY(const size_t used, reader.feed(held, out));
    held.erase(0, used);
  }
  if (left) *left = held.size() + text.size() - taken;
  return out;
}

TEST(BrokerBody, Chunks) {
  const std::string text = "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET";
  for (size_t at_once = 1; at_once <= text.size(); ++at_once) {
    size_t left = 0;
    const auto body = read_chunked(text, at_once, &left);
    ASSERT_TRUE(body) << at_once;
    EXPECT_EQ(*body, "abc0123456789");
    EXPECT_EQ(left, 3u);
  }
  for (const char* bad : {"g\r\n", "\r\n", "3;x=y\r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n", "3 \r\nabc\r\n",
                          "-3\r\n", "0x3\r\n", "123456789\r\n", "3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
                          "3\r\nabc\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "3\r\nabc\r\n0\r\n\n"})
    for (const size_t at_once : {size_t{1}, size_t{2}, size_t{100}}) {
      const auto body = read_chunked(bad, at_once);
      ASSERT_FALSE(body) << bad;
      EXPECT_EQ(body.error().reason, "bad_request") << bad;
    }
}

TEST(BrokerBody, LengthsAndEnds) {
  BodyReader sized(BodyKind::kLength, 3);
  std::string out;
  EXPECT_EQ(sized.feed("abcdef", out).value(), 3u);
  EXPECT_TRUE(sized.done());
  EXPECT_EQ(out, "abc");
  BodyReader cut(BodyKind::kLength, 3);
  EXPECT_EQ(cut.feed("ab", out).value(), 2u);
  EXPECT_FALSE(cut.end());
  BodyReader open(BodyKind::kUntilEnd, 0);
  EXPECT_EQ(open.feed("ab", out).value(), 2u);
  EXPECT_FALSE(open.done());
  EXPECT_TRUE(open.end());
  EXPECT_TRUE(open.done());
}

TEST(BrokerHead, OfAnAnswer) {
  const auto head = parse_response_head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->body, BodyKind::kLength);
  EXPECT_EQ(parse_response_head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true)->body, BodyKind::kNone);
  EXPECT_EQ(parse_response_head("HTTP/1.1 204 None\r\n\r\n", false)->body, BodyKind::kNone);
  EXPECT_EQ(parse_response_head("HTTP/1.0 200\r\n\r\n", false)->body, BodyKind::kUntilEnd);
  EXPECT_EQ(parse_response_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false)->body,
            BodyKind::kChunked);
  for (const char* bad : {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1 999 x\r\n\r\n",
                          "ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"})
    EXPECT_FALSE(parse_response_head(bad, false)) << bad;
}

}  // namespace
}  // namespace onsight::agents::broker
