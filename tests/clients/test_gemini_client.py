"""Google's own clients against `onsight serve` with the model that ships: only the base URL is another.

ONSIGHT_BINARY names the program (build/onsight).
"""
import asyncio
import io
import os
import re
import subprocess
from enum import Enum
from pathlib import Path

import pytest

genai = pytest.importorskip("google.genai")
from google.genai import errors, types  # noqa: E402
from PIL import Image  # noqa: E402
from pydantic import BaseModel  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
RECEIPT = ROOT / "examples" / "receipt.jpg"
MODEL = "onsight-nano"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    binary = Path(os.environ.get("ONSIGHT_BINARY", ROOT / "build" / "onsight")).resolve()
    if not os.access(binary, os.X_OK):
        pytest.exit(f"{binary} is not there: build it first, or set ONSIGHT_BINARY", returncode=1)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONSIGHT_")}
    environment["TMPDIR"] = str(tmp_path_factory.mktemp("files"))  # a server that is killed leaves its files behind
    process = subprocess.Popen([binary, "serve", "--model", ROOT / "models" / MODEL, "--port", "0", "--api-key", "key"],
                               env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    yield re.search(r"http://\S+", process.stderr.readline().decode()).group()
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.fixture(scope="module", params=[None, "v1beta", "v1"])
def client(url, request):
    return genai.Client(api_key="key", http_options={"base_url": url, "api_version": request.param})


def config(**fields):
    return types.GenerateContentConfig(**{"max_output_tokens": 24, "temperature": 0, **fields})


def test_picture(client):
    picture = types.Part.from_bytes(data=RECEIPT.read_bytes(), mime_type="image/jpeg")
    answer = client.models.generate_content(model=MODEL, contents=[picture, "Read the text."], config=config())
    [candidate] = answer.candidates
    assert answer.text and candidate.finish_reason == types.FinishReason.MAX_TOKENS and candidate.content.role == "model"
    usage = answer.usage_metadata
    assert usage.candidates_token_count == 24
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
    assert answer.model_version == MODEL and answer.response_id
    again = client.models.generate_content(model=MODEL, contents=[Image.open(RECEIPT), "Read the text."],
                                           config=config(system_instruction="Be brief.", candidate_count=2))
    assert len(again.candidates) == 2


def test_stream(client):
    whole = client.models.generate_content(model=MODEL, contents="What is a receipt?", config=config())
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="What is a receipt?", config=config()))
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert chunks[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason
    assert chunks[-1].usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count


def test_chat(client):
    chat = client.chats.create(model=MODEL, config=config())
    for _ in chat.send_message_stream("Hello"):
        pass
    assert chat.send_message("And again?").text is not None
    assert [content.role for content in chat.get_history(curated=True)][0] == "user"
    assert {content.role for content in chat.get_history(curated=True)} == {"user", "model"}


def test_async(url):
    async def ask():
        client = genai.Client(api_key="key", http_options={"base_url": url}).aio
        whole = await client.models.generate_content(model=MODEL, contents="Hello", config=config())
        pieces = [chunk.text or "" async for chunk in
                  await client.models.generate_content_stream(model=MODEL, contents="Hello", config=config())]
        return whole.text, "".join(pieces)

    whole, streamed = asyncio.run(ask())
    assert whole == streamed


class Item(BaseModel):
    name: str
    price: float | None = None


class Receipt(BaseModel):
    shop: str
    items: list[Item]
    paid: bool


class Colour(Enum):
    RED = "red"
    BLUE = "dark blue"


def test_schema(client):
    picture = types.Part.from_bytes(data=RECEIPT.read_bytes(), mime_type="image/jpeg")
    for fields in ({"response_schema": Receipt}, {"response_json_schema": Receipt.model_json_schema()}):
        answer = client.models.generate_content(
            model=MODEL, contents=[picture, "Read it."],
            config=config(response_mime_type="application/json", max_output_tokens=80, **fields))
        assert isinstance(Receipt.model_validate_json(answer.text), Receipt)
        if "response_schema" in fields:
            assert isinstance(answer.parsed, Receipt)
    answer = client.models.generate_content(model=MODEL, contents="A colour?",
                                            config=config(response_mime_type="text/x.enum", response_schema=Colour))
    assert answer.parsed in Colour and answer.text in ("red", "dark blue")


def test_logprobs(client):
    answer = client.models.generate_content(model=MODEL, contents="Hi", config=config(response_logprobs=True, logprobs=3))
    result = answer.candidates[0].logprobs_result
    assert len(result.chosen_candidates) == len(result.top_candidates)
    assert "".join(c.token for c in result.chosen_candidates) == answer.text
    assert answer.candidates[0].avg_logprobs <= 0 and len(result.top_candidates[0].candidates) == 3


def test_files(client):
    file = client.files.upload(file=RECEIPT, config={"display_name": "A receipt"})
    assert file.state == types.FileState.ACTIVE and file.mime_type == "image/jpeg" and file.display_name == "A receipt"
    assert file.size_bytes == RECEIPT.stat().st_size
    assert client.files.get(name=file.name).uri == file.uri
    assert file.name in [other.name for other in client.files.list()]
    inline = types.Part.from_bytes(data=RECEIPT.read_bytes(), mime_type="image/jpeg")
    answers = [client.models.generate_content(model=MODEL, contents=[picture, "Read the text."], config=config()).text
               for picture in (file, inline)]
    assert answers[0] == answers[1]
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError) as gone:
        client.files.get(name=file.name)
    assert gone.value.code == 403 and gone.value.status == "PERMISSION_DENIED"


def test_file_in_pieces(client):
    # The client sends eight megabytes at a time.
    data = os.urandom(9 << 20)
    file = client.files.upload(file=io.BytesIO(data), config={"mime_type": "application/octet-stream"})
    assert file.size_bytes == len(data)
    client.files.delete(name=file.name)


def test_counts(client):
    text = client.models.count_tokens(model=MODEL, contents="Hello")
    picture = client.models.count_tokens(model=MODEL, contents=[Image.open(RECEIPT), "Hello"])
    assert 0 < text.total_tokens < picture.total_tokens
    answer = client.models.generate_content(model=MODEL, contents="Hello", config=config())
    assert answer.usage_metadata.prompt_token_count == text.total_tokens


def test_models(client):
    [model] = client.models.list()
    assert model.name == "models/" + MODEL and "generateContent" in model.supported_actions
    assert client.models.get(model=MODEL).input_token_limit > 0


def test_errors(client):
    with pytest.raises(errors.ClientError) as missing:
        client.models.generate_content(model="gemini-2.0-flash", contents="Hi")
    assert missing.value.code == 404 and missing.value.status == "NOT_FOUND"
    assert "models/gemini-2.0-flash" in missing.value.message
    with pytest.raises(errors.ClientError) as tools:
        client.models.generate_content(model=MODEL, contents="Hi",
                                       config=config(tools=[types.Tool(google_search=types.GoogleSearch())]))
    assert tools.value.status == "INVALID_ARGUMENT" and "tools" in tools.value.message
    with pytest.raises(errors.APIError) as embeddings:
        client.models.embed_content(model=MODEL, contents="Hi")
    assert embeddings.value.code == 501 and embeddings.value.status == "UNIMPLEMENTED"


def test_key(url):
    stranger = genai.Client(api_key="wrong", http_options={"base_url": url})
    with pytest.raises(errors.ClientError) as refused:
        stranger.models.generate_content(model=MODEL, contents="Hi")
    assert refused.value.code == 400 and refused.value.status == "INVALID_ARGUMENT"
    assert "API key not valid. Please pass a valid API key." in refused.value.message


def test_video(client):
    clip = (ROOT / "tests" / "data" / "video" / "b-frames.mp4").read_bytes()
    part = types.Part(inline_data=types.Blob(data=clip, mime_type="video/mp4"),
                      video_metadata=types.VideoMetadata(fps=2, start_offset="1s", end_offset="2.5s"))  # fmt: skip
    whole = types.Part.from_bytes(data=clip, mime_type="video/mp4")
    ask = [part, "What colour is the square?"]
    answer = client.models.generate_content(model=MODEL, contents=ask, config=config())
    tokens = answer.usage_metadata.prompt_token_count
    assert answer.candidates[0].finish_reason and 3 * 144 < tokens < 5 * 144  # the model has never seen a video: it may say nothing
    assert client.models.count_tokens(model=MODEL, contents=ask).total_tokens == tokens
    assert client.models.count_tokens(model=MODEL, contents=[whole]).total_tokens > tokens


def test_uploaded_video(client):
    file = client.files.upload(file=ROOT / "tests" / "data" / "video" / "walk.webm")
    assert file.mime_type == "video/webm" and file.state.name == "ACTIVE"
    answer = client.models.generate_content(model=MODEL, contents=[file, "What moves?"], config=config())
    assert answer.candidates[0].finish_reason and answer.usage_metadata.prompt_token_count > 2 * 144
    client.files.delete(name=file.name)
