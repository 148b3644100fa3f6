#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/atomic_folder.h"
#include "base/file.h"
#include "base/json.h"

namespace onsight {
namespace {

TEST(File, AtomicWriteLeavesNothingBehindWhenAbandoned) {
  Path dir = std::filesystem::temp_directory_path() / fmt::format("onsight_base_{}", ::getpid());
  std::filesystem::create_directories(dir);
  {
    auto file = AtomicFile::create(dir / "x");
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->append("half"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir));
  ASSERT_TRUE(write_file_atomically(dir / "x", "whole"));
  EXPECT_EQ(read_file(dir / "x").value(), "whole");
  std::filesystem::remove_all(dir);
}

TEST(File, AtomicWriteReplacesWhatAPathLeadsToAndPlainFilesOnly) {
  namespace fs = std::filesystem;
  const Path dir = fs::temp_directory_path() / fmt::format("onsight_links_{}", ::getpid());
  fs::create_directories(dir / "folder");
  ASSERT_TRUE(write_file_atomically(dir / "real", "old"));
  fs::permissions(dir / "real", fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
  fs::create_symlink("real", dir / "link");
  ASSERT_TRUE(write_file_atomically(dir / "link", "new"));
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  EXPECT_EQ(read_file(dir / "real").value(), "new");
  EXPECT_EQ(fs::status(dir / "real").permissions(),
            fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
  fs::create_symlink("nothing", dir / "dangling");
  ASSERT_TRUE(write_file_atomically(dir / "dangling", "there"));
  EXPECT_EQ(read_file(dir / "nothing").value(), "there");
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  for (const char* name : {"pipe", "folder"}) {
    const Status written = write_file_atomically(dir / name, "no");
    ASSERT_FALSE(written) << name;
    EXPECT_NE(written.error().message.find("expected a plain file"), std::string::npos) << written.error().message;
  }
  EXPECT_TRUE(fs::is_fifo(dir / "pipe"));
  fs::remove_all(dir);
}

TEST(AtomicFolder, AppearsWholeOrNotAtAll) {
  const Path dir = std::filesystem::temp_directory_path() / fmt::format("onsight_folder_{}", ::getpid());
  std::filesystem::create_directories(dir);
  {
    auto folder = AtomicFolder::create(dir / "x");
    ASSERT_TRUE(folder);
    ASSERT_TRUE(write_file_atomically(folder->path() / "a", "half"));
    EXPECT_EQ(folder->placed({ErrorCode::kIo, (folder->path() / "a").string() + ": full"}).message,
              (std::filesystem::canonical(dir) / "x" / "a: full").string());
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir));
  // Where there is nothing, an empty folder, another one; a slash at the end is no name.
  std::filesystem::create_directory(dir / "y");
  for (const char* name : {"x", "y", "x/"}) {
    auto folder = AtomicFolder::create(dir / name);
    ASSERT_TRUE(folder);
    ASSERT_TRUE(write_file_atomically(folder->path() / folder->path().filename(), "whole"));
    ASSERT_TRUE(folder->commit());
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / name), {}), 1) << name;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 2);
  EXPECT_EQ(AtomicFolder::create(dir / "no" / "x").error().code, ErrorCode::kIo);
  std::filesystem::remove_all(dir);
}

TEST(AtomicFolder, FillsAFolderThatCannotBeExchanged) {
  const Path dir = std::filesystem::temp_directory_path() / fmt::format("onsight_inside_{}", ::getpid());
  std::filesystem::create_directories(dir / "old");
  for (const char* name : {"a", "b"}) ASSERT_TRUE(write_file_atomically(dir / name, "before"));
  {
    auto folder = AtomicFolder::create_inside(dir);
    ASSERT_TRUE(folder);
    ASSERT_TRUE(write_file_atomically(folder->path() / "a", "half"));
  }
  EXPECT_EQ(read_file(dir / "a").value(), "before");
  auto folder = AtomicFolder::create_inside(dir);
  ASSERT_TRUE(folder);
  ASSERT_TRUE(write_file_atomically(folder->path() / "a", "whole"));
  std::filesystem::create_directory(folder->path() / "new");
  ASSERT_TRUE(folder->commit());
  EXPECT_EQ(read_file(dir / "a").value(), "whole");
  EXPECT_TRUE(std::filesystem::is_directory(dir / "new"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 2);
  std::filesystem::remove_all(dir);
}

TEST(File, ErrorsNameThePath) {
  EXPECT_NE(read_file("/nonexistent/y").error().message.find("/nonexistent/y"), std::string::npos);
  EXPECT_NE(MappedFile::open("/").error().message.find("expected a file"), std::string::npos);
  EXPECT_EQ(write_file_atomically("/dev/full/x", "a").error().code, ErrorCode::kIo);
  EXPECT_EQ(read_file("/dev/zero", 1000).error().code, ErrorCode::kBadInput);
}

TEST(File, WhatItBeginsWithIsLookedAtOnceAndFirst) {
  std::vector<size_t> sizes;
  const auto look = [&](std::string_view first) -> Status {
    sizes.push_back(first.size());
    if (first.starts_with('\0')) return bad_input("zeros");
    return {};
  };
  EXPECT_EQ(read_file("/dev/zero", uint64_t{1} << 40, look).error().message, "zeros");
  const Path file = std::filesystem::temp_directory_path() / fmt::format("onsight_begins_{}", ::getpid());
  for (const size_t size : {size_t{0}, size_t{5}, size_t{4096}, size_t{300'000}}) {
    ASSERT_TRUE(write_file_atomically(file, std::string(size, 'x')));
    EXPECT_EQ(read_file(file, 1 << 20, look).value().size(), size);
  }
  EXPECT_EQ(sizes, (std::vector<size_t>{4096, 0, 5, 4096, 4096}));
  std::filesystem::remove(file);
}

TEST(Json, ErrorsNameTheKey) {
  Json json = parse_json(R"({"a": {"n": 4.0, "s": "x", "big": 1e300}})", "c.json").value();
  JsonView view(json, "c.json");
  EXPECT_EQ(view.at("a").integer("n", 0, 9).value(), 4);
  EXPECT_EQ(view.at("a").integer("s", 0, 9).error().message, "c.json: a.s: expected an integer, found string");
  EXPECT_EQ(view.at("b").at("c").integer_or("n", 7, 0, 9).value(), 7);
  EXPECT_FALSE(view.at("a").integer("big", 0, 9));
  EXPECT_FALSE(view.at("a").integer("n", 5, 9));
}

TEST(Json, ListsOfObjectsKeepThemAll) {
  std::string text = "[{}";
  for (int i = 1; i < 200'000; ++i) text += ",{}";
  EXPECT_EQ(parse_json(text + "]", "t")->size(), 200'000u);
  for (const std::string& wrong : {text, text + "]]", std::string(), std::string("[1e999]")})
    EXPECT_EQ(parse_json(wrong, "t").error().message, "t: expected valid JSON");
}

TEST(Json, RefusesBrokenAndDeepDocuments) {
  EXPECT_EQ(parse_json("{", "c.json").error().message, "c.json: expected valid JSON");
  std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_FALSE(parse_json(deep, "c.json"));
  EXPECT_TRUE(parse_json(R"(["[[", "\"[", {"\\": "{"}])", "c.json"));  // brackets of strings do not count
  EXPECT_TRUE(parse_json(std::string(256, '[') + std::string(256, ']'), "c.json"));
  EXPECT_EQ(parse_json(std::string(257, '[') + std::string(257, ']'), "c.json").error().message,
            "c.json: nested deeper than 256 levels");
}

// A parser that looks at what came before for each of them takes minutes.
TEST(Json, ManySmallValuesTakeAsLongAsTheirBytes) {
  std::string list = "[{}";
  for (int i = 0; i < 400'000; ++i) list += ",{}";
  EXPECT_EQ(parse_json(list + "]", "c.json").value().size(), 400'001u);
}

}  // namespace
}  // namespace onsight
