#include "bus.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace onsight::guest {
namespace {

Result<Json> body_of(const Answer& answer) {
  if (answer.status >= 300) return refused(answer);
  if (answer.body.empty()) return Json::object();
  return parse_outside(answer.body, "broker");
}

int64_t integer_of(const Json& object, std::string_view key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

}  // namespace

Result<Json> Bus::post(const std::string& target, const Json& body, Clock::time_point deadline,
                       std::string_view what) const {
  TRY(const Answer answer, broker_.insist("POST", target, to_text(body), deadline, what));
  return body_of(answer);
}

Result<int64_t> Bus::send(Outgoing message, Clock::time_point deadline) const {
  if (message.id.empty()) message.id = new_message_id();
  Json body = {{"id", message.id}, {"to", message.to}, {"text", message.text}};
  body["kind"] = message.question ? "question" : message.reply_to ? "answer" : "message";
  if (message.reply_to) body["reply_to"] = *message.reply_to;
  TRY(const Json answer, post("/onsight/messages", body, deadline, "send --id " + message.id));
  return integer_of(answer, "number");
}

Status Bus::set_status(const std::string& activity, const std::string& detail, Clock::time_point deadline) const {
  Json body = {{"activity", activity}};
  if (!detail.empty()) body["detail"] = detail;
  TRY_STATUS(post("/onsight/status", body, deadline, "status"));
  return {};
}

Result<Json> Bus::propose(const Json& tasks, Clock::time_point deadline) const {
  return post("/onsight/propose", {{"id", new_message_id()}, {"tasks", tasks}}, deadline, "propose");
}

Status Bus::finish(const std::string& summary, bool failed, Clock::time_point deadline) const {
  TRY_STATUS(post("/onsight/done", {{"summary", summary}, {"result", failed ? "failed" : "done"}}, deadline, "done"));
  return {};
}

Result<Json> Bus::me(Clock::time_point deadline) const {
  TRY(const Answer answer, broker_.insist("GET", "/onsight/me", "", deadline, "me"));
  return body_of(answer);
}

Result<std::vector<Incoming>> Bus::inbox(std::chrono::milliseconds wait, const std::function<bool()>& stop) const {
  using std::chrono::seconds;
  const auto end = Clock::now() + wait;
  const auto slice = stop ? seconds(2) : seconds(25);
  for (;;) {
    const auto left = std::chrono::ceil<seconds>(end - Clock::now());
    const auto now = std::clamp(left, seconds(0), slice);
    // A broker that is being started again has its time beyond what one waits for messages.
    const auto deadline = std::max(end, Clock::now() + now) + seconds(stop ? 5 : 15);
    TRY(const Answer answer,
        broker_.insist("GET", fmt::format("/onsight/inbox?wait={}&after=0", now.count()), "", deadline, "inbox"));
    TRY(const Json body, body_of(answer));
    std::vector<Incoming> out;
    const auto list = body.is_object() ? body.find("messages") : body.end();
    if (list == body.end() || !list->is_array()) return bad_input("broker: expected a list of messages");
    for (const Json& one : *list) {
      Incoming message = {integer_of(one, "number"), string_of(one, "from"), string_of(one, "kind"),
                          string_of(one, "text"), one};
      if (message.from.empty()) message.from = string_of(one, "sender");
      if (message.number <= 0) return bad_input("broker: expected the number of each message");
      out.push_back(std::move(message));
    }
    if (!out.empty() || Clock::now() >= end || (stop && stop())) return out;
  }
}

Status Bus::consumed(const std::vector<Incoming>& messages, Clock::time_point deadline) const {
  Json numbers = Json::array();
  for (const Incoming& message : messages) numbers.push_back(message.number);
  TRY_STATUS(post("/onsight/inbox/consumed", {{"numbers", numbers}}, deadline, "inbox"));
  return {};
}

std::string new_message_id() {
  static constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) bytes.back() ^= 1;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  auto ms = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  std::string out(26, '0');
  for (size_t i = 10; i-- > 0; ms /= 32) out[i] = kDigits[ms % 32];
  for (size_t i = 0; i < 16; ++i) out[10 + i] = kDigits[bytes[i] % 32];
  return out;
}

std::string to_read(const std::vector<Incoming>& messages) {
  std::string out;
  for (const Incoming& message : messages) {
    const std::string from = printable(message.from, false);
    out += fmt::format("#{} from {}", message.number, from);
    if (!message.kind.empty() && message.kind != "message") out += fmt::format(" ({})", printable(message.kind, false));
    const auto reply = message.whole.find("reply_to");
    if (reply != message.whole.end() && reply->is_number_integer())
      out += fmt::format(", in reply to #{}", reply->get<int64_t>());
    else if (reply != message.whole.end() && reply->is_string() && !reply->get_ref<const std::string&>().empty())
      out += fmt::format(", in reply to #{}", printable(reply->get<std::string>(), false));
    out += ":\n" + printable(message.text, true) + "\n";
    if (message.kind == "question")
      out += fmt::format("(answer with: onsight-agent send {} TEXT --reply-to {})\n", from, message.number);
    out += "\n";
  }
  return out;
}

}  // namespace onsight::guest
