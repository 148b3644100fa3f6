#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "formats/safetensors_bytes.h"

namespace onsight::formats {
namespace {

Result<SafetensorsHeader> read_bytes(const std::string& file) {
  return read_safetensors({reinterpret_cast<const std::byte*>(file.data()), file.size()}, "w.safetensors");
}

// The message of the refusal of a file with this header and 24 bytes of data.
std::string header_refusal(std::string_view header) {
  std::string file = safetensors_bytes(header, std::string(24, '\0'));
  Result<SafetensorsHeader> result = read_bytes(file);
  return result ? "accepted" : result.error().message;
}

std::string tensor(std::string_view body) { return fmt::format(R"({{"a": {{{}}}}})", body); }

TEST(Safetensors, ReadsTensorsAndMetadata) {
  std::string data(24, '\0');
  float value = 2.5f;
  std::memcpy(data.data() + 20, &value, 4);
  std::string file = safetensors_bytes(R"({"__metadata__": {"format": "pt"},
      "a": {"dtype": "F16", "shape": [], "data_offsets": [0, 2]},
      "b": {"shape": [1, 5], "data_offsets": [4, 24], "dtype": "F32"},
      "none": {"dtype": "F32", "shape": [0, 3], "data_offsets": [24, 24]}}   )",
                                       data);
  SafetensorsHeader header = read_bytes(file).value();
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors.at("b").shape, (compute::Shape{1, 5}));
  float last = 0;
  std::memcpy(&last, header.tensors.at("b").data + 16,
              4);  // not aligned: the header's length decides where data begins
  EXPECT_EQ(last, 2.5f);
  EXPECT_EQ(header.tensors.at("a").dtype, compute::DType::kF16);
  EXPECT_EQ(header.tensors.at("none").bytes(), 0);
}

TEST(Safetensors, RefusesAFileCutAnywhere) {
  std::string whole =
      safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}})", std::string(24, '\1'));
  ASSERT_TRUE(read_bytes(whole));
  for (size_t n = 0; n < whole.size(); ++n) ASSERT_FALSE(read_bytes(whole.substr(0, n))) << n;
  EXPECT_EQ(read_bytes("").error().message, "w.safetensors: expected a safetensors file, found only 0 bytes");
}

TEST(Safetensors, RefusesBytesAfterTheLastTensor) {
  std::string file =
      safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})", std::string(11, '\1'));
  EXPECT_EQ(read_bytes(file).error().message, "w.safetensors: 3 bytes after the last tensor, expected none");
}

TEST(Safetensors, RefusesAHeaderOfImpossibleLength) {
  std::string file = safetensors_bytes("{}", "");
  file[4] = 1;
  EXPECT_EQ(read_bytes(file).error().message,
            "w.safetensors: expected a header of at most 100000000 bytes, found 4294967298");
  for (size_t i = 0; i < 8; ++i) file[i] = '\xff';
  EXPECT_FALSE(read_bytes(file));
  file = safetensors_bytes("{}", "");
  file[0] = 3;
  EXPECT_EQ(read_bytes(file).error().message, "w.safetensors: expected a header of 3 bytes, found only 2");
  file[0] = 0;
  EXPECT_FALSE(read_bytes(file));
}

TEST(Safetensors, RefusesLyingOffsets) {
  auto offsets = [](std::string_view range) {
    return header_refusal(tensor(fmt::format(R"("dtype": "F32", "shape": [6], "data_offsets": {})", range)));
  };
  EXPECT_EQ(offsets("[0, 24]"), "accepted");
  EXPECT_EQ(offsets("[4, 28]"),
            "w.safetensors: header: tensor 'a': data_offsets: expected a range within the 24 bytes after the header, "
            "found 4 to 28");
  for (const char* range : {"[24, 0]",
                            "[0, 20]",
                            "[0, 25]",
                            "[18446744073709551592, 18446744073709551616]",
                            "[18446744073709551592, 0]",
                            "[-24, 0]",
                            "[0.0, 24.0]",
                            "[0, 24, 24]",
                            "[0]",
                            "[]",
                            "24",
                            "\"0\"",
                            "[\"0\", \"24\"]",
                            "[[0, 24]]",
                            "{\"0\": 24}",
                            "null",
                            "[0, null]",
                            "[true, 24]",
                            "[0, 2.4e1]",
                            "[0, 1e999]"})
    EXPECT_NE(offsets(range), "accepted") << range;
}

TEST(Safetensors, RefusesImpossibleShapes) {
  auto shape = [](std::string_view extents) {
    return header_refusal(tensor(fmt::format(R"("dtype": "F32", "shape": {}, "data_offsets": [0, 24])", extents)));
  };
  EXPECT_EQ(shape("[3, 2]"), "accepted");
  EXPECT_EQ(shape("[1, 1, 1, 1, 6]"), "accepted");
  EXPECT_EQ(shape("[7]"), "w.safetensors: header: tensor 'a': expected the bytes of [7] f32 values, found 24 bytes");
  EXPECT_EQ(shape("[-6]"), "w.safetensors: header: tensor 'a': shape: expected at most 5 whole numbers, found -6");
  for (const char* extents :
       {"[1, 1, 1, 1, 1, 6]", "[4611686018427387904, 4]", "[4611686018427387910]", "[9223372036854775808]",
        "[99999999999999999999999]", "[4294967296, 4294967296, 0]", "[6.0]", "[\"6\"]", "[[6]]", "6", "{}", "null"})
    EXPECT_NE(shape(extents), "accepted") << extents;
}

TEST(Safetensors, RefusesWhatIsNotAHeader) {
  EXPECT_EQ(header_refusal("[]"), "w.safetensors: header: expected a JSON object, found an array");
  EXPECT_EQ(header_refusal(R"({"a": 1})"),
            "w.safetensors: header: tensor 'a': expected an object of dtype, shape and data_offsets, found 1");
  EXPECT_EQ(header_refusal(tensor(R"("dtype": "F64", "shape": [3], "data_offsets": [0, 24])")),
            "w.safetensors: header: tensor 'a': dtype: expected one of F32, F16, BF16, I32, I64, U8, I8, BOOL, U32, "
            "found 'F64'");
  EXPECT_EQ(header_refusal(R"({"__metadata__": {"n": 1}})"),
            "w.safetensors: header: __metadata__: 'n': expected a string, found 1");
  for (const char* header : {"",
                             " ",
                             "{",
                             "nonsense",
                             "null",
                             "1",
                             "\"a\"",
                             "{}}",
                             "{} {}",
                             R"({"a": {}})",
                             R"({"a": {"dtype": "F32"}})",
                             R"({"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24], "more": 1}})",
                             R"({"a": {"dtype": "F32", "dtype": "F32", "shape": [6], "data_offsets": [0, 24]}})",
                             R"({"a": {"dtype": "F32", "shape": [6], "shape": [6], "data_offsets": [0, 24]}})",
                             R"({"a": {"dtype": ["F32"], "shape": [6], "data_offsets": [0, 24]}})",
                             R"({"__metadata__": []})",
                             R"({"__metadata__": "x"})",
                             R"({"__metadata__": {"a": {"b": "c"}}})",
                             R"({"__metadata__": {}, "__metadata__": {}})",
                             R"({"__metadata__": {"a": "1", "a": "2"}})",
                             "{\"\xff\": {}}",
                             "{\"a\": {\"dtype\": \"F32\0\"}}"})
    EXPECT_NE(header_refusal(header), "accepted") << header;
  std::string deep = "{\"a\": " + std::string(100000, '[');
  EXPECT_NE(header_refusal(deep), "accepted");
  EXPECT_TRUE(read_bytes(safetensors_bytes("{}", "")));
}

TEST(Safetensors, RefusesATensorThatOccursTwice) {
  EXPECT_EQ(header_refusal(R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                        "a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}})"),
            "w.safetensors: header: tensor 'a' occurs twice");
}

TEST(Safetensors, RefusesOverlaps) {
  auto two = [](std::string_view first, std::string_view second) {
    return header_refusal(fmt::format(R"({{"a": {{"dtype": "U8", "shape": [8], "data_offsets": {}}},
                                    "b": {{"dtype": "U8", "shape": [8], "data_offsets": {}}}}})",
                                      first, second));
  };
  EXPECT_EQ(two("[8, 16]", "[16, 24]"), "accepted");
  EXPECT_EQ(two("[16, 24]", "[0, 8]"), "accepted");  // a hole does no harm
  EXPECT_EQ(two("[0, 8]", "[7, 15]"), "w.safetensors: tensors 'a' and 'b' overlap, expected bytes of their own");
  EXPECT_EQ(two("[8, 16]", "[7, 15]"), "w.safetensors: tensors 'b' and 'a' overlap, expected bytes of their own");
  EXPECT_NE(two("[0, 8]", "[0, 8]"), "accepted");
}

TEST(Safetensors, RefusesMoreTensorsThanAnyModelHas) {
  std::string header = "{";
  for (size_t i = 0; i <= kMaxTensors; ++i)
    header += fmt::format("{}\"{}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", i ? "," : "", i);
  EXPECT_EQ(header_refusal(header + "}"), "w.safetensors: header: expected at most 100000 tensors");
}

TEST(Safetensors, MessagesStayShortAndPrintable) {
  std::string name(5000, 'x');
  EXPECT_LT(header_refusal(fmt::format(R"({{"{}": 1}})", name)).size(), 400u);
  EXPECT_EQ(in_quotes("a\nb\x1b"), "'a?b?'");
  EXPECT_EQ(in_quotes(std::string(119, 'x') + "ä!"), fmt::format("'{}…'", std::string(119, 'x')));
}

TEST(SafetensorsIndex, ReadsTheWeightMap) {
  auto map = read_safetensors_index(R"({"metadata": {"total_size": 8, "x": [{}, null, 1.5, true, -1, "y"]},
                                        "weight_map": {"a": "s1", "b": "s2"}, "more": []})",
                                    "i.json");
  ASSERT_TRUE(map) << map.error().message;
  EXPECT_EQ(map->at("b"), "s2");
}

TEST(SafetensorsIndex, RefusesFilesOutsideTheFolderAndJunk) {
  auto with = [](std::string_view value) {
    auto map = read_safetensors_index(fmt::format(R"({{"weight_map": {{"a": {}}}}})", value), "i.json");
    return map ? "accepted" : map.error().message;
  };
  EXPECT_EQ(with("\"x\""), "accepted");
  EXPECT_EQ(with("\"../x\""), "i.json: weight_map: 'a': expected the name of a file in the same folder, found '../x'");
  for (const char* value : {"\"/etc/passwd\"", "\"..\"", "\".\"", "\"\"", "\"a/b\"", "\"a\\u0000b\"", "1", "-1", "1.5",
                            "null", "[]", "{\"b\": \"c\"}", "true"})
    EXPECT_NE(with(value), "accepted") << value;
  for (const char* json : {"", "[]", "{}", "1", "\"a\"", R"({"weight_map": []})", R"({"weight_map": "a"})",
                           R"({"weight_map": null})", R"({"weight_map": {"a": "b", "a": "b"}})",
                           R"({"weight_map": {}, "weight_map": {}})", R"({"weight_map": {"a": "b"})"})
    EXPECT_FALSE(read_safetensors_index(json, "i.json")) << json;
}

}  // namespace
}  // namespace onsight::formats
