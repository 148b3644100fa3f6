// The table of onsight agents.
#include <array>

#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

constexpr std::array kAgentVerbs = {
    VerbRow{"agents init", "[--project FOLDER]", "write .onsight/agents.toml, what agents may do here",
            R"(The file is commented and works as it is. One that is there is left alone.

Example:
  cd shop && onsight agents init)",
            make_agents_init},
    VerbRow{"agents doctor", "[--image TAG] [--json]", "try what this machine can enforce, and what it cannot",
            R"(Each isolation is tried with a container and looked at from inside. `start` refuses where one that
is required is not enforced. Exit code 3 where that is so.

Example:
  onsight agents doctor)",
            make_agents_doctor},
    VerbRow{"agents image", "build|list|rm [--harness NAME]", "make the images that agents run in",
            R"(An image is made here: a Debian of its packages (mmdebstrap or debootstrap), the harness's program
from npm in the version that its file pins, and the small program that agents speak to the house
with. No registry of images is asked. What is downloaded is kept for the next one.

Examples:
  onsight agents image build --harness claude
  onsight agents image list)",
            make_agents_image},
    VerbRow{"agents key", "set|bind|list|rm [NAME] [--host HOST]", "keep the keys of model providers, encrypted",
            R"(`set` reads the key from standard input, without showing it where that is a terminal. Keys lie in
one file, encrypted with a key that the desktop's keyring holds, or with a passphrase. Containers
never see one: they hold a placeholder, in whose place the broker puts the key on the way out.

A key goes to the hosts that it is bound to and to no other, whatever the agents.toml of some
repository says: of anthropic, gemini and openai the provider's own, otherwise those of --host (port
443 where none is named). `bind` binds one anew, as is needed once for files of keys made before
there was this.

Examples:
  onsight agents key set anthropic
  onsight agents key set mine --host models.shop.example
  pass anthropic | onsight agents key set anthropic)",
            make_agents_key},
    VerbRow{"agents unlock", "", "give the broker the passphrase of the keys",
            R"(Needed once after the broker was started, where keys are encrypted with a passphrase. It is asked
for in the terminal, or read from the file that ONSIGHT_VAULT_PASSPHRASE_FILE names.)",
            make_agents_unlock},
    VerbRow{"agents start", "NAME [--role ROLE] [--harness NAME] [--task TEXT]", "start an agent",
            R"(In a container of its own, with a clone of its own on the branch agents/NAME, a user, a budget and a
placeholder for its key. Without --role it is the role of the agent's name, or the only one that
fits. A TASK of - is read from standard input. The prompt returns when the agent is on its way;
--wait: when it runs.

Examples:
  onsight agents start reviewer --harness claude --task "Review the parser"
  onsight agents start box --role shell && onsight agents attach box)",
            make_agents_start},
    VerbRow{"agents list", "[--json]", "list the agents, what they do and what they cost",
            R"(Columns: phase, activity, role, commits above where its branch began, messages it has not read,
money spent. Where the processes that work for agents were killed, it starts them again.)",
            make_agents_list},
    VerbRow{"agents look", "NAME", "print what an agent's terminal shows, as text",
            R"(The screen as it is now; of one that has stopped, as it was at the end.)", make_agents_look},
    VerbRow{"agents attach", "NAME [--detach-key KEY]", "be at an agent's terminal",
            R"(What is typed goes to the agent. Ctrl-] leaves it running and returns; --detach-key names another
key, as in "ctrl-p". Several may be attached at once.)",
            make_agents_attach},
    VerbRow{"agents logs", "NAME [-f]", "print what an agent's terminal was sent",
            R"(Of the container that runs, or ran last. With -f it goes on until the agent ends. In a terminal the
bytes draw what the agent drew; elsewhere they are text without control codes.)",
            make_agents_logs},
    VerbRow{"agents message", "NAME TEXT [--reply-to N]", "write to an agent",
            R"(The message lies in the agent's inbox until it has read it, whatever is restarted meanwhile. A TEXT
of - is read from standard input.

Example:
  onsight agents message reviewer "The parser moved to src/parse/")",
            make_agents_message},
    VerbRow{"agents inbox", "[NAME] [--all] [--json]", "read what agents wrote to you",
            R"(With NAME: what waits in that agent's inbox, and what became of it: queued, delivered, consumed,
answered.)",
            make_agents_inbox},
    VerbRow{"agents stop", "NAME", "stop an agent and fetch its work",
            R"(It is told to end, and ended ten seconds later if it has not. What it committed, and what lies in
its tree, is fetched first of all; `resume` goes on.)",
            make_agents_stop},
    VerbRow{"agents resume", "NAME", "go on with an agent that was stopped",
            R"(In a new container with the same clone and home; a harness that keeps sessions goes on with its last
one.)",
            make_agents_resume},
    VerbRow{"agents rm", "NAME [--force]", "remove an agent, its clone and its container",
            R"(Refused while it has work that is not merged. With --force that work is kept under a ref of your
repository, refs/onsight/backup/NAME-TIME, which is printed.)",
            make_agents_rm},
    VerbRow{"agents diff", "NAME [--stat]", "show what an agent changed",
            R"(From where its branch began, with what it has not committed. Fetched from its clone now.)",
            make_agents_diff},
    VerbRow{"agents merge", "NAME", "merge an agent's branch into the one that is checked out",
            R"(Refused while your tree has changes. Nothing that the agent wrote runs on the way: no hooks, filters
or submodules. Where both changed the same lines nothing is merged and the files are named.)",
            make_agents_merge},
    VerbRow{"agents sync", "NAME", "give an agent the commits that you made since it started",
            R"(They come as origin/BRANCH into its clone; its own branch stays as it is.)", make_agents_sync},
    VerbRow{"agents exec", "NAME [-t] -- COMMAND [ARGUMENT]...", "run a command in an agent's container",
            R"(As the agent's user, in its clone. Exit code: the command's. With -t it has a terminal.

Example:
  onsight agents exec reviewer -- git log --oneline)",
            make_agents_exec},
    VerbRow{"agents run", "[PLAN] [GOAL] [--resume]", "bring a plan about with several agents",
            R"(PLAN names tasks, what each comes after, who does it, how it is checked, and what all may cost. A
task gets an agent when what it comes after is done. What the agent committed is put on top of what
others did, checked in a clean container, and merged into the branch onsight/GOAL; conflicts and
failed checks go back to their author, and then to a fresh agent. At the end that branch is merged
into the one that is checked out. Ctrl-C stops the agents and keeps their work; --resume goes on,
also after a crash; with a PLAN, with its limits, budget and checks. In a terminal the tasks are
shown as they are; elsewhere each change is a line on standard error. The report goes to standard
output.

Examples:
  onsight agents run plan.toml "Add dark mode"
  onsight agents run --resume)",
            make_agents_run},
    VerbRow{"agents serve", "[--port N] [--open]", "show the agents on a web page, for you alone",
            R"(Their phases, terminals, messages, diffs, tasks and spending as they change, and the log, in which
any moment can be gone back to. It listens on this machine alone, and only to who has the token in
the address that it prints. Runs until Ctrl-C; the agents go on.

Example:
  onsight agents serve --open)",
            make_agents_serve},
    VerbRow{"agents manifest", "NAME|--role ROLE|--seccomp", "print what an agent would be on Kubernetes, as manifests",
            R"(A namespace with the Pod Security standard restricted, a network policy that lets nothing through,
a volume claim for the clone and the home, and the pod of the agent's next start, or of an agent
that has the name of a role. One JSON list, as kubectl reads it. Nothing is sent anywhere: agents
run there with engine = "kubernetes" in agents.toml, where names of a cluster's own are in
[runtime.kubernetes].
--seccomp: the profile that Docker and Podman get, as a file for the nodes' kubelets.

Examples:
  onsight agents manifest --role coder
  onsight agents manifest reviewer | kubectl apply --dry-run=server -f -)",
            make_agents_manifest},
    VerbRow{"agents supervise", "[--project FOLDER]", "bring about what is wanted (started by the other verbs)",
            R"(One runs for each project, for as long as an agent does. It speaks to the container engine and knows
no key. Killed and started again it finds everything.)",
            make_agents_supervise},
    VerbRow{"agents broker", "[--project FOLDER]", "be the agents' one way out (started by the other verbs)",
            R"(One runs for each project, for as long as an agent does. It puts keys into requests, counts what
they cost, refuses what a role does not allow, and keeps messages. It never speaks to the container
engine.)",
            make_agents_broker},
};

}  // namespace

std::span<const VerbRow> agent_verbs() { return kAgentVerbs; }

Result<std::unique_ptr<agents::Fleet>> open_fleet(const std::optional<std::string>& project) {
  return agents::Fleet::open(project ? Path(*project) : std::filesystem::current_path());
}

Result<std::string> expected_name(const std::optional<std::string>& name, std::string_view what) {
  if (name && !name->empty()) return *name;
  return make_error(ErrorCode::kUsage, "expected {}", what);
}

std::string ago(int64_t then_ms, int64_t now_ms) {
  if (then_ms == 0) return "-";
  const int64_t seconds = std::max<int64_t>(0, now_ms - then_ms) / 1000;
  if (seconds < 90) return fmt::format("{} s", seconds);
  if (seconds < 90 * 60) return fmt::format("{} min", seconds / 60);
  if (seconds < 36 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

std::string dollars(int64_t micro_usd) {
  return micro_usd == 0 ? "-"
                        : fmt::format("${:.{}f}", static_cast<double>(micro_usd) / 1e6, micro_usd < 10'000 ? 4 : 2);
}

}  // namespace onsight::cli
