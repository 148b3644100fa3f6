// Broker: asks the broker of this container, over its unix socket.
//
//   const Broker broker(kBrokerSocket);
//   TRY(Answer answer, broker.insist("POST", "/onsight/done", R"({"summary":"Done"})", Clock::time_point::max()));
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "answer.h"
#include "base/result.h"

namespace onsight::guest {

using Clock = std::chrono::steady_clock;
constexpr std::string_view kBrokerSocket = "/run/onsight/broker.sock";
// What an Error's `reason` says of the two that a caller can tell apart: main.cc gives each an exit code of its own.
constexpr std::string_view kRefused = "refused", kNoBroker = "no_broker";

// A socket that is on its way to the unix socket `path`; -1 and errno: ENOENT and ECONNREFUSED where nobody listens,
// EAGAIN where too many wait. Does not block.
int dial(const std::string& path);

class Broker {
 public:
  explicit Broker(std::string socket) : socket_(std::move(socket)) {}
  const std::string& socket() const { return socket_; }

  // One request, one answer; `target` is a path of the broker's own or a whole URL. kNoBroker: nobody listens, or it
  // went away, or it had not answered at `deadline`.
  Result<Answer> ask(std::string_view method, std::string_view target, std::string_view body,
                     Clock::time_point deadline) const;
  // Asks again until there is an answer other than "not now" (502, 503, 504): a request that says who it is, by its id
  // for one, is neither lost nor done twice. Says on stderr, once, that it waits. After `deadline` kNoBroker.
  Result<Answer> insist(std::string_view method, std::string_view target, std::string_view body,
                        Clock::time_point deadline, std::string_view what) const;

 private:
  std::string socket_;
};

// The error that an answer of 400 and above is, with the broker's own sentence.
tl::unexpected<Error> refused(const Answer& answer);

}  // namespace onsight::guest
