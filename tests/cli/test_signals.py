"""Ctrl-C, closed pipes and full outputs, in the middle of an answer."""
import json
import os
import signal
import time

import pytest

SLOW = {"pieces": ["one ", "two ", "three "] * 100, "delay_ms": 100}


def read_until(fd, wanted, seconds=20):
    got, end = b"", time.monotonic() + seconds
    while wanted not in got:
        assert time.monotonic() < end, got
        part = os.read(fd, 4096)
        assert part, got
        got += part
    return got


@pytest.fixture
def start(scripted, model):
    processes = []

    def run(*arguments, script=SLOW, **more):
        processes.append(scripted.start(*arguments, "--model", model, script=script, **more))
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def finish(process):
    out, err = process.communicate(timeout=20)
    return process.returncode, out.decode(), err.decode()


def test_ctrl_c_keeps_the_partial_answer(start):
    process = start("ask", "x")
    got = read_until(process.stdout.fileno(), b"two ")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    text = got.decode() + out
    assert code == 130 and err == ""
    assert text.startswith("one two ") and text.endswith("\n") and text.count("\n") == 1 and len(text) < 200


def test_ctrl_c_with_json_prints_the_partial_object(start):
    process = start("ask", "--json", "x", script={**SLOW, "delay_ms": 200})
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    value = json.loads(out)
    assert code == 130 and err == ""
    assert value["finish_reason"] == "cancelled" and value["text"].startswith("one ")


def test_ctrl_c_while_the_picture_is_read(start, picture):
    process = start("ask", "--image", picture, script={"tiles": 1000, "delay_ms": 20})
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, "\n", "")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_and_a_closed_terminal_are_as_ctrl_c(start, sent):
    process = start("ask", "x")
    read_until(process.stdout.fileno(), b"two ")
    process.send_signal(sent)
    assert finish(process)[0] == 130


def test_ctrl_c_while_loading_ends_at_once(start):
    process = start("ask", "x", script={"load_ms": 30_000})
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, "", "")


def test_a_second_ctrl_c_ends_at_once(start):
    process = start("ask", "x", script={"pieces": ["one ", "two "], "delay_ms": 15_000})
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # this engine looks at the flag only between tokens
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130 and time.monotonic() - begin < 5


def test_an_ignored_ctrl_c_stays_ignored(start):
    process = start("ask", "x", script={"pieces": ["one ", "two"], "delay_ms": 400},
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))  # fmt: skip
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "one two\n", "")


def test_a_reader_that_leaves_ends_the_program_quietly(start):
    process = start("ask", "x")
    read_until(process.stdout.fileno(), b"two ")
    process.stdout.close()
    begin = time.monotonic()
    process.wait(timeout=20)
    assert process.returncode == 0 and process.stderr.read() == b""
    assert time.monotonic() - begin < 5  # the answer would take half a minute


@pytest.mark.parametrize("arguments", [["ask", "x"], ["ask", "--json", "x"], ["inspect"]])
def test_a_full_output_is_exit_code_1(scripted, model, arguments):
    with open("/dev/full", "wb") as full:
        process = scripted.start(*arguments, *([model] if arguments == ["inspect"] else ["--model", model]), stdout=full)
        err = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 1
    assert err.startswith("onsight: standard output") and err.count("\n") == 1


def test_closed_standard_streams_are_no_crash(scripted, model):
    def close_all():
        for fd in (0, 1, 2):
            os.close(fd)

    process = scripted.start("ask", "--model", model, "x", stdin=None, stdout=None, stderr=None, preexec_fn=close_all)
    assert process.wait(timeout=20) in (0, 1)
