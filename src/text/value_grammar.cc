#include "text/value_grammar.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace onsight::text {
namespace {

ByteGrammar::State with_space(ByteGrammar& grammar, ByteGrammar::State from, char mark) {
  const ByteGrammar::State behind = grammar.add_state(), out = grammar.add_state();
  grammar.byte(from, mark, behind);
  grammar.skip(behind, out);
  grammar.byte(behind, ' ', out);
  return out;
}

}  // namespace

void add_string(ByteGrammar& grammar, ByteGrammar::State from, const CharDfa& texts, ByteGrammar::State to) {
  const ByteGrammar::State close = grammar.add_state();
  add_string_bytes(grammar, grammar.literal(from, "\""), texts, close);
  grammar.byte(close, '"', to);
}

void add_choice(ByteGrammar& grammar, ByteGrammar::State from, std::vector<std::string> texts, ByteGrammar::State to) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  std::vector<ByteGrammar::State> way = {from};  // behind each byte of the last text
  std::string_view last;
  for (const std::string& text : texts) {
    const size_t shared =
        static_cast<size_t>(std::mismatch(text.begin(), text.end(), last.begin(), last.end()).first - text.begin());
    way.resize(shared + 1);
    for (size_t i = shared; i < text.size(); ++i) way.push_back(grammar.literal(way.back(), text.substr(i, 1)));
    grammar.skip(way.back(), to);
    last = text;
  }
}

void add_array(ByteGrammar& grammar, ByteGrammar::State from, const ArrayForm& form, ByteGrammar::State to) {
  ByteGrammar::State before = grammar.literal(from, "[");  // where an item or the end may stand
  uint64_t max = form.max.value_or(~uint64_t{0});
  if (!form.rest) max = std::min<uint64_t>(max, form.first.size());
  // From here on every item is like the next.
  const uint64_t alike = std::max<uint64_t>({form.min, form.first.size(), 1});
  for (uint64_t count = 0; !grammar.too_large(); ++count) {
    if (count >= form.min) grammar.byte(before, ']', to);
    if (count >= max) return;
    const ByteGrammar::State item = count == 0 ? before : with_space(grammar, before, ',');
    const ByteGrammar::Rule rule = count < form.first.size() ? form.first[count] : *form.rest;
    if (count >= alike && !form.max) {
      grammar.call(item, rule, before);
      return;
    }
    const ByteGrammar::State behind = grammar.add_state();
    grammar.call(item, rule, behind);
    before = behind;
  }
}

void add_object(ByteGrammar& grammar, ByteGrammar::State from, const ObjectForm& form, ByteGrammar::State to,
                WorkBudget& work) {
  // Two ways through the properties: until one has been written, and then with a comma before each.
  ByteGrammar::State none = grammar.literal(from, "{"), some = grammar.add_state();
  const auto value = [&](ByteGrammar::State key, ByteGrammar::Rule rule, ByteGrammar::State behind) {
    grammar.call(with_space(grammar, key, ':'), rule, behind);
  };
  std::vector<std::string> names;
  for (const ObjectForm::Property& property : form.properties) {
    const ByteGrammar::State next_none = grammar.add_state(), next_some = grammar.add_state(),
                             key = grammar.add_state();
    grammar.skip(none, key);
    grammar.skip(with_space(grammar, some, ','), key);
    value(grammar.literal(key, nlohmann::json(property.name).dump()), property.value, next_some);
    if (!property.required) {
      grammar.skip(none, next_none);
      grammar.skip(some, next_some);
    }
    none = next_none;
    some = next_some;
    names.push_back(property.name);
  }
  if (form.others) {
    const ByteGrammar::State key = grammar.add_state(), behind = grammar.add_state();
    grammar.skip(none, key);
    grammar.skip(with_space(grammar, some, ','), key);
    const auto texts = texts_other_than(names, work);
    if (!texts) return;
    add_string(grammar, key, *texts, behind);
    value(behind, *form.others, some);
  }
  grammar.byte(none, '}', to);
  grammar.byte(some, '}', to);
}

}  // namespace onsight::text
