#include "agents/bus/bus.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "agents/bus/mail.h"
#include "agents/bus/notifier.h"
#include "agents/bus/request.h"
#include "agents/state/kinds.h"

namespace onsight::agents::bus {
namespace {

using state::AgentRow;
using state::MessageRow;
using state::Transaction;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxId = 64;
constexpr size_t kMaxDetail = 2000;
constexpr size_t kMaxNumbers = 1000;
constexpr size_t kMaxTasks = 100;

Json json_of(const MessageRow& message) {
  Json out = {{"number", message.number}, {"id", message.id},     {"from", message.sender},      {"kind", message.kind},
              {"text", message.text},     {"hops", message.hops}, {"sent_ms", message.queued_ms}};
  if (!message.reply_to.empty()) out["reply_to"] = std::stoll(message.reply_to);
  if (!message.data.is_null()) out["data"] = message.data;
  return out;
}

Json budget_of(const config::Budget& budget, const state::Spending& spent) {
  Json out = {{"spent_micro_usd", spent.micro_usd},
              {"spent_tokens", spent.tokens_in + spent.tokens_out},
              {"reserved_micro_usd", spent.reserved_micro_usd},
              {"reserved_tokens", spent.reserved_tokens}};
  if (budget.money) out["micro_usd"] = budget.money->micro_usd;
  if (budget.tokens) out["tokens"] = *budget.tokens;
  if (budget.time) out["time_ms"] = budget.time->count();
  return out;
}

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= kMaxId &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

// How long until a token of such a bucket is there, at most.
int64_t interval_ms(int per_minute) { return 60'000 / std::max(per_minute, 1); }

net::HttpResponse response_of(int status, const Json& body) {
  return {status,
          {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}},
          body.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

}  // namespace

bool may_message(const config::Role& role, std::string_view recipient, std::string_view recipient_role) {
  const bool is_role = recipient != "human" && recipient != "supervisor";
  return std::any_of(role.may_message.begin(), role.may_message.end(), [&](const std::string& allowed) {
    return allowed == "*" || allowed == (is_role ? recipient_role : recipient);
  });
}

// Each function answers one path. The outer Result is the store's, the inner one the client's.
class Bus::Impl {
 public:
  using Outcome = Result<Understood<Answer>>;

  Impl(state::Store& store, CurrentConfig config, const Limits& limits)
      : store_(store), config_(std::move(config)), limits_(limits), notifier_(store) {}

  net::HttpResponse handle(std::string_view agent, const net::HttpRequest& request, const std::function<bool()>& over) {
    Outcome outcome = dispatch(agent, request, over);
    if (outcome && outcome->has_value()) return response_of((*outcome)->status, (*outcome)->body);
    if (outcome) return refused(agent, request, outcome->error());
    const bool busy = outcome.error().code == ErrorCode::kBusy;
    net::HttpResponse response = response_of(
        busy ? 503 : 500,
        {{"error", {{"message", outcome.error().message}, {"type", "failed"}, {"reason", busy ? "busy" : "store"}}}});
    if (busy) response.headers.set("Retry-After", "1");
    return response;
  }

  void wake() { notifier_.wake_all(); }

 private:
  struct Route {
    std::string_view method, path;
    Outcome (Impl::*answer)(std::string_view agent, const net::HttpRequest& request);
  };
  static constexpr std::string_view kInbox = "/onsight/inbox";

  Outcome dispatch(std::string_view agent, const net::HttpRequest& request, const std::function<bool()>& over) {
    static const std::array<Route, 7> routes = {{{"POST", "/onsight/messages", &Impl::post_message},
                                                 {"POST", "/onsight/inbox/consumed", &Impl::post_consumed},
                                                 {"POST", "/onsight/status", &Impl::post_status},
                                                 {"POST", "/onsight/heartbeat", &Impl::post_heartbeat},
                                                 {"POST", "/onsight/done", &Impl::post_done},
                                                 {"POST", "/onsight/propose", &Impl::post_propose},
                                                 {"GET", "/onsight/me", &Impl::get_me}}};
    if (request.path == kInbox) {
      if (request.method == "GET") return get_inbox(agent, request, over);
      return Understood<Answer>(refuse(405, "method", "{}: expected GET", request.path));
    }
    for (const Route& route : routes) {
      if (route.path != request.path) continue;
      if (route.method != request.method)
        return Understood<Answer>(refuse(405, "method", "{}: expected {}", request.path, route.method));
      return (this->*route.answer)(agent, request);
    }
    return Understood<Answer>(refuse(404, "no_such_path", "there is no such path"));
  }

  net::HttpResponse refused(std::string_view agent, const net::HttpRequest& request, const Refusal& refusal) {
    // Also these have a rate: a client that is refused for ever does not fill the disk.
    (void)store_.write([&](Transaction& t) -> Status {
      TRY(const bool logged,
          t.take_token(fmt::format("refusals/{}", agent), interval_ms(limits_.per_minute), limits_.burst));
      if (!logged) return {};
      return t.add({.actor = "broker",
                    .agent = std::string(agent),
                    .kind = "egress.refused",
                    .body = {{"host", "onsight"},
                             {"method", request.method.substr(0, 16)},
                             {"path", request.path.substr(0, 200)},
                             {"reason", refusal.reason},
                             {"detail", refusal.message.substr(0, 400)}}});
    });
    Json error = {{"message", refusal.message}, {"type", "refused"}, {"reason", refusal.reason}};
    if (refusal.retry_after_ms > 0) error["retry_after_ms"] = refusal.retry_after_ms;
    net::HttpResponse response = response_of(refusal.status, {{"error", std::move(error)}});
    if (refusal.retry_after_ms > 0)
      response.headers.set("Retry-After", std::to_string((refusal.retry_after_ms + 999) / 1000));
    return response;
  }

  // Runs `work` in a transaction, with the agent's row; of one that is gone nothing is answered.
  template <class Work>
  Outcome write_as(std::string_view agent, Work&& work) {
    Understood<Answer> answer = refuse(403, "not_allowed", "{}: there is no such agent", agent);
    TRY_STATUS(store_.write([&](Transaction& t) -> Status {
      TRY(const std::optional<AgentRow> me, t.agent(agent));
      if (!me) return {};
      TRY(answer, work(t, *me));
      return {};
    }));
    return answer;
  }

  Result<Understood<void>> take_token(Transaction& t, std::string_view what, std::string_view agent) {
    const int64_t interval = interval_ms(limits_.per_minute);
    TRY(const bool taken, t.take_token(fmt::format("{}/{}", what, agent), interval, limits_.burst));
    if (taken) return Understood<void>();
    return Understood<void>(tl::unexpected<Refusal>(Refusal{
        429, "rate", fmt::format("{}: at most {} a minute; try again later", what, limits_.per_minute), interval}));
  }

  Understood<Draft> read_draft(const net::HttpRequest& request) const {
    UNDERSTAND(const Json body,
               read_body(request, limits_.body_bytes, {"id", "to", "text", "kind", "reply_to", "data"}));
    Draft draft;
    UNDERSTAND(draft.id, need_text(body, "id", kMaxId));
    if (!is_word(draft.id))
      return refuse(400, "bad_request", "id: expected 1 to {} printable characters without spaces", kMaxId);
    UNDERSTAND(draft.to, need_text(body, "to", kMaxId));
    UNDERSTAND(draft.text, need_text(body, "text", limits_.body_bytes));
    UNDERSTAND(draft.kind, text_or(body, "kind", "message", kMaxId));
    if (draft.kind != "message" && draft.kind != "question" && draft.kind != "answer")
      return refuse(400, "bad_request", "kind: expected message, question or answer");
    UNDERSTAND(draft.reply_to, number_or(body, "reply_to", 0));
    if (const auto data = body.find("data"); data != body.end()) draft.data = *data;
    return draft;
  }

  Outcome post_message(std::string_view agent, const net::HttpRequest& request) {
    if (auto good = check_query(request, {}); !good) return Understood<Answer>(tl::unexpected<Refusal>(good.error()));
    const Understood<Draft> draft = read_draft(request);
    if (!draft) return Understood<Answer>(tl::unexpected<Refusal>(draft.error()));
    const auto config = config_();
    return write_as(agent, [&](Transaction& t, const AgentRow& me) -> Outcome {
      TRY(const std::optional<MessageRow> twin, t.message(agent, draft->id));
      if (twin) {
        if (is_same(*twin, *draft)) return Understood<Answer>(Answer{200, {{"number", twin->number}}});
        return Understood<Answer>(refuse(409, "conflict", "id: another message was sent with '{}'", draft->id));
      }
      TRY(const Understood<void> allowed, check_recipient(t, *config, me, draft->to));
      if (!allowed) return Understood<Answer>(tl::unexpected<Refusal>(allowed.error()));
      std::optional<MessageRow> parent;
      if (draft->reply_to > 0) {
        TRY(parent, find_own(t, agent, draft->reply_to));
        if (!parent)
          return Understood<Answer>(
              refuse(404, "no_message", "reply_to: there is no message {} to you", draft->reply_to));
      }
      const int hops = parent ? parent->hops + 1 : 0;
      if (hops > limits_.hops)
        return Understood<Answer>(refuse(403, "hops", "reply_to: a chain of more than {} replies", limits_.hops));
      TRY(const Understood<void> token, take_token(t, "messages", agent));
      if (!token) return Understood<Answer>(tl::unexpected<Refusal>(token.error()));
      TRY(const int64_t number, queue_message(t, agent, *draft, parent, hops));
      return Understood<Answer>(Answer{201, {{"number", number}}});
    });
  }

  Result<Understood<void>> check_recipient(Transaction& t, const config::Config& config, const AgentRow& me,
                                           const std::string& to) const {
    std::string role;
    if (to != "human" && to != "supervisor") {
      TRY(const std::optional<AgentRow> recipient, t.agent(to));
      if (!recipient) return Understood<void>(refuse(404, "no_recipient", "to: there is no agent '{}'", to));
      role = recipient->role;
    }
    const auto mine = config.roles.find(me.role);
    if (to == me.name) return Understood<void>(refuse(403, "not_allowed", "to: a message to yourself"));
    if (mine == config.roles.end() || !may_message(mine->second, to, role))
      return Understood<void>(refuse(403, "not_allowed", "to: the role {} may not write to {}", me.role, to));
    return Understood<void>();
  }

  Outcome get_inbox(std::string_view agent, const net::HttpRequest& request, const std::function<bool()>& over) {
    struct Asking {
      int64_t wait = 0, after = 0, limit = 0;
    };
    const Understood<Asking> asking = [&]() -> Understood<Asking> {
      if (auto good = check_query(request, {"wait", "after", "limit"}); !good)
        return tl::unexpected<Refusal>(good.error());
      Asking out;
      UNDERSTAND(out.wait, query_number(request, "wait", 0, limits_.wait.count()));
      UNDERSTAND(out.after, query_number(request, "after", 0, state::kMaxCount));
      UNDERSTAND(out.limit, query_number(request, "limit", limits_.at_once, limits_.at_once));
      return out;
    }();
    if (!asking) return Understood<Answer>(tl::unexpected<Refusal>(asking.error()));
    const int limit = static_cast<int>(std::max<int64_t>(asking->limit, 1));
    const auto until = Clock::now() + std::chrono::seconds(asking->wait);
    for (;;) {
      const uint64_t before = asking->wait > 0 ? notifier_.arrivals(agent) : 0;
      bool known = false, there = false;
      TRY_STATUS(store_.read([&](Transaction& t) -> Status {
        TRY(const auto me, t.agent(agent));
        known = me.has_value();
        TRY(const auto first, t.inbox(agent, asking->after, true, 1));
        there = !first.empty();
        return {};
      }));
      if (!known) return Understood<Answer>(refuse(403, "not_allowed", "{}: there is no such agent", agent));
      if (there) return deliver(agent, asking->after, limit);
      if (!wait_for_message(agent, before, until, over))
        return Understood<Answer>(Answer{200, {{"messages", Json::array()}}});
    }
  }

  // False: the time is over, or nobody waits any longer.
  bool wait_for_message(std::string_view agent, uint64_t before, Clock::time_point until,
                        const std::function<bool()>& over) {
    using std::chrono::milliseconds;
    const auto look_again = Clock::now() + milliseconds(2000);  // should the notifier be unable to read the store
    for (;;) {
      const auto now = Clock::now();
      if (now >= until || (over && over())) return false;
      if (now >= look_again) return true;
      notifier_.wait(agent, before, std::min({until, look_again, now + milliseconds(250)}));
      if (notifier_.arrivals(agent) != before) return true;
    }
  }

  Outcome deliver(std::string_view agent, int64_t after, int limit) {
    return write_as(agent, [&](Transaction& t, const AgentRow&) -> Outcome {
      TRY(std::vector<MessageRow> messages, t.inbox(agent, after, true, limit));
      size_t bytes = 0, fit = 0;
      for (const MessageRow& message : messages) {
        bytes += message.text.size() + (message.data.is_null() ? 0 : message.data.dump().size());
        if (fit > 0 && bytes > limits_.answer_bytes) break;
        ++fit;
      }
      messages.resize(fit);
      TRY_STATUS(mark_delivered(t, agent, messages, agent));
      Json list = Json::array();
      for (const MessageRow& message : messages) list.push_back(json_of(message));
      return Understood<Answer>(Answer{200, {{"messages", std::move(list)}}});
    });
  }

  Understood<std::set<int64_t>> read_numbers(const net::HttpRequest& request) const {
    UNDERSTAND(const Json body, read_body(request, limits_.body_bytes, {"numbers"}));
    const auto list = body.find("numbers");
    if (list == body.end() || !list->is_array() || list->empty() || list->size() > kMaxNumbers)
      return refuse(400, "bad_request", "numbers: expected a list of 1 to {} numbers", kMaxNumbers);
    std::set<int64_t> out;
    for (const Json& number : *list) {
      UNDERSTAND(const int64_t value, number_or(Json{{"numbers", number}}, "numbers", 0));
      out.insert(value);
    }
    return out;
  }

  Outcome post_consumed(std::string_view agent, const net::HttpRequest& request) {
    const Understood<std::set<int64_t>> numbers = read_numbers(request);
    if (!numbers) return Understood<Answer>(tl::unexpected<Refusal>(numbers.error()));
    return write_as(agent, [&](Transaction& t, const AgentRow&) -> Outcome {
      std::vector<MessageRow> messages;
      for (const int64_t number : *numbers) {
        TRY(const std::optional<MessageRow> message, find_own(t, agent, number));
        if (!message)
          return Understood<Answer>(refuse(404, "no_message", "numbers: there is no message {} to you", number));
        if (message->delivered_ms == 0)
          return Understood<Answer>(refuse(409, "conflict", "numbers: message {} was not read yet", number));
        messages.push_back(*message);
      }
      TRY_STATUS(mark_consumed(t, agent, messages, agent));
      return Understood<Answer>(Answer{200, {{"consumed", *numbers}}});
    });
  }

  Outcome post_status(std::string_view agent, const net::HttpRequest& request) {
    struct Said {
      std::string activity, detail;
    };
    const Understood<Said> said = [&]() -> Understood<Said> {
      UNDERSTAND(const Json body, read_body(request, limits_.body_bytes, {"activity", "detail"}));
      Said out;
      UNDERSTAND(out.activity, need_text(body, "activity", kMaxId));
      UNDERSTAND(out.detail, text_or(body, "detail", "", kMaxDetail));
      const auto activity = state::activity_of(out.activity);
      // Whether it lives is not its own to say.
      if (!activity || *activity == state::Activity::kOffline || *activity == state::Activity::kStalled)
        return refuse(400, "bad_request", "activity: expected idle, thinking, waiting, blocked, completed or limit");
      return out;
    }();
    if (!said) return Understood<Answer>(tl::unexpected<Refusal>(said.error()));
    return write_as(agent, [&](Transaction& t, const AgentRow& me) -> Outcome {
      const auto activity = state::activity_of(said->activity);
      if (me.activity == *activity && me.activity_by == agent && me.detail == said->detail)
        return Understood<Answer>(Answer{});
      if (!state::may_be(me.phase, *activity))
        return Understood<Answer>(refuse(409, "conflict", "activity: the agent is {}", state::name_of(me.phase)));
      TRY(const Understood<void> token, take_token(t, "statuses", agent));
      if (!token) return Understood<Answer>(tl::unexpected<Refusal>(token.error()));
      Json body = {{"activity", said->activity}};
      if (!said->detail.empty()) body["detail"] = said->detail;
      TRY_STATUS(t.add({.actor = me.name, .agent = me.name, .kind = "agent.activity", .body = std::move(body)}));
      return Understood<Answer>(Answer{});
    });
  }

  Outcome post_heartbeat(std::string_view agent, const net::HttpRequest& request) {
    const Understood<Json> body = read_body(request, limits_.body_bytes, {});
    if (!body) return Understood<Answer>(tl::unexpected<Refusal>(body.error()));
    std::optional<AgentRow> me;
    TRY_STATUS(store_.read([&](Transaction& t) -> Status {
      TRY(me, t.agent(agent));
      return {};
    }));
    if (!me) return Understood<Answer>(refuse(403, "not_allowed", "{}: there is no such agent", agent));
    // More than one a second say nothing more, and each is a write.
    if (state::now_ms() - me->heartbeat_ms >= 1000) TRY_STATUS(store_.heartbeat(agent));
    return Understood<Answer>(Answer{});
  }

  Outcome post_done(std::string_view agent, const net::HttpRequest& request) {
    struct Said {
      std::string summary, result;
    };
    const Understood<Said> said = [&]() -> Understood<Said> {
      UNDERSTAND(const Json body, read_body(request, limits_.body_bytes, {"summary", "result"}));
      Said out;
      UNDERSTAND(out.summary, need_text(body, "summary", limits_.body_bytes));
      UNDERSTAND(out.result, text_or(body, "result", "done", kMaxId));
      if (out.result != "done" && out.result != "failed")
        return refuse(400, "bad_request", "result: expected done or failed");
      return out;
    }();
    if (!said) return Understood<Answer>(tl::unexpected<Refusal>(said.error()));
    return write_as(agent, [&](Transaction& t, const AgentRow& me) -> Outcome {
      if (me.result == said->result && me.detail == said->summary) return Understood<Answer>(Answer{});
      TRY(const Understood<void> token, take_token(t, "statuses", agent));
      if (!token) return Understood<Answer>(tl::unexpected<Refusal>(token.error()));
      TRY_STATUS(t.add({.actor = me.name,
                        .agent = me.name,
                        .kind = "agent.done",
                        .body = {{"summary", said->summary}, {"result", said->result}}}));
      return Understood<Answer>(Answer{});
    });
  }

  Understood<Json> read_proposal(const net::HttpRequest& request) const {
    UNDERSTAND(Json body, read_body(request, limits_.body_bytes, {"tasks", "id"}));
    const auto tasks = body.find("tasks");
    const bool good = tasks != body.end() && tasks->is_array() && !tasks->empty() && tasks->size() <= kMaxTasks &&
                      std::all_of(tasks->begin(), tasks->end(), [](const Json& task) { return task.is_object(); });
    if (!good) return refuse(400, "bad_request", "tasks: expected a list of 1 to {} objects", kMaxTasks);
    UNDERSTAND(const std::string id, text_or(body, "id", "", kMaxId));
    if (!id.empty() && !is_word(id))
      return refuse(400, "bad_request", "id: expected 1 to {} printable characters without spaces", kMaxId);
    if (id.empty()) body.erase("id");
    return body;
  }

  Outcome post_propose(std::string_view agent, const net::HttpRequest& request) {
    const Understood<Json> body = read_proposal(request);
    if (!body) return Understood<Answer>(tl::unexpected<Refusal>(body.error()));
    const auto config = config_();
    return write_as(agent, [&](Transaction& t, const AgentRow& me) -> Outcome {
      const auto role = config->roles.find(me.role);
      if (role == config->roles.end() || !role->second.may_propose)
        return Understood<Answer>(refuse(403, "not_allowed", "the role {} may not propose tasks", me.role));
      if (const auto id = body->find("id"); id != body->end()) {
        TRY(const int64_t seq, t.proposal(agent, id->get<std::string>()));
        if (seq > 0) {
          TRY(const auto events, t.events({.after = seq - 1, .limit = 1}));
          if (!events.empty() && events[0].body == *body) return Understood<Answer>(Answer{200, {{"seq", seq}}});
          return Understood<Answer>(refuse(409, "conflict", "id: other tasks were proposed with it"));
        }
      }
      TRY(const Understood<void> token, take_token(t, "proposals", agent));
      if (!token) return Understood<Answer>(tl::unexpected<Refusal>(token.error()));
      TRY_STATUS(t.add({.actor = me.name, .agent = me.name, .kind = "task.proposed", .body = *body}));
      return Understood<Answer>(Answer{201, {{"seq", t.last_seq()}}});
    });
  }

  Outcome get_me(std::string_view agent, const net::HttpRequest& request) {
    if (auto good = check_query(request, {}); !good) return Understood<Answer>(tl::unexpected<Refusal>(good.error()));
    const auto config = config_();
    Understood<Answer> answer = refuse(403, "not_allowed", "{}: there is no such agent", agent);
    TRY_STATUS(store_.read([&](Transaction& t) -> Status {
      TRY(const std::optional<AgentRow> me, t.agent(agent));
      if (!me) return {};
      const auto found = config->roles.find(me->role);
      const config::Role role = found == config->roles.end() ? config::Role{.may_message = {}} : found->second;
      TRY(const state::Spending spent, t.spent(agent));
      TRY(const std::vector<AgentRow> all, t.agents());
      Json reachable = Json::array();
      for (const AgentRow& other : all) {
        if (other.name != agent && may_message(role, other.name, other.role))
          reachable.push_back({{"name", other.name}, {"role", other.role}, {"phase", state::name_of(other.phase)}});
      }
      answer = Answer{200,
                      {{"agent", me->name},
                       {"role", me->role},
                       {"task", me->task},
                       {"branch", me->branch},
                       {"may_message", role.may_message},
                       {"agents", std::move(reachable)},
                       {"may_propose", role.may_propose},
                       {"vision", role.vision && !config->vision_url.empty()},
                       {"budget", budget_of(role.budget, spent)}}};
      return {};
    }));
    return answer;
  }

  state::Store& store_;
  CurrentConfig config_;
  const Limits limits_;
  Notifier notifier_;
};

Bus::Bus(state::Store& store, CurrentConfig config, const Limits& limits)
    : impl_(std::make_unique<Impl>(store, std::move(config), limits)) {}
Bus::~Bus() = default;

net::HttpResponse Bus::handle(std::string_view agent, const net::HttpRequest& request,
                              const std::function<bool()>& over) {
  return impl_->handle(agent, request, over);
}

void Bus::wake() { impl_->wake(); }

}  // namespace onsight::agents::bus
