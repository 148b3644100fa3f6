// The page's server over real sockets, with a store of its own and a fleet that says what it was asked.
#include "agents/page/page.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <future>
#include <thread>

#include "agents/bus/mail.h"
#include "agents/page/gate.h"
#include "agents/page/page_bytes.h"
#include "agents/state/test_support.h"
#include "agents/supervisor/terminals.h"
#include "net/base64.h"
#include "net/raw_stream.h"
#include "net/server.h"

namespace onsight::agents::page {
namespace {

using trial::TempFolder;

constexpr std::chrono::seconds kPatient{60};

class AskedFleet : public Fleet {
 public:
  AskedFleet(Project project, config::Config config, std::shared_ptr<std::vector<std::string>> asked,
             std::shared_future<void> diff_may_end)
      : project_(std::move(project)),
        config_(std::move(config)),
        asked_(std::move(asked)),
        diff_may_end_(std::move(diff_may_end)) {
    auto store = state::Store::open(project_.database());
    ONSIGHT_CHECK(store.has_value());
    store_ = std::move(*store);
  }

  const Project& project() const override { return project_; }
  const config::Config& config() const override { return config_; }
  state::Store& store() override { return *store_; }
  workspace::Workspace& workspace() override { ONSIGHT_CHECK(false); }
  Result<runtime::Runtime*> runtime() override { return bad_input("no engine"); }
  Result<state::AgentRow> start(const StartOptions& options) override {
    asked_->push_back(fmt::format("start {} {} {}", options.name, options.role, options.task));
    TRY_STATUS(trial::add(*store_, trial::created(options.name, options.role)));
    return agent(options.name);
  }
  Status stop(const std::string& name) override {
    asked_->push_back("stop " + name);
    return trial::add(*store_, trial::wanted(name, "stopped"));
  }
  Status resume(const std::string& name) override {
    asked_->push_back("resume " + name);
    return make_error(ErrorCode::kUsage, "{}: it is running", name);
  }
  Result<RemoveResult> remove(const std::string& name, bool force) override {
    asked_->push_back(fmt::format("rm {} {}", name, force));
    if (!force) return bad_input("{}: 2 commits are not merged", name);
    return RemoveResult{.backup = "refs/onsight/backup/" + name};
  }
  Result<std::vector<Listed>> list() override { return bad_input("not asked"); }
  Result<state::AgentRow> agent(const std::string& name) override {
    std::optional<state::AgentRow> found;
    TRY_STATUS(store_->read([&](state::Transaction& t) -> Status {
      TRY(found, t.agent(name));
      return {};
    }));
    if (!found) return make_error(ErrorCode::kUsage, "{}: there is no such agent", name);
    return *found;
  }
  Result<state::AgentRow> wait_until(const std::string&, const std::function<bool(const state::AgentRow&)>&,
                                     std::chrono::milliseconds) override {
    return bad_input("not asked");
  }
  Result<workspace::Collected> collect(const std::string&) override { return bad_input("not asked"); }
  Result<workspace::Merged> merge(const std::string& name) override {
    asked_->push_back("merge " + name);
    return workspace::Merged{.conflicts = {"a.txt"}};
  }
  Result<std::string> diff(const std::string&, bool, bool) override {
    diff_may_end_.wait();
    return std::string("+caf\xe9\n");
  }
  Result<std::string> sync(const std::string&, const std::string&) override { return bad_input("not asked"); }
  Result<std::vector<runtime::Check>> doctor(const std::string&, bool) override { return bad_input("not asked"); }
  Status wake() override { return {}; }

 private:
  Project project_;
  config::Config config_;
  std::shared_ptr<std::vector<std::string>> asked_;
  std::shared_future<void> diff_may_end_;
  std::unique_ptr<state::Store> store_;
};

struct Answered {
  int status = 0;
  std::string head, body;
  Json json() const { return Json::parse(body, nullptr, false); }
  std::string message() const { return json().value("/error/message"_json_pointer, ""); }
};

class Wire {
 public:
  explicit Wire(uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ONSIGHT_CHECK(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    stream_ = std::make_unique<net::RawStream>(fd, "");
  }
  void write(std::string_view bytes) { ONSIGHT_CHECK(stream_->write(bytes).has_value()); }
  // All that comes until `mark` has, or the end.
  const std::string& read_until(std::string_view mark) {
    const auto end = std::chrono::steady_clock::now() + kPatient;
    while ((mark.empty() || got_.find(mark) == std::string::npos) && std::chrono::steady_clock::now() < end) {
      const auto bytes = stream_->read(std::chrono::milliseconds(100));
      if (!bytes || (*bytes && (*bytes)->empty())) break;
      if (*bytes) got_ += **bytes;
    }
    return got_;
  }

 private:
  std::unique_ptr<net::RawStream> stream_;
  std::string got_;
};

class PageTest : public testing::Test {
 protected:
  PageTest() {
    project_.root = folder_ / "shop";
    project_.id = "0123456789ab";
    project_.state = folder_ / "state";
    project_.run = folder_ / "run";
    std::filesystem::create_directories(project_.root / ".onsight");
    std::filesystem::create_directories(project_.state);
    std::filesystem::create_directories(project_.run);
    configure("[roles.coder]\nharness = \"generic\"\nbudget = { usd = 5.0 }\n");
    PageOptions options;
    options.open = [this, gate = diff_may_end_.get_future().share()]() -> Result<std::unique_ptr<Fleet>> {
      TRY(config::Config config, config::load(project_.config()));
      return std::make_unique<AskedFleet>(project_, std::move(config), asked_, gate);
    };
    auto store = state::Store::open(project_.database());
    ONSIGHT_CHECK(store.has_value());
    store_ = std::move(*store);
    auto server = PageServer::listen(options);
    ONSIGHT_CHECK(server.has_value());
    server_ = std::move(*server);
    running_ = std::thread([this] { server_->run(); });
  }
  ~PageTest() override {
    if (!diff_open_) diff_may_end_.set_value();
    server_->stop();
    running_.join();
    server_.reset();
  }

  void configure(const std::string& text) { ONSIGHT_CHECK(write_file_atomically(project_.config(), text).has_value()); }
  void let_diff_end() {
    diff_open_ = true;
    diff_may_end_.set_value();
  }
  void add(state::NewEvent event) {
    const Status added = trial::add(*store_, std::move(event));
    ASSERT_TRUE(added) << added.error().message;
  }
  void add_running(const std::string& name) {
    add(trial::created(name));
    add(trial::phase(name, "provisioning"));
    add(trial::phase(name, "starting", {{"generation", 1}}));
    add(trial::phase(name, "running", {{"container", "c1"}}));
  }

  std::string host() const { return fmt::format("127.0.0.1:{}", server_->port()); }
  std::string bearer() const { return "Authorization: Bearer " + server_->token() + "\r\n"; }
  std::string request(const std::string& line, const std::string& fields, const std::string& body = {}) const {
    std::string out =
        line + " HTTP/1.1\r\n" + (fields.find("Host:") == std::string::npos ? "Host: " + host() + "\r\n" : "") + fields;
    if (!body.empty() || line.starts_with("POST")) out += fmt::format("Content-Length: {}\r\n", body.size());
    return out + "\r\n" + body;
  }
  Answered ask(const std::string& line, const std::string& fields, const std::string& body = {}) const {
    Wire wire(server_->port());
    wire.write(request(line, "Connection: close\r\n" + fields, body));
    const std::string all = wire.read_until("");
    Answered out;
    const size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos || all.size() < 12) return out;
    out.status = std::atoi(all.substr(9, 3).c_str());
    out.head = all.substr(0, end);
    out.body = all.substr(end + 4);
    return out;
  }
  Answered get(const std::string& target) const { return ask("GET " + target, bearer()); }
  Answered post(const std::string& target, const std::string& body = {}) const {
    return ask("POST " + target, bearer() + "Content-Type: application/json\r\n", body);
  }

  const TempFolder folder_;
  Project project_;
  std::shared_ptr<std::vector<std::string>> asked_ = std::make_shared<std::vector<std::string>>();
  std::promise<void> diff_may_end_;
  bool diff_open_ = false;
  std::unique_ptr<state::Store> store_;
  std::unique_ptr<PageServer> server_;
  std::thread running_;
};

TEST_F(PageTest, OpensToTheTokenAlone) {
  const Answered page = ask("GET /", "");
  EXPECT_EQ(page.status, 401);
  EXPECT_EQ(page.body, "expected the address that `onsight agents serve` printed, with its token\n");
  const Answered api = ask("GET /api/state", "");
  EXPECT_EQ(api.status, 401);
  EXPECT_EQ(api.message(), "expected the address that `onsight agents serve` printed, with its token");
  EXPECT_EQ(ask("GET /?token=" + std::string(64, '0'), "").status, 401);
  EXPECT_EQ(ask("GET /api/state?token=" + server_->token(), "").status, 401);  // of the page's own address alone
  EXPECT_EQ(ask("GET /api/state", "Authorization: Bearer wrong\r\n").status, 401);
  EXPECT_EQ(ask("GET /api/state", "Authorization: Bearer \r\n").status, 401);
  EXPECT_EQ(ask("GET /api/nothing", "").status, 401);  // not even what there is

  EXPECT_EQ(server_->url(), "http://" + host() + "/?token=" + server_->token());
  EXPECT_EQ(server_->token().size(), 64U);
  const Answered first = ask("GET /?token=" + server_->token(), "Sec-Fetch-Site: cross-site\r\n");
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, page_bytes());
  const std::string cookie = fmt::format("onsight_agents_{}={}", server_->port(), server_->token());
  EXPECT_NE(first.head.find("Set-Cookie: " + cookie + "; Path=/; HttpOnly; SameSite=Strict"), std::string::npos);
  EXPECT_NE(first.head.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(first.head.find("frame-ancestors 'none'"), std::string::npos);
  EXPECT_NE(first.head.find("Referrer-Policy: no-referrer"), std::string::npos);
  EXPECT_NE(first.head.find("X-Content-Type-Options: nosniff"), std::string::npos);
  const Answered again = ask("GET /", "Cookie: a=b; " + cookie + "\r\n");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.head.find("Set-Cookie"), std::string::npos);
  EXPECT_EQ(ask("GET /api/state", "Cookie: " + cookie + "\r\n").status, 200);
  EXPECT_EQ(ask("GET /api/state", "Cookie: x" + cookie + "\r\n").status, 401);
  EXPECT_EQ(get("/api/state").status, 200);
}

TEST_F(PageTest, AnswersToItsOwnNameAndPagesAlone) {
  for (const char* name : {"evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""})
    EXPECT_EQ(ask("GET /api/state", bearer() + "Host: " + name + "\r\n").status, 403) << name;
  EXPECT_EQ(ask("GET /api/state", bearer() + fmt::format("Host: LOCALHOST:{}\r\n", server_->port())).status, 200);
  for (const std::string& origin : {std::string("http://evil.example"), std::string("null"),
                                    std::string("http://127.0.0.1:1"), "https://" + host()})
    EXPECT_EQ(ask("GET /api/state", bearer() + "Origin: " + origin + "\r\n").status, 403) << origin;
  EXPECT_EQ(ask("GET /api/state", bearer() + "Origin: http://" + host() + "\r\n").status, 200);
  for (const char* site : {"cross-site", "same-site"})
    EXPECT_EQ(ask("GET /api/state", bearer() + "Sec-Fetch-Site: " + site + "\r\n").status, 403) << site;

  // A form of another port's page brings the cookie along.
  const std::string cookie = fmt::format("Cookie: onsight_agents_{}={}\r\n", server_->port(), server_->token());
  EXPECT_EQ(ask("POST /api/inbox/read", cookie + "Content-Type: application/json\r\n", R"({"numbers":[]})").status,
            403);
  EXPECT_EQ(ask("POST /api/inbox/read", cookie + "Content-Type: application/json\r\nOrigin: http://" + host() + "\r\n",
                R"({"numbers":[]})")
                .status,
            200);
  EXPECT_EQ(ask("POST /api/inbox/read", bearer() + "Content-Type: application/json\r\n", R"({"numbers":[]})").status,
            200);
}

TEST_F(PageTest, ShowsNowAndAnyMomentBefore) {
  add_running("ann");  // 1 to 4
  add({.actor = "ann",
       .agent = "human",
       .kind = "message.queued",
       .body = {{"id", "m1"}, {"to", "human"}, {"kind", "question"}, {"text", "<b>May I?</b>"}, {"hops", 0}}});  // 5
  add({.actor = "broker",
       .agent = "ann",
       .kind = "spend.reserved",
       .body = {{"request", "r1"}, {"provider", "p"}, {"micro_usd", 50}, {"tokens", 9}}});  // 6
  add({.actor = "broker",
       .agent = "ann",
       .kind = "spend.settled",
       .body = {{"request", "r1"}, {"micro_usd", 40}, {"tokens_in", 3}, {"tokens_out", 4}}});            // 7
  add({.actor = "orchestrator", .kind = "run.started", .body = {{"run", "r"}, {"goal", "Dark mode"}}});  // 8
  add({.actor = "orchestrator",
       .kind = "task.state",
       .body = {{"run", "r"}, {"task", "a"}, {"state", "working"}}});                                          // 9
  add({.actor = "supervisor", .agent = "ann", .kind = "agent.activity", .body = {{"activity", "thinking"}}});  // 10

  const Json now = get("/api/state").json();
  EXPECT_EQ(now["seq"], 10);
  EXPECT_EQ(now["project"], "shop");
  ASSERT_EQ(now["agents"].size(), 1U);
  EXPECT_EQ(now["agents"][0]["activity"], "thinking");
  EXPECT_EQ(now["agents"][0]["spent"]["micro_usd"], 40);
  EXPECT_EQ(now["agents"][0]["budget"]["micro_usd"], 5'000'000);
  EXPECT_EQ(now["spent"]["tokens_out"], 4);
  EXPECT_EQ(now["unread"], 1);
  EXPECT_EQ(now["event"]["kind"], "agent.activity");
  EXPECT_EQ(now["roles"][0]["name"], "coder");

  const Json then = get("/api/state?at=6").json();
  EXPECT_EQ(then["seq"], 6);
  EXPECT_EQ(then["last_seq"], 10);
  EXPECT_EQ(then["agents"][0]["phase"], "running");
  EXPECT_NE(then["agents"][0]["activity"], "thinking");
  EXPECT_EQ(then["agents"][0]["spent"]["micro_usd"], 0);
  EXPECT_EQ(then["agents"][0]["spent"]["reserved_micro_usd"], 50);
  EXPECT_EQ(then["event"]["seq"], 6);
  EXPECT_EQ(get("/api/state?at=0").json()["agents"].size(), 0U);
  EXPECT_EQ(get("/api/state?at=0").json()["event"], nullptr);
  EXPECT_EQ(get("/api/state?at=2").json()["agents"][0]["phase"], "provisioning");

  EXPECT_EQ(get("/api/messages").json()["messages"][0]["text"], "<b>May I?</b>");
  EXPECT_EQ(get("/api/messages").json()["messages"][0]["receipt"], "queued");
  EXPECT_EQ(get("/api/messages?at=4").json()["messages"].size(), 0U);
  EXPECT_EQ(get("/api/messages?agent=bob").json()["messages"].size(), 0U);
  EXPECT_EQ(get("/api/plan").json()["events"].size(), 2U);
  EXPECT_EQ(get("/api/plan?at=8").json()["events"][0]["body"]["goal"], "Dark mode");
  EXPECT_EQ(get("/api/plan?at=8").json()["events"].size(), 1U);
  EXPECT_EQ(get("/api/plan?after=8").json()["events"].size(), 1U);
  const Json log = get("/api/log?at=3&limit=2").json();
  ASSERT_EQ(log["events"].size(), 2U);
  EXPECT_EQ(log["events"][0]["seq"], 2);
  EXPECT_EQ(get("/api/log").json()["events"].size(), 10U);

  for (const char* bad : {"/api/state?at=11", "/api/state?at=-1", "/api/state?at=x",
                          "/api/state?at=99999999999999999999", "/api/messages?limit=3000", "/api/events?after=x"}) {
    EXPECT_EQ(get(bad).status, 400) << bad;
    EXPECT_NE(get(bad).message(), "") << bad;
  }
}

TEST_F(PageTest, NeverTellsAPlaceholder) {
  state::NewEvent event = trial::created("ann");
  event.body["placeholder"] = "onsight-ann-SECRET";
  add(event);
  for (const char* target : {"/api/state", "/api/state?at=1", "/api/log", "/api/plan"})
    EXPECT_EQ(get(target).body.find("SECRET"), std::string::npos) << target;
  Wire wire(server_->port());
  wire.write(request("GET /api/events?after=0", bearer()));
  EXPECT_EQ(wire.read_until("agent.created").find("SECRET"), std::string::npos);
}

TEST_F(PageTest, DoesWhatItsButtonsSay) {
  EXPECT_EQ(post("/api/agents", R"({"name":"ann","role":"coder","task":"Do \"it\" `now`"})").status, 201);
  EXPECT_EQ(post("/api/agents/ann/stop").status, 202);
  const Answered resumed = post("/api/agents/ann/resume", "{}");
  EXPECT_EQ(resumed.status, 400);
  EXPECT_EQ(resumed.message(), "ann: it is running");
  EXPECT_EQ(post("/api/agents/ann/merge").json()["conflicts"][0], "a.txt");
  const Answered refused = post("/api/agents/ann/rm");
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.message(), "ann: 2 commits are not merged");
  EXPECT_EQ(post("/api/agents/ann/rm", R"({"force":true})").json()["backup"], "refs/onsight/backup/ann");
  const std::vector<std::string> expected = {
      "start ann coder Do \"it\" `now`", "stop ann", "resume ann", "merge ann", "rm ann false", "rm ann true"};
  EXPECT_EQ(*asked_, expected);
}

TEST_F(PageTest, SendsMessagesAndMarksThemRead) {
  add_running("ann");
  add({.actor = "ann",
       .agent = "human",
       .kind = "message.queued",
       .body = {{"id", "m1"}, {"to", "human"}, {"kind", "question"}, {"text", "May I?"}, {"hops", 0}}});
  add({.actor = "ann",
       .agent = "human",
       .kind = "message.queued",
       .body = {{"id", "m2"}, {"to", "human"}, {"kind", "message"}, {"text", "Done"}, {"hops", 0}}});
  EXPECT_EQ(post("/api/agents/ann/message", R"({"text":"Yes","reply_to":1})").json()["number"], 3);
  Json messages = get("/api/messages?agent=ann").json()["messages"];
  EXPECT_EQ(messages[0]["receipt"], "answered");
  EXPECT_EQ(messages[0]["answered_by"], 3);
  EXPECT_EQ(messages[2]["from"], "human");
  EXPECT_EQ(messages[2]["receipt"], "queued");
  EXPECT_EQ(post("/api/inbox/read", R"({"numbers":[2,2,3,99]})").json()["read"], 1);  // 3 is another's
  messages = get("/api/messages").json()["messages"];
  EXPECT_EQ(messages[1]["receipt"], "consumed");
  EXPECT_EQ(messages[2]["receipt"], "queued");
  EXPECT_EQ(get("/api/state").json()["unread"], 0);
  EXPECT_EQ(post("/api/agents/ann/message", R"({"text":""})").status, 400);
  EXPECT_EQ(post("/api/agents/ann/message", R"({"text":"x","reply_to":77})").status, 400);
}

TEST_F(PageTest, RefusesWhatItDoesNotUnderstand) {
  for (const char* verb : {"stop", "resume", "merge", "rm"}) {
    const Answered answered = post(fmt::format("/api/agents/nobody/{}", verb));
    EXPECT_EQ(answered.status, 404) << verb;
    EXPECT_EQ(answered.message(), "nobody: there is no such agent") << verb;
  }
  EXPECT_EQ(post("/api/agents/nobody/message", R"({"text":"x"})").status, 404);
  EXPECT_EQ(post("/api/agents/nobody/type", R"({"text":"x"})").status, 404);
  EXPECT_EQ(get("/api/agents/nobody/diff").status, 404);
  EXPECT_EQ(get("/api/agents/nobody/terminal").status, 404);
  EXPECT_EQ(get("/api/agents/no%2fbody/diff").status, 404);
  EXPECT_EQ(get("/api/nothing").status, 404);
  EXPECT_EQ(get("/api/agents").status, 405);
  EXPECT_EQ(post("/api/state").status, 405);
  add(trial::created("ann"));
  for (const char* body : {"{", "[]", "\"x\"", R"({"text":1})", R"({"tex":"x"})", R"({})",
                           R"({"text":"x","reply_to":-1})", R"({"text":"x","reply_to":"1"})"})
    EXPECT_EQ(post("/api/agents/ann/message", body).status, 400) << body;
  EXPECT_EQ(post("/api/agents/ann/rm", R"({"force":"yes"})").status, 400);
  EXPECT_EQ(post("/api/agents/ann/stop", R"({"now":true})").status, 400);
  EXPECT_EQ(post("/api/agents/ann/size", R"({"rows":0,"columns":80})").status, 400);
  EXPECT_EQ(post("/api/inbox/read", R"({"numbers":[-1]})").status, 400);
  EXPECT_EQ(post("/api/inbox/read", R"({"numbers":1})").status, 400);
  EXPECT_EQ(post("/api/agents/ann/type", R"({"text":"x"})").message(), "ann: it is created");
  EXPECT_EQ(ask("POST /api/agents/ann/message", bearer() + "Content-Type: text/plain\r\n", R"({"text":"x"})").status,
            415);
  EXPECT_EQ(post("/api/agents/ann/message", std::string(300 << 10, ' ')).status, 413);
  EXPECT_TRUE(asked_->empty());
}

TEST_F(PageTest, TellsTwoClientsOfEachEventAndGoesOnWhereOneStopped) {
  add(trial::note(1));
  Wire first(server_->port()), second(server_->port());
  first.write(request("GET /api/events?after=0", bearer()));
  second.write(request("GET /api/events", bearer()));  // from now on
  ASSERT_NE(first.read_until("\"number\":1").find("id: 1\ndata: {"), std::string::npos);
  second.read_until("retry:");
  add(trial::note(2));
  EXPECT_NE(first.read_until("\"number\":2").find("id: 2\n"), std::string::npos);
  EXPECT_EQ(second.read_until("\"number\":2").find("\"number\":1"), std::string::npos);
  add(trial::note(3));
  Wire third(server_->port());
  third.write(request("GET /api/events?after=0", bearer() + "Last-Event-ID: 1\r\n"));
  const std::string got = third.read_until("\"number\":3");
  EXPECT_EQ(got.find("id: 1\n"), std::string::npos);
  EXPECT_LT(got.find("id: 2\n"), got.find("id: 3\n"));
  EXPECT_NE(got.find("id: 3\n"), std::string::npos);
}

TEST_F(PageTest, TellsOneThatIsFarBehindToLookAnew) {
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(store_->write([&](state::Transaction& t) -> Status {
      for (int k = 0; k < 1000; ++k) TRY_STATUS(t.add(trial::note(k)));
      return {};
    }));
  }
  Wire wire(server_->port());
  wire.write(request("GET /api/events?after=3", bearer()));
  EXPECT_NE(wire.read_until("behind").find("id: 6000\nevent: behind\n"), std::string::npos);
}

// The answer that waits is one that the next request lets go.
TEST_F(PageTest, WhatTakesLongHoldsNothingUp) {
  add(trial::created("ann"));
  std::vector<std::unique_ptr<Wire>> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.push_back(std::make_unique<Wire>(server_->port()));
    waiting.back()->write(request("GET /api/agents/ann/diff", "Connection: close\r\n" + bearer()));
  }
  EXPECT_EQ(get("/api/state").status, 200);
  EXPECT_EQ(get("/api/state?at=1").status, 200);
  EXPECT_EQ(post("/api/agents/ann/stop").status, 202);
  let_diff_end();
  for (const auto& wire : waiting)
    EXPECT_NE(wire->read_until("").find("caf\xef\xbf\xbd"), std::string::npos);  // of a file that is not UTF-8
}

TEST_F(PageTest, CarriesATerminal) {
  add_running("ann");
  add_running("bob");
  std::promise<std::string> typed, sized;
  std::shared_ptr<net::RawStream> there;
  net::Site site;
  site.handle = [&](net::HttpRequest asked, std::shared_ptr<net::Exchange> exchange) {
    if (asked.path == "/agents/ann/attach") {
      EXPECT_EQ(asked.query_value("rows"), "30");
      EXPECT_EQ(asked.query_value("columns"), "90");
      exchange->take_over(101, {{"Connection", "Upgrade"}, {"Upgrade", "onsight-terminal"}},
                          [&](std::unique_ptr<net::RawStream> stream) {
                            there = std::move(stream);
                            EXPECT_TRUE(there->write("\x1b[31mred\xff"));
                          });
      return;
    }
    if (asked.path == "/agents/bob/attach")
      return exchange->respond({.status = 409, .body = "bob: its terminal is not held"});
    if (asked.path == "/agents/ann/type") typed.set_value(asked.body);
    if (asked.path == "/agents/ann/size") sized.set_value(asked.target);
    exchange->respond({.status = 204});
  };
  auto supervisor = net::Server::listen({.unix_socket = net::UnixSocket{.path = project_.control()}}, site);
  ASSERT_TRUE(supervisor) << supervisor.error().message;
  std::thread serving([&] { (*supervisor)->run(); });
  {
    Wire wire(server_->port());
    wire.write(request("GET /api/agents/ann/terminal?rows=30&columns=90", bearer()));
    const std::string piece = net::base64_encode("\x1b[31mred\xff");
    EXPECT_NE(wire.read_until(piece).find("event: begin\ndata: {\"live\":true}"), std::string::npos);
    EXPECT_EQ(post("/api/agents/ann/type", R"({"text":"ls\r\u00e9"})").status, 200);
    EXPECT_EQ(typed.get_future().get(), "ls\r\xc3\xa9");
    EXPECT_EQ(post("/api/agents/ann/size", R"({"rows":10,"columns":20})").status, 200);
    EXPECT_EQ(sized.get_future().get(), "/agents/ann/size?rows=10&columns=20");
    there->shut();
    EXPECT_NE(wire.read_until("event: end").find("its terminal has ended"), std::string::npos);
  }
  const std::string refused = get("/api/agents/bob/terminal").body;
  EXPECT_NE(refused.find("{\"live\":false}"), std::string::npos);
  EXPECT_NE(refused.find("bob: its terminal is not held"), std::string::npos);
  (*supervisor)->stop();
  serving.join();
  EXPECT_EQ(get("/api/agents/ann/terminal?rows=0&columns=2").status, 400);
}

TEST_F(PageTest, ShowsWhatATerminalShowedLast) {
  add_running("ann");
  const Path log = supervisor::log_file(project_, "ann", 1);
  std::filesystem::create_directories(log.parent_path());
  ASSERT_TRUE(write_file_atomically(log, "one\r\n\x1b[1mtwo\x1b[0m\r\n"));
  add(trial::phase("ann", "stopped"));
  const std::string all = get("/api/agents/ann/terminal").body;
  EXPECT_NE(all.find("{\"live\":false}"), std::string::npos);
  EXPECT_NE(all.find(net::base64_encode("one\r\ntwo")), std::string::npos) << all;
  EXPECT_NE(all.find("ann is stopped"), std::string::npos);
}

TEST_F(PageTest, FollowsTheConfiguration) {
  configure("[roles.coder]\nharness = \"generic\"\n[roles.tester]\nharness = \"generic\"\n");
  std::filesystem::last_write_time(project_.config(),
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(get("/api/state").json()["roles"].size(), 2U);
  configure("[roles.coder\n");
  std::filesystem::last_write_time(project_.config(),
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(2));
  const Json broken = get("/api/state").json();
  EXPECT_EQ(broken["roles"].size(), 2U);
  EXPECT_NE(broken["problem"].get<std::string>().find("agents.toml"), std::string::npos);
}

TEST(Gate, ATokenIsAnothersEachTime) {
  EXPECT_NE(random_token(), random_token());
  EXPECT_EQ(random_token().find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
}  // namespace onsight::agents::page
