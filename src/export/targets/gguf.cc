// --to gguf: the pair of files that llama.cpp runs, a text model and its projector ("mmproj").
#include "export/targets/targets.h"
#include "formats/gguf_writer.h"

namespace onsight::exports {
namespace {

using compute::DType;

struct GgufFormat {
  std::string_view name;
  DType text, projector;
  uint32_t text_id, projector_id;  // general.file_type
};
// Pictures lose more than text where the projector is rounded to blocks, and it is small.
constexpr GgufFormat kGgufFormats[] = {
    {"f16", DType::kF16, DType::kF16, 1, 1},
    {"bf16", DType::kBF16, DType::kBF16, 32, 32},
    {"f32", DType::kF32, DType::kF32, 0, 0},
    {"q8_0", DType::kQ8_0, DType::kF16, 7, 1},
};

// llama.cpp multiplies with matrices in any format; norms, biases, the table of positions and the convolution of
// patches it wants in f32.
DType format_of(const models::TensorSpec& spec, DType wanted) {
  const bool is_matrix = spec.shape.rank() == 2 && (spec.quantisable() || !spec.vision);
  if (!is_matrix) return DType::kF32;
  return spec.shape[1] % compute::info(wanted).block == 0 ? wanted : DType::kF16;
}

Status write_part(Job& job, const std::string& file, const formats::GgufValues& values, bool vision, DType wanted) {
  std::vector<const models::TensorSpec*> specs;
  std::vector<formats::GgufEntry> entries;
  for (const models::TensorSpec* spec : job.tensors()) {
    if (spec->vision != vision) continue;
    specs.push_back(spec);
    entries.push_back({spec->gguf_name, format_of(*spec, wanted), spec->shape});
  }
  TRY(auto writer, formats::GgufWriter::create(job.folder / file, values, entries));
  for (size_t i = 0; i < specs.size(); ++i) {
    const models::TensorRows rows(job.checkpoint, *specs[i]);
    const auto row_at = [&](int64_t row) { return specs[i]->row_of_gguf(row); };
    TRY_STATUS(append_rows(
        job, rows, entries[i].dtype, [&](auto bytes) { return writer.append(bytes); },
        specs[i]->rotary_heads ? RowAt(row_at) : nullptr));
  }
  return writer.finish();
}

formats::GgufValues with_general(const formats::GgufValues& values, std::string_view type, std::string_view name,
                                 uint32_t file_type) {
  formats::GgufValues out = {values.front(),  // the architecture comes first
                             {"general.type", std::string(type)},
                             {"general.name", std::string(name)},
                             {"general.file_type", file_type},
                             {"general.quantization_version", uint32_t{2}}};
  out.insert(out.end(), values.begin() + 1, values.end());
  return out;
}

Status write_gguf(Job& job) {
  TRY(const models::GgufDescription about, job.outline.gguf());
  const GgufFormat& format = chosen_format(job, kGgufFormats);
  const auto label = [](DType dtype) { return compute::info(dtype).name; };
  const std::string text = fmt::format("{}-{}.gguf", job.name, label(format.text));
  const std::string projector = fmt::format("mmproj-{}-{}.gguf", job.name, label(format.projector));
  for (const models::TensorSpec* spec : job.tensors())
    job.total +=
        compute::bytes_of(format_of(*spec, spec->vision ? format.projector : format.text), spec->shape.elements());
  TRY_STATUS(write_part(job, text, with_general(about.text, "model", job.name, format.text_id), false, format.text));
  TRY_STATUS(write_part(job, projector, with_general(about.projector, "mmproj", job.name, format.projector_id), true,
                        format.projector));
  job.files.emplace_back(text, "the text model, its tokenizer and chat template");
  job.files.emplace_back(projector, "the vision tower and the connector");
  job.usage = fmt::format(
      "```sh\nllama-mtmd-cli -m {0} --mmproj {1} --image photo.jpg -p \"Describe this image.\"\n"
      "llama-server -m {0} --mmproj {1}\nonsight ask --model {0} --image photo.jpg\n```\n",
      text, projector);
  if (!about.not_kept.empty()) {
    job.usage += "\nGGUF files do not keep:\n\n";
    for (const std::string& line : about.not_kept) job.usage += fmt::format("- {}\n", line);
  }
  return {};
}

}  // namespace

const Target kGguf = {
    "gguf",
    "a pair of GGUF files, for llama.cpp",
    {{kDtype, "FORMAT", "the weights' number format; q8_0 for the text model alone", {"f16", "bf16", "f32", "q8_0"}}},
    write_gguf};

}  // namespace onsight::exports
