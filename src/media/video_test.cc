#include "media/video.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>

#include "base/json.h"

namespace onsight::media {
namespace {

const Path kFolder = Path(ONSIGHT_SOURCE_DIR) / "tests/data/video";

std::map<int64_t, Image> frames_of(const Video& video, const std::vector<int64_t>& wanted) {
  std::map<int64_t, Image> out;
  const Status read = video.read(wanted, [&](size_t i, Image image) {
    out.emplace(wanted[i], std::move(image));
    return true;
  });
  EXPECT_TRUE(read.has_value()) << read.error().message;
  return out;
}

std::string error_of(const Path& path) {
  const auto video = Video::open(path);
  return video ? "" : video.error().message;
}

// Mean colours of 4 x 3 blocks, as tests/data/video/make.py takes them.
std::vector<double> blocks(const Image& image) {
  std::vector<double> out;
  const int width = image.width / 4, height = image.height / 3;
  for (int block = 0; block < 12; ++block)
    for (int c = 0; c < 3; ++c) {
      double sum = 0;
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) sum += image.row(block / 4 * height + y)[3 * (block % 4 * width + x) + c];
      out.push_back(sum / (width * height));
    }
  return out;
}

TEST(Video, FramesAreThoseThatPyavDecodes) {
  const Json files = load_json(kFolder / "frames.json").value();
  ASSERT_GE(files.size(), 5u);
  for (const auto& [name, facts] : files.items()) {
    SCOPED_TRACE(name);
    const auto opened = Video::open(kFolder / name);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    const Video& video = **opened;
    EXPECT_EQ(video.facts().width, facts["width"]);
    EXPECT_EQ(video.facts().height, facts["height"]);
    EXPECT_EQ(video.facts().frames, facts["frames"]);
    EXPECT_NEAR(video.facts().fps, facts["fps"].get<double>(), 0.01);
    EXPECT_DOUBLE_EQ(video.facts().duration, static_cast<double>(video.facts().frames) / video.facts().fps);
    for (const auto& [number, colours] : facts["blocks"].items()) {
      SCOPED_TRACE(number);
      const int64_t frame = std::stoll(number);
      const auto frames = frames_of(video, {frame});
      ASSERT_TRUE(frames.contains(frame));
      const std::vector<double> got = blocks(frames.at(frame));
      for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], colours[i / 3][i % 3].get<double>(), 1.0) << i;
    }
  }
}

TEST(Video, AJumpFindsWhatReadingInOrderFinds) {
  std::mt19937 random(1);
  for (const char* name : {"b-frames.mp4", "uneven.mkv", "walk.webm"}) {
    SCOPED_TRACE(name);
    const auto video = Video::open(kFolder / name).value();
    std::vector<int64_t> all;
    for (int64_t i = 0; i < video->facts().frames; ++i) all.push_back(i);
    const auto in_order = frames_of(*video, all);
    ASSERT_EQ(in_order.size(), all.size());
    for (int round = 0; round < 8; ++round) {
      std::vector<int64_t> some;
      std::sample(all.begin(), all.end(), std::back_inserter(some), 3, random);
      for (const auto& [i, image] : frames_of(*video, some)) EXPECT_EQ(image.rgb, in_order.at(i).rgb) << i;
    }
  }
}

TEST(Video, FramesAreFoundByWhenTheyAreShown) {
  // Frames of a tenth of a second, and 0.13 s more behind every fifth; the container says 12 a second.
  const auto video = Video::open(kFolder / "uneven.mkv").value();
  ASSERT_EQ(video->facts().frames, 48);
  EXPECT_NEAR(video->time_of(4), 0.4, 1e-3);
  EXPECT_NEAR(video->time_of(5), 0.63, 1e-3);
  EXPECT_NEAR(video->time_of(47), 4.7 + 9 * 0.13, 1e-3);
  EXPECT_GT(video->time_of(48), video->time_of(47));
  EXPECT_EQ(video->frame_from(0.41), 5);
  EXPECT_EQ(video->frame_from(0.63), 5);
  EXPECT_EQ(video->frame_at(0.62), 4);
  EXPECT_EQ(video->frame_at(0.63), 5);
  EXPECT_EQ(video->frame_from(100), 48);
  EXPECT_EQ(video->frame_at(100), 47);
}

TEST(Video, BytesAreAFile) {
  const std::string bytes = read_file(kFolder / "b-frames.mp4").value();
  const auto memory = Video::open(bytes, "memory").value(), file = Video::open(kFolder / "b-frames.mp4").value();
  EXPECT_EQ(frames_of(*memory, {30}).at(30).rgb, frames_of(*file, {30}).at(30).rgb);
}

TEST(Video, FramesThatAreNotThereAreLeftOut) {
  const auto video = Video::open(kFolder / "walk.gif").value();
  EXPECT_EQ(frames_of(*video, {4, 5, 6, 100}).size(), 2u);
}

TEST(Video, PicturesAreFrames) {
  const auto bytes = [](const char* name) { return read_file(Path(ONSIGHT_SOURCE_DIR) / "examples" / name).value(); };
  const std::string receipt = bytes("receipt.jpg");
  const Image shown = decode_image(receipt, "receipt.jpg").value();
  const auto video = Video::of_pictures({receipt, receipt, bytes("screenshot.png"), "no picture"}, 2, "list").value();
  EXPECT_EQ(video->facts().frames, 4);
  EXPECT_EQ(video->facts().width, shown.width);
  EXPECT_DOUBLE_EQ(video->facts().duration, 2);
  EXPECT_DOUBLE_EQ(video->time_of(3), 1.5);
  EXPECT_EQ(video->frame_at(0.7), 1);
  EXPECT_EQ(frames_of(*video, {0, 1, 4}).at(1).rgb, shown.rgb);
  const auto error_of_frame = [&](int64_t frame) {
    return video->read({&frame, 1}, [](size_t, const Image&) { return true; }).error().message;
  };
  EXPECT_NE(error_of_frame(2).find("list: frame 2 has"), std::string::npos);
  EXPECT_NE(error_of_frame(3).find("list: frame 3: "), std::string::npos);
  EXPECT_FALSE(Video::of_pictures({}, 2, "list").has_value());
  const auto decoded = std::make_shared<const Image>(shown);
  const auto same = Video::of_images({decoded, decoded}, 2, "list").value();
  EXPECT_EQ(same->facts().frames, 2);
  EXPECT_DOUBLE_EQ(same->facts().duration, 1);
  EXPECT_EQ(frames_of(*same, {1}).at(1).rgb, shown.rgb);
  EXPECT_FALSE(Video::of_pictures({receipt}, 2, "list", {.max_pixels = 100}).has_value());
}

TEST(Video, TheSinkEndsIt) {
  const auto video = Video::open(kFolder / "walk.webm").value();
  int seen = 0;
  const std::vector<int64_t> wanted = {0, 1, 2, 3};
  const Status read = video->read(wanted, [&](size_t, const Image&) { return ++seen < 2; });
  EXPECT_EQ(read.error().code, ErrorCode::kInterrupted);
  EXPECT_EQ(seen, 2);
}

TEST(Video, BadFilesGetOneSentence) {
  EXPECT_NE(error_of(kFolder / "sound.m4a").find("sound.m4a: holds sound alone, expected a video"), std::string::npos);
  EXPECT_NE(error_of(kFolder / "make.py").find("make.py: not a video"), std::string::npos);
  EXPECT_NE(error_of(kFolder / "missing.mp4").find("missing.mp4: No such file"), std::string::npos);
  EXPECT_NE(error_of(kFolder).find("expected a file"), std::string::npos);
  EXPECT_NE(Video::open("", "nothing").error().message.find("nothing: not a video"), std::string::npos);
  EXPECT_NE(Video::open(kFolder / "walk.webm", {.max_pixels = 1000}).error().message.find("64x48 pixels, expected"),
            std::string::npos);
  EXPECT_NE(Video::open(kFolder / "walk.webm", {.max_frames = 10}).error().message.find("more than 10 frames"),
            std::string::npos);
}

// An AVI of one JPEG picture after another, two a second.
std::string avi_of(const std::string& jpeg, uint32_t frames, uint32_t width, uint32_t height) {
  const auto numbers = [](std::initializer_list<uint32_t> values) {
    std::string out;
    for (const uint32_t value : values)
      for (int byte = 0; byte < 4; ++byte) out += static_cast<char>(value >> 8 * byte);
    return out;
  };
  const auto chunk = [&](const std::string& name, const std::string& data) {
    return name + numbers({static_cast<uint32_t>(data.size())}) + data + std::string(data.size() % 2, '\0');
  };
  const std::string frame = chunk("00dc", jpeg);
  std::string movie = "movi", index;
  for (uint32_t i = 0; i < frames; ++i) {
    index += "00dc" + numbers({0x10, static_cast<uint32_t>(movie.size()), static_cast<uint32_t>(jpeg.size())});
    movie += frame;
  }
  const std::string head = numbers({500'000, 0, 0, 0x10, frames, 0, 1, 0, width, height, 0, 0, 0, 0});
  const std::string stream = "vidsMJPG" + numbers({0, 0, 0, 1, 2, 0, frames, 0, 0, 0, 0, 0});
  const std::string format = numbers({40, width, height, 1 | 24 << 16}) + "MJPG" + numbers({0, 0, 0, 0, 0});
  const std::string streams = chunk("LIST", "strl" + chunk("strh", stream) + chunk("strf", format));
  return chunk("RIFF", "AVI " + chunk("LIST", "hdrl" + chunk("avih", head) + streams) + chunk("LIST", movie) +
                           chunk("idx1", index));
}

// Of files, by this process; nothing where the system does not count.
std::optional<int64_t> bytes_read() {
  const auto facts = read_file("/proc/self/io");
  const size_t at = facts ? facts->find("rchar:") : std::string::npos;
  return at == std::string::npos ? std::nullopt : std::optional<int64_t>(std::stoll(facts->substr(at + 6)));
}

TEST(Video, OfALongOneLittleIsReadForFewFrames) {
  const std::string jpeg = read_file(Path(ONSIGHT_SOURCE_DIR) / "examples/receipt.jpg").value();
  const Image shown = decode_image(jpeg, "receipt.jpg").value();
  const std::string bytes = avi_of(jpeg, 240, static_cast<uint32_t>(shown.width), static_cast<uint32_t>(shown.height));
  const Path file = std::filesystem::temp_directory_path() / fmt::format("onsight-video-test-{}.avi", ::getpid());
  ASSERT_TRUE(write_file_atomically(file, bytes));
  const auto opened = Video::open(file);
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  EXPECT_EQ((*opened)->facts().frames, 240);
  EXPECT_DOUBLE_EQ((*opened)->facts().duration, 120);
  const auto before = bytes_read();
  EXPECT_EQ(frames_of(**opened, {60, 120, 200}).size(), 3u);
  const auto after = bytes_read();
  std::filesystem::remove(file);
  if (!before || !after) GTEST_SKIP() << "expected the system to count what is read";
  EXPECT_LT(*after - *before, std::ssize(bytes) / 4);
}

TEST(Video, AListOfOtherFilesIsNotOpened) {
  for (const char* text : {"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "ffconcat version 1.0\nfile walk.webm\n"})
    EXPECT_NE(Video::open(text, "list").error().message.find("list: not a video"), std::string::npos);
}

TEST(Video, AnIndexThatLeadsFarBeforeEnds) {
  // Its jumps lead to a frame from which jumping looked worth while, once more.
  const auto video = Video::open(Path(ONSIGHT_SOURCE_DIR) / "fuzz/seeds/video_fuzz/index-leads-far-before.mkv").value();
  std::vector<int64_t> wanted(static_cast<size_t>(video->facts().frames));
  std::iota(wanted.begin(), wanted.end(), 0);
  EXPECT_FALSE(frames_of(*video, wanted).empty());
  for (const int64_t one : wanted) {
    int frames = 0;
    const Status read = video->read({&one, 1}, [&](size_t, const Image&) { return ++frames > 0; });
    EXPECT_EQ(read.has_value(), frames == 1) << one;  // what it holds of them
  }
}

TEST(Video, CutShortItGivesWhatIsThere) {
  const std::string whole = read_file(kFolder / "uneven.mkv").value();
  for (size_t size = 200; size < whole.size(); size += 397) {
    const auto video = Video::open(whole.substr(0, size), "part");
    if (!video) continue;
    const std::vector<int64_t> wanted = {0, 5, 20, 47};
    int frames = 0;
    const Status read = (*video)->read(wanted, [&](size_t, const Image&) { return ++frames > 0; });
    EXPECT_EQ(read.has_value(), frames > 0);
  }
}

}  // namespace
}  // namespace onsight::media
