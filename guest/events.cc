#include "events.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace onsight::guest {

Result<std::unique_ptr<Events>> Events::create() {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return make_error(ErrorCode::kIo, "epoll: {}", std::strerror(errno));
  return std::unique_ptr<Events>(new Events(epoll));
}

Events::~Events() { ::close(epoll_); }

Status Events::watch(int fd, uint32_t interest, Handler handler) {
  watched_[fd] = {std::make_shared<Handler>(std::move(handler)), 0, ++next_};
  change(fd, interest);
  if (watched_[fd].interest == interest) return {};
  watched_.erase(fd);
  return make_error(ErrorCode::kIo, "epoll: {}", std::strerror(errno));
}

void Events::change(int fd, uint32_t interest) {
  const auto found = watched_.find(fd);
  if (found == watched_.end() || found->second.interest == interest) return;
  // A number with the descriptor, so that an event of one that was closed is not taken for one of its successor.
  epoll_event event = {.events = interest, .data = {.u64 = (uint64_t{found->second.number} << 32) | uint32_t(fd)}};
  const int how = interest == 0 ? EPOLL_CTL_DEL : found->second.interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_, how, fd, &event) == 0) found->second.interest = interest;
}

void Events::forget(int fd) {
  change(fd, 0);
  watched_.erase(fd);
}

void Events::wait(std::chrono::milliseconds limit) {
  std::array<epoll_event, 64> events;
  const auto ms = static_cast<int>(std::clamp<int64_t>(limit.count(), 0, 60'000));
  const int found = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), ms);
  for (int i = 0; i < found; ++i) {
    const auto at = watched_.find(static_cast<int>(events[i].data.u64 & 0xFFFFFFFF));
    if (at == watched_.end() || at->second.number != events[i].data.u64 >> 32) continue;
    const std::shared_ptr<Handler> handler = at->second.handler;
    (*handler)(events[i].events);
  }
}

}  // namespace onsight::guest
