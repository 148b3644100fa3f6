// Bus: what an agent says to the others, to the human and to the supervisor, through the broker. The command line and
// the MCP server are made of these.
//
//   Bus bus{Broker(socket)};
//   TRY(int64_t number, bus.send({.to = "planner", .text = "The parser is done"}, Clock::time_point::max()));
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "broker.h"
#include "outside_json.h"

namespace onsight::guest {

struct Outgoing {
  std::string to, text;
  std::string id;  // empty: a new one
  std::optional<int64_t> reply_to;
  bool question = false;
};

struct Incoming {
  int64_t number = 0;
  std::string from, kind, text;
  Json whole;  // as the broker sent it
};

class Bus {
 public:
  explicit Bus(Broker broker) : broker_(std::move(broker)) {}

  const Broker& broker() const { return broker_; }

  // Each of them asks until the broker has answered, or `deadline`. A message that carries the same id is the same
  // message.
  Result<int64_t> send(Outgoing message, Clock::time_point deadline) const;  // its number
  Status set_status(const std::string& activity, const std::string& detail, Clock::time_point deadline) const;
  Result<Json> propose(const Json& tasks, Clock::time_point deadline) const;
  Status finish(const std::string& summary, bool failed, Clock::time_point deadline) const;
  Result<Json> me(Clock::time_point deadline) const;

  // Waits up to `wait` for what is in the inbox, and less when `stop` says so, which is asked every two seconds.
  Result<std::vector<Incoming>> inbox(std::chrono::milliseconds wait, const std::function<bool()>& stop = {}) const;
  // That they have been read: to be said when they have been, for they do not come again.
  Status consumed(const std::vector<Incoming>& messages, Clock::time_point deadline) const;

 private:
  Result<Json> post(const std::string& target, const Json& body, Clock::time_point deadline,
                    std::string_view what) const;
  Broker broker_;
};

// An id that no two calls give, 26 characters.
std::string new_message_id();
// For a reader: who, what, and how to answer. Nothing in it moves a cursor.
std::string to_read(const std::vector<Incoming>& messages);

}  // namespace onsight::guest
