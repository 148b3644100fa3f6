// Viewers: terminals of agents on their way to pages, as server-sent events: "begin" {live}, pieces of bytes in base64,
// "end" {detail}. A thread each, which waits for the supervisor.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "agents/project.h"
#include "agents/state/store.h"
#include "base/result.h"
#include "net/http.h"
#include "net/raw_stream.h"

namespace onsight::agents::page {

class Viewers {
 public:
  Viewers() = default;
  ~Viewers();  // ends all of them
  Viewers(const Viewers&) = delete;
  Viewers& operator=(const Viewers&) = delete;

  // Of one that runs: its terminal, `rows` by `columns` from here on. Where there is none: what it showed last, and
  // why. kBusy: there are too many.
  Status watch(const Project& project, const state::AgentRow& agent, int rows, int columns,
               std::shared_ptr<net::Exchange> exchange);

 private:
  struct Viewer;
  void show(const Project& project, const state::AgentRow& agent, int rows, int columns, Viewer& viewer);
  static void show_live(net::RawStream& stream, net::Exchange& exchange);

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::set<std::shared_ptr<Viewer>> viewers_;
  bool ending_ = false;
};

}  // namespace onsight::agents::page
