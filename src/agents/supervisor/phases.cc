#include "agents/supervisor/phases.h"

#include <algorithm>
#include <array>

#include "agents/state/kinds.h"

namespace onsight::agents::supervisor {
namespace {

using runtime::ContainerInfo;
using state::Activity;
using state::Phase;
using state::Wanted;

// Three signs of life missed, and a little.
constexpr int64_t kOfflineAfterMs = 35'000;
constexpr int64_t kPrintsNowMs = 5'000;
constexpr int64_t kStalledAfterMs = 10 * 60'000;

std::string label(const ContainerInfo& container, std::string_view name) {
  const auto found = container.labels.find(std::string(name));
  return found == container.labels.end() ? "" : found->second;
}

// The one of this generation, and all others. Before this generation was counted there is none: a container that has
// its number is of a former agent of this name. Of two with one generation, which no engine allows, the one that is
// known by its id stays, or the first.
struct Sorted {
  const ContainerInfo* own = nullptr;
  std::vector<std::string> others;
};

Sorted sort_containers(const Seen& seen) {
  Sorted out;
  const std::string generation = std::to_string(seen.agent.generation);
  const Phase phase = seen.agent.phase;
  const bool counted = phase != Phase::kCreated && phase != Phase::kProvisioning &&
                       !(phase == Phase::kStarting && seen.agent.start_asked);
  const auto is_own = [&](const ContainerInfo& c) {
    return counted && seen.agent.generation > 0 && label(c, runtime::kGenerationLabel) == generation;
  };
  for (const ContainerInfo& c : seen.containers) {
    if (is_own(c) && (out.own == nullptr || c.id == seen.agent.container)) out.own = &c;
  }
  for (const ContainerInfo& c : seen.containers) {
    if (&c != out.own) out.others.push_back(c.id);
  }
  return out;
}

Decision finish(const ContainerInfo* own, std::string detail) {
  Decision out{Step::kFinish, own == nullptr ? "" : own->id, std::move(detail)};
  if (own != nullptr) out.exit_code = own->exit_code;
  if (own != nullptr && own->out_of_memory) out.detail = "it ran out of memory";
  return out;
}

bool has_ended(const ContainerInfo* own) {
  return own == nullptr || own->state == runtime::State::kExited || own->state == runtime::State::kCreated;
}

// It shall not run, or no longer: in phases in which a container may be there.
Decision bring_down(const ContainerInfo* own) {
  if (has_ended(own)) return finish(own, "");
  return {Step::kStop, own->id};
}

Decision from_starting(const Seen& seen, const ContainerInfo* own) {
  if (!seen.has_clone) return {Step::kFail, "", "its clone is gone"};
  if (own == nullptr) return {Step::kCreate};
  switch (own->state) {
    case runtime::State::kCreated:
    case runtime::State::kRunning:
      return {Step::kStart, own->id};
    case runtime::State::kExited:
      return finish(own, "");
    case runtime::State::kUnknown:
      return {};
  }
  return {};
}

Decision from_running(const Seen& seen, const ContainerInfo* own) {
  if (own == nullptr) return finish(own, "its container is gone");
  // Created: the machine started anew, and this engine forgets that it ran.
  if (has_ended(own)) return finish(own, "");
  if (own->state == runtime::State::kUnknown) return {};
  if (seen.over_time) return {Step::kStop, own->id, "its budget of time is spent"};
  if (!seen.attached) return {Step::kAttach, own->id};
  return {};
}

// Stopped, or in error: whatever turns up is cleared away; then it starts again, goes, or stays.
Decision from_rest(const Seen& seen, const ContainerInfo* own) {
  if (own != nullptr) {
    if (!has_ended(own)) return {Step::kStop, own->id};
    return {Step::kRemoveContainers, "", "", {own->id}};
  }
  if (seen.agent.wanted == Wanted::kRemoved) return {Step::kRemove};
  if (seen.agent.wanted != Wanted::kRunning || !seen.agent.start_asked) return {};
  return {seen.has_clone ? Step::kCreate : Step::kProvision};
}

}  // namespace

std::string_view name_of(Step step) {
  constexpr std::array<std::string_view, 10> kNames = {
      "nothing", "provision", "create", "start", "attach", "stop", "finish", "remove containers", "remove", "fail"};
  return kNames[static_cast<size_t>(step)];
}

Decision next_step(const Seen& seen) {
  const auto [own, others] = sort_containers(seen);
  // First of all, so that there are never two of one agent.
  if (!others.empty()) return {Step::kRemoveContainers, "", "", others};
  const Phase phase = seen.agent.phase;
  const bool wanted = seen.agent.wanted == Wanted::kRunning;
  switch (phase) {
    case Phase::kCreated:
      if (wanted) return {Step::kProvision};
      return {seen.agent.wanted == Wanted::kRemoved ? Step::kRemove : Step::kFinish};
    case Phase::kProvisioning:
      return {wanted ? Step::kProvision : Step::kFinish};
    case Phase::kStarting:
      return wanted ? from_starting(seen, own) : bring_down(own);
    case Phase::kRunning:
      return wanted ? from_running(seen, own) : bring_down(own);
    case Phase::kStopping:
      return bring_down(own);
    case Phase::kStopped:
    case Phase::kError:
      return from_rest(seen, own);
  }
  return {};
}

Activity activity_of(const Signs& signs) {
  if (!state::may_have_container(signs.phase))
    return state::may_be(signs.phase, signs.reported) ? signs.reported : Activity::kOffline;
  if (signs.heartbeat_age_ms > kOfflineAfterMs) return Activity::kOffline;
  const bool prints = signs.output_age_ms <= kPrintsNowMs, still = signs.output_age_ms > kStalledAfterMs;
  switch (signs.reported) {
    case Activity::kThinking:
      return still ? Activity::kStalled : Activity::kThinking;
    case Activity::kBlocked:
    case Activity::kLimit:
      return signs.reported;
    case Activity::kWaiting:
    case Activity::kCompleted:
    case Activity::kIdle:
      // Said before somebody told it something new.
      return signs.screen_thinks && prints ? Activity::kThinking : signs.reported;
    case Activity::kStalled:
    case Activity::kOffline:
      break;  // it has said nothing of itself
  }
  if (signs.screen_waits) return Activity::kWaiting;
  if (signs.screen_thinks) return still ? Activity::kStalled : Activity::kThinking;
  return prints ? Activity::kThinking : Activity::kIdle;
}

std::string container_name(const std::string& project_id, const std::string& agent, int64_t generation) {
  return fmt::format("onsight-{}-{}-{}", project_id, agent, generation);
}

std::vector<std::string> orphans(const std::vector<ContainerInfo>& containers,
                                 const std::vector<state::AgentRow>& agents) {
  std::vector<std::string> out;
  for (const ContainerInfo& c : containers) {
    const std::string agent = label(c, runtime::kAgentLabel);
    const bool known = std::any_of(agents.begin(), agents.end(), [&](const auto& row) { return row.name == agent; });
    if (!agent.empty() && !known) out.push_back(c.id);
  }
  return out;
}

}  // namespace onsight::agents::supervisor
