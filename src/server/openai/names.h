// Names of fields: those that are read, those that change nothing, and those that this server has nothing for. The
// room's own.
//
//   TRY_STATUS(check_names(message, {"role", "content"}, {{"name", Shape::kString}}, {"audio"}));
#pragma once

#include <initializer_list>
#include <string_view>

#include "server/fields.h"

namespace onsight::server::openai {

enum class Shape { kAny, kString, kBoolean, kInteger, kList, kObject, kTexts };  // kTexts: an object of strings

// A field that changes nothing, but must be what the original takes.
struct Harmless {
  std::string_view name;
  Shape shape;
};

// Refuses a name that is in no list, a harmless field of another shape, and one of `refused` that asks for something.
Status check_names(const Fields& fields, std::initializer_list<std::string_view> handled,
                   std::initializer_list<Harmless> harmless = {}, std::initializer_list<std::string_view> refused = {});

}  // namespace onsight::server::openai
