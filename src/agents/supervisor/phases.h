// Phases: what the supervisor does next for one agent, decided from what is seen and nothing that is remembered, so
// that whoever is killed between two steps goes on with the right one.
//
//   const Step step = next_step(seen);   // kCreate
//
// The supervisor commits an event before an action that makes something outside the store (agent.phase with the
// generation before a container is created, its name being known from that), and one after it when it is done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/runtime/runtime.h"
#include "agents/state/store.h"

namespace onsight::agents::supervisor {

// What is seen of one agent at one moment. Containers: all that the engine lists with this agent's label, any
// generation.
struct Seen {
  state::AgentRow agent;
  bool has_clone = false;
  std::vector<runtime::ContainerInfo> containers;
  bool attached = false;   // this supervisor holds its terminal
  bool over_time = false;  // its budget of time is spent
  int64_t now_ms = 0;
};

// Which event is committed before (↓) and after (↑) the action of each. Killed in between, the next one sees what has
// been made and goes on from there: every action may be done again.
enum class Step {
  kNothing,
  kProvision,  // ↓ phase provisioning; its clone (if it has none) and sockets; ↑ phase starting
  kCreate,     // ↓ phase starting with the generation counted up; create and start the container of that name;
               // ↑ phase running with its id. Start failed: the container is removed; ↑ phase error
  kStart,      // the container of this generation is there, and nobody wrote down that it runs: start it, which is
               // nothing if it does; ↑ phase running with its id
  kAttach,     // take hold of the terminal; no event
  kStop,       // ↓ phase stopping; TERM, then KILL; no event after: what is seen then is that it has ended
  kFinish,     // it ended by itself or was stopped, or there never was one: collect its work (if it has a clone);
               // ↑ work.collected; ↑ phase stopped with the exit code
  kRemoveContainers,  // those of `containers`: not this generation's, or of an agent that has stopped; no event
  kRemove,  // wanted removed, and no container is left: remove refs, sockets, then the clone; ↑ agent.removed
  kFail,    // ↑ phase error with `detail`: what cannot be gone on with
};
struct Decision {
  Step step = Step::kNothing;
  std::string container;  // of kStart, kAttach, kStop, kFinish: its id; of kFinish maybe none
  std::string detail;     // of kFail and kFinish: the sentence; of kStop: why, if not because it is wanted
  std::vector<std::string> containers = {};  // of kRemoveContainers: their ids
  std::optional<int> exit_code = {};         // of kFinish
};
std::string_view name_of(Step step);
// A start that is asked for (AgentRow::start_asked) begins from stopped and error; an agent that ended by itself is
// left.
Decision next_step(const Seen& seen);

// By the age of the last sign of life and of what was printed last; `reported` is what the agent or its harness said of
// itself, which counts as long as it lives.
struct Signs {
  state::Phase phase = state::Phase::kCreated;
  state::Activity reported = state::Activity::kOffline;
  int64_t heartbeat_age_ms = 0, output_age_ms = 0;
  bool screen_waits = false, screen_thinks = false;  // by the harness's patterns
};
state::Activity activity_of(const Signs& signs);

// The name of an agent's container: no two agents or generations share one.
std::string container_name(const std::string& project_id, const std::string& agent, int64_t generation);

// Ids of this project's containers whose agent there is none of (any more): to be removed.
std::vector<std::string> orphans(const std::vector<runtime::ContainerInfo>& containers,
                                 const std::vector<state::AgentRow>& agents);

}  // namespace onsight::agents::supervisor
