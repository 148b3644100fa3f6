"""init: the first process of a container, here as a process of this machine and, where that can be made, first in a namespace of its own."""
import ctypes
import fcntl
import os
import platform
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest

from conftest import until

RT_SIGACTION = {"x86_64": 13, "aarch64": 134}.get(platform.machine())  # no signal of glibc's own passes its sigaction


@pytest.fixture
def init(agent):
    """init("sh", "-c", "…") -> a process; the forwarder's port is one that is free."""
    def start(*command, options=(), **more):
        return agent.start("init", "--port", "0", *options, "--", *command, **more)
    return start


def end(process, seconds=20):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("line, code", [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("exit 255", 255)])
def test_ends_as_the_command_does(init, line, code):
    assert end(init("sh", "-c", line)) == (code, "", "")


def test_what_cannot_be_run(init, tmp_path):
    assert end(init("no-such-program")) == (127, "", "onsight-agent: no-such-program: No such file or directory\n")
    assert end(init(tmp_path)) == (126, "", f"onsight-agent: {tmp_path}: Permission denied\n")


def test_arguments_are_not_a_line_of_a_shell(init):
    words = ["`id`", "$HOME", "a  b", "", "--port", "'\"\\\n☃"]
    assert end(init("printf", "%s|", *words)) == (0, "".join(word + "|" for word in words), "")


def test_a_port_that_is_taken(agent):
    first = agent.start("init", "--port", "0", "--", "sleep", "30")
    try:
        until(lambda: ports_of(first))
        done = agent("init", "--port", ports_of(first)[0], "--", "true")
        assert done.returncode == 1 and "Address already in use" in done.stderr
    finally:
        first.terminate()
        first.communicate()


def ports_of(process):
    """That it listens on."""
    found = []
    try:
        inodes = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    except OSError:
        return []
    for line in open(f"/proc/{process.pid}/net/tcp").readlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
            assert words[1].startswith("0100007F:"), "expected 127.0.0.1 alone"
            found.append(int(words[1].split(":")[1], 16))
    return found


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)])
def test_signals_reach_the_command(init, number, code):
    process = init("sh", "-c", "echo ready; exec sleep 60")
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    assert end(process)[0] == code


def test_the_command_has_its_way_with_signals(init):
    process = init("sh", "-c", 'trap "echo saved; exit 3" TERM; echo ready; while :; do sleep 0.05; done')
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert end(process)[:2] == (3, "saved\n")  # some shells tell of the sleep that it ended, too


def test_what_the_command_inherits(init):
    """No signal is ignored or blocked, no descriptor is left open: nor those that glibc keeps to itself, which its posix_spawn leaves ignored."""

    def ignore():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ignored = (ctypes.c_long * 4)(1)  # SIG_IGN, as the kernel has it
        assert ctypes.CDLL(None).syscall(RT_SIGACTION, 32, ignored, None, 8) == 0

    code, out, _ = end(init("sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l", preexec_fn=ignore))
    lines = out.split()
    assert code == 0 and lines[1] == "0" * 16 and lines[3] == "0" * 16 and lines[4] == "4", out


def test_orphans_are_waited_for(init):
    """Those that end before the command leave no zombie; those that do not are told to."""
    process = init("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do (sh -c 'sleep 0.1' & ) ; done; sleep 0.6; echo ready; read x", stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    children = [line.split()[2] for line in subprocess.run(["ps", "-o", "pid=,ppid=,stat=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout.splitlines()]
    assert children and not any(state.startswith("Z") for state in children), children
    process.stdin.close()
    assert process.wait(timeout=10) == 1

    begun = time.monotonic()
    process = init("sh", "-c", "sleep 60 & exit 4")
    assert process.wait(timeout=20) == 4 and time.monotonic() - begun < 1.5
    begun = time.monotonic()
    process = init("sh", "-c", "(trap '' TERM; sleep 8) & sleep 0.2; exit 4")
    assert process.wait(timeout=20) == 4 and 1.5 < time.monotonic() - begun < 4


def test_heartbeats(agent, broker):
    process = agent.start("init", "--port", "0", "--", "sleep", "0.5")
    process.communicate(timeout=20)
    assert [request[:2] for request in broker.requests] == [("POST", "/onsight/heartbeat")]
    assert broker.bodies("/onsight/heartbeat") == [{}]
    broker.requests.clear()
    agent.start("init", "--port", "0", "--no-heartbeat", "--", "sleep", "0.3").communicate(timeout=20)
    assert not broker.requests


@pytest.mark.parametrize("how", ["gone", "silent", "closes", "rubbish"])
def test_a_heartbeat_disturbs_nothing(agent, broker, how, tmp_path):
    broker.answers["POST /onsight/heartbeat"] = {"silent": lambda _: time.sleep(3), "closes": lambda _: None, "rubbish": (500, b"x" * 300000)}.get(how, (200, {}))
    if how == "gone":
        broker.stop()
    begun = time.monotonic()
    assert end(agent.start("init", "--port", "0", "--", "sh", "-c", "sleep 0.4; echo done")) == (0, "done\n", "")
    assert time.monotonic() - begun < 2


class Terminal:
    """A terminal that the program runs in, as the first of its session: as an engine starts it."""

    def __init__(self, agent, *command):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 101, 0, 0))

        def lead():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = agent.start("init", "--port", "0", "--", *command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=lead)
        os.close(slave)
        self.text = ""

    def until(self, word, seconds=20):
        os.set_blocking(self.master, False)
        stop = time.monotonic() + seconds
        while word not in self.text:
            assert time.monotonic() < stop, self.text
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                assert word in self.text, self.text

    def type(self, keys):
        os.write(self.master, keys)

    def type_until(self, keys, word):
        for _ in range(40):
            self.type(keys)
            try:
                return self.until(word, 0.5)
            except AssertionError:
                continue
        raise AssertionError(self.text)

    def end(self):
        code = self.process.wait(timeout=20)
        os.close(self.master)
        return code


def test_the_command_has_the_terminal(agent):
    terminal = Terminal(agent, "bash", "--norc", "-c", 'stty size; ps -o pgid=,tpgid= $$ | { read a b; [ $a = $b ] && echo foreground; }; read -r line; echo "got $line"; exit 9')
    terminal.until("foreground")
    assert "30 101" in terminal.text
    terminal.type(b"hello\r")
    terminal.until("got hello")
    assert terminal.end() == 9


def test_keys_that_make_signals(agent):
    terminal = Terminal(agent, "bash", "--norc", "-c", 'trap "echo interrupted" INT; trap "echo resized; stty size" WINCH; echo ready; while :; do sleep 0.05; done')
    terminal.until("ready")
    terminal.type(b"\x03")
    terminal.until("interrupted")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    terminal.until("40 120")
    terminal.process.send_signal(signal.SIGKILL)
    terminal.end()


def test_what_ctrl_z_stops_goes_on(agent):
    terminal = Terminal(agent, "sh", "-c", "echo ready; i=0; while [ $i -lt 100 ]; do i=$((i+1)); sleep 0.02; done; echo went on")
    terminal.until("ready")
    terminal.type(b"\x1a")
    terminal.until("went on")
    assert terminal.end() == 0


def test_a_shell_keeps_its_jobs(agent):
    terminal = Terminal(agent, "bash", "--norc", "-i")
    terminal.type(b"PS1='> '; echo he''re\r")
    terminal.until("\x1b[?2004h> ")  # it reads keys itself from here on: before, a Ctrl-Z takes what was typed with it
    assert "here" in terminal.text and "no job control" not in terminal.text
    terminal.type(b"sleep 300\r")
    terminal.until("> sleep 300\r\n\x1b[?2004l")
    terminal.type_until(b"\x1a", "Stopped")  # once it has begun
    terminal.type(b"fg\r")
    terminal.until("fg\r\n\x1b[?2004l")
    terminal.type_until(b"\x03", "^C\r\n\x1b[?2004h> ")
    terminal.type_until(b"echo $? fi''nished\r", " finished")
    assert "130 finished" in terminal.text
    terminal.type(b"exit 5\r")
    assert terminal.end() == 5


def test_a_terminal_that_goes(agent):
    terminal = Terminal(agent, "sh", "-c", "echo ready; sleep 60")
    terminal.until("ready")
    os.close(terminal.master)
    assert terminal.process.wait(timeout=10) == 129


# First in a namespace of processes, as in a container, and in one of networks.
def can_be_first():
    return shutil.which("unshare") and subprocess.run(["unshare", "-Urmpn", "--fork", "--mount-proc", "true"], capture_output=True).returncode == 0


@pytest.fixture
def alone(agent):
    if not can_be_first():
        pytest.skip("unshare -Urmpn does not work on this machine")

    def start(*command, port=8080, **more):
        line = 'ip link set lo up 2>/dev/null || python3 -c "import fcntl, socket, struct; s = socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack(\'16sh14s\', b\'lo\', 0x41, b\'\'))"; exec "$@"'
        words = ["unshare", "-Urmpn", "--fork", "--mount-proc", "--kill-child", "sh", "-c", line, "sh", agent.path, "init", "--port", str(port), "--", *command]
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.Popen(words, env=agent.environment(), **more)
    return start


def test_first_process(alone, broker):
    broker.answers["GET /hello"] = (200, b"through the broker")
    code, out, err = end(alone("bash", "-c", "cat /proc/1/comm; [ $PPID = 1 ] && echo child of the first; exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /hello HTTP/1.1\\r\\nHost: onsight\\r\\nConnection: close\\r\\n\\r\\n' >&3; tail -n 1 <&3"))
    assert code == 0 and out.startswith("onsight-agent\nchild of the first\n") and out.endswith("through the broker"), (out, err)


def test_first_process_is_stopped(alone):
    process = alone("sh", "-c", "echo $$ >&2; echo ready; exec sleep 60")
    assert process.stdout.readline() == b"ready\n"
    first = int(subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()[0])
    begun = time.monotonic()
    os.kill(first, signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143 and time.monotonic() - begun < 2


def test_fork_storm_of_orphans(alone):
    code, out, _ = end(alone("bash", "-c", "for i in $(seq 300); do (sleep 0.01 &) ; done; sleep 1; ls -d /proc/[0-9]* | wc -l; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l"), 60)
    assert code == 0 and out.split()[1] == "0" and int(out.split()[0]) < 12, out


def test_it_waits_for_a_broker_that_comes_from_outside(init, broker):
    broker.stop()
    process = init("sh", "-c", "echo begun; echo ${ONSIGHT_BROKER_TIME-none}", env={"ONSIGHT_BROKER_TIME": "60"})
    until(lambda: ports_of(process))
    assert not select.select([process.stdout], [], [], 0.3)[0]
    broker.start()
    assert end(process) == (0, "begun\nnone\n", "")


def test_a_broker_that_does_not_come_keeps_nobody_from_working(init, broker):
    broker.stop()
    assert end(init("echo", "begun", env={"ONSIGHT_BROKER_TIME": "1"})) == (0, "begun\n", "")


def test_who_waits_for_a_broker_can_be_ended(init, broker):
    broker.stop()
    process = init("echo", "begun", env={"ONSIGHT_BROKER_TIME": "60"})
    until(lambda: ports_of(process))
    time.sleep(0.1)
    process.terminate()
    assert end(process) == (143, "", "")
