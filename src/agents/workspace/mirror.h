// Mirror: a project's own bare repository. refs/heads and refs/tags are the user's, as sync() last found them;
// refs/agents/NAME and NAME.wip what was collected; refs/agents-base/NAME where a clone began;
// refs/agents-kept/NAME/COMMIT what a rewritten branch held before.
//
//   TRY(Mirror mirror, Mirror::open(project.mirror(), repository));
//   TRY_STATUS(mirror.sync({commit}));
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agents/workspace/folders.h"
#include "agents/workspace/git.h"

namespace onsight::agents::workspace {

using Refs = std::map<std::string, std::string>;  // name, object

struct RefChange {
  std::string name;
  std::string object;  // empty: it goes
};

// The refs whose names begin so; with a slash at the end, those below.
Result<Refs> refs_of(const Git& git, const std::vector<std::string>& prefixes);
// All of them or none.
Status change_refs(const Git& git, const std::vector<RefChange>& changes);
// The object, or nothing where there is none of this name.
Result<std::string> ref_of(const Git& git, const std::string& name);

// Brings what `wanted` reach, and `known` do not, from one repository into another, whose objects are in `objects`.
Status carry(const Git& from, const Git& to, const Path& objects, const std::vector<std::string>& wanted,
             const std::vector<std::string>& known);
// Those of these objects that a repository has.
Result<std::vector<std::string>> present(const Git& git, const std::vector<std::string>& objects);

class Mirror {
 public:
  // Makes it, all or nothing, where there is none.
  static Result<Mirror> open(const Path& folder, const UserRepository& user);

  const Git& git() const { return git_; }
  Path folder() const { return git_.git_dir; }
  Path objects() const { return git_.git_dir / "objects"; }
  // Held by whoever changes refs.
  Result<Handle> lock() const;
  // Brings it up to the user's branches and tags, and brings these commits of the user's. Under lock().
  Status sync(const std::vector<std::string>& commits) const;

 private:
  Mirror(Git git, UserRepository user) : git_(std::move(git)), user_(std::move(user)) {}
  Git git_;
  UserRepository user_;
};

}  // namespace onsight::agents::workspace
