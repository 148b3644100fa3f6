#include "export/targets/job.h"

#include <algorithm>

#include "base/check.h"
#include "models/settings_files.h"

namespace onsight::exports {

const std::string& Job::chosen(std::string_view option) const {
  const auto found = request.chosen.find(option);
  if (found != request.chosen.end()) return found->second;
  const auto& choices = request.target->choices;
  const auto row = std::find_if(choices.begin(), choices.end(), [&](const Choice& c) { return c.option == option; });
  ONSIGHT_CHECK(row != choices.end());
  return row->values.front();
}

std::vector<const models::TensorSpec*> Job::tensors() const {
  std::vector<const models::TensorSpec*> out;
  std::set<std::string_view> seen;
  for (const models::TensorSpec& spec : outline.specs)
    if (seen.insert(spec.name).second) out.push_back(&spec);
  return out;
}

Status Job::copy_settings() {
  for (const std::string_view file : models::kSettingsFiles) {
    const bool is_written =
        std::any_of(files.begin(), files.end(), [&](const auto& written) { return written.first == file; });
    if (is_written || !outline.settings.has(file)) continue;
    TRY(const std::string bytes, outline.settings.read(file, models::kMaxSettingsBytes));
    TRY_STATUS(write_file(std::string(file), bytes, ""));
  }
  return {};
}

Status Job::write_file(const std::string& file, std::string_view bytes, std::string what) {
  const Path path = folder / file;
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  files.emplace_back(file, std::move(what));
  return write_file_atomically(path, bytes);
}

Status Job::advance(int64_t bytes) {
  done += bytes;
  if (!request.progress || request.progress("exporting", done, total)) return {};
  return make_error(ErrorCode::kInterrupted, "interrupted");
}

Status for_each_piece(const models::TensorRows& rows, const std::function<Status(std::span<const float>)>& use,
                      const RowAt& row_at) {
  constexpr int64_t kElements = 1 << 20;  // of a piece
  const int64_t width = rows.width(), most = std::clamp<int64_t>(kElements / width, 1, rows.count());
  std::vector<float> piece(static_cast<size_t>(most * width));
  for (int64_t first = 0; first < rows.count(); first += most) {
    const int64_t n = std::min(most, rows.count() - first);
    if (row_at)
      for (int64_t i = 0; i < n; ++i) rows.read(row_at(first + i), 1, piece.data() + i * width);
    else
      rows.read(first, n, piece.data());
    TRY_STATUS(use({piece.data(), static_cast<size_t>(n * width)}));
  }
  rows.release();
  return {};
}

Status append_rows(Job& job, const models::TensorRows& rows, compute::DType dtype, const Append& append,
                   const RowAt& row_at) {
  std::vector<std::byte> bytes;
  const auto narrow = [&](std::span<const float> piece) -> Status {
    const auto n = static_cast<int64_t>(piece.size());
    bytes.resize(static_cast<size_t>(compute::bytes_of(dtype, n)));
    compute::from_f32(dtype, piece.data(), bytes.data(), n);
    TRY_STATUS(append(bytes));
    return job.advance(static_cast<int64_t>(bytes.size()));
  };
  return for_each_piece(rows, narrow, row_at);
}

}  // namespace onsight::exports
