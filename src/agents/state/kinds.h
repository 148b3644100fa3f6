// Kinds: what may be written into the log, what the body of each kind holds, and which steps are legal.
//
//   TRY_STATUS(check_event({.actor = "human", .agent = "reviewer", .kind = "agent.wanted", .body = {{"wanted",
//   "stopped"}}})); may_follow(Phase::kStopped, Phase::kRunning);   // false: it is started first
//
// Who: `actor` did it ("human", "supervisor", "broker", "orchestrator", or an agent); `agent` is of whom the event
// tells. Of message.* that is the recipient, whose inbox it is ("human" and "supervisor" have one too).
//
// An agent. agent.created makes it, in phase `created`; agent.removed ends it, which needs wanted = removed and a phase
// in which no container runs (created, stopped, error). Its name is then free, and the next of that name is another
// agent: it has neither the inbox nor the spending of the former, but counts generations on, so that no two containers
// share a name.
//
//   wanted    running ⇄ stopped; removed after both, and nothing after it
//   phase     created ──→ provisioning ──→ starting ──→ running ──→ stopping ──→ stopped
//             error may come after each; after error each but created and running
//             stopped also after each: there was nothing to stop, or it ended by itself
//             starting and provisioning also after stopped: it goes on; provisioning where its clone is gone
//             stopping also after starting and stopped: a container that turned up late
//             each after itself: it says more (a container's id, a detail)
//   generation  counts up by one, and only with phase `starting`, before the container is made
//   start_asked by agent.created, and by wanted = running from stopping on, until a generation is counted, an error, or
//   it
//             is stopped and wanted so: tells an agent that is to start again from one that ended by itself
//   activity  what the agent says or the supervisor sees; from a phase without a container only offline, completed and
//             limit. Leaving `running` for stopped or error makes it offline, but completed and limit stay.
//
// A message. message.queued makes it; (sender, id) is unique as long as the sender lives. Then, each once and in this
// order:
//
//   queued ──→ delivered (its recipient's harness or program has been given it; it may be given again)
//          ──→ consumed  (the recipient said that it has it; it is never given again)
//          ──→ answered  (by a message back to the sender)
//
// Spending. spend.reserved takes from the budget before a request leaves, spend.settled of the same `request` puts the
// true amount in its place, once. What is never settled stays reserved.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "agents/state/store.h"

namespace onsight::agents::state {

enum class FieldType {
  kText,     // UTF-8
  kName,     // of a role, a harness: not empty, at most 64 bytes, printable
  kWord,     // one of `choices`
  kInteger,  // any of 32 bits
  kCount,    // 0 to kMaxCount
  kYes,      // true or false
  kNumbers,  // a list of numbers of messages, ascending, at least one
  kList,
  kCode,  // an integer or a text: what a server answered
  kAny,
};
// Larger than any amount that is meant, and so small that ten thousand of them can be added up.
constexpr int64_t kMaxCount = 900'000'000'000'000;
// Of one event, as text.
constexpr size_t kMaxBodyBytes = size_t{1} << 20;

struct Field {
  std::string_view name;
  FieldType type;
  bool required = true;
  std::string_view choices = {};  // "running|stopped"
};

// Of whom a kind tells.
enum class Of {
  kAgent,   // one that there is
  kFormer,  // or was
  kInbox,   // an agent, "human" or "supervisor"
  kAny,     // an agent or nobody
};

struct Kind {
  std::string_view name;  // "task.*": all that begin so
  Of of;
  bool open;  // more fields than these may be there, and are kept
  std::span<const Field> fields;
};

std::span<const Kind> kinds();
const Kind* find_kind(std::string_view name);

// Whether the event is well formed, whatever the store holds; the error names the kind and the field.
Status check_event(const NewEvent& event);
// Names of agents as they may stand in events: as config::check_name has them. Reserved ones are no agent's.
bool is_agent_name(std::string_view name);
bool is_reserved_name(std::string_view name);

bool may_follow(Phase from, Phase to);
bool may_follow(Wanted from, Wanted to);
// Whether a container may be there that belongs to the agent.
bool may_have_container(Phase phase);
bool may_be(Phase phase, Activity activity);

std::optional<Phase> phase_of(std::string_view name);
std::optional<Activity> activity_of(std::string_view name);
std::optional<Wanted> wanted_of(std::string_view name);

}  // namespace onsight::agents::state
