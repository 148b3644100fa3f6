#include "engine/feature_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace onsight::engine {
namespace {

namespace fs = std::filesystem;

class FeatureStoreTest : public testing::Test {
 protected:
  FeatureStoreTest() : folder_(Path(testing::TempDir()) / ("onsight-store-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
  }
  ~FeatureStoreTest() override { fs::remove_all(folder_); }
  FeatureStore open(int64_t max_bytes = 1 << 20) const { return FeatureStore::open(folder_, max_bytes).value(); }
  Path file(const Digest& key) const { return folder_ / (to_hex(key) + ".features"); }
  static void write(const Path& path, std::string_view bytes) { std::ofstream(path, std::ios::binary) << bytes; }
  static mode_t mode(const Path& path) {
    struct stat info {};
    ::stat(path.c_str(), &info);
    return info.st_mode & 0777;
  }

  Path folder_;
  const std::vector<std::byte> bytes_ = std::vector<std::byte>(100, std::byte{7});
  std::vector<std::byte> out_ = std::vector<std::byte>(100);
  const Digest a_ = sha256("a"), b_ = sha256("b"), c_ = sha256("c");
};

TEST_F(FeatureStoreTest, KeepsWhatItIsGivenForItsOwnerOnly) {
  const FeatureStore store = open();
  EXPECT_FALSE(store.load(a_, out_));
  store.save(a_, bytes_);
  EXPECT_TRUE(open().load(a_, out_));
  EXPECT_EQ(out_, bytes_);
  EXPECT_FALSE(store.load(b_, out_));
  std::vector<std::byte> longer(101);
  EXPECT_FALSE(store.load(a_, longer));
  EXPECT_EQ(mode(folder_), 0700u);
  EXPECT_EQ(mode(file(a_)), 0600u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(FeatureStoreTest, HarmedAndForeignFilesAreAsIfTheyWereNotThereAndAreWrittenAnew) {
  const FeatureStore store = open();
  store.save(a_, bytes_);
  const std::string whole = read_file(file(a_)).value();
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string harmed = whole;
    harmed[i] = static_cast<char>(harmed[i] ^ 4);
    write(file(a_), harmed);
    ASSERT_FALSE(store.load(a_, out_)) << i;
    write(file(a_), whole.substr(0, i));
    ASSERT_FALSE(store.load(a_, out_)) << i;
  }
  write(file(a_), whole + "x");
  EXPECT_FALSE(store.load(a_, out_));
  write(file(b_), whole);  // under another's name
  EXPECT_FALSE(store.load(b_, out_));
  fs::create_directory(file(c_));
  EXPECT_FALSE(store.load(c_, out_));
  store.save(c_, bytes_);  // cannot be, and does no harm
  store.save(a_, bytes_);
  EXPECT_TRUE(store.load(a_, out_));
  fs::remove_all(folder_);
  store.save(a_, bytes_);
  store.trim();
  EXPECT_FALSE(store.load(a_, out_));
}

TEST_F(FeatureStoreTest, ForgetsWhatWasNotUsedForLongestAndTouchesNothingElse) {
  const FeatureStore store = open(400);
  write(folder_ / "letter.txt", std::string(1000, 'x'));
  const auto hours_ago = [&](const Path& path, int hours) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  store.save(a_, bytes_);
  store.save(b_, bytes_);
  hours_ago(file(a_), 5);
  hours_ago(file(b_), 4);
  EXPECT_TRUE(store.load(a_, out_));  // used again
  store.save(c_, bytes_);
  const Path killed = file(b_).string() + ".tmp-1", writing = file(b_).string() + ".tmp-2";
  write(killed, "x");
  hours_ago(killed, 3);
  write(writing, "x");
  store.trim();
  EXPECT_TRUE(fs::exists(file(a_)));
  EXPECT_FALSE(fs::exists(file(b_)));
  EXPECT_TRUE(fs::exists(file(c_)));
  EXPECT_FALSE(fs::exists(killed));
  EXPECT_TRUE(fs::exists(writing));
  EXPECT_TRUE(fs::exists(folder_ / "letter.txt"));
  store.save(sha256("large"), std::vector<std::byte>(500));
  EXPECT_FALSE(fs::exists(file(sha256("large"))));
}

TEST_F(FeatureStoreTest, IsAFolderOrAnError) {
  write(folder_, "x");
  const auto store = FeatureStore::open(folder_, 1);
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().message.find("expected a folder"), std::string::npos);
  EXPECT_FALSE(FeatureStore::open(folder_ / "below", 1));
}

TEST_F(FeatureStoreTest, KeysDifferWhereFeaturesMay) {
  fs::create_directory(folder_);
  write(folder_ / "config.json", "{}");
  write(folder_ / "model.safetensors", std::string(5 << 20, 'w'));
  const Digest model = model_identity(folder_);
  EXPECT_EQ(model_identity(folder_), model);
  const auto time = fs::last_write_time(folder_ / "config.json");
  write(folder_ / "config.json", "[]");
  fs::last_write_time(folder_ / "config.json", time);
  EXPECT_NE(model_identity(folder_), model);

  const media::Image tile{2, 1, {1, 2, 3, 4, 5, 6}}, turned{1, 2, tile.rgb}, other{2, 1, {1, 2, 3, 4, 5, 7}};
  const Digest key = feature_key(model, "q8", tile);
  EXPECT_EQ(feature_key(model, "q8", tile), key);
  EXPECT_NE(feature_key(model, "q8", turned), key);
  EXPECT_NE(feature_key(model, "q8", other), key);
  EXPECT_NE(feature_key(model, "", tile), key);
  EXPECT_NE(feature_key(a_, "q8", tile), key);
}

}  // namespace
}  // namespace onsight::engine
