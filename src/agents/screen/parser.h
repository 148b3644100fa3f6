// Parser: the characters, controls and sequences in what a program writes to its terminal (ECMA-48, as VT500 reads it).
// Its memory is bounded whatever comes: long strings and surplus parameters are dropped.
//
//   Parser parser;
//   parser.feed(bytes, receiver);   // may end in the middle of anything
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace onsight::agents::screen {

// CSI: its parameters, where -1 stands for one that is left out. `sub`: after a colon, part of the one before it.
struct Sequence {
  static constexpr int kMost = 32;
  std::array<int, kMost> values{};
  std::array<bool, kMost> sub{};
  int count = 0;
  char prefix = 0;        // '?', '>', '=', '<' or none
  char intermediate = 0;  // of more than one, '\xff': nothing here knows them
  char final = 0;

  int value(int n, int otherwise) const {
    return n < count && values[static_cast<size_t>(n)] >= 0 ? values[static_cast<size_t>(n)] : otherwise;
  }
  // Of counts, where 0 means 1 too.
  int times(int n) const { return value(n, 1) > 0 ? value(n, 1) : 1; }
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void print(char32_t character) = 0;
  virtual void control(char code) = 0;                          // C0
  virtual void escape(char intermediate, char final) = 0;       // ESC I F
  virtual void sequence(const Sequence& sequence) = 0;          // CSI
  virtual void text(char kind, std::string_view contents) = 0;  // ']' OSC, 'P' DCS, others
};

class Parser {
 public:
  void feed(std::string_view bytes, Receiver& receiver);

 private:
  enum class State { kGround, kEscape, kSequence, kString, kStringEscape };
  static constexpr size_t kLongestText = 4096;
  static constexpr int kLargestValue = 65'535;

  void take(unsigned char byte, Receiver& receiver);
  void take_ground(unsigned char byte, Receiver& receiver);
  void take_escape(unsigned char byte, Receiver& receiver);
  void take_sequence(unsigned char byte, Receiver& receiver);
  void take_string(unsigned char byte, Receiver& receiver);
  void show(char32_t character, Receiver& receiver);
  void begin_escape();
  void end_text(Receiver& receiver);

  State state_ = State::kGround;
  char intermediate_ = 0;
  Sequence sequence_;
  bool value_begun_ = false;
  char text_kind_ = 0;
  std::string text_;
  bool text_too_long_ = false;
  // A character whose bytes have not all come: what it is so far, how many are to come, and what the next may be.
  char32_t character_ = 0;
  int missing_ = 0;
  unsigned char least_ = 0x80, most_ = 0xbf;
};

}  // namespace onsight::agents::screen
