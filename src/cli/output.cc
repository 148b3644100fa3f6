#include "cli/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace onsight::cli {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The length of the control character at text[i], 0 if there is none: C0 and DEL, and C1 in its UTF-8 form.
size_t control_length(std::string_view text, size_t i) {
  unsigned char c = static_cast<unsigned char>(text[i]);
  if (c < 0x20 || c == 0x7F) return 1;
  if (c != 0xC2 || i + 1 >= text.size()) return 0;
  return static_cast<unsigned char>(text[i + 1]) < 0xA0 ? 2 : 0;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t control = control_length(text, i);
    if (control == 0) {
      out += text[i++];
    } else {
      out += text[i] == '\n' || text[i] == '\t' ? std::string_view(" ") : kReplacement;
      i += control;
    }
  }
  return out;
}

std::string shortened(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  auto continues = [&](size_t i) { return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80; };
  size_t head = bytes / 2, tail = text.size() - bytes / 2;
  while (head > 0 && continues(head)) --head;
  while (continues(tail)) ++tail;
  return text.substr(0, head) + " … " + text.substr(tail);
}

Status Output::write(std::string_view bytes) {
  while (!bytes.empty() && !failed_) {
    ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno != EINTR) {
      failed_ = true;
      reader_gone_ = errno == EPIPE;
      reason_ = std::strerror(errno);
    }
  }
  if (failed_) return make_error(ErrorCode::kIo, "standard output: cannot be written ({})", reason_);
  return {};
}

bool Output::is_terminal() const { return ::isatty(fd_) == 1; }

Status AnswerPrinter::print(std::string_view piece) {
  started_ = true;
  std::string out;
  for (size_t i = 0; i < piece.size();) {
    if (piece[i] == '\n') {
      ++newlines_held_;
      ++i;
      continue;
    }
    out.append(std::exchange(newlines_held_, 0), '\n');
    size_t control = terminal_ && piece[i] != '\t' ? control_length(piece, i) : 0;
    out += control ? kReplacement : piece.substr(i, 1);
    i += std::max<size_t>(control, 1);
  }
  return out_.write(out);
}

Status AnswerPrinter::finish() {
  newlines_held_ = 0;
  return out_.write("\n");
}

ProgressBar::ProgressBar() {
  const char* term = std::getenv("TERM");
  enabled_ = ::isatty(STDERR_FILENO) == 1 && term && std::string_view(term) != "dumb";
}

void ProgressBar::show(std::string_view what, int64_t done, int64_t total) {
  auto now = std::chrono::steady_clock::now();
  if (!enabled_ || total <= 0 || (now < next_ && done < total)) return;
  next_ = now + std::chrono::milliseconds(50);
  struct winsize window {};
  int columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
  done = std::clamp<int64_t>(done, 0, total);
  std::string count = fmt::format(" {}/{}", done, total);
  int width = std::clamp(columns - static_cast<int>(what.size() + count.size()) - 4, 0, 40);
  int filled = static_cast<int>(width * done / total);
  std::string line = fmt::format("{} [{}{}]{}", what, std::string(static_cast<size_t>(filled), '#'),
                                 std::string(static_cast<size_t>(width - filled), '.'), count);
  if (width == 0) line = count.substr(1);
  if (line == last_) return;
  write_all(STDERR_FILENO, "\r\033[K" + line);
  last_ = std::move(line);
  drawn_ = true;
}

void ProgressBar::say(std::string_view what) {
  const auto now = std::chrono::steady_clock::now();
  if (!enabled_ || what == last_ || now < next_) return;
  next_ = now + std::chrono::milliseconds(50);
  write_all(STDERR_FILENO, fmt::format("\r\033[K{}", what));
  last_ = what;
  drawn_ = true;
}

void ProgressBar::clear() {
  if (!drawn_) return;
  write_all(STDERR_FILENO, "\r\033[K");
  drawn_ = false;
  last_.clear();
}

}  // namespace onsight::cli
