#!/usr/bin/env python3
"""Container engines for tests: a dockerd or a podman service of its own, below a temporary folder, without a registry or a network.

  with engines.start("docker") as engine:      # raises engines.Missing, with the reason, where it cannot run
      engine.socket, engine.image              # a unix socket; a small image of this machine's own programs
  tests/agents/engines.py podman -- build/agents_test --gtest_filter='Engine.*'
      runs the command with ONSIGHT_ENGINE, ONSIGHT_ENGINE_SOCKET and ONSIGHT_ENGINE_IMAGE; ends with 77 where the engine cannot
      run, with 1 if ONSIGHT_REQUIRE_ENGINE=1 says that it must

Everything that was started is ended, everything mounted is unmounted, and the folder is removed, whatever happens in between.
"""

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

SKIPPED = 77
IMAGE = "localhost/onsight-test:1"
# What a minimal Debian image and the agents' image have, of this machine.
PROGRAMS = (
    "sh bash cat chmod chown cp cut date dd df dirname echo env false find getent git grep head id kill ln ls mkdir mktemp mount mv nproc od "
    "printf ps readlink realpath rm rmdir sed seq setsid sleep sort stat stty sync tail tar tee test timeout touch tr true tty uname "
    "unshare wc which xargs"
).split()


class Missing(Exception):
    """This engine cannot run here; says why."""


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(path, method, target, body=None, headers=None):
    connection = Connection(path)
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class Engine:
    def __init__(self, name, folder, command, environment):
        self.name, self.folder, self.command, self.environment = name, folder, command, environment
        self.socket, self.image, self.process = folder / "engine.sock", IMAGE, None

    def launch(self):
        """Starts it, or starts it again."""
        self.log = open(self.folder / "engine.log", "ab")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.environment, start_new_session=True,
            cwd=self.folder,  # conmon leaves a file where podman was started, of a container that had no memory left
        )  # fmt: skip
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if call(self.socket, "GET", "/version")[0] == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > until:
                raise Missing(f"{self.name} does not start here: {self.last_words()}")
            time.sleep(0.02)

    def last_words(self):
        lines = (self.folder / "engine.log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it says nothing"

    def kill(self):
        """kill -9, as a crash."""
        self.process.kill()
        self.process.wait()

    def import_image(self, tar, image=IMAGE):
        reference = image if self.name == "podman" else image.replace(":", "&tag=")  # podman drops a tag of its own
        status, body = call(
            self.socket, "POST", f"/v1.40/images/create?fromSrc=-&repo={reference}", tar, {"Content-Type": "application/x-tar"}
        )
        if status != 200 or b'"error"' in body:
            raise Missing(f"{self.name} does not import an image: {status} {body[-300:]!r}")

    def containers(self):
        return json.loads(call(self.socket, "GET", "/v1.40/containers/json?all=1")[1])

    def stop(self):
        with contextlib.suppress(OSError, ValueError):
            for one in self.containers():
                call(self.socket, "POST", f"/v1.40/containers/{one['Id']}/kill?signal=KILL")
                call(self.socket, "DELETE", f"/v1.40/containers/{one['Id']}?force=1&v=1")
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        # conmon stays minutes after an exec, containerd and shims after a killed dockerd: what names this folder is ours.
        for _ in range(50):
            left = processes_naming(self.folder)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.05)
        unmount_below(self.folder)
        remove_cgroups(self.folder.name)
        if hasattr(self, "log"):
            self.log.close()


def processes_naming(folder):
    needle, found = str(folder).encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in (os.getpid(), os.getppid()):
            continue
        with contextlib.suppress(OSError):
            arguments = (entry / "cmdline").read_bytes()
            program = arguments.split(b"\0")[0].rsplit(b"/", 1)[-1]
            if needle in arguments and program.startswith((b"conmon", b"containerd", b"dockerd", b"podman", b"runc", b"docker-")):
                found.append(int(entry.name))
    return found


def unmount_below(folder):
    for _ in range(3):
        with open("/proc/self/mounts") as mounts:
            places = [line.split()[1] for line in mounts if line.split()[1].startswith(str(folder))]
        if not places:
            return
        for place in sorted(places, key=len, reverse=True):
            subprocess.run(["umount", "-l", place.replace("\\040", " ")], stderr=subprocess.DEVNULL, check=False)


def remove_cgroups(name):
    """Of dockerd, which is told to put its containers below a parent of this name."""
    for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def base_tar():
    """A root of this machine's own programs with the libraries that they need: a second, and no network."""
    files = {}

    def take(path):
        real = os.path.realpath(path)
        if path not in files and os.path.exists(real):
            files[path] = real

    for program in PROGRAMS:
        path = shutil.which(program, path="/usr/bin:/bin:/usr/sbin:/sbin")
        if path:
            take("/usr/bin/" + program)
            files["/usr/bin/" + program] = os.path.realpath(path)
    for real in list(files.values()):
        told = subprocess.run(["ldd", real], capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
            for word in line.split():
                if word.startswith("/"):
                    take(word.replace("/lib64/", "/lib64/") if word.startswith("/lib64/") else "/usr" + word if word.startswith("/lib/") else word)
    core = "/usr/lib/git-core"
    for name in ("git", "git-remote-http", "git-upload-pack", "git-receive-pack"):
        take(f"{core}/{name}")
    for library in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):
        for folder in Path("/usr/lib").glob("*-linux-gnu"):
            take(str(folder / library))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def folder(name, mode=0o755):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)

        def link(name, target):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)

        for name in ("usr", "usr/bin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "run", "run/onsight", "mnt", "home", "var", "agent"):
            folder(name)
        folder("tmp", 0o1777)
        for name in ("bin", "lib", "lib64"):
            link(name, f"usr/{name}")
        link("sbin", "usr/bin")
        for name, real in sorted(files.items()):
            name = name.lstrip("/")
            if name.startswith("lib64/"):
                name = "usr/" + name
            info = tarfile.TarInfo(name)
            info.size, info.mode = os.path.getsize(real), 0o755
            with open(real, "rb") as file:
                tar.addfile(info, file)
        for name, text in {
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
            "etc/group": "root:x:0:\nnogroup:x:65534:\n",
            "etc/nsswitch.conf": "hosts: files dns\n",
        }.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def program(*places):
    for place in places:
        found = shutil.which(place)
        if found:
            return found
    return None


def command_of(name, folder):
    if os.geteuid() != 0:
        raise Missing(f"{name} of its own needs root")
    socket_path = folder / "engine.sock"
    if name == "docker":
        # Not `docker` in PATH: only the daemon's socket is spoken to.
        dockerd = program("/usr/sbin/dockerd", "/usr/bin/dockerd", "dockerd")
        if not dockerd:
            raise Missing("dockerd is not installed")
        return [
            dockerd, "--live-restore", "--iptables=false", "--ip6tables=false", "--bridge=none", "--data-root", str(folder / "data"),
            "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid"), "--cgroup-parent", f"/{folder.name}",
            "-H", f"unix://{socket_path}",
        ]  # fmt: skip
    podman, runc = program("podman"), program("/usr/sbin/runc", "/usr/bin/runc", "runc")
    if not podman or not runc:
        raise Missing(f"{'podman' if not podman else 'runc'} is not installed")
    return [
        podman, "--root", str(folder / "root"), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp"),
        "--cgroup-manager", "cgroupfs", "--runtime", runc, "system", "service", "--time=0", f"unix://{socket_path}",
    ]  # fmt: skip


@contextlib.contextmanager
def start(name, image=True):
    """The engine, running, with a small image unless that is not wanted."""
    folder = Path(tempfile.mkdtemp(prefix="onsight-engine-", dir="/tmp"))
    engine = None
    try:
        command = command_of(name, folder)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "CONTAINER_"))}
        environment["HOME"] = str(folder)
        engine = Engine(name, folder, command, environment)
        engine.launch()
        if image:
            engine.import_image(base_tar())
        yield engine
    finally:
        if engine:
            engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("docker", "podman") or sys.argv[2] != "--":
        sys.exit(__doc__)
    name, command = sys.argv[1], sys.argv[3:]
    try:
        with start(name) as engine:
            variables = {"ONSIGHT_ENGINE": name, "ONSIGHT_ENGINE_SOCKET": str(engine.socket), "ONSIGHT_ENGINE_IMAGE": engine.image}
            sys.exit(subprocess.run(command, env={**os.environ, **variables}, check=False).returncode)
    except Missing as why:
        print(f"skipped: {why}", file=sys.stderr)
        sys.exit(1 if os.environ.get("ONSIGHT_REQUIRE_ENGINE") == "1" else SKIPPED)


if __name__ == "__main__":
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, lambda *_: sys.exit(1))
    main()
