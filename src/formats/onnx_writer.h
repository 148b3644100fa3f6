// OnnxWriter: writes an ONNX model, its weights tensor by tensor in the order in which they were announced.
//
//   OnnxModel model{.program = "onsight 0.1.0", .opset = 23};
//   model.nodes.push_back({"MatMul", {"x", "w"}, {"y"}});
//   model.weights.push_back({"w", DType::kF32, {8, 4}});
//   TRY(OnnxWriter writer, OnnxWriter::create("model.onnx", model));
//   for (…) TRY_STATUS(writer.append(bytes));   // of all weights, in pieces if need be
//   TRY_STATUS(writer.finish());                // until now nothing is under that name
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/file.h"
#include "compute/dtype.h"

namespace onsight::formats {

struct OnnxAttribute {
  std::string name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
};

struct OnnxNode {
  std::string op;
  std::vector<std::string> inputs, outputs;  // an input that is left out is empty
  std::vector<OnnxAttribute> attributes = {};
  std::string domain = {};  // empty: ONNX itself
};

// What the model takes or gives.
struct OnnxValue {
  std::string name;
  compute::DType dtype = compute::DType::kF32;
  std::vector<std::variant<int64_t, std::string>> shape;  // an extent, or the name of one that varies
};

struct OnnxTensor {
  std::string name;
  compute::DType dtype = compute::DType::kF32;
  std::vector<int64_t> shape;
  std::string data = {};  // of a constant: its bytes, little endian
  uint64_t bytes() const;
};

struct OnnxModel {
  std::string program;               // name and version of the one that made it
  int64_t opset = 0, microsoft = 0;  // versions of the ops; 0: none of them
  std::vector<OnnxNode> nodes = {};  // in an order in which they can run
  std::vector<OnnxValue> inputs = {}, outputs = {};
  std::vector<OnnxTensor> constants = {}, weights = {};  // weights have no data here
};

class OnnxWriter {
 public:
  // No message of protobuf is longer, with some room.
  static constexpr uint64_t kMaxBytes = (uint64_t{1} << 31) - (uint64_t{1} << 20);
  // Weights that would make the file longer than `most` go into one beside it, PATH_data.
  static Result<OnnxWriter> create(const Path& path, const OnnxModel& model, uint64_t most = kMaxBytes);
  bool has_data_file() const { return data_.has_value(); }
  Status append(std::span<const std::byte> bytes);
  Status finish();

 private:
  struct Piece {
    std::string before;  // what stands in front of a weight's bytes
    uint64_t bytes;
  };
  explicit OnnxWriter(AtomicFile file) : file_(std::move(file)) {}
  AtomicFile file_;
  std::optional<AtomicFile> data_;
  std::vector<Piece> pieces_;
  size_t next_ = 0;
  uint64_t missing_ = 0;  // bytes of the weight before next_
};

}  // namespace onsight::formats
