#include "server/gemini/upload_body.h"

#include <algorithm>

#include "net/http.h"

namespace onsight::server::gemini {
namespace {

constexpr size_t kMaxBoundary = 70;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// multipart/related; boundary="x"
std::string_view boundary_of(std::string_view type) {
  for (size_t at = type.find(';'); at != std::string_view::npos; at = type.find(';', at + 1)) {
    const std::string_view parameter = trimmed(type.substr(at + 1, type.find(';', at + 1) - at - 1));
    const size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || !net::equal_ignoring_case(parameter.substr(0, equals), "boundary"))
      continue;
    std::string_view value = parameter.substr(equals + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    return value;
  }
  return {};
}

struct BodyPart {
  std::string_view head, bytes;
};

// The part at the start of `rest`, which it takes from there; between delimiters.
Result<BodyPart> next_part(std::string_view& rest, const std::string& delimiter) {
  const size_t end = rest.find(delimiter);
  // The head may be empty; then its part begins with the empty line.
  const size_t head = rest.starts_with("\r\n") ? 0 : rest.find("\r\n\r\n");
  const size_t gap = head == 0 ? 2 : 4;
  if (end == std::string_view::npos || head == std::string_view::npos || head + gap > end)
    return bad_input("the body: expected two parts between lines of its boundary, of a head, an empty line and bytes");
  const BodyPart part{rest.substr(0, head), rest.substr(head + gap, end - head - gap)};
  rest.remove_prefix(end + delimiter.size());
  if (rest.starts_with("\r\n")) rest.remove_prefix(2);
  return part;
}

std::string type_of(std::string_view head) {
  constexpr std::string_view kName = "Content-Type:";
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    if (net::equal_ignoring_case(line.substr(0, kName.size()), kName))
      return std::string(trimmed(line.substr(kName.size())));
    head.remove_prefix(std::min(head.size(), line.size() + 2));
  }
  return {};
}

}  // namespace

Result<UploadBody> split_upload(std::string_view body, std::string_view content_type) {
  const std::string_view boundary = boundary_of(content_type);
  if (boundary.empty() || boundary.size() > kMaxBoundary)
    return bad_input("Content-Type: expected multipart/related with a boundary, found '{}'", content_type);
  const std::string line = fmt::format("--{}\r\n", boundary), delimiter = fmt::format("\r\n--{}", boundary);
  const size_t begin = body.starts_with(line) ? 0 : body.find("\r\n" + line);
  if (begin == std::string_view::npos) return bad_input("the body: expected to begin with the line of its boundary");
  std::string_view rest = body.substr(begin + line.size() + (begin == 0 ? 0 : 2));
  TRY(const BodyPart metadata, next_part(rest, delimiter));
  TRY(const BodyPart file, next_part(rest, delimiter));
  return UploadBody{metadata.bytes, type_of(file.head), file.bytes};
}

}  // namespace onsight::server::gemini
