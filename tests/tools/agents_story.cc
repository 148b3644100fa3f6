// agents_story FOLDER < EVENTS: writes a log for the agents of the repository around FOLDER, an event a line, as
// {"actor": "human", "agent": "ann", "kind": "agent.wanted", "body": {"wanted": "stopped"}}. Prints where its state
// lies.
#include <iostream>
#include <string>

#include "agents/agents.h"
#include "base/json.h"

namespace onsight {
namespace {

Status tell(const Path& folder) {
  TRY(const agents::Project project, agents::Project::find(folder));
  TRY(const auto store, agents::state::Store::open(project.database()));
  int number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    TRY(const Json event, parse_json(line, fmt::format("line {}", ++number)));
    const JsonView view(event, fmt::format("line {}", number));
    agents::state::NewEvent next;
    TRY(next.actor, view.string("actor"));
    TRY(next.agent, view.string_or("agent", ""));
    TRY(next.kind, view.string("kind"));
    next.body = event.value("body", Json::object());
    TRY_STATUS(store->write([&](agents::state::Transaction& t) { return t.add(next); }));
  }
  std::cout << project.state.string() << "\n";
  return {};
}

}  // namespace
}  // namespace onsight

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: agents_story FOLDER < EVENTS\n";
    return 2;
  }
  const onsight::Status told = onsight::tell(arguments[1]);
  if (!told) std::cerr << told.error().message << "\n";
  return told ? 0 : 1;
}
