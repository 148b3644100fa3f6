// A request that was let through, on its way to its host and back: bytes are passed on as they come, counted, and
// looked through for what must not pass.
#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "agents/broker/conversation.h"
#include "agents/broker/credentials.h"

namespace onsight::agents::broker {
namespace {

constexpr size_t kPieceBytes = 32 << 10;
constexpr int kMaxInterim = 10;

tl::unexpected<Error> relay_error(std::string_view reason, std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::kBadInput, std::move(message), {}, reason});
}

// A text that held a key; nothing of it stays.
class WipedText {
 public:
  explicit WipedText(size_t bytes) { text.reserve(bytes); }
  WipedText(const WipedText&) = delete;
  WipedText& operator=(const WipedText&) = delete;
  ~WipedText() { vault::wipe(text); }
  std::string text;
};

class CountUp {
 public:
  explicit CountUp(std::atomic<int>& count) : count_(count), now_(++count) {}
  CountUp(const CountUp&) = delete;
  CountUp& operator=(const CountUp&) = delete;
  ~CountUp() { --count_; }
  int now() const { return now_; }

 private:
  std::atomic<int>& count_;
  int now_;
};

std::string replaced(std::string_view text, std::string_view needle, std::string_view with) {
  std::string out;
  Replacer replacer(needle, with);
  replacer.feed(text, out);
  replacer.finish(out);
  return out;
}

void append_chunk(std::string& out, std::string_view bytes) {
  if (bytes.empty()) return;  // an empty chunk is the last
  out += fmt::format("{:x}\r\n", bytes.size());
  out.append(bytes).append("\r\n");
}

constexpr std::string_view kLastChunk = "0\r\n\r\n";

// OpenAI's chat says what it took only where it is asked to.
std::string with_usage_wanted(const std::string& body) {
  const size_t brace = body.find('{');
  const size_t next = body.find_first_not_of(" \t\r\n", brace + 1);
  const bool empty = next != std::string::npos && body[next] == '}';
  return body.substr(0, brace + 1) + "\"stream_options\":{\"include_usage\":true}" + (empty ? "" : ",") +
         body.substr(brace + 1);
}

}  // namespace

struct Conversation::Sent {
  const std::string* body = nullptr;  // read before; null: it is passed on as it comes
  int status = 0;
  uint64_t bytes_out = 0, bytes_in = 0;  // of bodies
  bool left = false;                     // something of the request did
  bool answered = false;                 // the head of the answer went to the client
  bool client_gone = false;
  std::optional<Error> cut;  // why it was ended early
  Time drain_until{};
  Spend* spend = nullptr;
  const config::Provider::Price* price = nullptr;
  std::optional<UsageMeter> meter;
};

bool Conversation::metered(const RequestHead& head, const Route& route, const vault::Secret& key) {
  const config::Provider& provider = *route.provider;
  const Protocol protocol = protocol_of(provider.protocol);
  const auto refused = [&](std::string_view reason, std::string message) {
    return refuse(&head, relay_error(reason, std::move(message)).value(), &route);
  };
  const CountUp running(link_.metered);
  if (running.now() > service_.limits.metered_at_once)
    return refused("rate",
                   fmt::format("expected at most {} requests to models at once", service_.limits.metered_at_once));
  Sent sent;
  std::string body;
  ModelRequest wanted;
  Amount amount;
  const uint64_t most = service_.limits.metered_body_bytes;
  HeldBody held(service_, link_);
  if (protocol != Protocol::kNone) {
    if (const std::string* coding = head.headers.find("Content-Encoding");
        coding && !net::equal_ignoring_case(*coding, "identity"))
      return refused("encoding", "the body of the request: expected it as it is, without Content-Encoding");
    if (const Status read = read_body(head, most, body, &held); !read) return refuse(&head, read.error(), &route);
    auto read = read_model_request(protocol, route.provider_path, body);
    if (!read) return refuse(&head, read.error(), &route);
    wanted = *std::move(read);
    sent.price = price_of(provider, wanted.model);
    if (!sent.price && (policy_->role.budget.money || policy_->fleet.money))
      return refused("price",
                     fmt::format("the configuration has no price of the model '{}', which a budget in money needs",
                                 shown(wanted.model, 60)));
    const bool embeds = route.provider_path.ends_with("/embeddings") || route.provider_path.ends_with(":embedContent");
    const int64_t output =
        embeds ? 0 : wanted.max_output.value_or(provider.max_output_tokens) * std::min<int64_t>(wanted.answers, 1000);
    Usage worst;
    worst.input = input_bound(wanted, body.size());
    worst.output = output;
    amount = {worst.input + worst.output, sent.price ? cost_of(worst, *sent.price) : 0};
    if (protocol == Protocol::kOpenAi && wanted.stream && route.provider_path.ends_with("/completions") &&
        !wanted.asks_for_usage) {
      if (wanted.has_stream_options)
        return refused("bad_request", "the request: expected stream_options.include_usage, which says what it takes");
      body = with_usage_wanted(body);
    }
    sent.body = &body;
  }
  auto spend = Spend::reserve(*service_.store, {link_.name, policy_->role.budget, policy_->fleet}, provider.name,
                              wanted.model, amount);
  if (!spend) return refuse(&head, spend.error(), &route);
  sent.spend = &*spend;
  const bool keep = relay(head, route, key, sent);
  if (sent.spend) settle(sent);
  return keep;
}

bool Conversation::relay_free(const RequestHead& head, const Route& route, const vault::Secret& key) {
  Sent sent;
  return relay(head, route, key, sent);
}

bool Conversation::relay(const RequestHead& head, const Route& route, const vault::Secret& key, Sent& sent) {
  const auto failed = [&](const Error& error) {
    if (sent.spend) settle(sent);  // before the client knows
    if (sent.answered) return false;
    return refuse(&head, error, &route);
  };
  auto to = connect(route);
  if (!to) return failed(to.error());
  if (const Status done = send_request(head, route, key, **to, sent); !done) {
    // A host that has heard enough may have answered already.
    if (done.error().reason != "connection" && done.error().reason != "tls") return failed(done.error());
  }
  std::string in;
  auto answer = read_response_head(**to, in, head.method == "HEAD");
  if (!answer) return failed(answer.error());
  sent.status = answer->status;
  return pass_on(head, *answer, **to, in, route, key.view(), sent);
}

Result<std::unique_ptr<Channel>> Conversation::connect(const Route& route) {
  const Time until = in(service_.limits.connect_time);
  TRY(const std::vector<Address> addresses, judged_addresses(route.url.at, route.private_ok, service_.resolver));
  Result<Descriptor> socket = relay_error("unreachable", "it has no address");
  for (const Address& address : addresses) {
    socket = service_.dial(address, waiting(), until);
    if (socket || socket.error().reason != "unreachable") break;
  }
  if (!socket) {
    Error error = socket.error();
    error.message = route.shown_host + ": " + error.message;
    return tl::unexpected<Error>(std::move(error));
  }
  if (route.url.scheme == "https") return service_.tls->connect(*std::move(socket), route.url.at, waiting(), until);
  return make_channel(*std::move(socket));
}

Status Conversation::send_request(const RequestHead& head, const Route& route, const vault::Secret& key, Channel& to,
                                  Sent& sent) {
  net::Headers headers = forwarded_headers(head.headers, route.keeps_credentials);
  const std::string* const codings = head.headers.find("Accept-Encoding");
  if (!route.keeps_credentials)
    headers.set("Accept-Encoding", "identity");
  else if (codings)
    headers.set("Accept-Encoding", *codings);
  headers.set("Connection", "close");
  if (sent.body)
    headers.set("Content-Length", std::to_string(sent.body->size()));
  else if (head.body == BodyKind::kLength)
    headers.set("Content-Length", std::to_string(head.length));
  else if (head.body == BodyKind::kChunked)
    headers.set("Transfer-Encoding", "chunked");
  size_t bytes = kPieceBytes + key.size();
  for (const auto& [name, value] : headers.fields) bytes += name.size() + value.size() + 4;
  WipedText wiped(bytes + route.url.target().size());
  std::string& text = wiped.text;
  text += head.method + " " + route.url.target() + " HTTP/1.1\r\nHost: " + route.url.at.text(route.url.usual_port()) +
          "\r\n";
  for (const auto& [name, value] : headers.fields) text.append(name).append(": ").append(value).append("\r\n");
  if (!key.empty()) {
    const std::string& name = route.provider->header;
    text.append(name)
        .append(": ")
        .append(net::equal_ignoring_case(name, "authorization") ? "Bearer " : "")
        .append(key.view())
        .append("\r\n");
  }
  text += "\r\n";
  const Time until = in(service_.limits.quiet_time);
  sent.left = true;
  TRY_STATUS(to.write(text, waiting(), until));
  if (!sent.body) return send_body(head, route, to, sent);
  sent.bytes_out = sent.body->size();
  return to.write(*sent.body, waiting(), until);
}

Status Conversation::send_body(const RequestHead& head, const Route& route, Channel& to, Sent& sent) {
  if (head.body == BodyKind::kNone) return {};
  if (head.body == BodyKind::kLength && head.length > service_.limits.body_bytes)
    return relay_error("too_large",
                       fmt::format("the body of the request: expected at most {} bytes", service_.limits.body_bytes));
  TRY_STATUS(send_continue(head));
  BodyReader reader(head.body, head.length);
  // Held back as far as it could be the placeholder's beginning, so that no host ever has all of it.
  Replacer guard(route.provider ? std::string_view() : std::string_view(policy_->placeholder), "");
  std::string payload, out, framed;
  for (;;) {
    payload.clear();
    out.clear();
    TRY(const size_t used, reader.feed(in_, payload));
    in_.erase(0, used);
    guard.feed(payload, out);
    if (reader.done()) guard.finish(out);
    if (guard.found() > 0)
      return relay_error("placeholder", "the agent's placeholder is for its model alone, and goes to no other host");
    sent.bytes_out += out.size();
    if (sent.bytes_out > service_.limits.body_bytes)
      return relay_error("too_large",
                         fmt::format("the body of the request: expected at most {} bytes", service_.limits.body_bytes));
    framed.clear();
    if (head.body == BodyKind::kChunked) append_chunk(framed, out);
    if (head.body == BodyKind::kChunked && reader.done()) framed += kLastChunk;
    TRY_STATUS(to.write(head.body == BodyKind::kChunked ? framed : out, waiting(), in(service_.limits.quiet_time)));
    if (reader.done()) break;
    TRY_STATUS(read_some(in(service_.limits.quiet_time)));
  }
  body_read_ = true;
  return {};
}

Result<ResponseHead> Conversation::read_response_head(Channel& from, std::string& in_bytes, bool of_head_request) {
  std::array<char, kPieceBytes> bytes;
  const Time until = in(service_.limits.quiet_time);
  for (int i = 0; i < kMaxInterim; ++i) {
    size_t end = 0;
    while ((end = head_end(in_bytes)) == 0 || end > kMaxHeadBytes) {
      if (in_bytes.size() >= kMaxHeadBytes) return relay_error("bad_answer", "the host's answer has too long a head");
      TRY(const size_t n, from.read(bytes.data(), bytes.size(), waiting(), until));
      if (n == 0) return relay_error("connection", "the host closed the connection without an answer");
      in_bytes.append(bytes.data(), n);
    }
    auto head = parse_response_head(std::string_view(in_bytes).substr(0, end), of_head_request);
    if (!head) return relay_error("bad_answer", head.error().message);
    in_bytes.erase(0, end);
    if (head->status == 101)
      return relay_error("bad_answer", "the host's answer changes the protocol, which was not asked for");
    if (head->status >= 200) return head;
  }
  return relay_error("bad_answer", "the host's answer does not come to its end");
}

bool Conversation::pass_on(const RequestHead& request, const ResponseHead& head, Channel& from, std::string& in_bytes,
                           const Route& route, std::string_view key, Sent& sent) {
  const std::string* const coding = head.headers.find("Content-Encoding");
  if ((sent.spend || !key.empty()) && coding && !net::equal_ignoring_case(*coding, "identity") &&
      head.body != BodyKind::kNone) {
    if (sent.spend) settle(sent);
    return refuse(&request,
                  relay_error("encoding", "the provider's answer is compressed, expected it as it is").value(), &route);
  }
  if (sent.spend && head.status < 300 && route.provider)
    sent.meter.emplace(protocol_of(route.provider->protocol),
                       head.headers.get("Content-Type").starts_with("text/event-stream"));
  net::Headers headers = returned_headers(head.headers, /*cookies=*/route.keeps_credentials);
  if (!key.empty())
    for (auto& [name, value] : headers.fields) value = replaced(value, key, policy_->placeholder);
  // Where a key may be taken out the length is not known.
  const bool sized = head.body == BodyKind::kLength && key.empty() && !sent.spend;
  const bool chunked = head.body != BodyKind::kNone && !sized;
  if (sized) headers.set("Content-Length", std::to_string(head.length));
  if (chunked) headers.set("Transfer-Encoding", "chunked");
  if (head.body == BodyKind::kNone && request.method != "HEAD" && head.status != 204 && head.status != 304)
    headers.set("Content-Length", "0");
  if (const std::string* length = head.headers.find("Content-Length");
      length && request.method == "HEAD" && key.empty())
    headers.set("Content-Length", *length);
  if (!request.keep_alive || !body_read_) headers.set("Connection", "close");
  sent.answered = true;
  if (!client_->write(net::head_of(head.status, headers), {&service_.stopping, -1}, in(service_.limits.quiet_time))) {
    sent.client_gone = true;
    if (!sent.meter) {
      finished(request, route, sent);
      return false;
    }
    sent.drain_until = in(service_.limits.drain_time);
  }
  const Status passed = pass_body(head, from, in_bytes, key, chunked, sent);
  finished(request, route, sent);
  if (sent.client_gone) return false;
  std::string last;
  if (sent.cut && sent.meter && head.headers.get("Content-Type").starts_with("text/event-stream")) {
    int ignored = 0;
    append_chunk(last,
                 "\n\nevent: error\ndata: " + refusal_body(*sent.cut, route.provider->protocol, ignored) + "\n\n");
    last += kLastChunk;
  } else if (chunked && passed) {
    last = kLastChunk;
  }
  if (sent.cut)
    service_.add_event(link_, "egress.refused",
                       {{"host", route.shown_host},
                        {"method", request.method},
                        {"path", shown(route.provider ? route.provider_path : route.url.path)},
                        {"reason", std::string(sent.cut->reason)}});
  const bool written =
      last.empty() || client_->write(last, {&service_.stopping, -1}, in(service_.limits.quiet_time)).has_value();
  return written && passed && request.keep_alive && body_read_;
}

// Written before the client has the end of the answer: whoever asks next finds it counted.
void Conversation::finished(const RequestHead& request, const Route& route, Sent& sent) {
  if (sent.spend) settle(sent);
  service_.add_event(link_, "egress.sent",
                     {{"host", route.shown_host},
                      {"method", request.method},
                      {"path", shown(route.provider ? route.provider_path : route.url.path)},
                      {"status", sent.status},
                      {"bytes_in", sent.bytes_in},
                      {"bytes_out", sent.bytes_out}});
}

// More of the answer. A client that goes away is no reason to stop where tokens are counted: what it took is said at
// the end.
Status Conversation::fill(Channel& from, std::string& in_bytes, Sent& sent) {
  std::array<char, kPieceBytes> bytes;
  for (;;) {
    const Waiting who = sent.client_gone ? Waiting{&service_.stopping, -1} : waiting();
    const auto n = from.read(bytes.data(), bytes.size(), who,
                             sent.client_gone ? sent.drain_until : in(service_.limits.quiet_time));
    if (!n && n.error().reason == "gone" && sent.meter) {
      sent.client_gone = true;
      sent.drain_until = in(service_.limits.drain_time);
      continue;
    }
    if (!n) return tl::unexpected<Error>(n.error());
    if (*n == 0) return relay_error("end", "the end");
    in_bytes.append(bytes.data(), *n);
    return {};
  }
}

Status Conversation::pass_body(const ResponseHead& head, Channel& from, std::string& in_bytes, std::string_view key,
                               bool chunked, Sent& sent) {
  BodyReader reader(head.body, head.length);
  Replacer scrub(key, policy_->placeholder);
  std::string payload, clean, framed;
  for (;;) {
    payload.clear();
    clean.clear();
    TRY(const size_t used, reader.feed(in_bytes, payload));
    in_bytes.erase(0, used);
    bool done = reader.done();
    if (payload.empty() && !done) {
      if (Status filled = fill(from, in_bytes, sent); !filled) {
        if (filled.error().reason != "end") return filled;
        TRY_STATUS(reader.end());
        done = true;
      }
      if (!done) continue;
    }
    sent.bytes_in += payload.size();
    if (sent.bytes_in > service_.limits.answer_bytes)
      sent.cut = relay_error("too_large", "the answer is too large").value();
    if (sent.meter) sent.meter->feed(payload);
    if (sent.meter && done) sent.meter->finish();
    if (sent.meter && !sent.cut)
      if (const Status fits = check_budget(sent); !fits) sent.cut = fits.error();
    if (sent.cut) return relay_error(sent.cut->reason, sent.cut->message);
    scrub.feed(payload, clean);
    if (done) scrub.finish(clean);
    if (!sent.client_gone && !clean.empty()) {
      framed.clear();
      if (chunked) append_chunk(framed, clean);
      Status written =
          client_->write(chunked ? framed : clean, {&service_.stopping, -1}, in(service_.limits.quiet_time));
      if (!written && !sent.meter) return written;
      if (!written) {
        sent.client_gone = true;
        sent.drain_until = in(service_.limits.drain_time);
      }
    }
    if (done) return {};
  }
}

// While an answer comes: what it took so far may be more than was set aside, where a request named no limit, or its
// input was dearer than its bytes said.
Status Conversation::check_budget(Sent& sent) {
  if (!sent.spend) return {};
  Usage now = sent.meter->usage();
  now.output = sent.meter->output_so_far();
  const Amount& reserved = sent.spend->reserved();
  const int64_t tokens = now.input + now.output, cost = sent.price ? cost_of(now, *sent.price) : 0;
  if (tokens <= reserved.tokens && cost <= reserved.micro_usd) return {};
  // In steps, or each token would be a transaction.
  return sent.spend->extend({std::max<int64_t>(0, tokens + tokens / 8 - reserved.tokens),
                             std::max<int64_t>(0, cost + cost / 8 - reserved.micro_usd)});
}

void Conversation::settle(Sent& sent) {
  const Amount reserved = sent.spend->reserved();
  Usage usage = sent.meter ? sent.meter->usage() : Usage();
  const int64_t tokens_in = usage.input;
  int64_t tokens_out = usage.output;
  int64_t cost = sent.price ? cost_of(usage, *sent.price) : 0;
  const bool nothing = !sent.left || sent.status >= 300;  // providers bill no errors
  const bool counted = usage.final && !sent.cut;
  if (nothing) {
    cost = tokens_out = 0;
  } else if (!counted) {
    // It was answered without saying what it took, cut off, or lost: then it took what was set aside for it.
    cost = std::max(cost, reserved.micro_usd);
    tokens_out = std::max(tokens_out, reserved.tokens - tokens_in);
  }
  const Status settled =
      std::exchange(sent.spend, nullptr)->settle(cost, nothing ? 0 : tokens_in, tokens_out, sent.status);
  if (!settled)
    std::fprintf(stderr, "onsight: %s: what a request took was not written, so its reservation counts (%s)\n",
                 link_.name.c_str(), settled.error().message.c_str());
}

}  // namespace onsight::agents::broker
