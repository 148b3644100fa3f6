// --to mlx: safetensors in the layout of MLX, its matrices in codes of 4 or 8 bits with a scale and a bias a group.
#include <algorithm>
#include <cmath>
#include <map>

#include "export/targets/targets.h"
#include "formats/safetensors_writer.h"

namespace onsight::exports {
namespace {

using compute::DType;
using models::TensorRows;
using models::TensorSpec;

constexpr std::string_view kBits = "--bits", kGroupSize = "--group-size", kWeight = ".weight";
constexpr int kWordBits = 32;

// weight = scale · code + bias, in groups along the inputs.
struct Codes {
  int bits = 0;  // 0: none
  int64_t group = 0;
  int64_t per_word() const { return kWordBits / bits; }
  // MLX reads codes of matrices only whose inputs are whole groups.
  bool fits(const TensorSpec& spec) const {
    constexpr int64_t kWhole = 64;
    return bits != 0 && !spec.vision && spec.shape.rank() == 2 && spec.shape[1] % group == 0 &&
           spec.shape.elements() % kWhole == 0;
  }
};

struct Group {
  float scale = 0, bias = 0;
};

float rounded(float x, DType dtype) {
  std::byte bytes[sizeof x];
  compute::from_f32(dtype, &x, bytes, 1);
  compute::to_f32(dtype, bytes, &x, 1);
  return x;
}

// The end of the range that is farther from zero is a multiple of the scale, so that zero has a code.
Group find_group(const float* w, int64_t n, int bits, DType dtype) {
  const auto [low, high] = std::minmax_element(w, w + n);
  const float levels = static_cast<float>((1 << bits) - 1);
  const bool from_low = std::fabs(*low) > std::fabs(*high);
  const float edge = from_low ? *low : *high, step = (*high - *low) / levels;
  if (step == 0) return {0, rounded(edge, dtype)};
  const float scale = from_low ? step : -step, steps = std::round(edge / scale);
  return {rounded(steps == 0 ? scale : edge / steps, dtype), rounded(steps == 0 ? 0 : edge, dtype)};
}

uint32_t code_of(float w, const Group& group, int bits) {
  if (group.scale == 0) return 0;
  const float most = static_cast<float>((1 << bits) - 1);
  return static_cast<uint32_t>(std::clamp(std::round((w - group.bias) / group.scale), 0.0f, most));
}

enum class Part { kPlain, kConvolution, kCodes, kScales, kBiases };

struct Source {
  const TensorSpec* spec;
  Part part;
};

class Weights {
 public:
  explicit Weights(Job& job) : job_(job) {
    codes_.bits = job.chosen(kBits) == "none" ? 0 : job.chosen(kBits) == "8" ? 8 : 4;
    codes_.group = std::stoi(job.chosen(kGroupSize));
    for (const TensorSpec* spec : job.tensors()) add(*spec, spec->name);
    // Over there a head is never shared.
    const TensorSpec& head = job.outline.specs.back();
    if (!sources_.contains(job.outline.head_name)) add(head, job.outline.head_name);
  }
  const Codes& codes() const { return codes_; }
  bool any_codes() const {
    return std::any_of(sources_.begin(), sources_.end(), [](const auto& s) { return s.second.part == Part::kCodes; });
  }

  Status write(const std::string& file) {
    for (const auto& entry : entries_) job_.total += entry.bytes();
    TRY(auto writer, formats::SafetensorsWriter::create(job_.folder / file, {{"format", "mlx"}}, std::move(entries_)));
    for (const formats::SafetensorsEntry& entry : writer.entries()) {
      const Source& source = sources_.at(entry.name);
      const TensorRows rows(job_.checkpoint, *source.spec);
      std::vector<std::byte> out;
      const auto append_piece = [&](std::span<const float> values) -> Status {
        out.clear();
        pack(values, *source.spec, source.part, rows.dtype(), out);
        TRY_STATUS(writer.append(out));
        return job_.advance(static_cast<int64_t>(out.size()));
      };
      TRY_STATUS(for_each_piece(rows, append_piece));
    }
    return writer.finish();
  }

 private:
  void add(const TensorSpec& spec, const std::string& name) {
    const DType dtype = TensorRows(job_.checkpoint, spec).dtype();
    const auto put = [&](const std::string& entry, DType type, const compute::Shape& shape, Part part) {
      entries_.push_back({entry, type, shape});
      sources_.emplace(entry, Source{&spec, part});
    };
    if (spec.shape.rank() == 4)
      return put(name, dtype, {spec.shape[0], spec.shape[2], spec.shape[3], spec.shape[1]}, Part::kConvolution);
    if (!codes_.fits(spec)) return put(name, dtype, spec.shape, Part::kPlain);
    const std::string base = name.substr(0, name.size() - kWeight.size());
    const int64_t rows = spec.shape[0], groups = spec.shape[1] / codes_.group;
    put(name, DType::kU32, {rows, spec.shape[1] / codes_.per_word()}, Part::kCodes);
    put(base + ".scales", dtype, {rows, groups}, Part::kScales);
    put(base + ".biases", dtype, {rows, groups}, Part::kBiases);
  }

  void pack(std::span<const float> values, const TensorSpec& spec, Part part, DType dtype,
            std::vector<std::byte>& out) const {
    if (part == Part::kPlain) return append(values, dtype, out);
    if (part == Part::kConvolution) return append(channels_last(values, spec.shape), dtype, out);
    std::vector<float> numbers;
    for (size_t at = 0; at < values.size(); at += static_cast<size_t>(codes_.group)) {
      const Group group = find_group(values.data() + at, codes_.group, codes_.bits, dtype);
      if (part == Part::kCodes)
        append_codes(values.subspan(at, static_cast<size_t>(codes_.group)), group, out);
      else
        numbers.push_back(part == Part::kScales ? group.scale : group.bias);
    }
    append(numbers, dtype, out);
  }

  static void append(std::span<const float> values, DType dtype, std::vector<std::byte>& out) {
    const auto n = static_cast<int64_t>(values.size());
    const size_t before = out.size();
    out.resize(before + static_cast<size_t>(compute::bytes_of(dtype, n)));
    compute::from_f32(dtype, values.data(), out.data() + before, n);
  }

  // The first code is in the lowest bits.
  void append_codes(std::span<const float> values, const Group& group, std::vector<std::byte>& out) const {
    for (size_t at = 0; at < values.size(); at += static_cast<size_t>(codes_.per_word())) {
      uint32_t word = 0;
      for (int64_t i = 0; i < codes_.per_word(); ++i)
        word |= code_of(values[at + static_cast<size_t>(i)], group, codes_.bits) << (i * codes_.bits);
      const auto bytes = std::as_bytes(std::span(&word, 1));
      out.insert(out.end(), bytes.begin(), bytes.end());
    }
  }

  // [outputs, channels, height, width] -> [outputs, height, width, channels]
  static std::vector<float> channels_last(std::span<const float> values, const compute::Shape& shape) {
    const auto channels = static_cast<size_t>(shape[1]), area = static_cast<size_t>(shape[2] * shape[3]);
    std::vector<float> out(values.size());
    for (size_t output = 0; output < values.size(); output += channels * area)
      for (size_t c = 0; c < channels; ++c)
        for (size_t i = 0; i < area; ++i) out[output + i * channels + c] = values[output + c * area + i];
    return out;
  }

  Job& job_;
  Codes codes_;
  std::map<std::string, Source, std::less<>> sources_;
  std::vector<formats::SafetensorsEntry> entries_;
};

constexpr std::string_view kMlxUsage = R"(```sh
pip install mlx-vlm
python -m mlx_vlm.generate --model . --image photo.jpg --prompt "Describe this image."
```
)";

Status write_mlx(Job& job) {
  TRY(models::MlxDescription about, job.outline.mlx());
  Weights weights(job);
  if (weights.any_codes())
    about.config["quantization"] = about.config["quantization_config"] = {
        {"group_size", weights.codes().group}, {"bits", weights.codes().bits}, {"mode", "affine"}};
  const std::string file = "model.safetensors";
  TRY_STATUS(weights.write(file));
  job.files.emplace_back(
      file, weights.any_codes() ? fmt::format("the weights; the text model's in codes of {} bits, a scale and a bias "
                                              "for {} of them",
                                              weights.codes().bits, weights.codes().group)
                                : "the weights");
  TRY_STATUS(job.write_file("config.json", about.config.dump(2) + "\n",
                            "the model's settings, with those that MLX looks for"));
  job.usage = kMlxUsage;
  for (const std::string& note : about.notes) job.usage += fmt::format("\nBeware: {}.\n", note);
  return job.copy_settings();
}

}  // namespace

const Target kMlx = {
    "mlx",
    "a folder for MLX and mlx-vlm",
    {{kBits, "N", "bits of a weight of the text model; none: the number formats that they came in", {"4", "8", "none"}},
     {kGroupSize, "N", "weights that share a scale", {"64", "32", "128"}}},
    write_mlx};

}  // namespace onsight::exports
