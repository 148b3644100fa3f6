// The forms of JSON values as bytes: what stands around their parts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/byte_grammar.h"
#include "text/char_dfa.h"

namespace onsight::text {

struct ArrayForm {
  std::vector<ByteGrammar::Rule> first;
  std::optional<ByteGrammar::Rule> rest;
  uint64_t min = 0;
  std::optional<uint64_t> max = {};
};

struct ObjectForm {
  struct Property {
    std::string name;
    ByteGrammar::Rule value;
    bool required;
  };
  std::vector<Property> properties;  // in the order in which they are written
  std::optional<ByteGrammar::Rule> others = {};
};

// A space may stand behind each , and :, and no other whitespace anywhere.
void add_array(ByteGrammar& grammar, ByteGrammar::State from, const ArrayForm& form, ByteGrammar::State to);
// Where the budget does not suffice for an object's names, it is left unfinished.
void add_object(ByteGrammar& grammar, ByteGrammar::State from, const ObjectForm& form, ByteGrammar::State to,
                WorkBudget& work);
void add_string(ByteGrammar& grammar, ByteGrammar::State from, const CharDfa& texts, ByteGrammar::State to);
// One of `texts` as they are. Beginnings that they share are written once, so that no place in them is ambiguous.
void add_choice(ByteGrammar& grammar, ByteGrammar::State from, std::vector<std::string> texts, ByteGrammar::State to);

}  // namespace onsight::text
