#include "agents/broker/service.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstdio>

namespace onsight::agents::broker {

bool AgentLink::Bucket::take(int per_minute) {
  const double most = std::max(1, per_minute);
  const Time now = Clock::now();
  if (level < 0) level = most;
  level = std::min(most, level + std::chrono::duration<double>(now - at).count() * most / 60);
  at = now;
  if (level < 1) return false;
  level -= 1;
  return true;
}

std::shared_ptr<const Policy> AgentLink::policy() const {
  const std::lock_guard lock(mutex_);
  return policy_;
}

void AgentLink::set_policy(std::shared_ptr<const Policy> policy) {
  const std::lock_guard lock(mutex_);
  policy_ = std::move(policy);
}

bool AgentLink::admit_request(int per_minute) {
  const std::lock_guard lock(mutex_);
  return requests_.take(per_minute);
}

bool AgentLink::admit_log(int per_minute, int64_t& unlogged) {
  const std::lock_guard lock(mutex_);
  if (!logs_.take(per_minute)) {
    ++unlogged_;
    return false;
  }
  unlogged = std::exchange(unlogged_, 0);
  return true;
}

bool AgentLink::enter(int fd) {
  const std::lock_guard lock(mutex_);
  if (!ended_) open_.insert(fd);
  return !ended_;
}

void AgentLink::leave(int fd) {
  const std::lock_guard lock(mutex_);
  open_.erase(fd);
}

void AgentLink::cut_off() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
}

void Service::add_event(const AgentLink& link, std::string_view kind, Json body) {
  const Status written = store->write([&](state::Transaction& t) {
    return t.add({.actor = "broker", .agent = link.name, .kind = std::string(kind), .body = std::move(body)});
  });
  if (!written)
    std::fprintf(stderr, "onsight: %s: an event was not written (%s)\n", link.name.c_str(),
                 written.error().message.c_str());
}

std::string shown(std::string_view text, size_t most) {
  std::string out(text.substr(0, most));
  for (char& c : out)
    if (c < 0x20 || c >= 0x7f) c = '?';
  return out;
}

}  // namespace onsight::agents::broker
