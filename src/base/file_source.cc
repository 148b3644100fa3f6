#include "base/file_source.h"

#include <algorithm>
#include <system_error>

namespace onsight {

std::string FileSource::place(std::string_view name) const {
  return in_folder_ ? (folder_ / name).string() : fmt::format("{}/{}", where_, name);
}

bool FileSource::has(std::string_view name) const {
  std::error_code ignored;
  return in_folder_ ? std::filesystem::exists(folder_ / name, ignored) : files_.contains(name);
}

bool FileSource::has_any(std::string_view name, std::string_view extension) const {
  if (!in_folder_)
    return std::any_of(files_.begin(), files_.end(), [&](const auto& file) {
      return file.first.starts_with(std::string(name) + "/") && file.first.ends_with(extension);
    });
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder_ / name, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == extension) return true;
  return false;
}

Result<std::string> FileSource::read(std::string_view name, uint64_t max_bytes) const {
  if (in_folder_) return read_file(folder_ / name, max_bytes);
  auto it = files_.find(name);
  if (it == files_.end()) return bad_input("{}: no such file in it", place(name));
  if (it->second.size() > max_bytes) return bad_input("{}: larger than the limit of {} bytes", place(name), max_bytes);
  return std::string(it->second);
}

Result<Json> load_json(const FileSource& files, std::string_view name) {
  TRY(std::string text, files.read(name, uint64_t{256} << 20));
  return parse_json(text, files.place(name));
}

}  // namespace onsight
