#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "base/json.h"

namespace onsight::formats {
namespace {

using compute::Tensor;

// Reads JSON event by event: a document tree of a hostile header could be fifty times larger than the header itself,
// and would hide keys that occur twice. Every event is refused unless a subclass expects it; the first refusal ends the
// parse.
class EventReader : public nlohmann::json_sax<Json> {
 public:
  explicit EventReader(std::string_view where) : where_(where) {}

  Status read(std::string_view text) {
    if (Json::sax_parse(text.begin(), text.end(), this)) return {};
    return tl::unexpected<Error>(error_ ? *std::move(error_) : Error{ErrorCode::kBadInput, "unknown"});
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_integer(number_integer_t value) override { return unexpected(fmt::format("{}", value)); }
  bool number_unsigned(number_unsigned_t value) override { return unexpected(fmt::format("{}", value)); }
  bool number_float(number_float_t, const string_t& text) override { return unexpected(fmt::format("{:.40}", text)); }
  bool string(string_t& value) override { return unexpected(in_quotes(value)); }
  bool binary(binary_t&) override { return unexpected("bytes"); }
  bool start_object(size_t) override { return unexpected("an object"); }
  bool key(string_t& name) override { return unexpected(in_quotes(name)); }
  bool end_object() override { return unexpected("the end of an object"); }
  bool start_array(size_t) override { return unexpected("an array"); }
  bool end_array() override { return unexpected("the end of an array"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return fail("expected valid JSON, which ends at byte {} of it", position);
  }

 protected:
  virtual std::string expected() const = 0;  // at this place, for the message

  bool unexpected(std::string_view found) { return fail("{}, found {}", expected(), found); }

  template <class... Args>
  bool fail(fmt::format_string<Args...> format, Args&&... args) {
    if (!error_)
      error_ =
          Error{ErrorCode::kBadInput, fmt::format("{}: {}", where_, fmt::format(format, std::forward<Args>(args)...))};
    return false;
  }

 private:
  std::string where_;
  std::optional<Error> error_;
};

// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"format": "pt"}}
class HeaderReader final : public EventReader {
 public:
  HeaderReader(std::string_view where, std::span<const std::byte> data) : EventReader(where), data_(data) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(size_t) override {
    switch (place_) {
      case Place::kStart:
        return go(Place::kTop);
      case Place::kTensorValue:
        return go(Place::kTensor);
      case Place::kMetadataValue:
        return go(Place::kMetadata);
      default:
        return unexpected("an object");
    }
  }

  bool key(string_t& name) override {
    switch (place_) {
      case Place::kTop:
        if (name == "__metadata__") {
          if (std::exchange(metadata_seen_, true)) return fail("__metadata__ occurs twice");
          return go(Place::kMetadataValue);
        }
        if (header_.tensors.size() >= kMaxTensors) return fail("expected at most {} tensors", kMaxTensors);
        if (header_.tensors.contains(name)) return fail("tensor {} occurs twice", in_quotes(name));
        name_ = std::move(name);
        entry_ = {};
        return go(Place::kTensorValue);
      case Place::kMetadata:
        if (header_.metadata.contains(name)) return fail("__metadata__: {} occurs twice", in_quotes(name));
        name_ = std::move(name);
        return go(Place::kMetadataString);
      case Place::kTensor:
        if (name == "dtype" && !std::exchange(entry_.has_dtype, true)) return go(Place::kDType);
        if (name == "shape" && !std::exchange(entry_.has_shape, true)) return go(Place::kShapeValue);
        if (name == "data_offsets" && !std::exchange(entry_.has_offsets, true)) return go(Place::kOffsetsValue);
        return unexpected(in_quotes(name));
      default:
        return unexpected(in_quotes(name));
    }
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadataString) {
      header_.metadata.emplace(std::move(name_), std::move(value));
      return go(Place::kMetadata);
    }
    if (place_ != Place::kDType) return unexpected(in_quotes(value));
    std::optional<compute::DType> dtype = compute::dtype_from_safetensors(value);
    if (!dtype) return unexpected(in_quotes(value));
    entry_.tensor.dtype = *dtype;
    return go(Place::kTensor);
  }

  bool start_array(size_t) override {
    if (place_ == Place::kShapeValue) return go(Place::kShape);
    if (place_ == Place::kOffsetsValue) return go(Place::kOffsets);
    return unexpected("an array");
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape && entry_.tensor.shape.rank() < compute::kMaxRank && value <= INT64_MAX) {
      entry_.tensor.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets && entry_.offset_count < 2) {
      entry_.offsets[entry_.offset_count++] = value;
      return true;
    }
    return unexpected(fmt::format("{}", value));
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && entry_.offset_count != 2) return unexpected("fewer");
    return go(Place::kTensor);
  }

  bool end_object() override {
    if (place_ == Place::kTensor) return add_tensor() && go(Place::kTop);
    return go(place_ == Place::kMetadata ? Place::kTop : Place::kEnd);
  }

 private:
  enum class Place {
    kStart,
    kTop,
    kMetadataValue,
    kMetadata,
    kMetadataString,
    kTensorValue,
    kTensor,
    kDType,
    kShapeValue,
    kShape,
    kOffsetsValue,
    kOffsets,
    kEnd
  };
  struct Entry {
    Tensor tensor;
    std::array<uint64_t, 2> offsets{};
    int offset_count = 0;
    bool has_dtype = false, has_shape = false, has_offsets = false;
  };

  bool go(Place place) {
    place_ = place;
    return true;
  }

  std::string expected() const override {
    switch (place_) {
      case Place::kStart:
        return "expected a JSON object";
      case Place::kMetadataValue:
        return "__metadata__: expected an object of strings";
      case Place::kMetadataString:
        return fmt::format("__metadata__: {}: expected a string", in_quotes(name_));
      case Place::kTensorValue:
      case Place::kTensor:
        return fmt::format("tensor {}: expected an object of dtype, shape and data_offsets", in_quotes(name_));
      case Place::kDType: {
        std::string ids;
        for (const compute::DTypeInfo& row : compute::kDTypes)
          if (!row.safetensors.empty()) ids += fmt::format("{}{}", ids.empty() ? "" : ", ", row.safetensors);
        return fmt::format("tensor {}: dtype: expected one of {}", in_quotes(name_), ids);
      }
      case Place::kShapeValue:
      case Place::kShape:
        return fmt::format("tensor {}: shape: expected at most {} whole numbers", in_quotes(name_), compute::kMaxRank);
      case Place::kOffsetsValue:
      case Place::kOffsets:
        return fmt::format("tensor {}: data_offsets: expected two whole numbers", in_quotes(name_));
      default:
        return "expected tensors";
    }
  }

  bool add_tensor() {
    Entry& e = entry_;
    if (!e.has_dtype || !e.has_shape || !e.has_offsets) return unexpected("fewer");
    auto [begin, end] = e.offsets;
    if (begin > end || end > data_.size())
      return fail("tensor {}: data_offsets: expected a range within the {} bytes after the header, found {} to {}",
                  in_quotes(name_), data_.size(), begin, end);
    // In the order of Shape::elements(), which may then multiply without looking.
    int64_t bytes = compute::info(e.tensor.dtype).block_bytes;
    bool overflow = false;
    for (int i = 0; i < e.tensor.shape.rank(); ++i)
      overflow |= __builtin_mul_overflow(bytes, e.tensor.shape[i], &bytes);
    if (overflow || static_cast<uint64_t>(bytes) != end - begin)
      return fail("tensor {}: expected the bytes of {} {} values, found {} bytes", in_quotes(name_),
                  e.tensor.shape.to_string(), compute::info(e.tensor.dtype).name, end - begin);
    e.tensor.data = data_.data() + begin;
    header_.tensors.emplace(std::move(name_), e.tensor);
    return true;
  }

  std::span<const std::byte> data_;
  SafetensorsHeader header_;
  Place place_ = Place::kStart;
  std::string name_;
  Entry entry_;
  bool metadata_seen_ = false;
};

// {"metadata": {…}, "weight_map": {"tensor": "file"}}; whatever else is there is passed over.
class IndexReader final : public EventReader {
 public:
  explicit IndexReader(std::string_view where) : EventReader(where) {}

  std::optional<std::map<std::string, std::string, std::less<>>> take() { return std::move(map_); }

  bool null() override { return skipping() || unexpected("null"); }
  bool boolean(bool) override { return skipping() || unexpected("true or false"); }
  bool number_integer(number_integer_t) override { return skipping() || unexpected("a number"); }
  bool number_unsigned(number_unsigned_t) override { return skipping() || unexpected("a number"); }
  bool number_float(number_float_t, const string_t&) override { return skipping() || unexpected("a number"); }
  bool start_array(size_t) override {
    if (!skipping()) return unexpected("an array");
    return ++depth_, true;
  }
  bool end_array() override { return --depth_, true; }
  bool start_object(size_t) override {
    if (depth_ == 1 && in_map_) map_.emplace();
    if (depth_ > 1 && in_map_) return unexpected("an object");
    return ++depth_, true;
  }
  bool end_object() override { return --depth_, true; }

  bool key(string_t& name) override {
    if (depth_ == 1) {
      in_map_ = name == "weight_map";
      if (in_map_ && map_) return fail("weight_map occurs twice");
    } else if (in_map_) {
      if (map_->size() >= kMaxTensors) return fail("weight_map: expected at most {} tensors", kMaxTensors);
      if (map_->contains(name)) return fail("weight_map: {} occurs twice", in_quotes(name));
      name_ = std::move(name);
    }
    return true;
  }

  bool string(string_t& value) override {
    if (skipping()) return true;
    if (depth_ != 2) return unexpected(in_quotes(value));
    if (value.empty() || value == "." || value == ".." || value.find('/') != std::string::npos ||
        value.find('\0') != std::string::npos)
      return fail("weight_map: {}: expected the name of a file in the same folder, found {}", in_quotes(name_),
                  in_quotes(value));
    map_->emplace(std::move(name_), std::move(value));
    return true;
  }

 private:
  bool skipping() const { return depth_ >= 1 && !in_map_; }
  std::string expected() const override {
    if (depth_ == 0) return "expected a JSON object";
    return depth_ == 1 ? "weight_map: expected an object"
                       : fmt::format("weight_map: {}: expected a string", in_quotes(name_));
  }

  std::optional<std::map<std::string, std::string, std::less<>>> map_;
  std::string name_;
  size_t depth_ = 0;
  bool in_map_ = false;
};

}  // namespace

Status refuse_overlaps(const std::map<std::string, Tensor, std::less<>>& tensors, std::string_view where) {
  std::vector<const std::pair<const std::string, Tensor>*> order;
  for (const auto& entry : tensors)
    if (entry.second.bytes() > 0) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->second.data < b->second.data; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i - 1]->second.data + order[i - 1]->second.bytes() > order[i]->second.data)
      return bad_input("{}: tensors {} and {} overlap, expected bytes of their own", where,
                       in_quotes(order[i - 1]->first), in_quotes(order[i]->first));
  return {};
}

std::string in_quotes(std::string_view name) {
  constexpr size_t kLongest = 120;
  std::string out = "'";
  size_t n = std::min(name.size(), kLongest);
  while (n > 0 && n < name.size() && (static_cast<unsigned char>(name[n]) & 0xc0) == 0x80)
    --n;  // a whole UTF-8 character
  for (char c : name.substr(0, n)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out + (n < name.size() ? "…'" : "'");
}

Result<SafetensorsHeader> read_safetensors(std::span<const std::byte> file, std::string_view where) {
  uint64_t length = 0;
  if (file.size() < sizeof length)
    return bad_input("{}: expected a safetensors file, found only {} bytes", where, file.size());
  for (size_t i = 0; i < sizeof length; ++i) length |= static_cast<uint64_t>(file[i]) << (8 * i);
  if (length > kMaxHeaderBytes)
    return bad_input("{}: expected a header of at most {} bytes, found {}", where, kMaxHeaderBytes, length);
  if (length > file.size() - sizeof length)
    return bad_input("{}: expected a header of {} bytes, found only {}", where, length, file.size() - sizeof length);
  std::string_view json(reinterpret_cast<const char*>(file.data()) + sizeof length, length);
  HeaderReader reader(fmt::format("{}: header", where), file.subspan(sizeof length + length));
  TRY_STATUS(reader.read(json));
  SafetensorsHeader header = reader.take();
  TRY_STATUS(refuse_overlaps(header.tensors, where));
  const std::byte* end = file.data() + sizeof length + length;
  for (const auto& [name, tensor] : header.tensors) end = std::max(end, tensor.data + tensor.bytes());
  if (end != file.data() + file.size())  // the reference reader refuses such a file, too
    return bad_input("{}: {} bytes after the last tensor, expected none", where, file.data() + file.size() - end);
  return header;
}

Result<std::map<std::string, std::string, std::less<>>> read_safetensors_index(std::string_view json,
                                                                               std::string_view where) {
  IndexReader reader(where);
  TRY_STATUS(reader.read(json));
  auto map = reader.take();
  if (!map) return bad_input("{}: weight_map: missing, expected an object of tensor and file names", where);
  return *std::move(map);
}

}  // namespace onsight::formats
