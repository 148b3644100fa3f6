// OnnxGraph: an ONNX model in the making. What the engine runs is written down op by op, with a batch in front: rows
// [n, width] of a graph are [batch, n, width] here.
//
//   OnnxGraph out(job, formats, DType::kF32);
//   out.lower(graph);   // its inputs and outputs keep their names
//   job.total += out.bytes();
//   TRY_STATUS(out.write("onnx/decoder.onnx", "the decoder"));
#pragma once

#include <map>

#include "export/targets/job.h"
#include "formats/onnx_writer.h"

namespace onsight::exports {

// How the rows of a tensor become the bytes of a weight.
struct OnnxPacking {
  compute::DType dtype;
  std::string_view suffix;  // after the tensor's name
  bool columns;             // the other way round: [inputs, outputs]
  // What n values of a row become: so many of `dtype`, and they.
  int64_t (*width)(int64_t n);
  void (*pack)(std::span<const float> row, std::byte* out);
};

class OnnxGraph {
 public:
  using Attributes = std::vector<formats::OnnxAttribute>;
  using Extents = std::vector<std::variant<int64_t, std::string>>;

  // Matrices in `formats`, those that keep their numbers and tables in `plain`: f32 or f16.
  OnnxGraph(Job& job, models::WeightFormats formats, compute::DType plain);

  std::string input(std::string name, compute::DType dtype, Extents shape);
  void output(std::string name, compute::DType dtype, Extents shape);
  // Adds a node, and returns the name of its output.
  std::string add(std::string op, std::vector<std::string> inputs, Attributes attributes = {}, std::string output = "");
  // Constants: [n], [] and [].
  std::string ints(const std::vector<int64_t>& values);
  std::string integer(int64_t value);
  std::string number(float value);

  // All ops. Attention with a cache adds `bias` [batch, 1, rows, keys] to its scores, and makes the caches inputs and
  // outputs.
  void lower(const compute::Graph& graph, const std::string& bias = "");

  int64_t bytes() const;
  // One file, or two where one would be too long: whether they are two.
  Result<bool> write(const std::string& file, const std::string& what) const;

 private:
  struct Source {
    const models::TensorSpec* spec;
    const OnnxPacking* packing;
  };

  const models::TensorSpec& spec_of(const void* handle) const;
  std::string constant(compute::DType dtype, std::vector<int64_t> shape, const void* data, size_t bytes);
  std::string weight(const models::TensorSpec& spec, const OnnxPacking& packing, std::vector<int64_t> shape = {});
  std::string vector(const void* handle);
  std::string rows_at(const models::TensorSpec& table, const std::string& ids, bool in_codes);
  std::string product(const std::string& x, const models::TensorSpec& spec);
  std::string widened(const std::string& x);
  std::string activated(const std::string& x, compute::Activation activation);
  std::string turned(const std::string& x, const std::string& positions, const compute::Op& op);
  std::string attention(const compute::Op& op, std::vector<std::string> in, const std::string& bias);
  std::string unfolded(const std::string& pixels, const compute::Shape& shape, int64_t patch);
  std::string shuffled(const std::string& x, const compute::Shape& shape, const compute::Op& op);
  std::string lowered(const compute::Graph& graph, const compute::Op& op, const std::vector<std::string>& in,
                      const std::string& bias);
  Status append(formats::OnnxWriter& writer, const Source& source) const;

  Job& job_;
  models::WeightFormats formats_;
  compute::DType plain_;
  std::map<const void*, const models::TensorSpec*> specs_;
  formats::OnnxModel model_;
  std::vector<Source> sources_;              // of the model's weights
  std::map<std::string, std::string> made_;  // what is wanted more than once: description → name
};

}  // namespace onsight::exports
