#include "formats/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "formats/safetensors_bytes.h"

namespace onsight::formats {
namespace {

class CheckpointFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("onsight_checkpoint_{}", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  // A file with one-byte tensors of these names.
  void write_shard(const std::string& name, const std::vector<std::string>& tensors) {
    std::string header;
    for (size_t i = 0; i < tensors.size(); ++i)
      header += fmt::format("{}\"{}\": {{\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [{}, {}]}}",
                            i ? ", " : "", tensors[i], i, i + 1);
    write(name, safetensors_bytes("{" + header + "}", std::string(tensors.size(), 'x')));
  }
  void write_index(const std::string& weight_map) {
    write("model.safetensors.index.json", "{\"weight_map\": " + weight_map + "}");
  }
  std::string refused() {
    Result<Checkpoint> result = Checkpoint::open_safetensors(folder_);
    if (result) return "accepted";
    std::string message = result.error().message;  // without the folder, which differs between runs
    for (size_t at; (at = message.find(folder_.string() + "/")) != std::string::npos;)
      message.erase(at, folder_.string().size() + 1);
    return message;
  }
  Path folder_;
};

TEST_F(CheckpointFolder, OpensOneFile) {
  write_shard("model.safetensors", {"a", "b"});
  Checkpoint checkpoint = Checkpoint::open_safetensors(folder_).value();
  ASSERT_TRUE(checkpoint.find("b"));
  EXPECT_EQ(*checkpoint.find("b")->data, std::byte{'x'});
  EXPECT_EQ(checkpoint.find("c"), nullptr);
  EXPECT_EQ(checkpoint.total_bytes(), 2u);
}

TEST_F(CheckpointFolder, OpensShards) {
  write_shard("one", {"a", "b"});
  write_shard("two", {"c"});
  write_index(R"({"a": "one", "b": "one", "c": "two"})");
  Checkpoint checkpoint = Checkpoint::open_safetensors(folder_).value();
  EXPECT_EQ(checkpoint.tensors().size(), 3u);
  EXPECT_EQ(*checkpoint.find("c")->data, std::byte{'x'});
}

TEST_F(CheckpointFolder, RefusesShardsThatDisagreeWithTheIndex) {
  write_shard("one", {"a", "b"});
  write_shard("two", {"c"});
  write_index(R"({"a": "one", "b": "one", "c": "one"})");
  EXPECT_EQ(refused(), "model.safetensors.index.json: expected tensor 'c' in one, found none of that name");
  write_index(R"({"a": "one", "c": "two"})");
  EXPECT_EQ(refused(), "model.safetensors.index.json: one holds tensor 'b', expected it in weight_map");
  write_index(R"({"a": "one", "b": "two", "c": "two"})");
  EXPECT_EQ(refused(), "model.safetensors.index.json: one holds tensor 'b', expected it in 'two'");
  write_index(R"({"a": "one", "b": "one", "c": "three"})");
  EXPECT_EQ(refused(), "three: cannot be opened (No such file or directory)");
}

TEST_F(CheckpointFolder, RefusesFoldersWithoutWeights) {
  EXPECT_NE(refused().find("expected a folder with model.safetensors or model.safetensors.index.json"),
            std::string::npos);
  EXPECT_FALSE(Checkpoint::open_safetensors("/nonexistent"));
  write("model.safetensors", "");
  EXPECT_EQ(refused(), "model.safetensors: expected a safetensors file, found only 0 bytes");
  std::filesystem::remove(folder_ / "model.safetensors");
  std::filesystem::create_directory(folder_ / "model.safetensors");
  EXPECT_EQ(refused(), "model.safetensors: expected a file, found a folder");
}

}  // namespace
}  // namespace onsight::formats
