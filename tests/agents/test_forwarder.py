"""The forwarder of init: 127.0.0.1 ⇄ the broker's unix socket, byte for byte."""
import hashlib
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import Agent, until
from test_init import ports_of


class Raw:
    """A unix socket each of whose connections a function of the test has."""

    def __init__(self, path, serve):
        self.path, self.serve, self.listener = path, serve, None

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(256)
        threading.Thread(target=self.loop, args=(self.listener,), daemon=True).start()
        return self

    def loop(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)


@pytest.fixture
def forward(program, tmp_path):
    """forward(serve) -> (a function that connects, the process, the broker)"""
    started = []

    def start(serve, *options):
        class Where:
            path = str(tmp_path / "raw.sock")
        broker = Raw(Where.path, serve).start()
        process = Agent(program, Where).start("init", "--port", "0", "--no-heartbeat", *options, "--", "sleep", "600", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)
        until(lambda: ports_of(process))
        port = ports_of(process)[0]
        return lambda: socket.create_connection(("127.0.0.1", port), timeout=20), process, broker

    yield start
    for process in started:
        process.terminate()
        process.wait()


def read_all(connection):
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_half_close_both_ways(forward):
    """Each side says when it is done, and the other goes on."""
    def serve(connection):
        asked = read_all(connection)
        time.sleep(0.1)
        connection.sendall(b"you said " + asked)

    connect, _, _ = forward(serve)
    with connect() as connection:
        connection.sendall(b"this")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"you said this"

    def talks_first(connection):
        connection.sendall(b"welcome")
        connection.shutdown(socket.SHUT_WR)
        later.append(read_all(connection))

    later = []
    connect, _, _ = forward(talks_first)
    with connect() as connection:
        assert read_all(connection) == b"welcome"
        connection.sendall(b"and this")
        connection.shutdown(socket.SHUT_WR)
        until(lambda: later)
    assert later == [b"and this"]


def test_many_connections_byte_for_byte(forward):
    def serve(connection):
        while part := connection.recv(random.randrange(1, 1 << 16)):
            connection.sendall(part)

    connect, process, _ = forward(serve)
    results = []

    def one(seed):
        data = random.Random(seed).randbytes(random.Random(seed).randrange(1, 3 << 20))
        with connect() as connection:
            def write():
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            writer = threading.Thread(target=write)
            writer.start()
            found = read_all(connection)
            writer.join()
        results.append(hashlib.sha256(found).digest() == hashlib.sha256(data).digest())

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == [True] * 60
    until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) < 12)


def test_backpressure(forward):
    """Who does not read holds the other up, and the forwarder's memory stays small."""
    taken = []

    def serve(connection):
        block = b"x" * (1 << 20)
        for _ in range(64):
            connection.sendall(block)
            taken.append(len(block))

    connect, process, _ = forward(serve)
    resident = lambda: int(open(f"/proc/{process.pid}/statm").read().split()[1]) * 4096
    before = resident()
    with connect() as connection:
        time.sleep(1)
        held = sum(taken)
        assert held < 32 << 20
        assert resident() - before < 2 << 20
        busy = cpu_of(process)
        time.sleep(0.5)
        assert cpu_of(process) - busy <= 2, "waits without turning"
        assert len(read_all(connection)) == 64 << 20


def cpu_of(process):
    words = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def test_a_closed_end_behind_a_full_one_costs_nothing(forward):
    def serve(connection):
        connection.sendall(b"x" * (100 << 10))  # and goes

    connect, process, _ = forward(serve)
    with connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        time.sleep(0.3)
        busy = cpu_of(process)
        time.sleep(1)
        assert cpu_of(process) - busy <= 2
        assert len(read_all(connection)) == 100 << 10


def test_a_client_that_goes(forward):
    """Its connection at the broker ends, also while much is on its way."""
    ended = []

    def serve(connection):
        try:
            while True:
                connection.sendall(b"x" * 4096)
        except OSError:
            ended.append(True)

    connect, process, _ = forward(serve)
    for _ in range(20):
        connection = connect()
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    until(lambda: len(ended) == 20)
    until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) < 12)


def test_a_last_word_is_heard(forward):
    """A broker that refuses a large request without reading it: the answer arrives."""
    def serve(connection):
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\n\r\n")

    connect, _, _ = forward(serve)
    for _ in range(20):
        with connect() as connection:
            try:
                connection.sendall(b"x" * (2 << 20))
            except OSError:
                pass
            assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_broker_that_is_started_again(forward):
    def serve(connection):
        connection.sendall(connection.recv(100))

    connect, _, broker = forward(serve)
    broker.stop()
    with connect() as connection:
        connection.sendall(b"early")
        time.sleep(0.5)
        broker.start()
        assert connection.recv(100) == b"early"
    with connect() as connection:
        connection.sendall(b"later")
        assert connection.recv(100) == b"later"


def test_without_a_broker_there_is_an_answer(forward):
    connect, process, broker = forward(lambda connection: None, "--patience", "1")
    broker.stop()
    begun = time.monotonic()
    with connect() as connection:
        connection.sendall(b"POST /upstream/anthropic/v1/messages HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        answer = read_all(connection)
    assert 0.8 < time.monotonic() - begun < 4
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ") and f"Content-Length: {len(body)}".encode() in head and b'"no_broker"' in body
    until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) < 12)


def test_more_connections_than_descriptors(forward):
    """Those beyond wait their turn."""
    def serve(connection):
        connection.sendall(connection.recv(10) or b"-")
        connection.recv(10)

    connect, process, _ = forward(serve)
    os.system(f"prlimit --pid {process.pid} --nofile=200:200 >/dev/null 2>&1")
    open_ones = []
    for _ in range(150):
        open_ones.append(connect())
    answered = 0
    for connection in open_ones:
        connection.sendall(b"a")
    for connection in open_ones:
        assert connection.recv(10) == b"a"
        answered += 1
        connection.close()
    assert answered == 150


def test_kill_at_any_moment_leaves_no_listener(forward):
    def serve(connection):
        while part := connection.recv(1000):
            connection.sendall(part)

    connect, process, _ = forward(serve)
    with connect() as connection:
        connection.sendall(b"x")
        connection.recv(1)
        child = int(subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout)
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, signal.SIGKILL)
        assert connection.recv(10) == b""
    with pytest.raises(OSError):
        connect()
