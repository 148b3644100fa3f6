// ValueChecker: whether values satisfy schemas. For the values of enum and const, beside which other keywords stand.
//
//   ValueChecker checker(document, work);
//   bool allowed = checker.satisfies(schema, value, /*alone=*/false);
//   if (work.exhausted()) return document.too_much_work(schema);     // what it said since then is not known
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "text/schema_document.h"

namespace onsight::text {

class ValueChecker {
 public:
  ValueChecker(const SchemaDocument& document, WorkBudget& work) : document_(document), work_(work) {}

  // `alone`: without what $ref, allOf, anyOf and oneOf say.
  bool satisfies(Schema schema, const OrderedJson& value, bool alone);

 private:
  bool alone_fits(Schema schema, const OrderedJson& value);
  bool combined_fits(Schema schema, const OrderedJson& value);
  bool listed(Schema schema, const OrderedJson& value);
  bool string_fits(Schema schema, const std::string& text);
  bool array_fits(Schema schema, const OrderedJson& value);
  bool object_fits(Schema schema, const OrderedJson& value);

  const SchemaDocument& document_;
  WorkBudget& work_;
  int depth_ = 0;
  // The values of each list that was asked for, spelled so that equal ones are spelled alike.
  std::unordered_map<Schema, std::unordered_set<std::string>> lists_;
};

}  // namespace onsight::text
