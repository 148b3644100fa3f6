// PackedMatrix: the weights of a linear layer in the one layout that the kernels read, made once or mapped from a file
// that holds it.
//
// Panels of kPanel outputs; outputs beyond the last are zero.
//   f32, bf16  [panel][input][kPanel]
//   q8         [panel][input/4][kPanel][4] i8, inputs filled up to a multiple of 4; then for all outputs, filled up to
//   whole
//              panels, a scale (f32: weight = scale · code) and the sum of the codes (i32)
//   q10        a panel as of q8; then [panel][input/16][kPanel][4] bytes of four 2-bit codes each, of the inputs 4, 8
//   and
//              12 further on too: weight = scale · (code + (2 · fine − 3) / 8). Then for all outputs as of q8, and the
//              sums of 2 · fine − 3 (i32)
//   q4         [panel][group] of kGroupPanelBytes bytes (kernels/dot.h), inputs filled up to a multiple of kGroup; then
//   for all
//              outputs the scale of the codes that a panel is widened to for many rows (f32)
#pragma once

#include <optional>
#include <string_view>

#include "base/thread_pool.h"
#include "compute/tensor.h"

namespace onsight::compute {

constexpr int kPanel = 32;

enum class WeightFormat : uint8_t { kF32, kBF16, kQ8, kQ4, kQ10 };
std::string_view to_string(WeightFormat format);  // "f32", "bf16", "q8", "q4", "q10"
std::optional<WeightFormat> weight_format(std::string_view name);

constexpr bool is_codes(WeightFormat format) { return format >= WeightFormat::kQ8; }

struct Packing {
  const float* input_scale = nullptr;  // [inputs] factors of the columns
  // Codes of the weights with their columns turned by kernels/scalar.h's rotate(), for inputs that are turned likewise:
  // what a few large inputs would have cost all others is shared out among 64. Only where the inputs divide by 64.
  bool rotated = false;
  ThreadPool* pool = nullptr;
};

class PackedMatrix {
 public:
  PackedMatrix() = default;
  // The format that keeps the numbers of a source type: bf16 stays bf16, all else becomes f32.
  static WeightFormat keeping(DType source) {
    return source == DType::kBF16 ? WeightFormat::kBF16 : WeightFormat::kF32;
  }
  // source: [outputs, inputs] row-major in any weight format of a checkpoint.
  static PackedMatrix pack(const Tensor& source) { return pack(source, keeping(source.dtype)); }
  static PackedMatrix pack(const Tensor& source, WeightFormat format, const Packing& packing = {});
  // A matrix of packed_bytes() bytes at `data`, aligned to 64, which the caller keeps alive.
  static PackedMatrix view(WeightFormat format, int64_t outputs, int64_t inputs, const std::byte* data,
                           bool rotated = false);
  // Whether pack() heeds Packing::rotated.
  static bool can_rotate(WeightFormat format, int64_t inputs);

  WeightFormat format() const { return format_; }
  bool rotated() const { return rotated_; }
  bool in_codes() const { return is_codes(format_); }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  const std::byte* data() const { return data_; }
  const std::byte* panel(int64_t p) const { return data_ + p * panel_bytes(format_, inputs_); }
  // All codes: of panel p, [kPanel].
  const float* scales(int64_t p) const { return reinterpret_cast<const float*>(data_ + tail()) + p * kPanel; }
  // q8 and q10: of panel p, [kPanel].
  const int32_t* sums(int64_t p) const {
    return reinterpret_cast<const int32_t*>(data_ + tail()) + (panels() + p) * kPanel;
  }
  // q10: of panel p, the fine codes and the sums of what they stand for, [kPanel].
  const std::byte* fine_panel(int64_t p) const { return panel(p) + panel_bytes(WeightFormat::kQ8, inputs_); }
  const int32_t* fine_sums(int64_t p) const {
    return reinterpret_cast<const int32_t*>(data_ + tail()) + (2 * panels() + p) * kPanel;
  }
  int64_t bytes() const { return packed_bytes(format_, outputs_, inputs_); }
  // Of a view() of a mapped file: its pages leave this process's memory until they are read again. Of others, nothing.
  void rest() const;
  static int64_t packed_bytes(WeightFormat format, int64_t outputs, int64_t inputs);
  // Row `output` as f32, out[inputs], not rotated.
  void row(int64_t output, float* out) const;

 private:
  static int64_t panel_bytes(WeightFormat format, int64_t inputs);
  int64_t tail() const { return panels() * panel_bytes(format_, inputs_); }
  WeightFormat format_ = WeightFormat::kF32;
  bool rotated_ = false;
  int64_t outputs_ = 0, inputs_ = 0;
  const std::byte* data_ = nullptr;
  Buffer own_;
};

}  // namespace onsight::compute
