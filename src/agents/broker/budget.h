// Spend: money and tokens of one request, set aside before it leaves and settled by what it took. Whoever is killed
// between leaves the reservation, so what was spent is never less than what the Store says.
//
//   TRY(Spend spend, Spend::reserve(store, {"reviewer", role.budget, fleet}, "anthropic", "claude-…", {tokens,
//   micro_usd})); spend.settle(cost, usage, 200);
#pragma once

#include <string>
#include <vector>

#include "agents/broker/metering.h"
#include "agents/config/config.h"
#include "agents/state/store.h"
#include "base/result.h"

namespace onsight::agents::broker {

struct Spender {
  std::string agent;
  config::Budget own, fleet;
};

struct Amount {
  int64_t tokens = 0, micro_usd = 0;
};

class Spend {
 public:
  // Error::reason "budget" where it would exceed the agent's or the fleet's, looked up in the transaction that sets it
  // aside; "store" where that cannot be written.
  static Result<Spend> reserve(state::Store& store, Spender spender, std::string provider, std::string model,
                               Amount amount);
  // More of the same. What was reserved before stays whatever comes.
  Status extend(Amount amount);
  const Amount& reserved() const { return reserved_; }
  // Once. Without it the reservation counts as spent.
  Status settle(int64_t micro_usd, int64_t tokens_in, int64_t tokens_out, int status);

 private:
  Spend() = default;
  state::Store* store_ = nullptr;
  Spender spender_;
  std::string provider_, model_;
  std::vector<std::string> requests_;  // one a reservation
  Amount reserved_;
};

}  // namespace onsight::agents::broker
