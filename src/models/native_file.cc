#include "models/native_file.h"

#include <algorithm>
#include <set>

#include "formats/native_writer.h"
#include "models/settings_files.h"

namespace onsight::models {
namespace {

using compute::Buffer;
using compute::DType;
using compute::PackedMatrix;
using compute::Tensor;
using formats::NativeEntry;

struct Row {
  const TensorSpec* spec;
  const Tensor* stored;
  NativeEntry entry;
};

// Matrices first: their sizes are whole numbers of alignments. A table that is also the head is written as that alone.
std::vector<Row> order_rows(const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                            const WeightFormats& formats) {
  std::vector<Row> rows;
  std::set<std::string_view> matrices;
  for (const TensorSpec& spec : specs) {
    if (!spec.quantisable()) continue;
    const Tensor* stored = checkpoint.find(spec.name_in(checkpoint));
    const compute::WeightFormat format = formats.of(spec, stored->dtype);
    const int64_t inputs = spec.shape.elements() / spec.shape[0];
    rows.push_back({&spec,
                    stored,
                    {.name = spec.name,
                     .shape = spec.shape,
                     .packed = format,
                     .rotated = spec.rotated && PackedMatrix::can_rotate(format, inputs)}});
    matrices.insert(spec.name);
  }
  for (const bool widened : {true, false})
    for (const TensorSpec& spec : specs) {
      if (matrices.contains(spec.name) || std::holds_alternative<Buffer*>(spec.target) != widened) continue;
      const Tensor* stored = checkpoint.find(spec.name_in(checkpoint));
      // Blocks of ggml's have no name in safetensors.
      const bool is_plain = !widened && !compute::info(stored->dtype).safetensors.empty();
      rows.push_back(
          {&spec, stored, {.name = spec.name, .shape = spec.shape, .dtype = is_plain ? stored->dtype : DType::kF32}});
    }
  return rows;
}

Status append_row(formats::NativeWriter& writer, const formats::Checkpoint& checkpoint, const Row& row,
                  const BiasCorrections& corrections, ThreadPool& pool) {
  Buffer reordered;
  const Tensor stored = with_halves_apart(checkpoint, *row.spec, reordered);
  const int64_t n = stored.shape.elements();
  if (row.entry.packed) {
    Tensor flat = stored;
    flat.shape = {stored.shape[0], n / stored.shape[0]};
    const PackedMatrix matrix = pack(*row.spec, flat, *row.entry.packed, pool);
    TRY_STATUS(writer.append({matrix.data(), static_cast<size_t>(matrix.bytes())}));
  } else if (row.entry.dtype != stored.dtype || std::holds_alternative<Buffer*>(row.spec->target)) {
    std::vector<float> wide(static_cast<size_t>(n));
    compute::to_f32(stored.dtype, stored.data, wide.data(), n);
    for (size_t i = 0; row.spec->evening && i < wide.size(); ++i) wide[i] /= (*row.spec->evening)[i];
    if (const auto added = corrections.find(row.spec->name); added != corrections.end())
      for (size_t i = 0; i < wide.size(); ++i) wide[i] += added->second[i];
    TRY_STATUS(writer.append(std::as_bytes(std::span(wide))));
  } else {
    TRY_STATUS(writer.append({stored.data, static_cast<size_t>(stored.bytes())}));
  }
  release_pages({row.stored->data, static_cast<size_t>(stored.bytes())});
  return {};
}

std::string name_of(const std::optional<compute::WeightFormat>& format) {
  return format ? std::string(to_string(*format)) : "none";
}

// Of the source's number formats the commonest is named once, the others with their tensors: what was widened can be
// given back as it was.
void add_source_formats(const std::vector<Row>& rows, std::map<std::string, std::string>& metadata) {
  std::map<DType, int> counts;
  for (const Row& row : rows) ++counts[row.stored->dtype];
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  const DType commonest = std::max_element(counts.begin(), counts.end(), less)->first;
  metadata.emplace(formats::kNativeSourceFormat, compute::info(commonest).name);
  for (const Row& row : rows)
    if (row.stored->dtype != commonest)
      metadata.emplace(formats::native_source_format(row.spec->name), compute::info(row.stored->dtype).name);
}

}  // namespace

Status write_native(const FileSource& files, const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                    const ModelFacts& facts, const Conversion& conversion, const BiasCorrections& corrections,
                    ThreadPool& pool) {
  const std::vector<Row> rows = order_rows(checkpoint, specs, conversion.formats);
  std::vector<NativeEntry> entries;
  int64_t total = 0, done = 0;
  for (const Row& row : rows) {
    entries.push_back(row.entry);
    total += row.entry.bytes();
  }
  std::vector<std::string> settings;
  for (std::string_view name : kSettingsFiles) {
    if (!files.has(name)) continue;
    TRY(std::string bytes, files.read(name, kMaxSettingsBytes));
    entries.push_back({.name = formats::native_file_name(name), .shape = {static_cast<int64_t>(bytes.size())}});
    settings.push_back(std::move(bytes));
  }
  std::map<std::string, std::string> metadata = {
      {"architecture", facts.architecture},
      {"calibrated", corrections.empty() ? "no" : "vision"},
      {"parameters", std::to_string(facts.parameters)},
      {"program", conversion.program},
      {"quantisation.text", name_of(conversion.formats.text)},
      {"quantisation.vision", name_of(conversion.formats.vision)},
      {"source", name_of(Path(files.where()))},
  };
  add_source_formats(rows, metadata);
  const auto go_on = [&]() -> Status {
    if (!conversion.progress || conversion.progress(done, total)) return {};
    return make_error(ErrorCode::kInterrupted, "interrupted");
  };
  TRY(formats::NativeWriter writer, formats::NativeWriter::create(conversion.target, metadata, std::move(entries)));
  for (const Row& row : rows) {
    TRY_STATUS(go_on());
    TRY_STATUS(append_row(writer, checkpoint, row, corrections, pool));
    done += row.entry.bytes();
  }
  for (const std::string& bytes : settings) TRY_STATUS(writer.append(std::as_bytes(std::span(bytes))));
  TRY_STATUS(go_on());
  return writer.finish(conversion.check);
}

}  // namespace onsight::models
