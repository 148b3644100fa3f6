#include "formats/onnx_writer.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "formats/padding.h"

namespace onsight::formats {
namespace {

using compute::DType;

constexpr int64_t kIrVersion = 10;
constexpr uint64_t kExternalAlignment = 4096;  // of weights in a file of their own, so that readers can map them
static_assert(std::endian::native == std::endian::little);

// Protobuf: a message is a run of fields, each with its number and kind before it.
class Message {
 public:
  Message& number(uint32_t field, uint64_t value) {
    put(field << 3);
    put(value);
    return *this;
  }
  Message& number(uint32_t field, float value) {
    put(field << 3 | 5);
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    bytes_.append(bytes, sizeof value);
    return *this;
  }
  // Of what follows somewhere else.
  Message& length(uint32_t field, uint64_t size) {
    put(field << 3 | 2);
    put(size);
    return *this;
  }
  Message& text(uint32_t field, std::string_view value) {
    length(field, value.size());
    bytes_.append(value);
    return *this;
  }
  Message& message(uint32_t field, const Message& value) { return text(field, value.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void put(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

// TensorProto.DataType
uint64_t id_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 1;
    case DType::kU8:
      return 2;
    case DType::kI8:
      return 3;
    case DType::kI32:
      return 6;
    case DType::kI64:
      return 7;
    case DType::kBool:
      return 9;
    case DType::kF16:
      return 10;
    case DType::kBF16:
      return 16;
    default:
      ONSIGHT_CHECK(false);
  }
  return 0;
}

Message attribute_of(const OnnxAttribute& attribute) {
  enum Kind : uint64_t { kFloat = 1, kInt = 2, kString = 3, kInts = 7 };
  Message out;
  out.text(1, attribute.name);
  if (const auto* i = std::get_if<int64_t>(&attribute.value))
    return out.number(3, static_cast<uint64_t>(*i)).number(20, kInt);
  if (const auto* f = std::get_if<float>(&attribute.value)) return out.number(2, *f).number(20, kFloat);
  if (const auto* s = std::get_if<std::string>(&attribute.value)) return out.text(4, *s).number(20, kString);
  for (const int64_t i : std::get<std::vector<int64_t>>(attribute.value)) out.number(8, static_cast<uint64_t>(i));
  return out.number(20, kInts);
}

Message node_of(const OnnxNode& node) {
  Message out;
  for (const std::string& name : node.inputs) out.text(1, name);
  for (const std::string& name : node.outputs) out.text(2, name);
  out.text(3, node.outputs.front()).text(4, node.op);
  for (const OnnxAttribute& attribute : node.attributes) out.message(5, attribute_of(attribute));
  if (!node.domain.empty()) out.text(7, node.domain);
  return out;
}

Message value_of(const OnnxValue& value) {
  Message shape;
  for (const auto& extent : value.shape) {
    const auto* fixed = std::get_if<int64_t>(&extent);
    shape.message(1, fixed ? Message().number(1, static_cast<uint64_t>(*fixed))
                           : Message().text(2, std::get<std::string>(extent)));
  }
  const Message tensor = Message().number(1, id_of(value.dtype)).message(2, shape);
  return Message().text(1, value.name).message(2, Message().message(1, tensor));
}

Message tensor_of(const OnnxTensor& tensor) {
  Message out;
  for (const int64_t extent : tensor.shape) out.number(1, static_cast<uint64_t>(extent));
  return out.number(2, id_of(tensor.dtype)).text(8, tensor.name);
}

Message entry(std::string_view key, std::string_view value) { return Message().text(1, key).text(2, value); }

// A weight in the file `data`, at an offset.
Message tensor_in(const OnnxTensor& tensor, std::string_view data, uint64_t offset) {
  constexpr uint64_t kExternal = 1;
  return tensor_of(tensor)
      .message(13, entry("location", data))
      .message(13, entry("offset", std::to_string(offset)))
      .message(13, entry("length", std::to_string(tensor.bytes())))
      .number(14, kExternal);
}

Message version(std::string_view domain, int64_t opset) {
  return Message().text(1, domain).number(2, static_cast<uint64_t>(opset));
}

}  // namespace

uint64_t OnnxTensor::bytes() const {
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  return static_cast<uint64_t>(compute::bytes_of(dtype, elements));
}

Result<OnnxWriter> OnnxWriter::create(const Path& path, const OnnxModel& model, uint64_t most) {
  constexpr uint32_t kInitializer = 5, kGraph = 7;  // fields
  Message head, graph;
  head.number(1, static_cast<uint64_t>(kIrVersion)).text(2, model.program);
  head.message(8, version("", model.opset));
  if (model.microsoft != 0) head.message(8, version("com.microsoft", model.microsoft));
  for (const OnnxNode& node : model.nodes) graph.message(1, node_of(node));
  graph.text(2, path.stem().string());
  for (const OnnxTensor& tensor : model.constants) graph.message(kInitializer, tensor_of(tensor).text(9, tensor.data));
  for (const OnnxValue& value : model.inputs) graph.message(11, value_of(value));
  for (const OnnxValue& value : model.outputs) graph.message(12, value_of(value));

  TRY(AtomicFile file, AtomicFile::create(path));
  OnnxWriter out(std::move(file));
  uint64_t size = graph.bytes().size();
  for (const OnnxTensor& tensor : model.weights) {
    const std::string before = tensor_of(tensor).length(9, tensor.bytes()).bytes();
    const Message field = Message().length(kInitializer, before.size() + tensor.bytes());
    out.pieces_.push_back({field.bytes() + before, tensor.bytes()});
    size += out.pieces_.back().before.size() + tensor.bytes();
  }
  if (size > most) {
    const std::string name = path.filename().string() + "_data";
    TRY(AtomicFile data, AtomicFile::create(path.parent_path() / name));
    out.data_ = std::move(data);
    uint64_t at = 0;
    for (size_t i = 0; i < model.weights.size(); ++i) {
      out.pieces_[i].before.assign(padding(at, kExternalAlignment), '\0');
      at += padding(at, kExternalAlignment);
      graph.message(kInitializer, tensor_in(model.weights[i], name, at));
      at += model.weights[i].bytes();
    }
    size = graph.bytes().size();
  }
  TRY_STATUS(out.file_.append(head.length(kGraph, size).bytes()));
  TRY_STATUS(out.file_.append(graph.bytes()));
  return out;
}

Status OnnxWriter::append(std::span<const std::byte> bytes) {
  AtomicFile& file = data_ ? *data_ : file_;
  while (!bytes.empty()) {
    if (missing_ == 0) {
      ONSIGHT_CHECK(next_ < pieces_.size());
      TRY_STATUS(file.append(pieces_[next_].before));
      missing_ = pieces_[next_++].bytes;
    }
    const std::span<const std::byte> now = bytes.first(std::min<size_t>(bytes.size(), missing_));
    TRY_STATUS(file.append({reinterpret_cast<const char*>(now.data()), now.size()}));
    missing_ -= now.size();
    bytes = bytes.subspan(now.size());
  }
  return {};
}

Status OnnxWriter::finish() {
  ONSIGHT_CHECK(missing_ == 0 && next_ == pieces_.size());
  if (data_) TRY_STATUS(data_->commit());
  return file_.commit();
}

}  // namespace onsight::formats
