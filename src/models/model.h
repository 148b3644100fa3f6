// Model: what the engine knows of an architecture. A folder under models/ implements it; CMake lists the folders in the
// generated registry.
//
//   TRY(OpenModel opened, open_model(path));
//   TRY(std::unique_ptr<Model> model, opened.def->load(path, std::move(opened.checkpoint), accept));
//   TRY(Prompt prompt, model->prompt(messages, images, {}));
//   Graph g;  Value features = model->vision(g, g.input("pixels", DType::kF32, {1, 3, t, t}));
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"
#include "compute/graph.h"
#include "compute/kv_cache.h"
#include "formats/checkpoint.h"
#include "media/image.h"
#include "media/video.h"
#include "models/tensor_spec.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace onsight::models {

// Facts that the engine and `inspect` need; none depends on the weights' values.
struct ModelFacts {
  std::string architecture;
  std::string vision_shape, text_shape;  // "d 768, 12 layers, 12 heads, FFN 3072"
  int64_t parameters = 0, vision_parameters = 0, text_parameters = 0;
  int64_t weight_bytes = 0;          // in memory, packed
  int64_t vision_scratch_bytes = 0;  // of one tile
  int tile_size = 0, patch_size = 0, tokens_per_tile = 0, max_tiles = 0;
  int context_length = 0, vocabulary_size = 0, text_width = 0;
  compute::KvLayout kv;
  std::vector<int32_t> end_tokens;  // an answer ends before any of these
};

// The documented ways to spend less on a picture; the defaults are the reference's behaviour.
struct PictureOptions {
  int max_tiles = 0;  // 0: no limit
  bool allow_upscale = true;
};

// What the kImage and kVideo parts of a conversation show, each kind in its order.
struct Attachments {
  std::vector<std::shared_ptr<const media::Image>> images;
  PictureOptions picture;
  std::vector<media::Clip> clips;
  // Frames of the clips that have been read, and of how many; false ends it with ErrorCode::kInterrupted.
  std::function<bool(int64_t done, int64_t total)> on_frame = nullptr;
};

// Token ids with pictures cut into tiles: image_positions[i] is where feature row i (of all tiles in order) stands in
// ids.
struct Prompt {
  std::vector<int32_t> ids;
  std::vector<media::Image> tiles;
  std::vector<int32_t> image_positions;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelFacts& facts() const = 0;
  virtual const text::Tokenizer& tokenizer() const = 0;

  // Applies the chat template, inserts the tokens of each picture and video, tokenises, cuts the pictures into tiles
  // and takes frames out of the videos, each a tile. Text of messages never becomes a control token.
  virtual Result<Prompt> prompt(const std::vector<text::ChatMessage>& messages,
                                const Attachments& attachments) const = 0;
  // Pixels of one tile as the vision tower takes them: out [3, tile_size, tile_size].
  virtual void normalise(const media::Image& tile, float* out) const = 0;

  // The three parts of the network append themselves to a graph. Observed values carry the names of Engine::trace.
  // pixels [tiles, 3, T, T] -> image features [tiles · tokens_per_tile, text_width]
  virtual compute::Value vision(compute::Graph& graph, compute::Value pixels) const = 0;
  // When no tile waits to be read: those weights of the tower that are read from a mapped file leave this process's
  // memory, and come back from the system's cache of files with the next tile.
  virtual void rest_vision() const = 0;
  virtual compute::Value embed(compute::Graph& graph, compute::Value ids) const = 0;  // ids [n] -> [n, text_width]
  // embeddings [n, text_width], positions [n] -> hidden states after the last norm [n, text_width]; reads and writes
  // the bound caches. Given `wanted` [m] i32, rows in rising order: their hidden states only, [m, text_width]; what the
  // others have to be computed for is their keys and values.
  virtual compute::Value text(compute::Graph& graph, compute::Value embeddings, compute::Value positions,
                              compute::Value wanted = {}) const = 0;
  virtual compute::Value head(compute::Graph& graph, compute::Value hidden) const = 0;  // -> logits [n, vocabulary]
};

// How a checkpoint becomes a native file.
struct Conversion {
  Path target;
  WeightFormats formats;
  bool calibrate = false;  // correct the vision tower's biases for the rounding of its weights
  std::string program;     // name and version of this one, kept in the file
  std::function<bool(int64_t done, int64_t total)> progress = nullptr;  // bytes; false ends it
  std::function<Status(const Path& written)> check = nullptr;  // of the whole file, before it gets the target's name
};

struct Outline;  // outline.h

// A row of the registry: one architecture.
struct ModelDef {
  std::string_view id;
  // True if config.json's "architectures" or "model_type" is this architecture's.
  bool (*matches)(const Json& config);
  // The same of the metadata of GGUF files: the text model's and its projector's.
  bool (*matches_gguf)(const formats::GgufMetadata& text, const formats::GgufMetadata& projector);
  // `path` is the folder; a checkpoint of GGUF files describes the model itself.
  Result<ModelFacts> (*inspect)(const Path& path, const formats::Checkpoint& checkpoint, const WeightFormats& formats);
  // Takes the checkpoint over and brings the weights into `formats`: embeddings are read from the mapped file. `accept`
  // sees the facts before any weight is read.
  Result<std::unique_ptr<Model>> (*load)(
      const Path& path, formats::Checkpoint checkpoint, const WeightFormats& formats, ThreadPool& pool,
      const std::function<Status(const formats::Checkpoint&, const ModelFacts&)>& accept);
  Status (*convert)(const Path& path, const formats::Checkpoint& checkpoint, const Conversion& conversion,
                    ThreadPool& pool);
  // Checks settings and tensors, and hands an outline to `use`.
  Status (*describe)(const Path& path, const formats::Checkpoint& checkpoint,
                     const std::function<Status(const Outline&)>& use);
};
std::span<const ModelDef* const> registry();
// The row of a config.json, which errors call `where`.
Result<const ModelDef*> find_model(const Json& config, std::string_view where);

// A model's files, mapped and verified, and the architecture that understands them.
struct OpenModel {
  const ModelDef* def = nullptr;
  formats::Checkpoint checkpoint;
};
// `path`: a checkpoint folder in Hugging Face layout; a native file; a GGUF file, or a folder of one, with its
// projector ("mmproj") beside it; or the two files with a comma between them. Says in one sentence what is missing or
// not supported.
Result<OpenModel> open_model(const Path& path);
// As its folder or file is called; in the hub's cache, whose folders are called after commits, as the model is:
// models--OWNER--NAME/snapshots/COMMIT.
std::string name_of(const Path& path);
// The tokenizer alone. Needs no weights, and no projector.
Result<text::Tokenizer> load_tokenizer(const Path& path);

}  // namespace onsight::models
