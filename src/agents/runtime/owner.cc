#include "agents/runtime/owner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/file.h"

namespace onsight::agents::runtime {
namespace {

constexpr int kStartField = 22;  // of /proc/PID/stat, counted from 1

// "0" where there is no such process.
std::string started(int64_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/stat", pid), 64 << 10);
  if (!text) return "0";
  // The second field is its name, in parentheses, which may hold anything.
  std::istringstream fields(text->substr(std::min(text->rfind(')') + 1, text->size())));
  std::string field;
  for (int i = 3; i <= kStartField; ++i) fields >> field;
  return fields ? field : "0";
}

}  // namespace

std::string this_process() { return fmt::format("{}-{}", ::getpid(), started(::getpid())); }

bool is_alive(std::string_view owner) {
  int64_t pid = 0;
  const auto [end, error] = std::from_chars(owner.data(), owner.data() + owner.size(), pid);
  const std::string_view rest = owner.substr(static_cast<size_t>(end - owner.data()));
  if (error != std::errc() || pid <= 0 || !rest.starts_with('-')) return false;
  const std::string now = started(pid);
  return now != "0" && now == rest.substr(1);
}

}  // namespace onsight::agents::runtime
