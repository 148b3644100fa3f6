#include "engine/disk_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace onsight::engine {
namespace {

namespace fs = std::filesystem;

using Kind = DiskCache::Kind;

class DiskCacheTest : public testing::Test {
 protected:
  DiskCacheTest() : folder_(Path(testing::TempDir()) / ("onsight-cache-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
  }
  ~DiskCacheTest() override { fs::remove_all(folder_); }
  DiskCache open(int64_t max_bytes = 1 << 20) const { return DiskCache::open(folder_, max_bytes).value(); }
  Path file(const Digest& key) const { return folder_ / (to_hex(key) + ".features"); }
  Path state(const Digest& key) const { return folder_ / (to_hex(key) + ".kv"); }
  static void save(const DiskCache& cache, const Digest& key, const std::vector<std::byte>& bytes,
                   Kind kind = Kind::kFeatures) {
    const std::span<const std::byte> parts[] = {bytes};
    cache.save(kind, key, parts);
  }
  static bool load(const DiskCache& cache, const Digest& key, std::vector<std::byte>& out,
                   Kind kind = Kind::kFeatures) {
    const std::span<std::byte> parts[] = {out};
    return cache.load(kind, key, parts);
  }
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

TEST_F(DiskCacheTest, KeepsWhatItIsGivenForItsOwnerOnly) {
  const DiskCache cache = open();
  EXPECT_FALSE(load(cache, a_, out_));
  save(cache, a_, bytes_);
  EXPECT_TRUE(load(open(), a_, out_));
  EXPECT_EQ(out_, bytes_);
  EXPECT_FALSE(load(cache, b_, out_));
  std::vector<std::byte> longer(101);
  EXPECT_FALSE(load(cache, a_, longer));
  EXPECT_EQ(mode(folder_), 0700u);
  EXPECT_EQ(mode(file(a_)), 0600u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(DiskCacheTest, HarmedAndForeignFilesAreAsIfTheyWereNotThereAndAreWrittenAnew) {
  const DiskCache cache = open();
  save(cache, a_, bytes_);
  const std::string whole = read_file(file(a_)).value();
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string harmed = whole;
    harmed[i] = static_cast<char>(harmed[i] ^ 4);
    write(file(a_), harmed);
    ASSERT_FALSE(load(cache, a_, out_)) << i;
    write(file(a_), whole.substr(0, i));
    ASSERT_FALSE(load(cache, a_, out_)) << i;
  }
  write(file(a_), whole + "x");
  EXPECT_FALSE(load(cache, a_, out_));
  write(file(b_), whole);  // under another's name
  EXPECT_FALSE(load(cache, b_, out_));
  fs::create_directory(file(c_));
  EXPECT_FALSE(load(cache, c_, out_));
  save(cache, c_, bytes_);  // cannot be, and does no harm
  save(cache, a_, bytes_);
  EXPECT_TRUE(load(cache, a_, out_));
  fs::remove_all(folder_);
  save(cache, a_, bytes_);
  cache.trim();
  EXPECT_FALSE(load(cache, a_, out_));
}

TEST_F(DiskCacheTest, ForgetsWhatWasNotUsedForLongestAndTouchesNothingElse) {
  const DiskCache cache = open(400);
  write(folder_ / "letter.txt", std::string(1000, 'x'));
  const auto hours_ago = [&](const Path& path, int hours) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  save(cache, a_, bytes_);
  save(cache, b_, bytes_);
  hours_ago(file(a_), 5);
  hours_ago(file(b_), 4);
  EXPECT_TRUE(load(cache, a_, out_));  // used again
  save(cache, c_, bytes_);
  const Path killed = file(b_).string() + ".tmp-1", writing = file(b_).string() + ".tmp-2";
  write(killed, "x");
  hours_ago(killed, 3);
  write(writing, "x");
  cache.trim();
  EXPECT_TRUE(fs::exists(file(a_)));
  EXPECT_FALSE(fs::exists(file(b_)));
  EXPECT_TRUE(fs::exists(file(c_)));
  EXPECT_FALSE(fs::exists(killed));
  EXPECT_TRUE(fs::exists(writing));
  EXPECT_TRUE(fs::exists(folder_ / "letter.txt"));
  save(cache, sha256("large"), std::vector<std::byte>(500));
  EXPECT_FALSE(fs::exists(file(sha256("large"))));
}

TEST_F(DiskCacheTest, GivesPartsWhatTheyHeldAndKnowsKindsApart) {
  const DiskCache cache = open();
  const std::vector<std::byte> first(30, std::byte{1}), second, third(70, std::byte{3});
  const std::span<const std::byte> parts[] = {first, second, third};
  EXPECT_FALSE(cache.has(Kind::kKeysAndValues, a_));
  cache.save(Kind::kKeysAndValues, a_, parts);
  EXPECT_TRUE(cache.has(Kind::kKeysAndValues, a_));
  EXPECT_FALSE(cache.has(Kind::kFeatures, a_));
  EXPECT_FALSE(load(cache, a_, out_));
  ASSERT_TRUE(load(cache, a_, out_, Kind::kKeysAndValues));  // the same bytes, otherwise divided
  EXPECT_TRUE(std::equal(first.begin(), first.end(), out_.begin()));
  EXPECT_TRUE(std::equal(third.begin(), third.end(), out_.begin() + 30));
}

TEST_F(DiskCacheTest, KeysAndValuesTakeHalfOfTheRoomAtMost) {
  const DiskCache cache = open(1200);  // a file of 100 bytes takes over 150
  for (char i = 'a'; i <= 'f'; ++i) {
    const Digest key = sha256(std::string(1, i));
    save(cache, key, bytes_);
    fs::last_write_time(file(key), fs::file_time_type::clock::now() - std::chrono::hours(2));
    save(cache, key, bytes_, Kind::kKeysAndValues);
    fs::last_write_time(state(key), fs::file_time_type::clock::now() - std::chrono::minutes('f' - i));
  }
  cache.trim();
  int features = 0, states = 0;
  for (char i = 'a'; i <= 'f'; ++i) {
    features += fs::exists(file(sha256(std::string(1, i))));
    states += fs::exists(state(sha256(std::string(1, i))));
  }
  EXPECT_EQ(states, 3);
  EXPECT_EQ(features, 4);
  EXPECT_TRUE(fs::exists(state(sha256("f"))));
  save(cache, b_, std::vector<std::byte>(700), Kind::kKeysAndValues);
  EXPECT_FALSE(fs::exists(state(b_)));
}

TEST_F(DiskCacheTest, IsAFolderOrAnError) {
  write(folder_, "x");
  const auto cache = DiskCache::open(folder_, 1);
  ASSERT_FALSE(cache);
  EXPECT_NE(cache.error().message.find("expected a folder"), std::string::npos);
  EXPECT_FALSE(DiskCache::open(folder_ / "below", 1));
}

TEST_F(DiskCacheTest, KeysDifferWhereFeaturesMay) {
  fs::create_directory(folder_);
  write(folder_ / "config.json", "{}");
  write(folder_ / "model.safetensors", std::string(5 << 20, 'w'));
  const Digest model = model_identity(folder_);
  EXPECT_EQ(model_identity(folder_), model);
  const auto time = fs::last_write_time(folder_ / "config.json");
  write(folder_ / "config.json", "[]");
  fs::last_write_time(folder_ / "config.json", time);
  EXPECT_NE(model_identity(folder_), model);
  const Digest contents = model_contents(folder_), again = model_identity(folder_);
  fs::last_write_time(folder_ / "config.json", time + std::chrono::hours(1));
  EXPECT_EQ(model_contents(folder_), contents);
  EXPECT_NE(model_identity(folder_), again);

  const media::Image tile{2, 1, {1, 2, 3, 4, 5, 6}}, turned{1, 2, tile.rgb}, other{2, 1, {1, 2, 3, 4, 5, 7}};
  const Digest seen = pixel_digest(tile), key = feature_key(model, "q8", seen);
  EXPECT_EQ(feature_key(model, "q8", pixel_digest(tile)), key);
  EXPECT_NE(feature_key(model, "q8", pixel_digest(turned)), key);
  EXPECT_NE(feature_key(model, "q8", pixel_digest(other)), key);
  EXPECT_NE(feature_key(model, "", seen), key);
  EXPECT_NE(feature_key(a_, "q8", seen), key);
}

TEST(PrefixKey, DiffersWhereTheStateMay) {
  const Digest model = sha256("model"), one = sha256("1"), two = sha256("2");
  const std::vector<int32_t> ids = {5, 6, 9, 9}, at = {2, 3};
  const std::vector<Digest> tiles = {one, two};
  const Digest key = prefix_key(model, "q8", ids, at, tiles);
  EXPECT_EQ(prefix_key(model, "q8", ids, at, tiles), key);
  EXPECT_NE(prefix_key(one, "q8", ids, at, tiles), key);
  EXPECT_NE(prefix_key(model, "q4", ids, at, tiles), key);
  EXPECT_NE(prefix_key(model, "q8", std::vector<int32_t>{5, 7, 9, 9}, at, tiles), key);
  EXPECT_NE(prefix_key(model, "q8", std::vector<int32_t>{5, 6, 9, 9, 4}, at, tiles), key);
  EXPECT_NE(prefix_key(model, "q8", ids, std::vector<int32_t>{1, 2}, tiles), key);
  EXPECT_NE(prefix_key(model, "q8", ids, at, std::vector<Digest>{two, one}), key);
  EXPECT_NE(prefix_key(model, "q8", ids, at, std::vector<Digest>{one}), key);
}

}  // namespace
}  // namespace onsight::engine
