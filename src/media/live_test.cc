#include "media/live.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/file.h"
#include "media/video_stream.h"

namespace onsight::media {
namespace {

TEST(Live, KnowsItsSourcesByTheirNames) {
  for (const char* source :
       {"rtsp://camera/1", "rtsps://camera/1", "http://a", "https://a", "udp://:5000", "/dev/video0", "/dev/null"})
    EXPECT_TRUE(is_live_source(source)) << source;
  for (const char* source : {"", "clip.mp4", "/", "rtsp:camera", "file:///etc/passwd", "/dev/nothing"})
    EXPECT_FALSE(is_live_source(source)) << source;
}

TEST(Live, NoPasswordIsShown) {
  for (const auto& [source, shown] : std::vector<std::pair<std::string, std::string>>{
           {"rtsp://admin:12345@camera:554/1?a=b", "rtsp://admin:***@camera:554/1?a=b"},
           {"rtsp://admin:1@2:3@camera", "rtsp://admin:***@camera"},
           {"http://:x@[::1]:80/", "http://:***@[::1]:80/"},
           {"rtsp://admin@camera:554/a:b@c", "rtsp://admin@camera:554/a:b@c"},
           {"rtsp://camera:554/a@b", "rtsp://camera:554/a@b"},
           {"/dev/video0", "/dev/video0"}})
    EXPECT_EQ(shown_source(source), shown);
}

TEST(Live, SilenceIsWaitedForOnce) {
  const auto lib = ffmpeg();
  if (!lib) GTEST_SKIP() << lib.error().message;
  const std::string part = read_file(Path(ONSIGHT_SOURCE_DIR) / "tests/data/video/camera.h264", 1 << 20).value();
  std::string bytes;  // enough to open it with
  for (int i = 0; i < 10; ++i) bytes += part;
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(server, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(server, 1), 0);
  ASSERT_EQ(::getsockname(server, reinterpret_cast<sockaddr*>(&address), &length), 0);
  int line = -1;
  std::jthread camera([&] {  // sends its frames at once, and then nothing
    line = ::accept(server, nullptr, nullptr);
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t wrote = ::send(line, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (wrote <= 0) break;
      sent += static_cast<size_t>(wrote);
    }
  });
  constexpr std::chrono::milliseconds kPatience{1500};
  auto demuxer = Demuxer::open_live(**lib, fmt::format("tcp://127.0.0.1:{}", ntohs(address.sin_port)), kPatience,
                                    [] { return false; });
  ASSERT_TRUE(demuxer) << demuxer.error().message;
  const PacketPtr packet((*lib)->av_packet_alloc());
  const auto begun = std::chrono::steady_clock::now();
  int packets = 0;
  for (; (*demuxer)->read(*packet); ++packets) (*lib)->av_packet_unref(packet.get());
  const auto waited = std::chrono::steady_clock::now() - begun;
  EXPECT_EQ(packets, 400);
  EXPECT_GE(waited, kPatience / 2);
  EXPECT_LT(waited, kPatience * 9 / 5);
  camera.join();
  ::close(line);
  ::close(server);
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
