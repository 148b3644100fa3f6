#include "media/camera.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#ifdef __linux__
#include <linux/videodev2.h>
#include <sys/ioctl.h>
#endif

namespace onsight::media {

bool is_device(const std::string& path) {
  std::error_code error;
  return path.starts_with("/dev/video") || std::filesystem::is_character_file(path, error);
}

Status expect_camera(const std::string& device) {
  // Some devices would wait for somebody at their other end.
  const int fd = ::open(device.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return bad_input("{}: {}, expected a camera", device, std::strerror(errno));
#ifdef __linux__
  v4l2_capability facts{};
  const int asked = ::ioctl(fd, VIDIOC_QUERYCAP, &facts);
  ::close(fd);
  if (asked != 0) return bad_input("{}: not a camera, expected a Video4Linux device as /dev/video0", device);
  const uint32_t can = facts.capabilities & V4L2_CAP_DEVICE_CAPS ? facts.device_caps : facts.capabilities;
  // Many cameras are two devices, of which the second tells about the pictures.
  if (!(can & V4L2_CAP_VIDEO_CAPTURE))
    return bad_input("{}: gives no pictures, expected the device of the camera that does, as /dev/video0", device);
#else
  ::close(fd);
#endif
  return {};
}

}  // namespace onsight::media
