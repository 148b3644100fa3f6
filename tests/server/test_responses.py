"""OpenAI's responses, as its clients send and read them."""
import json

from serving import data_url

HI = {"model": "nano", "input": "Hi"}


def test_a_response(serve):
    server = serve(script={"pieces": ["Hel", "lo"]})
    reply = server.post("/v1/responses", HI).json()
    assert reply["object"] == "response" and reply["status"] == "completed" and reply["error"] is None
    assert reply["output"][0]["content"] == [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]
    assert reply["usage"]["input_tokens"] == 7 and reply["usage"]["output_tokens"] == 2
    cut = server.post("/v1/responses", {**HI, "max_output_tokens": 1}).json()
    assert cut["status"] == "incomplete" and cut["incomplete_details"] == {"reason": "max_output_tokens"}


def test_numbers_come_back_as_they_were(serve):
    server = serve()
    for body, words in (({"temperature": 0.7, "top_p": 0.3}, (b'"temperature":0.7,', b'"top_p":0.3,')), ({}, (b'"temperature":0.0,', b'"top_p":1.0,'))):
        for reply in (server.post("/v1/responses", {**HI, **body}), server.post("/v1/responses", {**HI, **body, "stream": True})):
            assert all(word in reply.body for word in words), reply.body


def test_a_stream(serve):
    server = serve(script={"pieces": ["Hel", "lo"]})
    events = server.post("/v1/responses", {**HI, "stream": True}).events()
    assert [e["type"] for e in events] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added", "response.output_text.delta",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert "".join(e["delta"] for e in events if e["type"].endswith("delta")) == events[6]["text"] == "Hello"
    assert len({e["item_id"] for e in events if "item_id" in e}) == 1
    assert events[-1]["response"]["output"][0]["status"] == "completed"


def test_what_reaches_the_engine(serve, tmp_path, picture):
    log = tmp_path / "log"
    server = serve(script={"log": str(log)})
    log.write_text("")
    items = [{"role": "developer", "content": "Be brief."},
             {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": data_url(picture), "detail": "auto"},
                                                             {"type": "input_text", "text": "What?"}]},
             {"role": "assistant", "content": [{"type": "output_text", "text": "A cat."}]}, {"role": "user", "content": "Sure?"}]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
    assert server.post("/v1/responses", {"model": "nano", "input": items, "instructions": "In English.", "max_output_tokens": 400, "store": False,
                                         "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}).status == 200
    seen = json.loads(log.read_text())
    assert seen["messages"] == [{"role": "system", "parts": ["In English."]}, {"role": "system", "parts": ["Be brief."]},
                                {"role": "user", "parts": ["<6x4>", "What?"]}, {"role": "assistant", "parts": ["A cat."]},
                                {"role": "user", "parts": ["Sure?"]}]
    assert seen["max_tokens"] == 400


def test_what_is_refused(serve):
    server = serve()
    for change, words in (({"input": []}, "input"), ({"input": [{"type": "function_call_output"}]}, "input[0].type"),
                          ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"background": True}, "background"),
                          ({"tools": [{"type": "web_search"}]}, "tools"), ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
                          ({"truncation": "auto"}, "truncation"), ({"nonsense": 1}, "Unknown parameter")):
        reply = server.post("/v1/responses", {**HI, **change})
        assert reply.status == 400 and words in reply.json()["error"]["message"], (change, reply.body)
    assert server.post("/v1/responses", {**HI, "model": "other"}).status == 404
    assert server.get("/v1/responses/resp_1").status == 404
