#include "formats/checkpoint.h"

#include <new>
#include <system_error>

#include "base/memory.h"
#include "formats/safetensors.h"

namespace onsight::formats {
namespace {

constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;
constexpr size_t kMaxShards = 1000;

// The failure to get memory for a list of names is an Error like any other.
template <class F>
auto without_bad_alloc(const Path& path, F open) -> decltype(open()) {
  try {
    return open();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to read the list of tensors", path.string());
  }
}

}  // namespace

Result<Checkpoint> Checkpoint::open_safetensors_file(const Path& path) {
  return without_bad_alloc(path, [&]() -> Result<Checkpoint> {
    TRY(MappedFile file, MappedFile::open(path));
    TRY(SafetensorsHeader header, read_safetensors(file.bytes(), path.string()));
    Checkpoint checkpoint;
    checkpoint.tensors_ = std::move(header.tensors);
    checkpoint.metadata_ = std::move(header.metadata);
    checkpoint.files_.push_back(std::move(file));
    return checkpoint;
  });
}

Result<Checkpoint> Checkpoint::open_safetensors(const Path& folder) {
  return without_bad_alloc(folder, [&]() -> Result<Checkpoint> {
    std::error_code ignored;
    Path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
    if (std::filesystem::exists(single, ignored)) return open_safetensors_file(single);
    if (!std::filesystem::exists(index, ignored))
      return bad_input("{}: expected a folder with model.safetensors or model.safetensors.index.json", folder.string());
    TRY(std::string json, read_file(index, kMaxIndexBytes));
    TRY(auto weight_map, read_safetensors_index(json, index.string()));

    Checkpoint all;
    std::map<std::string, size_t, std::less<>> shards;  // file name -> tensors that the index places there
    for (const auto& [name, file] : weight_map) ++shards[file];
    if (shards.size() > kMaxShards)
      return bad_input("{}: expected at most {} files, found {}", index.string(), kMaxShards, shards.size());
    for (const auto& [file, count] : shards) {
      TRY(Checkpoint shard, open_safetensors_file(folder / file));
      for (const auto& [name, tensor] : shard.tensors_) {
        auto place = weight_map.find(name);
        if (place == weight_map.end() || place->second != file)
          return bad_input("{}: {} holds tensor {}, expected {}", index.string(), file, in_quotes(name),
                           place == weight_map.end() ? "it in weight_map" : "it in " + in_quotes(place->second));
      }
      if (shard.tensors_.size() != count)
        for (const auto& [name, place] : weight_map)
          if (place == file && !shard.find(name))
            return bad_input("{}: expected tensor {} in {}, found none of that name", index.string(), in_quotes(name),
                             file);
      all.tensors_.merge(shard.tensors_);
      all.metadata_.merge(shard.metadata_);
      all.files_.push_back(std::move(shard.files_.front()));
    }
    return all;
  });
}

Result<Checkpoint> Checkpoint::open_gguf(std::span<const Path> files) {
  return without_bad_alloc(files.empty() ? Path() : files[0], [&]() -> Result<Checkpoint> {
    Checkpoint all;
    for (const Path& path : files) {
      TRY(MappedFile mapped, MappedFile::open(path));
      TRY(GgufFile file, read_gguf(mapped.bytes(), path.string()));
      for (auto& [name, tensor] : file.tensors)
        if (!all.tensors_.emplace(name, tensor).second)
          return bad_input("{}: tensor {} is in {} too, expected it once", path.string(), in_quotes(name),
                           files[0].string());
      all.gguf_.push_back(std::move(file.metadata));
      all.files_.push_back(std::move(mapped));
    }
    return all;
  });
}

Result<Checkpoint> Checkpoint::open_native(const Path& path) {
  return without_bad_alloc(path, [&]() -> Result<Checkpoint> {
    TRY(MappedFile file, MappedFile::open(path));
    prefer_small_pages(file.bytes());  // single rows are read of some tables; of what is read whole the loader says so
    TRY(NativeContents contents, read_native(file.bytes(), path.string()));
    Checkpoint checkpoint;
    checkpoint.tensors_ = std::move(contents.tensors);
    checkpoint.packed_ = std::move(contents.packed);
    checkpoint.settings_ = std::move(contents.files);
    checkpoint.metadata_ = std::move(contents.metadata);
    checkpoint.native_ = path.string();
    checkpoint.files_.push_back(std::move(file));
    return checkpoint;
  });
}

const PackedTensor* Checkpoint::find_packed(std::string_view name) const {
  auto it = packed_.find(name);
  return it == packed_.end() ? nullptr : &it->second;
}

const compute::Tensor* Checkpoint::find(std::string_view name) const {
  auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

uint64_t Checkpoint::total_bytes() const {
  uint64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += static_cast<uint64_t>(tensor.bytes());
  for (const auto& [name, packed] : packed_) total += static_cast<uint64_t>(packed.bytes());
  return total;
}

}  // namespace onsight::formats
