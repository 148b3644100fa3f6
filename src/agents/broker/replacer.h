// Replacer: puts one text in the place of another in a stream that comes in pieces. What cannot be the beginning of the
// text goes on at once, so a stream of tokens is not held up.
//
//   Replacer replacer(key.view(), placeholder);
//   replacer.feed(bytes, out);
//   replacer.finish(out);
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onsight::agents::broker {

class Replacer {
 public:
  // The views must outlive it. An empty needle is found nowhere.
  Replacer(std::string_view needle, std::string_view with);
  ~Replacer();
  Replacer(const Replacer&) = delete;
  Replacer& operator=(const Replacer&) = delete;

  void feed(std::string_view in, std::string& out);
  void finish(std::string& out);
  int64_t found() const { return found_; }

 private:
  std::string_view needle_, with_;
  std::vector<size_t> back_;  // of Knuth, Morris and Pratt: where to go on after a difference
  size_t matched_ = 0;
  int64_t found_ = 0;
};

}  // namespace onsight::agents::broker
