// What the program in agents' containers reads: the broker's answers, lines of MCP, files of tasks; and names from a
// clone.
#include <cstdlib>
#include <string_view>

#include "answer.h"
#include "mcp.h"
#include "repository.h"
#include "tasks.h"

namespace {

void expect(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  using namespace onsight::guest;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0: {
      // However it is cut, it is the same answer.
      AnswerReader whole(1 << 16), parts(1 << 16);
      const Result<bool> first = whole.add(text);
      Result<bool> second = false;
      for (size_t at = 0, step = 1; second && !*second && at < text.size(); at += step, step = step % 7 + 1)
        second = parts.add(text.substr(at, step));
      if (first && *first) expect(second && *second && whole.take().body == parts.take().body);
      break;
    }
    case 1: {
      const auto request = parse_outside(text, "fuzz");
      if (request && to_text(*request).find("tools/call") != std::string::npos) break;  // it would ask a broker
      McpServer server{Bus(Broker(""))};
      if (const auto reply = server.take(text, {})) {
        expect(!Json::parse(reply->line, nullptr, false).is_discarded() && reply->line.find('\n') == std::string::npos);
      }
      break;
    }
    case 2: {
      const auto tasks = tasks_of(text, "fuzz");
      expect(tasks ? tasks->is_array() && !tasks->empty() : !tasks.error().message.empty());
      break;
    }
    default:
      if (is_branch_name(text)) expect(text.find("..") == text.npos && text.find('\0') == text.npos && text[0] != '-');
      expect(printable(text, true).find('\x1b') == std::string::npos);
  }
  return 0;
}
