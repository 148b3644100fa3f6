#include "agents/page/current_fleet.h"

namespace onsight::agents::page {

CurrentFleet::CurrentFleet(OpenFleet open, std::unique_ptr<Fleet> first)
    : open_(std::move(open)), config_(first->project().config()), fleet_(std::move(first)), time_(time_of_config()) {}

Result<std::unique_ptr<CurrentFleet>> CurrentFleet::open(OpenFleet open) {
  TRY(std::unique_ptr<Fleet> first, open());
  return std::unique_ptr<CurrentFleet>(new CurrentFleet(std::move(open), std::move(first)));
}

std::filesystem::file_time_type CurrentFleet::time_of_config() const {
  std::error_code failed;
  const auto time = std::filesystem::last_write_time(config_, failed);
  return failed ? std::filesystem::file_time_type() : time;
}

std::shared_ptr<Fleet> CurrentFleet::get() {
  const std::lock_guard lock(mutex_);
  if (const auto time = time_of_config(); time != time_) {
    time_ = time;
    auto newer = open_();
    problem_ = newer ? "" : newer.error().message;
    if (newer) fleet_ = std::move(*newer);
  }
  return fleet_;
}

std::string CurrentFleet::problem() {
  const std::lock_guard lock(mutex_);
  return problem_;
}

}  // namespace onsight::agents::page
