#include "agents/screen/parser.h"

#include <algorithm>

namespace onsight::agents::screen {
namespace {

constexpr unsigned char kEscape = 0x1b, kCancel = 0x18, kSubstitute = 0x1a, kBell = 0x07, kDelete = 0x7f;

}  // namespace

void Parser::feed(std::string_view bytes, Receiver& receiver) {
  for (const char byte : bytes) take(static_cast<unsigned char>(byte), receiver);
}

void Parser::take(unsigned char byte, Receiver& receiver) {
  if (state_ == State::kString || state_ == State::kStringEscape) return take_string(byte, receiver);
  if (state_ == State::kGround && (missing_ > 0 || byte >= 0x80)) return take_ground(byte, receiver);
  // Controls act in the middle of sequences too.
  if (byte == kEscape) return begin_escape();
  if (byte == kCancel || byte == kSubstitute) {
    state_ = State::kGround;
    return;
  }
  if (byte < 0x20) return receiver.control(static_cast<char>(byte));
  if (byte == kDelete) return;
  switch (state_) {
    case State::kEscape:
      return take_escape(byte, receiver);
    case State::kSequence:
      return take_sequence(byte, receiver);
    default:
      return receiver.print(byte);
  }
}

// UTF-8 as the Unicode standard has it: of a character that is broken off, one U+FFFD stands for all that could begin
// it.
void Parser::take_ground(unsigned char byte, Receiver& receiver) {
  if (missing_ > 0) {
    if (byte >= least_ && byte <= most_) {
      character_ = (character_ << 6) | (byte & 0x3f);
      least_ = 0x80, most_ = 0xbf;
      if (--missing_ == 0) show(character_, receiver);
      return;
    }
    missing_ = 0;
    receiver.print(0xfffd);
    return take(byte, receiver);
  }
  least_ = 0x80, most_ = 0xbf;
  if (byte >= 0xc2 && byte <= 0xdf) {
    missing_ = 1, character_ = byte & 0x1f;
  } else if (byte >= 0xe0 && byte <= 0xef) {
    missing_ = 2, character_ = byte & 0x0f;
    if (byte == 0xe0) least_ = 0xa0;
    if (byte == 0xed) most_ = 0x9f;  // surrogates
  } else if (byte >= 0xf0 && byte <= 0xf4) {
    missing_ = 3, character_ = byte & 0x07;
    if (byte == 0xf0) least_ = 0x90;
    if (byte == 0xf4) most_ = 0x8f;
  } else {
    receiver.print(0xfffd);
  }
}

// C1 controls are two-byte spellings of ESC and a letter.
void Parser::show(char32_t character, Receiver& receiver) {
  if (character >= 0xa0) return receiver.print(character);
  begin_escape();
  take_escape(static_cast<unsigned char>(character - 0x40), receiver);
}

void Parser::begin_escape() {
  state_ = State::kEscape;
  intermediate_ = 0;
}

void Parser::take_escape(unsigned char byte, Receiver& receiver) {
  if (byte >= 0x80) {
    state_ = State::kGround;
    return take(byte, receiver);
  }
  if (byte < 0x30) {
    intermediate_ = intermediate_ == 0 ? static_cast<char>(byte) : '\xff';
    return;
  }
  state_ = State::kGround;
  if (intermediate_ == 0 && byte == '[') {
    state_ = State::kSequence;
    sequence_ = {};
    value_begun_ = false;
    return;
  }
  if (intermediate_ == 0 && (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_')) {
    state_ = State::kString;
    text_kind_ = static_cast<char>(byte);
    text_.clear();
    text_too_long_ = false;
    return;
  }
  receiver.escape(intermediate_, static_cast<char>(byte));
}

void Parser::take_sequence(unsigned char byte, Receiver& receiver) {
  if (byte >= 0x80) {
    state_ = State::kGround;
    return take(byte, receiver);
  }
  Sequence& s = sequence_;
  const auto begin_value = [&](bool sub) {
    if (s.count == Sequence::kMost) return;
    s.values[static_cast<size_t>(s.count)] = -1;
    s.sub[static_cast<size_t>(s.count)] = sub;
    ++s.count;
  };
  if (byte >= '0' && byte <= '9') {
    if (!value_begun_) begin_value(false);
    value_begun_ = true;
    int& value = s.values[static_cast<size_t>(s.count - 1)];
    value = std::min(std::max(value, 0) * 10 + (byte - '0'), kLargestValue);
  } else if (byte == ';' || byte == ':') {
    if (!value_begun_) begin_value(false);  // one that is left out
    value_begun_ = true;
    // The surplus goes to the last, which then is no number of anything.
    if (s.count < Sequence::kMost) begin_value(byte == ':');
  } else if (byte >= 0x3c && byte <= 0x3f) {
    s.prefix = s.count == 0 && s.prefix == 0 ? static_cast<char>(byte) : '\xff';
  } else if (byte < 0x30) {
    s.intermediate = s.intermediate == 0 ? static_cast<char>(byte) : '\xff';
  } else {
    s.final = static_cast<char>(byte);
    state_ = State::kGround;
    receiver.sequence(s);
  }
}

void Parser::take_string(unsigned char byte, Receiver& receiver) {
  if (state_ == State::kStringEscape) {
    end_text(receiver);
    if (byte == '\\') return;
    begin_escape();
    return take(byte, receiver);
  }
  if (byte == kEscape) {
    state_ = State::kStringEscape;
  } else if (byte == kCancel || byte == kSubstitute) {
    state_ = State::kGround;
  } else if (byte == kBell && text_kind_ == ']') {
    end_text(receiver);
  } else if (text_.size() == kLongestText) {
    text_too_long_ = true;
  } else if (byte >= 0x20 && byte != kDelete) {
    text_ += static_cast<char>(byte);
  }
}

void Parser::end_text(Receiver& receiver) {
  state_ = State::kGround;
  if (!text_too_long_) receiver.text(text_kind_, text_);
}

}  // namespace onsight::agents::screen
