#include "formats/gguf.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "formats/checkpoint.h"

namespace onsight::formats {
namespace {

// Writes a file part by part, right or wrong.
class Writer {
 public:
  template <class T>
  Writer& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& string(std::string_view text) {
    number<uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  Writer& head(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    bytes_ += "GGUF";
    return number(version).number(tensors).number(keys);
  }
  template <class T>
  Writer& key(std::string_view name, GgufType type, T value) {
    return string(name).number(type).number(value);
  }
  Writer& text_key(std::string_view name, std::string_view value) {
    return string(name).number(GgufType::kString).string(value);
  }
  Writer& array(std::string_view name, GgufType element, uint64_t count) {
    return string(name).number(GgufType::kArray).number(element).number(count);
  }
  Writer& tensor(std::string_view name, const std::vector<uint64_t>& extents, uint32_t type, uint64_t offset) {
    string(name).number<uint32_t>(static_cast<uint32_t>(extents.size()));
    for (uint64_t extent : extents) number(extent);
    return number(type).number(offset);
  }
  Writer& data(size_t bytes, size_t alignment = 32) {
    bytes_.append((alignment - bytes_.size() % alignment) % alignment, '\0');
    bytes_.append(bytes, 'x');
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

Result<GgufFile> read(const std::string& file) {
  return read_gguf({reinterpret_cast<const std::byte*>(file.data()), file.size()}, "m.gguf");
}
std::string refusal(const Writer& writer) {
  Result<GgufFile> file = read(writer.bytes());
  return file ? "accepted" : file.error().message;
}

Writer example() {
  Writer w;
  w.head(2, 7);
  w.key("u8", GgufType::kU8, uint8_t{200}).key("i16", GgufType::kI16, int16_t{-3}).key("f", GgufType::kF32, 0.5f);
  w.key("yes", GgufType::kBool, uint8_t{1}).text_key("name", "tiny");
  w.array("words", GgufType::kString, 2).string("a").string("");
  w.array("kinds", GgufType::kI32, 3).number(1).number(-2).number(3);
  w.tensor("q", {64, 3}, 8, 0).tensor("v", {2}, 0, 224).data(224 + 8);
  return w;
}

TEST(Gguf, ReadsValuesAndTensors) {
  const std::string bytes = example().bytes();
  GgufFile file = read(bytes).value();
  const GgufMetadata& m = file.metadata;
  EXPECT_EQ(m.size(), 7u);
  EXPECT_EQ(m.integer("u8", 0, 255).value(), 200);
  EXPECT_EQ(m.integer("i16", -9, 9).value(), -3);
  EXPECT_EQ(m.integer_or("none", 5, 0, 9).value(), 5);
  EXPECT_EQ(m.number("f").value(), 0.5);
  EXPECT_EQ(m.number("u8").value(), 200);
  EXPECT_EQ(m.number_or("none", 2).value(), 2);
  EXPECT_TRUE(m.boolean_or("yes", false).value());
  EXPECT_TRUE(m.boolean_or("none", true).value());
  EXPECT_EQ(m.string("name").value(), "tiny");
  EXPECT_EQ(m.string_or("none", "x").value(), "x");
  EXPECT_EQ(m.strings("words").value(), (std::vector<std::string_view>{"a", ""}));
  EXPECT_EQ(m.integers("kinds").value(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(m.numbers("kinds").value(), (std::vector<double>{1, -2, 3}));

  const compute::Tensor& q = file.tensors.at("q");
  EXPECT_EQ(q.dtype, compute::DType::kQ8_0);
  EXPECT_EQ(q.shape, (compute::Shape{3, 64}));  // innermost last
  EXPECT_EQ(q.bytes(), 3 * 2 * 34);
  EXPECT_EQ(file.tensors.at("v").data - q.data, 224);
}

TEST(Gguf, RefusesValuesOfAnotherKind) {
  const std::string bytes = example().bytes();
  GgufFile file = read(bytes).value();
  const GgufMetadata& m = file.metadata;
  EXPECT_EQ(m.integer("u8", 0, 9).error().message, "m.gguf: u8: expected a whole number from 0 to 9, found 200");
  EXPECT_EQ(m.integer("none", 0, 9).error().message, "m.gguf: none: missing, expected a whole number");
  EXPECT_EQ(m.integer("f", 0, 9).error().message, "m.gguf: f: expected a whole number, found f32");
  EXPECT_EQ(m.number("name").error().message, "m.gguf: name: expected a number, found string");
  EXPECT_EQ(m.number("words").error().message, "m.gguf: words: expected a number, found an array of string");
  EXPECT_EQ(m.boolean_or("u8", true).error().message, "m.gguf: u8: expected true or false, found u8");
  EXPECT_EQ(m.string("u8").error().message, "m.gguf: u8: expected a string, found u8");
  EXPECT_EQ(m.strings("kinds").error().message, "m.gguf: kinds: expected an array of strings, found an array of i32");
  EXPECT_EQ(m.strings("name").error().message, "m.gguf: name: expected an array of strings, found string");
  EXPECT_EQ(m.integers("words").error().message,
            "m.gguf: words: expected an array of whole numbers, found an array of string");
  Writer w;
  w.head(0, 2).key("huge", GgufType::kU64, UINT64_MAX).key("nan", GgufType::kF32, std::nanf(""));
  GgufFile other = read(w.bytes()).value();
  EXPECT_FALSE(other.metadata.integer("huge", 0, 9));
  EXPECT_FALSE(other.metadata.number("nan"));
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string whole = example().bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    Result<GgufFile> file = read(whole.substr(0, size));
    ASSERT_FALSE(file) << size;
    EXPECT_EQ(file.error().message.rfind("m.gguf: ", 0), 0u) << file.error().message;
  }
}

TEST(Gguf, RefusesAnotherContainer) {
  EXPECT_EQ(read("GGML").error().message, "m.gguf: expected a GGUF file, which begins with GGUF");
  EXPECT_EQ(refusal(Writer().head(0, 0, 1)), "m.gguf: expected a GGUF file of version 2 or 3, found version 1");
  EXPECT_EQ(refusal(Writer().head(0, 0, 3 << 24)),
            "m.gguf: expected a little-endian GGUF file, found the version 0x3000000");
  EXPECT_EQ(refusal(Writer().head(0, 0, 2)), "accepted");
}

TEST(Gguf, RefusesAbsurdCounts) {
  EXPECT_EQ(refusal(Writer().head(UINT64_MAX, 0)),
            "m.gguf: expected at most 100000 tensors, found 18446744073709551615");
  EXPECT_EQ(refusal(Writer().head(0, UINT64_MAX)),
            "m.gguf: expected at most 65536 keys of metadata, found 18446744073709551615");
  EXPECT_EQ(refusal(Writer().head(0, 1).number<uint64_t>(UINT64_MAX)),
            "m.gguf: key: expected at most 65535 bytes, found 18446744073709551615");
  for (GgufType element : {GgufType::kU8, GgufType::kF64, GgufType::kString})
    EXPECT_EQ(refusal(Writer().head(0, 1).array("a", element, UINT64_MAX).number<uint64_t>(0)),
              "m.gguf: 'a': expected 18446744073709551615 values, the file ends 8 bytes later");
  EXPECT_EQ(refusal(Writer().head(0, 1).string("a").number(GgufType::kString).number<uint64_t>(UINT64_MAX)),
            "m.gguf: 'a' at byte 45: expected 18446744073709551615 bytes, the file ends 0 bytes later");
}

TEST(Gguf, RefusesBadMetadata) {
  EXPECT_EQ(refusal(Writer().head(0, 1).string("a").number(13)), "m.gguf: 'a': expected a type from 0 to 12, found 13");
  EXPECT_EQ(refusal(Writer().head(0, 1).array("a", GgufType::kArray, 0)), "m.gguf: 'a': expected no array of arrays");
  EXPECT_EQ(refusal(Writer().head(0, 1).string("")), "m.gguf: expected keys that are not empty");
  EXPECT_EQ(refusal(Writer().head(0, 2).text_key("a", "").text_key("a", "")), "m.gguf: 'a' occurs twice");
  EXPECT_EQ(refusal(Writer().head(0, 1).key("general.alignment", GgufType::kU32, 24)),
            "m.gguf: general.alignment: expected a power of two, found 24");
  EXPECT_EQ(refusal(Writer().head(0, 1).key("general.alignment", GgufType::kU32, 0)),
            "m.gguf: general.alignment: expected a whole number from 1 to 1048576, found 0");
}

TEST(Gguf, RefusesBadTensors) {
  const auto one = [](const std::vector<uint64_t>& extents, uint32_t type, uint64_t offset) {
    return refusal(Writer().head(1, 0).tensor("t", extents, type, offset).data(128));
  };
  EXPECT_EQ(one({32}, 0, 0), "accepted");
  EXPECT_EQ(one({33}, 0, 0), "m.gguf: tensor 't': expected 132 bytes at offset 0, the file has 128 bytes of tensors");
  EXPECT_EQ(one({32}, 0, 32), "m.gguf: tensor 't': expected 128 bytes at offset 32, the file has 128 bytes of tensors");
  EXPECT_EQ(one({8}, 0, uint64_t{1} << 63),
            "m.gguf: tensor 't': expected 32 bytes at offset 9223372036854775808, the file has 128 bytes of tensors");
  EXPECT_EQ(one({8}, 0, 8), "m.gguf: tensor 't': expected an offset that 32 divides, found 8");
  EXPECT_EQ(one({}, 0, 0), "m.gguf: tensor 't': expected 1 to 4 dimensions, found 0");
  EXPECT_EQ(one({1, 1, 1, 1, 1}, 0, 0), "m.gguf: tensor 't': expected 1 to 4 dimensions, found 5");
  EXPECT_EQ(one({0}, 0, 0), "m.gguf: tensor 't': expected extents of 1 or more, found 0");
  EXPECT_EQ(one({UINT64_MAX}, 0, 0), "m.gguf: tensor 't': expected extents of 1 or more, found 18446744073709551615");
  const uint64_t big = uint64_t{1} << 32;
  EXPECT_EQ(one({big, big}, 0, 0), "m.gguf: tensor 't': expected fewer values than [4294967296, 4294967296] has");
  EXPECT_EQ(one({big, big >> 2}, 0, 0), "m.gguf: tensor 't': expected fewer values than [1073741824, 4294967296] has");
  EXPECT_EQ(one({33}, 8, 0), "m.gguf: tensor 't': expected rows of whole blocks of 32 q8_0 values, found 33");
  EXPECT_EQ(one({32}, 23, 0),
            "m.gguf: tensor 't': expected one of f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k, "
            "found IQ4_XS");
  EXPECT_NE(one({32}, 99, 0).find("found type 99"), std::string::npos);
  EXPECT_EQ(refusal(Writer().head(2, 0).tensor("a", {16}, 0, 0).tensor("b", {16}, 0, 32).data(128)),
            "m.gguf: tensors 'a' and 'b' overlap, expected bytes of their own");
  EXPECT_EQ(refusal(Writer().head(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data(128)),
            "m.gguf: tensor 'a' occurs twice");
  EXPECT_EQ(refusal(Writer().head(1, 0).tensor(std::string(300, 'n'), {8}, 0, 0).data(32)),
            "m.gguf: tensor name: expected at most 256 bytes, found 300");
}

TEST(Gguf, AlignmentIsTheFiles) {
  Writer w;
  w.head(2, 1).key("general.alignment", GgufType::kU32, 8).tensor("a", {2}, 0, 0).tensor("b", {2}, 0, 8).data(16, 8);
  EXPECT_EQ(refusal(w), "accepted");
}

TEST(Gguf, CheckpointHoldsSeveralFiles) {
  const Path folder = std::filesystem::temp_directory_path() / fmt::format("onsight_gguf_{}", ::getpid());
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const char* tensor) {
    const Writer w = Writer().head(1, 1).text_key("name", name).tensor(tensor, {8}, 0, 0).data(32);
    std::ofstream(folder / name, std::ios::binary) << w.bytes();
    return folder / name;
  };
  const std::vector<Path> files = {write("a", "x"), write("b", "y")}, same = {files[0], write("c", "x")};
  {
    Checkpoint checkpoint = Checkpoint::open_gguf(files).value();
    EXPECT_EQ(checkpoint.tensors().size(), 2u);
    ASSERT_EQ(checkpoint.gguf().size(), 2u);
    EXPECT_EQ(checkpoint.gguf()[1].string("name").value(), "b");
    EXPECT_EQ(checkpoint.total_bytes(), 64u);
    const std::string error = Checkpoint::open_gguf(same).error().message;
    EXPECT_NE(error.find("c: tensor 'x' is in "), std::string::npos) << error;
    EXPECT_FALSE(Checkpoint::open_gguf(std::vector<Path>{folder / "none"}));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace onsight::formats
