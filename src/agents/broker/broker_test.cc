#include "agents/broker/broker.h"

#include <gtest/gtest.h>

#include "agents/broker/broker_fixture_for_test.h"

namespace onsight::agents::broker {
namespace {

using BrokerServes = BrokerTest;
const std::string kMessage = R"({"model":"claude-x","max_tokens":100,"messages":[]})";
const std::string kAnswer =
    R"({"type":"message","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":10,"output_tokens":5}})";

TEST_F(BrokerServes, TheBusByWhoseSocketItIs) {
  start();
  const auto reply =
      ask("POST /onsight/messages HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Agent: writer\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(Json::parse(reply.body)["agent"], "reviewer");
  EXPECT_EQ(Json::parse(reply.body)["body"], "{}");
  EXPECT_EQ(Json::parse(ask(get("/onsight/me", "onsight"), "writer").body)["agent"], "writer");
  EXPECT_EQ(Json::parse(ask(get("http://onsight/onsight/me?x=1", "onsight"), "writer").body)["path"], "/onsight/me");
  EXPECT_EQ(Json::parse(ask(get("http://127.0.0.1:8080/onsight/me", "127.0.0.1:8080"), "writer").body)["path"],
            "/onsight/me");
  EXPECT_EQ(ask(get("/onsight/me", "evil.test")).status, 403);
  EXPECT_EQ(ask(get("/elsewhere", "onsight")).status, 403);
  EXPECT_EQ(ask("POST /onsight/x HTTP/1.1\r\nHost: onsight\r\nContent-Length: 999999\r\n\r\n").reason(), "too_large");
  // Several requests on one connection.
  AgentClient client(socket());
  client.send(get("/onsight/1", "onsight") + get("/onsight/2", "onsight"));
  EXPECT_EQ(Json::parse(client.reply().body)["path"], "/onsight/1");
  EXPECT_EQ(Json::parse(client.reply().body)["path"], "/onsight/2");
  // Who waits is let go when its client goes, and when the broker ends.
  auto waiting = std::make_unique<AgentClient>(socket());
  waiting->send(get("/onsight/inbox?wait=yes", "onsight"));
  AgentClient other(socket());
  other.send(get("/onsight/inbox?wait=yes", "onsight"));
  while (bus_.asked < 8) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  waiting.reset();
  broker_->stop();
  EXPECT_EQ(other.reply().status, 0);
  EXPECT_FALSE(std::filesystem::exists(socket()));
}

TEST_F(BrokerServes, ModelsWithTheRealKey) {
  ScriptedHost model(ScriptedHost::answer(kAnswer), &authority_);
  host("api.test", "93.184.216.34", model.port());
  provider("anthropic", "https://api.test", "anthropic", "x-api-key");
  start();
  const auto reply = ask(post("/upstream/anthropic/v1/messages?beta=true", kMessage,
                              with_key() + "anthropic-version: 2023-06-01\r\nAccept-Encoding: gzip\r\nConnection: "
                                           "x-drop\r\nX-Drop: 1\r\nTE: trailers\r\n"));
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.body, kAnswer);
  ASSERT_EQ(model.requests().size(), 1u);
  const auto request = model.requests()[0];
  EXPECT_EQ(request.server_name, "api.test");
  const auto head = parse_request_head(request.head);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->target, "/v1/messages?beta=true");
  EXPECT_EQ(head->host, "api.test");
  EXPECT_EQ(head->headers.get("x-api-key"), kRealKey);
  EXPECT_EQ(head->headers.count("x-api-key"), 1);
  EXPECT_EQ(head->headers.get("anthropic-version"), "2023-06-01");
  EXPECT_EQ(head->headers.get("accept-encoding"), "identity");
  EXPECT_EQ(head->headers.find("x-drop"), nullptr);
  EXPECT_EQ(head->headers.find("te"), nullptr);
  EXPECT_EQ(request.head.find(kPlaceholder), std::string::npos);
  EXPECT_EQ(request.body, kMessage);
  // 10 × 3 + 5 × 15 dollars a million.
  const auto spent = store_.spending("reviewer");
  EXPECT_EQ(spent.micro_usd, 105);
  EXPECT_EQ(spent.tokens_in, 10);
  EXPECT_EQ(spent.tokens_out, 5);
  EXPECT_EQ(spent.reserved_micro_usd, 0);
  const auto sent = store_.all("egress.sent");
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].body["host"], "api.test");
  EXPECT_EQ(sent[0].body["path"], "/v1/messages");
  EXPECT_EQ(store_.everything().find(kRealKey), std::string::npos);
  // As a bearer, through the proxy's form, without any credential.
  EXPECT_EQ(ask(post("/upstream/anthropic/v1/messages", kMessage,
                     "Authorization: bearer " + std::string(kPlaceholder) + "\r\n"))
                .status,
            200);
  EXPECT_EQ(ask(post("/upstream/anthropic/v1/messages", kMessage, "")).status, 200);
  for (const auto& one : model.requests())
    EXPECT_EQ(parse_request_head(one.head)->headers.find("authorization"), nullptr);
}

TEST_F(BrokerServes, AnyChunksAndBearers) {
  ScriptedHost model(ScriptedHost::answer(R"({"usage":{"input_tokens":1,"output_tokens":2}})"));
  host("unused", "93.184.216.34");
  provider("openai", model.url() + "/v1", "openai", "authorization");
  start();
  const auto reply = ask("POST /upstream/openai/responses HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer " +
                         std::string(kPlaceholder) +
                         "\r\nTransfer-Encoding: chunked\r\nExpect: "
                         "100-continue\r\n\r\n8\r\n{\"model\"\r\n4\r\n:\"g\"\r\n1\r\n}\r\n0\r\n\r\n");
  EXPECT_EQ(reply.status, 200) << reply.body;
  ASSERT_EQ(model.requests().size(), 1u);
  const auto head = parse_request_head(model.requests()[0].head);
  EXPECT_EQ(head->target, "/v1/responses");
  EXPECT_EQ(head->headers.get("Authorization"), "Bearer " + std::string(kOtherKey));
  EXPECT_EQ(model.requests()[0].body, R"({"model":"g"})");
  // A chat that streams is asked to say what it takes.
  EXPECT_EQ(ask(post("/upstream/openai/chat/completions", R"({"model":"g","stream":true})", "")).status, 200);
  EXPECT_EQ(Json::parse(model.requests()[1].body)["stream_options"]["include_usage"], true);
  EXPECT_EQ(
      ask(post("/upstream/openai/chat/completions", R"({"model":"g","stream":true,"stream_options":{}})", "")).reason(),
      "bad_request");
}

TEST_F(BrokerServes, GeminisKeyInTheQuery) {
  ScriptedHost model(ScriptedHost::answer(
      R"({"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}})"));
  provider("gemini", model.url(), "gemini", "x-goog-api-key");
  start();
  const std::string path = "/upstream/gemini/v1beta/models/gemini-2.5-pro:generateContent";
  EXPECT_EQ(ask(post(path + "?alt=json&key=" + std::string(kPlaceholder), "{}", "")).status, 200);
  ASSERT_EQ(model.requests().size(), 1u);
  EXPECT_EQ(parse_request_head(model.requests()[0].head)->target,
            "/v1beta/models/gemini-2.5-pro:generateContent?alt=json");
  EXPECT_EQ(parse_request_head(model.requests()[0].head)->headers.get("X-Goog-Api-Key"), kRealKey);
  EXPECT_EQ(ask(post(path + "?key=AIzaAnother", "{}", "")).reason(), "placeholder");
  EXPECT_EQ(ask(post(path + "?key=" + std::string(kPlaceholder) + "&key=AIzaAnother", "{}", "")).reason(),
            "placeholder");
  EXPECT_EQ(ask(post(path + "?%6bey=AIzaAnother", "{}", "")).reason(), "placeholder");
  EXPECT_EQ(ask(post(path + "?access_token=x", "{}", "")).reason(), "placeholder");
  EXPECT_EQ(ask(post(path + "?%24httpHeaders=x-goog-api-key:other", "{}", "")).reason(), "not_allowed");
  EXPECT_EQ(ask(post(path + "?fields=candidates", "{}", "")).reason(), "not_allowed");
  EXPECT_EQ(ask(post(path, "{}", "X-HTTP-Method-Override: DELETE\r\n")).reason(), "not_allowed");
  EXPECT_EQ(model.requests().size(), 1u);
}

// Tokens go on as they come, not when the answer ends.
TEST_F(BrokerServes, StreamsAsTheyCome) {
  std::atomic<int> step{0};
  ScriptedHost model([&](const auto&, const auto& say) {
    say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    const auto event = [&](const std::string& data) { say(fmt::format("{:x}\r\n{}\r\n", data.size(), data)); };
    event("data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n");
    while (step < 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    event("data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":9}}\n\n");
    say("0\r\n\r\n");
  });
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  start();
  AgentClient client(socket());
  client.send(post("/upstream/anthropic/v1/messages", kMessage, with_key()));
  while (client.in.find("message_start") == std::string::npos) ASSERT_TRUE(client.more());
  EXPECT_EQ(client.in.find("message_delta"), std::string::npos);
  EXPECT_EQ(store_.spending("reviewer").reserved_tokens, static_cast<int64_t>(kMessage.size() / 2 + 1 + 100));
  step = 1;
  const auto reply = client.reply();
  EXPECT_TRUE(reply.whole);
  EXPECT_NE(reply.body.find("message_delta"), std::string::npos);
  // The connection serves more.
  EXPECT_EQ(client.ask(get("/onsight/me", "onsight")).status, 200);
  EXPECT_EQ(store_.spending("reviewer").tokens_out, 9);
  EXPECT_EQ(store_.spending("reviewer").reserved_tokens, 0);
}

TEST_F(BrokerServes, KeysThatComeBackAreTakenOut) {
  ScriptedHost model([&](const auto& request, const auto& say) {
    const std::string key(parse_request_head(request.head)->headers.get("x-api-key"));
    say("HTTP/1.1 401 No\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\nX-Echo: <" + key +
        ">\r\nAlt-Svc: h3=\"evil.test:443\"\r\nConnection: close\r\n\r\n");
    say("bad key " + key.substr(0, 10));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    say(key.substr(10) + " and " + key);
  });
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  start();
  AgentClient client(socket());
  const auto reply = client.ask(post("/upstream/anthropic/v1/messages", kMessage, with_key()));
  EXPECT_EQ(reply.status, 401);
  EXPECT_EQ(reply.body, "bad key " + std::string(kPlaceholder) + " and " + std::string(kPlaceholder));
  EXPECT_EQ(reply.headers.get("X-Echo"), "<" + std::string(kPlaceholder) + ">");
  EXPECT_EQ(reply.headers.find("Set-Cookie"), nullptr);
  EXPECT_EQ(reply.headers.find("Alt-Svc"), nullptr);
  EXPECT_EQ(store_.spending("reviewer").micro_usd, 0);
  EXPECT_EQ(store_.spending("reviewer").reserved_micro_usd, 0);
}

TEST_F(BrokerServes, AllowedHosts) {
  ScriptedHost plain(
      ScriptedHost::answer("a package", "text/plain", "200 OK", "Set-Cookie: session=1\r\nETag: \"x\"\r\n"));
  ScriptedHost secure(ScriptedHost::answer("a safe package"), &authority_, "DNS:safe.test");
  host("npm.test", "93.184.216.34", plain.port());
  host("safe.test", "93.184.216.35", secure.port());
  allow("GET", "npm.test", "/pkg/**");
  allow("HEAD", "npm.test", "/pkg/**");
  allow("PUT", "npm.test", "/up");
  allow("", "safe.test", "/**");
  start();
  const auto reply =
      ask(get("http://NPM.test/pkg/%61?q=1%202", "npm.test",
              "Authorization: Basic own\r\nAccept-Encoding: gzip\r\nProxy-Authorization: Basic eA==\r\n"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "a package");
  EXPECT_EQ(reply.headers.get("Content-Length"), "9");
  EXPECT_EQ(reply.headers.get("Set-Cookie"), "session=1");
  const auto head = parse_request_head(plain.requests()[0].head);
  EXPECT_EQ(head->target, "/pkg/a?q=1%202");
  EXPECT_EQ(head->host, "npm.test");
  EXPECT_EQ(head->headers.get("Authorization"), "Basic own");
  EXPECT_EQ(head->headers.find("Proxy-Authorization"), nullptr);
  EXPECT_EQ(resolved("npm.test"), 1);
  EXPECT_EQ(ask(get("https://safe.test/x", "safe.test")).body, "a safe package");
  EXPECT_EQ(secure.requests()[0].server_name, "safe.test");
  EXPECT_EQ(ask("HEAD http://npm.test/pkg/a HTTP/1.1\r\nHost: npm.test\r\nConnection: close\r\n\r\n").status, 200);
  EXPECT_EQ(ask(get("http://npm.test/other", "npm.test")).reason(), "not_allowed");
  EXPECT_EQ(refused(), "not_allowed");
  EXPECT_EQ(ask("PUT http://npm.test/up HTTP/1.1\r\nHost: npm.test\r\nTransfer-Encoding: "
                "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                .status,
            200);
  EXPECT_EQ(plain.requests().back().body, "abc");
  // What was asked for through the other socket is judged by the other's role: here the same.
  EXPECT_EQ(ask(get("http://npm.test/pkg/a", "npm.test"), "writer").status, 200);
}

TEST_F(BrokerServes, TheVisionModelWithoutAKey) {
  ScriptedHost vision(ScriptedHost::answer("a cat"));
  config_.vision_url = vision.url();
  start();
  const std::string question =
      "POST http://vision/v1/chat/completions HTTP/1.1\r\nHost: vision\r\nContent-Length: 2\r\nCookie: a\r\n\r\n{}";
  EXPECT_EQ(ask(question).reason(), "not_allowed");
  role().vision = true;
  ASSERT_TRUE(broker_->reload(config_));
  EXPECT_EQ(ask(question).body, "a cat");
  EXPECT_EQ(parse_request_head(vision.requests()[0].head)->headers.find("Cookie"), nullptr);
  EXPECT_EQ(ask(get("http://vision/metrics", "vision")).reason(), "not_allowed");
  EXPECT_EQ(ask(get("http://vision:81/v1/models", "vision:81")).reason(), "not_allowed");
  EXPECT_EQ(ask("DELETE http://vision/v1/models HTTP/1.1\r\nHost: vision\r\n\r\n").reason(), "not_allowed");
}

TEST_F(BrokerServes, AgentsComeAndGo) {
  start();
  EXPECT_FALSE(AgentClient(socket("late")).connected());
  state::AgentRow row;
  row.name = "late";
  row.role = "coder";
  row.phase = state::Phase::kStarting;
  store_.put(row);
  AgentClient control(project_.broker_control());
  EXPECT_EQ(control.ask("POST /poke HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
  AgentClient late(socket("late"));
  EXPECT_EQ(late.ask(get("/onsight/me", "onsight")).status, 200);
  EXPECT_GT(bus_.woken, 0);
  struct stat about {};
  ASSERT_EQ(::stat(socket("late").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0666u);
  ASSERT_EQ(::stat(project_.broker_control().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  // One that is stopped reaches nothing any more, also by a connection that it has.
  row.wanted = state::Wanted::kStopped;
  row.phase = state::Phase::kStopped;
  store_.put(row);
  ASSERT_TRUE(broker_->poke());
  EXPECT_EQ(late.ask(get("/onsight/me", "onsight")).status, 0);
  EXPECT_FALSE(AgentClient(socket("late")).connected());
  // Without a poke it takes a second.
  row.wanted = state::Wanted::kRunning;
  row.phase = state::Phase::kRunning;
  store_.put(row);
  bool back = false;
  for (int i = 0; i < 300 && !back; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    back = AgentClient(socket("late")).connected();
  }
  EXPECT_TRUE(back);
  AgentClient status(project_.broker_control());
  EXPECT_EQ(Json::parse(status.ask("GET /status HTTP/1.1\r\nHost: x\r\n\r\n").body)["agents"].size(), 3u);
}

TEST_F(BrokerServes, OneBrokerAProject) {
  start();
  const auto second = Broker::start(options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  EXPECT_EQ(ask(get("/onsight/me", "onsight")).status, 200);
  broker_.reset();
  start();
  EXPECT_EQ(ask(get("/onsight/me", "onsight")).status, 200);
}

TEST_F(BrokerServes, NobodyWhenAnotherHasTakenOver) {
  start();
  AgentClient client(socket());
  EXPECT_EQ(client.ask(get("/onsight/me", "onsight")).status, 200);
  store_.lease_taken = true;
  for (int i = 0; i < 300 && !broker_->lost(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(broker_->lost());
  EXPECT_EQ(client.ask(get("/onsight/me", "onsight")).status, 0);
  broker_.reset();
  EXPECT_TRUE(std::filesystem::exists(socket()));  // the other's by now
  // One that was killed holds its lease for a moment: who follows waits.
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    store_.lease_taken = false;
  });
  start();
  later.join();
  EXPECT_EQ(ask(get("/onsight/me", "onsight")).status, 200);
}

TEST_F(BrokerServes, ServeEndsWhenNothingIsLeft) {
  for (const char* name : {"reviewer", "writer"}) {
    state::AgentRow row;
    row.name = name;
    row.role = "coder";
    row.wanted = state::Wanted::kStopped;
    row.phase = state::Phase::kStopped;
    store_.put(row);
  }
  EXPECT_TRUE(serve(
      options(), [] { return false; }, std::chrono::milliseconds(300)));
}

TEST_F(BrokerServes, OnlyTheAgentsUser) {
  store_.add("reviewer", "agent.created", {{"uid", ::geteuid() + 1}});
  store_.add("writer", "agent.created", {{"uid", ::geteuid()}});
  start();
  AgentClient client(socket());
  EXPECT_EQ(client.ask(get("/onsight/me", "onsight")).status, 0);
  EXPECT_EQ(refused(), "peer");
  EXPECT_EQ(ask(get("/onsight/me", "onsight"), "writer").status, 200);
}

TEST_F(BrokerServes, HostsThatMisbehave) {
  const auto from = [&](const std::string& text) {
    ScriptedHost bad([text](const auto&, const auto& say) { say(text); });
    provider("anthropic", bad.url(), "anthropic", "x-api-key");
    broker_.reset();
    start();
    return ask(post("/upstream/anthropic/v1/messages", kMessage, with_key()));
  };
  EXPECT_EQ(from("").status, 502);
  EXPECT_EQ(from("hello\r\n\r\n").status, 502);
  EXPECT_EQ(from("HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n").status, 502);
  EXPECT_EQ(from("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n").status, 502);
  EXPECT_EQ(from("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc").reason(), "encoding");
  EXPECT_EQ(from("HTTP/1.1 200 OK\r\nX: " + std::string(100 << 10, 'x') + "\r\n\r\n").status, 502);
  const auto cut = from("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"type\"");
  EXPECT_EQ(cut.status, 200);
  EXPECT_FALSE(cut.whole);
  EXPECT_EQ(from("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").status, 200);
  // Where nothing said what it took, it took what was set aside.
  EXPECT_EQ(store_.spending("reviewer").reserved_tokens, 0);
  EXPECT_GT(store_.spending("reviewer").micro_usd, 100 * 15);
}

TEST_F(BrokerServes, LimitsOfConnectionsAndRequests) {
  limits_.connections = 3;
  limits_.requests_per_minute = 10;
  start();
  std::vector<std::unique_ptr<AgentClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<AgentClient>(socket()));
    EXPECT_EQ(clients.back()->ask(get("/onsight/me", "onsight")).status, 200);
  }
  EXPECT_EQ(ask(get("/onsight/me", "onsight")).status, 503);
  EXPECT_EQ(ask(get("/onsight/me", "onsight"), "writer").status, 200);
  AgentClient::Reply last;
  for (int i = 0; i < 10; ++i) last = clients[0]->ask(get("/onsight/me", "onsight"));
  EXPECT_EQ(last.status, 429);
  EXPECT_EQ(last.reason(), "rate");
}

// As a container sees it: no key in any file of the process's own, and no bytes of it in what it wrote.
TEST_F(BrokerServes, MissingKeysAndPlainText) {
  ScriptedHost model(ScriptedHost::answer(kAnswer));
  provider("anthropic", model.url(), "anthropic", "x-api-key").key = "missing";
  provider("clear", "http://api.test", "anthropic", "x-api-key");
  host("api.test", "93.184.216.34", model.port());
  start();
  EXPECT_EQ(ask(post("/upstream/anthropic/v1/messages", kMessage, with_key())).reason(), "key");
  EXPECT_EQ(ask(post("/upstream/clear/v1/messages", kMessage, with_key())).reason(), "tls");
  EXPECT_EQ(ask(post("/upstream/nobody/v1/messages", kMessage, with_key())).reason(), "not_allowed");
  EXPECT_EQ(ask(post("/upstream/anthropic/v1/messages/batches", kMessage, with_key())).reason(), "not_allowed");
  EXPECT_TRUE(model.requests().empty());
}

}  // namespace
}  // namespace onsight::agents::broker
