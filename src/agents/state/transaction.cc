#include "agents/state/transaction.h"

#include "agents/state/duties.h"
#include "agents/state/kinds.h"

namespace onsight::agents::state {
namespace {

tl::unexpected<Error> only_reading(const Database& db) {
  return make_error(ErrorCode::kUsage, "{}: nothing can be written while it is only read", db.where());
}

// As it is stored. What is not UTF-8 would be read back as something else.
Result<std::string> text_of(const NewEvent& event) {
  std::string text;
  try {
    text = event.body.dump();
  } catch (const Json::exception&) {
    return bad_input("{}: body: expected UTF-8", event.kind);
  }
  if (text.size() > kMaxBodyBytes)
    return bad_input("{}: body: expected at most {} bytes, found {}", event.kind, kMaxBodyBytes, text.size());
  return text;
}

}  // namespace

Status StoreTransaction::add(NewEvent event) {
  if (!writes_) return only_reading(db_);
  if (broken_) return tl::unexpected<Error>(*broken_);
  TRY_STATUS(check_event(event));
  TRY(const std::string text, text_of(event));
  Event stamped;
  static_cast<NewEvent&>(stamped) = std::move(event);
  stamp_event(stamped, end_);
  const int64_t before = db_.changes();
  Status status = apply(db_, stamped);
  const bool applied = status.has_value();
  if (applied) status = append_event(db_, stamped, text, end_);
  if (!status && (applied || status.error().code != ErrorCode::kBadInput || db_.changes() != before))
    broken_ = status.error();
  return status;
}

Result<bool> StoreTransaction::held(std::string_view duty, int64_t epoch) { return is_held(db_, duty, epoch); }

Result<bool> StoreTransaction::take_token(std::string_view bucket, int64_t interval_ms, int burst) {
  if (!writes_) return only_reading(db_);
  return take_from_bucket(db_, bucket, interval_ms, burst);
}

}  // namespace onsight::agents::state
