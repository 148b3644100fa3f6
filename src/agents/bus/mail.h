// Mail: messages of agents, the human and the supervisor, in the store alone: the command line needs no broker for it.
//
//   TRY(int64_t number, send(store, "human", {.to = "reviewer", .text = "Look at the parser first"}));
//   TRY(auto messages, read_inbox(store, "human", {}));        // each is shown once, until it is read again with all
//   for (const auto& m : messages) print("#{} {} ({}): {}", m.number, m.sender, receipt_of(m), safe_text(m.text));
//
// The human and the supervisor may write to everybody, as often as they like.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/state/store.h"
#include "base/result.h"

namespace onsight::agents::bus {

struct Draft {
  std::string to, text;
  std::string kind = "message";  // "message", "question" or "answer"
  std::string id = {};           // empty: a new one. The same again, from the same sender, is the same message
  int64_t reply_to = 0;          // number of a message in the sender's inbox, which is answered by it
  Json data = {};                // null: none
};

// As "human" or "supervisor". Refuses an agent that is not there, an empty text, an id with other content.
Result<int64_t> send(state::Store& store, std::string_view sender, const Draft& draft);

struct InboxOptions {
  int64_t after = 0;    // numbers above it
  bool all = false;     // those that were read before too
  bool consume = true;  // what is returned counts as read
  int limit = 100;
  std::chrono::milliseconds wait{0};     // for the first, if there is none
  std::function<bool()> over = nullptr;  // whether to wait no longer
};
// Of "human" or "supervisor". What it returns is delivered, and consumed if asked, when it returns.
Result<std::vector<state::MessageRow>> read_inbox(state::Store& store, std::string_view recipient,
                                                  const InboxOptions& options);
// All messages, or those from or to an agent, with how far each has come.
Result<std::vector<state::MessageRow>> list_messages(state::Store& store, std::string_view agent, int64_t after,
                                                     int limit);
Result<state::MessageRow> find_message(state::Store& store, int64_t number);  // refuses one that is not there
int64_t count_unread(const std::vector<state::MessageRow>& inbox);

std::string_view receipt_of(const state::MessageRow& message);  // "queued", "delivered", "consumed", "answered"
// Fit for a terminal, whatever an agent wrote: control characters but line ends and tabs are shown as U+FFFD.
std::string safe_text(std::string_view text);

// Within a transaction, for the bus.

// The message of this number, if it lies in the inbox of `recipient`, read or not.
Result<std::optional<state::MessageRow>> find_own(state::Transaction& t, std::string_view recipient, int64_t number);
// Queues it; with a parent, that one counts as consumed, and as answered if this goes to its sender.
Result<int64_t> queue_message(state::Transaction& t, std::string_view sender, const Draft& draft,
                              const std::optional<state::MessageRow>& parent, int hops);
// Marks those of them that are not yet.
Status mark_delivered(state::Transaction& t, std::string_view recipient, const std::vector<state::MessageRow>& messages,
                      std::string_view actor);
Status mark_consumed(state::Transaction& t, std::string_view recipient, const std::vector<state::MessageRow>& messages,
                     std::string_view actor);
bool is_same(const state::MessageRow& message, const Draft& draft);

}  // namespace onsight::agents::bus
