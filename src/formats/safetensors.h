// The safetensors container: eight bytes of header length, a JSON header, then the tensors' bytes. A private part of
// formats/; other rooms use checkpoint.h.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "compute/tensor.h"

namespace onsight::formats {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference reader has it
constexpr size_t kMaxTensors = 100'000;

struct SafetensorsHeader {
  std::map<std::string, compute::Tensor, std::less<>> tensors;  // point into the bytes given to read_safetensors
  std::map<std::string, std::string, std::less<>> metadata;
};

// Verifies the header of a whole file in memory: see Checkpoint::open_safetensors. `where` names the file in errors.
Result<SafetensorsHeader> read_safetensors(std::span<const std::byte> file, std::string_view where);

// The weight_map of a model.safetensors.index.json: tensor name -> file name, each a plain name inside the folder.
Result<std::map<std::string, std::string, std::less<>>> read_safetensors_index(std::string_view json,
                                                                               std::string_view where);

// Refuses two tensors of one file that share a byte.
Status refuse_overlaps(const std::map<std::string, compute::Tensor, std::less<>>& tensors, std::string_view where);

// A name from a file, made fit for an error message: in quotes, short, without control characters.
std::string in_quotes(std::string_view name);

}  // namespace onsight::formats
