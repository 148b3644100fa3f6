#include "agents/runtime/kubernetes/manifests.h"

#include <gtest/gtest.h>

namespace onsight::agents::runtime::kubernetes {
namespace {

ContainerSpec pod_spec() {
  ContainerSpec spec;
  spec.name = "onsight-0123456789ab-reviewer-3";
  spec.image = "onsight-agents/claude:2.1-abc";
  spec.command = {"/usr/local/bin/onsight-agent", "init", "--", "claude", "Pay $(HOME) $5 `id`"};
  spec.environment = {{"HOME", "/agent/home"}, {"ONSIGHT_TASK", "$$(HOME)"}};
  spec.uid = spec.gid = 10'003;
  spec.mounts = {{"/home/u/state/clones/reviewer", "/agent", false}, {"/run/u/agents/reviewer", "/run/onsight", true}};
  spec.labels = {{std::string(kProjectLabel), "0123456789ab"},
                 {std::string(kAgentLabel), "reviewer"},
                 {std::string(kGenerationLabel), "3"},
                 {std::string(kPurposeLabel), "agent"}};
  spec.limits = {.memory_bytes = 1 << 30, .cpus = 1.5, .pids = 100, .tmp_bytes = 64 << 20, .disk_bytes = 1 << 28};
  return spec;
}

Json made(const Result<Json>& result) {
  EXPECT_TRUE(result) << result.error().message;
  return result ? *result : Json::object();
}

Json pod(const ContainerSpec& spec = pod_spec(), const Cluster& cluster = {}) { return made(pod_of(spec, cluster)); }

std::string pod_refusal(const ContainerSpec& spec, const Cluster& cluster = {}) {
  const auto result = pod_of(spec, cluster);
  return result ? "it was made" : result.error().message;
}

Json volume(const Json& pod, std::string_view name) {
  for (const Json& one : pod["spec"]["volumes"])
    if (one["name"] == name) return one;
  return {};
}

Json mounted(const Json& pod, std::string_view place) {
  for (const Json& one : pod["spec"]["containers"][0]["volumeMounts"])
    if (one["mountPath"] == place) return one;
  return {};
}

TEST(Manifests, AllOfThemInTheOrderInWhichTheyAreMade) {
  const Json list = made(manifests(pod_spec(), {.name_space = "bots"}));
  EXPECT_EQ(list["apiVersion"], "v1");
  EXPECT_EQ(list["kind"], "List");
  std::vector<std::string> kinds;
  for (const Json& item : list["items"]) {
    kinds.push_back(item["kind"]);
    if (item["kind"] != "Namespace") {
      EXPECT_EQ(item["metadata"]["namespace"], "bots") << item;
    }
    EXPECT_EQ(item["metadata"]["labels"]["app.kubernetes.io/managed-by"], "onsight");
    EXPECT_TRUE(config::is_dns_label(item["metadata"]["name"].get<std::string>())) << item;
  }
  EXPECT_EQ(kinds, (std::vector<std::string>{"Namespace", "NetworkPolicy", "PersistentVolumeClaim", "Pod"}));
  ContainerSpec spec = pod_spec();
  spec.mounts.clear();
  EXPECT_EQ(made(manifests(spec, {}))["items"].size(), 3u);  // without a claim
}

TEST(Manifests, TheNamespaceEnforcesRestricted) {
  const Json labels = made(namespace_of({}))["metadata"]["labels"];
  for (const char* mode : {"enforce", "audit", "warn"})
    EXPECT_EQ(labels[fmt::format("pod-security.kubernetes.io/{}", mode)], "restricted");
}

TEST(Manifests, TheNetworkPolicyLetsNothingInOrOut) {
  const Json policy = made(network_policy_of({}));
  EXPECT_EQ(policy["apiVersion"], "networking.k8s.io/v1");
  const Json expected = {{"podSelector", Json::object()}, {"policyTypes", {"Ingress", "Egress"}}};
  EXPECT_EQ(policy["spec"], expected);  // no rule, of either
}

TEST(Manifests, TheClaimIsTheAgentsAndOutlivesItsPods) {
  ContainerSpec spec = pod_spec();
  const Json claim = made(claim_of(spec, {.storage_class = "fast-ssd"}));
  EXPECT_EQ(claim["metadata"]["name"], "onsight-0123456789ab-reviewer");
  EXPECT_EQ(claim["metadata"]["labels"]["onsight.agent"], "reviewer");
  EXPECT_FALSE(claim["metadata"]["labels"].contains("onsight.generation"));
  EXPECT_EQ(claim["spec"]["storageClassName"], "fast-ssd");
  EXPECT_EQ(claim["spec"]["resources"]["requests"]["storage"], "268435456");
  EXPECT_EQ(claim["spec"]["accessModes"], Json::array({"ReadWriteOnce"}));
  EXPECT_FALSE(made(claim_of(spec, {}))["spec"].contains("storageClassName"));
  EXPECT_EQ(volume(pod(spec), "work")["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
  spec.name = "onsight-0123456789ab-reviewer-4";
  spec.labels[std::string(kGenerationLabel)] = "4";
  EXPECT_EQ(made(claim_of(spec, {.storage_class = "fast-ssd"})), claim);
  spec.mounts.clear();
  EXPECT_FALSE(claim_of(spec, {}));
}

TEST(Manifests, ThePodHasNothingOfItsNodeNorOfTheApiServer) {
  const Json made_pod = pod();
  const Json& spec = made_pod["spec"];
  EXPECT_EQ(spec["automountServiceAccountToken"], false);
  EXPECT_EQ(spec["enableServiceLinks"], false);
  for (const char* name : {"hostNetwork", "hostPID", "hostIPC", "hostAliases", "shareProcessNamespace",
                           "serviceAccountName", "initContainers", "ephemeralContainers", "runtimeClassName"})
    EXPECT_FALSE(spec.contains(name)) << name;
  EXPECT_EQ(spec["restartPolicy"], "Never");
  EXPECT_EQ(spec["terminationGracePeriodSeconds"], 10);
  EXPECT_EQ(spec["dnsPolicy"], "None");
  EXPECT_EQ(spec["dnsConfig"]["nameservers"], Json::array({"127.0.0.1"}));
  EXPECT_EQ(made_pod.dump().find("hostPath"), std::string::npos);
  EXPECT_EQ(made_pod.dump().find("/home/u"), std::string::npos);  // no path of this machine is told
  EXPECT_EQ(made_pod.dump().find("hostPort"), std::string::npos);
}

TEST(Manifests, ThePodIsAnUnprivilegedUserWithoutWaysUp) {
  const Json spec = pod()["spec"];
  const Json all = {{"runAsNonRoot", true},
                    {"runAsUser", 10'003},
                    {"runAsGroup", 10'003},
                    {"fsGroup", 10'003},
                    {"fsGroupChangePolicy", "OnRootMismatch"},
                    {"seccompProfile", {{"type", "RuntimeDefault"}}}};
  EXPECT_EQ(spec["securityContext"], all);
  ASSERT_EQ(spec["containers"].size(), 1u);
  const Json one = {{"runAsNonRoot", true},
                    {"privileged", false},
                    {"allowPrivilegeEscalation", false},
                    {"readOnlyRootFilesystem", true},
                    {"capabilities", {{"drop", Json::array({"ALL"})}}}};
  EXPECT_EQ(spec["containers"][0]["securityContext"], one);
  const Json profile = {{"type", "Localhost"}, {"localhostProfile", "onsight/agent.json"}};
  const Json own = pod(pod_spec(), {.seccomp_profile = "onsight/agent.json"});
  EXPECT_EQ(own["spec"]["securityContext"]["seccompProfile"], profile);
}

TEST(Manifests, FoldersAreTheClaimAndMemory) {
  const Json made_pod = pod();
  EXPECT_EQ(made_pod["spec"]["volumes"].size(), 3u);
  EXPECT_EQ(volume(made_pod, "tmp")["emptyDir"], (Json{{"medium", "Memory"}, {"sizeLimit", "67108864"}}));
  EXPECT_EQ(volume(made_pod, "sockets")["emptyDir"], (Json{{"medium", "Memory"}, {"sizeLimit", "1048576"}}));
  EXPECT_EQ(mounted(made_pod, "/tmp")["name"], "tmp");
  EXPECT_EQ(mounted(made_pod, "/run/onsight")["name"], "sockets");
  EXPECT_EQ(mounted(made_pod, "/agent"), (Json{{"name", "work"}, {"mountPath", "/agent"}, {"readOnly", false}}));
  ContainerSpec spec = pod_spec();
  spec.mounts = {{"/home/u/state/clones/reviewer", "/agent", true}};
  EXPECT_EQ(mounted(pod(spec), "/agent")["readOnly"], true);
  EXPECT_EQ(volume(pod(spec), "work")["persistentVolumeClaim"]["readOnly"], true);
  EXPECT_EQ(volume(pod(spec), "sockets"), Json());
}

TEST(Manifests, RequestsAreTheLimits) {
  const Json resources = pod()["spec"]["containers"][0]["resources"];
  EXPECT_EQ(resources["limits"]["memory"], "1073741824");
  EXPECT_EQ(resources["limits"]["cpu"], "1500m");
  EXPECT_EQ(resources["limits"]["ephemeral-storage"], "268435456");
  EXPECT_EQ(resources["requests"], resources["limits"]);
  ContainerSpec spec = pod_spec();
  spec.limits.cpus = 2;
  EXPECT_EQ(pod(spec)["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
}

TEST(Manifests, TheTerminalAndTheNamesAreTheSpecs) {
  Json made_pod = pod();
  EXPECT_EQ(made_pod["metadata"]["name"], "onsight-0123456789ab-reviewer-3");
  EXPECT_EQ(made_pod["metadata"]["labels"]["onsight.generation"], "3");
  EXPECT_EQ(made_pod["metadata"]["labels"]["onsight.project"], "0123456789ab");
  Json container = made_pod["spec"]["containers"][0];
  EXPECT_EQ(container["tty"], true);
  EXPECT_EQ(container["stdin"], true);
  EXPECT_EQ(container["workingDir"], "/agent/repo");
  EXPECT_EQ(container["image"], "onsight-agents/claude:2.1-abc");
  ContainerSpec spec = pod_spec();
  spec.terminal = false;
  container = pod(spec, {.registry = "registry.shop.example:5000/team"})["spec"]["containers"][0];
  EXPECT_EQ(container["tty"], false);
  EXPECT_EQ(container["stdin"], false);
  EXPECT_EQ(container["image"], "registry.shop.example:5000/team/onsight-agents/claude:2.1-abc");
}

// Kubernetes replaces $(NAME) in commands and variables, and reads $$ as $.
TEST(Manifests, ATaskIsTextAndNothingInItIsReplaced) {
  const Json container = pod()["spec"]["containers"][0];
  EXPECT_EQ(container["command"][4], "Pay $$(HOME) $$5 `id`");
  EXPECT_EQ(container["env"][1], (Json{{"name", "ONSIGHT_TASK"}, {"value", "$$$$(HOME)"}}));
  EXPECT_FALSE(container.contains("args"));
}

TEST(Manifests, WhatAPodMustNotHaveIsRefused) {
  const auto with = [](const auto& change) {
    ContainerSpec spec = pod_spec();
    change(spec);
    return pod_refusal(spec);
  };
  EXPECT_EQ(with([](ContainerSpec& s) {
              s.mounts.push_back({"/etc", "/host", true});
            }),
            "onsight-0123456789ab-reviewer-3: a pod has no path of a host: expected mounts at /agent and /run/onsight, "
            "found /host");
  EXPECT_EQ(with([](ContainerSpec& s) { s.uid = 0; }),
            "onsight-0123456789ab-reviewer-3: expected an unprivileged user, found 0:10003");
  EXPECT_NE(with([](ContainerSpec& s) { s.gid = 0; }).find("found 10003:0"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.command.clear(); }).find("a command"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.image.clear(); }).find("an image"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.name = "Upper"; }).find("its name"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.name = std::string(64, 'a'); }).find("expected at most 63"),
            std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.mounts[0].from = "/x/a_b"; }).find("the name of a claim"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.labels.clear(); }).find("onsight.project"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.labels["x"] = "a b"; }).find("a label"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.labels["x"] = std::string(64, 'a'); }).find("a label"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.environment.emplace_back("A B", ""); }).find("variable"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.limits.cpus = 0; }).find("limits above nothing"), std::string::npos);
  EXPECT_NE(with([](ContainerSpec& s) { s.limits.memory_bytes = 1 << 20; }).find("6 MB"), std::string::npos);
}

TEST(Manifests, AClusterThatCannotBeIsRefused) {
  EXPECT_EQ(pod_refusal(pod_spec(), {.name_space = "a_b"}),
            "kubernetes: namespace: expected at most 63 lower-case letters, digits and dashes, found \"a_b\"");
  EXPECT_FALSE(namespace_of({.name_space = "-"}));
  EXPECT_FALSE(network_policy_of({.name_space = "a."}));
  EXPECT_FALSE(claim_of(pod_spec(), {.storage_class = "-x"}));
  EXPECT_FALSE(manifests(pod_spec(), {.registry = "a//b"}));
}

}  // namespace
}  // namespace onsight::agents::runtime::kubernetes
