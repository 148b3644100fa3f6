"""HTTPS: what holds for HTTP holds for it, and what comes before the first request."""
import json
import signal
import ssl
import subprocess
import time

import pytest

from serving import ENDLESS, HI, LONG, MANY, Server, read_nothing, stream_at_once, streams_but_one


def make_certificate(folder, name, *more):
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate, *(more or ["-nodes"])],
                   check=True, capture_output=True, stdin=subprocess.DEVNULL)  # fmt: skip
    return certificate, key


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture
def client(files):
    return ssl.create_default_context(cafile=files[0])


@pytest.fixture
def serve(launch, files, client):
    return lambda *arguments, **more: Server(launch("--tls-cert", files[0], "--tls-key", files[1], *arguments, **more), client)


def test_answers_and_streams(serve):
    server = serve(script={"pieces": ["Hel", "lo"]})
    assert server.get("/health").json()["status"] == "ok"
    assert server.chat().json()["choices"][0]["message"]["content"] == "Hello"
    events = server.chat(stream=True).events()
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events[:-1]) == "Hello" and events[-1] == "[DONE]"
    # Several on one connection; an answer larger than a record; a body larger than what is read at once.
    connection = server.connect()
    for path in ("/v1/models", "/", "/openapi.json"):
        connection.request("GET", path)
        assert len(connection.getresponse().read()) > 50
    connection.request("POST", "/v1/chat/completions", json.dumps({**HI, "user": "x" * 3_000_000}))
    assert connection.getresponse().status == 200
    connection.close()


def test_many_streams(serve):
    server = serve(script=MANY)
    stream_at_once(server, 50)


@pytest.mark.filterwarnings("ignore:.*TLSv1_1")
def test_versions_and_protocols(serve, client):
    server = serve()
    client.set_alpn_protocols(["h2", "http/1.1"])
    with server.socket() as s:
        assert s.version() == "TLSv1.3" and s.selected_alpn_protocol() == "http/1.1"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with server.socket() as s:
        assert s.version() == "TLSv1.2"
    client.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError):
        server.socket()
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)protocol version|protocol_version"):
        server.socket()


def test_plain_http_is_told_so(serve):
    server = serve()
    with server.plain_socket() as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        out = b""
        while piece := s.recv(4096):
            out += piece
    assert out.startswith(b"HTTP/1.1 400 ") and b"expected TLS" in out and b'"ok"' not in out
    with server.plain_socket() as s:
        s.sendall(b"\0" * 200)
        assert b"HTTP" not in s.recv(4096)
    assert server.get("/health").status == 200


def test_a_client_that_dawdles_before_its_first_request(serve):
    server = serve("--header-seconds", "1")
    silent = [server.plain_socket() for _ in range(10)]
    began = time.monotonic()
    for s in silent[:5]:
        s.sendall(b"\x16\x03\x01\x02")  # the first bytes of a handshake
    agreed = server.socket()
    agreed.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
    assert server.get("/health").status == 200
    for s in silent:
        assert s.recv(100) == b""
        s.close()
    assert agreed.recv(4096).startswith(b"HTTP/1.1 408 ")
    agreed.close()
    assert 0.5 < time.monotonic() - began < 5


def test_a_client_that_leaves_frees_its_slot(serve):
    server = serve(script=ENDLESS)
    streams = streams_but_one(server, 2)
    with pytest.raises(ssl.SSLError, match="AFTER_CLOSE_NOTIFY"):
        streams[0].unwrap()  # says that it sends no more, and takes no more
    server.wait_until(lambda: server.metric("onsight_requests_active") == 0, seconds=2)


def test_limits(serve):
    server = serve("--max-body", "100K", "--max-connections", "2")
    with server.socket() as s:
        # Told although it goes on sending.
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(20):
            s.sendall(b"a" * 10_000)
        out = s.recv(4096)
        assert out.startswith(b"HTTP/1.1 413 ")
    held = [server.plain_socket() for _ in range(2)]
    server.wait_until(lambda: server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503 "))
    for s in held:
        s.close()
    server.wait_until(lambda: server.get("/health").status == 200)


def test_a_reader_too_slow_is_dropped(serve):
    read_nothing(serve(script=LONG))


def test_it_ends_as_it_should(serve):
    server = serve(script={"pieces": ["a"] * 50, "delay_ms": 10})
    silent, idle = server.plain_socket(), server.socket()
    stream = server.open_stream()
    server.process.send_signal(signal.SIGTERM)
    rest = b""
    while piece := stream.recv(65536):  # an end without TLS's word of it would raise
        rest += piece
    stream.close()
    assert b"data: [DONE]" in rest and server.process.wait(5) == 0
    silent.close()
    idle.close()


def test_uploads_lead_back_over_tls(serve):
    server = serve()
    reply = server.post("/upload/v1beta/files", {"file": {"displayName": "x"}}, X_Goog_Upload_Protocol="resumable", X_Goog_Upload_Command="start",
                        X_Goog_Upload_Header_Content_Type="image/png", X_Forwarded_Proto="http")  # fmt: skip
    assert reply.status == 200 and reply.headers["x-goog-upload-url"].startswith(f"https://127.0.0.1:{server.port}/")


def test_files_that_cannot_be_used(launch, files, tmp_path):
    certificate, key = files
    other, other_key = make_certificate(tmp_path, "other")
    rsa = tmp_path / "rsa.key"
    subprocess.run(["openssl", "genrsa", "-out", rsa, "2048"], check=True, capture_output=True)
    _, locked = make_certificate(tmp_path, "locked", "-passout", "pass:secret")
    (tmp_path / "text").write_text("no certificate\n")
    for arguments, code, words in (
        (["--tls-cert", certificate], 2, ["--tls-cert", "--tls-key"]),
        (["--tls-key", key], 2, ["--tls-key", "--tls-cert"]),
        (["--tls-cert", tmp_path / "none", "--tls-key", key], 3, ["none"]),
        (["--tls-cert", certificate, "--tls-key", tmp_path / "none"], 3, ["none"]),
        (["--tls-cert", tmp_path / "text", "--tls-key", key], 3, ["text", "expected a certificate"]),
        (["--tls-cert", key, "--tls-key", key], 3, ["server.key", "expected a certificate"]),
        (["--tls-cert", certificate, "--tls-key", tmp_path / "text"], 3, ["text", "expected a private key"]),
        (["--tls-cert", certificate, "--tls-key", certificate], 3, ["server.crt", "expected a private key"]),
        (["--tls-cert", certificate, "--tls-key", locked], 3, ["locked.key", "without a passphrase"]),
        (["--tls-cert", certificate, "--tls-key", other_key], 3, ["other.key", "server.crt"]),
        (["--tls-cert", certificate, "--tls-key", rsa], 3, ["rsa.key", "server.crt"]),
    ):
        process = launch(*arguments)
        said = process.communicate(timeout=20)[1].decode()
        assert process.returncode == code and said.count("\n") == 1, (arguments, said)
        assert all(word in said for word in words), (arguments, said)
