#include <gtest/gtest.h>

#include "hub/listing.h"
#include "hub/repository.h"

namespace onsight::hub {
namespace {

TEST(Repository, Names) {
  const auto plain = Repository::parse("HuggingFaceTB/SmolVLM2-2.2B-Instruct").value();
  EXPECT_EQ(plain.owner, "HuggingFaceTB");
  EXPECT_EQ(plain.name, "SmolVLM2-2.2B-Instruct");
  EXPECT_EQ(plain.revision, "main");
  EXPECT_EQ(Repository::parse("a/b@refs/pr/12").value().revision, "refs/pr/12");
  for (const char* name :
       {"",     "a",      "/",        "a/",       "/b",         "a/b/c",  "../b",  "a/..", "a/.b",   "a/b--c", "a b/c",
        "a/b@", "a/b@/x", "a/b@../x", "a/b@x//y", "a/b@x/../y", "a/b@x/", "a@x/b", "-a/b", "a/b@-x", "a/b@.x"})
    EXPECT_EQ(Repository::parse(name).error().code, ErrorCode::kUsage) << name;
}

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

std::string listing(const std::string& siblings) {
  return fmt::format(R"({{"sha": "{}", "siblings": [{}]}})", kCommit, siblings);
}

TEST(Listing, TakesWhatAModelNeeds) {
  const std::string sha1 = kCommit, sha256 = std::string(64, 'a');
  const auto small = [&](const char* name) {
    return fmt::format(R"({{"rfilename": "{}", "size": 7, "blobId": "{}"}})", name, sha1);
  };
  const std::string large = fmt::format(
      R"({{"rfilename": "model.safetensors", "size": 9, "blobId": "{}", "lfs": {{"sha256": "{}", "size": 9}}}})", sha1,
      sha256);
  const auto read =
      read_listing(listing(small("tokenizer.json") + "," + large + "," + small("config.json") + "," + small("run.py") +
                           "," + small("onnx/model.onnx") + "," + small("model-00001-of-00002.safetensors")),
                   "x");
  ASSERT_TRUE(read) << read.error().message;
  const auto files = model_files(*read, "x").value();
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[0].name, "config.json");
  EXPECT_FALSE(files[0].is_sha256());
  EXPECT_EQ(files[2].name, "model.safetensors");
  EXPECT_EQ(files[2].sum, sha256);
  EXPECT_EQ(files[2].bytes, 9);
}

TEST(Listing, TakesTemplatesOfTheirFolderAlone) {
  std::string files;
  for (const char* name :
       {"config.json", "model.safetensors", "additional_chat_templates/tool_use.jinja",
        "additional_chat_templates/rag 2.jinja", "additional_chat_templates/run.py", "additional_chat_templates/",
        "additional_chat_templates/.jinja", "additional_chat_templates/deeper/x.jinja",
        "additional_chat_templates/../x.jinja", "additional_chat_templates/../../../x.jinja",
        "additional_chat_templates//x.jinja", R"(additional_chat_templates\\x.jinja)", "other/x.jinja", "x.jinja",
        "/additional_chat_templates/x.jinja", "x/additional_chat_templates/x.jinja"})
    files +=
        fmt::format(R"({}{{"rfilename": "{}", "size": 7, "blobId": "{}"}})", files.empty() ? "" : ",", name, kCommit);
  const auto read = read_listing(listing(files), "x");
  ASSERT_TRUE(read) << read.error().message;
  const auto taken = model_files(*read, "x").value();
  std::vector<std::string> names;
  for (const HubFile& file : taken) names.push_back(file.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"config.json", "model.safetensors", "additional_chat_templates/tool_use.jinja"}));
}

TEST(Listing, DoesNotMindWhatIsNotFetched) {
  const auto file = [](const char* name) {
    return fmt::format(R"({{"rfilename": "{}", "size": 7, "blobId": "{}"}})", name, kCommit);
  };
  const std::string others =
      R"({"rfilename": "notes.txt"}, {"rfilename": "x.bin", "lfs": {}}, {"rfilename": "onnx/x"})";
  const auto read = read_listing(listing(file("config.json") + "," + file("model.safetensors") + "," + others), "x");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(model_files(*read, "x").value().size(), 2U);
  const auto refused = read_listing(listing(R"({"rfilename": "vocab.json", "size": 7})"), "x");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("vocab.json"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("blobId"), std::string::npos) << refused.error().message;
}

TEST(Listing, RefusesWhatItCannotTrust) {
  const std::string sum = kCommit;
  for (const char* text : {"", "[]", "{}", R"({"sha": "main", "siblings": []})", R"({"sha": 1, "siblings": []})"})
    EXPECT_FALSE(read_listing(text, "x")) << text;
  for (const std::string& file :
       {std::string("1"), std::string("{}"), fmt::format(R"({{"rfilename": "LICENSE", "blobId": "{}"}})", sum),
        fmt::format(R"({{"rfilename": "LICENSE", "size": -1, "blobId": "{}"}})", sum),
        std::string(R"({"rfilename": "LICENSE", "size": 1, "blobId": "../../x"})"),
        fmt::format(R"({{"rfilename": "LICENSE", "size": 1, "blobId": "{0}", "lfs": {{"sha256": "{0}", "size": 1}}}})",
                    sum)})
    EXPECT_FALSE(read_listing(listing(file), "x")) << file;
  const auto empty = read_listing(listing(""), "x");
  ASSERT_TRUE(empty);
  EXPECT_FALSE(model_files(*empty, "x"));
}

}  // namespace
}  // namespace onsight::hub
