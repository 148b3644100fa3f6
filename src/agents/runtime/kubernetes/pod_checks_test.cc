// What a pod that tries everything printed, judged: tests/agents/test_pods.py has one that really tried.
#include <gtest/gtest.h>

#include "agents/runtime/checks.h"

namespace onsight::agents::runtime {
namespace {

constexpr std::string_view kHeld =
    "status Uid: 54321 54321 54321 54321\n"
    "status CapInh: 0000000000000000\nstatus CapPrm: 0000000000000000\nstatus CapEff: 0000000000000000\n"
    "status CapBnd: 0000000000000000\nstatus CapAmb: 0000000000000000\nstatus NoNewPrivs: 1\nstatus Seccomp: 2\n"
    "mount 10 1 0:30 / / ro,relatime - overlay overlay rw\n"
    "mount 11 10 8:1 /var/lib/kubelet/pods/x/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
    "device lo\ndevice eth0\nroute 00000000\n"
    "cgroup memory.max 268435456\ncgroup memory.swap.max 0\ncgroup cpu.max 20000 100000\n"
    "root refused\ntmp 8388608\nname 2\nunshare 1\nunshare 1\nmount_try 1\nmount_try 1\n"
    "swap_total 0\nconnect 124 10.96.0.1:443\nconnect 1 169.254.169.254:80\nthrottled 7\n"
    "processes {\"started\":1021}\nlast\n";

// Names of what is not enforced and has to be.
std::string failing(std::string printed, std::string_view from = "", std::string_view to = "") {
  if (!from.empty()) {
    const size_t at = printed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    printed.replace(at, from.size(), to);
  }
  std::string out;
  for (const Check& check : judge_pod(printed, pod_check_spec("image"))) {
    EXPECT_FALSE(check.detail.empty()) << check.name;
    if (check.required && !check.enforced) out += (out.empty() ? "" : ", ") + check.name;
  }
  return out;
}

TEST(PodChecks, WhatHoldsIsSeen) {
  EXPECT_EQ(failing(std::string(kHeld)), "");  // its last try ended the pod: nobody said how
  EXPECT_EQ(failing(std::string(kHeld) + "memory 137\n"), "");
}

TEST(PodChecks, WhatDoesNotIsNamed) {
  const std::string held(kHeld);
  EXPECT_EQ(failing(held + "memory 0\n"), "memory limit");
  EXPECT_EQ(failing(held, "connect 124 10.96.0.1", "connect 0 10.96.0.1"), "no network");
  EXPECT_EQ(failing(held, "connect 1 169", "connect 0 169"), "no network");
  EXPECT_EQ(failing(held, "connect 124 10.96.0.1", "connect 127 10.96.0.1"), "no network");  // nothing was tried
  EXPECT_EQ(failing(held, "connect 124 10.96.0.1:443\n", ""), "no network");
  EXPECT_EQ(failing(held, "name 2", "name 0"), "no names");
  EXPECT_EQ(failing(held, "swap_total 0", "token /run/secrets/kubernetes.io\nswap_total 0"),
            "no token of the API server");
  EXPECT_EQ(failing(held, "\"started\":1021", "\"started\":4500"), "pids limit");
  EXPECT_EQ(failing(held, "{\"started\":1021}", ""), "pids limit");
  EXPECT_EQ(failing(held, "Uid: 54321 54321", "Uid: 0 54321"), "unprivileged user");
  EXPECT_EQ(failing(held, "CapBnd: 0000000000000000", "CapBnd: 00000000a80425fb"), "no capabilities");
  EXPECT_EQ(failing(held, "NoNewPrivs: 1", "NoNewPrivs: 0"), "no new privileges");
  EXPECT_EQ(failing(held, "Seccomp: 2", "Seccomp: 0"), "seccomp");
  EXPECT_EQ(failing(held, "root refused", "root written"), "read-only root");
  EXPECT_EQ(failing(held, "tmp 8388608", "tmp 12582912"), "tmpfs size");
  EXPECT_EQ(failing(held, "swap.max 0", "swap.max max"), "");  // the node has none
  std::string with_swap = held;
  with_swap.replace(with_swap.find("swap_total 0"), 12, "swap_total 9");
  EXPECT_EQ(failing(with_swap), "");
  EXPECT_EQ(failing(with_swap, "swap.max 0", "swap.max max"), "no swap");
  EXPECT_EQ(failing(held, "268435456", "max"), "memory limit");
  EXPECT_EQ(failing("").find("no network, no names, no token"), 0u);
}

TEST(PodChecks, WhatIsTriedIsBoundedByTheSpec) {
  const ContainerSpec spec = pod_check_spec("image");
  EXPECT_FALSE(spec.terminal);
  EXPECT_GT(spec.uid, 0);
  EXPECT_EQ(spec.limits.memory_bytes, uint64_t{256} << 20);
  EXPECT_NE(spec.command.back().find("check processes 4500"), std::string::npos);
}

}  // namespace
}  // namespace onsight::agents::runtime
