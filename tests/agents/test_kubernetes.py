"""What `onsight agents manifest` prints: against the schemas that Kubernetes publishes (the Python package kubernetes-validate has them), and against
the rules of the Pod Security standard "restricted", written down here. No cluster is asked.
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("ONSIGHT_BINARY", ROOT / "build" / "onsight"))
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Whatever a word holds, the program gets it as it is; and a role that says little.
COMMAND = ["sh", "-c", "echo $(date) $$ $$(HOME) $HOME '$' \"`id`\" ende$", "$(ONSIGHT_AGENT)", "$", "$$"]
AGENTS = f"""
[runtime.kubernetes]
namespace = "bots"
storage_class = "fast-ssd"
registry = "registry.shop.example:5000/team"
seccomp_profile = "onsight/agent.json"

[roles.plain]
harness = "generic"

[roles.hard]
harness = "generic"
command = {json.dumps(COMMAND)}
instructions = "Costs $(HOME) and $$5"
limits = {{ memory = "512MiB", cpus = 0.25, tmp = "32MiB", disk = "1GiB" }}

[roles.coder]
harness = "claude"
"""


class Project:
    def __init__(self, folder, config):
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "GIT_", "XDG_", "ONSIGHT_"))}
        self.env |= {"HOME": str(folder), "ONSIGHT_AGENTS_STATE": str(folder / "s"), "ONSIGHT_AGENTS_RUN": str(folder / "r"),
                     "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip
        (folder / "r").mkdir(mode=0o700)
        (folder / "repo" / ".onsight").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", folder / "repo"], check=True, env=self.env)
        self.configure(config)

    def configure(self, config):
        (self.folder / "repo" / ".onsight" / "agents.toml").write_text(config)

    def manifest(self, *arguments):
        return subprocess.run([BINARY, "agents", "manifest", *arguments], cwd=self.folder / "repo", env=self.env, capture_output=True, text=True,
                              timeout=60)  # fmt: skip

    def items(self, role):
        done = self.manifest("--role", role)
        assert done.returncode == 0 and done.stderr == "", done
        whole = json.loads(done.stdout)
        assert (whole["apiVersion"], whole["kind"], set(whole)) == ("v1", "List", {"apiVersion", "kind", "items"})
        return whole["items"]

    def refusal(self, *arguments, code=2):
        done = self.manifest(*arguments)
        assert done.returncode == code and done.stdout == "" and done.stderr.count("\n") == 1, done
        return done.stderr


@contextlib.contextmanager
def project_of(config):
    with tempfile.TemporaryDirectory(prefix="onsight-kube-", dir="/tmp") as folder:  # short: sockets' paths are
        yield Project(Path(folder), config)


@pytest.fixture(scope="module")
def project():
    with project_of(AGENTS) as project:
        yield project


@pytest.fixture
def bare():
    """A project that says nothing of a cluster."""
    with project_of('[roles.plain]\nharness = "generic"\n') as project:
        yield project


ROLES = ["plain", "hard", "coder"]


def of_kind(items, kind):
    (one,) = [item for item in items if item["kind"] == kind]
    return one


# --- the schemas

@pytest.fixture(scope="session")
def schemas():
    return pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed, so no schema was asked")


@pytest.mark.parametrize("version", ["1.25", "1.28", "1.31", "1.34", "1.37"])
@pytest.mark.parametrize("role", ROLES)
def test_every_manifest_is_as_the_published_schema_says(project, schemas, role, version):
    for item in project.items(role):
        assert schemas.validate(item, version, strict=True) == version


@pytest.mark.parametrize("change", [
    lambda items: of_kind(items, "Pod")["spec"].update(hostNetworks=True),
    lambda items: of_kind(items, "Pod")["spec"]["containers"][0]["securityContext"].update(runAsUser="me"),
    lambda items: of_kind(items, "Pod")["spec"]["containers"][0].pop("name"),
    lambda items: of_kind(items, "NetworkPolicy")["spec"].update(policyTypes="Egress"),
    lambda items: of_kind(items, "PersistentVolumeClaim")["spec"].update(accessModes=1),
    lambda items: of_kind(items, "Namespace")["metadata"].update(labels=["x"]),
])  # fmt: skip
def test_the_schemas_refuse_what_is_wrong(project, schemas, change):
    items = project.items("plain")
    change(items)
    with pytest.raises(schemas.ValidationError):
        for item in items:
            schemas.validate(item, "1.37", strict=True)


def changed(before, after, where=""):
    """Places of `before` that are not, or not so, in `after`; what is false or empty may be left out there."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [place for key in before for place in changed(before[key], after.get(key), f"{where}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [place for i, (a, b) in enumerate(zip(before, after)) for place in changed(a, b, f"{where}/{i}")]
    return [] if before == after or (after is None and not before) else [where]


def through_kubectl(pod):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed, so it did not read a pod")
    done = subprocess.run(["kubectl", "set", "image", "--local", "--kubeconfig=/dev/null", "-f", "-", "agent=other", "-o", "json"],
                          input=json.dumps(pod), capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done
    return json.loads(done.stdout)


@pytest.mark.parametrize("role", ROLES)
def test_kubectl_itself_knows_every_field_of_a_pod(project, role):
    """Of its own types, without a cluster: what they do not have is not in what it writes."""
    pod = of_kind(project.items(role), "Pod")
    assert changed(pod, through_kubectl(pod)) == ["/spec/containers/0/image"]
    pod["spec"]["hostNetworks"] = True
    assert "/spec/hostNetworks" in changed(pod, through_kubectl(pod))


# --- Pod Security, "restricted"

RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def breaches(pod):
    """The rules of the standard, by their names there, that this pod breaks."""
    spec = pod["spec"]
    containers = spec["containers"] + spec.get("initContainers", []) + spec.get("ephemeralContainers", [])
    mine = spec.get("securityContext", {})
    inner = [c.get("securityContext", {}) for c in containers]
    everywhere = [mine, *inner]
    kinds = {kind for volume in spec.get("volumes", []) for kind in set(volume) - {"name"}}

    def each_or_pod(allows, name):
        """Each container says it, or the pod does for those that say nothing."""
        return all(allows(c[name]) if name in c else name in mine and allows(mine[name]) for c in inner)

    rules = {
        # baseline
        "HostProcess": not any(c.get("windowsOptions", {}).get("hostProcess") for c in everywhere),
        "Host Namespaces": not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
        "Privileged Containers": not any(c.get("privileged") for c in inner),
        "HostPath Volumes": "hostPath" not in kinds,
        "Host Ports": not any(port.get("hostPort") for c in containers for port in c.get("ports", [])),
        "Host Probes / Lifecycle Hooks": not any(
            "host" in c.get(probe, {}).get(how, {}) for c in containers
            for probe in ("livenessProbe", "readinessProbe", "startupProbe") for how in ("httpGet", "tcpSocket")),
        "AppArmor": all(c.get("appArmorProfile", {"type": "RuntimeDefault"})["type"] in ("RuntimeDefault", "Localhost") for c in everywhere)
        and not any(key.startswith("container.apparmor") for key in pod["metadata"].get("annotations", {})),
        "SELinux": not any(set(c.get("seLinuxOptions", {})) & {"user", "role"} for c in everywhere),
        "/proc Mount Type": all(c.get("procMount", "Default") == "Default" for c in inner),
        "Sysctls": not mine.get("sysctls"),
        # restricted
        "Volume Types": kinds <= RESTRICTED_VOLUMES,
        "Privilege Escalation": all(c.get("allowPrivilegeEscalation") is False for c in inner),
        "Running as Non-root": each_or_pod(lambda value: value is True, "runAsNonRoot"),
        "Running as Non-root user": all(c.get("runAsUser", 1) != 0 for c in everywhere),
        "Seccomp": each_or_pod(lambda value: value["type"] in ("RuntimeDefault", "Localhost"), "seccompProfile"),
        "Capabilities": all("ALL" in c.get("capabilities", {}).get("drop", []) and set(c["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"}
                            for c in inner),
    }  # fmt: skip
    return [name for name, kept in rules.items() if not kept]


@pytest.mark.parametrize("role", ROLES)
def test_no_rule_of_restricted_is_broken(project, role):
    assert breaches(of_kind(project.items(role), "Pod")) == []


@pytest.mark.parametrize("rule, change", [
    ("Host Namespaces", lambda spec, _: spec.update(hostPID=True)),
    ("HostPath Volumes", lambda spec, _: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("Volume Types", lambda spec, _: spec["volumes"].append({"name": "x", "nfs": {}})),
    ("Privileged Containers", lambda _, inner: inner.update(privileged=True)),
    ("Privilege Escalation", lambda _, inner: inner.pop("allowPrivilegeEscalation")),
    ("Running as Non-root", lambda _, inner: inner.update(runAsNonRoot=False)),
    ("Running as Non-root user", lambda spec, _: spec["securityContext"].update(runAsUser=0)),
    ("Seccomp", lambda spec, _: spec["securityContext"].pop("seccompProfile")),
    ("Capabilities", lambda _, inner: inner["capabilities"].update(drop=["NET_RAW"])),
    ("Sysctls", lambda spec, _: spec["securityContext"].update(sysctls=[{"name": "x", "value": "1"}])),
])  # fmt: skip
def test_the_rules_find_what_breaks_them(project, rule, change):
    pod = of_kind(project.items("plain"), "Pod")
    change(pod["spec"], pod["spec"]["containers"][0]["securityContext"])
    assert rule in breaches(pod)


def test_the_namespace_has_the_api_server_refuse_what_is_not_restricted(project):
    labels = of_kind(project.items("plain"), "Namespace")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


# --- what the standard does not ask for

@pytest.mark.parametrize("role", ROLES)
def test_the_pod_has_no_network_no_token_and_no_names(project, role):
    items = project.items(role)
    policy = of_kind(items, "NetworkPolicy")
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    spec = of_kind(items, "Pod")["spec"]
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    assert spec["dnsPolicy"] == "None" and spec["dnsConfig"] == {"nameservers": ["127.0.0.1"]}
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in spec["containers"])
    assert {item["metadata"]["namespace"] for item in items if item["kind"] != "Namespace"} == {"bots"}


@pytest.mark.parametrize("role", ROLES)
def test_names_are_dns_labels_and_volumes_are_there(project, role):
    items = project.items(role)
    for item in items:
        assert DNS_LABEL.fullmatch(item["metadata"]["name"]), item
        assert len(item["metadata"]["name"]) <= 63
    spec = of_kind(items, "Pod")["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    assert set(mounts) == {"/tmp", "/agent", "/run/onsight"} and set(mounts.values()) == set(volumes)
    assert volumes[mounts["/agent"]]["persistentVolumeClaim"]["claimName"] == of_kind(items, "PersistentVolumeClaim")["metadata"]["name"]
    for place in ("/tmp", "/run/onsight"):
        assert volumes[mounts[place]]["emptyDir"]["medium"] == "Memory"


def test_what_agents_toml_says_is_there(project):
    items = project.items("hard")
    claim, pod = of_kind(items, "PersistentVolumeClaim"), of_kind(items, "Pod")
    assert of_kind(items, "Namespace")["metadata"]["name"] == "bots"
    assert claim["spec"]["storageClassName"] == "fast-ssd"
    assert claim["spec"]["resources"]["requests"]["storage"] == str(1 << 30)
    (container,) = pod["spec"]["containers"]
    assert re.fullmatch(r"registry\.shop\.example:5000/team/onsight-agents/generic:\S+", container["image"])
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "Localhost", "localhostProfile": "onsight/agent.json"}
    assert container["resources"]["limits"]["memory"] == str(512 << 20) and container["resources"]["limits"]["cpu"] == "250m"
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert pod["metadata"]["labels"]["onsight.agent"] == "hard"


def expanded(text, variables):
    """As Kubernetes documents it: $(NAME) becomes the variable's value where there is one, and $$ is $."""
    return re.sub(r"\$(?:\$|\((\w+)\))", lambda m: "$" if m[0] == "$$" else variables.get(m[1], m[0]), text)


def test_nothing_that_an_agent_is_told_is_replaced(project):
    (container,) = of_kind(project.items("hard"), "Pod")["spec"]["containers"]
    variables = {}
    for one in container["env"]:
        variables[one["name"]] = expanded(one["value"], variables)
    assert variables["HOME"] == "/agent/home"
    assert variables["ONSIGHT_TASK"] == "Costs $(HOME) and $$5"
    assert [expanded(word, variables) for word in container["command"]][3:] == COMMAND
    assert "args" not in container


def test_the_profile_is_one_that_container_engines_read(project):
    """As the OCI runtime's specification has it: what containerd and CRI-O read of a file."""
    done = project.manifest("--seccomp")
    profile = json.loads(done.stdout)
    assert set(profile) == {"defaultAction", "defaultErrnoRet", "syscalls"} and profile["defaultAction"] == "SCMP_ACT_ERRNO"
    for rule in profile["syscalls"]:
        assert set(rule) <= {"names", "action", "errnoRet", "args"} and rule["names"]
        assert rule["action"] in ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO")
        assert all(set(argument) == {"index", "value", "valueTwo", "op"} for argument in rule["args"])
    allowed = {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert {"read", "execve"} <= allowed and not {"mount", "ptrace", "unshare", "bpf", "io_uring_setup"} & allowed


def test_without_a_word_about_a_cluster(bare):
    items = bare.items("plain")
    assert of_kind(items, "Namespace")["metadata"]["name"] == "onsight-agents"
    assert "storageClassName" not in of_kind(items, "PersistentVolumeClaim")["spec"]
    pod = of_kind(items, "Pod")
    assert pod["spec"]["containers"][0]["image"].startswith("onsight-agents/generic:")
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert breaches(pod) == []


def test_refusals_are_one_sentence(bare):
    assert "unknown role 'plan'" in bare.refusal("--role", "plan")
    assert "there is no such agent" in bare.refusal("plain")
    assert "expected the NAME of an agent, --role ROLE or --seccomp" in bare.refusal()
    assert "one of them" in bare.refusal("plain", "--role", "plain")
    assert "one of them" in bare.refusal("--role", "plain", "--seccomp")
    for key, value in [("namespace", "A_B"), ("storage_class", "a b"), ("registry", "https://registry.shop.example"), ("seccomp_profile", "../x")]:
        bare.configure(f'[roles.plain]\nharness = "generic"\n[runtime.kubernetes]\n{key} = "{value}"\n')
        said = bare.refusal("--role", "plain", code=3)
        assert f"agents.toml, line 4: runtime.kubernetes.{key}: expected" in said and value in said, said
