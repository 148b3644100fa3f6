"""openai-python."""
import base64
import json

import openai
import pytest

from conftest import ANSWER, RECEIPT

URL = "data:image/jpeg;base64," + base64.b64encode(RECEIPT.read_bytes()).decode()
MODEL = "onsight-nano"
MESSAGES = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}, {"type": "text", "text": "Read the text."}]}]


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server + "/v1", api_key="secret", max_retries=0)


def test_chat(client):
    reply = client.chat.completions.create(model=MODEL, messages=MESSAGES, logprobs=True, top_logprobs=3)
    assert reply.choices[0].message.content == ANSWER and reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.usage.prompt_tokens_details.cached_tokens >= 0
    if reply.choices[0].logprobs and reply.choices[0].logprobs.content:
        assert all(len(t.top_logprobs) == 3 for t in reply.choices[0].logprobs.content)


def test_stream(client):
    text, usage = "", None
    for chunk in client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    assert text == ANSWER and usage.completion_tokens > 10


def test_json(client):
    schema = {"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"], "additionalProperties": False}
    reply = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=64, response_format={
        "type": "json_schema", "json_schema": {"name": "receipt", "schema": schema, "strict": True}})
    assert set(json.loads(reply.choices[0].message.content)) == {"total"}


def test_responses(client):
    items = [{"role": "user", "content": [{"type": "input_image", "image_url": URL, "detail": "auto"}, {"type": "input_text", "text": "Read the text."}]}]
    reply = client.responses.create(model=MODEL, input=items)
    assert reply.output_text == ANSWER and reply.status == "completed"
    with client.responses.stream(model=MODEL, input=items) as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        assert text == ANSWER == stream.get_final_response().output_text


def test_models(client):
    assert [m.id for m in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_errors(client, server):
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=[])
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server + "/v1", api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=MODEL, input="Hi")


@pytest.mark.parametrize("change, field, code", [
    ({"temperature": 3}, "temperature", "decimal_above_max_value"),
    ({"messages": [{"role": "user", "content": "word " * 20_000}]}, "messages", "context_length_exceeded"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]}]},
     "messages[0].content[0].image_url.url", "invalid_image_url"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
    ({"extra_body": {"nonsense": 1}}, "nonsense", "unknown_parameter"),
    ({"model": "gpt-4o"}, "model", "model_not_found"),
    ({"max_tokens": 1, "response_format": {"type": "json_object"}}, "response_format", "invalid_value"),
])
def test_errors_say_which_field_it_is_and_why(client, change, field, code):
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, **change})
    assert (raised.value.param, raised.value.code) == (field, code), raised.value


def test_errors_of_responses_say_it_too(client):
    for change, field, code in (({"input": "word " * 20_000}, "input", "context_length_exceeded"), ({"temperature": -1}, "temperature", "decimal_below_min_value")):
        with pytest.raises(openai.BadRequestError) as raised:
            client.responses.create(**{"model": MODEL, "input": "Hi", **change})
        assert (raised.value.param, raised.value.code) == (field, code), raised.value
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("gpt-4o")
    assert (raised.value.param, raised.value.code) == ("model", "model_not_found")


def test_turns_in_which_nothing_is_said(client):
    hello = {"role": "user", "content": "Hello"}
    def tokens(turn):
        return client.chat.completions.create(model=MODEL, messages=[hello, {"role": "assistant", **turn}, hello], max_tokens=4).usage.prompt_tokens
    assert len({tokens({"content": ""}), tokens({"content": None}), tokens({"content": []}), tokens({})}) == 1


def test_logprobs_join_to_the_content(client):
    for more in ({}, {"stop": ["0"]}, {"stop": ["e"]}):
        for messages in (MESSAGES, [{"role": "user", "content": "Hello"}]):
            choice = client.chat.completions.create(model=MODEL, messages=messages, logprobs=True, **more).choices[0]
            assert b"".join(bytes(t.bytes) for t in choice.logprobs.content).decode() == choice.message.content
            text, joined = "", b""
            for chunk in client.chat.completions.create(model=MODEL, messages=messages, logprobs=True, stream=True, **more):
                text += chunk.choices[0].delta.content or ""
                if chunk.choices[0].logprobs:
                    joined += b"".join(bytes(t.bytes) for t in chunk.choices[0].logprobs.content)
            assert joined.decode() == text == choice.message.content


def test_video(client):
    clip = base64.b64encode((RECEIPT.parents[1] / "tests" / "data" / "video" / "b-frames.mp4").read_bytes()).decode()
    part = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + clip}}
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What colour is the square?"}]}]
    reply = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=16)
    fewer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=16, extra_body={"mm_processor_kwargs": {"num_frames": 2}})
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage.prompt_tokens > fewer.usage.prompt_tokens + 2 * 144
    spread = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=16, extra_body={"media_io_kwargs": {"video": {"num_frames": 2}}})
    assert spread.usage.prompt_tokens == fewer.usage.prompt_tokens
    with pytest.raises(openai.BadRequestError, match="video: 48 frames take 6912 tokens"):
        client.chat.completions.create(model=MODEL, messages=messages, extra_body={"mm_processor_kwargs": {"do_sample_frames": False}})
