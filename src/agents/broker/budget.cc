#include "agents/broker/budget.h"

#include <fmt/format.h>
#include <sodium.h>

#include <array>

namespace onsight::agents::broker {
namespace {

tl::unexpected<Error> over_budget(std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::kBusy, std::move(message), {}, "budget"});
}

Status check_cap(const config::Budget& budget, const state::Spending& spent, const Amount& more,
                 std::string_view whose) {
  if (budget.money && spent.micro_usd + spent.reserved_micro_usd + more.micro_usd > budget.money->micro_usd)
    return over_budget(
        fmt::format("the money of {} is spent: {:.2f} of {:.2f} dollars, and this request may take {:.2f}", whose,
                    static_cast<double>(spent.micro_usd + spent.reserved_micro_usd) / 1e6,
                    static_cast<double>(budget.money->micro_usd) / 1e6, static_cast<double>(more.micro_usd) / 1e6));
  const int64_t tokens = spent.tokens_in + spent.tokens_out + spent.reserved_tokens;
  if (budget.tokens && tokens + more.tokens > *budget.tokens)
    return over_budget(fmt::format("the tokens of {} are spent: {} of {}, and this request may take {}", whose, tokens,
                                   *budget.tokens, more.tokens));
  return {};
}

std::string new_request() {
  std::array<unsigned char, 12> bytes{};
  std::array<char, 2 * bytes.size() + 1> text{};
  randombytes_buf(bytes.data(), bytes.size());
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  return text.data();
}

// What the Store itself could not do; refusals keep their reason.
Status with_reason(Status status) {
  if (!status && status.error().reason.empty()) status.error().reason = "store";
  return status;
}

}  // namespace

Result<Spend> Spend::reserve(state::Store& store, Spender spender, std::string provider, std::string model,
                             Amount amount) {
  Spend out;
  out.store_ = &store;
  out.spender_ = std::move(spender);
  out.provider_ = std::move(provider);
  out.model_ = std::move(model);
  TRY_STATUS(out.extend(amount));
  return out;
}

Status Spend::extend(Amount amount) {
  const std::string request = new_request();
  Status reserved = with_reason(store_->write([&](state::Transaction& t) -> Status {
    if (spender_.own.money || spender_.own.tokens) {
      TRY(const state::Spending spent, t.spent(spender_.agent));
      TRY_STATUS(check_cap(spender_.own, spent, amount, spender_.agent));
    }
    if (spender_.fleet.money || spender_.fleet.tokens) {
      TRY(const state::Spending spent, t.spent(""));
      TRY_STATUS(check_cap(spender_.fleet, spent, amount, "all agents"));
    }
    return t.add({.actor = "broker",
                  .agent = spender_.agent,
                  .kind = "spend.reserved",
                  .body = {{"request", request},
                           {"provider", provider_},
                           {"model", model_},
                           {"micro_usd", amount.micro_usd},
                           {"tokens", amount.tokens}}});
  }));
  if (!reserved) return reserved;
  requests_.push_back(request);
  reserved_.tokens += amount.tokens;
  reserved_.micro_usd += amount.micro_usd;
  return {};
}

Status Spend::settle(int64_t micro_usd, int64_t tokens_in, int64_t tokens_out, int status) {
  const std::vector<std::string> requests = std::move(requests_);
  requests_.clear();
  if (requests.empty()) return {};
  // The first takes all of it: a request that was extended is still one.
  return with_reason(store_->write([&](state::Transaction& t) -> Status {
    for (const std::string& request : requests) {
      const bool first = &request == &requests.front();
      TRY_STATUS(t.add({.actor = "broker",
                        .agent = spender_.agent,
                        .kind = "spend.settled",
                        .body = {{"request", request},
                                 {"micro_usd", first ? micro_usd : 0},
                                 {"tokens_in", first ? tokens_in : 0},
                                 {"tokens_out", first ? tokens_out : 0},
                                 {"status", status}}}));
    }
    return {};
  }));
}

}  // namespace onsight::agents::broker
