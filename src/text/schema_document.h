// SchemaDocument: a JSON schema whose reachable parts hold supported keywords only, with their places.
//
//   WorkBudget work;
//   TRY(SchemaDocument document, SchemaDocument::open(json, "schema.json", work));
//   document.place(document.root());   // "schema.json#"
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/char_dfa.h"
#include "text/number_grammar.h"
#include "text/ordered_json.h"
#include "text/work_budget.h"

namespace onsight::text {

using Schema = const OrderedJson*;

class SchemaDocument {
 public:
  static constexpr int kMaxDepth = 500;
  static constexpr size_t kMaxBytes = size_t{1} << 20;

  static Result<SchemaDocument> open(std::string_view json, std::string_view where, WorkBudget& work);

  Schema root() const { return root_.get(); }
  // Where a $ref leads; it is known to lead somewhere.
  Schema target(Schema schema) const { return targets_.at(schema); }
  // What its "pattern" and its "format" say; it is known to have them.
  const CharDfa& pattern(Schema schema) const { return patterns_.at(schema); }
  static const CharDfa& format(Schema schema);
  // A keyword's schemas; empty if it is not there.
  static std::vector<Schema> list(Schema schema, std::string_view keyword);
  static Schema find(Schema schema, std::string_view keyword);  // null if not there
  // The last of `items` or, beside a list of these, `additionalItems`; and the list.
  static Schema rest_of_items(Schema schema);
  static std::vector<Schema> first_items(Schema schema);
  // Whether anything but annotations is in it.
  static bool constrains(Schema schema);

  std::string place(Schema schema) const;  // "schema.json#/properties/total"
  // That the work of a compilation was spent while it was at `schema`.
  tl::unexpected<Error> too_much_work(Schema schema) const;

 private:
  // How a schema was reached: as `keyword` of another, and `name` or `index` in that; or by a reference.
  struct Spot {
    Schema parent = nullptr;
    std::string_view keyword = {};
    std::string_view name = {};
    int64_t index = -1;
    std::string_view reference = {};  // "#/..."
  };
  SchemaDocument(std::string_view where, WorkBudget& work) : where_(where), work_(&work) {}
  Status check(Schema schema, const Spot& spot, int depth);
  Status check_keyword(Schema schema, const std::string& keyword, const OrderedJson& value, int depth);
  Status check_trivial(Schema schema, const std::string& keyword, const OrderedJson& value) const;
  Status check_digits(Schema schema, std::string_view keyword, const OrderedJson& value) const;
  Result<Schema> resolve(Schema schema, const std::string& ref) const;
  Status check_cycles(Schema schema, std::unordered_map<Schema, int>& heights, int depth) const;
  std::string place(Schema schema, std::string_view keyword) const;

  std::string where_;
  WorkBudget* work_;  // while it is opened
  std::unique_ptr<OrderedJson> root_;
  std::vector<Schema> reached_;
  std::unordered_map<Schema, Spot> spots_;
  std::unordered_map<Schema, Schema> targets_;
  std::unordered_map<Schema, CharDfa> patterns_;
};

// The number that validators find where `number` stands: those that compute exactly see digits that a double's shortest
// spelling leaves out.
Decimal exact_decimal(const OrderedJson& number);

}  // namespace onsight::text
