// Pods against a kubectl that checks what it is asked (tests/agents/fake_kubectl.py); no cluster.
#include "agents/runtime/kubernetes/pods.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace onsight::agents::runtime::kubernetes {
namespace {

using std::chrono::seconds;

class PodsTest : public testing::Test {
 protected:
  PodsTest() {
    std::string name = (std::filesystem::temp_directory_path() / "onsight-pods-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    ::setenv("FAKE_KUBECTL", folder_.c_str(), 1);
    // A python3 that a chain of scripts leads to takes longer to begin than all else here.
    const char* path = std::getenv("PATH");
    path_ = path ? path : "/usr/bin:/bin";
    ::setenv("PATH", ("/usr/bin:" + path_).c_str(), 1);
    std::filesystem::create_directories(clone() / "repo/.git");
    std::filesystem::create_directories(clone() / "home");
    std::ofstream(clone() / "repo/.git/config") << "config";
    std::filesystem::create_symlink("/etc/passwd", clone() / "repo/link");
    std::ofstream(clone() / "repo/run.sh") << "run";
    std::filesystem::permissions(clone() / "repo/run.sh", std::filesystem::perms(0750));
  }
  ~PodsTest() override {
    ::unsetenv("FAKE_KUBECTL");
    ::setenv("PATH", path_.c_str(), 1);
    std::filesystem::remove_all(folder_);
  }

  Path clone() const { return folder_ / "clones/box"; }
  Path claim() const { return folder_ / "claims/onsight-0123-box"; }
  ContainerSpec spec(std::string name, std::vector<std::string> command, bool terminal = true) const {
    ContainerSpec out;
    out.name = std::move(name);
    out.image = "onsight-agents/generic:1";
    out.command = std::move(command);
    out.uid = out.gid = 10'000;
    out.terminal = terminal;
    out.mounts = {{clone(), "/agent", false}};
    out.labels = {{std::string(kProjectLabel), "0123"}, {std::string(kAgentLabel), "box"}};
    return out;
  }
  State state_of(const std::string& id) const {
    const auto pod = pods_.look_at(id);
    EXPECT_TRUE(pod && *pod) << (pod ? "gone" : pod.error().message);
    return pod && *pod ? (*pod)->info.state : State::kUnknown;
  }
  bool is_there(const std::string& name) const { return std::filesystem::exists(folder_ / name); }

  std::filesystem::path folder_;
  std::string path_;
  const Pods pods_{{.name_space = "bots"},
                   {.context = "kind-test",
                    .name_space = "bots",
                    .program = std::string(ONSIGHT_SOURCE_DIR) + "/tests/agents/fake_kubectl.py"}};
};

TEST_F(PodsTest, FromCreatedToGone) {
  const auto id = pods_.create(spec("box-1", {"/bin/sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.02; done"}));
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(*id, "box-1");
  EXPECT_EQ(state_of(*id), State::kCreated);
  EXPECT_TRUE(is_there("persistentvolumeclaim-onsight-0123-box.json"));
  const auto taken = pods_.create(spec("box-1", {"true"}));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().reason, "name_taken");
  Status started = pods_.start(*id);
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_TRUE(pods_.start(*id));  // it runs already
  EXPECT_EQ(state_of(*id), State::kRunning);

  const auto listed = pods_.list({{std::string(kProjectLabel), "0123"}, {std::string(kAgentLabel), "box"}});
  ASSERT_TRUE(listed) << listed.error().message;
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().labels.at("onsight.project"), "0123");
  EXPECT_TRUE(pods_.list({{std::string(kProjectLabel), "none"}})->empty());

  const auto said =
      pods_.exec(*id, {"/bin/sh", "-c", "echo out; echo $1 >&2; exit 3", "sh", "$(x) `y`"}, seconds(20), 1000);
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said->exit_code, 3);
  EXPECT_EQ(said->out, "out\n");
  EXPECT_EQ(said->err, "$(x) `y`\n");
  EXPECT_EQ(pods_.exec(*id, {"true"}, seconds(20), 1000)->exit_code, 0);

  const auto running = pods_.wait(*id, std::chrono::milliseconds(10));
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().reason, "late");
  const Status stopped = pods_.stop(*id, seconds(20));
  ASSERT_TRUE(stopped) << stopped.error().message;
  EXPECT_EQ(pods_.wait(*id, seconds(1)).value_or(-1), 7);  // it ended by itself, and its pod still says how
  EXPECT_TRUE(pods_.stop(*id, seconds(1)));
  const auto late = pods_.exec(*id, {"true"}, seconds(20), 1000);
  EXPECT_FALSE(late);
  EXPECT_TRUE(pods_.remove(*id));
  EXPECT_TRUE(pods_.remove(*id));
  EXPECT_EQ(pods_.look_at(*id).value(), std::nullopt);
  EXPECT_EQ(pods_.exec(*id, {"true"}, seconds(20), 1000).error().reason, "gone");
  EXPECT_EQ(pods_.wait(*id, seconds(1)).error().reason, "gone");
  EXPECT_EQ(pods_.start(*id).error().reason, "gone");
  EXPECT_TRUE(is_there("persistentvolumeclaim-onsight-0123-box.json"));  // the clone outlives its pods
  EXPECT_TRUE(pods_.remove_claim("0123", clone()));
  EXPECT_FALSE(std::filesystem::exists(claim()));
  EXPECT_TRUE(pods_.remove_claim("0123", clone()));
  EXPECT_FALSE(is_there("persistentvolumeclaim-onsight-0123-box.json"));
}

TEST_F(PodsTest, WhoTakesNoNoticeOfTermIsDeleted) {
  const auto id = pods_.create(spec("box-1", {"/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.02; done"}));
  ASSERT_TRUE(id && pods_.start(*id));
  EXPECT_TRUE(pods_.stop(*id, seconds(1)));
  EXPECT_EQ(pods_.look_at(*id).value(), std::nullopt);
}

TEST_F(PodsTest, AnImageThatIsNotThereIsSaidAndThePodRemoved) {
  const auto id = pods_.create(spec("box-1", {"true"}));
  ASSERT_TRUE(id) << id.error().message;
  std::ofstream(folder_ / "image-missing") << "x";
  const Status started = pods_.start(*id);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().reason, "no_image");
  EXPECT_EQ(started.error().message.find("box-1: ErrImagePull: rpc error"), 0u) << started.error().message;
  EXPECT_EQ(pods_.look_at(*id).value(), std::nullopt);
}

TEST_F(PodsTest, ACommandRunsToItsEndInAPodOfItsOwn) {
  std::string out;
  const auto keep = [&](std::string_view bytes) {
    out += bytes;
    return Status();
  };
  const auto agent = pods_.create(spec("box-1", {"/bin/sleep", "60"}));
  ASSERT_TRUE(agent && pods_.start(*agent));
  const ContainerSpec collect =
      spec("onsight-0123456789ab-a-name-that-is-as-long-as-it-may-be-collect-01HXYZ0123456789ABCDEFGHJK",
           {"/bin/sh", "-c", "printf 'a\\0b'; echo why >&2; exit 4"}, /*terminal=*/false);
  const auto ran = pods_.run(collect, keep, seconds(30));
  ASSERT_TRUE(ran) << ran.error().message;
  EXPECT_EQ(ran->exit_code, 4);
  EXPECT_EQ(ran->err, "why\n");
  EXPECT_EQ(out, std::string("a\0b", 3));
  EXPECT_EQ(pods_.list({{std::string(kProjectLabel), "0123"}})->size(), 1u);  // the agent's
  EXPECT_TRUE(pods_.remove(*agent));
  EXPECT_FALSE(pods_.run(spec("box-2", {"true"}), keep, seconds(30)));  // with a terminal
}

TEST_F(PodsTest, AClaimIsFilledOnceWithWhatIsInTheFolder) {
  const auto first = pods_.create(spec("box-1", {"/bin/sleep", "60"}));
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(read_file(claim() / "repo/.git/config", 100).value_or("none"), "config");
  EXPECT_EQ(std::filesystem::read_symlink(claim() / "repo/link"), "/etc/passwd");
  EXPECT_EQ(std::filesystem::status(claim() / "repo/run.sh").permissions(), std::filesystem::perms(0750));
  EXPECT_TRUE(std::filesystem::is_directory(claim() / "home"));
  EXPECT_FALSE(std::filesystem::exists(claim() / "claim"));  // the sign that it is filled stays here
  // What the agent did is not written over.
  std::ofstream(claim() / "repo/run.sh") << "its own";
  ASSERT_TRUE(pods_.create(spec("box-2", {"/bin/sleep", "60"})));
  EXPECT_EQ(read_file(claim() / "repo/run.sh", 100).value_or("none"), "its own");
  EXPECT_EQ(pods_.list({{std::string(kPurposeLabel), "fill"}})->size(), 0u);
  // Nor is it begun from nothing where it has gone.
  ASSERT_TRUE(pods_.remove("box-1") && pods_.remove("box-2") && pods_.remove_claim("0123", clone()));
  const auto gone = pods_.create(spec("box-3", {"true"}));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().message,
            "box-3: its files were in the claim onsight-0123-box of the namespace bots, which is gone");
}

TEST_F(PodsTest, AClaimThatWasLeftHalfFullIsFilledAgain) {
  ASSERT_TRUE(pods_.create(spec("box-1", {"true"})) && pods_.remove("box-1"));
  // As if it had been killed before the claim was whole.
  const Path file = folder_ / "persistentvolumeclaim-onsight-0123-box.json";
  Json half = Json::parse(read_file(file, 1 << 20).value());
  half["metadata"].erase("annotations");
  std::ofstream(file) << half.dump();
  std::filesystem::remove(clone() / "claim");
  std::filesystem::remove_all(claim() / "home");
  std::ofstream(claim() / "repo/.git/config") << "con";
  const auto again = pods_.create(spec("box-1", {"true"}));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(read_file(claim() / "repo/.git/config", 100).value_or("none"), "config");
  EXPECT_TRUE(std::filesystem::exists(claim() / "home"));
  // One that is being deleted is waited for.
  half["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z";
  std::ofstream(file) << half.dump();
  const auto late = pods_.create(spec("box-2", {"true"}));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kBusy);
}

TEST_F(PodsTest, WhatCannotBePackedLeavesTheClaimUnmarked) {
  std::filesystem::remove_all(clone() / "repo");
  std::filesystem::remove_all(clone() / "home");
  const auto empty = pods_.create(spec("box-1", {"true"}));
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().message.find("expected a clone in it"), std::string::npos) << empty.error().message;
  EXPECT_FALSE(std::filesystem::exists(clone() / "claim"));
  std::filesystem::remove_all(clone());
  EXPECT_FALSE(pods_.create(spec("box-1", {"true"})));
}

TEST_F(PodsTest, WhoMayNotWriteNamespacesWorksInOneThatIsThere) {
  std::ofstream(folder_ / "namespace-bots.json") << "{}";
  std::ofstream(folder_ / "no-namespaces") << "x";
  const auto made = pods_.create(spec("box-1", {"true"}));
  EXPECT_TRUE(made) << made.error().message;
  std::ofstream(folder_ / "quota") << "x";
  const auto full = pods_.create(spec("box-2", {"true"}));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().reason, "forbidden");
  EXPECT_EQ(full.error().code, ErrorCode::kBadInput);  // it does not pass by itself
  EXPECT_EQ(full.error().message.find('\n'), std::string::npos);
}

TEST_F(PodsTest, AFileIsGivenToAPod) {
  const auto id = pods_.create(spec("box-1", {"/bin/sleep", "60"}));
  ASSERT_TRUE(id && pods_.start(*id));
  std::ofstream(folder_ / "big") << std::string(3'000'000, 'x');
  const Path place = folder_ / "a \"b\" $c";
  const Status put = pods_.put(*id, folder_ / "big", place.string());
  ASSERT_TRUE(put) << put.error().message;
  EXPECT_EQ(std::filesystem::file_size(place), 3'000'000u);
  EXPECT_FALSE(pods_.put(*id, folder_ / "big", "/no/such/folder/x"));
  EXPECT_FALSE(pods_.put(*id, folder_ / "none", place.string()));
  EXPECT_TRUE(pods_.remove(*id));
}

TEST(KubectlErrors, EachIsOneSentenceWithWhatCanBeDoneAboutIt) {
  const auto told = [](std::string_view said) {
    const Error error = error_of(said);
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << error.message;
    return std::string(error.reason) + (error.code == ErrorCode::kIo ? " passes" : "");
  };
  EXPECT_EQ(told("Error from server (NotFound): pods \"x\" not found\n"), "gone");
  EXPECT_EQ(told("Error from server (AlreadyExists): pods \"x\" already exists\n"), "name_taken");
  EXPECT_EQ(told("E1123 memcache.go:1: x\nUnable to connect to the server: net/http: TLS handshake timeout\n"),
            "unreachable passes");
  EXPECT_EQ(told("The connection to the server localhost:8080 was refused - did you specify the right host?\n"),
            "unreachable passes");
  EXPECT_EQ(told("Error from server: error dialing backend: dial tcp 10.0.0.3:10250: i/o timeout\n"),
            "unreachable passes");
  EXPECT_EQ(told("Error from server (Forbidden): pods is forbidden: User \"u\" cannot list\n"), "forbidden");
  EXPECT_EQ(told("error: You must be logged in to the server (Unauthorized)\n"), "");
  EXPECT_EQ(told(""), "unreachable passes");  // it was killed
}

TEST_F(PodsTest, WithoutAnApiServer) {
  std::ofstream(folder_ / "unreachable") << "x";
  const auto listed = pods_.list({{std::string(kProjectLabel), "0123"}});
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().reason, "unreachable");
  EXPECT_EQ(listed.error().code, ErrorCode::kIo);  // it may pass
  EXPECT_EQ(listed.error().message,
            "kubectl: Unable to connect to the server: dial tcp 127.0.0.1:6443: connect: connection refused");
}

// --- what pods look like

PodInfo parsed(std::string_view status, std::string_view spec = "{}") {
  const auto pod = parse_pod(Json::parse(fmt::format(R"({{"metadata":{{"name":"p","labels":{{"a":"b","c":1}}}},)"
                                                     R"("spec":{},"status":{}}})",
                                                     spec, status)));
  EXPECT_TRUE(pod) << pod.error().message;
  return pod ? *pod : PodInfo();
}

TEST(PodParsing, StatesAreTold) {
  EXPECT_EQ(parsed(R"({"phase":"Pending"})").info.state, State::kCreated);
  EXPECT_EQ(parsed(R"({"phase":"Unknown"})").info.state, State::kUnknown);
  EXPECT_EQ(parsed(R"({"phase":"Running"})").info.labels, (Labels{{"a", "b"}}));
  const PodInfo killed = parsed(
      R"({"phase":"Running","containerStatuses":[{"name":"agent","state":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]})");
  EXPECT_EQ(killed.info.state, State::kExited);
  EXPECT_EQ(killed.info.exit_code, 137);
  EXPECT_TRUE(killed.info.out_of_memory);
  const PodInfo evicted = parsed(R"({"phase":"Failed","reason":"Evicted"})");
  EXPECT_EQ(evicted.info.state, State::kExited);
  EXPECT_EQ(evicted.info.exit_code, std::nullopt);
  const PodInfo unschedulable = parsed(
      R"({"phase":"Pending","conditions":[{"type":"PodScheduled","reason":"Unschedulable","message":"0/3 nodes"}]})");
  EXPECT_EQ(unschedulable.trouble, "Unschedulable: 0/3 nodes");
  const PodInfo placed =
      parsed(R"({"phase":"Running"})",
             R"({"nodeName":"n","volumes":[{"name":"w","persistentVolumeClaim":{"claimName":"c"}}]})");
  EXPECT_EQ(placed.node, "n");
  EXPECT_EQ(placed.claim, "c");
}

TEST(PodParsing, WhatIsNoPodIsAnErrorOrLittle) {
  for (const char* text :
       {"null", "[]", "{}", R"({"metadata":{"name":"p"}})", R"({"metadata":{"name":1},"status":{"phase":"Running"}})"})
    EXPECT_FALSE(parse_pod(Json::parse(text))) << text;
  for (const char* status : {R"({"phase":"Running","containerStatuses":7})",
                             R"({"phase":"Running","containerStatuses":[7,{"name":"agent","state":[]}]})",
                             R"({"phase":"Pending","conditions":[null,"x"]})"})
    EXPECT_EQ(parsed(status, R"({"volumes":[1,{"persistentVolumeClaim":"x"}]})").trouble, "") << status;
}

}  // namespace
}  // namespace onsight::agents::runtime::kubernetes
