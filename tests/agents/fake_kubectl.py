#!/usr/bin/env -S python3 -I -S
"""A kubectl for tests, and the cluster behind it: what there is lies in files below FAKE_KUBECTL. It takes the arguments that the program is meant to
give and no others, and answers as kubectl is documented to, in the shapes that `kubectl get -o json` prints.

With FAKE_KUBECTL_ENGINE, a socket of Docker's, pods are containers of that engine, made of what the pod says and of nothing else; otherwise their
commands run on this machine as they are. Claims are folders. It is run for each thing that is asked, so that it takes nothing that it does not need.

Files in the folder steer it: `hold` (nothing is filled before it goes), `image-missing` (the image cannot be had), `unreachable` (no API server),
`quota` (no more pods), `no-namespaces` (who asks may not write them); `calls` is what it was asked.
"""
import json
import os
import signal
import socket
import struct
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

FOLDER = Path(os.environ["FAKE_KUBECTL"])
ENGINE = os.environ.get("FAKE_KUBECTL_ENGINE")
POD_PIDS = 1000  # podPidsLimit of the nodes
KEPT = "detachKeys=ctrl-%5E,ctrl-_,ctrl-%5E,ctrl-_"  # of Docker's own keys none is typed


def fail(text, code=1):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    os._exit(code)


def path_of(kind, name):
    return FOLDER / f"{kind.lower()}-{name}.json"


def load(name, kind="Pod"):
    try:
        return json.loads(path_of(kind, name).read_text())
    except FileNotFoundError:
        return None


def save(thing):
    path = path_of(thing["kind"], thing["metadata"]["name"])
    new = path.with_suffix(f".new{os.getpid()}")
    new.write_text(json.dumps(thing))
    new.rename(path)


def claim_folder(name):
    return FOLDER / "claims" / name


def claims_of(pod):
    return [v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]


def condition(kind, reason, status="False"):
    return {"lastProbeTime": None, "lastTransitionTime": "2026-01-02T03:04:05Z", "type": kind, "reason": reason, "status": status}


def expanded(text):
    """As kubelets read $$; nothing here is meant to be the name of a variable."""
    assert "$(" not in text.replace("$$", ""), text
    return text.replace("$$", "$")


# --- the engine below

class Engine:
    def dial(self, method, target, body=None, upgrade=False):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(ENGINE)
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} /v1.40{target} HTTP/1.{1 if upgrade else 0}\r\nHost: engine\r\nContent-Length: {len(data)}\r\n"
        head += "Content-Type: application/json\r\n" if data else ""
        head += "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        connection.sendall(head.encode() + b"\r\n" + data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(65536)
            assert piece, (method, target, answer)
            answer += piece
        head, rest = answer.split(b"\r\n\r\n", 1)
        return connection, int(head.split()[1]), rest

    def call(self, method, target, body=None):
        connection, status, answer = self.dial(method, target, body)
        while piece := connection.recv(65536):
            answer += piece
        return status, answer

    def name(self, pod):
        return f"k8s-{pod['metadata']['name']}"

    def begin(self, pod):
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        security, held = container["securityContext"], spec["securityContext"]
        limits = container["resources"]["limits"]
        mounts, memory_folders = [], {}
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "emptyDir" in volume:
                # Its modes are those of the folder in the image, whatever is asked for; on nodes everybody may write there.
                owner = f"uid={held['runAsUser']},gid={held['fsGroup']}"
                memory_folders[mount["mountPath"]] = f"rw,exec,nosuid,nodev,{owner},size={volume['emptyDir']['sizeLimit']}"
                continue
            claim = volume["persistentVolumeClaim"]["claimName"]
            os.chown(claim_folder(claim), 0, held["fsGroup"])
            claim_folder(claim).chmod(0o2775)
            mounts.append({"Type": "bind", "Source": str(claim_folder(claim)), "Target": mount["mountPath"], "ReadOnly": mount["readOnly"]})
        cpus = limits["cpu"]
        status, answer = self.call("POST", f"/containers/create?name={self.name(pod)}", {
            "Image": container["image"], "Entrypoint": [], "Cmd": [expanded(word) for word in container["command"]],
            "User": f"{held['runAsUser']}:{held['runAsGroup']}", "WorkingDir": container["workingDir"], "Hostname": spec["hostname"],
            "Env": [f"{one['name']}={expanded(one['value'])}" for one in container["env"]]
                   + ["KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443"],
            "Tty": container["tty"], "OpenStdin": container["stdin"], "StdinOnce": container["stdinOnce"], "Labels": {"pod": pod["metadata"]["name"]},
            "HostConfig": {
                "NetworkMode": "none", "ReadonlyRootfs": security["readOnlyRootFilesystem"], "CapDrop": security["capabilities"]["drop"],
                "SecurityOpt": [] if security["allowPrivilegeEscalation"] else ["no-new-privileges"], "Privileged": security["privileged"],
                "GroupAdd": [str(held["fsGroup"])], "Memory": int(limits["memory"]), "MemorySwap": int(limits["memory"]),
                "NanoCpus": int(float(cpus[:-1]) * 1e6) if cpus.endswith("m") else int(cpus) * 10**9, "PidsLimit": POD_PIDS,
                "Tmpfs": memory_folders, "Mounts": mounts,
            },
        })  # fmt: skip
        if status == 404:
            return "ErrImagePull", "rpc error: code = NotFound desc = failed to pull and unpack image"
        assert status == 201, answer
        status, answer = self.call("POST", f"/containers/{self.name(pod)}/start")
        return ("RunContainerError", answer.decode()) if status != 204 else None

    def ended(self, pod):
        """(exit code, whether memory ran out), or None while it runs."""
        status, answer = self.call("GET", f"/containers/{self.name(pod)}/json")
        state = json.loads(answer)["State"] if status == 200 else {"Running": False, "ExitCode": 137, "OOMKilled": False}
        return None if state["Running"] else (state["ExitCode"], state["OOMKilled"])

    def remove(self, pod):
        self.call("POST", f"/containers/{self.name(pod)}/stop?t=1")
        self.call("DELETE", f"/containers/{self.name(pod)}?force=1&v=1")

    def log(self, pod):
        assert pod["spec"]["containers"][0]["tty"]
        text = self.call("GET", f"/containers/{self.name(pod)}/logs?stdout=1&stderr=1")[1]
        # As nodes keep it: the last line only when it is whole.
        return text if self.ended(pod) else text[:text.rfind(b"\n") + 1]

    def attach(self, pod):
        self.carry(f"/containers/{self.name(pod)}/attach?stream=1&stdin=1&stdout=1&stderr=1&{KEPT}", None, True, True,
                   f"/containers/{self.name(pod)}/resize")  # fmt: skip

    def exec(self, pod, command, stdin, tty):
        status, answer = self.call("POST", f"/containers/{self.name(pod)}/exec", {
            "AttachStdin": stdin, "AttachStdout": True, "AttachStderr": True, "Tty": tty, "Cmd": command,
            "DetachKeys": "ctrl-^,ctrl-_,ctrl-^,ctrl-_"})  # fmt: skip
        if status != 201:
            fail('error: Internal error occurred: unable to upgrade connection: container not found ("agent")')
        name = json.loads(answer)["Id"]
        self.carry(f"/exec/{name}/start", {"Detach": False, "Tty": tty}, stdin, tty, f"/exec/{name}/resize")
        while (state := json.loads(self.call("GET", f"/exec/{name}/json")[1]))["Running"]:
            time.sleep(0.005)
        return state["ExitCode"]

    def carry(self, target, body, stdin, tty, resize):
        connection, status, rest = self.dial("POST", target, body, upgrade=True)
        if status not in (101, 200):
            fail("error: unable to upgrade connection: pod does not exist")

        def size():
            return struct.unpack("HHHH", ioctl(1, termios.TIOCGWINSZ, b"\0" * 8))[:2]

        def tell_size(more=0):
            told = None
            while told != (now := size()):  # a signal may come while it is told
                self.call("POST", f"{resize}?h={now[0] + more}&w={now[1] + more}")
                told = now

        def give():
            while piece := os.read(0, 65536):
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)

        if tty:
            assert os.isatty(0) and os.isatty(1)
            modes = termios.tcgetattr(0)
            modes[:4] = [0, 0, (modes[2] & ~termios.PARENB) | termios.CS8, 0]
            termios.tcsetattr(0, termios.TCSANOW, modes)
            signal.signal(signal.SIGWINCH, lambda *_: tell_size())
            tell_size(1)  # as kubectl does, so that programs draw anew
            tell_size()
        if stdin:
            import threading

            threading.Thread(target=give, daemon=True).start()
        held = rest
        while True:
            while not tty and len(held) >= 8 and len(held) >= 8 + (length := struct.unpack(">I", held[4:8])[0]):
                write_all(2 if held[0] == 2 else 1, held[8:8 + length])
                held = held[8 + length:]
            if tty:
                write_all(1, held)
                held = b""
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                return
            if not piece:
                return
            held += piece


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


class Machine:
    """Commands of pods are processes of this machine; /agent is where the claim is."""

    def __init__(self):
        import subprocess

        self.programs = subprocess

    def pid_file(self, pod):
        return path_of("Pod", pod["metadata"]["name"]).with_suffix(".pid")

    def begin(self, pod):
        command = [expanded(word) for word in pod["spec"]["containers"][0]["command"]]
        # A process of nobody's: who asked is long gone when it ends.
        script = 'import subprocess,sys,pathlib\nf=pathlib.Path(sys.argv[1]); p=subprocess.Popen(sys.argv[2:]); f.with_suffix(".pid").write_text(str(p.pid))\n' \
                 'f.with_suffix(".code").write_text(str(p.wait()))'  # fmt: skip
        path = path_of("Pod", pod["metadata"]["name"])
        nothing = self.programs.DEVNULL
        self.programs.Popen([sys.executable, "-c", script, str(path), *command], stdin=nothing, stdout=nothing, stderr=nothing,
                            start_new_session=True)  # fmt: skip
        while not self.pid_file(pod).exists() or not self.pid_file(pod).read_text():
            time.sleep(0.005)

    def ended(self, pod):
        file = self.pid_file(pod).with_suffix(".code")
        if not file.exists() or not file.read_text():
            return None
        code = int(file.read_text())
        return (128 - code if code < 0 else code), code == -9

    def remove(self, pod):
        if self.pid_file(pod).exists() and not self.ended(pod):
            os.killpg(os.getpgid(int(self.pid_file(pod).read_text())), signal.SIGKILL)  # with all that it began
        for suffix in (".pid", ".code"):
            self.pid_file(pod).with_suffix(suffix).unlink(missing_ok=True)

    def exec(self, pod, command, stdin, tty):
        assert not tty
        if command == ["/bin/sh", "-c", "kill -TERM 1"]:  # the first process of the pod
            command[2] = f"kill -TERM {self.pid_file(pod).read_text()}"
        command = [word.replace("=/agent", f"={claim_folder(claim)}") for claim in claims_of(pod) for word in command] or command
        done = self.programs.run(command, stdin=None if stdin else self.programs.DEVNULL)
        return done.returncode if done.returncode >= 0 else 128 - done.returncode


NODE = Engine() if ENGINE else Machine()


# --- the API server

def begin(pod):
    """As kubelets do: the container, or why it cannot be."""
    state = {"name": "agent", "image": pod["spec"]["containers"][0]["image"], "ready": False, "restartCount": 0, "lastState": {}}
    if any(not claim_folder(claim).exists() for claim in claims_of(pod)):
        pod["status"] = {"phase": "Pending", "conditions": [{**condition("PodScheduled", "Unschedulable"), "message": "persistentvolumeclaim not found"}]}
        return
    why = NODE.begin(pod) if not (FOLDER / "image-missing").exists() else (
        "ErrImagePull", "rpc error: code = NotFound desc = failed to pull and unpack image")  # fmt: skip
    if why:
        state["state"] = {"waiting": {"reason": why[0], "message": why[1]}}
        pod["status"] = {"phase": "Pending", "conditions": [condition("PodScheduled", "", "True")], "containerStatuses": [state]}
        return
    pod["spec"].setdefault("nodeName", "node-1")
    state["state"] = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    pod["status"] = {"phase": "Running", "containerStatuses": [state], "podIP": "10.1.2.3", "qosClass": "Guaranteed"}


def seen(pod):
    if pod and pod["status"]["phase"] == "Running" and (ended := NODE.ended(pod)):
        code, hungry = ended
        pod["status"]["phase"] = "Failed" if code else "Succeeded"
        pod["status"]["containerStatuses"][0]["state"] = {
            "terminated": {"exitCode": code, "reason": "OOMKilled" if hungry else "Error" if code else "Completed"}}
    return pod


def all_pods():
    return [pod for path in sorted(FOLDER.glob("pod-*.json")) if (pod := load(path.stem.removeprefix("pod-")))]


def create(thing):
    name, kind = thing["metadata"]["name"], thing["kind"]
    assert path_of("Namespace", thing["metadata"]["namespace"]).exists() and path_of("NetworkPolicy", "onsight-deny-all").exists()
    if load(name, kind):
        fail(f'Error from server (AlreadyExists): error when creating "STDIN": {kind.lower()}s "{name}" already exists')
    if kind == "PersistentVolumeClaim":
        claim_folder(name).mkdir(parents=True)
    else:
        assert kind == "Pod", thing
        if (FOLDER / "quota").exists():
            fail(f'Error from server (Forbidden): error when creating "STDIN": pods "{name}" is forbidden: exceeded quota: all, requested: pods=1')
        thing["status"] = {"phase": "Pending", "conditions": [condition("PodScheduled", "SchedulingGated")]}
        if not thing["spec"].get("schedulingGates"):
            begin(thing)
    save(thing)
    print(f"{kind.lower()}/{name} created")


def remove_claim(name):
    """Not before the last pod that has it: until then it is there, and about to go."""
    until = time.monotonic() + 60
    while any(name in claims_of(pod) and seen(pod)["status"]["phase"] in ("Pending", "Running") for pod in all_pods()):
        if claim := load(name, "PersistentVolumeClaim"):
            claim["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
            save(claim)
        assert time.monotonic() < until
        time.sleep(0.05)
    from shutil import rmtree

    rmtree(claim_folder(name), ignore_errors=True)
    path_of("PersistentVolumeClaim", name).unlink(missing_ok=True)


def existing(name):
    pod = seen(load(name))
    if not pod:
        fail(f'Error from server (NotFound): pods "{name}" not found')
    return pod


def running(name):
    pod = existing(name)
    if pod["status"]["phase"] == "Pending":
        fail(f"error: unable to upgrade connection: container agent not found in pod {name}")
    if pod["status"]["phase"] != "Running":
        fail(f"error: cannot exec into a container in a completed pod; current phase is {pod['status']['phase']}")
    return pod


def read_input():
    thing = json.load(sys.stdin)
    return thing["items"] if thing["kind"] == "List" else [thing]


def main(arguments):
    with open(FOLDER / "calls", "a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if arguments == ["--namespace=default", "config", "current-context"]:
        return print("kind-test")
    if (FOLDER / "unreachable").exists():
        fail("Unable to connect to the server: dial tcp 127.0.0.1:6443: connect: connection refused")
    assert arguments[:2] == ["--context=kind-test", "--namespace=bots"], arguments
    match arguments[2:]:
        case ["version", "--output=json"]:
            print(json.dumps({"clientVersion": {"gitVersion": "v1.31.2"}, "serverVersion": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"}}))
        case ["apply", "--filename=-"]:
            refused = False
            for thing in read_input():
                assert thing["kind"] in ("Namespace", "NetworkPolicy"), thing
                if thing["kind"] == "Namespace" and (FOLDER / "no-namespaces").exists():
                    refused = True
                    continue
                save(thing)
                print(f"{thing['kind'].lower()}/{thing['metadata']['name']} configured")
            if refused:
                fail('Error from server (Forbidden): namespaces "bots" is forbidden: User "u" cannot patch resource "namespaces" in API group ""')
        case ["create", "--filename=-"]:
            for thing in read_input():
                create(thing)
        case ["patch", "pod", name, "--type=merge", patch]:
            assert patch == '--patch={"spec":{"schedulingGates":null}}'
            pod = existing(name)
            if pod["spec"].pop("schedulingGates", None):
                begin(pod)
                save(pod)
            print(f"pod/{name} patched")
        case ["get", "pod", name, "--ignore-not-found", "--output=json"]:
            if pod := seen(load(name)):
                print(json.dumps(pod, indent=4))
        case ["get", "pods", selector, "--output=json"]:
            assert selector.startswith("--selector=")
            wanted = dict(one.split("=") for one in selector.removeprefix("--selector=").split(","))
            pods = [seen(pod) for pod in all_pods() if wanted.items() <= pod["metadata"]["labels"].items()]
            print(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods, "metadata": {"resourceVersion": ""}}, indent=4))
        case ["get", "persistentvolumeclaim", name, "--ignore-not-found", "--output=json"]:
            if claim := load(name, "PersistentVolumeClaim"):
                print(json.dumps(claim, indent=4))
        case ["annotate", "persistentvolumeclaim", name, annotation]:
            claim = load(name, "PersistentVolumeClaim")
            claim["metadata"].setdefault("annotations", {}).update([annotation.split("=")])
            save(claim)
            print(f"persistentvolumeclaim/{name} annotated")
        case ["delete", "pod", name, "--ignore-not-found", "--grace-period=1", "--wait=true"]:
            if pod := load(name):
                NODE.remove(pod)
                path_of("Pod", name).unlink(missing_ok=True)
                print(f'pod "{name}" deleted')
        case ["delete", "persistentvolumeclaim", name, "--ignore-not-found", "--wait=true"]:
            remove_claim(name)
        case ["logs", name, "--container=agent"]:
            pod = existing(name)
            if pod["status"]["phase"] != "Pending":
                write_all(1, NODE.log(pod))
        case ["attach", name, "--container=agent", "--stdin", "--tty"]:
            pod = running(name)
            sys.stderr.write("If you don't see a command prompt, try pressing enter.\n")
            sys.stderr.flush()
            NODE.attach(pod)
        case ["exec", name, "--container=agent", *more]:
            pod = running(name)
            at = more.index("--")
            while "/bin/tar" in more and (FOLDER / "hold").exists():
                time.sleep(0.05)
            assert more[:at] in ([], ["--stdin"], ["--stdin", "--tty"]), more
            code = NODE.exec(pod, more[at + 1:], stdin="--stdin" in more[:at], tty="--tty" in more[:at])
            if code:
                fail(f"command terminated with exit code {code}", code)
        case other:
            fail(f"error: unknown command {other}")


main(sys.argv[1:])
sys.stdout.flush()
os._exit(0)  # not even for who waits for more to be typed
