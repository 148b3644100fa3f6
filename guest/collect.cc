#include "collect.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "outside_json.h"
#include "process.h"
#include "repository.h"

namespace onsight::guest {
namespace {

constexpr size_t kMaxNamed = 20;  // paths in one note

void note(const std::string& text) {
  std::fprintf(stderr, "onsight-agent: collect: %s\n", printable(text, false).c_str());
}

void note_paths(const std::string& what, const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  std::string text = what;
  for (size_t i = 0; i < std::min(paths.size(), kMaxNamed); ++i) text += (i ? ", " : ": ") + paths[i];
  if (paths.size() > kMaxNamed) text += fmt::format(" and {} more", paths.size() - kMaxNamed);
  note(text);
}

std::vector<std::string> split(const std::string& text, char end) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t stop = std::min(text.find(end, at), text.size());
    out.push_back(text.substr(at, stop - at));
    at = stop + 1;
  }
  return out;
}

std::string joined_by_zero(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) (out += item) += '\0';
  return out;
}

bool is_below(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

// Removed with all that is in it.
class Scratch {
 public:
  static Result<Scratch> make() {
    const char* place = std::getenv("TMPDIR");
    std::string path = std::string(place && *place ? place : "/tmp") + "/collect.XXXXXX";
    if (!::mkdtemp(path.data())) return make_error(ErrorCode::kIo, "{}: {}", path, std::strerror(errno));
    return Scratch(std::move(path));
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Status write_plain(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) return make_error(ErrorCode::kIo, "{}: could not be written", path);
  return {};
}

Status write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(1, text.data(), text.size());
    if (n < 0 && errno != EINTR) return make_error(ErrorCode::kIo, "standard output: {}", std::strerror(errno));
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

// Git, with a repository of ours and the clone's tree and objects.
class Git {
 public:
  Git(std::string scratch, std::string tree) : scratch_(std::move(scratch)), tree_(std::move(tree)) {}

  Status make(const Repository& clone, bool sha256) const {
    TRY_STATUS(output_of(
        job({"init", "-q", "--bare", "--template=", sha256 ? "--object-format=sha256" : "--object-format=sha1", own()},
            false)));
    std::error_code error;
    std::filesystem::create_directories(own() + "/info", error);
    TRY_STATUS(write_plain(own() + "/objects/info/alternates", clone.common() + "/objects\n"));
    // What the clone would not show either. Its history may end somewhere.
    TRY_STATUS(
        write_plain(own() + "/info/exclude", read_plain(clone.common() + "/info/exclude", 1 << 20).value_or("")));
    if (const auto shallow = read_plain(clone.common() + "/shallow", 16 << 20))
      TRY_STATUS(write_plain(own() + "/shallow", *shallow));
    return attributes(false);
  }
  // No program of an attribute's runs in any case, for none is configured. What git itself would convert stays, so that
  // the tree is as the agent would have committed it; `plain`: nothing of it.
  Status attributes(bool plain) const {
    return write_plain(own() + "/info/attributes",
                       plain ? "* -filter -text -eol -crlf -ident -working-tree-encoding\n" : "* -filter\n");
  }

  Result<std::string> operator()(std::vector<std::string> arguments, std::string_view input = {},
                                 std::vector<int> accepted = {0}) const {
    Job what = job(std::move(arguments), true);
    what.input = input;
    what.accepted = std::move(accepted);
    return output_of(what);
  }
  Result<std::string> line(std::vector<std::string> arguments) const {
    TRY(std::string out, (*this)(std::move(arguments)));
    while (out.ends_with('\n')) out.pop_back();
    return out;
  }
  Status print(std::vector<std::string> arguments, std::string_view input) const {
    Job what = job(std::move(arguments), true);
    what.input = input;
    return run(what);
  }
  bool succeeds(std::vector<std::string> arguments) const { return (*this)(std::move(arguments)).has_value(); }
  void stamp(const std::string& seconds) { stamp_ = seconds; }

 private:
  std::string own() const { return scratch_ + "/own.git"; }

  Job job(std::vector<std::string> arguments, bool inside) const {
    Job out;
    out.command = {"git"};
    // These reach, through the environment, also a git that git starts.
    for (const char* setting : {"core.fsmonitor=false",
                                "core.hooksPath=/dev/null",
                                "core.attributesFile=/dev/null",
                                "core.excludesFile=/dev/null",
                                "core.untrackedCache=false",
                                "core.splitIndex=false",
                                "core.bare=false",
                                "core.autocrlf=false",
                                "core.safecrlf=false",
                                "core.symlinks=true",
                                "core.fileMode=true",
                                "core.bigFileThreshold=16m",
                                "core.compression=1",
                                "gc.auto=0",
                                "maintenance.auto=false",
                                "pack.threads=1",
                                "pack.windowMemory=64m",
                                "submodule.recurse=false",
                                "advice.addEmbeddedRepo=false",
                                "protocol.allow=never"}) {
      out.command.emplace_back("-c");
      out.command.emplace_back(setting);
    }
    for (std::string& argument : arguments) out.command.push_back(std::move(argument));
    const char* path = std::getenv("PATH");
    out.environment = {std::string("PATH=") + (path ? path : "/usr/local/bin:/usr/bin:/bin"),
                       "HOME=" + scratch_,
                       "TMPDIR=" + scratch_,
                       "LC_ALL=C",
                       "GIT_CONFIG_GLOBAL=/dev/null",
                       "GIT_CONFIG_SYSTEM=/dev/null",
                       "GIT_CONFIG_NOSYSTEM=1",
                       "GIT_ATTR_NOSYSTEM=1",
                       "GIT_NO_REPLACE_OBJECTS=1",
                       "GIT_TERMINAL_PROMPT=0",
                       "GIT_AUTHOR_NAME=onsight",
                       "GIT_AUTHOR_EMAIL=agents@onsight.invalid",
                       "GIT_COMMITTER_NAME=onsight",
                       "GIT_COMMITTER_EMAIL=agents@onsight.invalid",
                       "GIT_AUTHOR_DATE=" + stamp_ + " +0000",
                       "GIT_COMMITTER_DATE=" + stamp_ + " +0000"};
    if (inside) {
      out.environment.push_back("GIT_DIR=" + own());
      out.environment.push_back("GIT_WORK_TREE=" + tree_);
      out.environment.push_back("GIT_INDEX_FILE=" + scratch_ + "/index");
      out.folder = tree_;
    }
    return out;
  }

  std::string scratch_, tree_, stamp_ = "0";
};

struct Gitlink {
  std::string id, path;
};

// The submodules of what the index holds, which are taken out of it: git would look into their folders.
Result<std::vector<Gitlink>> take_gitlinks(const Git& git) {
  TRY(const std::string staged, git({"ls-files", "--stage", "-z"}));
  std::vector<Gitlink> out;
  std::string paths;
  for (const std::string& entry : split(staged, '\0')) {
    const size_t tab = entry.find('\t'), first = entry.find(' ');
    if (!entry.starts_with("160000 ") || tab == std::string::npos) continue;
    out.push_back({entry.substr(first + 1, entry.find(' ', first + 1) - first - 1), entry.substr(tab + 1)});
    (paths += out.back().path) += '\0';
  }
  if (!out.empty()) TRY_STATUS(git({"update-index", "-z", "--force-remove", "--stdin"}, paths));
  return out;
}

// What the agent added with -f although it is ignored, and did not commit: only its own index knows of it.
void add_staged(const Git& git, const Repository& clone, const std::string& scratch, const Survey& found) {
  const auto theirs = read_plain(clone.git() + "/index", size_t{512} << 20);
  if (!theirs || !write_plain(scratch + "/theirs", *theirs)) return;
  const auto listed = git({"ls-files", "-z"});
  std::set<std::string> known;
  for (std::string& path : split(listed.value_or(""), '\0')) known.insert(std::move(path));
  // Under another name it is an index of our repository, read and not written.
  const std::string own = scratch + "/index", kept = scratch + "/index.kept";
  if (std::rename(own.c_str(), kept.c_str()) != 0) return;
  std::optional<std::string> staged;
  if (std::rename((scratch + "/theirs").c_str(), own.c_str()) == 0)
    if (auto out = git({"ls-files", "--cached", "-z"})) staged = std::move(*out);
  std::rename(kept.c_str(), own.c_str());
  if (!staged) return note("its index could not be read: what is ignored and was added by hand may be missing");
  std::string missing;
  for (const std::string& path : split(*staged, '\0')) {
    struct stat status = {};
    const bool inside = std::any_of(found.nested.begin(), found.nested.end(),
                                    [&](const std::string& one) { return path == one || is_below(path, one); });
    if (!inside && !known.count(path) && ::lstat((clone.tree() + "/" + path).c_str(), &status) == 0 &&
        (S_ISREG(status.st_mode) || S_ISLNK(status.st_mode)))
      (missing += path) += '\0';
  }
  if (!missing.empty() && !git({"update-index", "--add", "-z", "--stdin"}, missing))
    note("what is ignored and was added by hand is missing");
}

// Everything that is not ignored, into the index.
Status add_all(const Git& git, const Survey& found) {
  std::vector<std::string> paths = {":(top)"};
  for (const std::string& folder : found.nested) paths.push_back(":(top,exclude,literal)" + folder);
  const std::string list = joined_by_zero(paths);
  // 1: some of them could not be read, which it says; the others were taken.
  const auto add = [&]() -> Status {
    TRY_STATUS(git({"add", "--all", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul"}, list, {0, 1}));
    return {};
  };
  // Compared by contents first: what is as HEAD has it is not written again, for there is little room.
  (void)git({"update-index", "-q", "--refresh"}, {}, {0, 1});
  if (Status added = add(); added) return {};
  note("an attribute of its files cannot be applied: they are taken as they are");
  TRY_STATUS(git.attributes(true));
  return add();
}

Status add_nested(const Git& git, const Repository& clone, const Survey& found, const std::vector<Gitlink>& before) {
  std::vector<std::string> candidates = found.nested;
  for (const Gitlink& link : before) candidates.push_back(link.path);
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  if (candidates.empty()) return {};
  TRY(const std::string listed, git({"ls-files", "-z"}));
  const std::vector<std::string> files = split(listed, '\0');
  const auto ignored = git({"check-ignore", "--no-index", "-z", "--stdin"}, joined_by_zero(candidates), {0, 1});
  std::set<std::string> hidden;
  for (std::string& path : split(ignored.value_or(""), '\0')) hidden.insert(std::move(path));
  std::string lines;
  std::vector<std::string> recorded, skipped;
  for (const std::string& path : candidates) {
    const auto old = std::find_if(before.begin(), before.end(), [&](const Gitlink& one) { return one.path == path; });
    struct stat status = {};
    if (old == before.end() && hidden.count(path)) continue;
    if (::lstat((clone.tree() + "/" + path).c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) continue;  // it is gone
    if (std::any_of(files.begin(), files.end(), [&](const std::string& file) { return is_below(file, path); }))
      continue;
    const auto inner = Repository::open(clone.tree() + "/" + path);
    const auto head = inner ? inner->resolve("HEAD") : std::nullopt;
    if (!head && old == before.end()) {
      skipped.push_back(path);
      continue;
    }
    if (head && (old == before.end() || *head != old->id)) recorded.push_back(path);
    lines += fmt::format("160000 {}\t{}", head ? *head : old->id, path);
    lines += '\0';
  }
  note_paths("repositories within it, of which the commit's name is recorded and the contents are not", recorded);
  note_paths("repositories within it that have no commit are left out", skipped);
  if (lines.empty()) return {};
  TRY_STATUS(git({"update-index", "-z", "--add", "--index-info"}, lines));
  return {};
}

// The tree of what lies in the working tree.
Result<std::string> tree_of(const Git& git, const Repository& clone, const std::string& scratch,
                            const std::string& head) {
  const Survey found = survey(clone.tree());
  note_paths("folders that cannot be read, or lie too deep, are left out", found.skipped);
  if (!found.strange.empty()) return bad_input("{}: expected a file", found.strange[0]);
  TRY_STATUS(git({"read-tree", head}));
  TRY(const std::vector<Gitlink> links, take_gitlinks(git));
  TRY_STATUS(add_all(git, found));
  add_staged(git, clone, scratch, found);
  TRY_STATUS(add_nested(git, clone, found, links));
  return git.line({"write-tree"});
}

}  // namespace

Status collect(const CollectOptions& options) {
  if (!is_branch_name(options.branch)) return bad_input("--branch {}: expected the name of a branch", options.branch);
  if (!options.base.empty() && !is_object_id(options.base))
    return bad_input("--base {}: expected a commit's 40 or 64 hexadecimal digits", options.base);
  TRY(const Repository clone, Repository::open(options.tree));
  const auto head = clone.resolve("HEAD");
  auto work = clone.resolve("refs/heads/" + options.branch);
  if (!work) {
    work = head ? head : options.base.empty() ? std::nullopt : std::optional(options.base);
    if (!work) return bad_input("{}: expected a branch {}, or any commit", options.tree, options.branch);
    note(fmt::format("there is no branch {}: {} stands for it", options.branch, head ? "HEAD" : "its base"));
  }
  TRY(const Scratch scratch, Scratch::make());
  Git git(scratch.path(), clone.tree());
  TRY_STATUS(git.make(clone, work->size() == 64));
  if (!git.succeeds({"cat-file", "-e", *work + "^{commit}"}))
    return bad_input("{}: its commit {} is not there", options.tree, *work);
  const auto is_ancestor = [&](const std::string& of) {
    return git.succeeds({"merge-base", "--is-ancestor", of, *work});
  };
  const bool has_base = !options.base.empty() && git.succeeds({"cat-file", "-e", options.base + "^{commit}"});
  const std::string from = head && git.succeeds({"cat-file", "-e", *head + "^{commit}"}) ? *head : *work;
  const bool astray = from != *work && !is_ancestor(from);

  TRY(const std::string stamp, git.line({"show", "-s", "--format=%ct", *work}));
  git.stamp(stamp);
  std::string wip;
  const auto tree = tree_of(git, clone, scratch.path(), from);
  if (tree) {
    TRY(const std::string clean, git.line({"rev-parse", from + "^{tree}"}));
    if (*tree != clean || astray) {
      std::vector<std::string> arguments = {"commit-tree", *tree, "-p", *work};
      if (astray) arguments.insert(arguments.end(), {"-p", from});
      arguments.insert(arguments.end(), {"-m", "What was not committed"});
      TRY(wip, git.line(arguments));
    }
  } else {
    // What was committed is not held back for it.
    note("what was not committed is left out: " + tree.error().message);
  }

  // As `git bundle` writes it, which leaves out branches whose commits the receiver has.
  std::string header = work->size() == 64 ? "# v3 git bundle\n@object-format=sha256\n" : "# v2 git bundle\n";
  std::string commits = *work + "\n";
  if (has_base) header += "-" + options.base + " \n";
  header += *work + " refs/heads/work\n";
  if (!wip.empty()) {
    header += wip + " refs/heads/wip\n";
    commits += wip + "\n";
  }
  if (has_base) commits += "^" + options.base + "\n";
  TRY_STATUS(write_out(header + "\n"));
  return git.print({"pack-objects", "--quiet", "--revs", "--thin", "--delta-base-offset", "--stdout"}, commits);
}

}  // namespace onsight::guest
