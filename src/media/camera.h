// Inside the room: what can be said of a camera of this machine before FFmpeg opens it.
#pragma once

#include <string>

#include "base/result.h"

namespace onsight::media {

// Under /dev/video*, there or not, or a device elsewhere, as the names in /dev/v4l/by-id lead to one.
bool is_device(const std::string& path);

// Refuses a device that is not there, may not be opened, or gives no pictures. FFmpeg, where its part for cameras is
// here at all, has one sentence for all of these, about an ioctl.
Status expect_camera(const std::string& device);

}  // namespace onsight::media
