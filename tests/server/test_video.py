"""Videos in the requests of programs: OpenAI's as vLLM takes them, and Gemini's."""
import base64
import json
from pathlib import Path

import jsonschema
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "data" / "video"
CLIP = (FOLDER / "b-frames.mp4").read_bytes()
URL = "data:video/mp4;base64," + base64.b64encode(CLIP).decode()
SHOWN = "<64x48, 48 at 12/s>"


@pytest.fixture
def server(serve, tmp_path):
    server = serve("--max-images", "2", script={"log": str(tmp_path / "log")})
    server.seen = lambda: json.loads((tmp_path / "log").read_text().splitlines()[-1])["messages"][-1]["parts"]
    return server


def video(url=URL):
    return {"type": "video_url", "video_url": {"url": url}}


def chat(server, *parts, **more):
    return server.chat(messages=[{"role": "user", "content": list(parts)}], **more)


def generate(server, *parts):
    return server.post("/v1beta/models/nano:generateContent", {"contents": [{"parts": list(parts)}]})


def inline(data=CLIP, **more):
    return {"inlineData": {"mimeType": "video/mp4", "data": base64.b64encode(data).decode()}, **more}


def test_openai(server):
    assert chat(server, video(), {"type": "text", "text": "What moves?"}).status == 200
    assert server.seen() == [SHOWN, "What moves?"]
    assert chat(server, video(), mm_processor_kwargs={"fps": 2, "num_frames": 8}).status == 200
    assert server.seen() == ["<64x48, 48 at 12/s, fps 2, most 8>"]


@pytest.mark.parametrize(
    "parts, more, sentence",
    [
        ([{"type": "video_url", "video_url": URL}], {}, "messages[0].content[0].video_url: expected an object"),
        ([video("https://example.com/a.mp4")], {}, "messages[0].content[0].video_url.url: expected the video itself"),
        ([video("data:video/mp4;base64,AAAA")], {}, "messages[0].content[0].video_url.url: not a video, expected MP4"),
        ([video()], {"mm_processor_kwargs": {"size": 2}}, "mm_processor_kwargs.size: expected fps and num_frames alone"),
        ([video()], {"mm_processor_kwargs": {"fps": -1}}, "mm_processor_kwargs.fps: expected"),
        ([video(), video(), video()], {}, "the pictures: expected at most 2 in a request, found 3"),
    ],
)
def test_openai_refuses(server, parts, more, sentence):
    reply = chat(server, *parts, **more)
    assert reply.status == 400 and sentence in reply.json()["error"]["message"]


def test_gemini(server):
    assert generate(server, inline(), {"text": "What moves?"}).status == 200
    assert server.seen() == [SHOWN, "What moves?"]
    assert generate(server, inline(videoMetadata={"fps": 2.5, "startOffset": "1s", "endOffset": "2.5s"})).status == 200
    assert server.seen() == ["<64x48, 48 at 12/s, fps 2.5, from 1 to 2.5>"]


def test_gemini_file(server):
    start = server.ask("POST", "/upload/v1beta/files", b'{"file": {"mimeType": "video/mp4"}}', {
        "X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start", "Content-Type": "application/json"})  # fmt: skip
    path = "/" + start.headers["x-goog-upload-url"].split("/", 3)[3]
    done = server.ask("POST", path, CLIP, {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"})
    file = {"fileData": {"fileUri": done.json()["file"]["uri"], "mimeType": "video/mp4"}}
    assert generate(server, {**file, "videoMetadata": {"endOffset": "3s"}}).status == 200
    assert server.seen() == ["<64x48, 48 at 12/s, from 0 to 3>"]


@pytest.mark.parametrize(
    "part, sentence",
    [
        (inline(videoMetadata={"startOffset": "1"}), "videoMetadata.startOffset: expected seconds as 12.5s, found '1'"),
        (inline(videoMetadata={"startOffset": "-1s"}), "videoMetadata.startOffset: expected seconds as 12.5s, found '-1s'"),
        (inline(videoMetadata={"endOffset": ".s"}), "videoMetadata.endOffset: expected seconds as 12.5s, found '.s'"),
        (inline(videoMetadata={"startOffset": "2s", "endOffset": "2s"}), "videoMetadata.endOffset: expected a time after startOffset"),
        (inline(videoMetadata={"fps": 100}), "videoMetadata.fps: expected"),
        (inline(videoMetadata={"speed": 2}), "videoMetadata.speed"),
        (inline((FOLDER / "sound.m4a").read_bytes()), "contents[0].parts[0].inlineData.data: holds sound alone, expected a video"),
        ({"text": "a", "videoMetadata": {"fps": 1}}, "contents[0].parts[0].videoMetadata: expected none beside what is not a video"),
    ],
)
def test_gemini_refuses(server, part, sentence):
    reply = generate(server, part)
    assert reply.status == 400 and sentence in reply.json()["error"]["message"]


def test_the_description_of_the_api_knows_videos(server):
    paths = server.get("/openapi.json").json()["paths"]

    def body(path):
        return paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]

    chat_schema, gemini = body("/v1/chat/completions"), body(next(p for p in paths if p.endswith(":generateContent")))
    jsonschema.validate({"model": "m", "messages": [{"role": "user", "content": [video()]}], "mm_processor_kwargs": {"fps": 2}}, chat_schema)
    jsonschema.validate({"contents": [{"parts": [inline(videoMetadata={"fps": 2, "endOffset": "3s"})]}]}, gemini)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"contents": [{"parts": [inline(videoMetadata={"fps": 100})]}]}, gemini)
