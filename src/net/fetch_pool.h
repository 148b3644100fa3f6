// FetchPool: threads for requests that wait for other hosts, so that those that handle requests never do.
//
//   FetchPool pool({.at_once = 8, .waiting = 64});
//   if (!pool.post([=] { … fetch(url, policy, where, deadline) … })) return "try again soon";
#pragma once

#include <functional>
#include <memory>

namespace onsight::net {

class FetchPool {
 public:
  struct Limits {
    int at_once = 8, waiting = 64;
  };
  explicit FetchPool(const Limits& limits);
  // Waits for what runs; what has not begun is let go.
  ~FetchPool();

  // False: as many wait already as may. Thread safe. What `work` throws is its own affair.
  bool post(std::function<void()> work);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onsight::net
