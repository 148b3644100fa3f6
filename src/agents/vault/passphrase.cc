// Where a passphrase comes from: a terminal without echo, or a descriptor.
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "agents/vault/vault.h"

namespace onsight::agents::vault {
namespace {

constexpr size_t kMaxPassphrase = 4096;

struct OpenFile {
  int fd = -1;
  ~OpenFile() {
    if (fd >= 0) ::close(fd);
  }
};

// Byte by byte and without signals, so that Ctrl-C does not leave a terminal that shows nothing.
class QuietTerminal {
 public:
  explicit QuietTerminal(int fd) : fd_(fd) {
    if (::tcgetattr(fd, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    quiet_ = ::tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;
  ~QuietTerminal() {
    if (quiet_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
  }
  bool quiet() const { return quiet_; }

 private:
  int fd_;
  termios before_{};
  bool quiet_ = false;
};

void say(int fd, std::string_view text) { (void)!::write(fd, text.data(), text.size()); }

Result<Secret> typed(int fd, std::string_view prompt) {
  Secret out(kMaxPassphrase);
  if (out.empty()) return make_error(ErrorCode::kOutOfMemory, "not enough memory for a passphrase");
  say(fd, prompt);
  const QuietTerminal terminal(fd);
  if (!terminal.quiet()) return bad_input("the passphrase: expected a terminal that can hide what is typed");
  size_t length = 0;
  for (;;) {
    char c = 0;
    const ssize_t n = ::read(fd, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    const bool end = n <= 0 || c == '\n' || c == '\r' || c == 4;
    if (end || c == 3) say(fd, "\n");
    if (c == 3) return make_error(ErrorCode::kInterrupted, "the passphrase was not entered");
    if (end) break;
    if (c == 0x7f || c == '\b') {
      while (length > 0 && (static_cast<unsigned char>(out.data()[--length]) & 0xc0) == 0x80) {
      }  // a character of UTF-8
    } else if (c == 0x15) {
      length = 0;
    } else if (length < kMaxPassphrase) {
      out.data()[length++] = c;
    }
  }
  out.shrink(length);
  return out;
}

}  // namespace

Result<Secret> passphrase_from_descriptor(int fd, std::string_view where) {
  Secret out(kMaxPassphrase + 1);
  if (out.empty()) return make_error(ErrorCode::kOutOfMemory, "not enough memory for a passphrase");
  size_t length = 0;
  while (length < out.size()) {
    const ssize_t n = ::read(fd, out.data() + length, out.size() - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bad_input("{}: the passphrase cannot be read ({})", where, std::strerror(errno));
    if (n == 0) break;
    length += static_cast<size_t>(n);
  }
  if (length > kMaxPassphrase) return bad_input("{}: expected a passphrase of at most {} bytes", where, kMaxPassphrase);
  if (length > 0 && out.data()[length - 1] == '\n') --length;
  if (length > 0 && out.data()[length - 1] == '\r') --length;
  if (length == 0) return bad_input("{}: expected a passphrase, found nothing", where);
  out.shrink(length);
  return out;
}

Result<Secret> secret_from_terminal(std::string_view prompt) {
  const OpenFile terminal{::open("/dev/tty", O_RDWR | O_CLOEXEC)};
  if (terminal.fd < 0) return bad_input("{}expected a terminal to type it in", prompt);
  return typed(terminal.fd, prompt);
}

Result<Secret> passphrase_from_user(bool confirm) {
  if (const char* path = std::getenv("ONSIGHT_VAULT_PASSPHRASE_FILE"); path && *path) {
    const OpenFile file{::open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)};
    if (file.fd < 0) return bad_input("{}: the passphrase cannot be read ({})", path, std::strerror(errno));
    struct stat about {};
    if (::fstat(file.fd, &about) == 0 && S_ISREG(about.st_mode) && (about.st_mode & 077) != 0)
      return bad_input("{}: expected a passphrase that this user alone can read (chmod 600)", path);
    return passphrase_from_descriptor(file.fd, path);
  }
  const OpenFile terminal{::open("/dev/tty", O_RDWR | O_CLOEXEC)};
  if (terminal.fd < 0)
    return bad_input(
        "the vault: expected a terminal for the passphrase, or a file with it in ONSIGHT_VAULT_PASSPHRASE_FILE");
  TRY(Secret first, typed(terminal.fd, confirm ? "A passphrase for the new vault: " : "Passphrase of the vault: "));
  if (first.empty()) return bad_input("the vault: expected a passphrase, found nothing");
  if (!confirm) return first;
  TRY(const Secret second, typed(terminal.fd, "The same again: "));
  if (!first.equals(second.view())) return bad_input("the vault: expected the same passphrase twice");
  return first;
}

}  // namespace onsight::agents::vault
