// What the vision model of this machine says of a picture, where the role may ask it: through the broker, as
// http://vision/, without a key.
//
//   TRY(std::string answer, ask_vision(broker, "page.png", "Which button is red?", Clock::now() + minutes(5)));
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "broker.h"

namespace onsight::guest {

Result<std::string> ask_vision(const Broker& broker, const std::string& picture, const std::string& question,
                               Clock::time_point deadline);

std::string to_base64(std::string_view bytes);

}  // namespace onsight::guest
