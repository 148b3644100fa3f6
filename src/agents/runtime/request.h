// Requests: what the engine is asked for, as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agents/runtime/dialect.h"
#include "agents/runtime/runtime.h"

namespace onsight::agents::runtime {

// For a place in a path or a query.
std::string escaped(std::string_view text, bool slashes = false);

// The body of a container's creation; `seccomp` is the profile, or its path.
Result<std::string> creation(const ContainerSpec& spec, const Dialect& dialect, std::string_view seccomp);

std::string exec_creation(const std::vector<std::string>& command, bool terminal);
std::string label_filter(const Labels& labels);

// "LABEL name=value", "ENV name=value": instructions of an import. Refuses what would have to be quoted, which engines
// read in different ways.
Result<std::vector<std::string>> import_changes(const Labels& labels, const std::vector<std::string>& environment);

}  // namespace onsight::agents::runtime
