#include "agents/project.h"

#include <sys/stat.h>

#include "agents/workspace/testing.h"

namespace onsight::agents {
namespace {

class ProjectTest : public workspace::WorkspaceTest {};

int mode_of(const Path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<int>(info.st_mode & 0777) : -1;
}

TEST_F(ProjectTest, IsOfTheRepositoryAroundAFolder) {
  const Project found = Project::find(user / "src").value();
  EXPECT_EQ(found.root, user);
  EXPECT_EQ(found.id.size(), 12);
  EXPECT_EQ(found.state, folder / "state" / ("user-" + found.id));
  EXPECT_EQ(mode_of(found.state), 0700);
  EXPECT_EQ(mode_of(found.run), 0700);
  EXPECT_EQ(found.run.filename(), "onsight-" + found.id);
  EXPECT_EQ(found.clone("a"), found.state / "clones/a");
  EXPECT_EQ(found.sockets("a"), found.run / "agents/a");
  std::filesystem::create_symlink(user, folder / "link");
  EXPECT_EQ(Project::find(folder / "link").value().id, found.id);
  make_user(folder / "other");
  EXPECT_NE(Project::find(folder / "other").value().id, found.id);
  make_user(folder / "odd name'\"\xc3\xa4");
  EXPECT_EQ(Project::find(folder / "odd name'\"\xc3\xa4").value().state.filename().string().substr(0, 9), "odd-name-");
}

TEST_F(ProjectTest, ClosesItsFoldersAndRefusesThoseOfOthers) {
  const Project found = Project::find(user).value();
  ::chmod(found.run.c_str(), 0777);
  ASSERT_TRUE(Project::find(user));
  EXPECT_EQ(mode_of(found.run), 0700);
  std::filesystem::remove(found.run);
  std::filesystem::create_directory(folder / "elsewhere");
  std::filesystem::create_symlink(folder / "elsewhere", found.run);
  EXPECT_NE(Project::find(user).error().message.find("expected a folder of this user, found something else"),
            std::string::npos);
  std::filesystem::remove(found.run);
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a folder away";
  std::filesystem::create_directory(found.run);
  ASSERT_EQ(::chown(found.run.c_str(), 12345, 12345), 0);
  EXPECT_NE(Project::find(user).error().message.find("found one of another"), std::string::npos);
}

TEST_F(ProjectTest, RefusesFoldersTooLongForSockets) {
  ::setenv("ONSIGHT_AGENTS_RUN", (folder / std::string(60, 'x')).c_str(), 1);
  EXPECT_NE(Project::find(user).error().message.find("of which a path has 107 bytes at most"), std::string::npos);
}

TEST_F(ProjectTest, LiesWhereItsVariablesSay) {
  ::unsetenv("ONSIGHT_AGENTS_STATE");
  const char* former = std::getenv("XDG_STATE_HOME");
  const std::string kept = former != nullptr ? former : "";
  ::setenv("XDG_STATE_HOME", (folder / "xdg").c_str(), 1);
  EXPECT_EQ(Project::find(user).value().state.parent_path(), folder / "xdg/onsight/agents");
  former != nullptr ? ::setenv("XDG_STATE_HOME", kept.c_str(), 1) : ::unsetenv("XDG_STATE_HOME");
}

}  // namespace
}  // namespace onsight::agents
