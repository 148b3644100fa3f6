#include "models/tensor_rows.h"

namespace onsight::models {
namespace {

using compute::DType;
using formats::Checkpoint;

bool is_plain(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

// What a native file says of the tensor's source; calibration has put other numbers into the tower's vectors.
std::optional<DType> source_format(const Checkpoint& checkpoint, const TensorSpec& spec) {
  const auto& about = checkpoint.metadata();
  const auto calibrated = about.find("calibrated");
  if (spec.vision && !spec.quantisable() && calibrated != about.end() && calibrated->second != "no") return {};
  auto found = about.find(formats::native_source_format(spec.name));
  if (found == about.end()) found = about.find(formats::kNativeSourceFormat);
  if (found == about.end()) return {};
  const std::optional<DType> dtype = compute::dtype_from_name(found->second);
  return dtype && is_plain(*dtype) ? dtype : std::nullopt;
}

}  // namespace

TensorRows::TensorRows(const Checkpoint& checkpoint, const TensorSpec& spec)
    : spec_(&spec), packed_(checkpoint.find_packed(spec.name_in(checkpoint))) {
  if (packed_) {
    dtype_ = packed_->format == compute::WeightFormat::kBF16 ? DType::kBF16 : DType::kF32;
  } else {
    plain_ = *checkpoint.find(spec.name_in(checkpoint));
    reordered_ = !checkpoint.gguf().empty();
    dtype_ = is_plain(plain_.dtype) ? plain_.dtype : DType::kF32;
    if (!is_plain(plain_.dtype) && width() == 1) {
      widened_.resize(static_cast<size_t>(count()));
      compute::to_f32(plain_.dtype, plain_.data, widened_.data(), count());
      plain_.dtype = DType::kF32;
      plain_.data = reinterpret_cast<const std::byte*>(widened_.data());
    }
  }
  if (checkpoint.is_native()) dtype_ = source_format(checkpoint, spec).value_or(dtype_);
}

void TensorRows::read(int64_t first, int64_t n, float* out) const {
  if (packed_) {
    const compute::PackedMatrix matrix = packed_->matrix();
    for (int64_t i = 0; i < n; ++i) matrix.row(first + i, out + i * width());
    return;
  }
  const int64_t row_bytes = compute::bytes_of(plain_.dtype, width());
  if (!reordered_ || spec_->rotary_heads == 0)
    return compute::to_f32(plain_.dtype, plain_.data + first * row_bytes, out, n * width());
  for (int64_t i = 0; i < n; ++i)
    compute::to_f32(plain_.dtype, plain_.data + spec_->row_in_gguf(first + i) * row_bytes, out + i * width(), width());
}

void TensorRows::release() const {
  if (packed_) return release_pages({packed_->data, static_cast<size_t>(packed_->bytes())});
  if (widened_.empty()) release_pages({plain_.data, static_cast<size_t>(plain_.bytes())});
}

const std::string* find_rounded(const Checkpoint& checkpoint) {
  for (const auto& [name, packed] : checkpoint.packed())
    if (compute::is_codes(packed.format)) return &name;
  return nullptr;
}

}  // namespace onsight::models
