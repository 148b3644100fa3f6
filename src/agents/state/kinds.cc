#include "agents/state/kinds.h"

#include <algorithm>
#include <array>

namespace onsight::agents::state {
namespace {

constexpr std::array<std::string_view, 7> kPhases = {"created",  "provisioning", "starting", "running",
                                                     "stopping", "stopped",      "error"};
constexpr std::array<std::string_view, 8> kActivities = {"idle",      "thinking", "waiting", "blocked",
                                                         "completed", "limit",    "stalled", "offline"};
constexpr std::array<std::string_view, 3> kWants = {"running", "stopped", "removed"};

template <class E, size_t N>
std::optional<E> value_of(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) return std::nullopt;
  return static_cast<E>(it - names.begin());
}

using T = FieldType;
constexpr bool kOptional = false;

constexpr Field kCreatedFields[] = {{"role", T::kName},
                                    {"harness", T::kName},
                                    {"branch", T::kText},
                                    {"model", T::kText, kOptional},
                                    {"task", T::kText, kOptional},
                                    {"base", T::kText, kOptional},
                                    {"image", T::kText, kOptional},
                                    {"placeholder", T::kText, kOptional},
                                    {"uid", T::kCount, kOptional}};
constexpr Field kWantedFields[] = {{"wanted", T::kWord, true, "running|stopped|removed"},
                                   {"resume", T::kYes, kOptional}};
constexpr Field kPhaseFields[] = {
    {"phase", T::kWord, true, "created|provisioning|starting|running|stopping|stopped|error"},
    {"detail", T::kText, kOptional},
    {"container", T::kText, kOptional},
    {"generation", T::kCount, kOptional},
    {"exit_code", T::kInteger, kOptional},
    {"base", T::kText, kOptional}};
constexpr Field kActivityFields[] = {
    {"activity", T::kWord, true, "idle|thinking|waiting|blocked|completed|limit|stalled|offline"},
    {"detail", T::kText, kOptional}};
constexpr Field kRemovedFields[] = {{"backup", T::kText, kOptional}};
constexpr Field kDoneFields[] = {{"summary", T::kText}, {"result", T::kWord, true, "done|failed"}};
constexpr Field kCollectedFields[] = {
    {"commit", T::kText}, {"wip", T::kText, kOptional}, {"ahead", T::kCount, kOptional}};
constexpr Field kMergedFields[] = {{"commit", T::kText}};
constexpr Field kBackedUpFields[] = {{"ref", T::kText}};
constexpr Field kQueuedFields[] = {{"id", T::kName},
                                   {"to", T::kName},
                                   {"kind", T::kWord, true, "message|question|answer"},
                                   {"text", T::kText},
                                   {"reply_to", T::kCount, kOptional},
                                   {"data", T::kAny, kOptional},
                                   {"hops", T::kCount}};
constexpr Field kNumbersFields[] = {{"numbers", T::kNumbers}};
constexpr Field kAnsweredFields[] = {{"number", T::kCount}, {"by", T::kCount}};
constexpr Field kReservedFields[] = {{"request", T::kName},
                                     {"provider", T::kText},
                                     {"model", T::kText, kOptional},
                                     {"micro_usd", T::kCount},
                                     {"tokens", T::kCount}};
constexpr Field kSettledFields[] = {{"request", T::kName},
                                    {"micro_usd", T::kCount},
                                    {"tokens_in", T::kCount},
                                    {"tokens_out", T::kCount},
                                    {"status", T::kCode, kOptional}};
constexpr Field kRefusedFields[] = {
    {"host", T::kText}, {"method", T::kText, kOptional}, {"path", T::kText, kOptional}, {"reason", T::kText}};
constexpr Field kSentFields[] = {{"host", T::kText},
                                 {"method", T::kText, kOptional},
                                 {"path", T::kText, kOptional},
                                 {"status", T::kCode, kOptional},
                                 {"bytes_in", T::kCount, kOptional},
                                 {"bytes_out", T::kCount, kOptional}};
constexpr Field kProposedFields[] = {{"tasks", T::kList}, {"id", T::kName, kOptional}};
constexpr Field kNoteFields[] = {{"text", T::kText}};

constexpr Kind kKinds[] = {
    {"agent.created", Of::kFormer, false, kCreatedFields},
    {"agent.wanted", Of::kAgent, false, kWantedFields},
    {"agent.phase", Of::kAgent, false, kPhaseFields},
    {"agent.activity", Of::kAgent, false, kActivityFields},
    {"agent.removed", Of::kAgent, false, kRemovedFields},
    {"agent.done", Of::kAgent, false, kDoneFields},
    {"work.collected", Of::kAgent, false, kCollectedFields},
    {"work.merged", Of::kAgent, false, kMergedFields},
    {"work.backed_up", Of::kAgent, false, kBackedUpFields},
    {"message.queued", Of::kInbox, false, kQueuedFields},
    {"message.delivered", Of::kInbox, false, kNumbersFields},
    {"message.consumed", Of::kInbox, false, kNumbersFields},
    {"message.answered", Of::kInbox, false, kAnsweredFields},
    {"spend.reserved", Of::kAgent, false, kReservedFields},
    {"spend.settled", Of::kFormer, false, kSettledFields},
    {"egress.refused", Of::kAny, true, kRefusedFields},
    {"egress.sent", Of::kAny, true, kSentFields},
    {"task.proposed", Of::kAgent, true, kProposedFields},
    {"task.*", Of::kAny, true, {}},
    {"run.*", Of::kAny, true, {}},
    {"note", Of::kAny, true, kNoteFields},
};

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

bool is_among(std::string_view choices, std::string_view word) {
  while (!choices.empty()) {
    const std::string_view choice = choices.substr(0, choices.find('|'));
    if (choice == word) return true;
    choices.remove_prefix(std::min(choices.size(), choice.size() + 1));
  }
  return false;
}

bool is_integer(const Json& value, int64_t min, int64_t max) {
  if (value.is_number_unsigned()) return value.get<uint64_t>() <= static_cast<uint64_t>(max);
  return value.is_number_integer() && value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

bool are_numbers(const Json& value) {
  if (!value.is_array() || value.empty()) return false;
  int64_t last = 0;
  for (const Json& number : value) {
    if (!is_integer(number, 1, kMaxCount) || number.get<int64_t>() <= last) return false;
    last = number.get<int64_t>();
  }
  return true;
}

// What was expected; empty: it is so.
std::string fault_of(const Field& field, const Json& value) {
  switch (field.type) {
    case FieldType::kText:
      return value.is_string() ? "" : "a text";
    case FieldType::kName: {
      const bool good = value.is_string() && !value.get_ref<const std::string&>().empty() &&
                        value.get_ref<const std::string&>().size() <= 64 &&
                        is_printable(value.get_ref<const std::string&>());
      return good ? "" : "1 to 64 printable characters without spaces";
    }
    case FieldType::kWord:
      return value.is_string() && is_among(field.choices, value.get_ref<const std::string&>())
                 ? ""
                 : fmt::format("one of {}", field.choices);
    case FieldType::kInteger:
      return is_integer(value, INT32_MIN, INT32_MAX) ? "" : "an integer";
    case FieldType::kCount:
      return is_integer(value, 0, kMaxCount) ? "" : "an integer, not negative";
    case FieldType::kYes:
      return value.is_boolean() ? "" : "true or false";
    case FieldType::kNumbers:
      return are_numbers(value) ? "" : "a list of numbers, ascending";
    case FieldType::kList:
      return value.is_array() ? "" : "a list";
    case FieldType::kCode:
      return value.is_string() || is_integer(value, INT32_MIN, INT32_MAX) ? "" : "an integer or a text";
    case FieldType::kAny:
      return "";
  }
  return "";
}

}  // namespace

std::string_view name_of(Phase phase) { return kPhases[static_cast<size_t>(phase)]; }
std::string_view name_of(Activity activity) { return kActivities[static_cast<size_t>(activity)]; }
std::string_view name_of(Wanted wanted) { return kWants[static_cast<size_t>(wanted)]; }
std::optional<Phase> phase_of(std::string_view name) { return value_of<Phase>(kPhases, name); }
std::optional<Activity> activity_of(std::string_view name) { return value_of<Activity>(kActivities, name); }
std::optional<Wanted> wanted_of(std::string_view name) { return value_of<Wanted>(kWants, name); }

std::span<const Kind> kinds() { return kKinds; }

const Kind* find_kind(std::string_view name) {
  for (const Kind& kind : kKinds) {
    const bool family = kind.name.ends_with(".*");
    const std::string_view prefix = kind.name.substr(0, kind.name.size() - (family ? 1 : 0));
    if (family ? name.starts_with(prefix) && name.size() > prefix.size() : name == kind.name) return &kind;
  }
  return nullptr;
}

bool is_reserved_name(std::string_view name) {
  return name == "human" || name == "supervisor" || name == "broker" || name == "orchestrator" || name == "onsight";
}

bool is_agent_name(std::string_view name) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && name.size() <= 30 && is_letter(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-';
  });
}

Status check_event(const NewEvent& event) {
  const Kind* kind = find_kind(event.kind);
  if (kind == nullptr || event.kind.size() > 64 || !is_printable(event.kind))
    return bad_input("event '{}': there is no such kind", event.kind);
  if (!is_agent_name(event.actor))
    return bad_input("{}: actor: expected who did it, found '{}'", event.kind, event.actor);
  const bool nobody = kind->of == Of::kAny && event.agent.empty();
  if (!nobody && !is_agent_name(event.agent))
    return bad_input("{}: agent: expected the name of one, found '{}'", event.kind, event.agent);
  if (kind->of == Of::kInbox ? event.agent != "human" && event.agent != "supervisor" && is_reserved_name(event.agent)
                             : kind->of != Of::kAny && is_reserved_name(event.agent))
    return bad_input("{}: agent: '{}' is no agent", event.kind, event.agent);
  if (!event.body.is_object()) return bad_input("{}: body: expected an object", event.kind);
  for (const Field& field : kind->fields) {
    const auto it = event.body.find(field.name);
    if (it == event.body.end()) {
      if (field.required) return bad_input("{}: {}: missing", event.kind, field.name);
      continue;
    }
    if (const std::string expected = fault_of(field, *it); !expected.empty())
      return bad_input("{}: {}: expected {}", event.kind, field.name, expected);
  }
  if (kind->open) return {};
  for (const auto& [name, value] : event.body.items()) {
    const auto known = [&name = name](const Field& field) { return field.name == name; };
    if (std::none_of(kind->fields.begin(), kind->fields.end(), known))
      return bad_input("{}: {}: there is no such field", event.kind, name);
  }
  return {};
}

bool may_follow(Phase from, Phase to) {
  using enum Phase;
  if (from == to) return true;
  switch (to) {
    case kCreated:
      return false;
    case kProvisioning:
      return from == kCreated || from == kStopped || from == kError;
    case kStarting:
      return from == kProvisioning || from == kStopped || from == kError;
    case kRunning:
      return from == kStarting;
    case kStopping:
      return from == kStarting || from == kRunning || from == kStopped || from == kError;
    case kStopped:
    case kError:
      return true;
  }
  return false;
}

bool may_follow(Wanted from, Wanted to) { return from != Wanted::kRemoved || to == Wanted::kRemoved; }

bool may_have_container(Phase phase) {
  return phase == Phase::kStarting || phase == Phase::kRunning || phase == Phase::kStopping;
}

bool may_be(Phase phase, Activity activity) {
  return may_have_container(phase) || activity == Activity::kOffline || activity == Activity::kCompleted ||
         activity == Activity::kLimit;
}

}  // namespace onsight::agents::state
