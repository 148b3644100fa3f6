// AnswerReader: what an HTTP/1.1 server answers, out of bytes as they come.
//
//   AnswerReader reader;
//   TRY(bool whole, reader.add(bytes));
//   if (whole) use(reader.take().body);
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::guest {

struct Answer {
  int status = 0;
  std::string body;
};

class AnswerReader {
 public:
  explicit AnswerReader(size_t max_body_bytes = size_t{16} << 20) : max_body_bytes_(max_body_bytes) {}
  // True: the answer is whole, and what follows it is not looked at.
  Result<bool> add(std::string_view bytes);
  // The server closed the connection. True: that ended the answer; false: it was cut off.
  bool finish();
  Answer take() { return std::move(answer_); }

 private:
  enum class Stage { kHead, kSized, kChunkSize, kChunk, kChunkEnd, kTrailer, kToEnd, kDone };
  Result<bool> step();  // false: more bytes are wanted
  Status read_head(std::string_view head);
  Result<bool> take_line(std::string& line);

  size_t max_body_bytes_;
  Stage stage_ = Stage::kHead;
  std::string rest_;
  size_t left_ = 0;  // of the body, or of the chunk
  size_t trailer_bytes_ = 0;
  Answer answer_;
};

}  // namespace onsight::guest
