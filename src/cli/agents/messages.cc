// onsight agents message, inbox: what is written to agents, and what they write.
#include "base/file.h"
#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

using agents::state::MessageRow;

constexpr uint64_t kMostMessage = 64 << 10;

class AgentsMessage : public Verb {
 public:
  void declare(Options& options) override {
    options.number("--reply-to", "N", reply_to_, {.min = 0, .max = 1e9}, "the message of your inbox that this answers");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
    options.arguments("NAME TEXT", words_, "to whom, and what");
  }

  Status run(Context& context) override {
    if (words_.size() != 2) return make_error(ErrorCode::kUsage, "expected NAME TEXT (quote a text of several words)");
    agents::bus::Draft draft = {.to = words_[0], .text = words_[1], .reply_to = reply_to_};
    if (draft.text == "-") {
      TRY(draft.text, read_stdin(kMostMessage));
    }
    TRY(auto fleet, open_fleet(project_));
    TRY(const int64_t number, agents::bus::send(fleet->store(), "human", draft));
    // It lies in the inbox, whoever runs; who runs is told now.
    for (const auto duty : {agents::supervisor::Duty::kBroker, agents::supervisor::Duty::kSupervisor})
      (void)agents::supervisor::answers(fleet->project(), duty);
    return context.out.write(fmt::format("{}\n", number));
  }

 private:
  int reply_to_ = 0;
  std::optional<std::string> project_;
  std::vector<std::string> words_;
};

class AgentsInbox : public Verb {
 public:
  void declare(Options& options) override {
    options.argument("NAME", name_, "an agent: its messages and what became of them; otherwise your own inbox");
    options.flag("--all", all_, "also what you have read before");
    options.flag("--json", json_, "print one JSON object a line");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context& context) override {
    TRY(auto fleet, open_fleet(project_));
    std::vector<MessageRow> messages;
    if (name_) {
      TRY_STATUS(fleet->agent(*name_));
      TRY(messages, agents::bus::list_messages(fleet->store(), *name_, 0, 1000));
    } else {
      TRY(messages, agents::bus::read_inbox(fleet->store(), "human", {.all = all_, .limit = 1000}));
    }
    std::string out;
    for (const MessageRow& one : messages) out += json_ ? to_json(one) : to_text(one);
    return context.out.write(out);
  }

 private:
  static std::string to_json(const MessageRow& one) {
    nlohmann::ordered_json object = {{"number", one.number},
                                     {"id", one.id},
                                     {"from", one.sender},
                                     {"to", one.recipient},
                                     {"kind", one.kind},
                                     {"text", one.text},
                                     {"receipt", agents::bus::receipt_of(one)},
                                     {"queued_ms", one.queued_ms},
                                     {"delivered_ms", one.delivered_ms},
                                     {"consumed_ms", one.consumed_ms},
                                     {"answered_ms", one.answered_ms}};
    if (!one.reply_to.empty()) object["reply_to"] = one.reply_to;
    return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

  std::string to_text(const MessageRow& one) const {
    return fmt::format("#{} {} -> {}, {} ago{}\n{}\n\n", one.number, one.sender, one.recipient,
                       ago(one.queued_ms, agents::state::now_ms()),
                       name_ ? fmt::format(", {}", agents::bus::receipt_of(one)) : "",
                       agents::bus::safe_text(one.text));
  }

  std::optional<std::string> name_, project_;
  bool all_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_agents_message() { return std::make_unique<AgentsMessage>(); }
std::unique_ptr<Verb> make_agents_inbox() { return std::make_unique<AgentsInbox>(); }

}  // namespace onsight::cli
