#include "formats/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace onsight::formats {
namespace {

using compute::DType;
using compute::Shape;
using compute::Tensor;

class Npy : public testing::Test {
 protected:
  void SetUp() override { path_ = std::filesystem::temp_directory_path() / fmt::format("onsight_{}.npy", ::getpid()); }
  void TearDown() override { std::filesystem::remove(path_); }

  void write(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }
  // Reads a version 1 file with this dict, padded, and these values.
  Result<NpyArray> read(std::string dict, size_t value_bytes, bool pad = true) {
    if (pad) dict.append(63 - (10 + dict.size()) % 64, ' ').push_back('\n');
    std::string file = "\x93NUMPY";
    file += {'\x01', '\x00', static_cast<char>(dict.size() & 255), static_cast<char>(dict.size() >> 8)};
    write(file + dict + std::string(value_bytes, '\1'));
    return read_npy(path_);
  }
  Path path_;
};

TEST_F(Npy, KeepsValuesTypesAndShapes) {
  std::vector<float> values = {1.5f, -2, 3e-40f, 4, 5, 6};
  auto round_trip = [&](DType dtype, Shape shape) {
    Tensor tensor{dtype, shape, reinterpret_cast<const std::byte*>(values.data())};
    ASSERT_TRUE(write_npy(path_, tensor));
    EXPECT_EQ((std::filesystem::file_size(path_) - static_cast<size_t>(tensor.bytes())) % 64, 0u);
    NpyArray array = read_npy(path_).value();
    EXPECT_EQ(array.dtype, dtype);
    EXPECT_EQ(array.shape, shape);
    EXPECT_EQ(std::memcmp(array.tensor().data, tensor.data, static_cast<size_t>(tensor.bytes())), 0);
  };
  round_trip(DType::kF32, {2, 3});
  round_trip(DType::kF32, {});
  round_trip(DType::kI32, {6});
  round_trip(DType::kI64, {1, 3});
  round_trip(DType::kU8, {1, 2, 3, 4, 1});
  round_trip(DType::kF32, {0, 7});
}

TEST_F(Npy, LeavesNoFileWhenItCannotWrite) {
  float value = 1;
  Tensor tensor{DType::kBF16, {1}, reinterpret_cast<const std::byte*>(&value)};
  EXPECT_EQ(write_npy(path_, tensor).error().code, ErrorCode::kUsage);
  EXPECT_FALSE(std::filesystem::exists(path_));
  tensor.dtype = DType::kF32;
  EXPECT_EQ(write_npy("/nonexistent/a.npy", tensor).error().code, ErrorCode::kIo);
}

TEST_F(Npy, ReadsHeadersAsNumPyVersionsWriteThem) {
  EXPECT_TRUE(read("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24));
  EXPECT_TRUE(read("{'shape': (6,), 'fortran_order': False, 'descr': '<f4'}", 24));
  EXPECT_TRUE(read("{\"descr\":\"<i8\",\"fortran_order\":False,\"shape\":(3,)}", 24));
  EXPECT_EQ(read("{'descr': '|b1', 'fortran_order': False, 'shape': (), }", 1)->shape.rank(), 0);
}

TEST_F(Npy, RefusesLyingHeaders) {
  EXPECT_NE(read("{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", 24)
                .error()
                .message.find("expected the bytes of [7] f32 values, found 24 bytes"),
            std::string::npos);
  EXPECT_FALSE(read("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", 24, /*pad=*/false));
  for (const char* dict : {"",
                           "{",
                           "{}",
                           "{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }",
                           "{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }",
                           "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }",
                           "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (6.0,), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': 6, }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (6, }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (,6), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 6), }",
                           "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,), }",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}",
                           "{'descr': '<f4', 'fortran_order': False}",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } x",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)"})
    EXPECT_FALSE(read(dict, 24)) << dict;
}

TEST_F(Npy, RefusesAFileCutAnywhere) {
  std::vector<float> values(6, 1.0f);
  ASSERT_TRUE(write_npy(path_, {DType::kF32, {6}, reinterpret_cast<const std::byte*>(values.data())}));
  std::string whole = read_file(path_).value();
  for (size_t n = 0; n < whole.size(); ++n) {
    write(whole.substr(0, n));
    ASSERT_FALSE(read_npy(path_)) << n;
  }
  whole[6] = 9;
  write(whole);
  EXPECT_FALSE(read_npy(path_));
}

}  // namespace
}  // namespace onsight::formats
