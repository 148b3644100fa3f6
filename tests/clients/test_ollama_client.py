"""ollama-python."""
import ollama
import pytest

from conftest import ANSWER, RECEIPT

MODEL = "onsight-nano"
MESSAGES = [{"role": "user", "content": "Read the text.", "images": [str(RECEIPT)]}]


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(host=server, headers={"Authorization": "Bearer secret"})


def test_chat(client):
    reply = client.chat(model=MODEL, messages=MESSAGES)
    assert reply.message.content == ANSWER and reply.done_reason == "stop" and reply.eval_count > 10
    assert "".join(part.message.content for part in client.chat(model=MODEL, messages=MESSAGES, stream=True)) == ANSWER


def test_generate(client):
    assert client.generate(model=MODEL, prompt="Read the text.", images=[RECEIPT.read_bytes()]).response == ANSWER


def test_logprobs(client):
    reply = client.chat(model=MODEL, messages=MESSAGES, logprobs=True, top_logprobs=2)
    assert "".join(t.token for t in reply.logprobs) == ANSWER and all(len(t.top_logprobs) == 2 for t in reply.logprobs)
    reply = client.generate(model=MODEL, prompt="Hello", logprobs=True)
    assert "".join(t.token for t in reply.logprobs) == reply.response


def test_turns_in_which_nothing_is_said(client):
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "Hello"}]
    assert client.chat(model=MODEL, messages=turns, options={"num_predict": 4}).done


def test_models(client):
    assert [m.model for m in client.list().models] == [MODEL + ":latest"]
    assert "vision" in client.show(MODEL).capabilities
    assert client.ps().models[0].model == MODEL + ":latest"


def test_errors(client):
    with pytest.raises(ollama.ResponseError) as raised:
        client.chat(model="other", messages=MESSAGES)
    assert raised.value.status_code == 404
