// CurrentFleet: the fleet with what agents.toml says now. A file that has become wrong changes nothing, and is told of.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "agents/fleet.h"
#include "base/result.h"

namespace onsight::agents::page {

using OpenFleet = std::function<Result<std::unique_ptr<Fleet>>()>;

class CurrentFleet {
 public:
  static Result<std::unique_ptr<CurrentFleet>> open(OpenFleet open);

  // Whoever holds it goes on with it when there is a newer one.
  std::shared_ptr<Fleet> get();
  std::string problem();  // a sentence about agents.toml; empty: there is none

 private:
  CurrentFleet(OpenFleet open, std::unique_ptr<Fleet> first);
  std::filesystem::file_time_type time_of_config() const;

  const OpenFleet open_;
  const Path config_;
  std::mutex mutex_;  // of what follows
  std::shared_ptr<Fleet> fleet_;
  std::filesystem::file_time_type time_;
  std::string problem_;
};

}  // namespace onsight::agents::page
