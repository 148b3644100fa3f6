#include "models/gguf_files.h"

#include <algorithm>
#include <cctype>
#include <system_error>

#include "formats/gguf.h"

namespace onsight::models {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".gguf", kProjectorMark = "mmproj", kSeparators = "-_.";
constexpr size_t kMostNamed = 4;

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool is_projector(const Path& file) {
  return lower_case(file.filename().string()).find(kProjectorMark) != std::string::npos;
}

std::vector<Path> gguf_files_in(const Path& folder) {
  std::vector<Path> out;
  std::error_code error;
  for (fs::directory_iterator it(folder.empty() ? Path(".") : folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (lower_case(it->path().extension().string()) == kExtension && it->is_regular_file(ignored))
      out.push_back(folder / it->path().filename());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string names(const std::vector<Path>& files) {
  std::string out;
  for (size_t i = 0; i < files.size() && i < kMostNamed; ++i) out += (i ? ", " : "") + files[i].filename().string();
  return files.size() > kMostNamed ? out + ", …" : out;
}

// "mmproj-SmolVLM-Q8_0.gguf" and "SmolVLM-Q8_0-mmproj.gguf" are for "SmolVLM-Q8_0.gguf".
bool is_named_for(const Path& projector, const Path& text) {
  std::string name = lower_case(projector.stem().string());
  size_t at = name.find(kProjectorMark);
  name.erase(at, kProjectorMark.size());
  if (at < name.size() && kSeparators.find(name[at]) != std::string_view::npos)
    name.erase(at, 1);
  else if (at > 0 && kSeparators.find(name[at - 1]) != std::string_view::npos)
    name.erase(at - 1, 1);
  return name == lower_case(text.stem().string());
}

Result<Path> find_projector(const Path& text) {
  if (is_projector(text))
    return bad_input("{}: named as a projector (mmproj), expected the file of the text model", text.string());
  std::vector<Path> found;
  for (const Path& file : gguf_files_in(text.parent_path()))
    if (is_projector(file)) found.push_back(file);
  if (found.size() != 1) {  // of a file that is none, no projector is missing
    TRY(const MappedFile file, MappedFile::open(text));
    TRY_STATUS(formats::expect_gguf(file.bytes(), text.string()));
  }
  if (found.empty())
    return bad_input(
        "{}: no projector beside it, expected a GGUF file with \"mmproj\" in its name, or --model {},MMPROJ",
        text.string(), text.filename().string());
  if (found.size() == 1) return found.front();
  for (const Path& file : found)
    if (is_named_for(file, text)) return file;
  return bad_input("{}: {} projectors beside it ({}), expected one, or --model {},MMPROJ", text.string(), found.size(),
                   names(found), text.filename().string());
}

// "a.gguf,b.gguf"
std::vector<Path> split_at_comma(const Path& path) {
  const std::string text = path.string();
  const std::string separator = std::string(kExtension) + ",";
  const size_t at = lower_case(text).find(separator);
  if (at == std::string::npos) return {};
  return {text.substr(0, at + kExtension.size()), text.substr(at + separator.size())};
}

}  // namespace

Result<Path> find_gguf_text(const Path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    if (fs::exists(path / "config.json", error)) return Path();
    std::vector<Path> models;
    for (const Path& file : gguf_files_in(path))
      if (!is_projector(file)) models.push_back(file);
    if (models.size() > 1)
      return bad_input("{}: {} GGUF models ({}), expected the file of one", path.string(), models.size(),
                       names(models));
    return models.empty() ? Path() : models.front();
  }
  if (fs::exists(status)) return lower_case(path.extension().string()) == kExtension ? path : Path();
  const std::vector<Path> pair = split_at_comma(path);
  return pair.empty() ? Path() : pair.front();
}

Result<std::vector<Path>> find_gguf_files(const Path& path) {
  TRY(Path text, find_gguf_text(path));
  if (text.empty()) return std::vector<Path>();
  std::error_code error;
  if (!fs::exists(path, error)) return split_at_comma(path);
  TRY(Path projector, find_projector(text));
  return std::vector<Path>{text, projector};
}

}  // namespace onsight::models
