#include "answer.h"

#include <algorithm>
#include <charconv>

namespace onsight::guest {
namespace {

constexpr size_t kMaxHeadBytes = 64 << 10;
constexpr size_t kMaxAnswerLineBytes = 1 << 10;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

bool number(std::string_view text, int base, size_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<bool> AnswerReader::add(std::string_view bytes) {
  rest_.append(bytes);
  while (stage_ != Stage::kDone) {
    TRY(const bool went_on, step());
    if (!went_on) return false;
  }
  return true;
}

bool AnswerReader::finish() {
  if (stage_ == Stage::kToEnd) stage_ = Stage::kDone;
  return stage_ == Stage::kDone;
}

Result<bool> AnswerReader::take_line(std::string& line) {
  const size_t end = rest_.find('\n');
  if (end == std::string::npos ? rest_.size() > kMaxAnswerLineBytes : end > kMaxAnswerLineBytes)
    return bad_input("broker: a line of its answer is longer than {} bytes", kMaxAnswerLineBytes);
  if (end == std::string::npos) return false;
  line = trimmed(std::string_view(rest_).substr(0, end));
  rest_.erase(0, end + 1);
  return true;
}

Result<bool> AnswerReader::step() {
  switch (stage_) {
    case Stage::kHead: {
      const size_t end = rest_.find("\r\n\r\n");
      if (end == std::string::npos ? rest_.size() > kMaxHeadBytes : end > kMaxHeadBytes)
        return bad_input("broker: the head of its answer is longer than {} bytes", kMaxHeadBytes);
      if (end == std::string::npos) return false;
      const std::string head = rest_.substr(0, end);
      rest_.erase(0, end + 4);
      TRY_STATUS(read_head(head));
      return true;
    }
    case Stage::kSized:
    case Stage::kChunk: {
      const size_t now = std::min(left_, rest_.size());
      answer_.body.append(rest_, 0, now);
      rest_.erase(0, now);
      left_ -= now;
      if (left_ != 0) return false;
      stage_ = stage_ == Stage::kSized ? Stage::kDone : Stage::kChunkEnd;
      return true;
    }
    case Stage::kChunkSize: {
      std::string line;
      TRY(const bool whole, take_line(line));
      if (!whole) return false;
      if (!number(trimmed(std::string_view(line).substr(0, line.find(';'))), 16, left_))
        return bad_input("broker: expected the size of a chunk");
      if (left_ > max_body_bytes_ - answer_.body.size())
        return bad_input("broker: its answer is longer than {} bytes", max_body_bytes_);
      stage_ = left_ == 0 ? Stage::kTrailer : Stage::kChunk;
      return true;
    }
    case Stage::kChunkEnd:
    case Stage::kTrailer: {
      std::string line;
      TRY(const bool whole, take_line(line));
      if (!whole) return false;
      if (stage_ == Stage::kChunkEnd) {
        if (!line.empty()) return bad_input("broker: expected the end of a chunk");
        stage_ = Stage::kChunkSize;
      } else if (line.empty()) {
        stage_ = Stage::kDone;
      } else if ((trailer_bytes_ += line.size()) > kMaxHeadBytes) {
        return bad_input("broker: what follows its answer is longer than {} bytes", kMaxHeadBytes);
      }
      return true;
    }
    case Stage::kToEnd:
      if (rest_.size() > max_body_bytes_ - answer_.body.size())
        return bad_input("broker: its answer is longer than {} bytes", max_body_bytes_);
      answer_.body += rest_;
      rest_.clear();
      return false;
    case Stage::kDone:
      break;
  }
  return false;
}

Status AnswerReader::read_head(std::string_view head) {
  const std::string_view line = head.substr(0, head.find("\r\n"));
  size_t status = 0;
  if (!line.starts_with("HTTP/1.") || line.size() < 12 || line[8] != ' ' || !number(line.substr(9, 3), 10, status) ||
      status < 100)
    return bad_input("broker: expected HTTP/1.1 and a status");
  bool chunked = false, sized = false;
  size_t length = 0;
  while (!head.empty()) {
    head.remove_prefix(std::min(head.find("\r\n"), head.size()));
    head.remove_prefix(std::min<size_t>(2, head.size()));
    const std::string_view field = head.substr(0, head.find("\r\n"));
    const size_t colon = field.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string name = lower(field.substr(0, colon));
    const std::string_view value = trimmed(field.substr(colon + 1));
    if (name == "transfer-encoding") chunked = lower(value).ends_with("chunked");
    if (name == "content-length") {
      if (!number(value, 10, length)) return bad_input("broker: Content-Length: expected a number");
      sized = true;
    }
  }
  if (status < 200) return {};  // the answer itself follows
  answer_.status = static_cast<int>(status);
  if (status == 204 || status == 304) {
    stage_ = Stage::kDone;
  } else if (chunked) {
    stage_ = Stage::kChunkSize;
  } else if (sized) {
    if (length > max_body_bytes_) return bad_input("broker: its answer is longer than {} bytes", max_body_bytes_);
    left_ = length;
    stage_ = Stage::kSized;
  } else {
    stage_ = Stage::kToEnd;
  }
  return {};
}

}  // namespace onsight::guest
