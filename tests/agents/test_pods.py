"""Agents whose engine is a cluster, from doctor to rm: kubectl is one of the tests' (fake_kubectl.py), and its pods are containers of a Docker that is
started here, so that all that is given to them really runs. Skipped by name where none can run. No live cluster is asked.
"""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import engines
import pytest
from test_life import BINARY, ROOT, Shop, first_of

ROLE = 'harness = "generic"\nmay_message = ["human", "shell"]\nlimits = { memory = "256MiB", tmp = "32MiB" }\n'


class House(Shop):
    """A repository whose agents are pods."""

    def __init__(self, folder, engine):
        super().__init__(folder, engine)
        self.cluster, programs = folder / "cluster", folder / "bin"
        self.cluster.mkdir()
        programs.mkdir()
        self.kubectl = programs / "kubectl"
        self.kubectl.symlink_to(ROOT / "tests" / "agents" / "fake_kubectl.py")
        (programs / "python3").symlink_to(os.path.realpath(sys.executable))  # and none that a chain of scripts leads to
        self.env |= {"PATH": f"{programs}:{self.env['PATH']}", "FAKE_KUBECTL": str(self.cluster), "FAKE_KUBECTL_ENGINE": str(engine.socket)}
        self.configure()
        self.commit("agents")

    def configure(self, roles=f'[roles.shell]\n{ROLE}command = ["sh"]\n'):
        (self.repo / ".onsight").mkdir(exist_ok=True)
        (self.repo / ".onsight" / "agents.toml").write_text(f'[runtime]\nengine = "kubernetes"\n[runtime.kubernetes]\nnamespace = "bots"\n{roles}')

    def things(self, kind):
        return sorted(path.stem.removeprefix(f"{kind}-") for path in self.cluster.glob(f"{kind}-*.json"))

    def kubectls(self, verb):
        """Those that run now."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            except OSError:
                continue
            if str(self.kubectl).encode() in words and verb.encode() in words:
                found.append(int(entry.name))
        return found

    def inside(self, name, script, code=0):
        return self.agents("exec", name, "--", "sh", "-c", script, code=code)


@pytest.fixture(scope="module")
def engine():
    yield from first_of(["docker"])


@pytest.fixture(scope="module")
def house(engine):
    folder = Path(tempfile.mkdtemp(prefix="onsight-pods-", dir="/tmp"))
    house = House(folder, engine)
    try:
        yield house
    finally:
        house.end()
        for one in engine.containers():
            engines.call(engine.socket, "DELETE", f"/v1.40/containers/{one['Id']}?force=1")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def started(house):
    """started(NAME): an agent that runs; it is removed, and then nothing of it may be left."""
    names = []

    def start(name, *more):
        names.append(name)
        assert house.agents("start", name, "--role", "shell", "--wait", *more) == f"{name}: shell on agents/{name}\n"
        return name

    start.names = names
    yield start
    for name in names:
        if house.row(name):
            house.agents("rm", name, "--force")
    house.until(lambda: not any(house.row(name) for name in names))
    assert house.things("pod") == [] and house.things("persistentvolumeclaim") == [] and house.engine.containers() == []
    assert list((house.cluster / "claims").iterdir()) == []


def test_doctor(house):
    out = house.agents("doctor")
    assert out.startswith("kubernetes v1.31.0 at kind-test/bots\n")
    assert "MISSING" not in out and out.count("enforced") >= 12
    assert "10.96.0.1:443 was not reached" in out and re.search(r"pids limit +9\d\d of 4500 processes", out)
    assert house.things("pod") == []
    # Before the first pod there was what holds it.
    verbs = [json.loads(line)[2] for line in (house.cluster / "calls").read_text().splitlines()]
    assert verbs.index("apply") < verbs.index("create")


def test_an_agent_works_and_its_work_is_merged(house, started):
    box = started("box")
    house.until(lambda: house.inside(box, "ls -A /run/onsight") == "broker.sock\n")
    assert house.inside(box, "id -u; git status --porcelain; stat -c %A /agent/home").split() == ["10000", "drwx--S---"]
    house.inside(box, "echo two > b.txt && git add b.txt && git commit -q -m two && echo dirty > c.txt")
    assert "+two" in (diff := house.agents("diff", box)) and "+dirty" in diff
    assert house.agents("merge", box).startswith("box: merged as ")
    assert (house.repo / "b.txt").read_text() == "two\n" and not (house.repo / "c.txt").exists()
    assert "is not merged" in house.agents("rm", box, code=3)
    # Stopped by that, and begun again it has what it did not commit.
    assert house.row(box)["phase"] == "stopped"
    house.until(lambda: house.things("pod") == [])
    house.agents("resume", box)
    house.until(lambda: house.row(box)["phase"] == "running")
    assert house.inside(box, "cat c.txt") == "dirty\n"
    house.agents("stop", box)
    assert house.row(box)["exit_code"] != 128 + signal.SIGKILL
    ref = re.search(r"refs/onsight/backup/\S+", house.agents("rm", box, "--force"))[0]
    assert house.git("show", f"{ref}:c.txt") == "dirty\n"


class Terminal:
    def __init__(self, house, *arguments, rows=30, columns=100):
        self.master, ours = pty.openpty()
        self.shown = b""
        self.resize(rows, columns)
        self.process = subprocess.Popen([BINARY, "agents", *arguments], cwd=house.repo, env=house.env, stdin=ours, stdout=ours, stderr=ours)
        os.close(ours)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text)

    def see(self, text, seconds=30):
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 65536)

    def end(self, code):
        assert self.process.wait(20) == code
        os.close(self.master)


def test_what_is_shown_typed_and_logged(house, started):
    box = started("box")
    terminal = Terminal(house, "attach", box)
    # kubectl carries sizes beside what is typed.
    wait = b"while [ \"$(stty size)\" != '%d %d' ]; do sleep 0.1; done; echo re''sized-%d; "
    terminal.type(wait % (30, 100, 1) + b"echo he''llo\r")
    terminal.see(b"resized-1")
    terminal.see(b"hello")
    terminal.type(b"\x1d")
    terminal.see(b"detached")
    terminal.end(0)
    assert "hello" in house.screen(box)
    terminal = Terminal(house, "exec", box, "-t", "--", "sh", rows=24, columns=99)
    terminal.see(b"$ ")
    terminal.type(wait % (24, 99, 2) + b"\r")
    terminal.see(b"resized-2")
    terminal.resize(25, 98)
    terminal.type(wait % (25, 98, 3) + b"exit 3\r")
    terminal.see(b"resized-3")
    terminal.end(3)
    house.inside(box, "exit 5", code=5)
    house.agents("stop", box)
    assert "hello" in house.screen(box) and "hello" in house.agents("logs", box)


def test_messages_and_commits_both_ways(house, started):
    box = started("box")
    number = house.agents("message", box, "Look at `a.txt` \"now\"; $(id)").strip()
    assert "Look at `a.txt` \\\"now\\\"; $(id)" in house.inside(box, "onsight-agent inbox --json")
    house.inside(box, f"onsight-agent send human 'It is fine' --reply-to {number}")
    assert "box -> human" in (inbox := house.agents("inbox")) and "It is fine" in inbox
    (house.repo / "new.txt").write_text("".join(f"{i * i}\n" for i in range(300_000)))  # more than its folder of sockets could hold
    house.commit("new")
    assert "has" in house.agents("sync", box)
    assert house.inside(box, "git show origin/main:new.txt | wc -l; ls /agent").split() == ["300000", "home", "repo"]
    # Its broker sees who it is by its socket; another's cannot be had.
    two = started("two")
    house.inside(two, "onsight-agent send box hello")
    assert "two -> box" in house.agents("inbox", box)


def test_whoever_is_killed_is_begun_again_and_the_pod_goes_on(house, started):
    box = started("box")
    (pod,) = house.things("pod")
    terminal = Terminal(house, "attach", box)
    terminal.type(b"i=0; while sleep 0.05; do i=$((i+1)); echo line-$i; done\r")
    terminal.see(b"line-5\r\n")
    terminal.type(b"\x1d")
    terminal.end(0)

    def count():
        """What of the numbered lines is in the log: each once, in order."""
        numbers = [int(n) for n in re.findall(r"line-(\d+)$", house.agents("logs", box), re.M)]
        assert numbers == list(range(1, len(numbers) + 1)), numbers
        return len(numbers)

    for kill in (lambda: house.kubectls("attach"), lambda: house.kubectls("bridge"), lambda: house.processes("supervise"),
                 lambda: house.processes("broker")):  # fmt: skip
        before = count()
        house.until(lambda: [os.kill(pid, signal.SIGKILL) for pid in kill()])
        house.agents("message", box, "still there?")
        house.row(box)  # whoever lists them sets the two processes going
        house.inside(box, "onsight-agent me")  # it has its broker
        house.until(lambda: count() > before + 5)
    assert house.things("pod") == [pod]
    assert house.inside(box, "onsight-agent inbox --json").count("still there?") == 4
    house.until(lambda: len(house.kubectls("attach")) == len(house.kubectls("bridge")) == 1)  # those of who was killed ended


def test_who_is_killed_while_a_claim_is_filled(house, started):
    (house.cluster / "hold").touch()
    try:
        house.agents("start", "half", "--role", "shell")
        house.until(lambda: house.kubectls("/bin/tar"))
        for pid in house.processes("supervise"):
            os.kill(pid, signal.SIGKILL)
    finally:
        (house.cluster / "hold").unlink()
    row = house.until(lambda: (r := house.row("half"))["phase"] in ("running", "error") and r)
    assert row["phase"] == "running", row
    assert house.inside("half", "git status --porcelain; git log --format=%s | tail -n 1") == "first\n"
    assert len(house.things("pod")) == 1 and not house.kubectls("/bin/tar")
    started.names.append("half")


def test_what_ends_by_itself_and_what_cannot_begin(house):
    house.configure(f'[roles.shell]\n{ROLE}command = ["sh", "-c", "echo last words; printf unfinished; echo done > out.txt; exit 7"]\n')
    try:
        house.agents("start", "job", "--task", "x")
        row = house.until(lambda: (r := house.row("job"))["phase"] == "stopped" and r)
        assert row["exit_code"] == 7
        assert "last words\nunfinished" in house.agents("logs", "job")
        assert "+done" in house.agents("diff", "job")
        house.until(lambda: house.things("pod") == [])
        (house.cluster / "quota").touch()
        house.agents("start", "full", "--role", "shell", "--wait")
        row = house.row("full")
        assert row["phase"] == "error" and "exceeded quota" in row["detail"] and "\n" not in row["detail"]
    finally:
        (house.cluster / "quota").unlink(missing_ok=True)
        house.configure()
    for name in ("job", "full"):
        house.agents("rm", name, "--force")
        house.until(lambda name=name: not house.row(name))
    assert house.things("persistentvolumeclaim") == [] and house.engine.containers() == []


def test_a_plan_with_checks(house):
    (house.repo / "agent.sh").write_text('echo done > made.txt; git add -A; git commit -q -m made; onsight-agent done "made it"; sleep 100\n')
    house.configure(f'[roles.shell]\n{ROLE}command = ["sh", "agent.sh"]\n')
    house.commit("plan")
    plan = house.folder / "plan.toml"
    plan.write_text('checks = [["sh", "-c", "test -e made.txt"], ["sh", "-c", "echo x > left.txt; test ! -e /agent/home/x"], ["test", "-e", "left.txt"]]\n'
                    '[[tasks]]\nname = "one"\nprompt = "Make it"\nrole = "shell"\n')  # fmt: skip
    done = subprocess.run([BINARY, "agents", "run", "--json", str(plan), "Make"], cwd=house.repo, env=house.env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, (done.stdout, done.stderr, house.logs())
    assert json.loads(done.stdout)["result"] == "done" and (house.repo / "made.txt").read_text() == "done\n"
    house.configure()
    assert house.things("persistentvolumeclaim") == [] and house.engine.containers() == []


def test_what_keeps_a_cluster_from_answering(house):
    def said(**env):
        done = subprocess.run([BINARY, "agents", "doctor"], cwd=house.repo, env={**house.env, **env}, capture_output=True, text=True)
        assert done.returncode in (1, 2, 3) and done.stdout == "" and done.stderr.count("\n") == 1, done
        return done.stderr

    without = house.folder / "without"
    without.mkdir()
    (without / "git").symlink_to(shutil.which("git"))
    assert "expected kubectl in PATH" in said(PATH=str(without))
    try:
        (house.cluster / "unreachable").touch()
        assert "kubectl: Unable to connect to the server" in said()
    finally:
        (house.cluster / "unreachable").unlink()
    (without / "kubectl").write_text("#!/bin/sh\necho 'error: current-context is not set' >&2; exit 1\n")
    (without / "kubectl").chmod(0o755)
    assert "kubectl has no current context: expected one" in said(PATH=f"{without}:{house.env['PATH']}")
    for arguments in (["image", "list"], ["image", "build", "--harness", "generic"]):
        assert "made with docker or podman" in house.agents(*arguments, code=2)
