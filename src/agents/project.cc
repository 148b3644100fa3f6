#include "agents/project.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "agents/workspace/git.h"
#include "base/sha256.h"

namespace onsight::agents {
namespace {

constexpr size_t kLongestSocketPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr size_t kLongestAgentName = 30;  // config::check_name

// Letters that need no quoting anywhere; the id beside it tells two of one name apart.
std::string plain_name(const Path& root) {
  std::string name;
  for (const char c : root.filename().string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    if (name.size() < 40) name += plain ? c : '-';
  }
  return name.empty() ? "root" : name;
}

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

Result<Path> folder_of_states() {
  if (const char* own = variable("ONSIGHT_AGENTS_STATE")) return Path(own);
  const char* xdg = variable("XDG_STATE_HOME");
  if (xdg != nullptr && *xdg == '/') return Path(xdg) / "onsight/agents";
  const char* home = variable("HOME");
  if (home == nullptr || *home != '/') return bad_input("HOME: expected the path of a folder, where agents are kept");
  return Path(home) / ".local/state/onsight/agents";
}

// $XDG_RUNTIME_DIR may be what `su` left of another user.
const char* runtime_folder() {
  const char* xdg = variable("XDG_RUNTIME_DIR");
  struct stat info {};
  return xdg != nullptr && *xdg == '/' && ::stat(xdg, &info) == 0 && info.st_uid == ::geteuid() ? xdg : nullptr;
}

// Of this user alone, or refused: what another user made, or can write to, could be changed under our hands.
Status make_private(const Path& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return make_error(ErrorCode::kIo, "{}: cannot be made ({})", folder.string(), std::strerror(errno));
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return bad_input("{}: expected a folder of this user, found something else", folder.string());
  struct stat info {};
  const bool known = ::fstat(fd, &info) == 0;
  const bool own = known && info.st_uid == ::geteuid();
  const bool closed = own && ((info.st_mode & 077) == 0 || ::fchmod(fd, 0700) == 0);
  ::close(fd);
  if (!own) return bad_input("{}: expected a folder of this user, found one of another", folder.string());
  if (!closed) return bad_input("{}: cannot be closed to other users", folder.string());
  return {};
}

Status make_folder(const Path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return make_error(ErrorCode::kIo, "{}: cannot be made ({})", folder.string(), error.message());
  return {};
}

}  // namespace

Result<Project> Project::find(const Path& folder) {
  Project project;
  TRY(const workspace::UserRepository repository, workspace::find_repository(folder));
  project.root = repository.root;
  project.id = to_hex(sha256(project.root.native())).substr(0, 12);

  TRY(const Path states, folder_of_states());
  TRY_STATUS(make_folder(states));
  project.state = std::filesystem::absolute(states) / (plain_name(project.root) + "-" + project.id);
  TRY_STATUS(make_private(project.state));

  if (const char* own = variable("ONSIGHT_AGENTS_RUN")) {
    TRY_STATUS(make_folder(own));
    project.run = std::filesystem::absolute(own) / ("onsight-" + project.id);
  } else if (const char* xdg = runtime_folder()) {
    project.run = Path(xdg) / ("onsight-" + project.id);
  } else {
    project.run = Path("/tmp") / fmt::format("onsight-{}-{}", ::geteuid(), project.id);
  }
  // Asked for the longest name, so that no agent's start fails where another's went.
  const Path longest = project.sockets(std::string(kLongestAgentName, 'x')) / "broker.sock";
  if (longest.native().size() > kLongestSocketPath)
    return bad_input(
        "{}: too long for the sockets in it, of which a path has {} bytes at most; set ONSIGHT_AGENTS_RUN to a shorter "
        "folder",
        project.run.string(), kLongestSocketPath);
  TRY_STATUS(make_private(project.run));
  return project;
}

}  // namespace onsight::agents
