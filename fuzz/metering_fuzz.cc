// What models answer, in pieces, and what agents ask of them: the first byte says which protocol, the second how long
// the pieces are. Cut in any way an answer counts the same.
#include <cstdlib>
#include <string>
#include <string_view>

#include "agents/broker/metering.h"
#include "agents/broker/replacer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight::agents::broker;
  if (size < 2) return 0;
  const auto protocol = static_cast<Protocol>(data[0] % 4);
  const bool events = data[0] & 4;
  const size_t at_once = 1 + data[1];
  const std::string_view all(reinterpret_cast<const char*>(data) + 2, size - 2);
  UsageMeter whole(protocol, events), pieces(protocol, events);
  whole.feed(all);
  whole.finish();
  for (size_t i = 0; i < all.size(); i += at_once) pieces.feed(all.substr(i, at_once));
  pieces.finish();
  const Usage &a = whole.usage(), &b = pieces.usage();
  if (a.input != b.input || a.output != b.output || a.cache_read != b.cache_read || a.final != b.final) std::abort();
  if (a.input < 0 || a.output < 0 || whole.output_so_far() < 0 || whole.output_so_far() != pieces.output_so_far())
    std::abort();
  if (cost_of(a, {"", 3'000'000, 15'000'000, 300'000}) < 0) std::abort();

  if (const auto request = read_model_request(protocol, "/v1beta/models/m:generateContent", all)) {
    if (request->model.empty() || request->answers < 1 || request->max_output.value_or(0) < 0) std::abort();
    if (input_bound(*request, all.size()) < static_cast<int64_t>(all.size() / 2)) std::abort();
  }

  // What a replacer lets through never holds what it looks for, however it is cut.
  Replacer first("secret", "#"), second("secret", "#");
  std::string one, other;
  first.feed(all, one);
  first.finish(one);
  for (size_t i = 0; i < all.size(); i += at_once) second.feed(all.substr(i, at_once), other);
  second.finish(other);
  if (one != other || one.find("secret") != std::string::npos) std::abort();
  return 0;
}
