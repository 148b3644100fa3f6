"""What holds for every request: streams, limits, keys, ends."""
import copy
import json
import os
import signal
import socket
import subprocess
import threading
import time

import jsonschema
import pytest
from pictures import png
from serving import ENDLESS, HI, LONG, MANY, data_url, read_nothing, stream_at_once, streams_but_one



def test_it_says_where_it_is(serve):
    server = serve()
    assert server.host == "127.0.0.1" and "serving nano" in server.line
    assert server.get("/health").json() == {"status": "ok", "model": "nano", "active": 0, "queued": 0}


def test_a_client_that_leaves_frees_its_slot(serve):
    server = serve(script=ENDLESS)
    streams = streams_but_one(server, 3)
    # Also one that waits for an answer in one piece.
    body = json.dumps({**HI, "max_tokens": 4000}).encode()
    waiting = server.socket()
    waiting.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    server.wait_until(lambda: server.metric("onsight_requests_active") == 3)
    waiting.close()
    server.wait_until(lambda: server.metric("onsight_requests_active") == 2, seconds=2)
    for stream in streams:
        stream.close()
    server.wait_until(lambda: server.metric("onsight_requests_active") == 0, seconds=2)


def test_two_hundred_streams(serve):
    server = serve(script=MANY)
    stream_at_once(server, 200)
    assert server.metric("onsight_requests_total") == 200


def test_a_full_queue_is_told_when_to_come_again(serve):
    server = serve(script={"queued": 0})
    for body in (HI, {**HI, "stream": True}, {**HI, "n": 2}):
        reply = server.post("/v1/chat/completions", body)
        assert reply.status == 429 and int(reply.headers["retry-after"]) >= 1
        assert reply.json()["error"]["code"] == "rate_limit_exceeded"
    assert server.post("/api/chat", HI).status == 429


def test_what_never_fits_is_told_so(serve):
    server = serve("--max-active", "1", "--max-queued", "1")
    error = server.chat(n=3).json()["error"]
    assert (error["param"], error["code"]) == ("n", "integer_above_max_value") and "from 1 to 2" in error["message"]
    reply = server.post("/v1beta/models/nano:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"candidateCount": 3}})
    assert reply.status == 400 and "generationConfig.candidateCount" in reply.json()["error"]["message"]
    assert server.chat(n=2).status in (200, 429)


def test_keep_alive_pipelines_and_head(serve):
    server = serve()
    connection = server.connect()
    for _ in range(3):
        connection.request("GET", "/v1/models")
        assert json.loads(connection.getresponse().read())["object"] == "list"
    connection.request("GET", "/nowhere")
    response = connection.getresponse()
    assert (response.status, response.read() != b"") == (404, True)
    connection.request("HEAD", "/health")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"") and int(response.headers["content-length"]) > 10
    connection.close()
    out = server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert out.count(b"HTTP/1.1 200 OK") == 2 and out.index(b'"status"') < out.index(b'"list"')
    old = server.raw(b"GET /health HTTP/1.0\r\n\r\n")
    assert b"Connection: close" in old


def test_a_client_that_asks_first_may_send(serve):
    server = serve()
    body = json.dumps(HI).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server.socket() as s:
        s.sendall(head)
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body)
        assert s.recv(15) == b"HTTP/1.1 200 OK"
    # What is refused is refused before it is sent.
    out = server.raw(head.replace(b"/v1/chat/completions", b"/nowhere"))
    assert out.startswith(b"HTTP/1.1 404") and b"100 Continue" not in out


def test_bodies_in_chunks(serve):
    server = serve()
    body = json.dumps(HI).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7)) + b"0\r\n\r\n"
    out = server.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert out.startswith(b"HTTP/1.1 200 OK") and b"Seen." in out


def test_a_stream_to_an_old_client_ends_with_its_connection(serve):
    server = serve(script={"pieces": ["a", "b"]})
    body = json.dumps({**HI, "stream": True}).encode()
    out = server.raw(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert b"Transfer-Encoding" not in out and out.endswith(b"data: [DONE]\n\n")


def test_bodies_that_wait_are_bounded_together(serve):
    server = serve("--max-body", "100K", "--max-bodies", "150K")
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    body = json.dumps(HI).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(head + b"Content-Length: 90000\r\n\r\n{")
        server.wait_until(lambda: server.raw(head + b"Content-Length: 80000\r\n\r\n").startswith(b"HTTP/1.1 503 "))
        assert b"\r\nRetry-After: 1\r\n" in server.raw(head + b"Content-Length: 80000\r\n\r\n")
        assert server.raw(head + b"Transfer-Encoding: chunked\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        assert server.raw(head + b"Content-Length: %d\r\n\r\n" % len(body) + body).startswith(b"HTTP/1.1 200 ")
    server.wait_until(lambda: server.raw(head + b"Content-Length: 80000\r\n\r\n" + body.ljust(80000)).startswith(b"HTTP/1.1 200 "))


def test_a_stream_that_waits_says_that_it_is_there(serve):
    server = serve("--ping-seconds", "1", script={"pieces": ["late"], "delay_ms": 2500})
    body = json.dumps({**HI, "stream": True}).encode()
    out = server.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    head, answer = out.split(b'"late"')
    assert 1 <= head.count(b": still here\n\n") <= 3 and b"[DONE]" in answer


def test_limits_have_their_statuses(serve, picture):
    server = serve("--max-body", "100K", "--max-images", "2")
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    assert server.raw(head + b"Content-Length: 102401\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert server.raw(head + b"X: " + b"a" * 20_000).startswith(b"HTTP/1.1 431 ")
    assert server.raw(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 414 ")
    assert server.raw(b"\x16\x03\x01 no HTTP\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    reply = server.ask("DELETE", "/v1/models")
    assert reply.status == 405 and reply.headers["allow"] == "GET, HEAD, OPTIONS"
    part = {"type": "image_url", "image_url": {"url": data_url(picture)}}
    assert server.chat(messages=[{"role": "user", "content": [part] * 2}]).status == 200
    reply = server.chat(messages=[{"role": "user", "content": [part] * 3}])
    error = reply.json()["error"]
    assert reply.status == 400 and "at most 2" in error["message"]
    assert (error["param"], error["code"]) == ("messages[0].content[2]", "array_above_max_length")
    assert server.get("/health").status == 200


def image_part(picture):
    return {"type": "image_url", "image_url": {"url": data_url(picture)}}


def test_pixels_of_requests_are_bounded(serve):
    """By their bytes once decoded: a file of a few may be large then. What a request held is free behind it."""
    server = serve("--pixel-memory", "1M", "--picture-memory", "2M")
    parts = [image_part(png(400, 300, (i, 0, 0))) for i in range(4)]  # 360,000 bytes each
    ask = lambda parts: server.chat(messages=[{"role": "user", "content": parts}])  # noqa: E731

    def refused_at_the_third(many):
        reply = ask(many)
        assert reply.status == 429 and int(reply.headers["retry-after"]) >= 1 and "1 MiB" in reply.json()["error"]["message"]
        return "messages[0].content[2]" in reply.json()["error"]["message"]

    for _ in range(3):  # the answer may come a little before what was held is free
        server.wait_until(lambda: ask(parts[:2]).status == 200)
        for many in (parts[:3], parts[:1] * 3):
            server.wait_until(lambda many=many: refused_at_the_third(many))


def test_it_says_how_it_is_while_others_are_taken_apart(serve):
    server = serve()
    answered = []
    pictures = [png(4000, 4000, (i, 0, 0)) for i in range(4)]
    ask = lambda i: answered.append((server.chat(messages=[{"role": "user", "content": [image_part(p + bytes([i])) for p in pictures]}]).status, time.monotonic()))  # noqa: E731
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    for path in ("/health", "/metrics", "/v1/models"):
        assert server.get(path).status == 200
    told = time.monotonic()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answered} == {200}
    assert sum(when > told for _, when in answered) >= 4, "they were answered before it was asked"


SHAPES = {  # of an error, by who is asked
    "openai": lambda error, status: set(error["error"]) == {"message", "type", "param", "code"} and error["error"]["type"] == "invalid_request_error",
    "gemini": lambda error, status: set(error["error"]) == {"code", "message", "status"} and error["error"]["code"] == status,
    "ollama": lambda error, status: isinstance(error["error"], str),
    "server": lambda error, status: set(error["error"]) == {"message", "code"} and error["error"]["code"] == status,
}
HEADS = [  # first line, fields, whose
    (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n", "openai"),
    (b"POST /v1/nowhere?a=b HTTP/1.1\r\nHost: localhost\r\n", "openai"),
    (b"POST /v1beta/models/nano:generateContent HTTP/1.1\r\nHost: localhost\r\n", "gemini"),
    (b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\n", "ollama"),
    (b"POST /health HTTP/1.1\r\nHost: localhost\r\n", "server"),
]


def error_of(out):
    head, body = out.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), json.loads(body)


def test_what_cannot_be_read_is_refused_in_the_shape_of_its_api(serve):
    server = serve("--max-body", "100K")
    for head, whose in HEADS:
        for fields, status in ((b"Content-Length: 102401\r\n\r\n", 413), (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415),
                               (b"Expect: miracles\r\n\r\n", 417), (b"X: " + b"a" * 20_000, 431), (b"Host: localhost\r\n\r\n", 400),
                               (b"Transfer-Encoding: gzip\r\n\r\n", 501)):
            found, error = error_of(server.raw(head + fields))
            assert found == status, (head, fields[:40], error)
            if status == 501:
                assert whose != "openai" or error["error"].pop("type") == "server_error"
                assert set(error) == {"error"}
            else:
                assert SHAPES[whose](error, status), (head, fields[:40], error)
    # What a target begins with says whose it is, though the rest is none.
    for target, whose in ((b"/v1/../x", "openai"), (b"/v1/models/%zz", "openai"), (b"/v1beta/models/a%00", "gemini"), (b"/upload/v1/files/..", "gemini"),
                          (b"/v1beta/models?pageSize=%ff", "gemini"), (b"/api/a//b", "ollama"), (b"/../v1/x", "server"), (b"x", "server")):
        status, error = error_of(server.raw(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        assert status == 400 and SHAPES[whose](error, status), (target, error)
    # A path of two APIs, and who asks is known.
    two = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-goog-api-key: k\r\nContent-Length: 102401\r\n\r\n"
    assert SHAPES["gemini"](error_of(server.raw(two))[1], 413)
    assert SHAPES["server"](error_of(server.raw(b"hello\r\n\r\n"))[1], 400)
    assert server.raw(HEADS[0][0].replace(b"POST", b"HEAD") + b"Expect: miracles\r\n\r\n").endswith(b"\r\n\r\n")


def test_who_is_too_slow_is_told_so_in_the_shape_of_its_api(serve):
    server = serve("--header-seconds", "1", "--body-seconds", "1")
    waiting = []
    for head, whose in (*HEADS, (b"POST /v1/chat/comp", "server")):
        rests = [b"X: "]
        if whose != "server" and b"nowhere" not in head:  # those are refused before their bodies are waited for
            rests.append(b"Content-Length: 9\r\n\r\n{")
        for rest in rests:
            waiting.append((server.socket(), head + rest, whose))
            waiting[-1][0].sendall(head + rest)
    for s, sent, whose in waiting:
        out = b""
        while piece := s.recv(65536):
            out += piece
        s.close()
        status, error = error_of(out)
        assert status == 408 and SHAPES[whose](error, status), (sent, error)


def test_no_error_shows_a_path_of_the_server(serve, tmp_path, picture):
    """What fails in the file store too, whose directory is in tmp_path."""
    server = serve("--files-limit", "100M")
    large = server.post("/upload/v1beta/files", b"x" * (21 << 20), X_Goog_Upload_Protocol="raw", Content_Type="image/png").json()["file"]
    small = server.post("/upload/v1beta/files", picture, X_Goog_Upload_Protocol="raw", Content_Type="image/png").json()["file"]
    [store] = tmp_path.glob("onsight-files-*")

    def ask(file):
        reply = server.post("/v1beta/models/nano:generateContent", {"contents": [{"parts": [{"fileData": {"fileUri": file["uri"]}}]}]})
        assert str(tmp_path) not in reply.body.decode(), reply.body
        return reply.status

    assert ask(small) == 200 and ask(large) == 400
    for path in store.iterdir():
        path.unlink()
    assert ask(small) == 500
    store.rmdir()
    reply = server.post("/upload/v1beta/files", picture, X_Goog_Upload_Protocol="raw", Content_Type="image/png")
    assert reply.status == 500 and str(tmp_path) not in reply.body.decode(), reply.body


def test_a_client_that_dawdles_is_told_so(serve):
    server = serve("--header-seconds", "1", "--body-seconds", "1")
    slow = [server.socket() for _ in range(20)]
    began = time.monotonic()
    for s in slow:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
    assert server.get("/health").status == 200
    body = server.socket()
    body.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    for _ in range(4):
        time.sleep(0.2)
        for s in slow:
            s.sendall(b"a")  # a byte now and then does not help
    for s in [*slow, body]:
        assert s.recv(4096).startswith(b"HTTP/1.1 408 ")
        s.close()
    assert time.monotonic() - began < 5


def test_too_many_connections(serve):
    server = serve("--max-connections", "3")
    held = [server.socket() for _ in range(3)]
    time.sleep(0.1)
    assert server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503 ")
    held.pop().close()
    server.wait_until(lambda: server.get("/health").status == 200)
    for s in held:
        s.close()


def test_a_reader_too_slow_is_dropped(serve):
    read_nothing(serve(script=LONG))


def test_the_time_of_a_request_ends(serve):
    server = serve("--time-limit", "1", script=ENDLESS)
    reply = server.chat(max_tokens=4000).json()
    assert reply["choices"][0]["finish_reason"] == "length" and set(reply["choices"][0]["message"]["content"]) == {"a"}
    nothing = serve("--time-limit", "1", script={"pieces": ["a"], "delay_ms": 5, "tiles": 100_000})
    reply = nothing.chat()
    assert reply.status == 504 and reply.json()["error"]["type"] == "server_error"


def test_what_time_ends_under_a_schema_is_told_as_cut(serve):
    """It is not the value that was asked for: the scripted engine is in the middle of it."""
    server = serve("--time-limit", "1", script=ENDLESS)
    schema = {"type": "array", "items": {"type": "integer"}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert server.chat(max_tokens=4000, response_format=form).json()["choices"][0]["finish_reason"] == "length"
    reply = server.post("/v1/responses", {"model": "nano", "input": "Hi", "max_output_tokens": 4000,
                                          "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}).json()
    assert reply["status"] == "incomplete" and reply["incomplete_details"] == {"reason": "max_output_tokens"}
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema, "maxOutputTokens": 4000}
    reply = server.post("/v1beta/models/nano:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": config})
    assert reply.json()["candidates"][0]["finishReason"] == "MAX_TOKENS"
    reply = server.post("/api/chat", {**HI, "stream": False, "format": schema, "options": {"num_predict": 4000}})
    assert reply.json()["done_reason"] == "length"


def test_keys(serve, tmp_path):
    file = tmp_path / "key"
    file.write_text("secret\n")
    for server in (serve("--api-key", "secret"), serve("--api-key-file", file), serve(ONSIGHT_API_KEY="secret")):
        assert server.get("/health").status == 200 and server.get("/").status == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
            reply = server.get(path)
            assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer", path
        assert server.get("/v1/models").json()["error"]["code"] == "invalid_api_key"
        assert server.get("/v1/models", Authorization="Bearer wrong").status == 401
        assert server.get("/v1/models", Authorization="Bearer secret").status == 200
        assert server.get("/v1/models", x_api_key="secret").status == 200
        assert server.get("/v1/models", x_goog_api_key="secret").status == 200
        assert server.get("/v1/models?key=secret").status == 200
        # A body that needs a key is not read without one.
        out = server.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n")
        assert out.startswith(b"HTTP/1.1 401 ")


def test_without_the_key_no_room_is_taken(serve):
    """By heads that say how much will come, to paths that need no key."""
    server = serve("--api-key", "secret", "--max-body", "100K", "--max-bodies", "150K")
    for path, status in ((b"POST /upload/v1beta/files/guess", 404), (b"PUT /upload/v1/files/guess", 404), (b"GET /health", 401), (b"GET /", 401)):
        for length in (b"Content-Length: 100000", b"Transfer-Encoding: chunked"):
            with server.socket() as s:
                s.sendall(path + b" HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\nExpect: 100-continue\r\n\r\n")
                assert s.recv(12) == b"HTTP/1.1 %d" % status, (path, length)
                # While that one is open.
                assert server.chat().status == 401
                server.wait_until(lambda: server.post("/v1/chat/completions", json.dumps(HI).ljust(100_000), x_api_key="secret").status == 200)
    assert server.ask("GET", "/health", headers={"Content-Length": "0"}).status == 200


def test_a_name_that_was_made_to_lead_here_is_refused(serve):
    server = serve()
    for host in ("evil.example", "127.0.0.1.evil.example:80"):
        assert server.get("/v1/models", Host=host).status == 403
    assert server.get("/v1/models", Host="localhost:1").status == 200


def test_pages_of_other_sites(serve):
    server = serve()
    own = f"http://127.0.0.1:{server.port}"
    assert server.get("/v1/models", Origin="http://evil.example").status == 403
    reply = server.get("/v1/models", Origin=own)
    assert reply.status == 200 and "access-control-allow-origin" not in reply.headers
    server = serve("--cors", "http://app.example")
    reply = server.get("/v1/models", Origin="http://app.example")
    assert reply.status == 200 and reply.headers["access-control-allow-origin"] == "http://app.example"
    assert "retry-after" in reply.headers["access-control-expose-headers"].lower()
    reply = server.ask("OPTIONS", "/v1/chat/completions", headers={
        "Origin": "http://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"})
    assert reply.status == 204 and reply.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert server.get("/v1/models", Origin="http://evil.example").status == 403


def test_paths_lead_nowhere_else(serve):
    server = serve()
    for path in ("/../../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fetc/passwd", "/v1/models/..", "//etc/passwd", "/etc/passwd", "/index.html/.."):
        out = server.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert out[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404"), path
        assert b"root:" not in out


def test_the_page(serve):
    server = serve()
    reply = server.get("/")
    assert reply.headers["content-type"].startswith("text/html") and b"onsight" in reply.body
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "script-src 'unsafe" not in policy
    assert server.get("/", If_None_Match=reply.headers["etag"]).status == 304


def is_described(answer, schema, path):
    """Valid, and with no name at its top that is not described."""
    jsonschema.validate(answer, schema)
    for one in schema.get("anyOf", [schema]):
        answers, inner = (answer, one["items"]) if one.get("type") == "array" else ([answer], one)
        if all(set(each) <= set(inner.get("properties", each)) for each in answers):
            return
    raise AssertionError((path, answer))


# Names that the originals have, and some that they do not.
NAMES = """audio background best_of conversation echo extra_body frequency_penalty function_call functions guided_json include input instructions keep_alive
length_penalty logit_bias logprobs max_completion_tokens max_output_tokens max_tiles max_tokens max_tool_calls media_io_kwargs messages metadata min_p
min_tokens mm_processor_kwargs modalities model n nonsense options parallel_tool_calls prediction presence_penalty previous_response_id prompt
prompt_cache_key prompt_cache_retention reasoning reasoning_effort repetition_penalty response_format safety_identifier seed service_tier stop store stream
stream_options suffix temperature text think tool_choice tools top_k top_logprobs top_p truncation user verbosity web_search_options
contents systemInstruction generationConfig safetySettings labels serviceTier toolConfig cachedContent generateContentRequest
name role content refusal annotations parsed tool_calls tool_call_id audio reasoning_content
url detail type image_url video_url input_audio file file_id status id phase
include_usage include_obfuscation continuous_usage_stats strict schema description json_schema format effort summary generate_summary
topP topK maxOutputTokens candidateCount stopSequences responseMimeType responseSchema responseJsonSchema _responseJsonSchema responseLogprobs
responseModalities mediaResolution presencePenalty frequencyPenalty thinkingConfig thinkingBudget includeThoughts
inlineData fileData videoMetadata thought thoughtSignature partMetadata mimeType data displayName fileUri fps startOffset endOffset parts""".split()
NOT_DESCRIBED = {  # of Gemini's, that say nothing unless they are refused
    "modelArmorConfig", "mediaResolution", "speechConfig", "store"}
CHAT, RESPONSES, GENERATE = "/v1/chat/completions", "/v1/responses", "/v1beta/models/{model}:generateContent"
TEXT, USER = {"type": "text", "text": "Hi"}, {"role": "user", "content": "Hi"}


def objects():
    """The objects of a request: the path, a body with one of them, and how its schema is reached."""
    url = data_url(png(6, 4))
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    image = {"type": "image_url", "image_url": {"url": url}}
    message = lambda part: {**HI, "messages": [{"role": "user", "content": [part]}]}  # noqa: E731
    item = lambda part: {"model": "nano", "input": [{"role": "user", "content": [part]}]}  # noqa: E731
    config = lambda **c: {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": c}  # noqa: E731
    for path in (CHAT, "/v1/estimate"):
        yield path, HI, ()
    yield CHAT, HI, ("messages", 0)
    yield CHAT, {**HI, "stream": True, "stream_options": {}}, ("stream_options",)
    yield CHAT, {**HI, "response_format": form}, ("response_format",)
    yield CHAT, {**HI, "response_format": form}, ("response_format", "json_schema")
    yield CHAT, message(image), ("messages", 0, "content", 0, "image_url")
    yield RESPONSES, {"model": "nano", "input": "Hi"}, ()
    yield RESPONSES, {"model": "nano", "input": [USER]}, ("input", 0)
    yield RESPONSES, {"model": "nano", "input": "Hi", "text": {}}, ("text",)
    yield RESPONSES, {"model": "nano", "input": "Hi", "text": {"format": {"type": "text"}}}, ("text", "format")
    yield RESPONSES, {"model": "nano", "input": "Hi", "reasoning": {}}, ("reasoning",)
    yield RESPONSES, {"model": "nano", "input": "Hi", "stream_options": {}}, ("stream_options",)
    yield GENERATE, config(), ()
    yield GENERATE, config(), ("contents", 0)
    yield GENERATE, config(), ("contents", 0, "parts", 0)
    yield GENERATE, config(), ("generationConfig",)
    yield GENERATE, config(thinkingConfig={}), ("generationConfig", "thinkingConfig")


def described_names(schema, place):
    for step in place:
        found = [s for s in schema.get("anyOf", [schema]) if ("items" if step == 0 else "properties") in s]
        schema = found[-1]["items"] if step == 0 else found[-1]["properties"][step]
    [found] = [s for s in schema.get("anyOf", [schema]) if "properties" in s]
    return found["properties"]


def test_what_is_described_is_taken_and_nothing_else(serve):
    """Of each object of the main requests, name by name: null is as if it were not there, and unknown names are refused."""
    server = serve()
    paths = server.get("/openapi.json").json()["paths"]
    for path, body, place in objects():
        schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, schema)
        described = described_names(schema, place)
        for name in set(NAMES) | set(described):
            asked = copy.deepcopy(body)
            inner = asked
            for step in place:
                inner = inner[step]
            if name in inner or (path == GENERATE and "_" in name[1:]):  # that API takes a name in either spelling
                continue
            inner[name] = None
            reply = server.post(path.replace("{model}", "nano"), asked)
            unknown = b"Unknown parameter" in reply.body or b"there is no such field" in reply.body
            if name in described:
                assert reply.status == 200, (path, place, name, reply.body)
                jsonschema.validate(asked, schema)
            elif not (path == GENERATE and name in NOT_DESCRIBED):
                assert unknown and reply.status == 400, (path, place, name, reply.body)


def test_the_description_is_true(serve):
    server = serve()
    document = server.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        if "/files" in path:
            continue  # test_gemini.py uploads some
        concrete = path.replace("{model}", "nano")
        assert "{" not in concrete, path
        methods = {m.upper() for m in operations}
        for method, operation in operations.items():
            asked = {"contents": [{"parts": [{"text": "Hi"}]}]} if ":" in path else {"model": "nano", "input": "Hi"} if "responses" in path else HI
            asked = {"model": "nano", "prompt": "Hi"} if path == "/api/generate" else asked
            asked = {**asked, "stream": False} if path.startswith("/api/") else asked
            body = json.dumps(asked) if "requestBody" in operation else None
            reply = server.ask(method.upper(), concrete, body)
            assert reply.status == 200, (path, reply.status, reply.body)
            kind = reply.headers["content-type"].split(";")[0]
            described = operation["responses"]["200" if reply.status == 200 else "4XX"]["content"]
            assert kind in described, (path, kind)
            if kind == "application/json":
                is_described(reply.json(), described[kind]["schema"], path)
        reply = server.ask("PATCH", concrete)
        assert reply.status in (404, 405) and methods <= set(reply.headers["allow"].split(", ")), path


def many(begin, item, end):
    return begin + item * 200_000 + end


@pytest.mark.parametrize("path, body", [
    ("/v1/chat/completions", many('{"messages": [', "{}," * 3, "{}]}")),
    ("/v1/chat/completions", "{" + ",".join(f'"a{i}":0' for i in range(200_000)) + "}"),
    ("/v1/chat/completions",
     many('{"model": "nano", "messages": [{"role": "user", "content": [', '{"type":"text","text":""},', '{"type":"text","text":"Hi"}]}]}')),
    ("/v1beta/models/nano:generateContent", many('{"contents": {"parts": [', '{"text":""},', '{"text":"Hi"}]}}')),
    ("/v1beta/models/nano:generateContent", many('{"' + "a" * 1_000_000 + '": [', "0,", "0]}")),
    ("/api/chat", many('{"model": "nano", "stream": false, "messages": [', '{"role":"user"},', '{"role":"user"}]}')),
], ids=["objects", "names", "parts", "Gemini's parts", "a long name", "messages"])
def test_many_small_things_take_as_long_as_their_bytes(serve, path, body):
    """Not as what looks through all that came before, for each of them: that takes minutes."""
    server = serve()
    connection = server.connect(timeout=300)
    connection.request("POST", path, body)
    response = connection.getresponse()
    assert response.status in (200, 400)
    assert len(response.read()) < 2000  # what repeats a name does so in part
    connection.close()
    with open(f"/proc/{server.process.pid}/stat") as stat:
        ticks = stat.read().rsplit(")", 1)[1].split()[11:13]
    assert sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") < 20


def test_a_picture_is_decoded_once(serve, picture):
    server = serve()
    part = {"type": "image_url", "image_url": {"url": data_url(picture)}}
    turns = [{"role": "user", "content": [part]}]
    assert server.chat(messages=turns, n=2).status == 200
    turns += [{"role": "assistant", "content": "A square."}, {"role": "user", "content": [{"type": "text", "text": "And this?"}, part]}]
    assert server.chat(messages=turns).status == 200
    # The other APIs send the same bytes in a dress of their own.
    inline = {"inlineData": {"mimeType": "image/png", "data": data_url(picture).split(",")[1]}}
    assert server.post("/v1beta/models/nano:generateContent", {"contents": [{"parts": [inline]}]}).status == 200
    assert server.post("/api/generate", {"model": "nano", "prompt": "Hi", "images": [inline["inlineData"]["data"]]}).status == 200
    assert server.metric("onsight_pictures_decoded_total") == 1
    assert server.metric("onsight_pictures_reused_total") == 4
    assert server.metric("onsight_pictures_bytes") == 6 * 4 * 3
    # As many as fit are kept.
    server = serve("--picture-memory", "200")
    pictures = [png(6, 4), png(4, 6), png(8, 4)]
    for bytes_ in (pictures[0], pictures[1], pictures[0], pictures[2], pictures[0], pictures[1]):
        assert server.chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(bytes_)}}]}]).status == 200
    assert server.metric("onsight_pictures_decoded_total") == 4
    assert server.metric("onsight_pictures_bytes") <= 200


def test_metrics(serve):
    server = serve(script={"pieces": ["a", "b"]})
    server.chat()
    server.chat(model="other")
    text = server.get("/metrics").body.decode()
    assert 'onsight_http_requests_total{api="openai",status="200"} 1' in text
    assert 'onsight_http_requests_total{api="openai",status="404"} 1' in text
    assert "onsight_first_token_seconds_count 1" in text and "onsight_token_gap_seconds_count 1" in text
    for line in text.splitlines():
        assert line.startswith("# ") or len(line.split(" ")) == 2, line


def test_it_stops_when_told(serve):
    for how in (signal.SIGTERM, signal.SIGINT):
        server = serve()
        assert server.get("/health").status == 200
        held = server.connect()
        held.request("GET", "/health")
        held.getresponse().read()
        assert server.stop(how, timeout=5) == 0


def test_answers_end_before_it_stops(serve):
    server = serve(script={"pieces": ["a"] * 50, "delay_ms": 10})
    stream = server.open_stream()
    server.process.send_signal(signal.SIGTERM)
    rest = b""
    while piece := stream.recv(65536):
        rest += piece
    stream.close()
    assert b"data: [DONE]" in rest and server.process.wait(5) == 0


def test_answers_that_last_are_cut_short(serve):
    server = serve("--drain-seconds", "0", script=ENDLESS)
    stream = server.open_stream({"max_tokens": 4000})
    server.process.send_signal(signal.SIGTERM)
    rest = b""
    while piece := stream.recv(65536):
        rest += piece
    stream.close()
    assert b'"finish_reason":"length"' in rest and b"data: [DONE]" in rest
    assert server.process.wait(5) == 0
    # The second signal does not wait either.
    server = serve(script=ENDLESS)
    stream = server.open_stream({"max_tokens": 4000})
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(5) == 0
    stream.close()


def test_only_allowed_hosts_with_public_addresses_are_fetched_from(serve):
    def message(server, url):
        reply = server.chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
        assert reply.status == 400
        return reply.json()["error"]["message"]

    server = serve()
    assert "fetches nothing" in message(server, f"http://localhost:{server.port}/")
    server = serve("--allow-fetch", "localhost,*.example.org")
    assert "--allow-fetch" in message(server, "https://elsewhere.example/x.png")
    assert "--allow-fetch" in message(server, f"http://localhost:{server.port}/")
    assert "without a user" in message(server, "http://localhost@elsewhere.example/")
    assert "private address" in message(server, "http://localhost/x.png")


def test_wrong_usage(serve):
    server = serve()
    command = server.process.args
    for arguments, code, words in ((["--host", "nowhere.example"], 2, "--host"), (["--host", "0.0.0.0"], 2, "--api-key"),
                                   (["--port", str(server.port)], 1, "cannot listen"), (["--max-body", "much"], 2, "--max-body"),
                                   (["--api-key", ""], 2, "--api-key"), (["--port", "99999"], 2, "--port")):
        extra = ["--api-key", "x"] if "nowhere" in arguments[-1] else []
        done = subprocess.run([*command[:4], *arguments, *extra], capture_output=True, env={**os.environ, "ONSIGHT_SCRIPT": "{}"}, timeout=20)
        assert done.returncode == code and words in done.stderr.decode(), (arguments, done)
        assert done.stderr.count(b"\n") == 1
