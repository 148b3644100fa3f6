"""OpenAI's chat completions, as its clients send and read them."""
import json

import pytest

from serving import HI, data_url

SLOW = {"pieces": ["a", "b", "c"], "delay_ms": 5}


def test_an_answer(serve):
    server = serve(script={"pieces": ["Hel", "lo"]})
    reply = server.chat().json()
    assert reply["object"] == "chat.completion" and reply["model"] == "nano" and reply["id"].startswith("chatcmpl-")
    assert reply["choices"] == [{"index": 0, "message": {"role": "assistant", "content": "Hello", "refusal": None}, "logprobs": None,
                                 "finish_reason": "stop"}]
    assert reply["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}


def test_a_stream(serve):
    server = serve(script={"pieces": ["Hel", "lo"]})
    events = server.chat(stream=True, stream_options={"include_usage": True}).events()
    assert events[-1] == "[DONE]"
    assert {e["object"] for e in events[:-1]} == {"chat.completion.chunk"} and len({e["id"] for e in events[:-1]}) == 1
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events[:-2]) == "Hello"
    assert events[-3]["choices"][0]["finish_reason"] == "stop" and events[-3]["usage"] is None
    assert events[-2]["choices"] == [] and events[-2]["usage"]["total_tokens"] == 9
    assert "usage" not in server.chat(stream=True).events()[0]


def test_what_reaches_the_engine(serve, tmp_path, picture):
    log = tmp_path / "log"
    server = serve(script={"log": str(log)})
    url = data_url(picture)
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
                                     {"type": "image_url", "image_url": url}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Sure?"},
    ]
    log.write_text("")
    assert server.chat(messages=messages, temperature=0.5, top_p=0.75, seed=7, max_tokens=5, max_completion_tokens=9, stop=["x", "yy"],
                       user="me", store=True, tools=[], frequency_penalty=0, logit_bias=None).status == 200
    seen = json.loads(log.read_text())
    assert seen["messages"] == [{"role": "system", "parts": ["Be brief."]}, {"role": "user", "parts": ["Look:", "<6x4>", "<6x4>", "What is it?"]},
                                {"role": "assistant", "parts": ["A cat."]}, {"role": "user", "parts": ["Sure?"]}]
    assert (seen["temperature"], seen["top_p"], seen["seed"], seen["max_tokens"], seen["stop"]) == (0.5, 0.75, 7, 9, ["x", "yy"])
    assert seen["max_tiles"] == 0
    log.write_text("")
    low = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]
    server.chat(messages=low, stop="z")
    server.chat(max_tokens=1_000_000)
    first, second = map(json.loads, log.read_text().splitlines())
    assert first["max_tiles"] == 1 and first["stop"] == ["z"] and first["max_tokens"] == 1024 and first["temperature"] == 0
    assert second["max_tokens"] == 4096


def test_drafting_is_the_servers_choice(serve, tmp_path):
    for arguments, draft in (((), True), (("--no-draft",), False)):
        log = tmp_path / f"log{draft}"
        server = serve(*arguments, script={"log": str(log)})
        log.write_text("")
        assert server.chat(n=2).status == 200
        assert [json.loads(line)["draft"] for line in log.read_text().splitlines()] == [draft] * 2


def test_choices_have_seeds_of_their_own(serve, tmp_path):
    log = tmp_path / "log"
    server = serve(script={"log": str(log), **SLOW})
    log.write_text("")
    reply = server.chat(n=3, seed=40, temperature=1).json()
    assert [c["index"] for c in reply["choices"]] == [0, 1, 2]
    assert {c["message"]["content"] for c in reply["choices"]} == {"abc"}
    assert reply["usage"]["completion_tokens"] == 9 and reply["usage"]["prompt_tokens"] == 7
    assert [json.loads(line)["seed"] for line in log.read_text().splitlines()] == [40, 41, 42]
    events = server.chat(n=2, stream=True).events()
    for choice in range(2):
        mine = [e["choices"][0] for e in events[:-1] if e["choices"][0]["index"] == choice]
        assert "".join(c["delta"].get("content", "") for c in mine) == "abc" and mine[-1]["finish_reason"] == "stop"


def test_logprobs(serve):
    server = serve(script={"pieces": ["é", "b"]})
    content = server.chat(logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]["content"]
    assert [c["token"] for c in content] == ["é", "b"]
    assert content[0]["bytes"] == list("é".encode()) and content[0]["logprob"] == -0.5
    assert [t["token"] for t in content[0]["top_logprobs"]] == ["é", "?"]
    assert server.chat(logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    chunks = [e["choices"][0] for e in server.chat(logprobs=True, stream=True).events()[:-1]]
    assert [c["logprobs"]["content"][0]["token"] for c in chunks if c["delta"].get("content")] == ["é", "b"]


def test_the_length_ends_an_answer(serve):
    server = serve(script=SLOW)
    assert server.chat(max_tokens=2).json()["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("form", [
    {"type": "json_object"},
    {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object", "properties": {"a": {"type": "string"}},
                                                                                  "required": ["a"], "additionalProperties": False}}},
    {"type": "text"},
])
def test_forms(serve, form):
    assert serve().chat(response_format=form).status == 200


REFUSED = [
    ({"messages": []}, "messages"), ({"messages": "Hi"}, "messages"), ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"), ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/x.png"}}]}]}, "data:"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]},
     "messages[0].content[0].image_url.url"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]}, "data:"),
    ({"temperature": 3}, "temperature"), ({"temperature": "1"}, "temperature"), ({"top_p": -1}, "top_p"), ({"n": 9}, "n:"), ({"n": 0}, "n:"),
    ({"max_tokens": 0}, "max_tokens"), ({"stop": ["a"] * 5}, "stop"), ({"stop": ""}, "stop"), ({"seed": 1.5}, "seed"),
    ({"top_logprobs": 2}, "logprobs"), ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"), ({"presence_penalty": 1}, "presence_penalty"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"), ({"functions": [{}]}, "functions"),
    ({"audio": {"voice": "x"}}, "audio"), ({"modalities": ["audio"]}, "modalities"), ({"logit_bias": {"1": 2}}, "logit_bias"),
    ({"nonsense": 1}, "Unknown parameter: 'nonsense'"), ({"stream_options": {}}, "stream_options"),
    ({"response_format": {"type": "xml"}}, "response_format.type"), ({"response_format": {"type": "json_schema"}}, "schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}}, "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_object"}, "stop": "x"}, "stop"),
]


def test_what_is_refused_says_so_in_openais_shape(serve):
    server = serve()
    for change, words in REFUSED:
        reply = server.chat(**change)
        assert reply.status == 400, (change, reply.body)
        error = reply.json()["error"]
        assert error["type"] == "invalid_request_error" and set(error) == {"message", "type", "param", "code"}
        assert words in error["message"], (change, error)
    for body in ("", "[]", "{", '{"model": "nano"', "null", "\xff"):
        assert server.post("/v1/chat/completions", body.encode("latin-1")).status == 400, body


def image(url):
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}]}]}


def form(**described):
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def said(**more):
    return {"messages": [*HI["messages"], {"role": "assistant", "content": "A cat.", **more}, *HI["messages"]]}


def part(**fields):
    return {"messages": [{"role": "user", "content": [fields]}]}


URL = "messages[0].content[1].image_url.url"
BLAMED = [  # what is asked, the field that is to blame, the code
    ({"messages": None}, "messages", "missing_required_parameter"), ({"messages": "Hi"}, "messages", "invalid_type"),
    ({"messages": []}, "messages", "empty_array"), ({"messages": [1]}, "messages[0]", "invalid_type"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type", "invalid_value"),
    (image("http://10.0.0.1/x.png"), URL, "invalid_image_url"), (image("file:///etc/passwd"), URL, "invalid_image_url"),
    (image("data:image/png;base64,!"), URL, "invalid_base64_image"), (image("data:image/png;base64,AAAA"), URL, "image_parse_error"),
    (image("data:image/png;base64," + "A" * (28 << 20)), URL, "image_file_too_large"),
    ({"temperature": 3}, "temperature", "decimal_above_max_value"), ({"temperature": "1"}, "temperature", "invalid_type"),
    ({"top_p": -1}, "top_p", "decimal_below_min_value"), ({"n": 9}, "n", "integer_above_max_value"), ({"n": 0}, "n", "integer_below_min_value"),
    ({"seed": 1.5}, "seed", "invalid_type"), ({"stop": ["a"] * 5}, "stop", "array_above_max_length"), ({"stop": [1]}, "stop", "invalid_type"),
    ({"stop": ""}, "stop", "invalid_value"), ({"stream": "yes"}, "stream", "invalid_type"), ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"), ({"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_value"),
    ({"nonsense": 1}, "nonsense", "unknown_parameter"), ({"modalities": ["audio"]}, "modalities", "unsupported_value"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    (form(name="x"), "response_format.json_schema.schema", "missing_required_parameter"),
    (form(name="x", schema={"not": {}}), "response_format.json_schema.schema", "invalid_value"),
    (form(schema={}), "response_format.json_schema.name", "missing_required_parameter"),
    (form(name=5, schema={}), "response_format.json_schema.name", "invalid_type"),
    (form(name="a b", schema={}), "response_format.json_schema.name", "invalid_value"),
    (form(name="", schema={}), "response_format.json_schema.name", "invalid_value"),
    (form(name="a" * 65, schema={}), "response_format.json_schema.name", "invalid_value"),
    (form(name="x", schema={}, strict="yes"), "response_format.json_schema.strict", "invalid_type"),
    (form(name="x", schema={}, description=5), "response_format.json_schema.description", "invalid_type"),
    (form(name="x", schema={}, bogus=1), "response_format.json_schema.bogus", "unknown_parameter"),
    ({"response_format": {"type": "text", "bogus": 1}}, "response_format.bogus", "unknown_parameter"),
    ({"messages": [{"role": "user", "content": "Hi", "bogus": 1}]}, "messages[0].bogus", "unknown_parameter"),
    ({"messages": [{"role": "user", "content": "Hi", "name": 1}]}, "messages[0].name", "invalid_type"),
    (said(refusal=1), "messages[1].refusal", "invalid_type"), (said(audio={"id": "x"}), "messages[1].audio", "unsupported_parameter"),
    (said(tool_calls=[{"id": "x"}]), "messages[1].tool_calls", "unsupported_parameter"),
    (said(function_call={"name": "f", "arguments": "{}"}), "messages[1].function_call", "unsupported_parameter"),
    (part(type="text", text="x", bogus=1), "messages[0].content[0].bogus", "unknown_parameter"),
    (part(type="image_url", image_url={"url": "x"}, text="x"), "messages[0].content[0].text", "unknown_parameter"),
    (part(type="image_url", image_url={"url": "x", "bogus": 1}), "messages[0].content[0].image_url.bogus", "unknown_parameter"),
    (part(type="video_url", video_url={"url": "x", "bogus": 1}), "messages[0].content[0].video_url.bogus", "unknown_parameter"),
    ({"stream": True, "stream_options": 5}, "stream_options", "invalid_type"),
    ({"stream": True, "stream_options": {"bogus": 1}}, "stream_options.bogus", "unknown_parameter"),
    ({"metadata": 5}, "metadata", "invalid_type"), ({"metadata": {"a": 5}}, "metadata.a", "invalid_type"), ({"user": [1]}, "user", "invalid_type"),
    ({"parallel_tool_calls": "zz"}, "parallel_tool_calls", "invalid_type"), ({"store": 1}, "store", "invalid_type"),
    ({"prediction": "x"}, "prediction", "invalid_type"), ({"verbosity": 1}, "verbosity", "invalid_type"),
    ({"model": None}, "model", "missing_required_parameter"), ({"model": 1}, "model", "invalid_type"),
]


def test_errors_name_the_field_and_the_reason(serve):
    server = serve()
    for change, field, code in BLAMED:
        error = server.chat(**change).json()["error"]
        assert (error["param"], error["code"]) == (field, code), (str(change)[:200], error)
        assert field in error["message"] and error["type"] == "invalid_request_error", error
    error = server.chat(model="other").json()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert server.get("/v1/models/other").json()["error"]["param"] == "model"
    for change, field, code in (({"input": None}, "input", "missing_required_parameter"), ({"input": []}, "input", "empty_array"),
                                ({"input": [{"type": "function_call"}]}, "input[0].type", "invalid_value"),
                                ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
                                 "input[0].content[0].image_url", "invalid_image_url"),
                                ({"max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
                                ({"tools": [{}]}, "tools", "unsupported_parameter"), ({"truncation": "auto"}, "truncation", "unsupported_value"),
                                ({"nonsense": 1}, "nonsense", "unknown_parameter"), ({"text": {"bogus": 1}}, "text.bogus", "unknown_parameter"),
                                ({"text": {"format": {"type": "text", "bogus": 1}}}, "text.format.bogus", "unknown_parameter"),
                                ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", "missing_required_parameter"),
                                ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, "strict": "yes"}}}, "text.format.strict",
                                 "invalid_type"),
                                ({"metadata": "zz"}, "metadata", "invalid_type"), ({"reasoning": {"bogus": 1}}, "reasoning.bogus", "unknown_parameter"),
                                ({"stream_options": 5}, "stream_options", "invalid_type"), ({"input": [5]}, "input[0]", "invalid_type"),
                                ({"input": [{"role": "user", "content": "Hi", "bogus": 1}]}, "input[0].bogus", "unknown_parameter"),
                                ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi", "bogus": 1}]}]},
                                 "input[0].content[0].bogus", "unknown_parameter"),
                                ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]},
                                 "input[0].content[0].file_id", "unsupported_parameter")):
        error = server.post("/v1/responses", {"model": "nano", "input": "Hi", **change}).json()["error"]
        assert (error["param"], error["code"]) == (field, code), (change, error)


def test_what_clients_send_back_is_taken(serve):
    """Answers as the official clients hold them, and fields that change nothing."""
    server = serve()
    message = server.chat().json()["choices"][0]["message"]
    back = {**message, "annotations": [], "audio": None, "function_call": None, "tool_calls": None, "name": "nano", "parsed": None}
    content = [{"type": "text", "text": "A"}, {"type": "refusal", "refusal": "No."}]
    assert server.chat(messages=[*HI["messages"], back, {"role": "assistant", "content": content}, *HI["messages"]], user="me", metadata={"a": "b"},
                       store=False, service_tier="auto", safety_identifier="x", prompt_cache_key="x", prompt_cache_retention="24h",
                       parallel_tool_calls=True, prediction={"type": "content", "content": "x"}, verbosity="low", reasoning_effort="low",
                       stream=True, stream_options={"include_usage": True, "include_obfuscation": False},
                       response_format={"type": "json_schema", "json_schema": {"name": "a-B_1", "description": "x", "strict": None, "schema": {}}}).status == 200
    [item] = server.post("/v1/responses", {"model": "nano", "input": "Hi"}).json()["output"]
    assert server.post("/v1/responses", {"model": "nano", "input": [{"role": "user", "content": "Hi"}, item, {"role": "user", "content": "So?"}],
                                         "metadata": {"a": "b"}, "reasoning": {"effort": "low", "summary": None}, "stream_options": None,
                                         "text": {"format": {"type": "text"}, "verbosity": "low"}, "user": None}).status == 200


def test_a_prompt_that_is_too_long_is_told_so_in_the_originals_words(serve):
    server = serve(script={"fail": "prompt: too long", "code": 1, "field": "messages", "reason": "context_length_exceeded"})
    for path, field in (("/v1/chat/completions", "messages"), ("/v1/responses", "input"), ("/v1/estimate", "messages")):
        body = {"model": "nano", "input": "Hi"} if field == "input" else HI
        reply = server.post(path, body)
        assert reply.status == 400
        assert reply.json()["error"] == {"message": "prompt: too long", "type": "invalid_request_error", "param": field,
                                         "code": "context_length_exceeded"}, path


def test_turns_in_which_nothing_is_said(serve, tmp_path):
    log = tmp_path / "log"
    server = serve(script={"log": str(log)})
    log.write_text("")
    for turn in ({"content": None}, {"content": []}, {"content": ""}, {}):
        assert server.chat(messages=[*HI["messages"], {"role": "assistant", **turn}, *HI["messages"]]).status == 200, turn
    assert server.post("/v1/responses", {"model": "nano", "input": [{"role": "assistant", "content": []}, *HI["messages"]]}).status == 200
    for line in log.read_text().splitlines():
        assert [m["role"] for m in json.loads(line)["messages"]][-2:] == ["assistant", "user"]


def test_the_model_must_be_the_one(serve):
    server = serve("--name", "gpt-4o", "--name", "my model")
    assert [m["id"] for m in server.get("/v1/models").json()["data"]] == ["nano", "gpt-4o", "my model"]
    assert server.get("/v1/models/my%20model").json()["object"] == "model"
    assert server.chat(model="gpt-4o").json()["model"] == "gpt-4o"
    for reply in (server.chat(model="other"), server.get("/v1/models/other")):
        assert reply.status == 404 and reply.json()["error"]["code"] == "model_not_found"
    assert server.post("/v1/chat/completions", {"messages": HI["messages"]}).status == 400


def test_a_name_with_a_slash(serve):
    name = "HuggingFaceTB/SmolVLM"
    server = serve("--name", name)
    for path in (name, name.replace("/", "%2F"), name.replace("/", "%2f")):
        assert server.get("/v1/models/" + path).json()["id"] == name
        assert server.get("/v1beta/models/" + path).json()["name"] == "models/" + name
        for method in ("generateContent", "streamGenerateContent", "countTokens"):
            assert server.post(f"/v1beta/models/{path}:{method}", {"contents": [{"parts": [{"text": "Hi"}]}]}).status == 200
    assert server.chat(model=name).json()["model"] == name
    assert server.get("/v1/models/other/SmolVLM").json()["error"]["code"] == "model_not_found"
    for path in ("HuggingFaceTB%252FSmolVLM", "HuggingFaceTB%2F..", "..%2F" + name):
        assert server.get("/v1/models/" + path).status == 400, path


def test_errors_of_the_engine(serve):
    for code, status, kind in ((1, 400, "invalid_request_error"), (2, 503, "server_error"), (5, 429, "rate_limit_error")):
        reply = serve(script={"fail": "it cannot be", "code": code}).chat(stream=True)
        assert reply.status == status and reply.json()["error"]["type"] == kind
        assert reply.json()["error"]["message"] == "it cannot be"
        assert ("retry-after" in reply.headers) == (status == 429)
    assert serve(script={}).chat().status == 200


def test_paths_of_the_original_that_are_not_here(serve):
    server = serve()
    for path in ("/v1/files", "/v1/files/x", "/v1/batches", "/v1/batches/x", "/v1/embeddings", "/v1/responses/x", "/v1/responses/x/input_items"):
        reply = server.get(path)
        assert reply.status == 404 and reply.json()["error"]["code"] == "unsupported_endpoint", path
    for path in ("/v1/files", "/v1/batches", "/v1/embeddings", "/v1/completions", "/v1/audio/speech", "/v1/images/generations", "/v1/moderations",
                 "/v1/responses/x/cancel"):
        reply = server.post(path, {})
        assert reply.status == 404 and reply.json()["error"]["code"] == "unsupported_endpoint", path


def test_an_estimate(serve):
    server = serve(script={"tiles": 5})
    estimate = server.post("/v1/estimate", HI).json()
    assert estimate["prompt_tokens"] == 7 and estimate["tiles"] == 5 and estimate["memory_bytes"] == 1000
    three = server.post("/v1/estimate", {**HI, "n": 3}).json()
    assert three["memory_bytes"] == 3000 and three["token_seconds"] == 3 * estimate["token_seconds"] and three["prompt_tokens"] == 7
    assert server.post("/v1/estimate", {**HI, "n": 0}).status == 400
