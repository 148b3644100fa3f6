// CONNECT: a tunnel to a host that a rule names. Only TLS goes through, and only to that host: what the client greets
// is looked at before anything of it leaves.
#include <poll.h>

#include <algorithm>
#include <array>

#include "agents/broker/conversation.h"

namespace onsight::agents::broker {
namespace {

constexpr size_t kMaxGreeting = 64 << 10;
constexpr size_t kTunnelPiece = 32 << 10;

tl::unexpected<Error> tunnel_error(std::string_view reason, std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::kBadInput, std::move(message), {}, reason});
}

tl::unexpected<Error> no_greeting() {
  return tunnel_error("tls", "what goes through the tunnel: expected the greeting of a TLS client");
}

// Big-endian fields of a message; ok() is false from the first that is not there.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}
  size_t number(size_t bytes) {
    size_t out = 0;
    for (const char c : take(bytes)) out = out << 8 | static_cast<unsigned char>(c);
    return out;
  }
  std::string_view take(size_t bytes) {
    ok_ = ok_ && bytes <= bytes_.size();
    if (!ok_) return {};
    const std::string_view out = bytes_.substr(0, bytes);
    bytes_.remove_prefix(bytes);
    return out;
  }
  std::string_view vector(size_t length_bytes) { return take(number(length_bytes)); }
  bool ok() const { return ok_; }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace

Result<std::optional<std::string>> server_name_of(std::string_view bytes) {
  constexpr size_t kHandshake = 22, kClientHello = 1, kServerName = 0, kRecordHead = 5;
  // One record or several make the message.
  std::string message;
  size_t wanted = 4;
  while (message.size() < wanted) {
    if (!bytes.empty() && static_cast<unsigned char>(bytes[0]) != kHandshake) return no_greeting();
    if (bytes.size() > 1 && bytes[1] != 3) return no_greeting();
    if (bytes.size() < kRecordHead) return std::optional<std::string>();
    Fields record(bytes.substr(3));
    const size_t length = record.number(2);
    if (length == 0 || length > (1 << 14)) return no_greeting();
    message += bytes.substr(kRecordHead, length);
    if (message.size() >= 4) {
      Fields head(message);
      if (head.number(1) != kClientHello) return no_greeting();
      wanted = 4 + head.number(3);
      if (wanted > kMaxGreeting) return no_greeting();
    }
    if (bytes.size() < kRecordHead + length) {
      if (message.size() < wanted) return std::optional<std::string>();
      break;
    }
    bytes.remove_prefix(kRecordHead + length);
  }
  Fields hello(std::string_view(message).substr(4, wanted - 4));
  hello.take(2 + 32);
  hello.vector(1);  // session
  hello.vector(2);  // ciphers
  hello.vector(1);  // compression
  Fields extensions(hello.vector(2));
  if (!hello.ok()) return no_greeting();
  std::string found;
  while (!extensions.empty()) {
    const size_t type = extensions.number(2);
    const std::string_view data = extensions.vector(2);
    if (!extensions.ok()) return no_greeting();
    if (type != kServerName) continue;
    Fields list(data);
    Fields names(list.vector(2));
    const size_t kind = names.number(1);
    const std::string_view name = names.vector(2);
    if (!list.ok() || !names.ok() || kind != 0 || name.empty() || !names.empty() || !found.empty())
      return no_greeting();
    found = name;
  }
  if (found.empty())
    return tunnel_error("host_mismatch", "what goes through the tunnel: expected TLS that names its host");
  return std::optional<std::string>(found);
}

bool Conversation::tunnel(const RequestHead& head) {
  body_read_ = true;
  const auto at = parse_authority(head.target, 0);
  if (!at) return refuse(&head, at.error());
  Route route;
  route.url.scheme = "https";
  route.url.at = *at;
  route.shown_host = at->text(0);
  const auto refused = [&](const Error& error) { return refuse(&head, error, &route); };
  if (head.body != BodyKind::kNone)
    return refused(tunnel_error("bad_request", "the request: expected CONNECT without a body").value());
  const auto host = parse_authority(head.host, at->port);
  if (!host || !(*host == *at))
    return refused(
        tunnel_error("host_mismatch", "the Host field of the request: expected the host that it connects to").value());
  const bool provider = std::any_of(policy_->provider_urls.begin(), policy_->provider_urls.end(),
                                    [&](const Url& url) { return url.at.host == at->host; });
  if (provider)
    return refused(tunnel_error("provider", "a provider's host is reached as /upstream/PROVIDER/… alone").value());
  const config::AllowRule* const rule = tunnel_allowed_by(policy_->role.allow, *at);
  if (!rule)
    return refused(
        tunnel_error("not_allowed", fmt::format("CONNECT {} is not among what this role may send", route.shown_host))
            .value());
  route.private_ok = names_private_host(rule->host);
  const auto addresses = judged_addresses(*at, route.private_ok, service_.resolver);
  if (!addresses) return refused(addresses.error());
  Result<Descriptor> socket = tunnel_error("unreachable", "it has no address");
  for (const Address& address : *addresses)
    if (socket = service_.dial(address, waiting(), in(service_.limits.connect_time));
        socket || socket.error().reason != "unreachable")
      break;
  if (!socket) return refused(socket.error());
  const std::unique_ptr<Channel> to = make_channel(*std::move(socket));
  if (!client_->write("HTTP/1.1 200 Connection established\r\n\r\n", waiting(), in(service_.limits.quiet_time)))
    return false;

  const auto event = [&](std::string_view kind, Json more) {
    Json body = {{"host", route.shown_host}, {"method", "CONNECT"}, {"path", ""}};
    body.update(more);
    service_.add_event(link_, kind, std::move(body));
  };
  for (;;) {
    const auto name = server_name_of(in_);
    std::string_view reason = name ? std::string_view() : name.error().reason;
    if (name && *name) {
      const auto wanted = parse_authority(**name, at->port);
      if (wanted && *wanted == *at) break;
      reason = "host_mismatch";
    }
    if (reason.empty() && in_.size() > kMaxGreeting) reason = "tls";
    if (!reason.empty()) {
      event("egress.refused", {{"reason", std::string(reason)}});
      return false;
    }
    if (!read_some(in(service_.limits.head_time))) return false;
  }
  uint64_t out = in_.size(), back = 0;
  if (!to->write(in_, waiting(), in(service_.limits.quiet_time))) return false;
  in_.clear();
  std::array<char, kTunnelPiece> bytes;
  Time quiet_until = in(service_.limits.quiet_time);
  bool client_open = true, host_open = true;
  const Waiting ours{&service_.stopping, -1};
  while ((client_open || host_open) && out <= service_.limits.tunnel_bytes && back <= service_.limits.tunnel_bytes) {
    if (service_.stopping.load() || Clock::now() >= quiet_until) break;
    std::array<pollfd, 2> about = {pollfd{client_open ? client_->descriptor() : -1, POLLIN, 0},
                                   pollfd{host_open ? to->descriptor() : -1, POLLIN, 0}};
    const int n = ::poll(about.data(), about.size(), 500);
    if (n <= 0) continue;
    quiet_until = in(service_.limits.quiet_time);
    const auto pump = [&](Channel& from, Channel& into, uint64_t& count, bool& open) {
      const auto got = from.read(bytes.data(), bytes.size(), ours, quiet_until);
      if (!got) return false;
      open = *got > 0;
      if (!open) into.end_sending();
      count += *got;
      return *got == 0 || into.write({bytes.data(), *got}, ours, quiet_until).has_value();
    };
    if (about[0].revents != 0 && !pump(*client_, *to, out, client_open)) break;
    if (about[1].revents != 0 && !pump(*to, *client_, back, host_open)) break;
  }
  event("egress.sent", {{"status", 200}, {"bytes_in", back}, {"bytes_out", out}});
  return false;
}

}  // namespace onsight::agents::broker
