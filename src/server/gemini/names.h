// Names of fields: the API takes system_instruction for systemInstruction, as everything that reads its messages does.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "server/fields.h"

namespace onsight::server::gemini {

std::string camel_case(std::string_view name);

// All names in it; but not inside of schemas, where names are the caller's own. Refuses a field that is named both
// ways.
Status use_camel_case(Json& json);

// Numbers may be in quotes, as in the JSON of everything that reads such messages; those that this API's fields have
// lose them. To be called when names are camelCase.
void unquote_numbers(Json& json);

// Where an object stands, for errors.
std::string place_of(const Fields& fields);

// Refuses names that are neither `handled` nor `ignored`; those of `refused` with other words, unless their values ask
// for nothing.
Status check_names(const Fields& fields, std::initializer_list<std::string_view> handled,
                   std::initializer_list<std::string_view> ignored, std::initializer_list<std::string_view> refused);

}  // namespace onsight::server::gemini
