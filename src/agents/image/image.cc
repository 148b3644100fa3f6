#include "agents/image/image.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>

#include "agents/image/command.h"
#include "agents/image/debian_root.h"
#include "agents/image/layer.h"
#include "base/subprocess.h"

namespace onsight::agents::image {
namespace {

constexpr std::string_view kWorkPrefix = "work-";
constexpr uint64_t kMaxListing = uint64_t{256} << 20;
constexpr std::chrono::minutes kTarTime{2};

Result<Path> cache_folder(const Options& options) {
  Path folder = options.cache;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (folder.empty() && cache && *cache == '/') folder = Path(cache) / "onsight/images";
  if (folder.empty() && home && *home == '/') folder = Path(home) / ".cache/onsight/images";
  if (folder.empty()) return bad_input("HOME: expected a folder, for the images");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return make_error(ErrorCode::kIo, "{}: {}", folder.string(), error.message());
  return folder;
}

// One that builds at a time; what others left half-made is removed.
class BuildLock {
 public:
  static Result<BuildLock> take(const Path& cache, const std::function<void(std::string_view)>& say,
                                const std::function<bool()>& stop) {
    const Path file = cache / "lock";
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return make_error(ErrorCode::kIo, "{}: {}", file.string(), std::strerror(errno));
    BuildLock lock(fd);
    for (bool said = false; ::flock(fd, LOCK_EX | LOCK_NB) != 0; said = true) {
      if (errno != EWOULDBLOCK && errno != EINTR)
        return make_error(ErrorCode::kIo, "{}: {}", file.string(), std::strerror(errno));
      if (!said) say("another image is being made, waiting for it");
      if (stop && stop()) return make_error(ErrorCode::kInterrupted, "interrupted");
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    std::error_code ignored;
    for (const Path& left : children_of(cache))
      if (left.filename().string().starts_with(kWorkPrefix) || left.extension() == ".part")
        std::filesystem::remove_all(left, ignored);
    return lock;
  }
  BuildLock(BuildLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  BuildLock& operator=(BuildLock&&) = delete;
  ~BuildLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit BuildLock(int fd) : fd_(fd) {}
  int fd_;
};

// Removed with all that is in it.
struct WorkFolder {
  Path path;
  WorkFolder() = default;
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
  Status make(const Path& cache) {
    std::string name = (cache / (std::string(kWorkPrefix) + "XXXXXX")).string();
    if (!::mkdtemp(name.data())) return make_error(ErrorCode::kIo, "{}: {}", name, std::strerror(errno));
    path = name;
    ::chmod(name.c_str(), 0755);  // apt's own user reads in it
    return {};
  }
};

Status rename_to(const Path& from, const Path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) return make_error(ErrorCode::kIo, "{}: {}", to.string(), error.message());
  return {};
}

// Puts the files of a folder into a tar. Each name stands there once, folders too: podman takes no other.
Status lay_over(const Path& tar, const Path& layer, const std::function<void(std::string_view)>& say,
                const std::function<bool()>& stop) {
  TRY(const std::string listed,
      output_of({"tar", "--quoting-style=literal", "-tf", tar.string()}, kMaxListing, kTarTime));
  std::set<std::string> there;
  for (size_t at = 0; at < listed.size();) {
    const size_t end = std::min(listed.find('\n', at), listed.size());
    std::string name = listed.substr(at, end - at);
    while (name.ends_with('/')) name.pop_back();
    if (!name.starts_with("./")) name.insert(0, "./");
    there.insert(std::move(name));
    at = end + 1;
  }
  std::set<std::string> wanted, replaced;  // in order: a folder comes before what is in it
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(layer, error), end; it != end; it.increment(error)) {
    const std::string name = "./" + it->path().lexically_relative(layer).string();
    const bool known = there.count(name) != 0;
    if (known && it->is_directory(error) && !it->is_symlink(error)) continue;
    if (known) replaced.insert(name);
    wanted.insert(name);
  }
  if (error) return make_error(ErrorCode::kIo, "{}: {}", layer.string(), error.message());
  const auto command = [&](std::vector<std::string> words, const std::set<std::string>& names) {
    Command out = {.words = {"tar", "--file", tar.string(), "--null", "--no-recursion", "--files-from=-"},
                   .environment = {{"LC_ALL", "C.UTF-8"}}};
    out.words.insert(out.words.begin() + 1, words.begin(), words.end());
    for (const std::string& name : names) (out.input += name) += '\0';
    return out;
  };
  if (!replaced.empty()) TRY_STATUS(run_command(command({"--delete"}, replaced), say, stop));
  return run_command(command({"--append", "--directory", layer.string(), "--mtime=@0", "--owner=0", "--group=0",
                              "--numeric-owner", "--mode=u+rwX,go+rX,go-w"},
                             wanted),
                     say, stop);
}

}  // namespace

Result<Path> find_guest() {
  std::vector<Path> places;
  if (const char* named = std::getenv("ONSIGHT_GUEST"); named && *named) {
    places = {named};
  } else {
    std::error_code error;
    const Path here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
    places = {here / "onsight-agent", here / "../libexec/onsight/onsight-agent"};
  }
  for (const Path& place : places) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(place, error)) continue;
    const auto version = output_of({place.string(), "version"}, 1000, std::chrono::seconds(10));
    if (!version) return bad_input("{}: expected onsight-agent, which cannot be run", place.string());
    if (*version != std::string(guest_version()) + "\n")
      return bad_input("{}: is of version {}, expected {}: install both together", place.string(),
                       version->substr(0, version->find('\n')), guest_version());
    return place.lexically_normal();
  }
  return bad_input("{}: expected the program that runs in containers there", places[0].string());
}

Result<Path> make_root(const harness::Harness& harness, const Options& options) {
  const Recipe recipe = recipe_of(harness);
  const auto saying = [&](std::string what) {
    return [&options, what = std::move(what)](std::string_view line) {
      if (options.progress) options.progress({.what = what, .detail = std::string(line)});
    };
  };
  Path guest = options.guest;
  if (guest.empty()) {
    TRY(guest, find_guest());
  }
  TRY(const Path cache, cache_folder(options));
  TRY(const BuildLock lock, BuildLock::take(cache, saying("image"), options.stop));
  WorkFolder work;
  TRY_STATUS(work.make(cache));

  const Path base = cache / (recipe.base + ".tar");
  std::error_code error;
  if (options.fresh || !std::filesystem::exists(base, error)) {
    const Path part = cache / (recipe.base + ".tar.part");
    const Status made = make_debian_root(recipe, work.path, part, saying("Debian"), options.stop);
    if (!made) {
      std::filesystem::remove(part, error);
      return tl::unexpected<Error>(made.error());
    }
    TRY_STATUS(rename_to(part, base));
  }

  const Path layer = work.path / "layer";
  TRY_STATUS(make_layer(recipe, guest, base, work.path, layer, saying("npm"), options.stop));
  saying("image")("putting it together");
  const Path whole = work.path / "whole.tar";
  std::filesystem::copy_file(base, whole, error);
  if (error) return make_error(ErrorCode::kIo, "{}: {}", whole.string(), error.message());
  TRY_STATUS(lay_over(whole, layer, saying("image"), options.stop));
  const std::string name = recipe.tag.substr(recipe.tag.find('/') + 1);
  Path out = cache / (name.substr(0, name.find(':')) + "-" + name.substr(name.find(':') + 1) + ".tar");
  TRY_STATUS(rename_to(whole, out));
  return out;
}

Status build(const harness::Harness& harness, runtime::Runtime& runtime, const Options& options) {
  const Recipe recipe = recipe_of(harness);
  if (!options.fresh) {
    TRY(const auto there, runtime.image_id(recipe.tag));
    if (there) return {};
  }
  TRY(const Path tar, make_root(harness, options));
  Status imported = runtime.import_image(tar, recipe.tag, recipe.labels, recipe.environment, [&](uint64_t bytes) {
    if (options.progress) options.progress({.what = "import", .bytes = bytes});
  });
  std::error_code ignored;
  std::filesystem::remove(tar, ignored);
  return imported;
}

}  // namespace onsight::agents::image
