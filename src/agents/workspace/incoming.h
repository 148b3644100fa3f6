// Incoming: a bundle out of an agent's container on its way into the mirror. Nothing of it is in the mirror before all
// of it was verified: objects by git's fsck, links between them, names, sizes.
//
//   TRY(Incoming incoming, Incoming::receive(mirror, write_bundle, max_bytes));
//   TRY(Arrived arrived, incoming.verify(base));
//   TRY_STATUS(incoming.keep());            // its objects are in the mirror; refs are the caller's
#pragma once

#include <functional>
#include <string>

#include "agents/workspace/bundle.h"
#include "agents/workspace/mirror.h"
#include "agents/workspace/workspace.h"

namespace onsight::agents::workspace {

struct Arrived {
  std::string work, wip;  // commits; wip: empty if there is none
};

class Incoming {
 public:
  static Result<Incoming> receive(const Mirror& mirror, const Workspace::WriteBundle& write, const Limits& limits);
  Incoming(Incoming&& other) noexcept;
  Incoming& operator=(Incoming&&) = delete;
  ~Incoming();  // whatever was not kept is removed

  // Under the mirror's lock().
  Result<Arrived> verify(const std::string& base);
  Status keep();

 private:
  Incoming(const Mirror& mirror, const Limits& limits) : mirror_(mirror), limits_(limits) {}
  Status index();
  Status check_tree(const std::string& commit);
  Status check_changes(const std::string& base, const std::string& commit);

  const Mirror& mirror_;
  Limits limits_;
  Path folder_;
  Handle file_;
  Bundle bundle_;
  Git git_;  // the mirror, with the new objects before its own
};

}  // namespace onsight::agents::workspace
