// Pretokenizer: cuts text into the pieces that BPE works on, as tokenizer.json's "pre_tokenizer" says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace onsight::text {

class Pretokenizer {
 public:
  // `view` is at "pre_tokenizer". Supported: ByteLevel, alone or last in a Sequence after Digits and Split.
  static Result<Pretokenizer> from_json(const JsonView& view);

  // Calls piece(std::string_view bytes, bool stable) for every piece of `text` (valid UTF-8), in order. A piece that is
  // not stable (a space was put before it) is gone after the call.
  template <class Piece>
  void split(std::string_view text, Piece&& piece) const {
    if (!text.empty()) run(0, text, piece);
  }

 private:
  // Each takes the text from some position on and returns the length of the first piece; every byte falls into a piece.
  using Match = size_t (*)(std::string_view text);
  struct Stage {
    Match match = nullptr;
    std::string literal;  // for a Split at a fixed string: match is null
  };

  static Status add_stages(const JsonView& view, int depth, Pretokenizer& out);
  static Status add_byte_level(const JsonView& view, Pretokenizer& out);
  static Status add_split(const JsonView& view, Pretokenizer& out);

  template <class Piece>
  void run(size_t stage, std::string_view text, Piece& piece) const {
    if (stage == stages_.size()) return finish(text, piece);
    const Stage& s = stages_[stage];
    while (!text.empty()) {
      size_t length = s.match ? s.match(text) : literal_piece(text, s.literal);
      run(stage + 1, text.substr(0, length), piece);
      text.remove_prefix(length);
    }
  }
  template <class Piece>
  void finish(std::string_view text, Piece& piece) const {
    std::string spaced;
    bool stable = !add_prefix_space_ || text.front() == ' ';
    if (!stable) text = spaced.append(" ").append(text);
    if (!last_) return piece(text, stable);
    while (!text.empty()) {
      size_t length = last_(text);
      piece(text.substr(0, length), stable);
      text.remove_prefix(length);
    }
  }
  static size_t literal_piece(std::string_view text, std::string_view literal);

  std::vector<Stage> stages_;
  bool has_byte_level_ = false;
  bool add_prefix_space_ = false;
  Match last_ = nullptr;  // ByteLevel's own regular expression
};

}  // namespace onsight::text
