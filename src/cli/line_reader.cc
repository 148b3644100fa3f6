#include "cli/line_reader.h"

#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include "cli/interrupt.h"

namespace onsight::cli {
namespace {

constexpr int kRemembered = 1000;
constexpr size_t kMaxLineBytes = size_t{16} << 20;

class PlainReader : public LineReader {
 public:
  Event read(const std::string&, std::string& line) override {
    line.clear();
    while (true) {
      if (size_t end = buffer_.find('\n'); end != std::string::npos) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return Event::kLine;
      }
      char chunk[1 << 14];
      ssize_t n = buffer_.size() > kMaxLineBytes ? 0 : ::read(STDIN_FILENO, chunk, sizeof chunk);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      buffer_.append(chunk, static_cast<size_t>(n));
    }
    if (buffer_.empty()) return Event::kEnd;
    line = std::exchange(buffer_, {});
    return Event::kLine;
  }
  bool interactive() const override { return false; }

 private:
  std::string buffer_;
};

class EditingReader : public LineReader {
 public:
  explicit EditingReader(Path file) : file_(std::move(file)) {
    // libedit works on characters, so it has to know that the terminal speaks UTF-8; numbers stay as they are.
    std::setlocale(LC_CTYPE, "");
    if (std::strcmp(::nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
    edit_ = ::el_init("onsight", stdin, ::isatty(STDOUT_FILENO) ? stdout : stderr, stderr);
    history_ = ::history_init();
    if (!edit_ || !history_) return;
    HistEvent event;
    ::history(history_, &event, H_SETSIZE, kRemembered);
    ::history(history_, &event, H_SETUNIQUE, 1);
    if (!file_.empty()) ::history(history_, &event, H_LOAD, file_.c_str());
    ::el_set(edit_, EL_CLIENTDATA, this);
    ::el_set(edit_, EL_PROMPT, &EditingReader::prompt_of);
    ::el_set(edit_, EL_EDITOR, "emacs");
    ::el_set(edit_, EL_SIGNAL, 0);
    ::el_set(edit_, EL_HIST, ::history, history_);
    ::el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    ::el_set(edit_, EL_GETCFN, &EditingReader::next_character);
    ::el_source(edit_, nullptr);
  }

  ~EditingReader() override {
    if (edit_) ::el_end(edit_);
    if (history_) ::history_end(history_);
  }

  bool ready() const { return edit_ && history_; }

  Event read(const std::string& prompt, std::string& line) override {
    prompt_ = prompt;
    interrupted_ = false;
    drain_signals();  // of the answer before
    // Before the prompt shows; libedit alone does it after, and a key pressed in between would be lost.
    ::el_set(edit_, EL_PREP_TERM, 1);
    int length = 0;
    const char* text = ::el_gets(edit_, &length);
    if (interrupted_) {
      newline();
      return Event::kInterrupted;
    }
    if (!text || length <= 0) {
      newline();
      return Event::kEnd;
    }
    line.assign(text, static_cast<size_t>(length));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    if (!line.empty()) remember(line);
    return Event::kLine;
  }
  bool interactive() const override { return true; }

 private:
  static EditingReader& self(EditLine* edit) {
    void* data = nullptr;
    ::el_get(edit, EL_CLIENTDATA, &data);
    return *static_cast<EditingReader*>(data);
  }
  static char* prompt_of(EditLine* edit) { return self(edit).prompt_.data(); }

  // Called by libedit: waits for a character or a signal. 1: a character, 0: the end, -1: Ctrl-C or an error.
  static int next_character(EditLine* edit, wchar_t* out) {
    EditingReader& reader = self(edit);
    std::mbstate_t state{};
    while (true) {
      pollfd waiting[] = {{STDIN_FILENO, POLLIN, 0}, {signal_pipe(), POLLIN, 0}};
      if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return -1;
      if (waiting[1].revents && reader.drain_signals()) {
        reader.interrupted_ = true;
        errno = EINTR;
        return -1;
      }
      if (!waiting[0].revents) continue;
      char byte;
      ssize_t n = ::read(STDIN_FILENO, &byte, 1);
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n <= 0) return static_cast<int>(n);
      size_t used = std::mbrtowc(out, &byte, 1, &state);
      if (used == static_cast<size_t>(-1)) state = {};  // not UTF-8: dropped
      if (used == 0 || used == 1) return 1;
    }
  }

  // Whether one of them was Ctrl-C.
  bool drain_signals() {
    char bytes[64];
    bool interrupt = false, resize = false;
    for (ssize_t n; (n = ::read(signal_pipe(), bytes, sizeof bytes)) > 0;) {
      interrupt |= std::memchr(bytes, 'c', static_cast<size_t>(n)) != nullptr;
      resize |= std::memchr(bytes, 'w', static_cast<size_t>(n)) != nullptr;
    }
    if (resize) ::el_resize(edit_);
    return interrupt;
  }

  void newline() {
    FILE* out = nullptr;
    if (::el_get(edit_, EL_GETFP, 1, &out) == 0 && out) {
      std::fputc('\n', out);
      std::fflush(out);
    }
  }

  // Written beside and renamed, so that two conversations at once cannot leave half a file. Failing to remember is no
  // error.
  void remember(const std::string& line) {
    HistEvent event;
    ::history(history_, &event, H_ENTER, line.c_str());
    if (file_.empty()) return;
    std::error_code error;
    if (std::filesystem::create_directories(file_.parent_path(), error)) ::chmod(file_.parent_path().c_str(), 0700);
    Path temporary = file_;
    temporary += fmt::format(".tmp-{}", ::getpid());
    if (::history(history_, &event, H_SAVE, temporary.c_str()) < 0) {
      std::filesystem::remove(temporary, error);
      return;
    }
    ::chmod(temporary.c_str(), 0600);
    std::filesystem::rename(temporary, file_, error);
    if (error) std::filesystem::remove(temporary, error);
  }

  Path file_;
  EditLine* edit_ = nullptr;
  History* history_ = nullptr;
  std::string prompt_;
  bool interrupted_ = false;
};

}  // namespace

std::unique_ptr<LineReader> LineReader::open(const Path& history) {
  if (::isatty(STDIN_FILENO) == 1) {
    auto reader = std::make_unique<EditingReader>(history);
    if (reader->ready()) return reader;
  }
  return std::make_unique<PlainReader>();
}

Path history_file() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state && *state == '/') return Path(state) / "onsight/history";
  if (const char* home = std::getenv("HOME"); home && *home == '/') return Path(home) / ".local/state/onsight/history";
  return {};
}

}  // namespace onsight::cli
