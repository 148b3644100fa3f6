"""Tests of what runs in agents' containers: each runs the built program on this machine, against a broker that is scripted here.

ONSIGHT_AGENT_BINARY names the program (build/onsight-agent).
"""
import json
import os
import socketserver
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than half a minute")


class Broker:
    """broker.answers["POST /onsight/messages"] = (status, body) or a function of the request's JSON; broker.requests: what came."""

    def __init__(self, folder):
        self.path = str(folder / "broker.sock")
        self.answers = {}
        self.requests = []
        self.server = None

    def start(self):
        broker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def address_string(self):
                return "unix"

            def log_message(self, *_):
                pass

            def respond(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                name = f"{self.command} {self.path.split('?')[0]}"
                broker.requests.append((self.command, self.path, body))
                answer = broker.answers.get(name, (200, {}))
                if callable(answer):
                    answer = answer(json.loads(body or b"null"))
                if answer is None:  # it dies half-way
                    self.close_connection = True
                    return
                status, value = answer
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = respond

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True
            request_queue_size = 256

        Path(self.path).unlink(missing_ok=True)
        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            Path(self.path).unlink(missing_ok=True)
            self.server = None

    def bodies(self, path, method="POST"):
        return [json.loads(body or b"null") for how, target, body in self.requests if how == method and target.split("?")[0] == path]


class Agent:
    """agent("send", "planner", "Hi") -> CompletedProcess with text streams."""

    def __init__(self, path, broker):
        self.path, self.broker = str(path), broker

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ONSIGHT_", "GIT_"))}
        return {**kept, "LC_ALL": "C.UTF-8", "ONSIGHT_BROKER": self.broker.path, **more}

    def __call__(self, *arguments, input=b"", env=None, timeout=60, **more):
        done = subprocess.run([self.path, *map(str, arguments)], input=input, capture_output=True, timeout=timeout,
                              env=self.environment(**(env or {})), **more)
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        return done

    def start(self, *arguments, env=None, **more):
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.Popen([self.path, *map(str, arguments)], env=self.environment(**(env or {})), **more)


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path).start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def program():
    path = Path(os.environ.get("ONSIGHT_AGENT_BINARY", ROOT / "build" / "onsight-agent")).resolve()
    if not os.access(path, os.X_OK):
        pytest.exit(f"{path} is not there: build it first, or set ONSIGHT_AGENT_BINARY", returncode=1)
    return path


@pytest.fixture
def agent(program, broker):
    return Agent(program, broker)
