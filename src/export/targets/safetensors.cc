// --to safetensors: the folder of Hugging Face, as transformers loads it.
#include <map>

#include "export/targets/targets.h"
#include "formats/safetensors_writer.h"

namespace onsight::exports {
namespace {

constexpr std::string_view kSafetensorsUsage = R"(```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(".", dtype="auto")
processor = AutoProcessor.from_pretrained(".")
```
)";

Status write_safetensors(Job& job) {
  std::map<std::string_view, const models::TensorSpec*> specs;
  std::vector<formats::SafetensorsEntry> entries;
  for (const models::TensorSpec* spec : job.tensors()) {
    specs.emplace(spec->name, spec);
    entries.push_back({spec->name, models::TensorRows(job.checkpoint, *spec).dtype(), spec->shape});
    job.total += entries.back().bytes();
  }
  const std::string file = "model.safetensors";
  TRY(auto writer, formats::SafetensorsWriter::create(job.folder / file, {{"format", "pt"}}, std::move(entries)));
  for (const formats::SafetensorsEntry& entry : writer.entries()) {
    const models::TensorRows rows(job.checkpoint, *specs.at(entry.name));
    TRY_STATUS(append_rows(job, rows, entry.dtype, [&](auto bytes) { return writer.append(bytes); }));
  }
  TRY_STATUS(writer.finish());
  job.files.emplace_back(file, "the weights, in the number formats that they came in");
  job.usage = kSafetensorsUsage;
  return job.copy_settings();
}

}  // namespace

const Target kSafetensors = {
    "safetensors", "a checkpoint folder of Hugging Face, for transformers", {}, write_safetensors};

}  // namespace onsight::exports
