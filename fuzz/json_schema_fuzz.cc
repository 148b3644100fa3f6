// A JSON schema, a zero byte, and a seed: what is compiled must write values that parse, whatever bytes are chosen, and
// whatever the schema says, neither to compile it nor to write its shortest value may take long or much memory.
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "text/automaton.h"
#include "text/json_schema.h"
#include "text/schema_value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight::text;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(all.find('\0'), size);
  if (end > 20000) return 0;
  auto schema = JsonSchema::compile(all.substr(0, end), "fuzz");
  if (!schema) {
    if (schema.error().message.empty()) std::abort();
    return 0;
  }
  const std::string_view rest = all.substr(std::min(end + 1, size));
  std::seed_seq seeds(rest.begin(), rest.end());
  std::mt19937 random(seeds);
  Automaton automaton(schema->grammar());
  Automaton::State state = automaton.start();
  if (automaton.distance(state) > ByteGrammar::kLongest) std::abort();
  std::string written;
  const size_t free = random() % 100;
  while (!automaton.ends(state) && !(automaton.accepts(state) && written.size() >= free)) {
    std::vector<uint8_t> choices;
    if (written.size() < free) {
      for (int byte = 0; byte < 256; ++byte)
        if (automaton.next(state, static_cast<uint8_t>(byte)) != Automaton::kDead)
          choices.push_back(static_cast<uint8_t>(byte));
    } else {
      choices = {automaton.closing_byte(state)};
    }
    const uint8_t byte = choices[random() % choices.size()];
    const int64_t before = automaton.distance(state);
    state = automaton.next(state, byte);
    if (written.size() >= free && automaton.distance(state) != before - 1) std::abort();
    written += static_cast<char>(byte);
  }
  const OrderedJson value = OrderedJson::parse(written, nullptr, false);
  WorkBudget work;
  auto document = SchemaDocument::open(all.substr(0, end), "fuzz", work);
  WorkBudget checking;  // may be short for a value beyond what a compilation looks at
  if (value.is_discarded() ||
      (!ValueChecker(*document, checking).satisfies(document->root(), value, false) && !checking.exhausted())) {
    fprintf(stderr, "%s\n", written.c_str());
    std::abort();
  }
  return 0;
}
