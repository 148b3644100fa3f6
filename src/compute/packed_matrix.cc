#include "compute/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/file.h"
#include "compute/kernels/dot.h"
#include "compute/kernels/scalar.h"

namespace onsight::compute {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"f32", "bf16", "q8", "q4", "q10"};

int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

float from_f16(uint16_t half) {
  float out;
  to_f32(DType::kF16, reinterpret_cast<const std::byte*>(&half), &out, 1);
  return out;
}

// Codes −8…7 of a group with scale `d`; returns the squared error.
float encode(const float* w, float d, float* codes) {
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  float errors[kGroup];
  for (int i = 0; i < kGroup; ++i) {
    const float c = std::min(7.0f, std::max(-8.0f, nearest(w[i] * inverse)));
    codes[i] = c;
    errors[i] = (w[i] - c * d) * (w[i] - c * d);
  }
  for (int n = kGroup / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) errors[i] += errors[i + n];
  return errors[0];
}

// The scale of a group of 4-bit codes. Plain rounding lets the largest weight decide; here several shares of it are
// tried, each improved once by least squares for its codes, and the one with the smallest squared error wins.
uint16_t best_scale(const float* w, uint8_t* codes) {
  float most = 0;
  for (int i = 0; i < kGroup; ++i)
    if (std::fabs(w[i]) > std::fabs(most)) most = w[i];
  uint16_t best = 0;
  float kept[kGroup], tried[kGroup];
  float least = encode(w, 0, kept);
  for (float share : {-1 / 8.6f, -1 / 8.0f, -1 / 7.4f, -1 / 6.8f, 1 / 7.4f, 1 / 6.8f}) {
    uint16_t half = to_f16(most * share);
    for (int pass = 0; pass < 2; ++pass) {
      const float error = encode(w, from_f16(half), tried);
      if (error < least) {
        least = error;
        best = half;
        std::memcpy(kept, tried, sizeof kept);
      }
      if (pass == 1) break;
      float wc = 0, cc = 0;
      for (int i = 0; i < kGroup; ++i) {
        wc += w[i] * tried[i];
        cc += tried[i] * tried[i];
      }
      if (cc > 0) half = to_f16(wc / cc);
    }
  }
  for (int i = 0; i < kGroup; ++i) codes[i] = static_cast<uint8_t>(static_cast<int>(kept[i]) + 8);
  return best;
}

// One panel of up to kPanel rows w [rows][inputs].
void pack_q8(const float* w, int64_t rows, int64_t inputs, std::byte* panel, float* scales, int32_t* sums) {
  auto* out = reinterpret_cast<int8_t*>(panel);
  for (int64_t j = 0; j < kPanel; ++j) {
    float most = 0;
    for (int64_t k = 0; j < rows && k < inputs; ++k) most = std::max(most, std::fabs(w[j * inputs + k]));
    const float scale = most > 0 ? most / 127.0f : 1.0f, inverse = 1.0f / scale;
    int32_t sum = 0;
    for (int64_t k = 0; k < up(inputs, kQuad); ++k) {
      const float v = j < rows && k < inputs ? w[j * inputs + k] * inverse : 0.0f;
      const auto code = static_cast<int8_t>(nearest(v));
      out[(k / kQuad * kPanel + j) * kQuad + k % kQuad] = code;
      sum += code;
    }
    scales[j] = scale;
    sums[j] = sum;
  }
}

// What pack_q8 has left of the same rows. A row of zeros gets the scale 0, since no fine code stands for nothing.
void pack_fine(const float* w, int64_t rows, int64_t inputs, const std::byte* panel, float* scales, std::byte* fine,
               int32_t* sums) {
  const auto* codes = reinterpret_cast<const int8_t*>(panel);
  std::memset(fine, 0, static_cast<size_t>(up(inputs, kFineSteps * kQuad) / kFineSteps * kPanel));
  for (int64_t j = 0; j < kPanel; ++j) {
    const float inverse = 1.0f / scales[j];
    int32_t sum = 0;
    bool has_codes = false;
    for (int64_t k = 0; k < up(inputs, kQuad); ++k) {
      const int64_t quad = k / kQuad;
      const int8_t code = codes[(quad * kPanel + j) * kQuad + k % kQuad];
      const float v = j < rows && k < inputs ? w[j * inputs + k] * inverse : 0.0f;
      const float rest = (v - static_cast<float>(code)) * kFineSteps;
      int step = std::clamp(static_cast<int>(std::floor(rest)) + kFineSteps / 2, 0, kFineSteps - 1);
      if (rest == 0) step -= static_cast<int>(k % 2);  // many zeros must not add up to one side
      fine[(quad / kFineSteps * kPanel + j) * kQuad + k % kQuad] |=
          static_cast<std::byte>(step << (2 * (quad % kFineSteps)));
      sum += 2 * step - (kFineSteps - 1);
      has_codes |= code != 0;
    }
    sums[j] = sum;
    if (!has_codes) scales[j] = 0;
  }
}

void pack_q4(const float* w, int64_t rows, int64_t inputs, std::byte* panel, float* scales) {
  constexpr int kHalf = kGroup / 8;
  for (int64_t j = 0; j < kPanel; ++j) {
    float widest = 0;
    for (int64_t g = 0; g < up(inputs, kGroup) / kGroup; ++g) {
      float group[kGroup] = {};
      if (j < rows)
        std::memcpy(group, w + j * inputs + g * kGroup,
                    static_cast<size_t>(std::min<int64_t>(kGroup, inputs - g * kGroup)) * sizeof(float));
      uint8_t codes[kGroup];
      const uint16_t half = best_scale(group, codes);
      std::byte* out = panel + g * kGroupPanelBytes;
      for (int quad = 0; quad < kHalf; ++quad)
        for (int i = 0; i < kQuad; ++i)
          out[(quad * kPanel + j) * kQuad + i] =
              static_cast<std::byte>(codes[quad * kQuad + i] | codes[(quad + kHalf) * kQuad + i] << 4);
      std::memcpy(out + kGroup / 2 * kPanel + j * 2, &half, 2);
      widest = std::max(widest, std::fabs(from_f16(half)));
    }
    scales[j] = widest > 0 ? widest * 8 / 127.0f : 1.0f;
  }
}

}  // namespace

std::string_view to_string(WeightFormat format) { return kNames[static_cast<size_t>(format)]; }

std::optional<WeightFormat> weight_format(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<WeightFormat>(i);
  return std::nullopt;
}

int64_t PackedMatrix::panel_bytes(WeightFormat format, int64_t inputs) {
  switch (format) {
    case WeightFormat::kF32:
      return inputs * kPanel * 4;
    case WeightFormat::kBF16:
      return inputs * kPanel * 2;
    case WeightFormat::kQ8:
      return up(inputs, kQuad) * kPanel;
    case WeightFormat::kQ10:
      return panel_bytes(WeightFormat::kQ8, inputs) + up(inputs, kFineSteps * kQuad) / kFineSteps * kPanel;
    case WeightFormat::kQ4:
      return up(inputs, kGroup) / kGroup * kGroupPanelBytes;
  }
  return 0;
}

int64_t PackedMatrix::packed_bytes(WeightFormat format, int64_t outputs, int64_t inputs) {
  const int64_t padded = up(outputs, kPanel);
  int64_t extra = 0;
  if (format == WeightFormat::kQ4) extra = 4;
  if (format == WeightFormat::kQ8) extra = 8;
  if (format == WeightFormat::kQ10) extra = 12;
  return padded / kPanel * panel_bytes(format, inputs) + padded * extra;
}

bool PackedMatrix::can_rotate(WeightFormat format, int64_t inputs) {
  return is_codes(format) && inputs % kRotated == 0;
}

void PackedMatrix::rest() const {
  if (data_ && own_.bytes() == 0) release_pages({data_, static_cast<size_t>(bytes())});
}

PackedMatrix PackedMatrix::view(WeightFormat format, int64_t outputs, int64_t inputs, const std::byte* data,
                                bool rotated) {
  PackedMatrix m;
  m.format_ = format;
  m.rotated_ = rotated;
  m.outputs_ = outputs;
  m.inputs_ = inputs;
  m.data_ = data;
  return m;
}

PackedMatrix PackedMatrix::pack(const Tensor& source, WeightFormat format, const Packing& packing) {
  ONSIGHT_CHECK(source.shape.rank() == 2 && info(source.dtype).is_weight);
  const int64_t outputs = source.shape[0], inputs = source.shape[1];
  Buffer data(static_cast<size_t>(packed_bytes(format, outputs, inputs)));
  PackedMatrix m = view(format, outputs, inputs, data.data(), packing.rotated && can_rotate(format, inputs));
  const int64_t row_bytes = bytes_of(source.dtype, inputs);
  const auto pack_panel = [&](int64_t p, int) {
    const int64_t rows = std::min<int64_t>(kPanel, outputs - p * kPanel);
    std::vector<float> wide(static_cast<size_t>(rows * inputs));
    to_f32(source.dtype, source.data + p * kPanel * row_bytes, wide.data(), rows * inputs);
    if (packing.input_scale)
      for (int64_t i = 0; i < rows * inputs; ++i) wide[static_cast<size_t>(i)] *= packing.input_scale[i % inputs];
    for (int64_t r = 0; m.rotated_ && r < rows; ++r) scalar_rotate(&wide[static_cast<size_t>(r * inputs)], inputs);
    std::byte* to = data.data() + p * panel_bytes(format, inputs);
    float* scales = const_cast<float*>(m.scales(p));
    switch (format) {
      case WeightFormat::kQ8:
        return pack_q8(wide.data(), rows, inputs, to, scales, const_cast<int32_t*>(m.sums(p)));
      case WeightFormat::kQ10:
        pack_q8(wide.data(), rows, inputs, to, scales, const_cast<int32_t*>(m.sums(p)));
        return pack_fine(wide.data(), rows, inputs, to, scales, const_cast<std::byte*>(m.fine_panel(p)),
                         const_cast<int32_t*>(m.fine_sums(p)));
      case WeightFormat::kQ4:
        return pack_q4(wide.data(), rows, inputs, to, scales);
      case WeightFormat::kF32:
      case WeightFormat::kBF16:
        break;
    }
    constexpr int64_t kBlock = 64;  // keeps both sides in the first-level cache
    for (int64_t k0 = 0; k0 < inputs; k0 += kBlock)
      for (int64_t r = 0; r < kPanel; ++r)
        for (int64_t k = k0; k < std::min(inputs, k0 + kBlock); ++k) {
          const float v = r < rows ? wide[static_cast<size_t>(r * inputs + k)] : 0.0f;
          if (format == WeightFormat::kF32)
            reinterpret_cast<float*>(to)[k * kPanel + r] = v;
          else
            reinterpret_cast<uint16_t*>(to)[k * kPanel + r] = to_bf16(v);
        }
  };
  if (packing.pool)
    packing.pool->run(m.panels(), pack_panel);
  else
    for (int64_t p = 0; p < m.panels(); ++p) pack_panel(p, 0);
  m.own_ = std::move(data);
  return m;
}

void PackedMatrix::row(int64_t output, float* out) const {
  const std::byte* base = panel(output / kPanel);
  const int64_t j = output % kPanel;
  for (int64_t k = 0; k < inputs_; ++k) {
    switch (format_) {
      case WeightFormat::kF32:
        to_f32(DType::kF32, base + (k * kPanel + j) * 4, out + k, 1);
        break;
      case WeightFormat::kBF16:
        to_f32(DType::kBF16, base + (k * kPanel + j) * 2, out + k, 1);
        break;
      case WeightFormat::kQ8:
      case WeightFormat::kQ10: {
        const int64_t quad = k / kQuad, at = j * kQuad + k % kQuad;
        auto code = static_cast<float>(reinterpret_cast<const int8_t*>(base)[quad * kPanel * kQuad + at]);
        if (format_ == WeightFormat::kQ10) {
          const auto four = static_cast<uint8_t>(fine_panel(output / kPanel)[quad / kFineSteps * kPanel * kQuad + at]);
          const int fine = four >> (2 * (quad % kFineSteps)) & (kFineSteps - 1);
          code += static_cast<float>(2 * fine - (kFineSteps - 1)) * kFineScale;
        }
        out[k] = scales(output / kPanel)[j] * code;
        break;
      }
      case WeightFormat::kQ4: {
        const std::byte* group = base + k / kGroup * kGroupPanelBytes;
        const int64_t quad = k % kGroup / kQuad;
        const auto both = static_cast<uint8_t>(group[(quad % (kGroup / 8) * kPanel + j) * kQuad + k % kQuad]);
        float scale;
        to_f32(DType::kF16, group + kGroup / 2 * kPanel + j * 2, &scale, 1);
        out[k] = scale * static_cast<float>((quad < kGroup / 8 ? both & 15 : both >> 4) - 8);
        break;
      }
    }
  }
  if (rotated_) scalar_rotate(out, inputs_);
}

}  // namespace onsight::compute
