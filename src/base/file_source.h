// FileSource: the small files that describe a model, in a folder or inside one file that holds them all.
//
//   FileSource files = Path("models/onsight-nano");
//   if (files.has("config.json")) TRY(Json config, load_json(files, "config.json"));
#pragma once

#include <concepts>
#include <map>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"

namespace onsight {

class FileSource {
 public:
  // A folder stands wherever a source is asked for.
  // NOLINTBEGIN(google-explicit-constructor, bugprone-forwarding-reference-overload)
  template <class T>
  requires std::convertible_to<T, Path> &&(!std::same_as<std::remove_cvref_t<T>, FileSource>)FileSource(T&& folder)
      : folder_(std::forward<T>(folder)), where_(folder_.string()), in_folder_(true) {}
  // NOLINTEND(google-explicit-constructor, bugprone-forwarding-reference-overload)
  // name → bytes, which the caller keeps alive; `where` is the file that holds them.
  FileSource(std::string where, std::map<std::string, std::string_view, std::less<>> files)
      : where_(std::move(where)), files_(std::move(files)) {}

  const std::string& where() const { return where_; }
  std::string place(std::string_view name) const;  // for messages: "folder/name"
  bool has(std::string_view name) const;
  // Whether the folder `name` in it has a file that ends in `extension`.
  bool has_any(std::string_view name, std::string_view extension) const;
  Result<std::string> read(std::string_view name, uint64_t max_bytes) const;

 private:
  Path folder_;
  std::string where_;
  bool in_folder_ = false;
  std::map<std::string, std::string_view, std::less<>> files_;
};

Result<Json> load_json(const FileSource& files, std::string_view name);

}  // namespace onsight
