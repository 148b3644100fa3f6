#include "formats/gguf.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "formats/safetensors.h"

namespace onsight::formats {
namespace {

using compute::DType;
using compute::Tensor;

constexpr uint64_t kMaxKeys = 65'536;
constexpr uint64_t kMaxKeyBytes = 65'535;  // as the format's description has it
constexpr uint64_t kMaxNameBytes = 256;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxDimensions = 4;

// Bytes of a value; 0 for those of varying length.
constexpr uint64_t size_of(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    default:
      return 0;
  }
}

std::string_view name_of(GgufType type) {
  constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<uint32_t>(type)];
}

// For the sentence that refuses a tensor: what people know the format as.
std::string tensor_type_name(uint32_t id) {
  constexpr std::pair<uint32_t, std::string_view> kNames[] = {
      {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
      {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
      {25, "I16"},     {28, "F64"},   {29, "IQ1_M"},  {34, "TQ1_0"}, {35, "TQ2_0"},   {39, "MXFP4"},
  };
  for (auto [known, name] : kNames)
    if (known == id) return std::string(name);
  return fmt::format("type {}", id);
}

std::string supported_types() {
  std::string out;
  for (const compute::DTypeInfo& row : compute::kDTypes)
    if (row.gguf >= 0 && row.is_weight) out += fmt::format("{}{}", out.empty() ? "" : ", ", row.name);
  return out;
}

template <class T>
T load(const std::byte* p) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A whole number of any width; nullopt for another type, or one beyond int64.
std::optional<int64_t> read_integer(GgufType type, const std::byte* p) {
  switch (type) {
    case GgufType::kU8:
      return load<uint8_t>(p);
    case GgufType::kI8:
      return load<int8_t>(p);
    case GgufType::kU16:
      return load<uint16_t>(p);
    case GgufType::kI16:
      return load<int16_t>(p);
    case GgufType::kU32:
      return load<uint32_t>(p);
    case GgufType::kI32:
      return load<int32_t>(p);
    case GgufType::kI64:
      return load<int64_t>(p);
    case GgufType::kU64: {
      auto value = load<uint64_t>(p);
      return value <= INT64_MAX ? std::optional<int64_t>(static_cast<int64_t>(value)) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> read_number(GgufType type, const std::byte* p) {
  if (type == GgufType::kF64) return load<double>(p);
  if (type == GgufType::kF32) return static_cast<double>(load<float>(p));
  std::optional<int64_t> value = read_integer(type, p);
  return value ? std::optional<double>(static_cast<double>(*value)) : std::nullopt;
}

}  // namespace

Status expect_gguf(std::span<const std::byte> file, std::string_view where) {
  if (file.size() >= 4 && text(file.first(4)) == "GGUF") return {};
  return bad_input("{}: expected a GGUF file, which begins with GGUF", where);
}

// Walks the file from its start to the end of the list of tensors.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> file, std::string_view where) : file_(file), where_(where) {}

  Result<GgufFile> read() {
    TRY_STATUS(expect_gguf(file_, where_));
    at_ = 4;
    TRY(uint32_t version, take<uint32_t>("the version"));
    if (version >= 1 << 16)
      return bad_input("{}: expected a little-endian GGUF file, found the version {:#x}", where_, version);
    if (version != 2 && version != 3)
      return bad_input("{}: expected a GGUF file of version 2 or 3, found version {}", where_, version);
    TRY(uint64_t tensor_count, take<uint64_t>("the number of tensors"));
    TRY(uint64_t key_count, take<uint64_t>("the number of keys"));
    if (tensor_count > kMaxTensors)
      return bad_input("{}: expected at most {} tensors, found {}", where_, kMaxTensors, tensor_count);
    if (key_count > kMaxKeys)
      return bad_input("{}: expected at most {} keys of metadata, found {}", where_, kMaxKeys, key_count);
    GgufFile out;
    out.metadata.where_ = where_;
    for (uint64_t i = 0; i < key_count; ++i) TRY_STATUS(read_key(out.metadata));
    TRY(int64_t alignment, out.metadata.integer_or("general.alignment", 32, 1, kMaxAlignment));
    if (!std::has_single_bit(static_cast<uint64_t>(alignment)))
      return bad_input("{}: general.alignment: expected a power of two, found {}", where_, alignment);
    std::vector<Entry> entries;
    for (uint64_t i = 0; i < tensor_count; ++i) {
      TRY(Entry entry, read_entry());
      entries.push_back(std::move(entry));
    }
    const uint64_t step = static_cast<uint64_t>(alignment), begin = (at_ + step - 1) / step * step;
    const auto data = file_.subspan(std::min<uint64_t>(begin, file_.size()));
    for (Entry& entry : entries) TRY_STATUS(place(entry, data, step, out));
    TRY_STATUS(refuse_overlaps(out.tensors, where_));
    return out;
  }

 private:
  struct Entry {
    std::string name;
    Tensor tensor;
    uint64_t bytes = 0, offset = 0;
  };

  Result<std::span<const std::byte>> take_bytes(uint64_t size, std::string_view what) {
    if (size > file_.size() - at_)
      return bad_input("{}: {} at byte {}: expected {} bytes, the file ends {} bytes later", where_, what, at_, size,
                       file_.size() - at_);
    auto bytes = file_.subspan(at_, size);
    at_ += size;
    return bytes;
  }
  template <class T>
  Result<T> take(std::string_view what) {
    TRY(auto bytes, take_bytes(sizeof(T), what));
    return load<T>(bytes.data());
  }
  Result<std::span<const std::byte>> take_string(uint64_t max, std::string_view what) {
    TRY(uint64_t size, take<uint64_t>(what));
    if (size > max) return bad_input("{}: {}: expected at most {} bytes, found {}", where_, what, max, size);
    return take_bytes(size, what);
  }
  Result<GgufType> take_type(std::string_view what) {
    TRY(uint32_t id, take<uint32_t>(what));
    if (id > static_cast<uint32_t>(GgufType::kF64))
      return bad_input("{}: {}: expected a type from 0 to 12, found {}", where_, what, id);
    return static_cast<GgufType>(id);
  }

  Status read_key(GgufMetadata& metadata) {
    TRY(auto bytes, take_string(kMaxKeyBytes, "key"));
    std::string key(text(bytes));
    const std::string what = in_quotes(key);
    if (key.empty()) return bad_input("{}: expected keys that are not empty", where_);
    GgufMetadata::Value value;
    TRY(value.type, take_type(what));
    if (value.type == GgufType::kArray) {
      TRY(value.element, take_type(what));
      TRY(value.count, take<uint64_t>(what));
      const size_t begin = at_;
      if (value.element == GgufType::kArray) return bad_input("{}: {}: expected no array of arrays", where_, what);
      const uint64_t least = std::max<uint64_t>(size_of(value.element), value.element == GgufType::kString ? 8 : 1);
      if (value.count > (file_.size() - at_) / least)
        return bad_input("{}: {}: expected {} values, the file ends {} bytes later", where_, what, value.count,
                         file_.size() - at_);
      if (value.element == GgufType::kString) {
        for (uint64_t i = 0; i < value.count; ++i) TRY_STATUS(take_string(UINT64_MAX, what));
        value.bytes = file_.subspan(begin, at_ - begin);
      } else {
        TRY(value.bytes, take_bytes(value.count * size_of(value.element), what));
      }
    } else if (value.type == GgufType::kString) {
      TRY(value.bytes, take_string(UINT64_MAX, what));
    } else {
      TRY(value.bytes, take_bytes(size_of(value.type), what));
    }
    if (!metadata.values_.emplace(std::move(key), value).second) return bad_input("{}: {} occurs twice", where_, what);
    return {};
  }

  Result<Entry> read_entry() {
    Entry entry;
    TRY(auto bytes, take_string(kMaxNameBytes, "tensor name"));
    entry.name = text(bytes);
    const std::string what = fmt::format("tensor {}", in_quotes(entry.name));
    TRY(uint32_t rank, take<uint32_t>(what));
    if (rank < 1 || rank > kMaxDimensions)
      return bad_input("{}: {}: expected 1 to {} dimensions, found {}", where_, what, kMaxDimensions, rank);
    std::array<int64_t, kMaxDimensions> extents{};
    for (uint32_t i = 0; i < rank; ++i) {
      TRY(uint64_t extent, take<uint64_t>(what));
      if (extent < 1 || extent > INT64_MAX)
        return bad_input("{}: {}: expected extents of 1 or more, found {}", where_, what, extent);
      extents[i] = static_cast<int64_t>(extent);
    }
    for (uint32_t i = rank; i-- > 0;) entry.tensor.shape.push_back(extents[i]);  // the file has the innermost first
    TRY(uint32_t type, take<uint32_t>(what));
    std::optional<DType> dtype = compute::dtype_from_gguf(type);
    if (!dtype)
      return bad_input("{}: {}: expected one of {}, found {}", where_, what, supported_types(), tensor_type_name(type));
    entry.tensor.dtype = *dtype;
    const compute::DTypeInfo& info = compute::info(*dtype);
    if (extents[0] % info.block != 0)
      return bad_input("{}: {}: expected rows of whole blocks of {} {} values, found {}", where_, what, info.block,
                       info.name, extents[0]);
    // In the order in which Shape::elements() and bytes_of() may then multiply without looking.
    int64_t elements = 1, size = 0;
    bool overflow = false;
    for (int i = 0; i < entry.tensor.shape.rank(); ++i)
      overflow |= __builtin_mul_overflow(elements, entry.tensor.shape[i], &elements);
    if (!overflow) overflow = __builtin_mul_overflow(elements / info.block, int64_t{info.block_bytes}, &size);
    if (overflow)
      return bad_input("{}: {}: expected fewer values than {} has", where_, what, entry.tensor.shape.to_string());
    entry.bytes = static_cast<uint64_t>(size);
    TRY(entry.offset, take<uint64_t>(what));
    return entry;
  }

  Status place(Entry& entry, std::span<const std::byte> data, uint64_t alignment, GgufFile& out) {
    const std::string what = fmt::format("tensor {}", in_quotes(entry.name));
    if (entry.offset % alignment != 0)
      return bad_input("{}: {}: expected an offset that {} divides, found {}", where_, what, alignment, entry.offset);
    if (entry.offset > data.size() || entry.bytes > data.size() - entry.offset)
      return bad_input("{}: {}: expected {} bytes at offset {}, the file has {} bytes of tensors", where_, what,
                       entry.bytes, entry.offset, data.size());
    entry.tensor.data = data.data() + entry.offset;
    if (!out.tensors.emplace(std::move(entry.name), entry.tensor).second)
      return bad_input("{}: {} occurs twice", where_, what);
    return {};
  }

  std::span<const std::byte> file_;
  std::string where_;
  size_t at_ = 0;
};

tl::unexpected<Error> GgufMetadata::refuse(std::string_view key, std::string_view expected, const Value& found) const {
  const bool array = found.type == GgufType::kArray;
  return bad_input("{}: {}: expected {}, found {}{}", where_, key, expected, array ? "an array of " : "",
                   name_of(array ? found.element : found.type));
}

Result<const GgufMetadata::Value*> GgufMetadata::find(std::string_view key, std::string_view expected) const {
  auto it = values_.find(key);
  if (it == values_.end()) return bad_input("{}: {}: missing, expected {}", where_, key, expected);
  return &it->second;
}

Result<const GgufMetadata::Value*> GgufMetadata::find_array(std::string_view key, std::string_view expected) const {
  TRY(const Value* value, find(key, expected));
  if (value->type != GgufType::kArray) return refuse(key, expected, *value);
  return value;
}

Result<int64_t> GgufMetadata::integer(std::string_view key, int64_t min, int64_t max) const {
  constexpr std::string_view kExpected = "a whole number";
  TRY(const Value* value, find(key, kExpected));
  std::optional<int64_t> number = read_integer(value->type, value->bytes.data());
  if (!number) return refuse(key, kExpected, *value);
  if (*number < min || *number > max)
    return bad_input("{}: {}: expected a whole number from {} to {}, found {}", where_, key, min, max, *number);
  return *number;
}

Result<int64_t> GgufMetadata::integer_or(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const {
  return has(key) ? integer(key, min, max) : otherwise;
}

Result<double> GgufMetadata::number(std::string_view key) const {
  TRY(const Value* value, find(key, "a number"));
  std::optional<double> number = read_number(value->type, value->bytes.data());
  if (!number || !std::isfinite(*number)) return refuse(key, "a number", *value);
  return *number;
}

Result<double> GgufMetadata::number_or(std::string_view key, double otherwise) const {
  return has(key) ? number(key) : otherwise;
}

Result<bool> GgufMetadata::boolean_or(std::string_view key, bool otherwise) const {
  if (!has(key)) return otherwise;
  TRY(const Value* value, find(key, "true or false"));
  if (value->type != GgufType::kBool) return refuse(key, "true or false", *value);
  return value->bytes[0] != std::byte{0};
}

Result<std::string_view> GgufMetadata::string(std::string_view key) const {
  TRY(const Value* value, find(key, "a string"));
  if (value->type != GgufType::kString) return refuse(key, "a string", *value);
  return text(value->bytes);
}

Result<std::string_view> GgufMetadata::string_or(std::string_view key, std::string_view otherwise) const {
  return has(key) ? string(key) : otherwise;
}

Result<std::vector<int64_t>> GgufMetadata::integers(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of whole numbers";
  TRY(const Value* value, find_array(key, kExpected));
  std::vector<int64_t> out;
  const uint64_t size = size_of(value->element);
  for (uint64_t i = 0; i < value->count; ++i) {
    std::optional<int64_t> number = read_integer(value->element, value->bytes.data() + i * size);
    if (!number) return refuse(key, kExpected, *value);
    out.push_back(*number);
  }
  return out;
}

Result<std::vector<double>> GgufMetadata::numbers(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of numbers";
  TRY(const Value* value, find_array(key, kExpected));
  std::vector<double> out;
  const uint64_t size = size_of(value->element);
  for (uint64_t i = 0; i < value->count; ++i) {
    std::optional<double> number = read_number(value->element, value->bytes.data() + i * size);
    if (!number || !std::isfinite(*number)) return refuse(key, kExpected, *value);
    out.push_back(*number);
  }
  return out;
}

Result<std::vector<std::string_view>> GgufMetadata::strings(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of strings";
  TRY(const Value* value, find_array(key, kExpected));
  if (value->element != GgufType::kString) return refuse(key, kExpected, *value);
  std::vector<std::string_view> out;
  out.reserve(value->count);
  auto rest = value->bytes;  // its lengths were verified when the file was read
  for (uint64_t i = 0; i < value->count; ++i) {
    auto size = load<uint64_t>(rest.data());
    out.push_back(text(rest.subspan(sizeof size, size)));
    rest = rest.subspan(sizeof size + size);
  }
  return out;
}

Result<GgufFile> read_gguf(std::span<const std::byte> file, std::string_view where) {
  return GgufReader(file, where).read();
}

}  // namespace onsight::formats
