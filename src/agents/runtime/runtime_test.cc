// The runtime against scripted engines: what docker and podman said when they were asked, in what they differ, and
// engines that fail in the middle or talk rubbish.
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>

#include "agents/runtime/answers.h"
#include "agents/runtime/checks.h"
#include "agents/runtime/fake_engine.h"
#include "agents/runtime/frames.h"
#include "agents/runtime/request.h"
#include "agents/runtime/scenario.h"
#include "agents/runtime/seccomp_profile.h"

namespace onsight::agents::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Source = FrameDecoder::Source;

const std::string kId(64, 'a');  // NOLINT(cert-err58-cpp)

class RuntimeTest : public testing::Test {
 protected:
  RuntimeTest() {
    std::string name = (std::filesystem::temp_directory_path() / "onsight-runtime-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~RuntimeTest() override { std::filesystem::remove_all(folder_); }
  std::string socket() const { return (folder_ / "engine.sock").string(); }
  std::unique_ptr<Runtime> connected() const {
    auto found = connect({.engine = "auto", .socket = socket()});
    EXPECT_TRUE(found) << found.error().message;
    return found ? std::move(*found) : nullptr;
  }
  static std::string body_of(const std::string& request) {
    const size_t end = request.find("\r\n\r\n");
    return end == std::string::npos ? std::string() : request.substr(end + 4);
  }
  static std::string container(std::string_view state, int code = 0, bool terminal = true) {
    return FakeEngine::json(
        200, fmt::format(R"({{"Id":"{}","Name":"/a","State":{{"Status":"{}","ExitCode":{},"OOMKilled":false}},)"
                         R"("Config":{{"Tty":{},"Labels":{{"onsight.agent":"a"}}}}}})",
                         kId, state, code, terminal));
  }

  Path folder_;
};

ContainerSpec any_spec() { return scenario_spec("a", "image:1", {"sh"}, true); }

// --- what real engines said

class Replayed : public RuntimeTest, public testing::WithParamInterface<const char*> {};

TEST_P(Replayed, TheWholeScenario) {
  const auto recorded =
      load_json(Path(ONSIGHT_SOURCE_DIR) / "tests/agents/recorded" / (std::string(GetParam()) + ".json"));
  ASSERT_TRUE(recorded) << recorded.error().message;
  ReplayedEngine engine(socket(), (*recorded)["connections"]);
  const auto runtime = connected();
  ASSERT_TRUE(runtime);
  EXPECT_EQ(runtime->engine(), GetParam());
  scenario(*runtime, (*recorded)["image"].get<std::string>(), folder_);
  EXPECT_EQ(engine.unknown(), std::vector<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Engines, Replayed, testing::Values("docker", "podman"),
                         [](const auto& one) { return std::string(one.param); });

// --- which engine

TEST_F(RuntimeTest, TheEngineIsTheOneThatAnswers) {
  for (const auto& [version, name] : {std::pair(kDockerVersion, "docker"), std::pair(kPodmanVersion, "podman")}) {
    const FakeEngine engine(socket(), version);
    const auto runtime = connected();
    ASSERT_TRUE(runtime);
    EXPECT_EQ(runtime->engine(), name);
    EXPECT_EQ(runtime->socket(), socket());
    EXPECT_TRUE(connect({.engine = name, .socket = socket()}));
    const auto other = connect({.engine = std::string(name) == "docker" ? "podman" : "docker", .socket = socket()});
    ASSERT_FALSE(other);
    EXPECT_NE(other.error().message.find(fmt::format("{}: it is {}", socket(), name)), std::string::npos);
  }
  const auto none = connect({.engine = "auto", .socket = (folder_ / "none").string()});
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("no container engine: expected docker or podman to answer"), std::string::npos);
  EXPECT_FALSE(connect({.engine = "lxc"}));
}

TEST_F(RuntimeTest, DockerHostIsHeard) {
  const FakeEngine engine(socket());
  ::setenv("DOCKER_HOST", ("unix://" + socket()).c_str(), 1);
  EXPECT_TRUE(connect({}));
  ::setenv("DOCKER_HOST", "tcp://10.0.0.1:2375", 1);
  const auto remote = connect({});
  ASSERT_FALSE(remote);
  EXPECT_NE(remote.error().message.find("DOCKER_HOST: expected unix://"), std::string::npos);
  ::unsetenv("DOCKER_HOST");
}

TEST_F(RuntimeTest, VersionsOfTheApi) {
  const auto prefix = [](std::string_view newest, std::string_view oldest) {
    const auto parsed =
        parse_version(fmt::format(R"({{"Version":"1","ApiVersion":"{}","MinAPIVersion":"{}"}})", newest, oldest));
    return parsed ? parsed->prefix : parsed.error().message;
  };
  EXPECT_EQ(prefix("1.41", "1.12"), "/v1.40");
  EXPECT_EQ(prefix("1.52", "1.44"), "/v1.44");
  EXPECT_EQ(prefix("2.0", "2.0"), "/v2.0");
  EXPECT_NE(prefix("1.39", "1.12").find("expected its API 1.40 or newer"), std::string::npos);
  for (const char* bad : {"", "1", "1.", ".1", "1.2.3", "x", "1.99999", "-1.4"})
    EXPECT_NE(prefix(bad, "1.12").find("expected versions"), std::string::npos) << bad;
}

TEST_F(RuntimeTest, RubbishIsNoEngine) {
  for (const std::string& says :
       {std::string(), std::string("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), FakeEngine::json(200, "[]"),
        FakeEngine::json(200, "{}"), FakeEngine::json(200, "null"), FakeEngine::json(200, R"({"Version":5})"),
        FakeEngine::json(500, "{}"), FakeEngine::json(200, std::string(100'000, '[')), std::string("\x15\x03\x01")}) {
    FakeEngine engine(socket());
    engine.on("GET", "/version", says);
    EXPECT_FALSE(connect({.engine = "auto", .socket = socket()})) << says.substr(0, 100);
  }
}

// --- the differences

TEST_F(RuntimeTest, TheProfileGoesToDockerInlineAndToPodmanByPath) {
  for (const bool by_path : {false, true}) {
    const std::string_view version = by_path ? kPodmanVersion : kDockerVersion;
    FakeEngine engine(socket(), version);
    std::string seen;
    engine.on("POST", "/containers/create", [&](const std::string& request) {
      const Json body = Json::parse(body_of(request));
      const std::string option = body["HostConfig"]["SecurityOpt"][1];
      const std::string value = option.substr(std::string_view("seccomp=").size());
      if (by_path) {
        const auto file = read_file(value);
        seen = file ? *file : file.error().message;
      } else {
        seen = value;
      }
      EXPECT_EQ(body["HostConfig"].contains("Ulimits"), by_path);
      return FakeEngine::json(201, fmt::format(R"({{"Id":"{}","Warnings":[]}})", kId));
    });
    const auto runtime = connected();
    ASSERT_TRUE(runtime);
    EXPECT_EQ(runtime->create(any_spec()).value_or("error"), kId);
    EXPECT_EQ(seen, seccomp_profile());
  }
}

TEST_F(RuntimeTest, EveryContainerIsShutIn) {
  ContainerSpec spec = any_spec();
  spec.mounts = {{"/home/me/clone", "/agent", false}, {"/run/me/a", "/run/onsight", true}};
  spec.limits.memory_bytes = 123 << 20;
  spec.limits.cpus = 1.5;
  const auto text = creation(spec, kDocker, "PROFILE");
  ASSERT_TRUE(text) << text.error().message;
  const Json body = Json::parse(*text), host = body["HostConfig"];
  EXPECT_EQ(host["NetworkMode"], "none");
  EXPECT_EQ(host["ReadonlyRootfs"], true);
  EXPECT_EQ(host["Privileged"], false);
  EXPECT_EQ(host["CapDrop"], Json({"ALL"}));
  EXPECT_EQ(host["SecurityOpt"], Json({"no-new-privileges", "seccomp=PROFILE"}));
  EXPECT_EQ(host["IpcMode"], "private");
  EXPECT_EQ(host["CgroupnsMode"], "private");
  EXPECT_EQ(host["Memory"], 123 << 20);
  EXPECT_EQ(host["MemorySwap"], 123 << 20);
  EXPECT_EQ(host["NanoCpus"], 1'500'000'000);
  EXPECT_EQ(host["PidsLimit"], 64);
  EXPECT_EQ(host["Tmpfs"]["/tmp"], "rw,exec,nosuid,nodev,size=8388608,mode=1777");
  ASSERT_EQ(host["Mounts"].size(), 2u);
  EXPECT_EQ(host["Mounts"][0]["ReadOnly"], false);
  EXPECT_EQ(host["Mounts"][1]["ReadOnly"], true);
  EXPECT_EQ(host["Mounts"][1]["BindOptions"]["Propagation"], "rprivate");
  EXPECT_EQ(body["User"], "12345:12345");
  EXPECT_EQ(body["StdinOnce"], false);
  for (const char* key : {"Devices", "Binds", "CapAdd", "PortBindings"}) EXPECT_FALSE(host.contains(key)) << key;

  const auto refused = [&](const std::function<void(ContainerSpec&)>& change) {
    ContainerSpec changed = spec;
    change(changed);
    const auto made = creation(changed, kDocker, "PROFILE");
    return made ? std::string() : made.error().message;
  };
  EXPECT_NE(refused([](ContainerSpec& s) { s.uid = 0; }), "");
  EXPECT_NE(refused([](ContainerSpec& s) { s.gid = 0; }), "");
  EXPECT_NE(refused([](ContainerSpec& s) { s.command.clear(); }), "");
  EXPECT_NE(refused([](ContainerSpec& s) { s.mounts = {{"relative", "/x", true}}; }), "");
  EXPECT_NE(refused([](ContainerSpec& s) { s.limits.pids = 0; }), "");
  EXPECT_NE(refused([](ContainerSpec& s) { s.limits.memory_bytes = 0; }), "");
  EXPECT_EQ(refused([](ContainerSpec& s) { s.command = {"sh", "-c", "`\"'$(x)\n\xff"}; }), "");
}

TEST_F(RuntimeTest, NothingIsTypedByAttaching) {
  FakeEngine engine(socket(), kPodmanVersion);
  engine.on("GET", "/json", container("running"));
  engine.on("POST", "/attach", FakeEngine::upgraded("$ "));
  const auto runtime = connected();
  const auto attached = runtime->attach(kId, /*replay=*/true);
  ASSERT_TRUE(attached) << attached.error().message;
  EXPECT_EQ(read_until(**attached, "$ "), "$ ");
  const std::string request = engine.request("/attach");
  EXPECT_EQ(body_of(request), "");
  EXPECT_EQ(request.find("Content-Length"), std::string::npos);
  EXPECT_NE(request.find("logs=1"), std::string::npos);
  EXPECT_NE(request.find("detachKeys=%FF"), std::string::npos);
  ASSERT_TRUE((*attached)->read(seconds(1)));
}

TEST_F(RuntimeTest, AFailedStartIsFinal) {
  for (const std::string& answer :
       {FakeEngine::json(500, R"({"message":"decoding seccomp profile failed: x."})"), std::string()}) {
    FakeEngine engine(socket());
    engine.on("POST", "/start", answer);
    engine.on("DELETE", "/containers/", FakeEngine::json(204, ""));
    const auto runtime = connected();
    const Status started = runtime->start(kId);
    ASSERT_FALSE(started);
    if (!answer.empty()) {
      EXPECT_EQ(started.error().message, "docker: starting a container: decoding seccomp profile failed: x");
    }
    EXPECT_NE(engine.request("DELETE").find("force=1&v=1"), std::string::npos);
  }
}

TEST_F(RuntimeTest, ANameThatIsTakenIsSaid) {
  for (const auto& [version, status] : {std::pair(kDockerVersion, 409), std::pair(kPodmanVersion, 500)}) {
    FakeEngine engine(socket(), version);
    engine.on("POST", "/containers/create",
              FakeEngine::json(status, R"({"message":"the name \"a\" is already in use by x"})"));
    const auto created = connected()->create(any_spec());
    ASSERT_FALSE(created);
    EXPECT_EQ(created.error().reason, "name_taken");
  }
}

TEST_F(RuntimeTest, PodmanKillsBeforeItRemoves) {
  FakeEngine engine(socket(), kPodmanVersion);
  engine.on("POST", "/kill", FakeEngine::json(409, "{}"));  // it has ended
  engine.on("DELETE", "/containers/", FakeEngine::json(200, "[]"));
  EXPECT_TRUE(connected()->remove(kId));
  EXPECT_NE(engine.request("/kill?signal=KILL"), "");
}

TEST_F(RuntimeTest, ARemovalThatIsUnderWayIsWaitedFor) {
  FakeEngine engine(socket());
  std::atomic<int> asked{0};
  engine.on("DELETE", "/containers/", FakeEngine::json(409, R"({"message":"removal is already in progress"})"));
  engine.on("GET", "/json",
            [&](const std::string&) { return ++asked < 3 ? container("removing") : FakeEngine::json(404, "{}"); });
  EXPECT_TRUE(connected()->remove(kId));
  EXPECT_EQ(asked, 3);
}

TEST_F(RuntimeTest, WhatHasEndedIsStoppedAndWhatIsGoneIsRemoved) {
  FakeEngine engine(socket());
  for (const int status : {204, 304, 404}) {
    engine.on("POST", "/stop", FakeEngine::json(status, ""));
    EXPECT_TRUE(connected()->stop(kId, seconds(1))) << status;
  }
  engine.on("POST", "/stop", FakeEngine::json(500, R"({"message":"it was never started"})"));
  engine.on("GET", "/json", container("created"));
  EXPECT_TRUE(connected()->stop(kId, seconds(1)));
  engine.on("GET", "/json", container("running"));
  EXPECT_FALSE(connected()->stop(kId, seconds(1)));
  engine.on("DELETE", "/containers/", FakeEngine::json(404, "{}"));
  EXPECT_TRUE(connected()->remove(kId));
}

// --- engines that fail in the middle

TEST_F(RuntimeTest, AnEngineThatGoesAwayIsAnError) {
  std::unique_ptr<Runtime> runtime;
  {
    FakeEngine engine(socket());
    runtime = connected();
    engine.on("GET", "/containers/json", "");
    const auto cut = runtime->list({});
    ASSERT_FALSE(cut);
    EXPECT_EQ(cut.error().reason, "unreachable");
    EXPECT_NE(cut.error().message.find("ends before it is whole"), std::string::npos);
  }
  const auto gone = runtime->list({});
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().reason, "unreachable");
  EXPECT_FALSE(runtime->create(any_spec()));
  EXPECT_FALSE(runtime->start(kId));
  EXPECT_FALSE(runtime->stop(kId, seconds(0)));
  EXPECT_FALSE(runtime->remove(kId));
  EXPECT_FALSE(runtime->inspect(kId));
  EXPECT_FALSE(runtime->attach(kId, false));
  EXPECT_FALSE(runtime->wait(kId, milliseconds(100)));
  EXPECT_FALSE(runtime->exec(kId, {"true"}, seconds(1), 10));
  EXPECT_FALSE(runtime->image_id("a:b"));
  EXPECT_FALSE(runtime->check("a:b"));
}

TEST_F(RuntimeTest, AStreamThatIsCutIsAnError) {
  FakeEngine engine(socket());
  engine.on("POST", "/exec", FakeEngine::json(201, fmt::format(R"({{"Id":"{}"}})", kId)));
  engine.on("GET", "/exec/", FakeEngine::json(200, R"({"Running":false,"ExitCode":0})"));
  const std::string whole = FakeEngine::frame(1, "hello") + FakeEngine::frame(2, "oops");
  const auto runtime = connected();
  for (const size_t bytes : {whole.size(), size_t{5}, size_t{10}, size_t{16}}) {
    engine.on("POST", "/start", FakeEngine::upgraded(std::string_view(whole).substr(0, bytes)));
    const auto ran = runtime->exec(kId, {"x"}, seconds(5), 100);
    EXPECT_EQ(ran.has_value(), bytes == whole.size()) << bytes;
    if (ran) {
      EXPECT_EQ(ran->out + "/" + ran->err, "hello/oops");
    }
  }
  engine.on("POST", "/start", FakeEngine::upgraded("rubbish, not a frame"));
  const auto rubbish = runtime->exec(kId, {"x"}, seconds(5), 100);
  ASSERT_FALSE(rubbish);
  EXPECT_NE(rubbish.error().message.find("expected the head of a frame"), std::string::npos);
}

TEST_F(RuntimeTest, ARunIsRemovedWhateverHappens) {
  ContainerSpec spec = any_spec();
  spec.terminal = false;
  const auto ignore = [](std::string_view) { return Status(); };
  for (const std::string_view broken : {"/attach", "/start", "/json"}) {
    FakeEngine engine(socket());
    engine.on("POST", "/containers/create", FakeEngine::json(201, fmt::format(R"({{"Id":"{}"}})", kId)));
    engine.on("POST", "/attach", FakeEngine::upgraded(FakeEngine::frame(1, "x")));
    engine.on("POST", "/start", FakeEngine::json(204, ""));
    engine.on("GET", "/json", container("exited", 4, false));
    engine.on("DELETE", "/containers/", FakeEngine::json(204, ""));
    EXPECT_EQ(connected()->run(spec, ignore, seconds(5))->exit_code, 4);
    engine.on(broken == "/json" ? "GET" : "POST", broken, FakeEngine::json(500, "{}"));
    EXPECT_FALSE(connected()->run(spec, ignore, seconds(5))) << broken;
    int removed = 0;
    for (const std::string& request : engine.requests()) removed += request.starts_with("DELETE") ? 1 : 0;
    EXPECT_GE(removed, 2) << broken;
  }
}

TEST_F(RuntimeTest, AnImportThatFailsWithin200IsAnError) {
  FakeEngine engine(socket());
  std::ofstream(folder_ / "a.tar") << "tar";
  engine.on("POST", "/images/create",
            FakeEngine::json(
                200, "{\"status\":\"Importing\"}\r\n{\"errorDetail\":{},\"error\":\"no space left on device\"}"));
  const Status failed = connected()->import_image(folder_ / "a.tar", "x/y:1", {}, {}, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "no space left on device");
  EXPECT_NE(engine.request("/images/create").find("fromSrc=-&repo=x/y&tag=1"), std::string::npos);
  engine.on("POST", "/images/create", FakeEngine::json(200, "{\"status\":\"sha256:1\"}"));
  EXPECT_FALSE(connected()->import_image(folder_ / "a.tar", "x/y:1", {}, {}, {}));  // it is not there
  EXPECT_FALSE(connected()->import_image(folder_ / "none.tar", "x/y:1", {}, {}, {}));
  for (const char* bad : {"a b", "a\"b", "a$b", "a\nb", "a\\b"}) {
    EXPECT_FALSE(connected()->import_image(folder_ / "a.tar", "x/y:1", {{"k", bad}}, {}, {})) << bad;
    EXPECT_FALSE(connected()->import_image(folder_ / "a.tar", "x/y:1", {}, {std::string("K=") + bad}, {})) << bad;
  }
}

TEST_F(RuntimeTest, AnswersThatAreNotAsDocumented) {
  for (const char* bad :
       {"", "null", "[]", "{}", R"({"Id":5})", R"({"Id":"../../x"})", R"({"Id":"abc"})", R"({"Id":"")"})
    EXPECT_FALSE(parse_id(bad, "here")) << bad;
  for (const char* bad : {"{}", R"([5])", R"([{"Id":"x"}])", R"([{"Id":"0123456789ab","Labels":[1]}])",
                          R"([{"Id":"0123456789ab","State":5}])", R"([{"Id":"0123456789ab","Labels":{"a":1}}])"})
    EXPECT_FALSE(parse_containers(bad)) << bad;
  EXPECT_EQ(parse_containers(R"([{"Id":"0123456789ab","Names":["/x"],"State":"dead","Labels":null}])")->front().name,
            "x");
  for (const char* bad :
       {"{}", "[]", R"({"Id":"0123456789ab"})", R"({"Id":"0123456789ab","Name":"a","State":"running"})",
        R"({"Id":"0123456789ab","Name":"a","State":{"Status":"exited"}})",
        R"({"Id":"0123456789ab","Name":"a","State":{"Status":"exited","ExitCode":1e99}})"})
    EXPECT_FALSE(parse_container(bad)) << bad;
  for (const char* bad : {"", "{}", R"({"StatusCode":"0"})", R"({"StatusCode":99999999999})"})
    EXPECT_FALSE(parse_wait(bad));
  EXPECT_EQ(parse_exec(R"({"Running":true,"ExitCode":0})").value(), std::nullopt);
  EXPECT_EQ(parse_exec(R"({"Running":false,"ExitCode":null})").value(), std::nullopt);
  EXPECT_FALSE(parse_exec(R"({"Running":"no"})"));
  EXPECT_EQ(refusal(500, R"({"cause":"b","message":"a\nb."})"), "a b");
  EXPECT_EQ(refusal(500, "plain text\nand more"), "plain text");
  EXPECT_EQ(refusal(500, ""), "status 500");
  EXPECT_LE(refusal(500, std::string(5000, 'x')).size(), 500u);
  ProgressLines lines;
  EXPECT_FALSE(lines.feed(std::string(1 << 20, 'x')));
}

TEST(Frames, AnyPiecesGiveTheSame) {
  const std::string all = FakeEngine::frame(1, "hello") + FakeEngine::frame(2, "") + FakeEngine::frame(0, "in") +
                          FakeEngine::frame(2, std::string(300, 'e')) + FakeEngine::frame(1, "\r\n");
  for (size_t at_once = 1; at_once <= all.size(); at_once += at_once < 20 ? 1 : 37) {
    FrameDecoder decoder;
    std::string out, err;
    for (size_t i = 0; i < all.size(); i += at_once)
      ASSERT_TRUE(decoder.feed(std::string_view(all).substr(i, at_once), [&](Source source, std::string_view piece) {
        (source == Source::kOut ? out : err) += piece;
        return Status();
      }));
    EXPECT_TRUE(decoder.between_frames());
    EXPECT_EQ(out, "helloin\r\n");
    EXPECT_EQ(err, std::string(300, 'e'));
  }
  for (const std::string& bad :
       {std::string("\x04\0\0\0\0\0\0\x01x", 9), std::string("\x01\x01\0\0\0\0\0\x01x", 9), std::string("HTTP/1.1")}) {
    FrameDecoder decoder;
    EXPECT_FALSE(decoder.feed(bad, [](Source, std::string_view) { return Status(); }));
  }
}

// --- what is refused, and what is found out

TEST(Seccomp, TheProfileIsAListOfWhatMayBeCalled) {
  const Json profile = Json::parse(seccomp_profile());
  EXPECT_EQ(profile["defaultAction"], "SCMP_ACT_ERRNO");
  EXPECT_EQ(profile["defaultErrnoRet"], 1);
  std::map<std::string, int> whole;
  for (const Json& rule : profile["syscalls"])
    for (const Json& name : rule["names"])
      if (rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].empty()) ++whole[name.get<std::string>()];
  for (const char* fine :
       {"read", "openat", "execve", "vfork", "futex", "epoll_pwait2", "statx", "socketpair", "rseq", "prctl"})
    EXPECT_EQ(whole[fine], 1) << fine;
  for (const char* bad : {"mount",
                          "umount2",
                          "unshare",
                          "setns",
                          "clone",
                          "clone3",
                          "socket",
                          "personality",
                          "ptrace",
                          "process_vm_readv",
                          "pidfd_getfd",
                          "bpf",
                          "init_module",
                          "finit_module",
                          "keyctl",
                          "add_key",
                          "io_uring_setup",
                          "perf_event_open",
                          "userfaultfd",
                          "open_by_handle_at",
                          "reboot",
                          "swapon",
                          "syslog",
                          "kexec_load",
                          "pivot_root",
                          "chroot",
                          "move_mount",
                          "fsopen",
                          "open_tree",
                          "mount_setattr",
                          "acct",
                          "settimeofday",
                          "iopl",
                          "quotactl",
                          "name_to_handle_at",
                          "memfd_secret",
                          "fanotify_init"})
    EXPECT_EQ(whole.count(bad), 0u) << bad;
  for (const auto& [name, times] : whole) EXPECT_EQ(times, 1) << name;
}

// What a container that is shut in prints.
std::string good_print() {
  std::string out;
  for (const char* line : {"status Uid: 54321\t54321\t54321\t54321",
                           "status Gid: 54321\t54321\t54321\t54321",
                           "status CapInh: 0000000000000000",
                           "status CapPrm: 0000000000000000",
                           "status CapEff: 0000000000000000",
                           "status CapBnd: 0000000000000000",
                           "status CapAmb: 0000000000000000",
                           "status NoNewPrivs: 1",
                           "status Seccomp: 2",
                           "mount 1 0 0:1 / / ro,relatime - overlay overlay ro",
                           "mount 2 1 0:2 / /proc rw - proc proc rw",
                           "mount 3 1 0:3 / /tmp rw - tmpfs tmpfs rw",
                           "mount 4 1 8:1 /var/lib/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw",
                           "mount 5 1 0:4 /null /proc/kcore rw - tmpfs tmpfs rw",
                           "device lo",
                           "cgroup memory/memory.limit_in_bytes 67108864",
                           "cgroup memory/memory.memsw.limit_in_bytes 67108864",
                           "cgroup pids/pids.max 40",
                           "cgroup cpu/cpu.cfs_quota_us 50000",
                           "root refused",
                           "tmp 8388608",
                           "name 2",
                           "unshare 1",
                           "unshare 1",
                           "mount_try 1",
                           "mount_try 32",
                           "memory 137",
                           "throttled 5",
                           "last",
                           "pid 1",
                           "pid 2"})
    out += line + std::string("\n");
  return out;
}

std::vector<std::string> not_enforced(std::string_view printed, const EngineInfo& info) {
  std::vector<std::string> names;
  for (const Check& check : judge(printed, info, check_spec("image")))
    if (!check.enforced && check.required) names.push_back(check.name);
  return names;
}

TEST(Checks, WhatIsMissingIsFound) {
  const EngineInfo info{.memory = true,
                        .swap = true,
                        .pids = true,
                        .cpu = true,
                        .seccomp = true,
                        .cgroup_version = "1",
                        .cgroup_driver = "cgroupfs",
                        .storage = "overlay2"};
  const std::string good = good_print();
  EXPECT_EQ(not_enforced(good, info), std::vector<std::string>());
  EXPECT_EQ(judge("", info, check_spec("image")).size(), 15u);
  EXPECT_EQ(not_enforced("", info).size(), 13u);  // all but the engine itself, and the disk
  const auto with = [&](std::string_view before, std::string_view after) {
    std::string changed = good;
    const size_t at = changed.find(before);
    EXPECT_NE(at, std::string::npos) << before;
    changed.replace(at, before.size(), after);
    const auto names = not_enforced(changed, info);
    return names.size() == 1 ? names.front() : fmt::format("{} checks", names.size());
  };
  EXPECT_EQ(with("device lo", "device lo\ndevice eth0"), "no network");
  EXPECT_EQ(with("device lo", "device lo\nroute 00000000"), "no route, no names");
  EXPECT_EQ(with("name 2", "name 0"), "no route, no names");
  EXPECT_EQ(with("Uid: 54321", "Uid: 0"), "unprivileged user");
  EXPECT_EQ(with("CapBnd: 0000000000000000", "CapBnd: 00000000a80425fb"), "no capabilities");
  EXPECT_EQ(with("NoNewPrivs: 1", "NoNewPrivs: 0"), "no new privileges");
  EXPECT_EQ(with("unshare 1", "unshare 0"), "seccomp");
  EXPECT_EQ(with("mount_try 1", "mount_try 0"), "seccomp");
  EXPECT_EQ(with("Seccomp: 2", "Seccomp: 0"), "seccomp");
  EXPECT_EQ(with("/ / ro,", "/ / rw,"), "read-only root");
  EXPECT_EQ(with("root refused", "root written"), "read-only root");
  EXPECT_EQ(with("device lo", "device lo\nmount 9 1 8:1 /home /host rw - ext4 /dev/sda1 rw"), "no host paths");
  EXPECT_EQ(with("device lo", "device lo\nmount 9 1 8:1 /lock /run/lock rw - tmpfs tmpfs rw"), "no host paths");
  EXPECT_EQ(with("device lo", "device lo\nmount 9 1 8:1 /etc/passwd /etc/passwd ro - ext4 /dev/sda1 rw"),
            "no host paths");
  EXPECT_EQ(with("device lo", "device lo\nsocket /run/docker.sock"), "no host paths");
  EXPECT_EQ(with("tmp 8388608", "tmp 12582912"), "tmpfs size");
  EXPECT_EQ(with("limit_in_bytes 67108864", "limit_in_bytes 9223372036854771712"), "2 checks");  // and swap
  EXPECT_EQ(with("memsw.limit_in_bytes 67108864", "memsw.limit_in_bytes 9223372036854771712"), "no swap");
  EXPECT_EQ(with("memory 137", "memory 0"), "2 checks");
  EXPECT_EQ(with("pids.max 40", "pids.max max"), "pids limit");
  EXPECT_EQ(with("throttled 5", "throttled 0"), "cpu limit");
  EXPECT_EQ(with("cfs_quota_us 50000", "cfs_quota_us -1"), "cpu limit");
  EngineInfo rootless = info;
  rootless.rootless = true;
  EXPECT_EQ(not_enforced(good, rootless), std::vector<std::string>{"engine with cgroups"});
  rootless.cgroup_version = "2";
  EXPECT_EQ(not_enforced(good, rootless), std::vector<std::string>());
  rootless.pids = false;
  EXPECT_EQ(not_enforced(good, rootless), std::vector<std::string>{"engine with cgroups"});
}

}  // namespace
}  // namespace onsight::agents::runtime
