"""onsight agents from init to rm, with a real engine: an agent whose harness is a shell, in a repository of a few lines.

Skipped by name where none can run; ONSIGHT_REQUIRE_ENGINE=1 makes that a failure.
"""
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import tempfile
import termios
import time
from pathlib import Path

import engines
import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("ONSIGHT_BINARY", ROOT / "build" / "onsight"))
GUEST = Path(os.environ.get("ONSIGHT_AGENT_BINARY", BINARY.parent / "onsight-agent"))


def with_guest(tar):
    """The test image's root with the program that agents' containers run."""
    out = io.BytesIO(tar)
    with tarfile.open(fileobj=out, mode="a") as root:
        for folder in ("usr/local", "usr/local/bin"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            root.addfile(info)
        info = tarfile.TarInfo("usr/local/bin/onsight-agent")
        info.size, info.mode = GUEST.stat().st_size, 0o755
        with open(GUEST, "rb") as file:
            root.addfile(info, file)
    return out.getvalue()


def image_tag(engine):
    """That the program wants of the generic harness."""
    told = subprocess.run([BINARY, "agents", "image", "list", "--engine", "auto"], capture_output=True, text=True, cwd="/",
                          env={**os.environ, "DOCKER_HOST": f"unix://{engine.socket}"}, check=True).stdout  # fmt: skip
    return re.search(r"onsight-agents/generic:\S+", told)[0]


@contextlib.contextmanager
def running(name):
    """An engine with the image that generic agents run in."""
    with engines.start(name, image=False) as engine:
        engine.image = image_tag(engine)
        engine.import_image(with_guest(engines.base_tar()), engine.image)
        yield engine


def missing(why):
    if os.environ.get("ONSIGHT_REQUIRE_ENGINE") == "1":
        pytest.fail(str(why))
    pytest.skip(str(why))


def first_of(names):
    """The first of these engines that runs here; skips where none does."""
    whys = []
    for name in names:
        with contextlib.ExitStack() as stack:
            try:
                one = stack.enter_context(running(name))
            except engines.Missing as why:
                whys.append(f"{name}: {why}")
                continue
            yield one
            return
    missing("; ".join(whys))


BOTH = ["docker", "podman"]


# What differs between engines is the escapes' to find out, and Engine.*'s of agents_test; ONSIGHT_ENGINES=all tries this too with each.
@pytest.fixture(scope="module", params=[[name] for name in BOTH] if os.environ.get("ONSIGHT_ENGINES") == "all" else [BOTH], ids=" or ".join)
def engine(request):
    yield from first_of(request.param)


class Shop:
    """A repository with agents, and everything of theirs below one folder."""

    def __init__(self, folder, engine):
        self.folder, self.engine = folder, engine
        self.repo = folder / "shop"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "GIT_", "XDG_"))}
        self.env |= {"HOME": str(folder), "ONSIGHT_AGENTS_STATE": str(folder / "s"), "ONSIGHT_AGENTS_RUN": str(folder / "r"),
                     "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip
        (folder / "r").mkdir(mode=0o700)
        self.git("init", "-q", "-b", "main", str(self.repo), at=folder)
        self.git("config", "user.name", "T")
        self.git("config", "user.email", "t@example.org")
        (self.repo / "a.txt").write_text("one\n")
        self.commit("first")

    def git(self, *arguments, at=None):
        return subprocess.run(["git", *arguments], cwd=at or self.repo, env=self.env,
                              check=True, capture_output=True, text=True).stdout  # fmt: skip

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def agents(self, *arguments, code=0, stdin=None):
        done = subprocess.run([BINARY, "agents", *arguments], cwd=self.repo, env=self.env, capture_output=True, text=True, input=stdin or "",
                              timeout=120)  # fmt: skip
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr, self.logs())
        return done.stdout if code == 0 else done.stderr

    def logs(self):
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')}" for path in self.folder.glob("s/*/logs/*.log"))

    def row(self, name):
        rows = [json.loads(line) for line in self.agents("list", "--json").splitlines()]
        return next((row for row in rows if row["name"] == name), None)

    def configure(self, text):
        (self.repo / ".onsight").mkdir(exist_ok=True)
        (self.repo / ".onsight" / "agents.toml").write_text(f'[runtime]\nsocket = "{self.engine.socket}"\n' + text)

    def until(self, what, seconds=30):
        end = time.monotonic() + seconds
        while not (value := what()):
            assert time.monotonic() < end, self.logs()
            time.sleep(0.05)
        return value

    def screen(self, name):
        return self.agents("look", name)

    def end(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def processes(self, word=""):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"agents\0" + word.encode() in command and str(self.repo).encode() in command:
                    found.append(int(entry.name))
        return found


@pytest.fixture
def shop(engine):
    folder = Path(tempfile.mkdtemp(prefix="onsight-shop-", dir="/tmp"))
    shop = Shop(folder, engine)
    shop.configure('[roles.shell]\nharness = "generic"\ncommand = ["sh"]\nmay_message = ["human", "shell"]\nlimits = { memory = "256MiB", pids = 64, tmp = "32MiB" }\n')
    shop.commit("agents")
    try:
        yield shop
    finally:
        shop.end()
        for one in engine.containers():
            engines.call(engine.socket, "DELETE", f"/v1.40/containers/{one['Id']}?force=1")
        shutil.rmtree(folder, ignore_errors=True)


def test_an_agent_works_and_its_work_is_merged(shop):
    assert shop.agents("start", "box", "--wait") == "box: shell on agents/box\n"
    row = shop.row("box")
    assert row["phase"] == "running" and row["role"] == "shell"
    script = "cd /agent/repo && echo two > b.txt && git add b.txt && git commit -q -m two && echo dirty > c.txt && git log --oneline | cat"
    shop.agents("exec", "box", "--", "sh", "-c", script)
    assert "+two" in (diff := shop.agents("diff", "box")) and "+dirty" in diff
    assert "b.txt" in shop.agents("diff", "box", "--stat")
    # What it has not committed stays its own.
    assert shop.agents("merge", "box").startswith("box: merged as ")
    assert (shop.repo / "b.txt").read_text() == "two\n" and not (shop.repo / "c.txt").exists()
    assert shop.agents("merge", "box") == "box: nothing new\n"
    assert "is not merged" in shop.agents("rm", "box", code=3)
    kept = shop.agents("rm", "box", "--force")
    ref = re.search(r"refs/onsight/backup/\S+", kept)[0]
    assert shop.git("show", f"{ref}:c.txt") == "dirty\n"
    assert shop.row("box") is None
    assert shop.engine.containers() == []
    assert shop.git("status", "--porcelain") == ""


def test_what_is_shown_typed_and_logged(shop):
    shop.agents("start", "box", "--wait")
    terminal, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    attached = subprocess.Popen([BINARY, "agents", "attach", "box"], cwd=shop.repo, env=shop.env, stdin=ours, stdout=ours, stderr=ours)
    os.close(ours)
    shown = b""

    def see(text, seconds=20):
        nonlocal shown
        end = time.monotonic() + seconds
        while text not in shown:
            assert time.monotonic() < end, shown
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536)

    os.write(terminal, b"echo he''llo; stty size\r")
    see(b"hello")
    see(b"30 100")
    os.write(terminal, b"\x1d")
    see(b"detached")
    assert attached.wait(10) == 0
    os.close(terminal)
    assert "hello" in shop.screen("box")
    assert "hello" in shop.agents("logs", "box") and "\x1b" not in shop.agents("logs", "box")
    shop.agents("stop", "box")
    assert shop.row("box")["phase"] == "stopped"
    assert "hello" in shop.screen("box") and "hello" in shop.agents("logs", "box")


def test_nothing_that_is_printed_first_is_missed(shop):
    """An engine replays whole lines only: what asks a question ends none."""
    shop.configure('[roles.asks]\nharness = "generic"\ncommand = ["sh", "-c", "printf \'Your name? \'; read name; echo \\"Hello $name\\"; sleep 60"]\n')
    shop.commit("one that asks")
    for name in ("box", "box2"):
        shop.agents("start", name, "--role", "asks", "--wait")
        assert shop.until(lambda: "Your name?" in shop.screen(name))  # noqa: B023
        assert "Your name?" in shop.agents("logs", name)


def test_stop_and_resume_keep_the_work(shop):
    shop.agents("start", "box", "--wait")
    shop.agents("exec", "box", "--", "sh", "-c", "echo kept > /agent/repo/kept.txt; echo home > ~/note")
    shop.agents("stop", "box")
    assert shop.row("box")["exit_code"] != 128 + signal.SIGKILL  # it went when it was told to
    assert "+kept" in shop.agents("diff", "box")
    shop.until(lambda: shop.engine.containers() == [])
    shop.agents("resume", "box")
    shop.until(lambda: shop.row("box")["phase"] == "running")
    assert shop.agents("exec", "box", "--", "cat", "/agent/repo/kept.txt", "/agent/home/note") == "kept\nhome\n"


def test_sync_gives_new_commits(shop):
    shop.agents("start", "box", "--wait")
    (shop.repo / "new.txt").write_text("new\n")
    shop.commit("new")
    assert "has" in shop.agents("sync", "box")
    assert shop.agents("exec", "box", "--", "git", "show", "origin/main:new.txt") == "new\n"


def test_messages_both_ways(shop):
    shop.agents("start", "box", "--wait")
    assert shop.agents("message", "box", "Look at `a.txt` \"now\"; $(id)") == "1\n"
    read = shop.agents("exec", "box", "--", "onsight-agent", "inbox", "--json")
    assert "Look at `a.txt` \\\"now\\\"; $(id)" in read
    shop.agents("exec", "box", "--", "onsight-agent", "send", "human", "It is\x1b[31m fine", "--reply-to", "1")
    inbox = shop.agents("inbox")
    assert "box -> human" in inbox and "fine" in inbox and "\x1b" not in inbox
    assert shop.agents("inbox") == ""
    assert "answered" in shop.agents("inbox", "box")


def test_contained(shop):
    shop.agents("start", "one", "--wait")
    shop.agents("start", "two", "--role", "shell", "--wait")

    def inside(script, name="one", code=0):
        return shop.agents("exec", name, "--", "sh", "-c", script, code=code)

    assert inside("cat /proc/net/dev | grep -v lo: | grep -c : || true").strip() == "0"
    status = inside("cat /proc/self/status")
    assert re.search(r"CapEff:\s0+$", status, re.M) and "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert inside("touch /usr/x 2>/dev/null || echo refused") == "refused\n"
    assert inside("unshare -Urm true 2>/dev/null || echo refused") == "refused\n"
    assert inside("id -u").strip() not in ("0", inside("id -u", "two").strip())
    assert inside("ls /agent/repo; ls -a /run/onsight").split() == ["a.txt", ".", "..", "broker.sock"]
    assert inside("touch /run/onsight/x 2>/dev/null || echo refused") == "refused\n"
    # Its sibling's sender cannot be had: the socket is who it is.
    inside("onsight-agent send two hello")
    assert "one -> two" in shop.agents("inbox", "two")


def test_the_supervisor_is_killed_and_comes_again(shop):
    shop.agents("start", "box", "--wait")
    container = shop.engine.containers()[0]["Id"]
    for _ in range(3):
        for word in ("supervise", "broker"):
            for pid in shop.processes(word):
                os.kill(pid, signal.SIGKILL)
        shop.agents("message", "box", "still there?")
        shop.agents("look", "box")
        shop.agents("exec", "box", "--", "onsight-agent", "me")
    assert [one["Id"] for one in shop.engine.containers()] == [container]
    read = shop.agents("exec", "box", "--", "onsight-agent", "inbox", "--json")
    assert read.count("still there?") == 3


def test_what_ends_by_itself_stays_ended(shop):
    shop.configure('[roles.shell]\nharness = "generic"\ncommand = ["sh", "-c", "echo done > out.txt; exit 7"]\n')
    shop.agents("start", "job", "--task", "x")
    row = shop.until(lambda: (r := shop.row("job"))["phase"] == "stopped" and r)
    assert row["exit_code"] == 7
    assert "+done" in shop.agents("diff", "job")
    shop.until(lambda: shop.engine.containers() == [])
    time.sleep(1)
    assert shop.engine.containers() == [] and shop.row("job")["phase"] == "stopped"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["start", "Box"], ["'Box'", "lower case"]),
        (["start", "a/b"], ["'a/b'"]),
        (["start", "box", "--role", "shel"], ["unknown role 'shel'", "'shell'"]),
        (["start", "box", "--harness", "clade"], ["clade"]),
        (["start", "box", "--harness", "claude"], ["no image for claude", "image build --harness claude"]),
        (["start", "box", "--from", "nowhere"], ["--from nowhere", "a branch"]),
        (["start", "human"], ["taken"]),
        (["look", "bix"], ["no such agent"]),
        (["merge", "bix"], ["no such agent"]),
        (["exec", "box"], ["expected NAME -- COMMAND"]),
        (["message", "nobody", "x"], ["nobody"]),
    ],
)
def test_refusals(shop, arguments, words):
    done = subprocess.run([BINARY, "agents", *arguments], cwd=shop.repo, env=shop.env, capture_output=True, text=True)
    assert done.returncode in (2, 3) and done.stdout == ""
    assert done.stderr.startswith("onsight: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_two_of_one_name(shop):
    shop.agents("start", "box", "--wait")
    assert "there is an agent of this name" in shop.agents("start", "box", code=2)


def test_manifest_of_an_agent(shop):
    shop.agents("start", "box", "--task", "Read $(HOME)", "--wait")
    pod = json.loads(shop.agents("manifest", "box"))["items"][-1]
    assert pod["metadata"]["labels"]["onsight.agent"] == "box" and pod["metadata"]["labels"]["onsight.generation"] == "2"
    assert {"name": "ONSIGHT_TASK", "value": "Read $$(HOME)"} in pod["spec"]["containers"][0]["env"]


def test_without_a_config(shop):
    shutil.rmtree(shop.repo / ".onsight")
    assert "onsight agents init writes one" in shop.agents("list", code=3)
    assert shop.agents("init").endswith(".onsight/agents.toml\n")
    assert "stays as it is" in shop.agents("init", code=3)
    assert "no agents yet" in shop.agents("list")


def test_doctor(shop):
    out = shop.agents("doctor")
    assert "MISSING" not in out and out.count("enforced") >= 10
