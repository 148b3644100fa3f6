#include "server/file_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace onsight::server {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;

class FileStoreTest : public ::testing::Test {
 protected:
  FileStoreTest() {
    std::string pattern = (fs::temp_directory_path() / "file-store-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~FileStoreTest() override { fs::remove_all(directory_); }

  std::unique_ptr<FileStore> open(int64_t max_bytes = 1000, size_t max_uploads = 10) {
    auto store = FileStore::open({.directory = directory_ / "files",
                                  .max_bytes = max_bytes,
                                  .max_files = 4,
                                  .max_uploads = max_uploads,
                                  .now = [this] { return now_; }});
    EXPECT_TRUE(store) << store.error().message;
    return std::move(*store);
  }
  static FileStore::File upload(FileStore& store, const std::string& name, std::string_view bytes) {
    const auto id = store.begin({.name = name, .display_name = "Shown", .mime_type = "image/png"});
    EXPECT_TRUE(id) << id.error().message;
    const auto progress = store.append(*id, 0, bytes, true);
    EXPECT_TRUE(progress && progress->file);
    return *progress->file;
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(directory_ / "files")) out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }

  Path directory_;
  FileStore::Time now_ = FileStore::Time(hours(500'000));
};

TEST_F(FileStoreTest, KeepsWhatComesInPieces) {
  const auto store = open();
  const auto id = store->begin({.mime_type = "image/png", .size = 11});
  ASSERT_TRUE(id);
  EXPECT_EQ(id->size(), 32u);
  EXPECT_EQ(store->append(*id, 0, "hello ", false)->received, 6);
  EXPECT_EQ(store->progress(*id)->received, 6);
  EXPECT_TRUE(store->knows(*id));
  EXPECT_FALSE(store->knows("guess"));
  EXPECT_TRUE(store->list().empty());
  const auto wrong = store->append(*id, 3, "lo ", false);
  EXPECT_EQ(wrong.error().message, "X-Goog-Upload-Offset: expected 6, found 3");
  EXPECT_EQ(store->append(*id, 6, "w", true).error().message, "the upload: expected 11 bytes, found 7");
  EXPECT_EQ(store->append(*id, 6, "world!", false).error().message, "the upload: expected 11 bytes, found 12");
  const auto done = store->append(*id, 6, "world", true);
  ASSERT_TRUE(done && done->file);
  EXPECT_EQ(done->file->sha256, "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=");
  EXPECT_EQ(done->file->expires - done->file->created, hours(48));
  EXPECT_EQ(*store->read(done->file->name, 100), "hello world");
  EXPECT_FALSE(store->read(done->file->name, 10));
  // The last piece may come again, and others not.
  EXPECT_EQ(store->append(*id, 6, "world", true)->file->name, done->file->name);
  EXPECT_FALSE(store->append(*id, 11, "!", false));
  EXPECT_EQ(store->progress(*id)->file->name, done->file->name);
  EXPECT_FALSE(store->cancel(*id));
}

TEST_F(FileStoreTest, IsPrivate) {
  const auto store = open();
  upload(*store, "a", "1");
  struct stat info {};
  ASSERT_EQ(::stat((directory_ / "files").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const std::string& entry : entries()) {
    ASSERT_EQ(::stat((directory_ / "files" / entry).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << entry;
  }
}

TEST_F(FileStoreTest, NamesCannotLeaveTheDirectory) {
  const auto store = open();
  for (const char* name : {"../x", "a/b", "..", ".", "-a", "a-", "A", "a.b", "a b", "a\n", "\xc3\xa4",
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_EQ(store->begin({.name = name}).error().status, 400) << name;
    EXPECT_FALSE(store->find(name)) << name;
    EXPECT_FALSE(store->remove(name)) << name;
    EXPECT_FALSE(store->read(name, 100)) << name;
  }
  upload(*store, "a-1", "1");
  EXPECT_EQ(store->begin({.name = "a-1"}).error().status, 409);
  const auto pending = store->begin({.name = "b"});
  EXPECT_EQ(store->begin({.name = "b"}).error().status, 409);
  EXPECT_TRUE(store->cancel(*pending));
  EXPECT_FALSE(store->knows(*pending));
  EXPECT_TRUE(store->begin({.name = "b"}));
}

TEST_F(FileStoreTest, ForgetsWhatExpires) {
  const auto store = open();
  upload(*store, "a", "1");
  const auto id = store->begin({.name = "b"});
  ASSERT_TRUE(store->append(*id, 0, "half", false));
  now_ += std::chrono::minutes(59);
  store->sweep();
  EXPECT_TRUE(store->progress(*id));
  now_ += hours(1);
  store->sweep();
  EXPECT_FALSE(store->progress(*id));
  EXPECT_EQ(store->append(*id, 4, "more", true).error().status, 404);
  EXPECT_EQ(entries(), (std::vector<std::string>{"a.onsight-file", "a.onsight-file.json", "onsight-files.lock"}));
  now_ += hours(46);
  EXPECT_TRUE(store->find("a"));
  now_ += hours(1);
  EXPECT_FALSE(store->find("a"));
  EXPECT_EQ(entries(), std::vector<std::string>{"onsight-files.lock"});
}

TEST_F(FileStoreTest, HasALimit) {
  const auto store = open(10, 2);
  EXPECT_EQ(store->begin({.size = 11}).error().status, 413);
  upload(*store, "a", "123456");
  const auto id = store->begin({.name = "b"});
  ASSERT_TRUE(store->append(*id, 0, "1234", false));
  EXPECT_EQ(store->append(*id, 4, "5", true).error().status, 413);
  EXPECT_FALSE(store->progress(*id));
  upload(*store, "c", "1234");
  EXPECT_EQ(store->begin({.size = 1}).error().status, 413);
  EXPECT_TRUE(store->remove("a"));
  const auto other = store->begin({.size = 6});
  ASSERT_TRUE(other);
  // Of two uploads one is done, and gives its place; then none is.
  EXPECT_TRUE(store->begin({}));
  EXPECT_EQ(store->begin({}).error().status, 429);
  EXPECT_TRUE(store->cancel(*other));
}

TEST_F(FileStoreTest, CountsFiles) {
  const auto store = open();
  for (const char* name : {"c", "a", "d", "b"}) {
    upload(*store, name, "1");
    now_ += std::chrono::seconds(1);
  }
  EXPECT_EQ(store->begin({}).error().status, 429);
  EXPECT_EQ(store->list().front().name, "c");
}

TEST_F(FileStoreTest, SurvivesARestart) {
  {
    const auto store = open();
    upload(*store, "a", "kept");
    upload(*store, "b", "damaged");
    upload(*store, "c", "cut off");
    const auto id = store->begin({.name = "d"});
    ASSERT_TRUE(id);
    ASSERT_TRUE(store->append(*id, 0, "half", false));
    EXPECT_FALSE(FileStore::open({.directory = directory_ / "files"}));
  }
  const Path files = directory_ / "files";
  std::ofstream(files / "b.onsight-file.json") << "{\"name\": \"../b\"";
  fs::resize_file(files / "c.onsight-file", 3);
  std::ofstream(files / "e.onsight-file") << "nobody describes this";
  std::ofstream(files / "0.onsight-part") << "half";
  std::ofstream(files / "theirs.txt") << "not the store's";
  const auto store = open();
  ASSERT_EQ(store->list().size(), 1u);
  const auto file = store->find("a");
  EXPECT_EQ(file->display_name, "Shown");
  EXPECT_EQ(file->mime_type, "image/png");
  EXPECT_EQ(file->size, 4);
  EXPECT_EQ(file->created, now_);
  EXPECT_EQ(*store->read("a", 100), "kept");
  EXPECT_FALSE(fs::exists(files / "e.onsight-file"));
  EXPECT_FALSE(fs::exists(files / "0.onsight-part"));
  EXPECT_TRUE(fs::exists(files / "theirs.txt"));
}

TEST_F(FileStoreTest, MakesAPrivateDirectoryWhenItIsNeeded) {
  ::setenv("TMPDIR", directory_.c_str(), 1);
  {
    auto store = FileStore::open({});
    ASSERT_TRUE(store);
    EXPECT_TRUE(fs::is_empty(directory_));
    upload(**store, "", "1");
    EXPECT_FALSE(fs::is_empty(directory_));
  }
  EXPECT_TRUE(fs::is_empty(directory_));
  ::unsetenv("TMPDIR");
}

TEST_F(FileStoreTest, SaysWhenTheDirectoryCannotBe) {
  std::ofstream(directory_ / "file") << "";
  const auto store = FileStore::open({.directory = directory_ / "file"});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace onsight::server
