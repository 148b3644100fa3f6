// For this folder's tests: a user's repository, an agent's clone of it, and the shell that both would type into.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "agents/workspace/folders.h"
#include "agents/workspace/workspace.h"
#include "base/subprocess.h"

namespace onsight::agents::workspace {

// What a line of the shell prints; a test fails where it does.
inline std::string shell(const Path& folder, const std::string& line, bool may_fail = false) {
  std::string out;
  const auto keep = [&](std::string_view part) {
    out += part;
    return Status();
  };
  const char* path = std::getenv("PATH");
  const Result<Ended> ended =
      onsight::run({.command = {"sh", "-ec", line},
                    .environment = {{"PATH=" + std::string(path != nullptr ? path : "/usr/bin:/bin"), "LC_ALL=C.UTF-8",
                                     "HOME=/nonexistent", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
                                     "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@a", "GIT_COMMITTER_NAME=A",
                                     "GIT_COMMITTER_EMAIL=a@a", "GIT_ALLOW_PROTOCOL=file"}},
                    .folder = folder,
                    .output = keep,
                    .limit = std::chrono::seconds(120)});
  if (!ended)
    ADD_FAILURE() << line << ": " << ended.error().message;
  else if (ended->code != 0 && !may_fail)
    ADD_FAILURE() << line << ": " << ended->errors;
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class WorkspaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "onsight-workspace-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = std::filesystem::canonical(name);
    ::setenv("ONSIGHT_AGENTS_STATE", (folder / "state").c_str(), 1);
    ::setenv("ONSIGHT_AGENTS_RUN", name.c_str(), 1);
    const char* former = std::getenv("HOME");
    home = former != nullptr ? former : "";
    ::setenv("HOME", name.c_str(), 1);  // what is configured for who runs the tests is not theirs
    user = folder / "user";
    make_user(user);
  }
  void TearDown() override {
    ::setenv("HOME", home.c_str(), 1);
    ::unsetenv("ONSIGHT_AGENTS_STATE");
    ::unsetenv("ONSIGHT_AGENTS_RUN");
    workspace.reset();
    (void)remove_tree(folder);
  }

  void make_user(const Path& where, const std::string& options = "") {
    std::filesystem::create_directories(where);
    shell(where, "git init -q -b main " + options +
                     " && git config user.name 'The User' && git config user.email user@example.com"
                     " && mkdir src && printf 'one\\ntwo\\nthree\\n' > a.txt && echo int main > src/main.c && git add "
                     ". && git commit -qm begin");
  }
  void open(const Limits& limits = {}) {
    const Result<Project> found = Project::find(user);
    ASSERT_TRUE(found) << found.error().message;
    project = *found;
    Result<std::unique_ptr<Workspace>> opened = Workspace::open(project, limits);
    ASSERT_TRUE(opened) << opened.error().message;
    workspace = std::move(*opened);
  }
  // An agent's clone, at `clone`.
  void begin(const std::string& agent = "reviewer", const Limits& limits = {}) {
    if (!workspace) open(limits);
    notes.clear();
    const Result<std::string> made = workspace->make_clone(
        agent, "agents/" + agent, "HEAD", static_cast<int>(::geteuid()), static_cast<int>(::getegid()), notes);
    ASSERT_TRUE(made) << made.error().message;
    base = *made;
    clone = project.clone(agent) / "repo";
  }
  // As onsight-agent's collect does it in a container.
  Path bundle(const std::string& work = "HEAD", const std::string& wip = "") {
    const Path file = folder / "bundle";
    shell(clone, "git update-ref refs/heads/work " + work +
                     (wip.empty() ? "" : " && git update-ref refs/heads/wip " + wip) + " && git bundle create -q " +
                     file.string() + " refs/heads/work" + (wip.empty() ? "" : " refs/heads/wip") + " ^" + base +
                     " 2>/dev/null || git bundle create -q " + file.string() + " refs/heads/work" +
                     (wip.empty() ? "" : " refs/heads/wip"));
    return file;
  }
  Result<Collected> collect(const Path& file, const std::string& agent = "reviewer") {
    return workspace->collect(agent, base, [&](const auto& sink) -> Status {
      TRY(const std::string bytes, read_file(file));
      for (size_t i = 0; i < bytes.size(); i += 1000) TRY_STATUS(sink(std::string_view(bytes).substr(i, 1000)));
      return {};
    });
  }
  // Work of the agent's on its way to the user.
  void agent_commits(const std::string& line, const std::string& agent = "reviewer") {
    shell(clone, line + "\ngit add -A && git commit -qm work --allow-empty");
    const Result<Collected> found = collect(bundle(), agent);
    ASSERT_TRUE(found) << found.error().message;
  }
  std::string user_state() const {
    return shell(user,
                 "git rev-parse HEAD && { git symbolic-ref -q HEAD || true; } && git status --porcelain && { cat a.txt "
                 "|| true; }");
  }

  Path folder, user, clone;
  std::string base, home;
  std::vector<std::string> notes;
  Project project;
  std::unique_ptr<Workspace> workspace;
};

}  // namespace onsight::agents::workspace
