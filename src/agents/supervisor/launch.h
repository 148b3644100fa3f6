// Launch: the two processes that work for a project, started when they are needed and woken when there is something
// new.
#pragma once

#include <string_view>

#include "agents/project.h"
#include "base/result.h"

namespace onsight::agents::supervisor {

enum class Duty { kSupervisor, kBroker };
std::string_view name_of(Duty duty);  // "supervisor"
Path control_of(const Project& project, Duty duty);

// Tells it that the store has news; starts it, as `onsight agents supervise` or `broker` of this very program, where
// nobody answers. Waits until it does, at most ten seconds: then the last line of its log is the error.
Status wake(const Project& project, Duty duty);
// Whether one answers.
bool answers(const Project& project, Duty duty);

// Held by the process that does the duty, as long as it lives.
class DutyLock {
 public:
  // kBusy: another process does it.
  static Result<DutyLock> take(const Project& project, Duty duty);
  DutyLock(DutyLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  DutyLock& operator=(DutyLock&&) = delete;
  ~DutyLock();

 private:
  explicit DutyLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace onsight::agents::supervisor
