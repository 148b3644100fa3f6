"""A server that a test has started, and what it answers; the standard library alone."""
import base64
import http.client
import json
import re
import signal
import socket
import threading
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
    def __init__(self, process, tls=None):
        """tls: the ssl.SSLContext of its clients, if it speaks HTTPS."""
        self.process, self.tls = process, tls
        self.line = process.stderr.readline().decode()
        found = re.fullmatch(r"onsight: serving (\S+) at (https?)://(\S+):(\d+)\n", self.line)
        assert found, self.line + process.stderr.read().decode()
        assert (found.group(2) == "https") == bool(tls), self.line
        self.host, self.port = found.group(3).strip("[]"), int(found.group(4))

    def connect(self, timeout=20):
        if self.tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def plain_socket(self, timeout=20):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def socket(self, timeout=20):
        s = self.plain_socket(timeout)
        # An end that TLS does not announce is an error of the test.
        return self.tls.wrap_socket(s, server_hostname=self.host, suppress_ragged_eofs=False) if self.tls else s

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


MANY = {"pieces": ["a", "b", "c", "d"] * 5, "delay_ms": 1}


def stream_at_once(server, clients):
    """So many clients at the same time of a server with the script MANY; each must get its whole answer."""
    wrong = []

    def client():
        events = server.chat(stream=True).events()
        text = "".join(e["choices"][0]["delta"].get("content", "") for e in events[:-1])
        if text != "abcd" * 5 or events[-1] != "[DONE]":
            wrong.append(text)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


# Long enough that nothing ends by itself while a test looks.
ENDLESS = {"pieces": ["a"], "repeat": 100_000, "delay_ms": 2}
LONG = {"pieces": ["a" * 10_000], "repeat": 4000, "delay_ms": 0}


def read_nothing(server):
    """A client of a server with the script LONG that asks and reads no answer: it is dropped."""
    body = json.dumps({**HI, "stream": True, "max_tokens": 4000}).encode()
    with server.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        server.wait_until(lambda: server.metric("onsight_requests_total") == 1 and server.metric("onsight_requests_active") == 0)
        # It was cancelled, long before its end.
        assert server.metric("onsight_token_gap_seconds_count") < 2000


def streams_but_one(server, number):
    """So many streams of a server with the script ENDLESS, one of which its client left: that one was cancelled."""
    streams = [server.open_stream({"max_tokens": 4000}) for _ in range(number)]
    server.wait_until(lambda: server.metric("onsight_requests_active") == number)
    streams.pop().close()
    server.wait_until(lambda: server.metric("onsight_requests_active") == number - 1, seconds=2)
    return streams
