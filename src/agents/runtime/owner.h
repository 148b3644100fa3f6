// Owner: the process that a container works for, where it is not an agent's: whoever finds it when that process has
// gone may remove it.
//
//   spec.labels[std::string(kOwnerLabel)] = this_process();
//   if (!is_alive(info.labels.at(std::string(kOwnerLabel)))) …
#pragma once

#include <string>
#include <string_view>

namespace onsight::agents::runtime {

constexpr std::string_view kOwnerLabel = "onsight.owner";

// "4711-123456": its number, and when it started, in the kernel's ticks since the machine did: numbers are given again.
std::string this_process();
// Of this machine. What is no such text is nobody's, and not alive.
bool is_alive(std::string_view owner);

}  // namespace onsight::agents::runtime
