#include "formats/onnx_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>

namespace onsight::formats {
namespace {

using compute::DType;

// The fields of a message: number → values, in which a number of any width is its eight bytes.
std::multimap<uint64_t, std::string> fields_of(std::string_view bytes) {
  const auto number = [&] {
    uint64_t out = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes.at(0));
      bytes.remove_prefix(1);
      out |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return out;
    }
  };
  std::multimap<uint64_t, std::string> out;
  while (!bytes.empty()) {
    const uint64_t key = number();
    std::string value;
    if ((key & 7) == 0) {
      value = std::to_string(number());
    } else {
      const size_t size = (key & 7) == 5 ? 4 : number();
      value = bytes.substr(0, size);
      EXPECT_EQ(value.size(), size);
      bytes.remove_prefix(size);
    }
    out.emplace(key >> 3, value);
  }
  return out;
}

std::string field(const std::multimap<uint64_t, std::string>& fields, uint64_t number) {
  EXPECT_EQ(fields.count(number), 1u) << number;
  const auto found = fields.find(number);
  return found == fields.end() ? "" : found->second;
}

class Onnx : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("onsight_onnx_{}", ::getpid());
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // y = x · w + b, where the weights are written in pieces that do not end where they do.
  Status write(uint64_t most) {
    const OnnxModel model{
        .program = "test 1",
        .opset = 23,
        .nodes = {{"MatMul", {"x", "w"}, {"xw"}}, {"Add", {"xw", "b"}, {"y"}, {{"axis", int64_t{-1}}}}},
        .inputs = {{"x", DType::kF32, {"n", int64_t{2}}}},
        .outputs = {{"y", DType::kF32, {"n", int64_t{300}}}},
        .constants = {{"c", DType::kI64, {1}, std::string(8, '\1')}},
        .weights = {{"w", DType::kF32, {2, 300}}, {"b", DType::kF16, {300}}}};
    TRY(OnnxWriter writer, OnnxWriter::create(folder_ / "a.onnx", model, most));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "a.onnx"));
    std::vector<std::byte> bytes(2400 + 600, std::byte{7});
    for (size_t i = 2400; i < bytes.size(); ++i) bytes[i] = std::byte{9};
    for (size_t at = 0; at < bytes.size(); at += 1000) TRY_STATUS(writer.append(std::span(bytes).subspan(at, 1000)));
    return writer.finish();
  }
  std::multimap<uint64_t, std::string> graph() {
    const auto model = fields_of(read_file(folder_ / "a.onnx").value());
    EXPECT_EQ(field(fields_of(field(model, 8)), 2), "23");
    return fields_of(field(model, 7));
  }
  std::map<std::string, std::multimap<uint64_t, std::string>> tensors() {
    std::map<std::string, std::multimap<uint64_t, std::string>> out;
    const auto all = graph();
    for (auto [at, end] = all.equal_range(5); at != end; ++at) {
      const auto tensor = fields_of(at->second);
      out.emplace(field(tensor, 8), tensor);
    }
    return out;
  }
  Path folder_;
};

TEST_F(Onnx, HoldsNodesValuesAndWeights) {
  ASSERT_TRUE(write(OnnxWriter::kMaxBytes));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a.onnx_data"));
  const auto all = graph();
  EXPECT_EQ(all.count(1), 2u);
  const auto add = fields_of(std::next(all.find(1))->second);
  EXPECT_EQ(field(add, 4), "Add");
  const auto axis = fields_of(field(add, 5));
  EXPECT_EQ(field(axis, 3), std::to_string(static_cast<uint64_t>(-1)));
  const auto w = tensors().at("w"), b = tensors().at("b"), c = tensors().at("c");
  EXPECT_EQ(field(w, 9), std::string(2400, '\7'));
  EXPECT_EQ(field(b, 9), std::string(600, '\t'));
  EXPECT_EQ(field(b, 2), "10");
  EXPECT_EQ(field(c, 9), std::string(8, '\1'));
}

TEST_F(Onnx, PutsWhatWouldBeTooLongBesideTheFile) {
  ASSERT_TRUE(write(2000));
  const std::string data = read_file(folder_ / "a.onnx_data").value();
  for (const auto& [name, value, size] : {std::tuple{"w", '\7', 2400u}, std::tuple{"b", '\t', 600u}}) {
    const auto tensor = tensors().at(name);
    EXPECT_EQ(field(tensor, 14), "1");
    std::map<std::string, std::string> place;
    for (auto [at, end] = tensor.equal_range(13); at != end; ++at)
      place[field(fields_of(at->second), 1)] = field(fields_of(at->second), 2);
    EXPECT_EQ(place["location"], "a.onnx_data");
    EXPECT_EQ(place["length"], std::to_string(size));
    EXPECT_EQ(std::stoul(place["offset"]) % 4096, 0u);
    EXPECT_EQ(data.substr(std::stoul(place["offset"]), size), std::string(size, value));
  }
  EXPECT_TRUE(tensors().at("c").contains(9));
}

}  // namespace
}  // namespace onsight::formats
