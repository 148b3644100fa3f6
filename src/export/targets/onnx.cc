// --to onnx: the three graphs that transformers.js and optimum run, with the settings beside them.
#include "export/targets/onnx_graph.h"
#include "export/targets/targets.h"

namespace onsight::exports {
namespace {

using compute::DType;
using compute::Graph;
using compute::Value;
using compute::WeightFormat;

struct OnnxFormat {
  std::string_view name, js, suffix;  // js: as transformers.js calls it
  DType plain;                        // of what is not in codes
  models::WeightFormats codes;
};
// Pictures lose more than text where weights are rounded to 4 bits.
const OnnxFormat kOnnxFormats[] = {{"f16", "fp16", "_fp16", DType::kF16, {}},
                                   {"f32", "fp32", "", DType::kF32, {}},
                                   {"int8", "int8", "_int8", DType::kF16, {WeightFormat::kQ8, WeightFormat::kQ8}},
                                   {"q4", "q4", "_q4", DType::kF16, {WeightFormat::kQ8, WeightFormat::kQ4}}};

// Pictures of padding are left out: those without any value but zero, or with an empty mask.
void add_vision(const models::Model& network, OnnxGraph& out) {
  const int64_t side = network.facts().tile_size;
  const std::string pixels =
      out.input("pixel_values", DType::kF32, {"batch_size", "num_images", int64_t{3}, side, side});
  const std::string mask = out.input("pixel_attention_mask", DType::kBool, {"batch_size", "num_images", side, side});
  out.output("image_features", DType::kF32,
             {"num_real_images", int64_t{network.facts().tokens_per_tile}, int64_t{network.facts().text_width}});
  const std::string tiles = out.add("Reshape", {pixels, out.ints({-1, 3, side, side})});
  const auto any = [&](const std::string& x, const std::vector<int64_t>& axes) {
    return out.add("Cast", {out.add("ReduceMax", {x, out.ints(axes)}, {{"keepdims", int64_t{0}}})},
                   {{"to", int64_t{9}}});
  };
  const std::string seen = any(out.add("Abs", {tiles}), {1, 2, 3});
  const std::string shown =
      any(out.add("Cast", {out.add("Reshape", {mask, out.ints({-1, side * side})})}, {{"to", int64_t{1}}}), {1});
  out.add("Compress", {tiles, out.add("And", {seen, shown})}, {{"axis", int64_t{0}}}, "tiles");
  Graph graph;
  const Value value = graph.input("tiles", DType::kF32, {1, 3, side, side});
  graph.output("image_features", network.vision(graph, value));
  out.lower(graph);
}

void add_embedding(const models::Model& network, OnnxGraph& out) {
  out.input("input_ids", DType::kI64, {"batch_size", "sequence_length"});
  out.output("inputs_embeds", DType::kF32, {"batch_size", "sequence_length", int64_t{network.facts().text_width}});
  Graph graph;
  const Value ids = graph.input("input_ids", DType::kI32, {1});
  graph.output("inputs_embeds", network.embed(graph, ids));
  out.lower(graph);
}

// What a row may see: itself and what stands before it, without the padding. Finite, so that a row of padding, which
// sees nothing, is no NaN.
std::string add_bias(OnnxGraph& out, const std::string& embeddings, const std::string& mask) {
  const auto length = [&](const std::string& x) {
    const std::string extent = out.add("Shape", {x}, {{"start", int64_t{1}}, {"end", int64_t{2}}});
    return out.add("Squeeze", {extent});
  };
  const std::string rows = length(embeddings), keys = length(mask), one = out.integer(1);
  const std::string key = out.add("Range", {out.integer(0), keys, one});
  const std::string row = out.add("Range", {out.add("Sub", {keys, rows}), keys, one});
  const std::string before = out.add("LessOrEqual", {key, out.add("Unsqueeze", {row, out.ints({1})})});
  const std::string real = out.add("Cast", {out.add("Unsqueeze", {mask, out.ints({1, 2})})}, {{"to", int64_t{9}}});
  const std::string visible = out.add("And", {before, real});
  return out.add("Where", {visible, out.number(0), out.number(-1e9f)});
}

void add_decoder(const models::Model& network, OnnxGraph& out) {
  const models::ModelFacts& facts = network.facts();
  const std::string embeddings =
      out.input("inputs_embeds", DType::kF32, {"batch_size", "sequence_length", int64_t{facts.text_width}});
  const std::string mask = out.input("attention_mask", DType::kI64, {"batch_size", "total_sequence_length"});
  out.input("position_ids", DType::kI64, {"batch_size", "sequence_length"});
  out.output("logits", DType::kF32, {"batch_size", "sequence_length", int64_t{facts.vocabulary_size}});
  const std::string bias = add_bias(out, embeddings, mask);
  Graph graph;
  const Value x = graph.input("inputs_embeds", DType::kF32, {1, facts.text_width});
  const Value positions = graph.input("position_ids", DType::kI32, {1});
  graph.output("logits", network.head(graph, network.text(graph, x, positions)));
  out.lower(graph, bias);
}

constexpr std::string_view kOnnxUsage = R"(With transformers.js in Node:

```js
import { AutoModelForImageTextToText, AutoProcessor, env, load_image } from '@huggingface/transformers';

env.allowRemoteModels = false;  // '.': this folder
const processor = await AutoProcessor.from_pretrained('.');
const model = await AutoModelForImageTextToText.from_pretrained('.');
const content = [{ type: 'image' }, { type: 'text', text: 'Describe this image.' }];
const prompt = processor.apply_chat_template([{ role: 'user', content }], { add_generation_prompt: true });
const inputs = await processor(prompt, [await load_image('photo.jpg')]);
const ids = await model.generate({ ...inputs, max_new_tokens: 100 });
console.log(processor.batch_decode(ids.slice(null, [inputs.input_ids.dims.at(-1), null]), { skip_special_tokens: true })[0]);
```

With onnxruntime and transformers, in Python:

```python
import numpy as np
import onnxruntime
from transformers import AutoConfig, AutoProcessor, GenerationConfig
from transformers.image_utils import load_image

vision, embed, decoder = (onnxruntime.InferenceSession(f"onnx/{name}SUFFIX.onnx") for name in ("vision_encoder", "embed_tokens", "decoder_model_merged"))
config, processor = AutoConfig.from_pretrained("."), AutoProcessor.from_pretrained(".")
content = [{"type": "image"}, {"type": "text", "text": "Describe this image."}]
prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
inputs = processor(text=prompt, images=[load_image("photo.jpg")], return_tensors="np")

ids, mask, answer = inputs["input_ids"], inputs["attention_mask"], []
pixels = inputs["pixel_values"].astype(np.float32)
features = vision.run(None, {"pixel_values": pixels, "pixel_attention_mask": np.ones((*pixels.shape[:2], *pixels.shape[3:]), bool)})[0]
cache = {i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32) for i in decoder.get_inputs() if i.name.startswith("past")}
ends = np.ravel(GenerationConfig.from_pretrained(".").eos_token_id)
while len(answer) < 100 and not (answer and answer[-1] in ends):
    x = embed.run(None, {"input_ids": ids})[0]
    x[ids == config.image_token_id] = features.reshape(-1, features.shape[-1]) if not answer else 0
    places = np.cumsum(mask, -1)[:, -ids.shape[1] :] - 1
    logits, *present = decoder.run(None, {"inputs_embeds": x, "attention_mask": mask, "position_ids": places, **cache})
    cache, ids = dict(zip(cache, present)), logits[:, -1:].argmax(-1)
    mask = np.concatenate([mask, np.ones_like(ids)], 1)
    answer.append(int(ids[0, 0]))
print(processor.decode(answer, skip_special_tokens=True))
```
)";

// The settings, which say where the weights are.
Status write_settings(Job& job, const OnnxFormat& format, const Json& with_data) {
  TRY(models::JsDescription about, job.outline.js());
  about.files["config.json"]["transformers.js_config"] = {{"dtype", format.js}};
  if (!with_data.empty()) about.files["config.json"]["transformers.js_config"]["use_external_data_format"] = with_data;
  for (const auto& [file, json] : about.files)
    TRY_STATUS(job.write_file(file, json.dump(2) + "\n", "settings, with what transformers.js looks for"));
  std::string usage(kOnnxUsage);
  usage.replace(usage.find("SUFFIX"), std::string_view("SUFFIX").size(), format.suffix);
  job.usage = std::move(usage);
  for (const std::string& note : about.notes) job.usage += fmt::format("\nBeware: {}.\n", note);
  return job.copy_settings();
}

Status write_onnx(Job& job) {
  const OnnxFormat& format = chosen_format(job, kOnnxFormats);
  OnnxGraph vision(job, format.codes, format.plain), embedding(job, format.codes, format.plain),
      decoder(job, format.codes, format.plain);
  add_vision(job.outline.network, vision);
  add_embedding(job.outline.network, embedding);
  add_decoder(job.outline.network, decoder);
  job.total = vision.bytes() + embedding.bytes() + decoder.bytes();
  Json with_data = Json::object();
  for (const auto& [graph, name, what] : {std::tuple<const OnnxGraph&, std::string_view, std::string_view>{
                                              vision, "vision_encoder", "the vision tower and the connector"},
                                          {embedding, "embed_tokens", "the embedding"},
                                          {decoder, "decoder_model_merged", "the text model, with its cache"}}) {
    const std::string file = fmt::format("{}{}.onnx", name, format.suffix);
    TRY(const bool has_data, graph.write("onnx/" + file, std::string(what)));
    if (has_data) with_data[file] = 1;
  }
  return write_settings(job, format, with_data);
}

}  // namespace

const Target kOnnx = {"onnx",
                      "a folder of ONNX models, for transformers.js and onnxruntime",
                      {{kDtype,
                        "FORMAT",
                        "the weights' number format; q4 for the text model alone, int8 for the rest",
                        {"f16", "f32", "int8", "q4"}}},
                      write_onnx};

}  // namespace onsight::exports
