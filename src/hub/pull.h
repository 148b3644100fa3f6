// pull: a model of the hub comes into the cache.
//
//   TRY(const Settings settings, Settings::from_environment());
//   TRY(const Pulled pulled, pull(settings, repository, {.accept = …, .progress = …, .stop = …}));
#pragma once

#include <chrono>
#include <functional>

#include "base/json.h"
#include "hub/repository.h"

namespace onsight::hub {

struct PullOptions {
  // Sees config.json before any weights come; a failure ends it.
  std::function<Status(const Json& config)> accept = nullptr;
  // Bytes of all files. On one thread at a time.
  std::function<void(std::string_view what, int64_t done, int64_t total)> progress = nullptr;
  std::function<bool()> stop = [] { return false; };
  int connections = 4;
  std::chrono::milliseconds first_wait{500};  // after a try that brought nothing; each further one waits twice as long
};

struct Pulled {
  Path folder;
  std::string commit;
  int64_t fetched_bytes = 0, bytes = 0;  // that came over the line, and of all files
};

// Fetches what the cache has not of the files that a model needs, several at once, each from where an earlier try
// ended, and compares every one with its checksum. The revision is found under its name when all files are there; until
// then an earlier one is. Interrupted, what came stays for the next time. Offline it only looks whether the revision is
// there.
Result<Pulled> pull(const Settings& settings, const Repository& repository, const PullOptions& options);

}  // namespace onsight::hub
