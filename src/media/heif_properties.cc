#include "media/heif_properties.h"

#include <algorithm>

namespace onsight::media {
namespace {

// Big-endian numbers from the front of some bytes; past the end it reads zeros and says so.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}
  uint64_t number(int bytes) {
    if (rest_.size() < static_cast<size_t>(bytes)) {
      ok_ = false;
      rest_ = {};
      return 0;
    }
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<uint8_t>(rest_[i]);
    rest_.remove_prefix(bytes);
    return value;
  }
  std::string_view take(uint64_t bytes) {
    std::string_view taken = rest_.substr(0, std::min<uint64_t>(bytes, rest_.size()));
    ok_ = ok_ && taken.size() == bytes;
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

struct Box {
  std::string_view type, body;
};

std::optional<Box> next_box(Cursor& cursor) {
  if (cursor.rest().empty()) return {};
  uint64_t size = cursor.number(4), header = 8;
  std::string_view type = cursor.take(4);
  if (size == 1) {
    size = cursor.number(8);
    header = 16;
  } else if (size == 0) {
    size = header + cursor.rest().size();  // up to the end
  }
  if (!cursor.ok() || size < header) return {};
  std::string_view body = cursor.take(size - header);
  if (!cursor.ok()) return {};
  return Box{type, body};
}

std::optional<std::string_view> find_box(std::string_view bytes, std::string_view type) {
  Cursor cursor(bytes);
  while (std::optional<Box> box = next_box(cursor)) {
    if (box->type == type) return box->body;
  }
  return {};
}

// The places, counted from 1, of the item's properties in the list of properties; in the order in which they apply.
std::optional<std::vector<uint32_t>> properties_of(std::string_view associations, uint32_t item) {
  Cursor cursor(associations);
  bool long_items = cursor.number(1) >= 1;
  bool long_places = cursor.number(3) & 1;
  uint64_t items = cursor.number(4);
  for (uint64_t i = 0; i < items && cursor.ok(); ++i) {
    bool wanted = cursor.number(long_items ? 4 : 2) == item;
    uint64_t count = cursor.number(1);
    std::vector<uint32_t> places;
    for (uint64_t k = 0; k < count && cursor.ok(); ++k) {
      uint64_t place = cursor.number(long_places ? 2 : 1);
      places.push_back(static_cast<uint32_t>(place & (long_places ? 0x7FFF : 0x7F)));
    }
    if (wanted && cursor.ok()) return places;
  }
  return {};
}

int byte_at(std::string_view bytes, size_t i) { return i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0; }

bool is_matrix(const Box& box) { return box.type == "colr" && box.body.size() >= 11 && box.body.starts_with("nclx"); }

HeifChange read_crop(std::string_view body) {
  Cursor cursor(body);
  auto fraction = [&] {
    double over = static_cast<int32_t>(cursor.number(4)), under = static_cast<int32_t>(cursor.number(4));
    return under == 0 ? 0.0 : over / under;
  };
  HeifChange crop;
  crop.width = fraction();
  crop.height = fraction();
  crop.off_center_x = fraction();
  crop.off_center_y = fraction();
  return crop;
}

void add_property(const Box& box, HeifProperties& properties) {
  std::string_view body = box.body;
  if (box.type == "clap") properties.changes.push_back(read_crop(body));
  if (box.type == "imir") properties.changes.push_back({.turn = (byte_at(body, 0) & 1) != 0 ? 2 : 4});
  if (box.type == "irot" && (byte_at(body, 0) & 3) != 0) {
    constexpr int kTurns[] = {8, 3, 6};  // counted in quarter turns to the left
    properties.changes.push_back({.turn = kTurns[(byte_at(body, 0) & 3) - 1]});
  }
  if (box.type == "av1C") {
    properties.is_coded = true;
    properties.has_chroma = (byte_at(body, 2) & 0x10) == 0;
    properties.shift_x = byte_at(body, 2) >> 3 & 1;
    properties.shift_y = byte_at(body, 2) >> 2 & 1;
  }
  if (box.type == "hvcC") {
    int format = byte_at(body, 16) & 3;  // none, 4:2:0, 4:2:2, 4:4:4
    properties.is_coded = true;
    properties.has_chroma = format != 0;
    properties.shift_x = format == 1 || format == 2;
    properties.shift_y = format == 1;
  }
  if (is_matrix(box)) {
    properties.has_matrix = true;
    properties.primaries = byte_at(body, 4) << 8 | byte_at(body, 5);
    properties.matrix = byte_at(body, 8) << 8 | byte_at(body, 9);
    properties.full_range = (byte_at(body, 10) & 0x80) != 0;
  }
}

}  // namespace

std::optional<HeifProperties> read_heif_properties(std::string_view bytes, uint32_t item) {
  std::optional<std::string_view> meta = find_box(bytes, "meta");
  if (!meta || meta->size() < 4) return {};
  std::optional<std::string_view> about = find_box(meta->substr(4), "iprp");
  if (!about) return {};
  std::optional<std::string_view> list = find_box(*about, "ipco");
  if (!list) return {};
  HeifProperties properties;
  std::vector<Box> boxes;
  Cursor list_cursor(*list);
  while (std::optional<Box> box = next_box(list_cursor)) {
    boxes.push_back(*box);
    if (is_matrix(*box)) properties.matrix_offsets.push_back(static_cast<size_t>(box->body.data() - bytes.data()) + 8);
  }
  Cursor cursor(*about);
  while (std::optional<Box> box = next_box(cursor)) {
    if (box->type != "ipma") continue;
    std::optional<std::vector<uint32_t>> places = properties_of(box->body, item);
    if (!places) continue;
    for (uint32_t place : *places) {
      if (place >= 1 && place <= boxes.size()) add_property(boxes[place - 1], properties);
    }
    return properties;
  }
  return {};
}

}  // namespace onsight::media
