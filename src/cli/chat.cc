// onsight chat: a conversation in the terminal.
#include <unistd.h>

#include <cstdlib>

#include "cli/answer.h"
#include "cli/conversation.h"
#include "cli/line_reader.h"
#include "cli/model_path.h"
#include "cli/stats.h"

namespace onsight::cli {
namespace {

constexpr std::string_view kCommands = R"(/image FILE   show a picture with the next message
/reset        forget the conversation
/save FILE    keep the conversation in a file (pictures by their path)
/load FILE    go on with a conversation that was kept
/help         list these commands
/exit         leave; so does Ctrl-D
)";

// Standard output holds the answers; all else that is said goes here.
void say(std::string_view text) {
  Output error(STDERR_FILENO);
  (void)error.write(text);
}

std::string trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string_view::npos ? std::string() : std::string(text.substr(begin, end - begin + 1));
}

// A path as people type or drop it: in quotes, or from the home folder.
std::string typed_path(std::string path) {
  if (path.size() >= 2 && (path.front() == '"' || path.front() == '\'') && path.back() == path.front())
    path = path.substr(1, path.size() - 2);
  const char* home = std::getenv("HOME");
  if (home && (path == "~" || path.starts_with("~/"))) path = home + path.substr(1);
  return path;
}

class Chat : public Verb {
 public:
  void declare(Options& options) override {
    options_.declare_inputs(options, "a picture for the first message, in order");
    options_.declare_answer(options);
    options_.declare_cost(options);
    options_.declare_savings(options);
    options.heading("What is printed");
    options.flag("--stats", stats_, "print tokens, times and memory on standard error after each answer");
  }

  Status run(Context& context) override {
    TRY_STATUS(options_.check_values());
    TRY(Path folder, find_model(options_.model));
    for (const std::string& path : options_.images) {
      if (path == "-")
        return make_error(ErrorCode::kUsage, "--image -: standard input is the conversation, expected a file");
      TRY_STATUS(add_picture(path));
    }
    TRY(engine_, context.services.load(folder, options_.engine_options()));
    conversation_ = Conversation(options_.system);
    reader_ = LineReader::open(history_file());
    // In a terminal Ctrl-C never ends the program; in a script only an answer is worth saving from it.
    CatchInterrupts catching(reader_->interactive() ? Interrupts::kFlag : Interrupts::kEndProgram);
    if (reader_->interactive()) say(fmt::format("{}: /help lists the commands, Ctrl-D leaves\n", engine_->info().name));
    return converse(context);
  }

 private:
  Status converse(Context& context) {
    while (!left_) {
      std::string prompt = pictures_.empty()       ? "> "
                           : pictures_.size() == 1 ? "(1 picture) > "
                                                   : fmt::format("({} pictures) > ", pictures_.size());
      std::string line;
      LineReader::Event event = reader_->read(prompt, line);
      if (event == LineReader::Event::kEnd) break;
      if (event == LineReader::Event::kInterrupted) continue;
      Status status = without_throwing([&] { return line.starts_with('/') ? command(line) : message(context, line); });
      if (context.out.failed()) return status;
      if (!status) print_error(status.error().message);  // and the conversation goes on
    }
    return {};
  }

  Status message(Context& context, const std::string& line) {
    std::string text = trimmed(line);
    if (text.empty() && pictures_.empty()) return {};
    if (text.empty()) text = kDefaultPrompt;
    TRY_STATUS(conversation_.add_user(text, pictures_));
    pictures_.clear();
    engine::Request request = options_.request;
    request.messages = conversation_.messages();
    // What fails or says nothing leaves the conversation as it was, the pictures ready for another try.
    Result<Answer> answer = make_error(ErrorCode::kBadInput, "no answer");
    Status status = without_throwing([&]() -> Status {
      answer = generate(context, *engine_, std::move(request),
                        {.interrupts = reader_->interactive() ? Interrupts::kFlag : Interrupts::kFlagOnce});
      if (!answer) return tl::unexpected<Error>(answer.error());
      return {};
    });
    if (!status || answer->reply.text.empty()) pictures_ = conversation_.take_last().pictures;
    if (!status && status.error().code == ErrorCode::kInterrupted) return {};
    TRY_STATUS(status);
    if (!answer->reply.text.empty()) conversation_.add_assistant(answer->reply.text);
    if (stats_) print_stats(answer->reply, engine_->info(), answer->tiles);
    return {};
  }

  Status command(const std::string& line) {
    std::string name = line.substr(0, line.find_first_of(" \t"));
    std::string rest = typed_path(trimmed(std::string_view(line).substr(name.size())));
    if (name == "/image" || name == "/save" || name == "/load") {
      if (rest.empty()) return make_error(ErrorCode::kUsage, "{}: expected a file after it", name);
    } else if (!rest.empty() && (name == "/reset" || name == "/help" || name == "/exit")) {
      return make_error(ErrorCode::kUsage, "{}: expected nothing after it, found '{}'", name, rest);
    }
    if (name == "/image") return add_picture(rest);
    if (name == "/save") {
      TRY_STATUS(conversation_.save(rest));
      say(fmt::format("{} messages kept in {}\n", conversation_.size(), printable(rest)));
      return {};
    }
    if (name == "/load") {
      TRY_STATUS(conversation_.load(rest));
      pictures_.clear();
      say(fmt::format("{} messages from {}\n", conversation_.size(), printable(rest)));
      return {};
    }
    if (name == "/reset") {
      conversation_.reset();
      pictures_.clear();
      say("the conversation is forgotten\n");
      return {};
    }
    if (name == "/help") {
      say(kCommands);
      return {};
    }
    if (name == "/exit") {
      left_ = true;
      return {};
    }
    std::string meant = nearest(name, {"/image", "/reset", "/save", "/load", "/help", "/exit"});
    return make_error(ErrorCode::kUsage, "unknown command '{}'{}", name,
                      meant.empty() ? " (/help lists them)" : fmt::format(", did you mean '{}'?", meant));
  }

  Status add_picture(const std::string& path) {
    TRY(Picture picture, load_picture(path));
    std::error_code error;
    picture.path = std::filesystem::absolute(path, error).lexically_normal().string();
    if (::isatty(STDERR_FILENO) == 1)
      say(fmt::format("{}: {} x {} pixels, shown with the next message\n", printable(path), picture.image->width,
                      picture.image->height));
    pictures_.push_back(std::move(picture));
    return {};
  }

  RequestOptions options_;
  bool stats_ = false, left_ = false;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<LineReader> reader_;
  Conversation conversation_{std::nullopt};
  std::vector<Picture> pictures_;  // for the next message
};

}  // namespace

std::unique_ptr<Verb> make_chat() { return std::make_unique<Chat>(); }

}  // namespace onsight::cli
