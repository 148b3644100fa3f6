// Outline: a model as files for other programs need it; ModelDef::describe hands it out.
#pragma once

#include <map>

#include "formats/gguf_writer.h"
#include "models/model.h"

namespace onsight::models {

// What llama.cpp's converter writes beside the tensors; the architecture comes first.
struct GgufDescription {
  formats::GgufValues text, projector;
  std::vector<std::string> not_kept;  // settings for which there are no keys, and that differ from what readers assume
};

// For MLX, which has defaults of its own.
struct MlxDescription {
  Json config;                     // of config.json
  std::vector<std::string> notes;  // what is computed otherwise over there, a sentence each
};

// For transformers.js, which has no defaults of its own.
struct JsDescription {
  std::map<std::string, Json> files;  // settings that it reads, with every value written out
  std::vector<std::string> notes;     // what it does otherwise, a sentence each
};

// What it refers to lives until the call that hands it out returns.
struct Outline {
  const FileSource& settings;         // as a folder has them; of GGUF files they are made from the metadata
  std::span<const TensorSpec> specs;  // checked; a shared table stands in two rows of one name
  const Model& network;               // without numbers: it only appends itself to graphs
  const ModelFacts& facts;
  // The same for other programs; each refuses what cannot be said or is not computed there.
  std::function<Result<GgufDescription>()> gguf;
  std::function<Result<MlxDescription>()> mlx;
  std::function<Result<JsDescription>()> js;
  std::string head_name;  // of the head, which is the last row, where it is not shared with the embedding
};

}  // namespace onsight::models
