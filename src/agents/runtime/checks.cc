#include "agents/runtime/checks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "agents/runtime/engine_api.h"

namespace onsight::agents::runtime {
namespace {

constexpr uint64_t kCheckMemory = 64 << 20, kCheckTmp = 8 << 20;
constexpr double kCheckCpus = 0.2;  // so little that a busy machine still has to hold it back
constexpr int kCheckPids = 40, kCheckUid = 54321;
constexpr uint64_t kPodCheckMemory = 256 << 20;
constexpr int64_t kPodProcesses = 4500;  // what nodes are given as a limit is 4096 or less, mostly

// The shell of any Debian base image, its core utilities and util-linux. Each line is a word that judge() knows.
constexpr std::string_view kLook = R"sh(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
while read -r k v; do case $k in Uid:|Gid:|CapInh:|CapPrm:|CapEff:|CapBnd:|CapAmb:|NoNewPrivs:|Seccomp:) echo "status $k $v";; esac; done </proc/self/status
while read -r l; do echo "mount $l"; done </proc/self/mountinfo
while read -r l; do case $l in *:*) echo "device ${l%%:*}";; esac; done </proc/net/dev
while read -r i d g; do [ "$i" = Iface ] || echo "route $d"; done </proc/net/route
while read -r d dl s sl n m r u f i; do [ "$i" = lo ] || echo "route $d"; done </proc/net/ipv6_route
c=/sys/fs/cgroup
for f in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory.max memory.swap.max pids/pids.max pids.max cpu/cpu.cfs_quota_us cpu.max; do
  [ -r $c/$f ] && read -r v <$c/$f && echo "cgroup $f $v"
done
if (: >/onsight-check) 2>/dev/null; then echo "root written"; else echo "root refused"; fi
for s in /run/docker.sock /var/run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock; do [ -e $s ] && echo "socket $s"; done
head -c 12582912 /dev/zero >/tmp/onsight-check 2>/dev/null
echo "tmp $(wc -c </tmp/onsight-check)"; rm -f /tmp/onsight-check
if command -v getent >/dev/null; then getent hosts example.com >/dev/null 2>&1; echo "name $?"; fi
if command -v unshare >/dev/null; then
  unshare -Ur true 2>/dev/null; echo "unshare $?"
  unshare -m true 2>/dev/null; echo "unshare $?"
  if command -v mount >/dev/null; then unshare -Urm mount -t tmpfs none /mnt 2>/dev/null; echo "mount_try $?"; mount -t tmpfs none /mnt 2>/dev/null; echo "mount_try $?"; fi
fi
)sh";
constexpr std::string_view kUseProcessors = R"sh(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
for f in cpu/cpu.stat cpu.stat; do [ -r $c/$f ] && while read -r k v; do [ $k = nr_throttled ] && echo "throttled $v"; done <$c/$f; done
)sh";
constexpr std::string_view kUseMemory =
    R"sh(dd if=/dev/zero of=/dev/null bs=201326592 count=1 2>/dev/null; echo "memory $?"
)sh";
// It uses up all processes, so that it must be the last.
constexpr std::string_view kUseProcesses = R"sh(echo last
(i=0; while [ $i -lt 80 ]; do sleep 3 & i=$((i+1)); echo "pid $i"; done) 2>/dev/null
echo end
)sh";

// The address of its API server is told to every pod; 169.254.169.254 is where clouds keep the keys of their machines.
// Where memory runs out a node may end all of the pod, so that this must be the last.
constexpr std::string_view kLookOfPod =
    R"sh(while read -r k v u; do [ "$k" = SwapTotal: ] && echo "swap_total $v"; done </proc/meminfo
for t in /run/secrets/kubernetes.io /var/run/secrets/kubernetes.io; do [ -e $t ] && echo "token $t"; done
reach() { timeout 3 bash -c ": </dev/tcp/$1/$2" 2>/dev/null; echo "connect $? $1:$2"; }
[ -z "$KUBERNETES_SERVICE_HOST" ] || reach "$KUBERNETES_SERVICE_HOST" "${KUBERNETES_SERVICE_PORT:-443}" &
reach 169.254.169.254 80 &
wait
)sh";
constexpr std::string_view kUseUpPod =
    R"sh(echo "processes $(/usr/local/bin/onsight-agent check processes 4500 2>/dev/null)"
echo last
dd if=/dev/zero of=/dev/null bs=402653184 count=1 2>/dev/null; echo "memory $?"
)sh";

// What the script said: the words behind each first word, in order.
using Said = std::map<std::string, std::vector<std::string>, std::less<>>;

Said said_by(std::string_view printed) {
  constexpr size_t kMaxLines = 4000;
  Said said;
  for (size_t lines = 0; !printed.empty() && lines < kMaxLines; ++lines) {
    const std::string_view line = printed.substr(0, printed.find('\n'));
    printed.remove_prefix(std::min(printed.size(), line.size() + 1));
    const size_t space = line.find(' ');
    auto& list = said[std::string(line.substr(0, space))];
    list.emplace_back(space == std::string_view::npos ? std::string_view() : line.substr(space + 1));
  }
  return said;
}

const std::vector<std::string>& lines_of(const Said& said, std::string_view word) {
  static const std::vector<std::string> none;
  const auto found = said.find(word);
  return found == said.end() ? none : found->second;
}

// Of lines "NAME VALUE": the value of the first of these names that is there.
std::optional<std::string> value_of(const Said& said, std::string_view word,
                                    std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    for (const std::string& line : lines_of(said, word))
      if (line.starts_with(name) && line.size() > name.size() &&
          (line[name.size()] == ' ' || line[name.size()] == '\t')) {
        const size_t begin = line.find_first_not_of(" \t", name.size());
        if (begin != std::string::npos) return line.substr(begin);
      }
  return {};
}

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr == text.data()) return {};
  return value;
}

bool all_zero(std::string_view hexadecimal) {
  return !hexadecimal.empty() && hexadecimal.find_first_not_of('0') == std::string_view::npos;
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) break;
    line.remove_prefix(begin);
    const std::string_view word = line.substr(0, line.find_first_of(" \t"));
    words.emplace_back(word);
    line.remove_prefix(word.size());
  }
  return words;
}

class Judge {
 public:
  Judge(std::string_view printed, const EngineInfo& info, const ContainerSpec& spec)
      : said_(said_by(printed)), info_(info), spec_(spec) {}

  std::vector<Check> all() {
    network();
    user();
    privileges();
    system_calls();
    root();
    host_paths();
    tmp();
    add("disk limit", false,
        fmt::format("no quota on a mounted folder with {}: the clone's size is watched", info_.storage), false);
    limits();
    processors();
    engine();
    return std::move(checks_);
  }

  std::vector<Check> all_of_pod() {
    network_of_pod();
    user();
    privileges();
    system_calls();
    root();
    tmp();
    add("disk limit", false, "a claim's size is its storage's to keep to", false);
    limits_of_pod();
    processors();
    return std::move(checks_);
  }

 private:
  void add(std::string_view name, bool enforced, std::string detail, bool required = true) {
    checks_.push_back({std::string(name), enforced, required, std::move(detail)});
  }

  void network() {
    const auto& devices = lines_of(said_, "device");
    const bool lonely = devices.size() == 1 && devices.front().find_first_not_of(" lo") == std::string::npos;
    add("no network", lonely, fmt::format("/proc/net/dev has: {}", fmt::join(devices, ", ")));
    const auto& routes = lines_of(said_, "route");
    const auto& names = lines_of(said_, "name");
    const bool resolves = !names.empty() && names.front() == "0";
    add("no route, no names", !devices.empty() && routes.empty() && !resolves,
        fmt::format("{} routes, {}", routes.size(),
                    names.empty() ? "names were not tried (no getent in the image)"
                    : resolves    ? "example.com was found"
                                  : "example.com was not found"));
  }

  void network_of_pod() {
    bool reached = false, tried = false;
    std::vector<std::string> told;
    for (const std::string& line : lines_of(said_, "connect")) {
      const auto words = words_of(line);
      if (words.size() != 2) continue;
      const int64_t code = number(words[0]).value_or(127);
      const bool runs = code != 126 && code != 127;
      // Clouds' address alone says little: it leads nowhere on most machines.
      tried = tried || (runs && !words[1].starts_with("169.254."));
      reached = reached || code == 0;
      told.push_back(fmt::format("{} {}", words[1],
                                 code == 0 ? "was reached"
                                 : runs    ? "was not reached"
                                           : "was not tried"));
    }
    add("no network", tried && !reached, told.empty() ? "nothing was tried" : fmt::format("{}", fmt::join(told, ", ")));
    const auto& names = lines_of(said_, "name");
    const bool resolves = !names.empty() && names.front() == "0";
    add("no names", !names.empty() && !resolves,
        names.empty() ? "names were not tried (no getent in the image)"
        : resolves    ? "example.com was found"
                      : "example.com was not found");
    const auto& tokens = lines_of(said_, "token");
    add("no token of the API server", tokens.empty() && !lines_of(said_, "mount").empty(),
        tokens.empty() ? "none is mounted" : "it sees " + tokens.front());
  }

  void user() {
    const auto uids = words_of(value_of(said_, "status", {"Uid:"}).value_or(""));
    const bool fits = uids.size() == 4 && std::all_of(uids.begin(), uids.end(), [&](const std::string& uid) {
                        return number(uid) == std::optional<int64_t>(spec_.uid);
                      });
    add("unprivileged user", fits, fmt::format("Uid: {}", fmt::join(uids, " ")));
  }

  void privileges() {
    std::vector<std::string> sets;
    bool none = true;
    for (const std::string_view set : {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"}) {
      const std::string value = value_of(said_, "status", {set}).value_or("?");
      none = none && all_zero(value);
      sets.push_back(fmt::format("{} {}", set, value));
    }
    add("no capabilities", none, fmt::format("{}", fmt::join(sets, ", ")));
    const std::string bound = value_of(said_, "status", {"NoNewPrivs:"}).value_or("?");
    add("no new privileges", bound == "1", "NoNewPrivs: " + bound);
  }

  void system_calls() {
    const std::string mode = value_of(said_, "status", {"Seccomp:"}).value_or("?");
    const auto& unshared = lines_of(said_, "unshare");
    const auto& mounted = lines_of(said_, "mount_try");
    const auto refused = [](const std::vector<std::string>& codes) {
      return !codes.empty() && std::find(codes.begin(), codes.end(), "0") == codes.end();
    };
    const auto tell = [](std::string_view what, const std::vector<std::string>& codes) {
      return codes.empty() ? fmt::format("{} was not tried (not in the image)", what)
                           : fmt::format("{} ended with {}", what, fmt::join(codes, " and "));
    };
    add("seccomp", mode == "2" && refused(unshared) && refused(mounted),
        fmt::format("Seccomp: {}, {}, {}", mode, tell("unshare", unshared), tell("mount", mounted)));
  }

  struct Mounted {
    std::string origin, place, options, kind;
  };
  // "36 35 98:0 /host/path /inside ro,noatime shared:1 - ext4 /dev/sda1 rw"
  std::vector<Mounted> mounts() const {
    std::vector<Mounted> out;
    for (const std::string& line : lines_of(said_, "mount")) {
      const auto words = words_of(line);
      const auto dash = std::find(words.begin(), words.end(), "-");
      if (words.size() < 7 || dash == words.end() || words.end() - dash < 3) continue;
      out.push_back({words[3], words[4], words[5], *(dash + 1)});
    }
    return out;
  }

  void root() {
    bool read_only = false;
    for (const Mounted& one : mounts())
      if (one.place == "/") read_only = one.options == "ro" || one.options.starts_with("ro,");
    const auto& tried = lines_of(said_, "root");
    add("read-only root", read_only && tried == std::vector<std::string>{"refused"},
        fmt::format("mounted {}, writing to it {}", read_only ? "ro" : "rw",
                    tried.empty() ? "was not tried" : "was " + tried.front()));
  }

  void host_paths() {
    std::vector<std::string> foreign = lines_of(said_, "socket");
    for (const Mounted& one : mounts())
      if (one.place != "/" && is_of_host(one.origin, one.place, one.kind)) foreign.push_back(one.place);
    add("no host paths", !lines_of(said_, "mount").empty() && foreign.empty(),
        foreign.empty() ? "mountinfo has none" : fmt::format("it sees {}", fmt::join(foreign, ", ")));
  }

  void tmp() {
    const auto& written = lines_of(said_, "tmp");
    const int64_t bytes = written.empty() ? -1 : number(written.front()).value_or(-1);
    add("tmpfs size", bytes > 0 && bytes <= static_cast<int64_t>(spec_.limits.tmp_bytes),
        fmt::format("{} of 12582912 bytes went into /tmp, which has {}", bytes, spec_.limits.tmp_bytes));
  }

  // The engine's own small files, masks of /proc and file systems of the kernel are in every container.
  static bool is_of_host(const std::string& origin, const std::string& place, const std::string& kind) {
    // Podman writes a passwd with the container's user. The host's own would come from where it is there.
    for (const std::string_view fine : {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group",
                                        "/run/.containerenv", "/run/secrets", "/dev/shm", "/dev/console"})
      if (place == fine) return origin == place;
    if (place.starts_with("/proc/") || place.starts_with("/sys/") || place.starts_with("/dev/")) return false;
    for (const std::string_view kernels : {"proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"})
      if (kind == kernels) return false;
    return kind != "tmpfs" || origin != "/";
  }

  void limits() {
    const auto memory = value_of(said_, "cgroup", {"memory/memory.limit_in_bytes", "memory.max"});
    const auto& filled = lines_of(said_, "memory");
    const bool killed = !filled.empty() && filled.front() != "0";
    const bool fits = memory && number(*memory) == std::optional<int64_t>(spec_.limits.memory_bytes);
    const std::string tried = filled.empty() ? "192 MB were not tried"
                              : killed       ? "192 MB were refused"
                                             : "192 MB were given";
    add("memory limit", fits && killed, fmt::format("set to {}, {}", memory.value_or("nothing"), tried));
    // v1 counts both together, v2 swap alone.
    const auto both = value_of(said_, "cgroup", {"memory/memory.memsw.limit_in_bytes"});
    const auto swap = value_of(said_, "cgroup", {"memory.swap.max"});
    add("no swap", killed && ((both && both == memory) || swap == "0"),
        both ? "memory and swap: " + *both : "swap: " + swap.value_or("not limited"));
    const auto pids = value_of(said_, "cgroup", {"pids/pids.max", "pids.max"});
    const size_t made = lines_of(said_, "pid").size();
    add("pids limit",
        pids && number(*pids) == std::optional<int64_t>(spec_.limits.pids) && !lines_of(said_, "last").empty() &&
            made < static_cast<size_t>(spec_.limits.pids),
        fmt::format("set to {}, {} of 80 processes were made", pids.value_or("nothing"), made));
  }

  void processors() {
    const auto quota = value_of(said_, "cgroup", {"cpu/cpu.cfs_quota_us", "cpu.max"});
    const auto& throttled = lines_of(said_, "throttled");
    const int64_t times = throttled.empty() ? 0 : number(throttled.front()).value_or(0);
    add("cpu limit", quota && number(*quota).value_or(0) > 0 && times > 0,
        fmt::format("quota {}, held back {} times", quota.value_or("none"), times));
  }

  // Who uses too much may be ended whole, with the program that would say so.
  void limits_of_pod() {
    const auto memory = value_of(said_, "cgroup", {"memory/memory.limit_in_bytes", "memory.max"});
    const auto& filled = lines_of(said_, "memory");
    const bool tried = !lines_of(said_, "last").empty(), killed = tried && (filled.empty() || filled.front() != "0");
    const bool fits = memory && number(*memory) == std::optional<int64_t>(spec_.limits.memory_bytes);
    add("memory limit", fits && killed,
        fmt::format("set to {}, 384 MB were {}", memory.value_or("nothing"),
                    !tried   ? "not tried"
                    : killed ? "refused"
                             : "given"));
    const auto both = value_of(said_, "cgroup", {"memory/memory.memsw.limit_in_bytes"});
    const auto swap = value_of(said_, "cgroup", {"memory.swap.max"});
    const auto& total = lines_of(said_, "swap_total");
    const bool none = !total.empty() && total.front() == "0";
    add("no swap", none || (both && both == memory) || swap == "0",
        none   ? "the node has none"
        : both ? "memory and swap: " + *both
               : "swap: " + swap.value_or("not limited"));
    const auto& processes = lines_of(said_, "processes");
    const size_t digits = processes.empty() ? std::string::npos : processes.front().find_first_of("0123456789");
    const int64_t made = digits == std::string::npos ? -1 : number(processes.front().substr(digits)).value_or(-1);
    add("pids limit", made >= 0 && made < kPodProcesses,
        made >= 0 ? fmt::format("{} of {} processes were made: podPidsLimit of its node's kubelet says how many", made,
                                kPodProcesses)
                  : "no processes were tried (no onsight-agent in the image)");
  }

  void engine() {
    const bool cgroups = info_.memory && info_.pids && info_.cpu && info_.cgroup_driver != "none";
    add("engine with cgroups", cgroups && !(info_.rootless && info_.cgroup_version == "1"),
        fmt::format("{}, cgroups v{} by {}", info_.rootless ? "rootless" : "rootful", info_.cgroup_version,
                    info_.cgroup_driver));
  }

  const Said said_;
  const EngineInfo& info_;
  const ContainerSpec& spec_;
  std::vector<Check> checks_;
};

}  // namespace

ContainerSpec check_spec(const std::string& image) {
  ContainerSpec spec;
  spec.image = image;
  spec.command = {"/bin/sh", "-c", std::string(check_script())};
  spec.environment = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}};
  spec.working_folder = "/";
  spec.uid = spec.gid = kCheckUid;
  spec.terminal = false;
  spec.labels = {{std::string(kPurposeLabel), "check"}};
  spec.limits.memory_bytes = kCheckMemory;
  spec.limits.cpus = kCheckCpus;
  spec.limits.pids = kCheckPids;
  spec.limits.tmp_bytes = kCheckTmp;
  return spec;
}

std::string_view check_script() {
  static const std::string script =
      std::string(kLook) + std::string(kUseMemory) + std::string(kUseProcessors) + std::string(kUseProcesses);
  return script;
}

ContainerSpec pod_check_spec(const std::string& image) {
  ContainerSpec spec = check_spec(image);
  spec.command.back() =
      std::string(kLook) + std::string(kLookOfPod) + std::string(kUseProcessors) + std::string(kUseUpPod);
  spec.limits.memory_bytes = kPodCheckMemory;
  return spec;
}

std::vector<Check> judge_pod(std::string_view printed, const ContainerSpec& spec) {
  return Judge(printed, {}, spec).all_of_pod();
}

std::vector<Check> judge(std::string_view printed, const EngineInfo& info, const ContainerSpec& spec) {
  return Judge(printed, info, spec).all();
}

Result<std::vector<Check>> EngineRuntime::check(const std::string& image) {
  constexpr std::chrono::seconds kLimit{30};
  constexpr size_t kMostBytes = 256 << 10;
  TRY(const auto response, call("GET", "/info"));
  if (response.status != 200) return refused("its info", response);
  TRY(const EngineInfo info, parse_info(response.body));
  ContainerSpec spec = check_spec(image);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  spec.name = fmt::format("onsight-check-{:x}", std::chrono::duration_cast<std::chrono::microseconds>(now).count());
  std::string printed;
  TRY(const ExecResult ended, run(
                                  spec,
                                  [&](std::string_view bytes) {
                                    printed += bytes.substr(0, kMostBytes - std::min(kMostBytes, printed.size()));
                                    return Status();
                                  },
                                  kLimit));
  if (printed.empty())
    return bad_input("{}: trying what it enforces in {}: expected /bin/sh to run there, it ended with {} ({})",
                     dialect_.name, image, ended.exit_code, ended.err.substr(0, ended.err.find('\n')));
  return judge(printed, info, spec);
}

}  // namespace onsight::agents::runtime
