// Events: descriptors that are waited for together, one thread, with epoll.
//
//   TRY(auto events, Events::create());
//   TRY_STATUS(events->watch(fd, EPOLLIN, [&](uint32_t what) { … }));
//   for (;;) events->wait(milliseconds(1000));
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "base/result.h"

namespace onsight::guest {

class Events {
 public:
  using Handler = std::function<void(uint32_t what)>;
  static Result<std::unique_ptr<Events>> create();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  ~Events();

  Status watch(int fd, uint32_t interest, Handler handler);
  // With nothing of interest it is not looked at: epoll tells of a closed end whether one asks or not.
  void change(int fd, uint32_t interest);
  void forget(int fd);  // before it is closed
  void wait(std::chrono::milliseconds limit);

 private:
  struct Watched {
    std::shared_ptr<Handler> handler;  // outlives forget() while it runs
    uint32_t interest = 0, number = 0;
  };
  explicit Events(int epoll) : epoll_(epoll) {}
  int epoll_;
  uint32_t next_ = 0;
  std::unordered_map<int, Watched> watched_;
};

}  // namespace onsight::guest
