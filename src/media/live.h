// Live: the pictures of a stream or a camera, as they come.
//
//   TRY(auto live, Live::open("rtsp://camera/stream", stop));
//   while (…) TRY(Image frame, live->newest(stop));   // what is to be seen now
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "media/image.h"

namespace onsight::media {

// rtsp:, http: and the like, or a device.
bool is_live_source(const std::string& source);
// What can be said of a live source at once: refuses a device that is no camera.
Status expect_live_source(const std::string& source);
// Without its password: rtsp://user:***@camera/stream. What is said of a source may be kept for long.
std::string shown_source(const std::string& source);

class Live {
 public:
  // Waits until the source answers and its first frame is there; `stop` ends that with ErrorCode::kInterrupted. From
  // then on a thread decodes what comes and keeps the newest frame.
  static Result<std::unique_ptr<Live>> open(const std::string& source, const std::function<bool()>& stop);
  virtual ~Live() = default;
  // The newest frame that was not given out, waited for where there is none. Fails when the source has ended, or is
  // silent for long.
  virtual Result<Image> newest(const std::function<bool()>& stop) = 0;
  // It has ended, whole, with its first frame: an address at which there is one picture at a time, as many cameras
  // have.
  virtual bool was_picture() const = 0;
};

}  // namespace onsight::media
