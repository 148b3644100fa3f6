// What a target works with.
#pragma once

#include <set>

#include "export/export.h"
#include "models/outline.h"
#include "models/tensor_rows.h"

namespace onsight::exports {

struct Job {
  const Request& request;
  const models::Outline& outline;
  const formats::Checkpoint& checkpoint;
  std::string name;  // of the model: a file name without extension
  Path folder;       // where the files go
  int64_t done = 0, total = 0;

  // For the card: Markdown about how the folder is used, and what is in its files.
  std::string usage;
  std::vector<std::pair<std::string, std::string>> files;

  const std::string& chosen(std::string_view option) const;
  // Every tensor once.
  std::vector<const models::TensorSpec*> tensors() const;
  // The settings, byte for byte, but for those that the target has written.
  Status copy_settings();
  Status write_file(const std::string& file, std::string_view bytes, std::string what);
  Status advance(int64_t bytes);
};

inline constexpr std::string_view kDtype = "--dtype";
// Of a target's formats the one that --dtype names, or the first where it was not said.
template <class Format, size_t n>
const Format& chosen_format(const Job& job, const Format (&formats)[n]) {
  for (const Format& format : formats)
    if (format.name == job.chosen(kDtype)) return format;
  return formats[0];
}

// Hands the rows of a tensor out in pieces of whole rows, in the order that `row_at` gives them.
using RowAt = std::function<int64_t(int64_t)>;
Status for_each_piece(const models::TensorRows& rows, const std::function<Status(std::span<const float>)>& use,
                      const RowAt& row_at = nullptr);
// The same in a number format.
using Append = std::function<Status(std::span<const std::byte>)>;
Status append_rows(Job& job, const models::TensorRows& rows, compute::DType dtype, const Append& append,
                   const RowAt& row_at = nullptr);

}  // namespace onsight::exports
