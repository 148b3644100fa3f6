#include "agents/bus/mail.h"

#include <algorithm>

namespace onsight::agents::bus {
namespace {

using state::MessageRow;
using state::Transaction;

Json numbers_of(const std::vector<MessageRow>& messages, int64_t MessageRow::*not_yet) {
  Json out = Json::array();
  for (const MessageRow& message : messages) {
    if (message.*not_yet == 0) out.push_back(message.number);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Status add_step(Transaction& t, std::string_view kind, std::string_view recipient, std::string_view actor,
                Json numbers) {
  if (numbers.empty()) return {};
  return t.add({.actor = std::string(actor),
                .agent = std::string(recipient),
                .kind = std::string(kind),
                .body = {{"numbers", std::move(numbers)}}});
}

Status check_sender(std::string_view sender) {
  if (sender == "human" || sender == "supervisor") return {};
  return bad_input("{}: only the human and the supervisor write this way", sender);
}

}  // namespace

bool is_same(const MessageRow& message, const Draft& draft) {
  return message.recipient == draft.to && message.kind == draft.kind && message.text == draft.text &&
         message.reply_to == (draft.reply_to > 0 ? std::to_string(draft.reply_to) : "") && message.data == draft.data;
}

Result<std::optional<MessageRow>> find_own(Transaction& t, std::string_view recipient, int64_t number) {
  if (number < 1) return std::nullopt;
  TRY(std::vector<MessageRow> found, t.inbox(recipient, number - 1, false, 1));
  if (found.empty() || found[0].number != number) return std::nullopt;
  return std::optional<MessageRow>(std::move(found[0]));
}

Status mark_delivered(Transaction& t, std::string_view recipient, const std::vector<MessageRow>& messages,
                      std::string_view actor) {
  return add_step(t, "message.delivered", recipient, actor, numbers_of(messages, &MessageRow::delivered_ms));
}

Status mark_consumed(Transaction& t, std::string_view recipient, const std::vector<MessageRow>& messages,
                     std::string_view actor) {
  return add_step(t, "message.consumed", recipient, actor, numbers_of(messages, &MessageRow::consumed_ms));
}

Result<int64_t> queue_message(Transaction& t, std::string_view sender, const Draft& draft,
                              const std::optional<MessageRow>& parent, int hops) {
  Json body = {{"id", draft.id}, {"to", draft.to}, {"kind", draft.kind}, {"text", draft.text}, {"hops", hops}};
  if (draft.reply_to > 0) body["reply_to"] = draft.reply_to;
  if (!draft.data.is_null()) body["data"] = draft.data;
  TRY_STATUS(
      t.add({.actor = std::string(sender), .agent = draft.to, .kind = "message.queued", .body = std::move(body)}));
  TRY(const std::optional<MessageRow> queued, t.message(sender, draft.id));
  if (!queued) return make_error(ErrorCode::kIo, "{}: message '{}' was not queued", sender, draft.id);
  if (!parent) return queued->number;
  TRY_STATUS(mark_delivered(t, sender, {*parent}, sender));
  TRY_STATUS(mark_consumed(t, sender, {*parent}, sender));
  if (parent->sender == draft.to && parent->answered_ms == 0) {
    TRY_STATUS(t.add({.actor = std::string(sender),
                      .agent = std::string(sender),
                      .kind = "message.answered",
                      .body = {{"number", parent->number}, {"by", queued->number}}}));
  }
  return queued->number;
}

Result<int64_t> send(state::Store& store, std::string_view sender, const Draft& given) {
  TRY_STATUS(check_sender(sender));
  Draft draft = given;
  if (draft.id.empty()) draft.id = state::new_id();
  if (draft.text.empty()) return bad_input("message to {}: expected a text", draft.to);
  int64_t number = 0;
  TRY_STATUS(store.write([&](Transaction& t) -> Status {
    TRY(const std::optional<MessageRow> twin, t.message(sender, draft.id));
    if (twin) {
      number = twin->number;
      if (is_same(*twin, draft)) return {};
      return bad_input("message '{}': another was sent with this id (#{})", draft.id, number);
    }
    if (draft.to != "human" && draft.to != "supervisor") {
      TRY(const auto agent, t.agent(draft.to));
      if (!agent) return bad_input("{}: there is no such agent", draft.to);
    }
    std::optional<MessageRow> parent;
    if (draft.reply_to > 0) {
      TRY(parent, find_own(t, sender, draft.reply_to));
      if (!parent) return bad_input("#{}: there is no such message to {}", draft.reply_to, sender);
    }
    TRY(number, queue_message(t, sender, draft, parent, 0));
    return {};
  }));
  return number;
}

Result<std::vector<MessageRow>> read_inbox(state::Store& store, std::string_view recipient,
                                           const InboxOptions& options) {
  TRY_STATUS(check_sender(recipient));
  const auto until = std::chrono::steady_clock::now() + options.wait;
  for (;;) {
    std::vector<MessageRow> found;
    int64_t seen = 0;
    TRY_STATUS(store.read([&](Transaction& t) -> Status {
      seen = t.last_seq();
      TRY(found, t.inbox(recipient, options.after, !options.all, options.limit));
      return {};
    }));
    if (!found.empty()) {
      const auto is_new = [&](const MessageRow& m) {
        return m.delivered_ms == 0 || (options.consume && m.consumed_ms == 0);
      };
      if (std::none_of(found.begin(), found.end(), is_new)) return found;
      // Looked at again where it is written: who reads at the same time gets them too, but marks nothing twice.
      TRY_STATUS(store.write([&](Transaction& t) -> Status {
        TRY(found, t.inbox(recipient, options.after, !options.all, options.limit));
        TRY_STATUS(mark_delivered(t, recipient, found, recipient));
        if (options.consume) TRY_STATUS(mark_consumed(t, recipient, found, recipient));
        return {};
      }));
      if (!found.empty()) return found;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0 || (options.over && options.over())) return found;
    TRY(const int64_t last, store.wait(seen, std::min(left, std::chrono::milliseconds(250))));
    (void)last;
  }
}

Result<std::vector<MessageRow>> list_messages(state::Store& store, std::string_view agent, int64_t after, int limit) {
  std::vector<MessageRow> found;
  TRY_STATUS(store.read([&](Transaction& t) -> Status {
    TRY(found, t.messages(agent, after, limit));
    return {};
  }));
  return found;
}

Result<MessageRow> find_message(state::Store& store, int64_t number) {
  std::optional<MessageRow> found;
  TRY_STATUS(store.read([&](Transaction& t) -> Status {
    TRY(found, t.message(number));
    return {};
  }));
  if (!found) return bad_input("#{}: there is no such message", number);
  return std::move(*found);
}

int64_t count_unread(const std::vector<MessageRow>& inbox) {
  return std::count_if(inbox.begin(), inbox.end(), [](const MessageRow& m) { return m.consumed_ms == 0; });
}

std::string_view receipt_of(const MessageRow& message) {
  if (message.answered_ms != 0) return "answered";
  if (message.consumed_ms != 0) return "consumed";
  return message.delivered_ms != 0 ? "delivered" : "queued";
}

std::string safe_text(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    // U+0080 to U+009F, which terminals may take for escape sequences too.
    const bool late = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (control || late) {
      out += kReplacement;
      if (late) ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace onsight::agents::bus
