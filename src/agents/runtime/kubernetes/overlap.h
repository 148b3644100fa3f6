// Overlap: what a terminal was sent, put together from two tellers. The log of a pod has all of its past, though the
// last line only when it is whole; who attaches sees all from some moment on. Functions of what they are given.
//
//   Delivered told;
//   std::string first = joined(told.rest_of(log), came_meanwhile);   // nothing lost, nothing twice
#pragma once

#include <string>
#include <string_view>

namespace onsight::agents::runtime::kubernetes {

// `log` and then `came`, of which the beginning may be the log's end: as much of it as can be.
std::string joined(std::string_view log, std::string_view came);

// The end of what has been passed on.
class Delivered {
 public:
  void add(std::string_view bytes);
  bool nothing() const { return tail_.empty(); }
  // What the log has behind it. Nothing where the log no longer has the place: rather that than twice.
  std::string_view rest_of(std::string_view log) const;

 private:
  std::string tail_;
  bool whole_ = true;  // it is all that was
};

}  // namespace onsight::agents::runtime::kubernetes
