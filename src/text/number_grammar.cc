#include "text/number_grammar.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>

namespace onsight::text {
namespace {

constexpr size_t kDigits = 15, kMostDigits = 18;

using Bound = NumberRange::Bound;

int compare_magnitudes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int whole = a.whole.compare(b.whole)) return whole;
  return a.part.compare(b.part);  // without trailing zeros the shorter of equal beginnings is the smaller
}

std::string digits_of(const Decimal& value) { return value.whole.empty() ? "0" : value.whole; }

// The magnitudes from `low` to `high` behind an optional sign.
class MagnitudeWriter {
 public:
  MagnitudeWriter(ByteGrammar& grammar, Bound low, std::optional<Bound> high, const NumberRange& range,
                  ByteGrammar::State to)
      : grammar_(grammar),
        low_(std::move(low)),
        bounded_(high.has_value()),
        high_(high ? *std::move(high) : Bound{}),
        low_digits_(digits_of(low_.value)),
        whole_(range.integer || range.multiple_of > 0),
        multiple_(std::max(1, range.multiple_of)),
        most_(std::max(kDigits, std::min(kMostDigits, low_digits_.size()))),
        to_(to) {
    if (high_.value.whole.size() > most_) bounded_ = false;
    if (bounded_) high_digits_ = digits_of(high_.value);
  }

  void write(ByteGrammar::State from) {
    const size_t low = low_digits_.size(), high = bounded_ ? high_digits_.size() : most_ + 1;
    if (low == high) {
      grammar_.skip(from, whole(low, 0, true, true, 0));
      return;
    }
    if (low > high) return;
    grammar_.skip(from, whole(low, 0, true, false, 0));
    if (bounded_) grammar_.skip(from, whole(high, 0, false, true, 0));
    free_first_ = low + 1;
    free_last_ = high - 1;
    if (free_first_ <= free_last_) grammar_.skip(from, whole(0, 0, false, false, 0));
  }

 private:
  // Behind `read` of `length` digits before the point; length 0: any that is free of both bounds. at_low, at_high: all
  // digits so far are those of the bound.
  ByteGrammar::State whole(size_t length, size_t read, bool at_low, bool at_high, int rest) {
    const auto [entry, is_new] = whole_states_.try_emplace({length, read, at_low, at_high, rest}, 0);
    if (!is_new) return entry->second;
    const ByteGrammar::State state = entry->second = grammar_.add_state();
    if (grammar_.too_large()) return state;
    if (length > 0 ? read == length : read >= free_first_) end_of_whole(state, read, at_low, at_high, rest);
    if (read < (length > 0 ? length : free_last_))
      for (int digit = read == 0 && length != 1 ? 1 : 0; digit <= 9; ++digit) {
        const char c = static_cast<char>('0' + digit);
        if ((at_low && c < low_digits_[read]) || (at_high && c > high_digits_[read])) continue;
        grammar_.byte(state, c,
                      whole(length, read + 1, at_low && c == low_digits_[read], at_high && c == high_digits_[read],
                            (rest * 10 + digit) % multiple_));
      }
    return state;
  }

  void end_of_whole(ByteGrammar::State state, size_t digits, bool at_low, bool at_high, int rest) {
    if (rest == 0 && fits(0, at_low, at_high)) grammar_.skip(state, to_);
    if (!whole_ && digits < kDigits) grammar_.byte(state, '.', part(0, kDigits - digits, at_low, at_high));
  }

  // Whether the number may end behind `read` digits of its part: what the bounds have beyond them tells.
  bool fits(size_t read, bool at_low, bool at_high) const {
    const bool below = at_low && (low_.value.part.size() > read || low_.open);
    const bool above = at_high && high_.value.part.size() <= read && high_.open;
    return !below && !above;
  }

  ByteGrammar::State part(size_t read, size_t left, bool at_low, bool at_high) {
    const bool is_free = !at_low && !at_high;
    const auto [entry, is_new] = part_states_.try_emplace({is_free && read > 0 ? 1 : read, left, at_low, at_high}, 0);
    if (!is_new) return entry->second;
    const ByteGrammar::State state = entry->second = grammar_.add_state();
    if (read > 0 && fits(read, at_low, at_high)) grammar_.skip(state, to_);
    const auto digit_at = [read](const Decimal& value) { return read < value.part.size() ? value.part[read] : '0'; };
    for (char c = '0'; left > 0 && c <= '9'; ++c) {
      const char low = at_low ? digit_at(low_.value) : '0', high = at_high ? digit_at(high_.value) : '9';
      if (c >= low && c <= high)
        grammar_.byte(state, c, part(read + 1, left - 1, at_low && c == low, at_high && c == high));
    }
    return state;
  }

  ByteGrammar& grammar_;
  Bound low_;
  bool bounded_;  // by high_
  Bound high_;
  std::string low_digits_, high_digits_;
  bool whole_;
  int multiple_;
  size_t most_;
  ByteGrammar::State to_;
  size_t free_first_ = 1, free_last_ = 0;
  std::map<std::tuple<size_t, size_t, bool, bool, int>, ByteGrammar::State> whole_states_;
  std::map<std::tuple<size_t, size_t, bool, bool>, ByteGrammar::State> part_states_;
};

}  // namespace

Decimal parse_decimal(std::string_view json_number) {
  Decimal out;
  if (json_number.starts_with('-')) {
    out.negative = true;
    json_number.remove_prefix(1);
  }
  int exponent = 0;
  if (const size_t e = json_number.find_first_of("eE"); e != std::string_view::npos) {
    std::string_view digits = json_number.substr(e + 1);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    json_number = json_number.substr(0, e);
  }
  const size_t point = std::min(json_number.find('.'), json_number.size());
  std::string all(json_number.substr(0, point));
  if (point < json_number.size()) all += json_number.substr(point + 1);
  int64_t place = static_cast<int64_t>(point) + exponent;
  if (place < 0) all.insert(0, static_cast<size_t>(-place), '0');
  place = std::max<int64_t>(place, 0);
  if (all.size() < static_cast<size_t>(place)) all.resize(static_cast<size_t>(place), '0');
  out.whole = all.substr(0, static_cast<size_t>(place));
  out.part = all.substr(static_cast<size_t>(place));
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  out.part.erase(out.part.find_last_not_of('0') + 1);
  if (out.is_zero()) out.negative = false;
  return out;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

Status add_number_bytes(ByteGrammar& grammar, ByteGrammar::State from, const NumberRange& range,
                        ByteGrammar::State to) {
  const auto add = [&](ByteGrammar::State begin, const std::optional<Bound>& nearer,
                       const std::optional<Bound>& farther, bool negative) -> Status {
    Bound low{{}, negative};  // zero has no sign
    if (nearer && nearer->value.negative == negative && (!nearer->value.is_zero() || nearer->open))
      low = {{false, nearer->value.whole, nearer->value.part}, nearer->open};
    std::optional<Bound> high;
    if (farther) high = Bound{{false, farther->value.whole, farther->value.part}, farther->open};
    if (low.value.whole.size() > kMostDigits)
      return bad_input("a magnitude of {} digits, expected at most {}", low.value.whole.size(), kMostDigits);
    for (const Bound& bound : {low, high.value_or(low)})
      if (bound.open && bound.value.whole.size() > kDigits && bound.value.whole.size() <= low.value.whole.size())
        return bad_input("an exclusive bound of {} digits, expected at most {}, since doubles tell no neighbours of it",
                         bound.value.whole.size(), kDigits);
    MagnitudeWriter(grammar, std::move(low), std::move(high), range, to).write(begin);
    return {};
  };
  if (!range.most || !range.most->value.negative) TRY_STATUS(add(from, range.least, range.most, false));
  if (!range.least || range.least->value.negative) {
    const ByteGrammar::State minus = grammar.add_state();
    grammar.byte(from, '-', minus);
    TRY_STATUS(add(minus, range.most, range.least, true));
  }
  return {};
}

}  // namespace onsight::text
