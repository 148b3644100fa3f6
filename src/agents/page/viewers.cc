#include "agents/page/viewers.h"

#include <thread>

#include "agents/page/answers.h"
#include "agents/supervisor/launch.h"
#include "agents/supervisor/terminals.h"
#include "net/base64.h"
#include "net/sse.h"
#include "net/unix_client.h"

namespace onsight::agents::page {
namespace {

constexpr size_t kMostViewers = 64;
constexpr double kAttachSeconds = 10;
constexpr std::chrono::milliseconds kPieceTime{1000};

// The lines of a text as a terminal wants them.
std::string for_terminal(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

}  // namespace

// Ended by its client, or with all others: whichever comes first.
struct Viewers::Viewer {
  std::shared_ptr<net::Exchange> exchange;
  std::mutex mutex;  // of what follows
  std::shared_ptr<net::RawStream> stream;
  bool over = false;

  void end() {
    const std::lock_guard lock(mutex);
    over = true;
    if (stream) stream->shut();
  }
  bool hold(std::shared_ptr<net::RawStream> held) {
    const std::lock_guard lock(mutex);
    stream = std::move(held);
    return !over;
  }
};

Viewers::~Viewers() {
  std::unique_lock lock(mutex_);
  ending_ = true;
  for (const auto& viewer : viewers_) viewer->end();
  changed_.wait(lock, [this] { return viewers_.empty(); });
}

Status Viewers::watch(const Project& project, const state::AgentRow& agent, int rows, int columns,
                      std::shared_ptr<net::Exchange> exchange) {
  auto viewer = std::make_shared<Viewer>();
  viewer->exchange = std::move(exchange);
  {
    const std::lock_guard lock(mutex_);
    if (ending_ || viewers_.size() >= kMostViewers)
      return make_error(ErrorCode::kBusy, "{} terminals are looked at already, which is the limit", viewers_.size());
    viewers_.insert(viewer);
  }
  // Whoever goes while the supervisor is asked is seen to have gone when it has answered.
  viewer->exchange->on_gone([weak = std::weak_ptr(viewer)](net::Gone) {
    if (const auto there = weak.lock()) there->end();
  });
  std::thread([this, project, agent, rows, columns, viewer] {
    show(project, agent, rows, columns, *viewer);
    const std::lock_guard lock(mutex_);
    viewers_.erase(viewer);
    changed_.notify_all();
  }).detach();
  return {};
}

void Viewers::show(const Project& project, const state::AgentRow& agent, int rows, int columns, Viewer& viewer) {
  net::Exchange& exchange = *viewer.exchange;
  const auto begin = [&](const char* how) {
    exchange.start_stream(200, net::sse_headers());
    exchange.write(net::sse_event(how, "begin"));
  };
  const auto end = [&](const std::string& detail) {
    exchange.write(net::sse_event(text_of({{"detail", detail}}), "end"));
    exchange.finish();
  };
  const auto show_last = [&](const std::string& why) {
    begin(R"({"live":false})");
    const auto text = supervisor::last_screen(project, agent);
    if (text && !text->empty()) exchange.write(net::sse_event(net::base64_encode(for_terminal(*text))));
    end(why);
  };
  if (agent.phase != state::Phase::kRunning)
    return show_last(fmt::format("{} is {}", agent.name, state::name_of(agent.phase)));
  // One that was killed, with everything else as it was, is started again.
  const Status awake = supervisor::wake(project, supervisor::Duty::kSupervisor);
  if (!awake) return show_last(awake.error().message);
  const net::UnixClient client(project.control());
  auto attached = client.hijack(
      {.method = "POST", .target = fmt::format("/agents/{}/attach?rows={}&columns={}", agent.name, rows, columns)},
      net::seconds_from_now(kAttachSeconds));
  if (!attached) return show_last(attached.error().message);
  if (!attached->stream) return show_last(attached->head.body);
  begin(R"({"live":true})");
  const std::shared_ptr<net::RawStream> stream = std::move(attached->stream);
  if (viewer.hold(stream)) show_live(*stream, exchange);
  end(fmt::format("{}: its terminal has ended", agent.name));
}

void Viewers::show_live(net::RawStream& stream, net::Exchange& exchange) {
  for (;;) {
    const auto bytes = stream.read(kPieceTime);
    if (!bytes || (*bytes && (*bytes)->empty())) return;
    if (*bytes) exchange.write(net::sse_event(net::base64_encode(**bytes)));
  }
}

}  // namespace onsight::agents::page
