// The options of a verb: declared once, parsed by CLI11, and kept as a table of which --help is made.
//
//   Options options("ask");
//   options.heading("How the answer is chosen");
//   options.number("--top-k", "N", sampling.top_k, {.min = 1, .max = 1'000'000}, "keep the N most probable tokens");
//   TRY_STATUS(options.parse(arguments));
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::cli {

struct OptionRow {
  std::string heading = {};  // the group that it is listed under
  std::string names = {};    // "-m,--model"; empty for an argument
  std::string value = {};    // "FILE"; empty for a flag
  std::string help = {};
  bool repeatable = false;
  std::vector<std::string> choices = {};  // that it may be; none: anything
};

struct Range {
  double min = 0, max = 0;
  bool open_min = false;  // min itself is not allowed
};

class Options {
 public:
  explicit Options(std::string verb);
  ~Options();

  void heading(std::string title) { heading_ = std::move(title); }
  void flag(std::string names, bool& target, std::string help, bool value = true);
  void text(std::string names, std::string value, std::optional<std::string>& target, std::string help);
  void texts(std::string names, std::string value, std::vector<std::string>& target, std::string help);
  // One of `choices`; target is its place among them.
  void choice(std::string names, std::string value, std::vector<std::string> choices, int& target, std::string help);
  void number(std::string names, std::string value, int& target, Range range, std::string help);
  void number(std::string names, std::string value, uint64_t& target, std::string help);
  void number(std::string names, std::string value, float& target, Range range, std::string help);
  void number(std::string names, std::string value, double& target, Range range, std::string help);
  void argument(std::string value, std::optional<std::string>& target, std::string help);
  // Any number of them.
  void arguments(std::string value, std::vector<std::string>& target, std::string help);

  // Fails with ErrorCode::kUsage and one sentence; an unknown option is answered with the nearest one.
  Status parse(std::span<const std::string> arguments);
  const std::vector<OptionRow>& rows() const { return rows_; }
  const std::string& verb() const { return verb_; }

 private:
  using Store = std::function<Status(const std::vector<std::string>&)>;
  void add(OptionRow row, Store store);
  Status refuse_mismatch(std::span<const std::string> arguments) const;
  Status refuse_unknown(const std::vector<std::string>& rest) const;
  template <class T>
  void add_real(std::string names, std::string value, T& target, Range range, std::string help);

  struct Parser;  // keeps CLI11 out of this header
  std::unique_ptr<Parser> parser_;
  std::string verb_, heading_ = "Options";
  std::vector<OptionRow> rows_;
  bool many_arguments_ = false;
  Status failed_;  // of the first value that was refused
};

// The candidate that `typed` was most likely meant to be, or nothing if none is near.
std::string nearest(std::string_view typed, const std::vector<std::string>& candidates);

}  // namespace onsight::cli
