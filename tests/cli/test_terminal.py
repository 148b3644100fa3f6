"""What only a terminal shows: chat's line editing, history and Ctrl-C, and progress bars."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

from conftest import NANO
from pictures import png

CTRL_C, CTRL_D, UP, LEFT, HOME = b"\x03", b"\x04", b"\x1b[A", b"\x1b[D", b"\x01"


class Terminal:
    """A program in a pseudo-terminal; what it writes is collected by expect()."""

    def __init__(self, program, *arguments, script=None, env=None):
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))

        def own_terminal():
            os.setsid()
            import fcntl

            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C typed here reaches the program

        environment = program.environment(script, TERM="xterm", **(env or {}))
        self.process = subprocess.Popen(program.command(*arguments), stdin=slave, stdout=slave, stderr=slave, env=environment,
                                        preexec_fn=own_terminal)  # fmt: skip
        os.close(slave)
        self.seen = b""  # not yet expected
        self.all = b""

    def type(self, data):
        os.write(self.master, data if isinstance(data, bytes) else data.encode())

    def expect(self, wanted, seconds=20):
        wanted, end = wanted.encode() if isinstance(wanted, str) else wanted, time.monotonic() + seconds
        while wanted not in self.seen:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.master], [], [], left)[0], (wanted, self.seen)
            try:
                part = os.read(self.master, 4096)
            except OSError:  # the program has left
                part = b""
            assert part, (wanted, self.seen)
            self.seen += part
            self.all += part
        before, _, self.seen = self.seen.partition(wanted)
        return before

    def leave(self):
        end = time.monotonic() + 20
        while select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
            try:
                self.all += os.read(self.master, 4096)
            except OSError:  # the program has left, and everything that it wrote is read
                break
        return self.process.wait(timeout=5)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def opened():
    """Terminals, which are closed behind the test."""
    opened = []
    yield opened
    for one in opened:
        one.close()


@pytest.fixture
def terminal(scripted, model, tmp_path, opened):
    def run(*arguments, script=None, env=None):
        script = {"log": str(tmp_path / "requests"), **(script or {})}
        env = {"HOME": tmp_path, "XDG_STATE_HOME": tmp_path / "state", **(env or {})}
        opened.append(Terminal(scripted, *arguments, "--model", model, script=script, env=env))
        return opened[-1]

    return run


@pytest.fixture
def last_question(tmp_path):
    return lambda: json.loads((tmp_path / "requests").read_text().splitlines()[-1])["messages"][-1]["parts"]


def test_a_conversation(terminal, last_question):
    t = terminal("chat")
    t.expect("/help")
    t.expect("> ")
    t.type("Grüße 🎉\n")
    t.expect("Seen.")
    t.expect("> ")
    assert last_question() == ["Grüße 🎉"]
    t.type(CTRL_D)
    assert t.leave() == 0


def test_lines_are_edited(terminal, last_question):
    t = terminal("chat")
    t.expect("> ")
    t.type(b"ask" + HOME + b"t" + LEFT + b"not \x7f " + b"\n")
    t.expect("Seen.")
    assert last_question() == ["not task"]


def test_ctrl_c_stops_the_answer_and_not_the_program(terminal, last_question):
    t = terminal("chat", script={"pieces": ["one ", "two "] * 100, "delay_ms": 100})
    t.expect("> ")
    t.type("first\n")
    t.expect("one two one")
    t.type(CTRL_C)
    t.expect("> ")
    t.type("second\n")
    t.expect("one two")
    assert last_question() == ["second"]
    for _ in range(3):  # impatience does not end the program either
        t.type(CTRL_C)
    t.expect("> ")
    t.type("/exit\n")
    assert t.leave() == 0


def test_ctrl_c_clears_the_line(terminal, last_question):
    t = terminal("chat")
    t.expect("> ")
    t.type("never sent")
    t.expect("never sent")
    t.type(CTRL_C)
    t.expect("\n")
    t.expect("> ")
    t.type("sent\n")
    t.expect("Seen.")
    assert last_question() == ["sent"]
    t.type(CTRL_C)
    t.type(CTRL_C)
    time.sleep(0.3)
    t.type(CTRL_D)
    assert t.leave() == 0


def test_a_bad_picture_keeps_the_conversation(terminal, picture, tmp_path, last_question):
    t = terminal("chat")
    t.expect("> ")
    t.type("/image missing.png\n")
    t.expect("onsight: missing.png")
    t.expect("> ")
    t.type(f"/image {picture}\n")
    t.expect("6 x 4 pixels")
    t.expect("(1 picture) > ")
    t.type("what is it?\n")
    t.expect("Seen.")
    assert last_question() == ["<6x4>", "what is it?"]


def test_history_is_remembered_for_this_user_only(terminal, tmp_path, last_question):
    t = terminal("chat")
    t.expect("> ")
    t.type("remember mé\n")
    t.expect("Seen.")
    t.expect("> ")
    t.process.send_signal(signal.SIGKILL)  # it is written after each line
    t.process.wait()
    history = tmp_path / "state" / "onsight" / "history"
    assert history.stat().st_mode & 0o777 == 0o600 and history.parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in history.parent.iterdir()] == ["history"]
    t = terminal("chat")
    t.expect("> ")
    t.type(UP + b"!\n")
    t.expect("Seen.")
    assert last_question() == ["remember mé!"]


def test_history_that_cannot_be_kept_is_no_error(terminal):
    t = terminal("chat", env={"XDG_STATE_HOME": "/dev/null"})
    t.expect("> ")
    t.type("one\n")
    t.expect("Seen.")
    t.expect("> ")
    t.type(CTRL_D)
    assert t.leave() == 0 and b"onsight: " not in t.all


def test_a_window_that_changes_its_size(terminal):
    t = terminal("chat")
    t.expect("> ")
    t.type("ab")
    termios.tcsetwinsize(t.master, (10, 40))
    time.sleep(0.2)
    t.type("c\n")
    t.expect("Seen.")


def test_the_progress_bar_is_erased_before_the_answer(terminal, picture):
    t = terminal("ask", "--image", picture, "x", script={"tiles": 4, "delay_ms": 120})
    t.expect("reading the picture [")
    assert b"Seen" not in t.expect("4/4")
    assert t.expect("Seen.").endswith(b"\r\x1b[K")
    assert t.leave() == 0


def left_on_the_line(shown):
    """What of all that was shown still stands on the line where the cursor is."""
    return shown.rsplit(b"\n")[-1].rsplit(b"\r\x1b[K")[-1]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(1, 7):
        (folder / f"{n}.png").write_bytes(png(n, 1))
    return folder


def test_the_progress_bar_of_read_makes_room_for_each_page(terminal, pictures):
    t = terminal("read", pictures, script={"delay_ms": 100})
    t.expect("reading pages [........................................] 0/6")
    for n in range(1, 7):
        assert left_on_the_line(t.expect(f"== {pictures / f'{n}.png'}\r\nSeen.\r\n")) == b""
    assert t.leave() == 0
    assert left_on_the_line(t.all) == b"" and b"[####" in t.all


def test_the_progress_bar_of_read_is_erased_before_an_error(terminal, pictures):
    (pictures / "0.png").write_bytes(b"no picture")
    t = terminal("read", pictures)
    t.expect("reading pages [")
    assert t.expect("onsight: ").endswith(b"] 0/7\r\x1b[K")
    t.expect("0.png: unknown picture format")
    assert t.leave() == 3


def test_the_progress_bar_of_describe_counts_what_was_there_before(terminal, pictures, tmp_path):
    command = ("describe", pictures, "--out", tmp_path / "captions.jsonl")
    t = terminal(*command, script={"delay_ms": 100})
    t.expect("describing pictures [........................................] 0/6")
    t.expect("] 5/6")
    assert t.leave() == 0 and left_on_the_line(t.all) == b""
    (pictures / "7.png").write_bytes(png(7, 1))
    t = terminal(*command, script={"delay_ms": 100})
    t.expect("] 6/7")
    assert t.leave() == 0 and left_on_the_line(t.all) == b"" and b" 0/7" not in t.all


def test_ctrl_c_in_read_erases_the_progress_bar(terminal, pictures):
    t = terminal("read", pictures, script={"pieces": ["one "] * 100, "delay_ms": 100})
    t.expect("reading pages [")  # the first page is not asked about yet
    t.type(CTRL_C)
    assert t.leave() == 130 and left_on_the_line(t.all) == b""


def test_the_progress_bar_of_export_is_erased_before_what_it_says_last(onsight, opened, tmp_path):
    out = tmp_path / "out"
    opened.append(Terminal(onsight, "export", NANO, out, "--to", "safetensors"))
    t = opened[-1]
    assert re.search(rb"\[#+\] (\d+)/\1\r\x1b\[K$", t.expect(f"{out}: "))
    t.expect(" s\r\n")
    assert t.leave() == 0 and (out / "model.safetensors").exists()


def test_ctrl_c_in_ask(terminal):
    t = terminal("ask", "x", script={"pieces": ["one "] * 100, "delay_ms": 100})
    t.expect("one one")
    t.type(CTRL_C)
    assert t.leave() == 130
    assert t.all.rstrip(b" ").endswith(b"\r\n")


def test_a_model_cannot_send_control_codes_to_the_terminal(terminal):
    t = terminal("ask", "x", script={"pieces": ["\x1b]0;title\x07", "\u009b31m", "tab\tok"]})
    assert t.leave() == 0
    assert b"\x1b" not in t.all and b"\x07" not in t.all and "\u009b".encode() not in t.all and b"tab\tok" in t.all
