// The escapes that go through the broker's socket (issue 7: 3, 4, 6, 7, 10, 11), each as a hostile agent would try it,
// with the reason that is logged.
#include <gtest/gtest.h>

#include "agents/broker/broker_fixture_for_test.h"
#include "agents/broker/conversation.h"

namespace onsight::agents::broker {
namespace {

const std::string kHostileMessage = R"({"model":"claude-x","max_tokens":100,"messages":[]})";

class Escape : public BrokerTest {
 protected:
  // Nothing reached this host; the refusal has that reason, and is an event.
  void expect_refused(const std::string& request, const std::string& reason) {
    const size_t events = store_.all("egress.refused").size();
    const int before = trap_.connections();
    const auto reply = ask(request);
    EXPECT_GE(reply.status, 400) << request;
    EXPECT_EQ(reply.reason(), reason) << request;
    EXPECT_EQ(refused(), reason) << request;
    EXPECT_EQ(store_.all("egress.refused").size(), events + 1) << request;
    EXPECT_EQ(trap_.connections(), before) << request;
    EXPECT_EQ(store_.everything().find(kRealKey), std::string::npos);
    EXPECT_EQ(reply.body.find(kRealKey), std::string::npos);
  }
  std::string trap_port() const { return std::to_string(trap_.port()); }
  // A service of the host's own, which no agent may reach.
  ScriptedHost trap_{ScriptedHost::answer("secret of the host")};
};

// 3: the host's loopback, the metadata address, the LAN, names that lead there.
TEST_F(Escape, ToPrivateAddresses) {
  // The widest rules that can be written.
  for (const char* host_pattern : {"**", "*"}) allow("", host_pattern, "/**", trap_.port());
  for (const char* host_pattern : {"**", "*"}) allow("", host_pattern, "/**");
  allow("CONNECT", "**", "", trap_.port());
  allow("CONNECT", "**", "");
  start();
  const std::string port = ":" + trap_port();
  for (const std::string& to :
       {"127.0.0.1" + port, "127.1.2.3" + port, "0.0.0.0" + port, "[::1]" + port, "[::ffff:127.0.0.1]" + port,
        "[::]" + port, std::string("169.254.169.254"), std::string("10.0.0.1"), std::string("192.168.1.1"),
        std::string("172.17.0.1"), std::string("100.100.100.200"), std::string("[fd00:ec2::254]"),
        std::string("[fe80::1]")}) {
    expect_refused(get("http://" + to + "/latest/meta-data/", to), "not_allowed");
    expect_refused(
        "CONNECT " + to +
            (to.find("]:") != std::string::npos || (to[0] != '[' && to.find(':') != std::string::npos) ? "" : ":443") +
            " HTTP/1.1\r\nHost: " + to +
            (to.find("]:") != std::string::npos || (to[0] != '[' && to.find(':') != std::string::npos) ? "" : ":443") +
            "\r\n\r\n",
        "not_allowed");
  }
  // Other ways to write them.
  for (const std::string& to : {"2130706433" + port, "0x7f.1" + port, "127.1" + port, "0177.0.0.1" + port,
                                std::string("0xa9fea9fe"), std::string("169.254.43518")})
    expect_refused(get("http://" + to + "/", to), "bad_request");
  // Names with private addresses.
  for (const auto& [name, address] :
       {std::pair("local.test", "127.0.0.1"), std::pair("meta.test", "169.254.169.254"),
        std::pair("lan.test", "192.168.0.10"), std::pair("six.test", "::1"),
        std::pair("mapped.test", "::ffff:10.0.0.1"), std::pair("nat64.test", "64:ff9b::a00:1"),
        std::pair("cgnat.test", "100.64.0.1")}) {
    host(name, address);
    expect_refused(get("http://" + std::string(name) + port + "/", name + port), "private_address");
    expect_refused("CONNECT " + std::string(name) + ":443 HTTP/1.1\r\nHost: " + name + ":443\r\n\r\n",
                   "private_address");
  }
  // One good address among private ones makes none of them good.
  host("mixed.test", "93.184.216.34", trap_.port());
  host("mixed.test", "127.0.0.1");
  expect_refused(get("http://mixed.test" + port + "/", "mixed.test" + port), "private_address");
  expect_refused(get("http://localhost" + port + "/", "localhost" + port), "private_address");
  expect_refused(get("http://LOCALHOST." + port + "/", "localhost" + port), "private_address");
  expect_refused(get("http://nowhere.test/", "nowhere.test"), "unreachable");
  EXPECT_TRUE(dialled().empty());
}

// 3, 11: a name that leads elsewhere at the second question. There is no second question.
TEST_F(Escape, ByRebinding) {
  ScriptedHost good(ScriptedHost::answer("good"));
  allow("", "rebind.test", "/**");
  std::atomic<int> asked{0};
  BrokerOptions with = options();
  with.resolver = [&](const std::string&, int port) -> Result<std::vector<Address>> {
    Authority at;
    at.host = asked++ % 2 == 0 ? "93.184.216.34" : "127.0.0.1";
    at.port = port;
    TRY(const Address address, literal_address(at));
    return std::vector<Address>{address};
  };
  host("unused", "93.184.216.34", good.port());
  auto broker = Broker::start(std::move(with));
  ASSERT_TRUE(broker);
  EXPECT_EQ(ask(get("http://rebind.test/", "rebind.test")).body, "good");
  EXPECT_EQ(dialled(), std::vector<std::string>{"93.184.216.34"});
  expect_refused(get("http://rebind.test/", "rebind.test"), "private_address");
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(dialled().size(), 1u);
}

// A rule may name the host's own address. Then that one, that port, and nothing beside.
TEST_F(Escape, BesideAnAddressThatIsAllowed) {
  ScriptedHost allowed(ScriptedHost::answer("allowed"));
  allow("GET", "127.0.0.1", "/**", allowed.port());
  start();
  const std::string at = "127.0.0.1:" + std::to_string(allowed.port());
  EXPECT_EQ(ask(get("http://" + at + "/", at)).body, "allowed");
  expect_refused(get("http://127.0.0.1:" + trap_port() + "/", "127.0.0.1:" + trap_port()), "not_allowed");
  expect_refused(
      get("http://127.0.0.2:" + std::to_string(allowed.port()) + "/", "127.0.0.2:" + std::to_string(allowed.port())),
      "not_allowed");
  host("alias.test", "127.0.0.1");
  expect_refused(
      get("http://alias.test:" + std::to_string(allowed.port()) + "/", "alias.test:" + std::to_string(allowed.port())),
      "not_allowed");
}

// 4, 6, 7: tokens and keys. No answer, event or error has one; the placeholder is worth nothing and goes nowhere.
TEST_F(Escape, WithKeys) {
  ScriptedHost model(ScriptedHost::answer(R"({"usage":{"input_tokens":1,"output_tokens":1}})"), &authority_);
  ScriptedHost elsewhere(ScriptedHost::answer("x"));
  host("api.test", "93.184.216.34", model.port());
  host("else.test", "93.184.216.35", elsewhere.port());
  provider("anthropic", "https://api.test", "anthropic", "x-api-key");
  allow("", "else.test", "/**");
  start();
  const std::string path = "/upstream/anthropic/v1/messages";
  // 11: another account's key; another agent's placeholder; both; in another field, in another case.
  const std::vector<std::string> fields = {std::string("x-api-key: sk-ant-of-another-account"),
                                           "x-api-key: " + std::string(kSiblingPlaceholder),
                                           "Authorization: Bearer sk-ant-oat-another",
                                           "authorization: Basic " + std::string(kPlaceholder),
                                           "X-API-KEY: " + std::string(kPlaceholder) + "x",
                                           "x-api-key:",
                                           "x-goog-api-key: AIza",
                                           "Cookie: session=1",
                                           "Proxy-Authorization: Basic eA==",
                                           "Api-Key: other",
                                           std::string("X-Auth-Token: other"),
                                           "x-api-key: " + std::string(kPlaceholder) + ", other",
                                           "Connection: x-api-key\r\nx-api-key: other"};
  for (const std::string& field : fields) expect_refused(post(path, kHostileMessage, field + "\r\n"), "placeholder");
  expect_refused(post(path, kHostileMessage, with_key() + with_key("sk-ant-of-another-account")), "placeholder");
  expect_refused(post(path + "?api_key=other", kHostileMessage, with_key()), "placeholder");
  EXPECT_TRUE(model.requests().empty());
  // The provider's host by another way: nobody would count, and another key would do.
  allow("", "api.test", "/**");
  allow("CONNECT", "api.test", "");
  ASSERT_TRUE(broker_->reload(config_));
  expect_refused(get("https://api.test/v1/models", "api.test", "x-api-key: other\r\n"), "provider");
  expect_refused(get("https://API.test.:443/v1/models", "api.test:443"), "provider");
  expect_refused(get("http://api.test:81/", "api.test:81"), "provider");
  expect_refused("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n", "provider");
  // The placeholder leaves to its provider alone.
  const std::string mine(kPlaceholder);
  expect_refused(get("http://else.test/?k=" + mine, "else.test"), "placeholder");
  expect_refused(get("http://else.test/" + mine, "else.test"), "placeholder");
  expect_refused(get("http://else.test/?k=%73" + mine.substr(1), "else.test"), "placeholder");
  expect_refused(get("http://else.test/", "else.test", "X-Notes: my key is " + mine + "\r\n"), "placeholder");
  const auto reply =
      ask("POST http://else.test/ HTTP/1.1\r\nHost: else.test\r\nContent-Length: " + std::to_string(mine.size() + 4) +
          "\r\n\r\nab" + mine + "yz");
  EXPECT_EQ(reply.reason(), "placeholder");
  EXPECT_EQ(elsewhere.raw().find(mine), std::string::npos);
  // An agent that somehow knows the real key gains nothing by it here.
  expect_refused(post(path, kHostileMessage, with_key(kRealKey)), "placeholder");
  EXPECT_EQ(ask(post(path, kHostileMessage, with_key())).status, 200);
  EXPECT_EQ(store_.everything().find(kRealKey), std::string::npos);
  EXPECT_EQ(elsewhere.raw().find(kRealKey), std::string::npos);
}

// 7: a repository's settings that name a key of the user's and a host of their own.
TEST_F(Escape, AKeyToAForeignHost) {
  ScriptedHost evil(ScriptedHost::answer(R"({"usage":{"input_tokens":1,"output_tokens":1}})"), &authority_);
  host("evil.test", "93.184.216.34", evil.port());
  host("api.test", "93.184.216.35", evil.port());
  provider("anthropic", "https://evil.test", "anthropic", "x-api-key");
  bound_to_ = "api.test:443";
  start();
  const std::string path = "/upstream/anthropic/v1/messages";
  expect_refused(post(path, kHostileMessage, with_key()), "key_host");
  expect_refused(get("/upstream/anthropic/v1/models", "127.0.0.1:8080", with_key()), "key_host");
  // Another port of the right host, or another name of it.
  for (const char* url : {"https://api.test:8443", "https://api.test.evil.test", "http://127.0.0.1:81"}) {
    config_.providers["anthropic"].url = url;
    ASSERT_TRUE(broker_->reload(config_));
    expect_refused(post(path, kHostileMessage, with_key()), "key_host");
  }
  EXPECT_TRUE(evil.requests().empty());
  EXPECT_TRUE(dialled().empty());
  config_.providers["anthropic"].url = "https://API.test.";
  ASSERT_TRUE(broker_->reload(config_));
  EXPECT_EQ(ask(post(path, kHostileMessage, with_key())).status, 200);
}

// 10: its own counters and limits, and two programs that read one request in two ways.
TEST_F(Escape, ByRequestsOfTwoReadings) {
  ScriptedHost model(ScriptedHost::answer(R"({"usage":{"input_tokens":1,"output_tokens":1}})"));
  ScriptedHost elsewhere(ScriptedHost::answer("x"));
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  role().budget.money = config::Money{1'000'000};
  host("else.test", "93.184.216.35", elsewhere.port());
  allow("", "else.test", "/**");
  start();
  const std::string path = "/upstream/anthropic/v1/messages";
  expect_refused(
      "POST http://else.test/ HTTP/1.1\r\nHost: else.test\r\nContent-Length: 5\r\nTransfer-Encoding: "
      "chunked\r\n\r\n0\r\n\r\n",
      "bad_request");
  expect_refused(
      "POST http://else.test/ HTTP/1.1\r\nHost: else.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
      "bad_request");
  expect_refused("POST http://else.test/ HTTP/1.1\r\nHost: else.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
                 "bad_request");
  expect_refused(
      "POST http://else.test/ HTTP/1.1\r\nHost: else.test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
      "bad_request");
  expect_refused("GET http://else.test/ HTTP/1.1\r\nHost: else.test\r\nX: a\nX-Smuggled: b\r\n\r\n", "bad_request");
  expect_refused("GET http://else.test/a HTTP/1.1 HTTP/1.1\r\nHost: else.test\r\n\r\n", "bad_request");
  expect_refused(post(path, R"({"model":"a","max_tokens":1,"max_tokens":64000})", with_key()), "bad_request");
  expect_refused(post(path, kHostileMessage, with_key() + "Content-Encoding: gzip\r\n"), "encoding");
  expect_refused(post(path, R"({"model":"a","max_tokens":1000000})", with_key()), "budget");
  expect_refused(
      "POST http://else.test/ HTTP/1.1\r\nHost: else.test\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5;x\r\nabcde\r\n0\r\n\r\n",
      "bad_request");
  EXPECT_EQ(model.connections(), 0);
  // What was smuggled behind a body is a request of its own, judged as one.
  AgentClient client(socket());
  client.send("POST http://else.test/ HTTP/1.1\r\nHost: else.test\r\nContent-Length: 0\r\n\r\n" +
              get("http://evil.test/", "evil.test"));
  EXPECT_EQ(client.reply().status, 200);
  EXPECT_EQ(client.reply().reason(), "not_allowed");
  // No verb changes what is counted.
  for (const char* target : {"/onsight/../upstream/x", "/spend", "/agents/reviewer", "http://onsight/status"})
    EXPECT_GE(ask(get(target, std::string_view(target).starts_with("http") ? "onsight" : "127.0.0.1")).status, 400)
        << target;
  EXPECT_GE(ask("POST /poke HTTP/1.1\r\nHost: onsight\r\n\r\n").status, 400);
}

// 11: through a host that is allowed.
TEST_F(Escape, ThroughAPermittedHost) {
  ScriptedHost redirects(
      ScriptedHost::answer("", "text/plain", "302 Found", "Location: http://127.0.0.1:" + trap_port() + "/\r\n"));
  ScriptedHost fronted(ScriptedHost::answer("cdn"), &authority_, "DNS:cdn.test,DNS:evil.test");
  ScriptedHost wrong(ScriptedHost::answer("x"), &authority_, "DNS:other.test");
  TestAuthority stranger;
  ScriptedHost unknown(ScriptedHost::answer("x"), &stranger, "DNS:unknown.test");
  host("go.test", "93.184.216.34", redirects.port());
  host("cdn.test", "93.184.216.35", fronted.port());
  host("wrong.test", "93.184.216.36", wrong.port());
  host("unknown.test", "93.184.216.37", unknown.port());
  for (const char* name : {"go.test", "cdn.test", "wrong.test", "unknown.test"}) allow("", name, "/**");
  start();
  // A redirect is the client's to follow, and is judged then.
  const auto reply = ask(get("http://go.test/", "go.test"));
  EXPECT_EQ(reply.status, 302);
  const std::string next(reply.headers.get("Location"));
  expect_refused(get(next, "127.0.0.1:" + trap_port()), "not_allowed");
  // Domain fronting: one name to the allow-list, another to the host.
  for (const char* other : {"evil.test", "cdn.test:444", "cdn.test, evil.test", "cdn.test@evil.test", "evil.test:443"})
    expect_refused(get("https://cdn.test/", other), "host_mismatch");
  expect_refused("GET https://cdn.test/ HTTP/1.1\r\nHost: cdn.test\r\nHost: evil.test\r\n\r\n", "bad_request");
  expect_refused(get("https://evil.test/", "evil.test"), "not_allowed");
  EXPECT_EQ(
      ask(get("https://cdn.test/", "cdn.test", "X-Forwarded-Host: evil.test\r\nForwarded: host=evil.test\r\n")).body,
      "cdn");
  const std::string head = fronted.requests()[0].head;
  EXPECT_EQ(head.find("evil.test"), std::string::npos) << head;
  EXPECT_EQ(fronted.requests()[0].server_name, "cdn.test");
  // A certificate for another name, or of nobody that is known.
  expect_refused(get("https://wrong.test/", "wrong.test"), "tls");
  expect_refused(get("https://unknown.test/", "unknown.test"), "tls");
  // CONNECT to elsewhere, and CONNECT without a rule of its own.
  expect_refused("CONNECT cdn.test:443 HTTP/1.1\r\nHost: cdn.test:443\r\n\r\n", "not_allowed");
  expect_refused("CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", "not_allowed");
  expect_refused("CONNECT cdn.test HTTP/1.1\r\nHost: cdn.test\r\n\r\n", "bad_request");
  expect_refused("TRACE http://cdn.test/ HTTP/1.1\r\nHost: cdn.test\r\n\r\n", "not_allowed");
  expect_refused(get("ftp://cdn.test/", "cdn.test"), "bad_request");
  expect_refused(get("http://u:p@cdn.test/", "cdn.test"), "bad_request");
  expect_refused(get("http://cdn.test\\@evil.test/", "cdn.test"), "bad_request");
  expect_refused(get("http://cdn.test/%2e%2e/x", "cdn.test"), "bad_request");
}

// A first message of TLS, as far as it is looked at.
std::string greeting(const std::string& name) {
  const auto sized = [](const std::string& text, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(text.size() >> (8 * i));
    return out + text;
  };
  const std::string names =
      name.empty() ? "" : std::string("\0\0", 2) + sized(sized(std::string(1, '\0') + sized(name, 2), 2), 2);
  const std::string hello = "\x03\x03" + std::string(32, 'r') + sized("", 1) + sized("\x13\x01", 2) +
                            sized(std::string(1, '\0'), 1) +
                            sized(std::string("\x00\x2b\x00\x03\x02\x03\x04", 7) + names, 2);
  return "\x16\x03\x01" + sized("\x01" + sized(hello, 3), 2);
}

TEST_F(Escape, ThroughATunnel) {
  std::string heard;
  ScriptedHost host_of_git(ScriptedHost::answer("tunnelled"), &authority_, "DNS:git.test,DNS:evil.test");
  host("git.test", "93.184.216.34", host_of_git.port());
  allow("CONNECT", "git.test", "");
  start();
  const std::string connect = "CONNECT git.test:443 HTTP/1.1\r\nHost: git.test:443\r\n\r\n";
  expect_refused("CONNECT git.test:22 HTTP/1.1\r\nHost: git.test:22\r\n\r\n", "not_allowed");
  expect_refused("CONNECT git.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", "host_mismatch");
  // What is no TLS, and TLS that names another host or none: nothing of it leaves.
  for (const auto& [first, reason] :
       std::vector<std::pair<std::string, std::string>>{{get("/", "evil.test"), "tls"},
                                                        {"SSH-2.0-x\r\n", "tls"},
                                                        {greeting("evil.test"), "host_mismatch"},
                                                        {greeting(""), "host_mismatch"},
                                                        {greeting("git.test").replace(0, 1, "\x17"), "tls"}}) {
    AgentClient client(socket());
    client.send(connect);
    while (head_end(client.in) == 0) ASSERT_TRUE(client.more());
    EXPECT_TRUE(client.in.starts_with("HTTP/1.1 200"));
    client.in.clear();
    client.send(first);
    EXPECT_FALSE(client.more());
    EXPECT_EQ(refused(), reason);
  }
  EXPECT_TRUE(host_of_git.requests().empty());
  // TLS with the host itself goes through, and is counted.
  AgentClient client(socket());
  client.send(connect);
  while (head_end(client.in) == 0) ASSERT_TRUE(client.more());
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  SSL* const ssl = SSL_new(context);
  SSL_set_tlsext_host_name(ssl, "git.test");
  SSL_set_fd(ssl, client.descriptor());
  ASSERT_EQ(SSL_connect(ssl), 1);
  const std::string request = get("/info/refs", "git.test");
  SSL_write(ssl, request.data(), static_cast<int>(request.size()));
  std::string answer;
  char bytes[4096];
  for (int n = 0; (n = SSL_read(ssl, bytes, sizeof bytes)) > 0;) answer.append(bytes, static_cast<size_t>(n));
  EXPECT_TRUE(answer.ends_with("tunnelled")) << answer;
  SSL_free(ssl);
  SSL_CTX_free(context);
  client.close();
  for (int i = 0; i < 300 && store_.all("egress.sent").empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_EQ(store_.all("egress.sent").size(), 1u);
  EXPECT_GT(store_.all("egress.sent")[0].body["bytes_out"].get<int64_t>(), 200);
}

TEST(ServerName, IsReadInPieces) {
  const std::string text = greeting("git.test");
  for (size_t length = 0; length < text.size(); ++length) {
    const auto name = server_name_of(std::string_view(text).substr(0, length));
    ASSERT_TRUE(name) << length;
    EXPECT_FALSE(*name) << length;
  }
  EXPECT_EQ(server_name_of(text).value().value(), "git.test");
  EXPECT_EQ(server_name_of(text + "more").value().value(), "git.test");
  // Over two records.
  const std::string message = text.substr(5);
  const auto record = [](const std::string& part) {
    return std::string("\x16\x03\x01") + static_cast<char>(part.size() >> 8) + static_cast<char>(part.size() & 255) +
           part;
  };
  EXPECT_EQ(server_name_of(record(message.substr(0, 3)) + record(message.substr(3))).value().value(), "git.test");
  for (size_t at = 0; at < text.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = text;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      (void)server_name_of(bad);
    }
}

// Refusals without end are counted, and do not fill the disk.
TEST_F(Escape, ByFloodingTheLog) {
  limits_.logged_per_minute = 5;
  start();
  AgentClient client(socket());
  for (int i = 0; i < 200; ++i) EXPECT_EQ(client.ask(get("http://evil.test/", "evil.test")).status, 403);
  EXPECT_LE(store_.all("egress.refused").size(), 6u);
}

}  // namespace
}  // namespace onsight::agents::broker
