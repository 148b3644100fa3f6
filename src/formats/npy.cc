#include "formats/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace onsight::formats {
namespace {

using compute::DType;

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxNpyHeaderBytes = 1 << 16;

struct NpyType {
  DType dtype;
  std::string_view id;
};
constexpr std::array<NpyType, 7> kTypes = {{{DType::kF32, "<f4"},
                                            {DType::kF16, "<f2"},
                                            {DType::kI32, "<i4"},
                                            {DType::kI64, "<i8"},
                                            {DType::kU8, "|u1"},
                                            {DType::kI8, "|i1"},
                                            {DType::kBool, "|b1"}}};

// Reads the header, the text of a Python dict with three keys: {'descr': '<f4', 'fortran_order': False, 'shape': (2,
// 3), }
class DictReader {
 public:
  explicit DictReader(std::string_view text) : text_(text) {}

  bool take(char c) { return take(std::string_view(&c, 1)); }
  bool take(std::string_view word) {
    skip_spaces();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string_view> string() {
    skip_spaces();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) return std::nullopt;
    size_t end = text_.find(text_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view value = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return value;
  }
  std::optional<int64_t> whole_number() {
    skip_spaces();
    int64_t value = 0;
    auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc() || value < 0) return std::nullopt;
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    return value;
  }
  bool at_end() {
    skip_spaces();
    return text_.empty();
  }

 private:
  void skip_spaces() { text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size())); }
  std::string_view text_;
};

Result<compute::Shape> read_shape(DictReader& reader, const std::string& where) {
  compute::Shape shape;
  if (!reader.take('(')) return bad_input("{}: shape: expected a tuple of whole numbers", where);
  while (!reader.take(')')) {
    std::optional<int64_t> extent = reader.whole_number();
    if (!extent) return bad_input("{}: shape: expected a tuple of whole numbers", where);
    if (shape.rank() == compute::kMaxRank)
      return bad_input("{}: shape: expected at most {} dimensions", where, compute::kMaxRank);
    shape.push_back(*extent);
    if (reader.take(',')) continue;
    if (!reader.take(')')) return bad_input("{}: shape: expected a tuple of whole numbers", where);
    break;
  }
  return shape;
}

// Fills dtype and shape of `array`.
Status read_header(std::string_view text, const std::string& where, NpyArray& array) {
  DictReader reader(text);
  bool has_type = false, has_order = false, has_shape = false;
  bool closed = false;
  if (!reader.take('{')) return bad_input("{}: header: expected a dict", where);
  while (!(closed = reader.take('}'))) {
    std::optional<std::string_view> key = reader.string();
    if (!key || !reader.take(':'))
      return bad_input("{}: header: expected a dict of descr, fortran_order and shape", where);
    if (*key == "descr" && !std::exchange(has_type, true)) {
      std::optional<std::string_view> id = reader.string();
      const NpyType* found = nullptr;
      for (const NpyType& row : kTypes)
        if (id && row.id == *id) found = &row;
      if (!found) return bad_input("{}: descr: expected one of <f4, <f2, <i4, <i8, |u1, |i1, |b1", where);
      array.dtype = found->dtype;
    } else if (*key == "fortran_order" && !std::exchange(has_order, true)) {
      if (!reader.take("False")) return bad_input("{}: fortran_order: expected False", where);
    } else if (*key == "shape" && !std::exchange(has_shape, true)) {
      TRY(array.shape, read_shape(reader, where));
    } else {
      return bad_input("{}: header: expected descr, fortran_order and shape once each", where);
    }
    if (reader.take(',')) continue;
    closed = reader.take('}');
    break;
  }
  if (!closed || !reader.at_end() || !has_type || !has_order || !has_shape)
    return bad_input("{}: header: expected a dict of descr, fortran_order and shape", where);
  return {};
}

}  // namespace

Status write_npy(const Path& path, const compute::Tensor& tensor) {
  const NpyType* type = nullptr;
  for (const NpyType& row : kTypes)
    if (row.dtype == tensor.dtype) type = &row;
  if (!type)
    return make_error(ErrorCode::kUsage, "{}: NumPy has no type for {} values", path.string(),
                      compute::info(tensor.dtype).name);
  std::string shape;
  for (int i = 0; i < tensor.shape.rank(); ++i) shape += fmt::format("{}{}", i ? ", " : "", tensor.shape[i]);
  if (tensor.shape.rank() == 1) shape += ",";
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type->id, shape);
  size_t prefix = kMagic.size() + 2 + 2;                               // magic, version, length of the dict
  dict.append(63 - (prefix + dict.size()) % 64, ' ').push_back('\n');  // so that the values start at a multiple of 64
  std::string head(kMagic);
  head += {'\x01', '\x00', static_cast<char>(dict.size() & 255), static_cast<char>(dict.size() >> 8)};
  TRY(AtomicFile file, AtomicFile::create(path));
  TRY_STATUS(file.append(head + dict));
  TRY_STATUS(file.append({reinterpret_cast<const char*>(tensor.data), static_cast<size_t>(tensor.bytes())}));
  return file.commit();
}

compute::Tensor NpyArray::tensor() const { return {dtype, shape, file.bytes().data() + offset}; }

Result<NpyArray> read_npy(const Path& path) {
  const std::string where = path.string();
  NpyArray array;
  TRY(array.file, MappedFile::open(path));
  std::string_view bytes(reinterpret_cast<const char*>(array.file.bytes().data()), array.file.bytes().size());
  if (bytes.size() < 12 || !bytes.starts_with(kMagic)) return bad_input("{}: expected a NumPy .npy file", where);
  int version = static_cast<unsigned char>(bytes[6]);
  if (version < 1 || version > 3) return bad_input("{}: expected .npy version 1 to 3, found {}", where, version);
  size_t length_bytes = version == 1 ? 2 : 4, length = 0;
  for (size_t i = 0; i < length_bytes; ++i)
    length |= static_cast<size_t>(static_cast<unsigned char>(bytes[8 + i])) << (8 * i);
  array.offset = 8 + length_bytes + length;
  // NumPy aligns the values to 64 bytes, older ones to 16; below that they could not be read in place.
  if (length > kMaxNpyHeaderBytes || array.offset > bytes.size() || array.offset % 16 != 0)
    return bad_input(
        "{}: expected a header of at most {} bytes that ends at a multiple of 16, found one of {} bytes in {}", where,
        kMaxNpyHeaderBytes, length, bytes.size());
  TRY_STATUS(read_header(bytes.substr(8 + length_bytes, length), where, array));
  int64_t size = compute::info(array.dtype).block_bytes;
  bool overflow = false;  // in the order of Shape::elements(), which may then multiply without looking
  for (int i = 0; i < array.shape.rank(); ++i) overflow |= __builtin_mul_overflow(size, array.shape[i], &size);
  if (overflow || static_cast<size_t>(size) != bytes.size() - array.offset)
    return bad_input("{}: expected the bytes of {} {} values, found {} bytes", where, array.shape.to_string(),
                     compute::info(array.dtype).name, bytes.size() - array.offset);
  return array;
}

}  // namespace onsight::formats
