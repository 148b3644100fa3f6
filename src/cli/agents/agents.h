// onsight agents: a table of verbs of its own, in files by what they are about.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "agents/agents.h"
#include "cli/program.h"

namespace onsight::cli {

std::span<const VerbRow> agent_verbs();

// The fleet of the repository around this folder, or --project.
Result<std::unique_ptr<agents::Fleet>> open_fleet(const std::optional<std::string>& project);
// An argument that must be there.
Result<std::string> expected_name(const std::optional<std::string>& name, std::string_view what);
// "3 min", "2 h": how long ago; "-" where it never was.
std::string ago(int64_t then_ms, int64_t now_ms);
std::string dollars(int64_t micro_usd);

std::unique_ptr<Verb> make_agents_attach();
std::unique_ptr<Verb> make_agents_broker();
std::unique_ptr<Verb> make_agents_diff();
std::unique_ptr<Verb> make_agents_doctor();
std::unique_ptr<Verb> make_agents_exec();
std::unique_ptr<Verb> make_agents_image();
std::unique_ptr<Verb> make_agents_inbox();
std::unique_ptr<Verb> make_agents_init();
std::unique_ptr<Verb> make_agents_key();
std::unique_ptr<Verb> make_agents_list();
std::unique_ptr<Verb> make_agents_logs();
std::unique_ptr<Verb> make_agents_look();
std::unique_ptr<Verb> make_agents_manifest();
std::unique_ptr<Verb> make_agents_merge();
std::unique_ptr<Verb> make_agents_message();
std::unique_ptr<Verb> make_agents_resume();
std::unique_ptr<Verb> make_agents_rm();
std::unique_ptr<Verb> make_agents_run();
std::unique_ptr<Verb> make_agents_serve();
std::unique_ptr<Verb> make_agents_start();
std::unique_ptr<Verb> make_agents_stop();
std::unique_ptr<Verb> make_agents_supervise();
std::unique_ptr<Verb> make_agents_sync();
std::unique_ptr<Verb> make_agents_unlock();

}  // namespace onsight::cli
