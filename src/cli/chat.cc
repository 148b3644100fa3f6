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
/video FILE   show a video with the next message
/reset        forget the conversation
/save FILE    keep the conversation in a file (pictures and videos by their path)
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
    options_.declare_videos(options);
    options_.declare_answer(options);
    options_.declare_cost(options);
    options_.declare_savings(options);
    options.heading("What is printed");
    options.flag("--stats", stats_, "print tokens, times and memory on standard error after each answer");
  }

  Status run(Context& context) override {
    TRY_STATUS(options_.check_values());
    TRY_STATUS(options_.check_clip());
    TRY(Path folder, find_model(options_.model));
    for (const auto& [option, paths] : {std::pair("--image", &options_.images), {"--video", &options_.videos}})
      for (const std::string& path : *paths) {
        if (path == "-")
          return make_error(ErrorCode::kUsage, "{} -: standard input is the conversation, expected a file", option);
        TRY_STATUS(paths == &options_.images ? add_picture(path) : add_film(path));
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
      const std::string prompt = waiting() + "> ";
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
    if (text.empty() && shown_.empty()) return {};
    if (!shown_.films.empty()) text = question_of(text, kPlaceOfVideo, kDefaultVideoPrompt);
    if (!shown_.pictures.empty()) text = question_of(text, kPlaceOfPicture, kDefaultPrompt);
    TRY_STATUS(conversation_.add_user(text, shown_));
    shown_ = {};
    engine::Request request = options_.request;
    request.messages = conversation_.messages();
    // What fails or says nothing leaves the conversation as it was, what is shown ready for another try.
    Result<Answer> answer = make_error(ErrorCode::kBadInput, "no answer");
    Status status = without_throwing([&]() -> Status {
      answer = generate(context, *engine_, std::move(request),
                        {.interrupts = reader_->interactive() ? Interrupts::kFlag : Interrupts::kFlagOnce});
      if (!answer) return tl::unexpected<Error>(answer.error());
      return {};
    });
    if (!status || answer->reply.text.empty()) shown_ = conversation_.take_last().shown;
    if (!status && status.error().code == ErrorCode::kInterrupted) return {};
    if (!status && status.error().reason == "context_length_exceeded") {
      shown_ = {};  // kept, they would make every further message too long
      return make_error(status.error().code, "{}; the message is left out (/reset forgets those before it)",
                        status.error().message);
    }
    TRY_STATUS(status);
    if (!answer->reply.text.empty()) conversation_.add_assistant(answer->reply.text);
    if (stats_) print_stats(answer->reply, engine_->info(), answer->tiles);
    return {};
  }

  Status command(const std::string& line) {
    std::string name = line.substr(0, line.find_first_of(" \t"));
    std::string rest = typed_path(trimmed(std::string_view(line).substr(name.size())));
    if (name == "/image" || name == "/video" || name == "/save" || name == "/load") {
      if (rest.empty()) return make_error(ErrorCode::kUsage, "{}: expected a file after it", name);
    } else if (!rest.empty() && (name == "/reset" || name == "/help" || name == "/exit")) {
      return make_error(ErrorCode::kUsage, "{}: expected nothing after it, found '{}'", name, rest);
    }
    if (name == "/image") return add_picture(rest);
    if (name == "/video") return add_film(rest);
    if (name == "/save") {
      TRY_STATUS(conversation_.save(rest));
      say(fmt::format("{} messages kept in {}\n", conversation_.size(), printable(rest)));
      return {};
    }
    if (name == "/load") {
      TRY_STATUS(conversation_.load(rest));
      shown_ = {};
      say(fmt::format("{} messages from {}\n", conversation_.size(), printable(rest)));
      return {};
    }
    if (name == "/reset") {
      conversation_.reset();
      shown_ = {};
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
    std::string meant = nearest(name, {"/image", "/video", "/reset", "/save", "/load", "/help", "/exit"});
    return make_error(ErrorCode::kUsage, "unknown command '{}'{}", name,
                      meant.empty() ? " (/help lists them)" : fmt::format(", did you mean '{}'?", meant));
  }

  // "(2 pictures) ", for the prompt.
  std::string waiting() const {
    const auto count = [](size_t n, std::string_view thing) {
      return n == 0 ? std::string() : fmt::format("({} {}{}) ", n, thing, n == 1 ? "" : "s");
    };
    return count(shown_.pictures.size(), "picture") + count(shown_.films.size(), "video");
  }

  Status add_film(const std::string& path) {
    if (!shown_.pictures.empty())
      return bad_input("{}: pictures are shown with this message, which excludes videos", path);
    TRY(Film film, Film::open(path, options_.clip));
    const media::VideoFacts& facts = film.clip.video->facts();
    if (::isatty(STDERR_FILENO) == 1)
      say(fmt::format("{}: {:.0f} s of {} x {} pixels, shown with the next message\n", printable(path), facts.duration,
                      facts.width, facts.height));
    shown_.films.push_back(std::move(film));
    return {};
  }

  Status add_picture(const std::string& path) {
    if (!shown_.films.empty())
      return bad_input("{}: videos are shown with this message, which excludes pictures", path);
    TRY(Picture picture, load_picture(path));
    std::error_code error;
    picture.path = std::filesystem::absolute(path, error).lexically_normal().string();
    if (::isatty(STDERR_FILENO) == 1)
      say(fmt::format("{}: {} x {} pixels, shown with the next message\n", printable(path), picture.image->width,
                      picture.image->height));
    shown_.pictures.push_back(std::move(picture));
    return {};
  }

  RequestOptions options_;
  bool stats_ = false, left_ = false;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<LineReader> reader_;
  Conversation conversation_{std::nullopt};
  Shown shown_;  // with the next message
};

}  // namespace

std::unique_ptr<Verb> make_chat() { return std::make_unique<Chat>(); }

}  // namespace onsight::cli
