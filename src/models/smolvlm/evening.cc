#include "models/smolvlm/evening.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace onsight::models::smolvlm {
namespace {

using compute::Tensor;

// Mean squares that the parts write with, a channel of theirs being of size 1 before: pixels; values averaged over
// tokens; GELU of a normal variable. Only their proportion matters, and that little: one channel stands out by its
// weights.
constexpr double kPixelPower = 0.3, kAttentionPower = 0.1, kGeluPower = 0.35;
constexpr float kMost = 8;       // times the usual channel
constexpr double kShare = 0.25;  // of the unevenness that moves into the weights

class Channels {
 public:
  Channels(const formats::Checkpoint& checkpoint, std::vector<TensorSpec>& specs) : checkpoint_(checkpoint) {
    for (TensorSpec& spec : specs) std::visit([&](auto* target) { by_target_[target] = &spec; }, spec.target);
  }

  TensorSpec& spec(const void* target) const { return *by_target_.at(target); }

  // Calls body(row, values) for each row of the tensor that goes to `target`.
  template <class Body>
  void each_row(const void* target, const Body& body) const {
    const Tensor& tensor = *checkpoint_.find(spec(target).name_in(checkpoint_));
    const int64_t rows = tensor.shape[0], width = tensor.shape.elements() / rows;
    std::vector<float> values(static_cast<size_t>(width));
    for (int64_t r = 0; r < rows; ++r) {
      compute::to_f32(tensor.dtype, tensor.data + compute::bytes_of(tensor.dtype, r * width), values.data(), width);
      body(static_cast<size_t>(r), values);
    }
  }

  // power[r] += factor · |row r|²; returns the mean of |row|².
  double add_rows(const void* target, double factor, std::vector<double>& power) const {
    double all = 0;
    size_t rows = 0;
    each_row(target, [&](size_t r, const std::vector<float>& values) {
      double square = 0;
      for (float v : values) square += static_cast<double>(v) * v;
      if (r < power.size()) power[r] += factor * square;
      all += square;
      ++rows;
    });
    return all / static_cast<double>(rows);
  }

  // Evens out what a norm of channels of this power gives to the matrices.
  void apply(const Norm& norm, std::initializer_list<const compute::PackedMatrix*> matrices,
             const std::vector<double>& power) const {
    std::vector<float> factors;
    each_row(&norm.weight, [&](size_t r, const std::vector<float>& gain) {
      factors.push_back(
          static_cast<float>(std::pow(std::sqrt(power[r] + 1e-12) * (std::fabs(gain[0]) + 1e-6), kShare)));
    });
    std::vector<float> sorted = factors;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2), sorted.end());
    const float usual = sorted[sorted.size() / 2];
    for (float& f : factors) f = std::clamp(f / usual, 1 / kMost, kMost);
    const auto shared = std::make_shared<const std::vector<float>>(std::move(factors));
    spec(&norm.weight).evening = spec(&norm.bias).evening = shared;
    for (const compute::PackedMatrix* matrix : matrices) spec(matrix).evening = shared;
  }

 private:
  const formats::Checkpoint& checkpoint_;
  std::map<const void*, TensorSpec*> by_target_;
};

}  // namespace

void even_out(const formats::Checkpoint& checkpoint, const Weights& w, std::vector<TensorSpec>& specs,
              const WeightFormats& formats) {
  const bool in_codes = formats.vision == compute::WeightFormat::kQ8 || formats.vision == compute::WeightFormat::kQ4;
  if (!in_codes || checkpoint.is_native() || w.vision.empty()) return;
  const Channels channels(checkpoint, specs);
  std::vector<double> power(static_cast<size_t>(channels.spec(&w.post_norm.weight).shape[0]));
  channels.add_rows(&w.patch_embedding.weight, kPixelPower, power);
  const double positions = static_cast<double>(channels.spec(&w.position_embedding).shape[0]);
  channels.each_row(&w.position_embedding, [&](size_t, const std::vector<float>& values) {
    for (size_t i = 0; i < power.size(); ++i) power[i] += static_cast<double>(values[i]) * values[i] / positions;
  });
  for (const VisionLayer& layer : w.vision) {
    channels.apply(layer.norm1, {&layer.q.weight, &layer.k.weight, &layer.v.weight}, power);
    channels.add_rows(&layer.out.weight, kAttentionPower, power);
    channels.apply(layer.norm2, {&layer.fc1.weight}, power);
    std::vector<double> unused;
    const double hidden = channels.add_rows(&layer.fc1.weight, 0, unused);
    channels.add_rows(&layer.fc2.weight, kGeluPower * hidden, power);
  }
}

}  // namespace onsight::models::smolvlm
