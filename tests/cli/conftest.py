"""Tests of the command line: each runs the built program and looks at what it prints, writes and exits with.

ONSIGHT_BINARY names the program (build/onsight), ONSIGHT_SCRIPTED the one with a scripted engine (build/onsight_scripted).
"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from pictures import png

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "models" / "onsight-nano"
LIBC = ctypes.CDLL(None)

# What a shell starts in the background ignores Ctrl-C, what nohup starts a closed terminal, and so would the programs that are tested.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


def binary(variable, name):
    path = Path(os.environ.get(variable, ROOT / "build" / name)).resolve()
    if not os.access(path, os.X_OK):
        pytest.exit(f"{path} is not there: build it first, or set {variable}", returncode=1)
    return path


class Program:
    """program("ask", "Hi", input=b"...") -> CompletedProcess with text streams."""

    def __init__(self, path):
        self.path = path

    def environment(self, script=None, **variables):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ONSIGHT_")}
        environment.update(LC_ALL="C.UTF-8", TERM="dumb")
        if script is not None:
            environment["ONSIGHT_SCRIPT"] = json.dumps(script)
        environment.update({k: str(v) for k, v in variables.items()})
        return environment

    def command(self, *arguments):
        return [str(self.path), *map(str, arguments)]

    def __call__(self, *arguments, input=b"", script=None, env=None, timeout=120, **more):
        done = subprocess.run(self.command(*arguments), input=input, capture_output=True, timeout=timeout,
                              env=self.environment(script, **(env or {})), **more)
        # Text that is not UTF-8 is itself a failure of the program.
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        return done

    def start(self, *arguments, script=None, env=None, **more):
        return subprocess.Popen(self.command(*arguments), env=self.environment(script, **(env or {})),
                                stdin=more.pop("stdin", subprocess.DEVNULL), stdout=more.pop("stdout", subprocess.PIPE),
                                stderr=more.pop("stderr", subprocess.PIPE), **more)


def without_privileges():
    """For preexec_fn: files that may not be read or written are closed to root too."""
    read_bypass, write_bypass, drop = 2, 1, 24  # CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, PR_CAPBSET_DROP
    if os.geteuid() == 0 and any(LIBC.prctl(drop, each, 0, 0, 0) for each in (read_bypass, write_bypass)):
        raise PermissionError("root's capabilities cannot be dropped")


def until(condition, process, seconds=20):
    """Whether `condition` came true while the process ran."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, "waited in vain"
    return True


def catches(process, number):
    """Whether the process has a handler for this signal by now."""
    try:
        mask = re.search(r"^SigCgt:\t(\w+)", Path(f"/proc/{process.pid}/status").read_text(), re.M)
    except OSError:
        return False
    return bool(mask) and int(mask[1], 16) >> (number - 1) & 1 == 1


def interrupted(start, folder, part):
    """Interrupts what `start()` runs, once before `folder` holds anything and then, as often as it takes, when `part` of it is there.
    Yields whether it came to its end all the same; what it then left is the caller's to look at and remove."""
    for half_way in (False, True):
        for _ in range(50):
            process = start()
            there = until(lambda: catches(process, signal.SIGINT), process)
            if there and half_way:
                there = until(lambda: any(folder.glob(part)), process)
            if there:
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
            assert (out, err) == (b"", b"") and process.returncode in (0, 130), (process.returncode, out, err)
            if process.returncode == 130:
                assert there and not any(folder.iterdir()), list(folder.iterdir())
                break
            yield
            assert not any(folder.iterdir())
        else:
            raise AssertionError("was never interrupted")


@pytest.fixture(scope="session")
def onsight():
    return Program(binary("ONSIGHT_BINARY", "onsight"))


@pytest.fixture(scope="session")
def scripted():
    return Program(binary("ONSIGHT_SCRIPTED", "onsight_scripted"))


@pytest.fixture
def model(tmp_path):
    """Any folder: the scripted engine reads nothing of it."""
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png(6, 4))
    return path


@pytest.fixture
def nano(tmp_path):
    """A copy of the model that ships, for a test to break; the weights are shared until it writes its own."""
    folder = tmp_path / "nano"
    folder.mkdir()
    for file in NANO.iterdir():
        if file.suffix == ".safetensors":
            (folder / file.name).symlink_to(file.resolve())
        else:
            shutil.copy(file, folder / file.name)
    return folder


def refused(done, code, *words):
    """Asserts the documented way to fail: the exit code, one sentence that holds `words`, and nothing on standard output."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, (done.returncode, done.stderr)
    assert len(lines) == 1 and lines[0].startswith("onsight: "), done.stderr
    assert len(lines[0]) < 600 and not lines[0].endswith("."), lines[0]
    assert done.stdout == ""
    for word in words:
        assert word in lines[0], (word, lines[0])
    return lines[0]


@pytest.fixture(name="refused")
def refused_fixture():
    return refused


@pytest.fixture
def server(onsight):
    """server("--no-draft", …)("/v1/estimate", body) -> the answer's JSON, of the model that ships; without a body GET, as text."""
    started = []

    def start(*arguments):
        process = onsight.start("serve", "--model", NANO, "--port", 0, "--name", "nano", *arguments, stdout=subprocess.DEVNULL)
        started.append(process)
        line = process.stderr.readline().decode()
        address = re.search(r"at (http://\S+)\n", line)
        assert address, line + process.stderr.read().decode()

        def ask(path, body=None):
            request = urllib.request.Request(address.group(1) + path, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply) if body else reply.read().decode()

        return ask

    yield start
    for process in started:
        process.kill()
        process.communicate()
