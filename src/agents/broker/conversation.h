// Conversation: one connection of an agent to the broker, on a thread of its own: requests are read, judged, and
// answered by the bus, or sent on to where the agent's policy lets them go.
//
//   Conversation(service, link, make_channel(std::move(socket))).run();
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agents/broker/budget.h"
#include "agents/broker/head.h"
#include "agents/broker/replacer.h"
#include "agents/broker/service.h"

namespace onsight::agents::broker {

// Where a request goes, once it has been judged.
struct Route {
  Url url;                                     // whose host, port and scheme are connected to
  bool private_ok = false;                     // the configuration names the address itself
  std::string shown_host;                      // for events
  const config::Provider* provider = nullptr;  // of /upstream/
  std::string provider_path;                   // behind the provider's name: "/v1/messages"
  bool keeps_credentials = false;              // the agent's own, to hosts that are no providers
};

class Conversation {
 public:
  Conversation(Service& service, AgentLink& link, std::unique_ptr<Channel> client)
      : service_(service), link_(link), client_(std::move(client)) {}
  void run();

 private:
  struct Sent;  // what became of a request that was let through

  bool one_request();
  Result<RequestHead> read_head(bool& ended);
  bool handle(const RequestHead& head);
  bool own_path(const RequestHead& head, const Url& url);
  bool bus(const RequestHead& head, const Url& url);
  bool tunnel(const RequestHead& head);
  bool upstream(const RequestHead& head, const Url& url);
  bool vision(const RequestHead& head, const Url& url);
  bool plain_host(const RequestHead& head, const Url& url);

  // relay.cc
  bool metered(const RequestHead& head, const Route& route, const vault::Secret& key);
  bool relay_free(const RequestHead& head, const Route& route, const vault::Secret& key);
  bool relay(const RequestHead& head, const Route& route, const vault::Secret& key, Sent& sent);
  Result<std::unique_ptr<Channel>> connect(const Route& route);
  Status send_request(const RequestHead& head, const Route& route, const vault::Secret& key, Channel& to, Sent& sent);
  Status send_body(const RequestHead& head, const Route& route, Channel& to, Sent& sent);
  Result<ResponseHead> read_response_head(Channel& from, std::string& in_bytes, bool of_head_request);
  bool pass_on(const RequestHead& request, const ResponseHead& head, Channel& from, std::string& in_bytes,
               const Route& route, std::string_view key, Sent& sent);
  Status pass_body(const ResponseHead& head, Channel& from, std::string& in_bytes, std::string_view key, bool chunked,
                   Sent& sent);
  Status fill(Channel& from, std::string& in_bytes, Sent& sent);
  Status check_budget(Sent& sent);
  void finished(const RequestHead& request, const Route& route, Sent& sent);
  void settle(Sent& sent);

  Status read_some(Time until);
  // All of the request's body, at most so much of it.
  Status read_body(const RequestHead& head, uint64_t most, std::string& body, HeldBody* held);
  Status send_continue(const RequestHead& head);
  bool refuse(const RequestHead* head, const Error& error, const Route* route = nullptr);
  bool send_answer(int status, net::Headers headers, std::string_view body, bool keep_alive);
  void linger();
  Waiting waiting() const { return {&service_.stopping, client_->descriptor()}; }
  Time in(std::chrono::milliseconds time) const { return std::min(Clock::now() + time, deadline_); }

  Service& service_;
  AgentLink& link_;
  std::unique_ptr<Channel> client_;
  std::shared_ptr<const Policy> policy_;
  std::string in_;               // read, and not yet understood
  Time deadline_ = Time::max();  // of the request
  bool body_read_ = false;       // all of the request's body has been taken
};

// Errors as the broker answers them: in the provider's own shape where there is one. `status` is filled in.
std::string refusal_body(const Error& error, std::string_view protocol, int& status);

// What a TLS client says first: the host it wants (SNI). nullopt: more bytes are needed; an error: it is no such
// greeting.
Result<std::optional<std::string>> server_name_of(std::string_view bytes);

}  // namespace onsight::agents::broker
