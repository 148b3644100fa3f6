// Moves: what the orchestrator does next, decided from what is seen and nothing else.
//
//   for (const Move& move : next_moves(run, seen)) …
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/orchestrator/run_state.h"

namespace onsight::agents::orchestrator {

// Of the agent that a task names.
struct SeenAgent {
  std::optional<state::AgentRow> row;  // nullopt: it was never made, or it is gone
  bool removed = false;                // it is gone
  std::string said;     // of agent.done since the task began to be worked on: "done", "failed"; empty: nothing
  std::string summary;  // with it
  int64_t idle_ms = 0;  // it has done nothing for so long
  int asked = 0;        // times that it was asked whether it is done
};

struct Seen {
  std::map<std::string, SeenAgent, std::less<>> agents;  // by name
  state::Spending spent;                                 // by the run
  int64_t now_ms = 0;
  bool queue_is_busy = false;  // work of a task is being checked or merged
  bool stopped = false;        // whoever started it wants it to end
};

struct Move {
  enum class Kind {
    kStart,  // a task gets an agent: the next attempt
    kMake,   // its agent was named, and never made
    kAsk,    // whether it is done
    kCheck,  // its agent is done: its work goes into the queue
    kRetry,  // the agent did not bring it about (detail): another may try
    kFail,   // none is left that may (detail)
    kSkip,   // one that it comes after failed (detail)
    kEnd,    // of the run (detail: the sentence, result)
  };
  Kind kind = Kind::kEnd;
  std::string task;
  std::string detail;
  std::string result;  // of kEnd: "done", "failed", "stopped", "budget"
};
std::string_view name_of(Move::Kind kind);

std::vector<Move> next_moves(const Run& run, const Seen& seen);

// How often an agent is asked before it counts as one that does not answer.
constexpr int kMostAsked = 2;

// Which budget is spent, as a sentence; empty: none.
std::string over_budget(const Run& run, const state::Spending& spent, int64_t now_ms);

// Whether a proposed task may be one of the run's; what is wrong with it as a sentence, empty: nothing. Fills in the
// role, where only one is proposable.
std::string refusal_of(const Run& run, config::Task& task, const std::vector<config::Task>& with_it);

}  // namespace onsight::agents::orchestrator
