"""onsight-agent bridge: connections to a socket where an agent is, as frames on standard input and output. The other end is written here anew."""
import os
import socket
import struct
import subprocess

import pytest

from conftest import until

OPEN, DATA, CREDIT, END, CLOSE = 1, 2, 3, 4, 5
WINDOW = 64 << 10


def frame(kind, connection, data=b""):
    return struct.pack(">BBHI", kind, 0, len(data), connection) + data


class Bridge:
    def __init__(self, agent, path):
        self.path = str(path)
        self.process = agent.start("bridge", "--socket", self.path, stdin=subprocess.PIPE)
        until(lambda: os.path.exists(self.path))

    def read(self):
        kind, zero, length, connection = struct.unpack(">BBHI", self.process.stdout.read(8))
        assert zero == 0
        return kind, connection, self.process.stdout.read(length)

    def write(self, *given):
        self.process.stdin.write(frame(*given))
        self.process.stdin.flush()

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(self.path)
        return client

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=20)


@pytest.fixture
def bridge(agent, tmp_path):
    bridge = Bridge(agent, tmp_path / "b.sock")
    yield bridge
    bridge.process.kill()
    bridge.process.wait()


def test_a_connection_is_carried_both_ways(bridge):
    client = bridge.connect()
    kind, number, _ = bridge.read()
    assert kind == OPEN
    client.sendall(b"GET /")
    assert bridge.read() == (DATA, number, b"GET /")
    bridge.write(DATA, number, b"200")
    assert client.recv(10) == b"200"
    assert bridge.read() == (CREDIT, number, struct.pack(">I", 3))
    client.shutdown(socket.SHUT_WR)
    assert bridge.read() == (END, number, b"")
    bridge.write(DATA, number, b"bye")
    bridge.write(END, number)
    assert client.recv(10) == b"bye" and client.recv(10) == b""
    assert bridge.read()[0] == CREDIT
    assert bridge.end() == 0


def test_no_more_is_sent_than_there_is_credit_for(bridge):
    client = bridge.connect()
    _, number, _ = bridge.read()
    client.setblocking(False)
    try:
        while client.send(b"x" * 65536):
            pass
    except BlockingIOError:
        pass
    came = 0
    while came < WINDOW:
        kind, _, data = bridge.read()
        assert kind == DATA and len(data) <= 16 << 10
        came += len(data)
    assert came == WINDOW
    other = bridge.connect()  # the next frame is of somebody else
    kind, second, _ = bridge.read()
    assert kind == OPEN and second != number
    bridge.write(CREDIT, number, struct.pack(">I", 100))
    assert bridge.read() == (DATA, number, b"x" * 100)
    bridge.write(CLOSE, number)
    other.close()
    assert bridge.read() == (END, second, b"")


@pytest.mark.parametrize("what", [b"rubbish!", frame(OPEN, 1), frame(DATA, 1, b"x")[:-1]])
def test_what_is_no_frame_ends_it_with_one_sentence(bridge, what):
    bridge.process.stdin.write(what)
    bridge.process.stdin.flush()
    assert bridge.end() == 3
    said = bridge.process.stderr.read().decode()
    assert said.startswith("onsight-agent: the bridge: ") and said.count("\n") == 1


def test_its_socket_is_made_anew(agent, bridge, tmp_path):
    assert bridge.end() == 0
    again = Bridge(agent, bridge.path)
    until(lambda: reaches(again))
    again.process.kill()
    again.process.wait()


def test_a_former_one_that_comes_late_and_ends_takes_it_from_nobody(agent, bridge):
    late = Bridge(agent, bridge.path)  # its socket is in place of the first one's
    until(lambda: reaches(bridge))
    assert late.end() == 0
    until(lambda: reaches(bridge))
    client = bridge.connect()
    client.sendall(b"x")
    while bridge.read()[0] != DATA:
        pass


def reaches(bridge):
    try:
        bridge.connect().close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("arguments", [("bridge", "more"), ("bridge", "--socket"), ("bridge", "--port", "1")])
def test_wrong_arguments(agent, arguments):
    assert agent(*arguments).returncode == 2
