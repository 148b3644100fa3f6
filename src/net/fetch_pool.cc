#include "net/fetch_pool.h"

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

namespace onsight::net {

struct FetchPool::Impl {
  explicit Impl(const Limits& limits)
      : most(limits.at_once + limits.waiting), threads(static_cast<size_t>(limits.at_once)) {}

  const int most;
  std::atomic<int> taken{0};  // that run, or wait
  boost::asio::thread_pool threads;
};

FetchPool::FetchPool(const Limits& limits) : impl_(std::make_unique<Impl>(limits)) {}

FetchPool::~FetchPool() {
  impl_->threads.stop();
  impl_->threads.join();
}

bool FetchPool::post(std::function<void()> work) {
  if (impl_->taken.fetch_add(1) >= impl_->most) {
    impl_->taken.fetch_sub(1);
    return false;
  }
  boost::asio::post(impl_->threads, [impl = impl_.get(), work = std::move(work)] {
    try {
      work();
    } catch (const std::exception&) {
    }
    impl->taken.fetch_sub(1);
  });
  return true;
}

}  // namespace onsight::net
