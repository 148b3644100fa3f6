#include "agents/config/plan.h"

#include <algorithm>
#include <functional>
#include <map>

#include "agents/config/toml_reader.h"

namespace onsight::agents::config {
namespace {

std::vector<std::string> names_of(const std::vector<Task>& tasks) {
  std::vector<std::string> names;
  names.reserve(tasks.size());
  for (const Task& task : tasks) names.push_back(task.name);
  return names;
}

std::vector<std::string> role_names(const Config& config) {
  std::vector<std::string> names;
  for (const auto& [name, role] : config.roles) names.push_back(name);
  return names;
}

// What is wrong with it by itself; empty: nothing.
std::string fault_of(const Task& task) {
  if (Status named = check_name(task.name, "a task"); !named) return named.error().message;
  // An agent is named for its task, and the second that tries it has a number behind that.
  if (task.name.size() > 26)
    return fmt::format("'{}': expected at most 26 characters in the name of a task", task.name);
  if (task.prompt.empty()) return "prompt: expected what is to be done, found nothing";
  if (task.prompt.size() > kMostPrompt)
    return fmt::format("prompt: expected at most {} bytes, found {}", kMostPrompt, task.prompt.size());
  if (task.prompt.find('\0') != std::string::npos) return "prompt: expected no zero bytes";
  return {};
}

Result<Task> parse_task(TomlReader& table, const Config& config, std::string_view where) {
  Task task;
  TRY(task.name, table.string("name"));
  TRY(task.role, table.string_or("role", ""));
  TRY(task.prompt, table.string("prompt"));
  TRY(task.after, table.strings_or("after", {}));
  TRY(task.checks, table.commands_or_none("checks"));
  if (const std::string fault = fault_of(task); !fault.empty()) return table.error("name", fault);
  if (task.role.empty()) {
    if (config.roles.size() != 1) return table.error("role", "expected one of the roles");
    task.role = config.roles.begin()->first;
  }
  if (!config.role(task.role))
    return table.error(
        "role", fmt::format("unknown role '{}'{}; {} and agents.toml have {}", task.role,
                            did_you_mean(task.role, role_names(config)), where, fmt::join(role_names(config), ", ")));
  return task;
}

Result<int> count(TomlReader& table, std::string_view key, int otherwise, int most) {
  TRY(const int64_t value, table.integer_or(key, otherwise, 1, most));
  return static_cast<int>(value);
}

Result<PlanLimits> parse_plan_limits(TomlReader& table) {
  PlanLimits limits;
  TRY(limits.agents, count(table, "agents", limits.agents, 100));
  TRY(limits.attempts, count(table, "attempts", limits.attempts, 20));
  TRY(limits.rounds, count(table, "rounds", limits.rounds, 100));
  TRY(limits.tasks, count(table, "tasks", limits.tasks, static_cast<int>(kMostTasks)));
  TRY(const auto check, table.time("check"));
  limits.check = check.value_or(limits.check);
  TRY(const auto quiet, table.time("quiet"));
  limits.quiet = quiet.value_or(limits.quiet);
  return limits;
}

}  // namespace

std::vector<std::string> find_cycle(const std::vector<Task>& tasks) {
  std::map<std::string, const Task*, std::less<>> by_name;
  for (const Task& task : tasks) by_name.emplace(task.name, &task);
  enum class Mark { kNew, kOpen, kDone };
  std::map<const Task*, Mark> marks;
  std::vector<const Task*> way;
  std::vector<std::string> cycle;
  // As deep as the plan has tasks, of which there are few.
  const std::function<bool(const Task*)> visit = [&](const Task* task) {
    marks[task] = Mark::kOpen;
    way.push_back(task);
    for (const std::string& name : task->after) {
      const auto it = by_name.find(name);
      if (it == by_name.end()) continue;
      const Mark mark = marks[it->second];
      if (mark == Mark::kOpen) {
        const auto begin = std::find(way.begin(), way.end(), it->second);
        for (auto at = begin; at != way.end(); ++at) cycle.push_back((*at)->name);
        cycle.push_back(it->second->name);
        return true;
      }
      if (mark == Mark::kNew && visit(it->second)) return true;
    }
    way.pop_back();
    marks[task] = Mark::kDone;
    return false;
  };
  for (const Task& task : tasks)
    if (marks[&task] == Mark::kNew && visit(&task)) break;
  return cycle;
}

Result<Plan> parse_plan(std::string_view text, std::string_view where, const Config& config) {
  TRY(const toml::table document, parse_toml(text, where));
  TomlReader top(document, std::string(where));
  Plan plan;
  TRY(plan.goal, top.string_or("goal", ""));
  TRY(plan.checks, top.commands_or_none("checks"));
  TRY_STATUS(top.table("limits", [&](TomlReader& table) -> Status {
    TRY(plan.limits, parse_plan_limits(table));
    return {};
  }));
  TRY_STATUS(top.table("budget", [&](TomlReader& table) -> Status {
    TRY(plan.budget, parse_budget(table));
    return {};
  }));
  TRY_STATUS(top.table("proposals", [&](TomlReader& table) -> Status {
    TRY(plan.proposable, table.strings_or("roles", {}));
    for (const std::string& name : plan.proposable)
      if (!config.role(name))
        return table.error("roles", fmt::format("unknown role '{}'{}", name, did_you_mean(name, role_names(config))));
    return {};
  }));
  TRY_STATUS(top.list("tasks", [&](TomlReader& table) -> Status {
    TRY(Task task, parse_task(table, config, where));
    for (const Task& other : plan.tasks)
      if (other.name == task.name) return table.error("name", fmt::format("there are two tasks '{}'", task.name));
    plan.tasks.push_back(std::move(task));
    return {};
  }));
  // Roles were read with those of agents.toml.
  top.pass("roles");
  TRY_STATUS(top.finish());
  if (plan.tasks.empty()) return bad_input("{}: expected at least one task: [[tasks]] with a name and a prompt", where);
  if (plan.tasks.size() > static_cast<size_t>(plan.limits.tasks))
    return bad_input("{}: expected at most {} tasks (limits.tasks), found {}", where, plan.limits.tasks,
                     plan.tasks.size());
  const std::vector<std::string> names = names_of(plan.tasks);
  for (const Task& task : plan.tasks)
    for (const std::string& first : task.after)
      if (std::find(names.begin(), names.end(), first) == names.end())
        return bad_input("{}: task '{}': after: there is no task '{}'{}", where, task.name, first,
                         did_you_mean(first, names));
  if (const auto cycle = find_cycle(plan.tasks); !cycle.empty())
    return bad_input("{}: tasks that wait for each other: {}", where, fmt::join(cycle, " after "));
  return plan;
}

Result<Plan> load_plan(const Path& path, const Config& config) {
  TRY(const std::string text, read_file(path, 1 << 20));
  return parse_plan(text, path.filename().string(), config);
}

Json to_json(const Task& task) {
  return {{"name", task.name},
          {"role", task.role},
          {"prompt", task.prompt},
          {"after", task.after},
          {"checks", task.checks}};
}

Result<Task> task_of(const Json& json, const std::string& where) {
  if (!json.is_object()) return bad_input("{}: expected an object", where);
  const auto text = [&](const char* key, bool required, std::string& to) -> Status {
    const auto it = json.find(key);
    if (it == json.end()) return required ? Status(bad_input("{}: {}: missing", where, key)) : Status();
    if (!it->is_string()) return bad_input("{}: {}: expected a text", where, key);
    to = it->get<std::string>();
    return {};
  };
  const auto texts = [&](const Json& list, const std::string& key, std::vector<std::string>& to) -> Status {
    if (!list.is_array()) return bad_input("{}: {}: expected a list of texts", where, key);
    for (const Json& one : list) {
      if (!one.is_string()) return bad_input("{}: {}: expected a list of texts", where, key);
      to.push_back(one.get<std::string>());
    }
    return {};
  };
  Task task;
  TRY_STATUS(text("name", true, task.name));
  TRY_STATUS(text("role", false, task.role));
  TRY_STATUS(text("prompt", true, task.prompt));
  if (const auto it = json.find("after"); it != json.end()) TRY_STATUS(texts(*it, "after", task.after));
  if (const auto it = json.find("checks"); it != json.end()) {
    if (!it->is_array()) return bad_input("{}: checks: expected a list of commands", where);
    for (const Json& one : *it) {
      Command command;
      TRY_STATUS(texts(one, "checks", command));
      if (command.empty() || command[0].empty()) return bad_input("{}: checks: expected a program's name first", where);
      task.checks.push_back(std::move(command));
    }
  }
  if (const std::string fault = fault_of(task); !fault.empty()) return bad_input("{}: {}", where, fault);
  return task;
}

}  // namespace onsight::agents::config
