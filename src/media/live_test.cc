#include "media/live.h"

#include <gtest/gtest.h>

namespace onsight::media {
namespace {

TEST(Live, KnowsItsSourcesByTheirNames) {
  for (const char* source :
       {"rtsp://camera/1", "rtsps://camera/1", "http://a", "https://a", "udp://:5000", "/dev/video0", "/dev/null"})
    EXPECT_TRUE(is_live_source(source)) << source;
  for (const char* source : {"", "clip.mp4", "/", "rtsp:camera", "file:///etc/passwd", "/dev/nothing"})
    EXPECT_FALSE(is_live_source(source)) << source;
}

TEST(Live, ADeviceThatIsNoCameraIsRefusedAtOnce) {
  EXPECT_TRUE(expect_live_source("rtsp://camera/1"));
  EXPECT_EQ(expect_live_source("/dev/video99").error().message,
            "/dev/video99: No such file or directory, expected a camera");
  EXPECT_EQ(expect_live_source("/dev/null").error().message,
            "/dev/null: not a camera, expected a Video4Linux device as /dev/video0");
}

}  // namespace
}  // namespace onsight::media
