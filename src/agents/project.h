// Project: the places of one repository's agents.
//
//   TRY(Project project, Project::find(std::filesystem::current_path()));
//   project.clone("reviewer");   // ~/.local/state/onsight/agents/shop-1f2e3d4c5b6a/clones/reviewer
#pragma once

#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace onsight::agents {

struct Project {
  Path root;       // the user's repository: the top of its working tree
  std::string id;  // 12 hexadecimal digits of the SHA-256 of its real path
  Path state;      // $XDG_STATE_HOME/onsight/agents/NAME-ID, for this user alone (0700)
  Path run;        // sockets: $XDG_RUNTIME_DIR/onsight-ID or /tmp/onsight-UID-ID (0700), of this user or refused

  // Of the repository around `folder`; both folders are made where they are not. ONSIGHT_AGENTS_STATE stands for
  // $XDG_STATE_HOME/onsight/agents, ONSIGHT_AGENTS_RUN for the folder in which `run` lies.
  static Result<Project> find(const Path& folder);

  Path config() const { return root / ".onsight/agents.toml"; }
  Path plan() const { return state / "plan.toml"; }  // of the run that began last, a copy
  Path database() const { return state / "state.db"; }
  Path mirror() const { return state / "mirror.git"; }
  // Of one agent, all mounted as /agent in its container: `repo` its clone, `home` its HOME.
  Path clone(std::string_view agent) const { return state / "clones" / agent; }
  Path log(std::string_view agent) const { return state / "logs" / (std::string(agent) + ".log"); }
  // Mounted read-only as /run/onsight; the broker listens on `broker.sock` in it. A folder, so that the socket of a
  // broker that was started again is seen.
  Path sockets(std::string_view agent) const { return run / "agents" / agent; }
  Path control() const { return run / "control.sock"; }  // of the supervisor
  Path broker_control() const { return run / "broker.sock"; }
};

}  // namespace onsight::agents
