// What stays in memory of a converted file: after a picture has been read, not the tower that read it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "engine/convert.h"
#include "engine/engine.h"
#include "media/image.h"

namespace onsight {
namespace {

namespace fs = std::filesystem;

// Of the mappings of a file.
int64_t resident_bytes(const Path& file) {
  std::ifstream maps("/proc/self/smaps");
  int64_t bytes = 0;
  bool is_file = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) is_file = line.ends_with(file.string());
    if (is_file && line.starts_with("Rss:")) bytes += std::strtoll(line.c_str() + 4, nullptr, 10) * 1024;
  }
  return bytes;
}

TEST(Memory, ATowerThatHasReadItsPicturesLeavesIt) {
  const Path source(ONSIGHT_SOURCE_DIR);
  const Path file = fs::canonical(testing::TempDir()) / ("onsight-memory-" + std::to_string(::getpid()) + ".onsight");
  const engine::EngineOptions options = {.threads = 2, .text = engine::Quantisation::kQ8};
  ASSERT_TRUE(engine::convert(source / "models/onsight-nano", file, options, {}, "test"));
  const auto picture = [&](const char* name) {
    return std::make_shared<const media::Image>(
        media::decode_image(read_file(source / "examples" / name).value(), name).value());
  };
  const auto ask = [](engine::Engine& engine, std::shared_ptr<const media::Image> image) {
    engine::Request request;
    request.messages = {engine::user_message({std::move(image)}, "Describe this image.").value()};
    request.max_tokens = 12;
    return engine.generate(request, {}).value().tokens;
  };
  const auto receipt = picture("receipt.jpg"), other = picture("scene.png");
  const auto first = engine::Engine::load(file, options).value();
  const std::vector<int32_t> read = ask(*first, receipt);
  const int64_t resident = resident_bytes(file);
  const auto second = engine::Engine::load(file, options).value();
  EXPECT_EQ(ask(*first, other), ask(*second, other));  // it is there again when it is needed
  EXPECT_EQ(ask(*second, receipt), read);
  const auto file_bytes = static_cast<int64_t>(fs::file_size(file));
  fs::remove(file);
  EXPECT_GT(resident, 0);
  EXPECT_LT(resident, file_bytes - first->info().vision_parameters / 2);  // of eight bits and more
}

}  // namespace
}  // namespace onsight
