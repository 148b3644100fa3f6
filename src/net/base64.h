// Base64, and the "data:" URLs that carry pictures in it.
//
//   TRY(DataUrl url, parse_data_url("data:image/png;base64,iVBORw0…", "messages[0].content[1].image_url.url"));
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::net {

std::string base64_encode(std::string_view bytes);

// Both alphabets, with or without the '=' at the end; line breaks and blanks are passed over. `where` is for errors.
Result<std::string> base64_decode(std::string_view text, std::string_view where);

struct DataUrl {
  std::string type;  // "image/png"; empty if it names none
  std::string bytes;
};
bool is_data_url(std::string_view url);
Result<DataUrl> parse_data_url(std::string_view url, std::string_view where);

}  // namespace onsight::net
