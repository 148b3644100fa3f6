"""A server that a test has started, and what it answers; the standard library alone."""
import base64
import http.client
import json
import re
import signal
import socket
import time

HI = {"model": "nano", "messages": [{"role": "user", "content": "Hi"}]}


def data_url(bytes_, type_="image/png"):
    return f"data:{type_};base64,{base64.b64encode(bytes_).decode()}"


class Reply:
    def __init__(self, response):
        self.status, self.body = response.status, response.read()
        self.headers = {k.lower(): v for k, v in response.getheaders()}

    def json(self):
        assert self.headers["content-type"] == "application/json", self.headers
        return json.loads(self.body)

    def events(self):
        """The data of server-sent events; those that are JSON, parsed."""
        assert self.headers["content-type"].startswith("text/event-stream"), self.headers
        found = []
        for event in self.body.decode().split("\n\n")[:-1]:
            data = "\n".join(line[6:] for line in event.split("\n") if line.startswith("data: "))
            found.append(json.loads(data) if data.startswith("{") else data)
        return found

    def lines(self):
        assert self.headers["content-type"] == "application/x-ndjson", self.headers
        return [json.loads(line) for line in self.body.decode().splitlines()]


class Server:
    def __init__(self, process):
        self.process = process
        self.line = process.stderr.readline().decode()
        found = re.fullmatch(r"onsight: serving (\S+) at http://(\S+):(\d+)\n", self.line)
        assert found, self.line + process.stderr.read().decode()
        self.host, self.port = found.group(2).strip("[]"), int(found.group(3))

    def connect(self, timeout=20):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def socket(self, timeout=20):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def ask(self, method, path, body=None, headers=None):
        connection = self.connect()
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body, headers or {})
        reply = Reply(connection.getresponse())
        connection.close()
        return reply

    def get(self, path, **headers):
        return self.ask("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path, body, **headers):
        return self.ask("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def chat(self, **more):
        return self.post("/v1/chat/completions", {**HI, **more})

    def raw(self, bytes_, timeout=20):
        """All that comes back for these bytes until the server closes."""
        with self.socket(timeout) as s:
            s.sendall(bytes_)
            out = b""
            while piece := s.recv(65536):
                out += piece
            return out

    def open_stream(self, body=None):
        """A socket on which an answer is being streamed; its first piece has come."""
        body = json.dumps({**HI, "stream": True, **(body or {})}).encode()
        s = self.socket()
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        seen = b""
        while b'"content":"a"' not in seen:
            piece = s.recv(65536)
            assert piece, seen
            seen += piece
        return s

    def metric(self, name):
        text = self.get("/metrics").body.decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M).group(1))

    def wait_until(self, condition, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come to pass"
            time.sleep(0.01)

    def stop(self, how=signal.SIGTERM, timeout=20):
        self.process.send_signal(how)
        self.process.wait(timeout)
        return self.process.returncode
