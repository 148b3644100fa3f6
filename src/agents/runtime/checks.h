// Checks: what a container of this engine, or a pod of this cluster, can do although it must not, found out by one that
// tries.
//
//   spec.command = {"/bin/sh", "-c", std::string(check_script())};   // run it, keep what it prints
//   std::vector<Check> checks = judge(printed, engine_info, spec, "docker");
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agents/runtime/answers.h"

namespace onsight::agents::runtime {

// Of a container with little of everything, so that the tries are short.
ContainerSpec check_spec(const std::string& image);
std::string_view check_script();
// `printed`: by the script, whatever it is; what is missing in it is not enforced.
std::vector<Check> judge(std::string_view printed, const EngineInfo& info, const ContainerSpec& spec);

// Of a pod: it has a network device, which must lead nowhere, and it is its node that limits its processes.
ContainerSpec pod_check_spec(const std::string& image);
std::vector<Check> judge_pod(std::string_view printed, const ContainerSpec& spec);

}  // namespace onsight::agents::runtime
