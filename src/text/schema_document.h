// SchemaDocument: a JSON schema whose reachable parts hold supported keywords only, with their places.
//
//   TRY(SchemaDocument document, SchemaDocument::open(json, "schema.json"));
//   document.place(document.root());   // "schema.json#"
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::text {

// Keeps the order of properties.
using OrderedJson = nlohmann::ordered_json;
using Schema = const OrderedJson*;

class SchemaDocument {
 public:
  static constexpr int kMaxDepth = 500;

  static Result<SchemaDocument> open(std::string_view json, std::string_view where);

  Schema root() const { return root_.get(); }
  // Where a $ref leads; it is known to lead somewhere.
  Schema target(Schema schema) const { return targets_.at(schema); }
  // A keyword's schemas; empty if it is not there.
  static std::vector<Schema> list(Schema schema, std::string_view keyword);
  static Schema find(Schema schema, std::string_view keyword);  // null if not there
  // The last of `items` or, beside a list of these, `additionalItems`; and the list.
  static Schema rest_of_items(Schema schema);
  static std::vector<Schema> first_items(Schema schema);
  // Whether anything but annotations is in it.
  static bool constrains(Schema schema);

  std::string place(Schema schema) const;  // "schema.json#/properties/total"

 private:
  explicit SchemaDocument(std::string where) : where_(std::move(where)) {}
  Status check(Schema schema, const std::string& pointer, int depth);
  Status check_keyword(Schema schema, const std::string& keyword, const OrderedJson& value, const std::string& pointer,
                       int depth);
  Status check_trivial(Schema schema, const std::string& keyword, const OrderedJson& value,
                       const std::string& pointer) const;
  Result<Schema> resolve(const std::string& ref, const std::string& pointer) const;
  Status check_cycles(Schema schema, std::map<Schema, int>& colours) const;

  std::string where_;
  std::unique_ptr<OrderedJson> root_;
  std::map<Schema, std::string> pointers_;
  std::map<Schema, Schema> targets_;
};

// Whether a value satisfies a schema; `alone`: without what $ref, allOf, anyOf and oneOf say.
bool satisfies(const SchemaDocument& document, Schema schema, const OrderedJson& value, bool alone);

}  // namespace onsight::text
