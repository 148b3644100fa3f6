#!/usr/bin/env python3
"""A kubectl for tests: pods are files below FAKE_KUBECTL, their commands run on this machine. It takes the arguments that the program is meant to
give and no others, and answers as kubectl is documented to, in the shapes that `kubectl get pod -o json` prints.

Files in the folder steer it: `image-missing` (the image cannot be had), `unreachable` (no API server), `calls` is what it was asked.
"""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["FAKE_KUBECTL"])


def fail(text, code=1):
    sys.stderr.write(text + "\n")
    sys.exit(code)


def path_of(kind, name):
    return FOLDER / f"{kind.lower()}-{name}.json"


def load(name):
    path = path_of("Pod", name)
    return json.loads(path.read_text()) if path.exists() else None


def save(thing):
    path = path_of(thing["kind"], thing["metadata"]["name"])
    path.with_suffix(".new").write_text(json.dumps(thing))
    path.with_suffix(".new").rename(path)


def condition(kind, reason, status="False"):
    return {"lastProbeTime": None, "lastTransitionTime": "2026-01-02T03:04:05Z", "type": kind, "reason": reason, "status": status}


def begin(pod):
    """As kubelets do: the container's command, or why it cannot be."""
    state = {"name": "agent", "image": pod["spec"]["containers"][0]["image"], "ready": False, "restartCount": 0, "lastState": {}}
    if (FOLDER / "image-missing").exists():
        state["state"] = {"waiting": {"reason": "ErrImagePull", "message": "rpc error: code = NotFound desc = failed to pull and unpack image"}}
        pod["status"] = {"phase": "Pending", "conditions": [condition("PodScheduled", "", "True")], "containerStatuses": [state]}
        return
    command = [word.replace("$$", "$") for word in pod["spec"]["containers"][0]["command"]]
    # A process of nobody's: who asked is long gone when it ends.
    script = 'import subprocess,sys,pathlib\nf=pathlib.Path(sys.argv[1]); p=subprocess.Popen(sys.argv[2:]); f.with_suffix(".pid").write_text(str(p.pid))\n' \
             'f.with_suffix(".code").write_text(str(p.wait()))'  # fmt: skip
    path = path_of("Pod", pod["metadata"]["name"])
    subprocess.Popen([sys.executable, "-c", script, str(path), *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    while not path.with_suffix(".pid").exists():
        time.sleep(0.005)
    pod["spec"].setdefault("nodeName", "node-1")
    state["state"] = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    pod["status"] = {"phase": "Running", "containerStatuses": [state], "podIP": "10.1.2.3", "qosClass": "Guaranteed"}


def seen(pod):
    code = path_of("Pod", pod["metadata"]["name"]).with_suffix(".code")
    if pod["status"]["phase"] == "Running" and code.exists() and code.read_text():
        number = int(code.read_text())
        number = 128 - number if number < 0 else number
        pod["status"]["phase"] = "Failed" if number else "Succeeded"
        pod["status"]["containerStatuses"][0]["state"] = {
            "terminated": {"exitCode": number, "reason": "OOMKilled" if number == 137 else "Error" if number else "Completed"}}
    return pod


def read_input():
    thing = json.load(sys.stdin)
    return thing["items"] if thing["kind"] == "List" else [thing]


def main(arguments):
    with open(FOLDER / "calls", "a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if (FOLDER / "unreachable").exists():
        fail("Unable to connect to the server: dial tcp 127.0.0.1:6443: connect: connection refused")
    assert arguments[:2] == ["--context=kind-test", "--namespace=bots"], arguments
    match arguments[2:]:
        case ["apply", "--filename=-"]:
            for thing in read_input():
                assert thing["kind"] in ("Namespace", "NetworkPolicy", "PersistentVolumeClaim"), thing
                save(thing)
                print(f"{thing['kind'].lower()}/{thing['metadata']['name']} configured")
        case ["create", "--filename=-"]:
            (pod,) = read_input()
            name = pod["metadata"]["name"]
            assert pod["kind"] == "Pod" and path_of("Namespace", "bots").exists() and path_of("NetworkPolicy", "onsight-deny-all").exists()
            if load(name):
                fail(f'Error from server (AlreadyExists): error when creating "STDIN": pods "{name}" already exists')
            pod["status"] = {"phase": "Pending", "conditions": [condition("PodScheduled", "SchedulingGated")]}
            if not pod["spec"].get("schedulingGates"):
                begin(pod)
            save(pod)
            print(f"pod/{name} created")
        case ["patch", "pod", name, "--type=merge", patch]:
            assert patch == '--patch={"spec":{"schedulingGates":null}}'
            pod = load(name)
            if not pod:
                fail(f'Error from server (NotFound): pods "{name}" not found')
            if pod["spec"].pop("schedulingGates", None):
                begin(pod)
                save(pod)
            print(f"pod/{name} patched")
        case ["get", "pod", name, "--ignore-not-found", "--output=json"]:
            pod = load(name)
            if pod:
                print(json.dumps(seen(pod), indent=4))
        case ["get", "pods", selector, "--output=json"]:
            assert selector.startswith("--selector=")
            wanted = dict(one.split("=") for one in selector.removeprefix("--selector=").split(","))
            pods = [seen(json.loads(path.read_text())) for path in sorted(FOLDER.glob("pod-*.json"))]
            pods = [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]
            print(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods, "metadata": {"resourceVersion": ""}}, indent=4))
        case ["delete", "pod", name, "--ignore-not-found", "--grace-period=1", "--wait=true"]:
            path = path_of("Pod", name)
            if path.with_suffix(".pid").exists() and not path.with_suffix(".code").exists():
                os.kill(int(path.with_suffix(".pid").read_text()), signal.SIGKILL)
            if path.exists():
                print(f'pod "{name}" deleted')
            for suffix in (".json", ".pid", ".code"):
                path.with_suffix(suffix).unlink(missing_ok=True)
        case ["delete", "persistentvolumeclaim", name, "--ignore-not-found", "--wait=false"]:
            path_of("PersistentVolumeClaim", name).unlink(missing_ok=True)
        case ["exec", name, "--container=agent", *more]:
            pod = load(name)
            if not pod:
                fail(f'Error from server (NotFound): pods "{name}" not found')
            if seen(pod)["status"]["phase"] != "Running":
                fail(f'error: Internal error occurred: unable to upgrade connection: container not found ("agent")')
            has_input = more[0] == "--stdin"
            assert more[int(has_input)] == "--"
            command = more[int(has_input) + 1:]
            if command[-1] == "1" and command[0] == "/bin/kill":  # the first process of the pod
                command[-1] = path_of("Pod", name).with_suffix(".pid").read_text()
            done = subprocess.run(command, stdin=None if has_input else subprocess.DEVNULL)
            code = done.returncode if done.returncode >= 0 else 128 - done.returncode
            if code:
                fail(f"command terminated with exit code {code}", code)
        case other:
            fail(f"error: unknown command {other}")


main(sys.argv[1:])
