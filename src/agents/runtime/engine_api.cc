#include "agents/runtime/engine_api.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "agents/runtime/frames.h"
#include "agents/runtime/owner.h"
#include "agents/runtime/request.h"
#include "agents/runtime/seccomp_profile.h"

namespace onsight::agents::runtime {
namespace {

using net::seconds_from_now;
using std::chrono::milliseconds;

constexpr double kCallSeconds = 30;   // for what an engine does at once
constexpr double kSlowSeconds = 120;  // for creating, starting and removing, while others do too
constexpr double kImportSeconds = 3600;
constexpr milliseconds kTypedLimit{10'000};      // for a terminal to take what is written to it
constexpr uint64_t kKeptErrorBytes = 256 << 10;  // of a run
// A byte that no text has: what is typed never detaches.
constexpr std::string_view kNoDetachKeys = "detachKeys=%FF";

bool is_fine(int status) { return status >= 200 && status < 300; }

class TerminalAttachment : public Attachment {
 public:
  explicit TerminalAttachment(std::unique_ptr<net::RawStream> stream) : stream_(std::move(stream)) {}
  Result<std::optional<std::string>> read(milliseconds wait) override { return stream_->read(wait); }
  Status write(std::string_view bytes) override { return stream_->write(bytes, kTypedLimit); }

 private:
  std::unique_ptr<net::RawStream> stream_;
};

// Of a container without a terminal: output and errors as one.
class FramedAttachment : public Attachment {
 public:
  explicit FramedAttachment(std::unique_ptr<net::RawStream> stream) : stream_(std::move(stream)) {}
  Result<std::optional<std::string>> read(milliseconds wait) override {
    const auto until = std::chrono::steady_clock::now() + wait;
    for (;;) {
      const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
      TRY(const auto bytes, stream_->read(std::max(left, milliseconds(0))));
      if (!bytes || bytes->empty()) return bytes;
      std::string text;
      TRY_STATUS(decoder_.feed(*bytes, [&](FrameDecoder::Source, std::string_view piece) {
        text += piece;
        return Status();
      }));
      if (!text.empty()) return std::optional(std::move(text));
    }
  }
  Status write(std::string_view bytes) override { return stream_->write(bytes, kTypedLimit); }

 private:
  std::unique_ptr<net::RawStream> stream_;
  FrameDecoder decoder_;
};

// "localhost:5000/a/b:tag"
std::pair<std::string, std::string> repository_and_tag(const std::string& name) {
  const size_t slash = name.rfind('/'), colon = name.rfind(':');
  if (colon == std::string::npos || (slash != std::string::npos && colon < slash)) return {name, "latest"};
  return {name.substr(0, colon), name.substr(colon + 1)};
}

Error with_reason(Error error, std::string_view reason) {
  error.reason = reason;
  return error;
}

// Reads a stream of frames to its end.
Status read_frames(net::RawStream& stream, net::Deadline deadline, const FrameDecoder::Take& take) {
  FrameDecoder decoder;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return tl::unexpected(Error{ErrorCode::kBusy, "it has not ended in time", {}, "late"});
    TRY(const auto bytes, stream.read(left));
    if (!bytes) continue;
    if (bytes->empty()) {
      if (!decoder.between_frames()) return bad_input("the engine's stream: it ends within a frame");
      return {};
    }
    TRY_STATUS(decoder.feed(*bytes, take));
  }
}

}  // namespace

EngineRuntime::EngineRuntime(Path socket, EngineVersion version, const Dialect& dialect)
    : client_(std::move(socket)), version_(std::move(version)), dialect_(dialect) {}

EngineRuntime::~EngineRuntime() {
  if (profile_file_ >= 0) ::close(profile_file_);
}

Result<net::HttpResponse> EngineRuntime::call(std::string_view method, const std::string& path, const std::string& body,
                                              double seconds) const {
  net::UnixRequest request{.method = std::string(method), .target = version_.prefix + path, .body = body};
  if (!body.empty()) request.headers.set("Content-Type", "application/json");
  auto response = client_.request(request, seconds_from_now(seconds > 0 ? seconds : kCallSeconds));
  if (!response) return tl::unexpected(with_reason(std::move(response).error(), "unreachable"));
  return response;
}

tl::unexpected<Error> EngineRuntime::refused(std::string_view what, const net::HttpResponse& response) const {
  auto error = make_error(ErrorCode::kIo, "{}: {}: {}", dialect_.name, what, refusal(response.status, response.body));
  const std::string& text = error.value().message;
  if (response.status == 404) return tl::unexpected(with_reason(std::move(error.value()), "gone"));
  if (text.find("already in use") != std::string::npos)
    return tl::unexpected(with_reason(std::move(error.value()), "name_taken"));
  return error;
}

// `body` only where the API has one: podman types that of an attachment into the terminal.
Result<std::unique_ptr<net::RawStream>> EngineRuntime::hijack(const std::string& path, const std::string& body,
                                                              std::string_view what) const {
  net::UnixRequest request{.method = "POST", .target = version_.prefix + path, .body = body};
  request.headers.set("Upgrade", "tcp");
  if (!body.empty()) request.headers.set("Content-Type", "application/json");
  auto hijacked = client_.hijack(request, seconds_from_now(kCallSeconds));
  if (!hijacked) return tl::unexpected(with_reason(std::move(hijacked).error(), "unreachable"));
  if (!hijacked->stream) return refused(what, hijacked->head);
  return std::move(hijacked->stream);
}

// Podman opens the path: a file that lives in this process's memory, which nobody else can have put there.
Result<std::string> EngineRuntime::seccomp_option() {
  const std::string& profile = seccomp_profile();
  if (!dialect_.seccomp_by_path) return profile;
  const std::lock_guard lock(profile_mutex_);
  if (profile_file_ < 0) {
    const int file = ::memfd_create("onsight-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return make_error(ErrorCode::kIo, "the seccomp profile: cannot be kept ({})", std::strerror(errno));
    size_t written = 0;
    while (written < profile.size()) {
      const ssize_t bytes = ::write(file, profile.data() + written, profile.size() - written);
      if (bytes <= 0) {
        ::close(file);
        return make_error(ErrorCode::kIo, "the seccomp profile: cannot be kept ({})", std::strerror(errno));
      }
      written += static_cast<size_t>(bytes);
    }
    ::fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    profile_file_ = file;
  }
  return fmt::format("/proc/{}/fd/{}", ::getpid(), profile_file_);
}

Result<std::string> EngineRuntime::create_body(const ContainerSpec& spec) {
  TRY(const std::string seccomp, seccomp_option());
  return creation(spec, dialect_, seccomp);
}

Result<std::string> EngineRuntime::create(const ContainerSpec& spec) {
  TRY(const std::string body, create_body(spec));
  TRY(const auto response, call("POST", "/containers/create?name=" + escaped(spec.name), body, kSlowSeconds));
  if (response.status == 404)
    return tl::unexpected(Error{
        ErrorCode::kBadInput, fmt::format("{}: there is no image {}", dialect_.name, spec.image), {}, "no_image"});
  if (!is_fine(response.status)) return refused("creating " + spec.name, response);
  return parse_id(response.body, "the engine's new container");
}

Status EngineRuntime::start(const std::string& id) {
  auto response = call("POST", "/containers/" + escaped(id) + "/start", {}, kSlowSeconds);
  if (response && (is_fine(response->status) || response->status == 304)) return {};
  (void)remove(id);
  if (!response) return tl::unexpected(std::move(response).error());
  return refused("starting a container", *response);
}

Result<std::unique_ptr<Attachment>> EngineRuntime::attach(const std::string& id, bool replay) {
  TRY(const auto container, look_at(id));
  if (!container)
    return tl::unexpected(
        Error{ErrorCode::kBadInput, fmt::format("{}: the container is gone", dialect_.name), {}, "gone"});
  const std::string path = fmt::format("/containers/{}/attach?stream=1&stdin={}&stdout=1&stderr=1&logs={}&{}",
                                       escaped(id), container->terminal ? 1 : 0, replay ? 1 : 0, kNoDetachKeys);
  TRY(auto stream, hijack(path, {}, "attaching"));
  if (container->terminal) return std::make_unique<TerminalAttachment>(std::move(stream));
  return std::make_unique<FramedAttachment>(std::move(stream));
}

Status EngineRuntime::resize(const std::string& id, int rows, int columns) {
  TRY(const auto response, call("POST", fmt::format("/containers/{}/resize?h={}&w={}", escaped(id), rows, columns)));
  if (!is_fine(response.status)) return refused("resizing a terminal", response);
  return {};
}

Result<std::optional<Inspected>> EngineRuntime::look_at(const std::string& id) const {
  TRY(const auto response, call("GET", "/containers/" + escaped(id) + "/json"));
  if (response.status == 404) return std::optional<Inspected>();
  if (!is_fine(response.status)) return refused("looking at a container", response);
  TRY(Inspected found, parse_container(response.body));
  return std::optional(std::move(found));
}

Result<std::optional<ContainerInfo>> EngineRuntime::inspect(const std::string& id) {
  TRY(auto found, look_at(id));
  if (!found) return std::optional<ContainerInfo>();
  return std::optional(std::move(found->info));
}

Result<std::vector<ContainerInfo>> EngineRuntime::list(const Labels& labels) {
  TRY(const auto response, call("GET", "/containers/json?all=1&filters=" + escaped(label_filter(labels))));
  if (!is_fine(response.status)) return refused("listing containers", response);
  TRY(auto all, parse_containers(response.body));
  std::vector<ContainerInfo> out;
  for (ContainerInfo& one : all) {
    bool fits = true;
    for (const auto& [name, value] : labels) {
      const auto found = one.labels.find(name);
      fits = fits && found != one.labels.end() && found->second == value;
    }
    if (!fits) continue;
    // The list has no exit codes.
    if (one.state != State::kRunning && one.state != State::kCreated) {
      TRY(auto found, inspect(one.id));
      if (!found) continue;
      one = std::move(*found);
    }
    out.push_back(std::move(one));
  }
  return out;
}

Status EngineRuntime::stop(const std::string& id, std::chrono::seconds grace) {
  const std::string path = fmt::format("/containers/{}/stop?t={}", escaped(id), grace.count());
  TRY(const auto response, call("POST", path, {}, static_cast<double>(grace.count()) + kSlowSeconds));
  if (is_fine(response.status) || response.status == 304 || response.status == 404) return {};
  // Podman says 500 of one that was never started.
  TRY(const auto now, look_at(id));
  if (!now || now->info.state == State::kExited || now->info.state == State::kCreated) return {};
  return refused("stopping a container", response);
}

Status EngineRuntime::remove(const std::string& id) {
  const std::string path = "/containers/" + escaped(id);
  if (dialect_.kill_before_remove) TRY_STATUS(call("POST", path + "/kill?signal=KILL"));
  const auto begun = std::chrono::steady_clock::now();
  for (;;) {
    TRY(const auto response, call("DELETE", path + "?force=1&v=1", {}, kSlowSeconds));
    if (is_fine(response.status) || response.status == 404) return {};
    TRY(const auto left, look_at(id));
    if (!left) return {};
    // 409: another removal is under way. 500: what was killed has not quite ended, mostly.
    const std::chrono::seconds patience(response.status == 409 ? 60 : response.status == 500 ? 5 : 0);
    if (std::chrono::steady_clock::now() - begun >= patience) return refused("removing a container", response);
    std::this_thread::sleep_for(milliseconds(50));
  }
}

Result<int> EngineRuntime::wait(const std::string& id, milliseconds limit) {
  const net::Deadline deadline = std::chrono::steady_clock::now() + limit;
  net::UnixRequest request{.method = "POST",
                           .target = version_.prefix + "/containers/" + escaped(id) + "/wait?condition=not-running"};
  auto response = client_.request(request, deadline);
  if (!response && std::chrono::steady_clock::now() >= deadline)
    return tl::unexpected(Error{ErrorCode::kBusy,
                                fmt::format("{}: the container has not ended in {} s", dialect_.name,
                                            static_cast<double>(limit.count()) / 1000),
                                {},
                                "late"});
  if (!response) return tl::unexpected(with_reason(std::move(response).error(), "unreachable"));
  if (!is_fine(response->status)) return refused("waiting for a container", *response);
  return parse_wait(response->body);
}

Result<std::string> EngineRuntime::create_exec(const std::string& id, const std::vector<std::string>& command,
                                               bool terminal) const {
  TRY(const auto response, call("POST", "/containers/" + escaped(id) + "/exec", exec_creation(command, terminal)));
  if (!is_fine(response.status)) return refused("a command in a container", response);
  return parse_id(response.body, "the engine's new command");
}

Result<ExecResult> EngineRuntime::exec(const std::string& id, const std::vector<std::string>& command,
                                       milliseconds limit, uint64_t max_bytes) {
  const net::Deadline deadline = std::chrono::steady_clock::now() + limit;
  TRY(const std::string exec, create_exec(id, command, /*terminal=*/false));
  TRY(const auto stream,
      hijack("/exec/" + escaped(exec) + "/start", R"({"Detach":false,"Tty":false})", "a command in a container"));
  ExecResult result;
  TRY_STATUS(read_frames(*stream, deadline, [&](FrameDecoder::Source source, std::string_view piece) -> Status {
    if (result.out.size() + result.err.size() + piece.size() > max_bytes)
      return make_error(ErrorCode::kIo, "{}: expected at most {} bytes from it", command.front(), max_bytes);
    (source == FrameDecoder::Source::kOut ? result.out : result.err) += piece;
    return {};
  }));
  TRY(result.exit_code, exec_exit_code(exec));
  return result;
}

Result<std::pair<std::string, std::unique_ptr<Attachment>>> EngineRuntime::exec_terminal(
    const std::string& id, const std::vector<std::string>& command, int rows, int columns) {
  TRY(const std::string exec, create_exec(id, command, /*terminal=*/true));
  TRY(auto stream,
      hijack("/exec/" + escaped(exec) + "/start", R"({"Detach":false,"Tty":true})", "a command in a container"));
  // The connection may be there before the terminal is.
  constexpr int kTries = 40;
  for (int i = 0; i < kTries && !resize_exec(exec, rows, columns); ++i) std::this_thread::sleep_for(milliseconds(25));
  return std::pair<std::string, std::unique_ptr<Attachment>>(exec,
                                                             std::make_unique<TerminalAttachment>(std::move(stream)));
}

// The stream may end before the engine has seen the command's end.
Result<int> EngineRuntime::exec_exit_code(const std::string& exec) {
  const auto deadline = seconds_from_now(kCallSeconds);
  for (;;) {
    TRY(const auto response, call("GET", "/exec/" + escaped(exec) + "/json"));
    if (!is_fine(response.status)) return refused("a command in a container", response);
    TRY(const auto code, parse_exec(response.body));
    if (code) return *code;
    if (std::chrono::steady_clock::now() > deadline)
      return tl::unexpected(Error{ErrorCode::kBusy, "the command in the container has not ended", {}, "late"});
    std::this_thread::sleep_for(milliseconds(10));
  }
}

Status EngineRuntime::resize_exec(const std::string& exec, int rows, int columns) {
  TRY(const auto response, call("POST", fmt::format("/exec/{}/resize?h={}&w={}", escaped(exec), rows, columns)));
  if (!is_fine(response.status)) return refused("resizing a terminal", response);
  return {};
}

// Its output has ended, so it is about to. Both engines answer a wait a quarter of a second late, or so.
Result<int> EngineRuntime::exit_code_soon(const std::string& id) const {
  const auto deadline = seconds_from_now(kCallSeconds);
  for (;;) {
    TRY(const auto now, look_at(id));
    if (!now) return tl::unexpected(Error{ErrorCode::kIo, "the container was removed while it ran", {}, "gone"});
    if (now->info.exit_code) return *now->info.exit_code;
    if (std::chrono::steady_clock::now() > deadline)
      return tl::unexpected(Error{ErrorCode::kBusy, "the container has not ended", {}, "late"});
    std::this_thread::sleep_for(milliseconds(5));
  }
}

Result<ExecResult> EngineRuntime::run(const ContainerSpec& spec, const std::function<Status(std::string_view)>& out,
                                      milliseconds limit) {
  const net::Deadline deadline = std::chrono::steady_clock::now() + limit;
  if (spec.terminal)
    return make_error(ErrorCode::kUsage, "{}: expected a container without a terminal to run to its end", spec.name);
  ContainerSpec owned = spec;
  owned.labels[std::string(kOwnerLabel)] = this_process();
  TRY(const std::string id, create(owned));
  auto result = [&]() -> Result<ExecResult> {
    ExecResult told;
    TRY(const auto stream,
        hijack(fmt::format("/containers/{}/attach?stream=1&stdin=0&stdout=1&stderr=1", escaped(id)), {}, "attaching"));
    TRY_STATUS(start(id));
    auto read = read_frames(*stream, deadline, [&](FrameDecoder::Source source, std::string_view piece) -> Status {
      if (source == FrameDecoder::Source::kOut) return out(piece);
      told.err += piece.substr(0, kKeptErrorBytes - std::min<size_t>(kKeptErrorBytes, told.err.size()));
      return {};
    });
    if (!read && read.error().reason == "late")
      return tl::unexpected(
          Error{ErrorCode::kBusy,
                fmt::format("{}: it has not ended in {} s", spec.name, static_cast<double>(limit.count()) / 1000),
                {},
                "late"});
    TRY_STATUS(read);
    TRY(told.exit_code, exit_code_soon(id));
    return told;
  }();
  Status removed = remove(id);
  if (result && !removed) return tl::unexpected(std::move(removed).error());
  return result;
}

Result<std::optional<ImageInfo>> EngineRuntime::look_at_image(const std::string& tag) const {
  TRY(const auto response, call("GET", "/images/" + escaped(tag, /*slashes=*/true) + "/json"));
  if (response.status == 404) return std::optional<ImageInfo>();
  if (!is_fine(response.status)) return refused(tag, response);
  TRY(ImageInfo found, parse_image(response.body));
  return std::optional(std::move(found));
}

Result<std::optional<std::string>> EngineRuntime::image_id(const std::string& tag) {
  TRY(auto found, look_at_image(tag));
  if (!found) return std::optional<std::string>();
  return std::optional(std::move(found->id));
}

Result<Labels> EngineRuntime::image_labels(const std::string& tag) {
  TRY(auto found, look_at_image(tag));
  if (!found)
    return tl::unexpected(
        Error{ErrorCode::kBadInput, fmt::format("{}: there is no image {}", dialect_.name, tag), {}, "no_image"});
  return std::move(found->labels);
}

Status EngineRuntime::import_image(const Path& tar, const std::string& tag, const Labels& labels,
                                   const std::vector<std::string>& environment,
                                   const std::function<void(uint64_t)>& progress) {
  const auto [repository, version] = repository_and_tag(tag);
  std::string path = "/images/create?fromSrc=-&repo=" + escaped(repository, /*slashes=*/true) +
                     (dialect_.tag_with_repository ? ":" : "&tag=") + escaped(version);
  TRY(const auto changes, import_changes(labels, environment));
  for (const std::string& change : changes) path += "&changes=" + escaped(change);
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(tar, error);
  const int file = error ? -1 : ::open(tar.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return bad_input("{}: cannot be read ({})", tar.string(), error ? error.message() : std::strerror(errno));
  const std::unique_ptr<const int, void (*)(const int*)> closer(&file, [](const int* fd) { ::close(*fd); });
  net::UnixRequest request{.method = "POST", .target = version_.prefix + path};
  request.headers.set("Content-Type", "application/x-tar");
  request.body_bytes = bytes;
  request.body_pieces = [&]() -> Result<std::string> {
    constexpr size_t kPieceBytes = 256 << 10;
    std::string piece(kPieceBytes, '\0');
    const ssize_t got = ::read(file, piece.data(), piece.size());
    if (got < 0) return make_error(ErrorCode::kIo, "{}: cannot be read ({})", tar.string(), std::strerror(errno));
    piece.resize(static_cast<size_t>(got));
    return piece;
  };
  request.progress = progress;
  ProgressLines lines;
  const auto response = client_.stream(
      request, [&](std::string_view told) { return lines.feed(told); }, seconds_from_now(kImportSeconds));
  if (!response) return tl::unexpected(response.error());
  if (!is_fine(response->status)) return refused("importing " + tag, *response);
  TRY_STATUS(lines.end());
  TRY(const auto there, look_at_image(tag));
  if (!there) return make_error(ErrorCode::kIo, "{}: importing {}: it is not there afterwards", dialect_.name, tag);
  return {};
}

Status EngineRuntime::remove_image(const std::string& tag) {
  TRY(const auto response, call("DELETE", "/images/" + escaped(tag, /*slashes=*/true), {}, kSlowSeconds));
  if (is_fine(response.status) || response.status == 404) return {};
  return refused("removing " + tag, response);
}

}  // namespace onsight::agents::runtime
