#include "agents/runtime/seccomp_profile.h"

#include <array>
#include <string_view>

#include "base/json.h"

namespace onsight::agents::runtime {
namespace {

// What is not here fails with EPERM: namespaces, mounts, tracing and the memory of others, modules, keys, bpf,
// io_uring, performance counters, clocks, swap, the kernel's log. Calls of 64-bit machines only.
constexpr std::string_view kFiles =
    "access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 "
    "fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock "
    "fremovexattr "
    "fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch "
    "inotify_init "
    "inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr lseek "
    "lsetxattr "
    "lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 "
    "pwritev "
    "pwritev2 read readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr "
    "splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat utime "
    "utimensat utimes vmsplice write writev";
constexpr std::string_view kMemory =
    "brk cachestat get_mempolicy madvise mbind membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect "
    "mremap "
    "msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages set_mempolicy "
    "set_mempolicy_home_node shmat shmctl shmdt shmget";
constexpr std::string_view kProcesses =
    "arch_prctl capget capset execve execveat exit exit_group fork getcpu getegid geteuid getgid getgroups getpgid "
    "getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get "
    "ioprio_set kill pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction "
    "rt_sigpending "
    "rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler "
    "sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp "
    "set_robust_list get_robust_list set_tid_address setfsgid setfsuid setgid setgroups setpgid setpriority setregid "
    "setresgid setresuid setreuid setrlimit setsid setuid sigaltstack sysinfo tgkill time times tkill uname vfork "
    "wait4 "
    "waitid landlock_add_rule landlock_create_ruleset landlock_restrict_self riscv_flush_icache riscv_hwprobe";
constexpr std::string_view kWaiting =
    "alarm clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 "
    "epoll_wait eventfd eventfd2 futex futex_requeue futex_wait futex_waitv futex_wake getitimer getrandom "
    "gettimeofday "
    "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit mq_getsetattr mq_notify mq_open "
    "mq_timedreceive "
    "mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd nanosleep poll ppoll pselect6 select semctl semget semop "
    "semtimedop setitimer signalfd signalfd4 timer_create timer_delete timer_getoverrun timer_gettime timer_settime "
    "timerfd_create timerfd_gettime timerfd_settime";
constexpr std::string_view kSockets =
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg "
    "sendto setsockopt shutdown socketpair";

// Unix, IPv4, IPv6, netlink. Not vsock, which leads out of a virtual machine whatever the network is, nor the kernel's
// ciphers and other rare families.
constexpr std::array<int, 4> kFamilies{1, 2, 10, 16};
constexpr std::array<int64_t, 5> kPersonalities{0, 8, 0x20000, 0x20008, 0xffffffff};
// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
constexpr int64_t kNamespaceFlags = 0x7e020000;
constexpr int kErrnoPerm = 1, kErrnoNoCall = 38;

Json profile_names(std::string_view words) {
  Json names = Json::array();
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(' '));
    names.push_back(word);
    words.remove_prefix(std::min(words.size(), word.size() + 1));
  }
  return names;
}

Json allow_rule(Json names, Json arguments) {
  return {{"names", std::move(names)}, {"action", "SCMP_ACT_ALLOW"}, {"args", std::move(arguments)}};
}

Json first_argument(int64_t value, std::string_view comparison, int64_t second = 0) {
  return {{{"index", 0}, {"value", value}, {"valueTwo", second}, {"op", comparison}}};
}

std::string make_profile() {
  Json rules = Json::array();
  for (const std::string_view words : {kFiles, kMemory, kProcesses, kWaiting, kSockets})
    rules.push_back(allow_rule(profile_names(words), Json::array()));
  for (const int family : kFamilies) rules.push_back(allow_rule({"socket"}, first_argument(family, "SCMP_CMP_EQ")));
  for (const int64_t personality : kPersonalities)
    rules.push_back(allow_rule({"personality"}, first_argument(personality, "SCMP_CMP_EQ")));
  rules.push_back(allow_rule({"clone"}, first_argument(kNamespaceFlags, "SCMP_CMP_MASKED_EQ", 0)));
  // Its flags lie in memory, where no filter sees them: the C library falls back to clone.
  rules.push_back(
      {{"names", {"clone3"}}, {"action", "SCMP_ACT_ERRNO"}, {"errnoRet", kErrnoNoCall}, {"args", Json::array()}});
  return Json{{"defaultAction", "SCMP_ACT_ERRNO"}, {"defaultErrnoRet", kErrnoPerm}, {"syscalls", std::move(rules)}}
      .dump();
}

}  // namespace

const std::string& seccomp_profile() {
  static const std::string profile = make_profile();
  return profile;
}

}  // namespace onsight::agents::runtime
