"""Ollama's API, as its clients send and read it."""
import base64
import json

HI = {"model": "nano", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_chat(serve):
    server = serve(script={"pieces": ["Hel", "lo"]})
    lines = server.post("/api/chat", HI).lines()
    assert [line["done"] for line in lines] == [False, False, True]
    assert "".join(line["message"]["content"] for line in lines) == "Hello"
    last = lines[-1]
    assert last["done_reason"] == "stop" and last["eval_count"] == 2 and last["prompt_eval_count"] == 7 and last["eval_duration"] == 10_000_000
    assert last["total_duration"] > 0 and last["created_at"].endswith("Z") and last["model"] == "nano"
    whole = server.post("/api/chat", {**HI, "stream": False}).json()
    assert whole["message"] == {"role": "assistant", "content": "Hello"} and whole["done"] is True


def test_generate(serve):
    server = serve(script={"pieces": ["Hel", "lo"]})
    lines = server.post("/api/generate", {"model": "nano:latest", "prompt": "Hi"}).lines()
    assert "".join(line["response"] for line in lines) == "Hello" and lines[-1]["done"]
    assert server.post("/api/generate", {"model": "nano", "prompt": "Hi", "stream": False}).json()["response"] == "Hello"
    # Nothing is asked: the model is to be loaded.
    assert server.post("/api/generate", {"model": "nano"}).json()["done_reason"] == "load"
    assert server.post("/api/chat", {"model": "nano", "messages": []}).json()["done_reason"] == "load"


def test_what_reaches_the_engine(serve, tmp_path, picture):
    log = tmp_path / "log"
    server = serve(script={"log": str(log)})
    image = base64.b64encode(picture).decode()
    options = {"temperature": 0.5, "seed": 7, "num_predict": 9, "top_k": 3, "top_p": 0.75, "min_p": 0.25, "repeat_penalty": 1.5, "stop": ["x"],
               "num_ctx": 4096}
    log.write_text("")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?", "images": [image, image]}]
    assert server.post("/api/chat", {"model": "nano", "messages": messages, "options": options, "keep_alive": "5m"}).status == 200
    assert server.post("/api/generate", {"model": "nano", "system": "Be brief.", "prompt": "What?", "images": [image],
                                         "options": {"num_predict": -1}}).status == 200
    first, second = map(json.loads, log.read_text().splitlines())
    assert first["messages"] == [{"role": "system", "parts": ["Be brief."]}, {"role": "user", "parts": ["<6x4>", "<6x4>", "What?"]}]
    assert [first[k] for k in ("temperature", "seed", "max_tokens", "top_k", "top_p", "min_p", "repetition_penalty", "stop")] == [
        0.5, 7, 9, 3, 0.75, 0.25, 1.5, ["x"]]
    assert second["messages"] == [{"role": "system", "parts": ["Be brief."]}, {"role": "user", "parts": ["<6x4>", "What?"]}]
    assert second["max_tokens"] == 4096 and second["temperature"] == 0


def test_formats(serve):
    server = serve()
    for form in ("json", "", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}):
        assert server.post("/api/chat", {**HI, "format": form}).status == 200, form
    for form in ("xml", 1, {"not": {}}):
        assert server.post("/api/chat", {**HI, "format": form}).status == 400, form


def test_logprobs(serve):
    server = serve(script={"pieces": ["é", "b"]})
    first = {"token": "é", "logprob": -0.5, "bytes": list("é".encode())}
    for path, body in (("/api/chat", HI), ("/api/generate", {"model": "nano", "prompt": "Hi"})):
        whole = server.post(path, {**body, "stream": False, "logprobs": True, "top_logprobs": 2}).json()["logprobs"]
        assert whole[0] == {**first, "top_logprobs": [first, {"token": "?", "logprob": -1.5, "bytes": [63]}]}
        assert [t["token"] for t in whole] == ["é", "b"]
        lines = server.post(path, {**body, "logprobs": True}).lines()
        assert lines[0]["logprobs"] == [first] and [t["token"] for line in lines for t in line.get("logprobs", [])] == ["é", "b"]
        assert "logprobs" not in server.post(path, {**body, "stream": False, "top_logprobs": 2}).json()
        for wrong in ({"logprobs": "yes"}, {"logprobs": True, "top_logprobs": 21}, {"top_logprobs": -1}):
            assert server.post(path, {**body, **wrong}).status == 400, wrong


def test_what_is_refused_says_so_in_ollamas_shape(serve):
    server = serve()
    for body, status in (({**HI, "model": "other"}, 404), ({**HI, "tools": [{"type": "function"}]}, 400), ({**HI, "think": True}, 400),
                         ({**HI, "options": {"temperature": "hot"}}, 400), ({**HI, "options": 1}, 400), ({**HI, "options": {"presence_penalty": 1}}, 400),
                         ({**HI, "messages": [{"role": "tool"}]}, 400), ({**HI, "messages": [{"role": "user", "images": ["!"]}]}, 400), ({}, 400)):
        reply = server.post("/api/chat", body)
        assert reply.status == status and set(reply.json()) == {"error"}, body
    assert server.post("/api/pull", {"model": "x"}).status == 501
    assert server.get("/api/nowhere").json().keys() == {"error"}


def test_what_clients_ask_of_a_model(serve):
    server = serve("--name", "llava:7b")
    assert [m["name"] for m in server.get("/api/tags").json()["models"]] == ["nano:latest", "llava:7b"]
    assert server.get("/api/ps").json()["models"][0]["model"] == "nano:latest"
    assert server.get("/api/version").json()["version"][0].isdigit()
    assert "vision" in server.post("/api/show", {"model": "nano"}).json()["capabilities"]
    assert server.post("/api/show", {"model": "x"}).status == 404
