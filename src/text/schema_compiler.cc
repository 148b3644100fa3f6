#include "text/schema_compiler.h"

#include <algorithm>
#include <deque>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "text/number_grammar.h"
#include "text/schema_value.h"
#include "text/value_grammar.h"

namespace onsight::text {
namespace {

using Rule = ByteGrammar::Rule;
using State = ByteGrammar::State;

constexpr int kAnyDepth = 4;          // how deep a value nests of which the schema says nothing
constexpr size_t kMaxBranches = 256;  // of anyOf and oneOf, multiplied
constexpr size_t kMaxRules = 20'000;
constexpr uint64_t kStepsPerRule = 500, kStepsPerName = 300, kStepsPerText = 100;
constexpr uint64_t kMaxLength = 20'000;  // longer strings and lists are not written, whatever the schema allows

// `alone`: its $ref, allOf, anyOf and oneOf have become terms of their own.
struct Term {
  Schema schema;
  bool alone;
  bool operator==(const Term& other) const = default;
  bool operator<(const Term& o) const { return std::tie(schema, alone) < std::tie(o.schema, o.alone); }
};
// Schemas that all hold of one value; each stands once.
using Terms = std::vector<Term>;
constexpr uint64_t kStepsPerTerm = 2 * sizeof(Term);  // kept as a key and in a task

enum Type : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kFraction = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAll = 127
};

unsigned type_of(const std::string& name) {
  static const std::map<std::string, unsigned> kTypes = {
      {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kInteger | kFraction},
      {"string", kString}, {"array", kArray},     {"object", kObject}};
  return kTypes.at(name);
}

// Of the types that a keyword speaks of; 0: of none.
unsigned type_meant_by(std::string_view keyword) {
  static const std::map<std::string_view, unsigned> kMeant = {{"additionalItems", kArray},
                                                              {"additionalProperties", kObject},
                                                              {"exclusiveMaximum", kInteger | kFraction},
                                                              {"exclusiveMinimum", kInteger | kFraction},
                                                              {"format", kString},
                                                              {"items", kArray},
                                                              {"maxItems", kArray},
                                                              {"maxLength", kString},
                                                              {"maximum", kInteger | kFraction},
                                                              {"minItems", kArray},
                                                              {"minLength", kString},
                                                              {"minimum", kInteger | kFraction},
                                                              {"multipleOf", kInteger | kFraction},
                                                              {"pattern", kString},
                                                              {"prefixItems", kArray},
                                                              {"properties", kObject},
                                                              {"required", kObject}};
  const auto found = kMeant.find(keyword);
  return found == kMeant.end() ? 0 : found->second;
}

class Compiler {
 public:
  Compiler(const SchemaDocument& document, WorkBudget& work)
      : document_(document), work_(work), checker_(document, work) {}

  Result<std::shared_ptr<const ByteGrammar>> compile() {
    const ByteGrammar::NewRule root = grammar_->add_rule();
    const Rule value = rule_of({{document_.root(), false}}, kAnyDepth);
    // Answers of these models begin with a space; TextStream leaves it out.
    const State begin = grammar_->literal(root.begin, " ");
    grammar_->skip(root.begin, begin);
    grammar_->call(begin, value, root.end);
    while (!queue_.empty()) {
      const Task task = std::move(queue_.front());
      queue_.pop_front();
      TRY_STATUS(write(task));
      if (work_.exhausted()) return document_.too_much_work(task.terms.front().schema);
      if (grammar_->too_large() || rules_.size() > kMaxRules)
        return bad_input("{}: too large, its grammar takes over {} states", document_.place(task.terms.front().schema),
                         std::min(grammar_->size(), ByteGrammar::kMaxStates));
    }
    grammar_->finish(root.rule);
    for (const Apart& apart : apart_)
      if (grammar_->least_bytes(apart.both) < ByteGrammar::kNever)
        return bad_input("{}/oneOf: schemas {} and {} are not known to exclude each other, expected anyOf",
                         document_.place(apart.schema), apart.first, apart.second);
    const int64_t least = grammar_->least_bytes(root.rule);
    if (least >= ByteGrammar::kNever)
      return bad_input("{}: no value that could be written satisfies it", document_.place(document_.root()));
    if (least > ByteGrammar::kLongest)
      return bad_input("{}: the shortest value that satisfies it takes {}{} bytes, expected at most {}",
                       document_.place(document_.root()), least == ByteGrammar::kNever - 1 ? "over " : "", least,
                       ByteGrammar::kLongest);
    return std::shared_ptr<const ByteGrammar>(std::move(grammar_));
  }

 private:
  struct Task {
    ByteGrammar::NewRule rule;
    Terms terms;
  };
  // Branches of a oneOf that must not hold at once.
  struct Apart {
    Schema schema;
    size_t first, second;
    Rule both;
  };

  void add_term(Terms& terms, Term term) {
    for (const Term& known : terms)
      if (known.schema == term.schema && (known.alone || !term.alone)) return;  // alone: its parts stand beside it
    if (work_.spend(1 + terms.size() / 4)) terms.push_back(term);
  }

  // The rule of values that satisfy all of `terms`; where they say nothing, of any that nests up to `depth`.
  Rule rule_of(const Terms& terms, int depth) {
    Terms key;
    for (const Term& term : terms) {
      if (term.schema->is_boolean() && !term.schema->get<bool>()) return never();
      if (SchemaDocument::constrains(term.schema)) add_term(key, term);
    }
    if (key.empty()) return any(depth);
    if (!work_.spend(kStepsPerRule + kStepsPerTerm * key.size())) return never();
    const auto [entry, is_new] = rules_.try_emplace(key, 0);
    if (is_new) {
      const ByteGrammar::NewRule rule = grammar_->add_rule();
      entry->second = rule.rule;
      queue_.push_back({rule, std::move(key)});
    }
    return entry->second;
  }

  Rule never() {
    if (never_ < 0) never_ = grammar_->add_rule().rule;
    return never_;
  }

  Rule any(int depth) {
    depth = std::max(depth, 0);
    if (const auto known = any_.find(depth); known != any_.end()) return known->second;
    const ByteGrammar::NewRule rule = grammar_->add_rule();
    any_[depth] = rule.rule;
    for (const char* word : {"null", "true", "false"}) add_literal(rule, word);
    (void)add_number_bytes(*grammar_, rule.begin, {}, rule.end);
    add_string(*grammar_, rule.begin, texts_of_length(0, {}), rule.end);
    std::optional<Rule> inner;
    if (depth > 0) inner = any(depth - 1);
    add_array(*grammar_, rule.begin, {{}, inner}, rule.end);
    add_object(*grammar_, rule.begin, {{}, inner}, rule.end, work_);
    return rule.rule;
  }

  void add_literal(const ByteGrammar::NewRule& rule, std::string_view text) {
    grammar_->skip(grammar_->literal(rule.begin, text), rule.end);
  }

  Status write(const Task& task) {
    std::vector<Terms> branches;
    choices_ = 0;
    TRY_STATUS(expand(task.terms, branches));
    if (branches.size() == 1 && !branches[0].empty()) return write_alone(task.rule, branches[0]);
    for (const Terms& branch : branches) grammar_->call(task.rule.begin, rule_of(branch, kAnyDepth), task.rule.end);
    return {};
  }

  // Terms without $ref, allOf, anyOf and oneOf: one list for each choice of branches.
  Status expand(Terms terms, std::vector<Terms>& out) {
    for (size_t i = 0; i < terms.size(); ++i) {
      if (terms[i].alone) continue;
      const Schema schema = terms[i].schema;
      terms[i].alone = true;
      if (SchemaDocument::find(schema, "$ref")) add_term(terms, {document_.target(schema), false});
      for (const Schema part : SchemaDocument::list(schema, "allOf")) add_term(terms, {part, false});
      const auto any = SchemaDocument::list(schema, "anyOf"), one = SchemaDocument::list(schema, "oneOf");
      work_.spend(any.size() + one.size());
      if (any.empty() && one.empty()) continue;
      if (std::max(any.size(), one.size()) > kMaxBranches) return too_many_branches(schema);
      for (size_t a = 0; a < one.size(); ++a)
        for (size_t b = a + 1; b < one.size(); ++b) {
          if (!work_.spend(kStepsPerTerm * terms.size())) return document_.too_much_work(schema);
          Terms both = terms;
          add_term(both, {one[a], false});
          add_term(both, {one[b], false});
          apart_.push_back({schema, a, b, rule_of(both, kAnyDepth)});
        }
      for (size_t a = 0; a < std::max<size_t>(1, any.size()); ++a)
        for (size_t b = 0; b < std::max<size_t>(1, one.size()); ++b) {
          if (!work_.spend(kStepsPerTerm * terms.size())) return document_.too_much_work(schema);
          Terms branch = terms;
          if (!any.empty()) add_term(branch, {any[a], false});
          if (!one.empty()) add_term(branch, {one[b], false});
          TRY_STATUS(expand(std::move(branch), out));
        }
      return {};
    }
    Terms kept;
    bool impossible = false;
    for (const Term& term : terms) {
      if (SchemaDocument::constrains(term.schema)) add_term(kept, term);
      impossible = impossible || (term.schema->is_boolean() && !term.schema->get<bool>());
    }
    if (!impossible && std::find(out.begin(), out.end(), kept) == out.end()) out.push_back(std::move(kept));
    if (++choices_ > kMaxBranches) return too_many_branches(terms[0].schema);
    return {};
  }

  tl::unexpected<Error> too_many_branches(Schema schema) const {
    return bad_input("{}: over {} branches of anyOf and oneOf, expected fewer", document_.place(schema), kMaxBranches);
  }

  Status write_alone(const ByteGrammar::NewRule& rule, const Terms& terms) {
    for (const Term& term : terms) {
      const Schema one = SchemaDocument::find(term.schema, "const"), list = SchemaDocument::find(term.schema, "enum");
      if (!one && !list) continue;
      std::vector<std::string> texts;
      const auto add = [&](const OrderedJson& value) {
        for (const Term& t : terms)
          if (!checker_.satisfies(t.schema, value, t.alone)) return;
        texts.push_back(value.dump());
        work_.spend(kStepsPerText + texts.back().size());
      };
      if (one) add(*one);
      for (size_t i = 0; !one && i < list->size() && !work_.exhausted(); ++i) add((*list)[i]);
      add_choice(*grammar_, rule.begin, std::move(texts), rule.end);
      return {};
    }
    const unsigned types = types_of(terms);
    if (types & kNull) add_literal(rule, "null");
    if (types & kBoolean) {
      add_literal(rule, "true");
      add_literal(rule, "false");
    }
    if (types & kInteger) TRY_STATUS(write_number(rule, terms, !(types & kFraction)));
    if (types & kString) TRY_STATUS(write_string(rule, terms));
    if (types & kArray) TRY_STATUS(write_array(rule, terms));
    if (types & kObject) write_object(rule, terms);
    return {};
  }

  // Where no schema names a type, the types are those that its keywords speak of.
  unsigned types_of(const Terms& terms) {
    unsigned types = kAll, meant = 0;
    bool named = false;
    for (const Term& term : terms) {
      work_.spend(10 * term.schema->size());
      for (const auto& [keyword, value] : term.schema->items()) meant |= type_meant_by(keyword);
      const Schema type = SchemaDocument::find(term.schema, "type");
      if (!type) continue;
      named = true;
      unsigned own = 0;
      if (type->is_array())
        for (const OrderedJson& name : *type) own |= type_of(name.get<std::string>());
      else
        own = type_of(type->get<std::string>());
      const Schema nullable = SchemaDocument::find(term.schema, "nullable");
      if (nullable && *nullable == true) own |= kNull;
      types &= own;
    }
    return named || meant == 0 ? types : meant;
  }

  static void narrow(std::optional<NumberRange::Bound>& bound, Schema value, bool open, int sign) {
    if (!value) return;
    NumberRange::Bound own{exact_decimal(*value), open};
    const int order = bound ? sign * compare(own.value, bound->value) : 1;
    if (order > 0)
      bound = std::move(own);
    else if (order == 0)
      bound->open = bound->open || open;
  }

  Status write_number(const ByteGrammar::NewRule& rule, const Terms& terms, bool integer) {
    NumberRange range;
    range.integer = integer;
    int64_t multiple = 0;
    for (const Term& term : terms) {
      const auto find = [&](std::string_view keyword) { return SchemaDocument::find(term.schema, keyword); };
      narrow(range.least, find("minimum"), false, 1);
      narrow(range.least, find("exclusiveMinimum"), true, 1);
      narrow(range.most, find("maximum"), false, -1);
      narrow(range.most, find("exclusiveMaximum"), true, -1);
      if (const Schema own = find("multipleOf"))
        multiple = multiple == 0 ? own->get<int64_t>() : std::lcm(multiple, own->get<int64_t>());
      if (multiple > NumberRange::kMaxMultiple)
        return bad_input("{}/multipleOf: {} with the others is not supported, expected at most {}",
                         document_.place(term.schema), multiple, NumberRange::kMaxMultiple);
    }
    range.multiple_of = static_cast<int>(multiple);
    if (Status added = add_number_bytes(*grammar_, rule.begin, range, rule.end); !added)
      return bad_input("{}: {}", document_.place(terms[0].schema), added.error().message);
    return {};
  }

  Status write_string(const ByteGrammar::NewRule& rule, const Terms& terms) {
    uint64_t min = 0;
    std::optional<uint64_t> max;
    std::vector<const CharDfa*> sets;
    for (const Term& term : terms) {
      const auto find = [&](std::string_view keyword) { return SchemaDocument::find(term.schema, keyword); };
      if (const Schema own = find("minLength")) min = std::max(min, own->get<uint64_t>());
      if (const Schema own = find("maxLength"))
        max = std::min({max.value_or(kMaxLength), own->get<uint64_t>(), kMaxLength});
      if (find("pattern")) sets.push_back(&document_.pattern(term.schema));
      if (find("format")) sets.push_back(&SchemaDocument::format(term.schema));
    }
    if (min > kMaxLength)
      return bad_input("{}: minLength {} is not supported, expected at most {}", document_.place(terms[0].schema), min,
                       kMaxLength);
    if (max && *max < min) return {};
    std::optional<CharDfa> texts;
    if (sets.empty() || min > 0 || max) texts = texts_of_length(min, max);
    for (const CharDfa* set : sets) {
      texts = texts ? intersect(*texts, *set, work_) : *set;
      if (work_.exhausted()) return document_.too_much_work(terms[0].schema);
      if (!texts)
        return bad_input("{}: pattern and length take too many states together, expected simpler ones",
                         document_.place(terms[0].schema));
    }
    add_string(*grammar_, rule.begin, *texts, rule.end);
    return {};
  }

  Status write_array(const ByteGrammar::NewRule& rule, const Terms& terms) {
    ArrayForm form;
    size_t named = 0;
    std::vector<std::vector<Schema>> first;  // of each term
    for (const Term& term : terms) {
      if (const Schema own = SchemaDocument::find(term.schema, "minItems"))
        form.min = std::max(form.min, own->get<uint64_t>());
      if (const Schema own = SchemaDocument::find(term.schema, "maxItems"))
        form.max = std::min(form.max.value_or(own->get<uint64_t>()), own->get<uint64_t>());
      first.push_back(SchemaDocument::first_items(term.schema));
      named = std::max(named, first.back().size());
      work_.spend(sizeof(Schema) * first.back().size());
    }
    if (form.min > kMaxLength)
      return bad_input("{}: minItems {} is not supported, expected at most {}", document_.place(terms[0].schema),
                       form.min, kMaxLength);
    if (form.max) form.max = std::min(*form.max, kMaxLength);
    const auto item = [&](size_t i) {
      Terms out;
      work_.spend(terms.size());
      for (size_t t = 0; t < terms.size(); ++t) {
        const Schema own = i < first[t].size() ? first[t][i] : SchemaDocument::rest_of_items(terms[t].schema);
        if (own) add_term(out, {own, false});
      }
      return rule_of(out, kAnyDepth);
    };
    for (size_t i = 0; i < named && !work_.exhausted(); ++i) form.first.push_back(item(i));
    form.rest = item(named);
    add_array(*grammar_, rule.begin, form, rule.end);
    return {};
  }

  void write_object(const ByteGrammar::NewRule& rule, const Terms& terms) {
    std::vector<std::string> names;
    std::set<std::string> known, required;
    Terms others;
    bool open = false;
    const auto name_it = [&](const std::string& name) {
      work_.spend(kStepsPerName + name.size());
      if (known.insert(name).second) names.push_back(name);
    };
    for (const Term& term : terms) {
      if (const Schema properties = SchemaDocument::find(term.schema, "properties"))
        for (const auto& [name, schema] : properties->items()) name_it(name);
      if (const Schema more = SchemaDocument::find(term.schema, "additionalProperties")) {
        open = true;
        add_term(others, {more, false});
      }
    }
    for (const Term& term : terms)
      for (const Schema name : SchemaDocument::list(term.schema, "required")) {
        required.insert(name->get<std::string>());
        name_it(name->get<std::string>());
      }
    ObjectForm form;
    for (const std::string& name : names) {
      if (!work_.spend(20 * terms.size())) return;
      Terms value;
      for (const Term& term : terms) {
        const Schema properties = SchemaDocument::find(term.schema, "properties");
        const Schema named = properties ? SchemaDocument::find(properties, name) : nullptr;
        const Schema own = named ? named : SchemaDocument::find(term.schema, "additionalProperties");
        if (own) add_term(value, {own, false});
      }
      form.properties.push_back({name, rule_of(value, kAnyDepth), required.contains(name)});
    }
    // Names that nobody mentions are written where the schema speaks of them, or of no name at all.
    if (open || names.empty()) form.others = rule_of(others, kAnyDepth);
    add_object(*grammar_, rule.begin, form, rule.end, work_);
  }

  const SchemaDocument& document_;
  WorkBudget& work_;
  ValueChecker checker_;
  std::unique_ptr<ByteGrammar> grammar_ = std::make_unique<ByteGrammar>();
  std::map<Terms, Rule> rules_;
  std::map<int, Rule> any_;
  Rule never_ = -1;
  size_t choices_ = 0;  // of branches, in the schemas being written
  std::deque<Task> queue_;
  std::vector<Apart> apart_;
};

}  // namespace

Result<std::shared_ptr<const ByteGrammar>> compile_schema(const SchemaDocument& document, WorkBudget& work) {
  return Compiler(document, work).compile();
}

}  // namespace onsight::text
