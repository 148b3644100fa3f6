// onsight read, onsight describe: one question about many pictures, taken up again where it stopped.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/interrupt.h"
#include "cli/journal.h"
#include "cli/model_path.h"
#include "cli/pages.h"
#include "cli/program.h"
#include "cli/request_options.h"
#include "cli/stats.h"
#include "engine/disk_cache.h"

namespace onsight::cli {
namespace {

using nlohmann::ordered_json;

// Answers that are written at the same time: more than one, because a pass for a few tokens costs hardly more than one
// for one, and few, because each holds a picture.
constexpr size_t kAtOnce = 4;
constexpr std::string_view kRowStart = R"({"file":)";
constexpr int64_t kPageFeatureBytes = int64_t{16} << 20;  // pages are hardly ever equal, but their margins

struct Task {
  std::string_view verb, prompt;
  bool text;  // its answers are the text of pages, and not captions
};
constexpr Task kRead = {"read", "Read the text.", true};
constexpr Task kDescribe = {"describe", kDefaultPrompt, false};

// What engine and verb hand each other.
class Finished {
 public:
  struct Item {
    size_t page;
    Result<engine::Reply> reply;
  };
  void push(Item item) {
    {
      const std::scoped_lock lock(mutex_);
      items_.push_back(std::move(item));
    }
    more_.notify_one();
  }
  Item pop() {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [&] { return !items_.empty(); });
    Item item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<Item> items_;
};

class AskAboutMany : public Verb {
 public:
  explicit AskAboutMany(const Task& task) : task_(task) {}

  void declare(Options& options) override {
    options.heading("What is asked");
    options_.declare_model(options);
    options.text("--prompt", "TEXT", prompt_, fmt::format("the question about each (default \"{}\")", task_.prompt));
    options.text("--system", "TEXT", options_.system, "what the model is told before");
    options.arguments("FILE|FOLDER...", paths_,
                      task_.text ? "pictures, PDFs, and folders of them; - reads a picture from standard input"
                                 : "pictures, and folders of them");
    options_.declare_answer(options);
    options_.declare_form(options);
    options_.declare_cost(options);
    options.heading("What is written");
    options.text("-o,--out", "FILE.jsonl", out_, "a JSON object a line; what is there already is not asked again");
    if (task_.text) options.flag("--json", json_, "the same on standard output");
  }

  Status run(Context& context) override {
    if (paths_.empty()) return make_error(ErrorCode::kUsage, "expected a file or a folder");
    if (out_ == "") return make_error(ErrorCode::kUsage, "--out: expected a file, found nothing");
    if (out_ && json_) return make_error(ErrorCode::kUsage, "--out and --json exclude each other");
    const auto inputs = std::count(paths_.begin(), paths_.end(), "-");
    if (inputs > 1) return make_error(ErrorCode::kUsage, "standard input can be read once only, expected one -");
    if (inputs > 0 && out_)
      return make_error(ErrorCode::kUsage, "-: expected files beside --out, standard input cannot be gone on with");
    if (!task_.text && !out_) return make_error(ErrorCode::kUsage, "expected --out FILE.jsonl, the file of captions");
    TRY_STATUS(options_.check_values());
    TRY(const Path folder, find_model(options_.model));
    TRY_STATUS(options_.load_schema());
    if (out_) TRY_STATUS(open_journal());
    PageList found = find_pages(paths_, task_.text);
    for (const std::string& note : found.notes) print_error(note);
    for (const std::string& error : found.errors) complain(error, ErrorCode::kBadInput);
    pages_ = std::move(found.pages);
    model_ = folder.filename().empty() ? folder.parent_path().filename().string() : folder.filename().string();
    prompt_ = question_of(prompt_.value_or(""), kPlaceOfPicture, task_.prompt);
    asked_ = to_hex(Sha256().add(engine::model_contents(folder)).add(options_.answer_digest()).finish()).substr(0, 16);
    const size_t all = pages_.size();
    std::erase_if(pages_, [&](const Page& page) { return is_done(page); });
    several_ = all > 1;
    if (!pages_.empty()) {
      engine::EngineOptions engine_options = options_.engine_options();
      engine_options.limits.active = kAtOnce;
      engine_options.limits.feature_bytes = kPageFeatureBytes;
      TRY(std::unique_ptr<engine::Engine> engine, context.services.load(folder, engine_options));
      TRY_STATUS(ask_all(context, *engine, static_cast<int64_t>(all)));
    }
    if (failed_ == 0) return {};
    return make_error(worst_, "{} of {} could not be read", failed_, all + found.errors.size());
  }

 private:
  // What makes an answer worth keeping: the same file, the same question, asked in the same way.
  ordered_json identity(const Page& page) const {
    ordered_json out = {{"file", page.file}};
    if (page.number) out["page"] = page.number;
    out["bytes"] = page.bytes;
    out["modified"] = page.modified;
    out["model"] = model_;
    out["prompt"] = *prompt_;
    out["asked"] = asked_;
    return out;
  }
  static std::string part_of(const ordered_json& row, std::initializer_list<const char*> names) {
    ordered_json out;
    for (const char* name : names)
      if (row.contains(name)) out[name] = row[name];
    return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  }
  // What a row is about, and what the answer was made of: of several rows about the same the last counts.
  static std::string subject_of(const ordered_json& row) {
    return absolute_name(row["file"].get<std::string>()) + part_of(row, {"page", "model", "prompt"});
  }
  static std::string state_of(const ordered_json& row) { return part_of(row, {"bytes", "modified", "asked"}); }
  bool is_done(const Page& page) const {
    const ordered_json wanted = identity(page);
    const auto found = done_.find(subject_of(wanted));
    return found != done_.end() && found->second == state_of(wanted);
  }

  // One that row_of wrote, of this verb.
  bool is_row(const Json& row) const {
    const auto is_text = [&](const char* name) { return row.contains(name) && row[name].is_string(); };
    const auto is_number = [&](const char* name) { return row.contains(name) && row[name].is_number_integer(); };
    return is_text("file") && is_number("bytes") && is_number("modified") && is_text("model") && is_text("prompt") &&
           is_text(task_.text ? "text" : "caption");
  }

  Status open_journal() {
    TRY(Journal journal, Journal::open(*out_, kRowStart, [&](const Json& row) {
          if (!is_row(row)) return false;
          done_[subject_of(row)] = state_of(row);
          return true;
        }));
    journal_.emplace(std::move(journal));
    return {};
  }

  void complain(const std::string& sentence, ErrorCode code) {
    bar_.clear();
    print_error(sentence);
    ++failed_;
    if (code == ErrorCode::kOutOfMemory) worst_ = code;
  }

  Status ask_all(Context& context, engine::Engine& engine, int64_t all) {
    interrupted() = false;
    const CatchInterrupts catching(Interrupts::kFlagOnce);
    std::jthread worker([&](const std::stop_token& stop) { engine.run(stop); });
    Finished finished;
    std::map<size_t, Stopwatch> asked;      // that are being answered
    std::map<size_t, std::string> waiting;  // rows that others stand before
    size_t next = 0, next_printed = 0;
    Status written;
    const auto print_what_is_due = [&]() -> Status {
      for (; !waiting.empty() && waiting.begin()->first == next_printed; ++next_printed) {
        const std::string text = std::move(waiting.begin()->second);
        waiting.erase(waiting.begin());
        if (text.empty()) continue;
        bar_.clear();
        TRY_STATUS(context.out.write(text));
      }
      return {};
    };
    const auto ends = [&] { return interrupted() || !written; };
    while (true) {
      // Looked at once: with Ctrl-C between two looks it would wait for an answer to nothing.
      const bool more = next < pages_.size() && !ends();
      if (!more && asked.empty()) break;
      bar_.show(task_.text ? "reading pages" : "describing pictures",
                all - static_cast<int64_t>(pages_.size()) + static_cast<int64_t>(next - asked.size()), all);
      // Pages far behind one that takes long wait for it.
      if (more && asked.size() < kAtOnce && next < next_printed + 4 * kAtOnce) {
        const size_t page = next++;
        if (Status submitted = submit(engine, page, finished); !submitted) {
          complain(submitted.error().message, submitted.error().code);
          waiting[page] = "";
        } else {
          asked.emplace(page, Stopwatch());
        }
      } else {
        Finished::Item item = finished.pop();
        const double seconds = asked.at(item.page).ms() / 1e3;
        asked.erase(item.page);
        waiting[item.page] = "";
        if (!item.reply) {
          const Error& error = item.reply.error();
          if (!ends()) complain(fmt::format("{}: {}", pages_[item.page].name(), error.message), error.code);
        } else if (item.reply->finish_reason != engine::FinishReason::kCancelled) {
          const std::string row = row_of(pages_[item.page], *item.reply, seconds);
          if (journal_) {
            if (written) written = journal_->append(row);
          } else {
            waiting[item.page] = json_ ? row + "\n" : text_of(pages_[item.page], *item.reply);
          }
        }
      }
      if (Status printed = print_what_is_due(); !printed && written) written = std::move(printed);
      if (!written) interrupted() = true;  // those that are being answered end
    }
    bar_.clear();
    TRY_STATUS(std::move(written));
    if (interrupted()) return make_error(ErrorCode::kInterrupted, "interrupted");
    return {};
  }

  Status submit(engine::Engine& engine, size_t page, Finished& finished) const {
    TRY(const Picture picture, load_page(pages_[page]));
    engine::Request request = options_.request;
    if (options_.system) request.messages.push_back(system_message(*options_.system));
    TRY(engine::Message message, engine::user_message({picture.image}, *prompt_));
    request.messages.push_back(std::move(message));
    request.cancelled = interrupted_flag();
    const Status submitted = engine.submit(request, {}, [&finished, page](Result<engine::Reply> reply) {
      finished.push({page, std::move(reply)});
    });
    if (submitted) return {};
    return make_error(submitted.error().code, "{}: {}", pages_[page].name(), submitted.error().message);
  }

  std::string row_of(const Page& page, const engine::Reply& reply, double seconds) const {
    ordered_json row = identity(page);
    if (task_.text) {
      row["text"] = reply.text;
      row["lines"] = ordered_json::array();
      for (size_t at = 0; at < reply.text.size();) {
        const size_t end = std::min(reply.text.find('\n', at), reply.text.size());
        row["lines"].push_back(reply.text.substr(at, end - at));
        at = end + 1;
      }
    } else {
      row["caption"] = reply.text;
    }
    row["finish_reason"] = std::string(engine::to_string(reply.finish_reason));
    row["prompt_tokens"] = reply.prompt_tokens;
    row["completion_tokens"] = reply.completion_tokens;
    row["seconds"] = std::round(seconds * 1e3) / 1e3;
    return row.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  }

  std::string text_of(const Page& page, const engine::Reply& reply) const {
    std::string out = several_ ? fmt::format("== {}\n", printable(page.name())) : "";
    out += reply.text;
    return out.ends_with('\n') ? out : out + '\n';
  }

  const Task& task_;
  RequestOptions options_;
  std::optional<std::string> prompt_, out_;
  std::vector<std::string> paths_;
  bool json_ = false, several_ = false;
  std::vector<Page> pages_;
  std::string model_, asked_;
  std::optional<Journal> journal_;
  std::map<std::string, std::string> done_;  // of the rows that were there, by subject
  ProgressBar bar_;
  size_t failed_ = 0;
  ErrorCode worst_ = ErrorCode::kBadInput;  // of what failed
};

}  // namespace

std::unique_ptr<Verb> make_read() { return std::make_unique<AskAboutMany>(kRead); }
std::unique_ptr<Verb> make_describe() { return std::make_unique<AskAboutMany>(kDescribe); }

}  // namespace onsight::cli
