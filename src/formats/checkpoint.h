// Checkpoint: name -> tensor bytes and metadata, the same for every container. It knows no model and never interprets a
// name.
//
//   TRY(Checkpoint checkpoint, Checkpoint::open_safetensors(folder));   // model.safetensors, or the shards of its
//   index const compute::Tensor* w = checkpoint.find("lm_head.weight");       // nullptr if absent; points into the
//   mapped file
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/file_source.h"
#include "compute/tensor.h"
#include "formats/gguf.h"
#include "formats/native.h"

namespace onsight::formats {

class Checkpoint {
 public:
  // `folder` holds model.safetensors or model.safetensors.index.json with its shards. Every header is verified before
  // this returns: offsets inside the file and without overlap, sizes equal to shape × type, known types, no name twice,
  // every tensor in the shard that the index names and no other. Tensor::data need not be aligned for its type: read
  // values with to_f32() or memcpy.
  static Result<Checkpoint> open_safetensors(const Path& folder);
  // One file.
  static Result<Checkpoint> open_safetensors_file(const Path& file);
  // The tensors of several GGUF files together, under the names that they have there; see read_gguf.
  static Result<Checkpoint> open_gguf(std::span<const Path> files);

  // A native file; see native.h. Its settings are not among the tensors.
  static Result<Checkpoint> open_native(const Path& file);

  const compute::Tensor* find(std::string_view name) const;
  const PackedTensor* find_packed(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) || find_packed(name); }
  const std::map<std::string, compute::Tensor, std::less<>>& tensors() const { return tensors_; }
  const std::map<std::string, std::string, std::less<>>& metadata() const { return metadata_; }
  // Of each GGUF file in the order given; empty for safetensors, whose model is described beside them.
  const std::vector<GgufMetadata>& gguf() const { return gguf_; }
  // The matrices of a native file, which are not among tensors().
  const std::map<std::string, PackedTensor, std::less<>>& packed() const { return packed_; }
  bool is_native() const { return !native_.empty(); }
  // The settings that a native file holds; of another container they stand in `folder`.
  FileSource settings(const Path& folder) const { return is_native() ? FileSource(native_, settings_) : folder; }
  uint64_t total_bytes() const;  // of all tensors

 private:
  std::vector<MappedFile> files_;
  std::map<std::string, compute::Tensor, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> metadata_;
  std::vector<GgufMetadata> gguf_;
  std::map<std::string, PackedTensor, std::less<>> packed_;
  std::map<std::string, std::string_view, std::less<>> settings_;
  std::string native_;  // the file's name
};

}  // namespace onsight::formats
