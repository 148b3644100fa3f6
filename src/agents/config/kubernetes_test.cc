#include "agents/config/kubernetes.h"

#include <gtest/gtest.h>

namespace onsight::agents::config {
namespace {

std::string wrong_key(const Kubernetes& kubernetes) {
  const auto wrong = wrong_in(kubernetes);
  return wrong ? wrong->key : "";
}

TEST(KubernetesConfig, WhatAClusterWouldNotTakeIsNamed) {
  EXPECT_EQ(wrong_key({}), "");
  EXPECT_EQ(wrong_key({.name_space = "bots",
                       .storage_class = "fast.ssd-2",
                       .registry = "registry.shop.example:5000/team_a",
                       .seccomp_profile = "onsight/agent.json"}),
            "");
  EXPECT_EQ(wrong_in({.name_space = "a_b"})->expected,
            "expected at most 63 lower-case letters, digits and dashes, found \"a_b\"");
  EXPECT_EQ(wrong_key({.name_space = ""}), "namespace");
  for (const char* name : {"-x", "a b", "A"}) EXPECT_EQ(wrong_key({.storage_class = name}), "storage_class") << name;
  for (const char* name : {"https://registry.shop.example", "registry.shop.example/", "a//b", "a b", "Team"})
    EXPECT_EQ(wrong_key({.registry = name}), "registry") << name;
  for (const char* name : {"/etc/passwd", "../x", "a b"})
    EXPECT_EQ(wrong_key({.seccomp_profile = name}), "seccomp_profile") << name;
}

TEST(KubernetesConfig, DnsLabels) {
  for (const char* good : {"a", "0", "a-b", "0123456789ab"}) EXPECT_TRUE(is_dns_label(good)) << good;
  for (const char* bad : {"", "-a", "a-", "A", "a.b", "a_b", "a b", "\xc3\xa4"}) EXPECT_FALSE(is_dns_label(bad)) << bad;
  EXPECT_TRUE(is_dns_label(std::string(63, 'a')));
  EXPECT_FALSE(is_dns_label(std::string(64, 'a')));
}

}  // namespace
}  // namespace onsight::agents::config
