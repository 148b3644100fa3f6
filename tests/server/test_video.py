"""Videos in the requests of programs: OpenAI's as vLLM takes them, and Gemini's."""
import base64
import json
from pathlib import Path

import jsonschema
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "data" / "video"
CLIP = (FOLDER / "b-frames.mp4").read_bytes()
URL = "data:video/mp4;base64," + base64.b64encode(CLIP).decode()
RECEIPT = (FOLDER.parents[2] / "examples" / "receipt.jpg").read_bytes()
RECEIPT_SIZE = "320x230"
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


def pictures(count):
    """Frames as vLLM takes them one by one."""
    return video("data:video/jpeg;base64," + ",".join([base64.b64encode(RECEIPT).decode()] * count))


@pytest.mark.parametrize(
    "loader, processor, shown",
    [
        (None, None, "5 at 1/s, fps inf, however many"),
        ({"fps": 2}, None, "5 at 2/s, fps inf, however many"),
        ({"num_frames": 3}, None, "3 at 1/s, fps inf, however many"),
        ({"num_frames": -1, "fps": 0.5}, {"do_sample_frames": False}, "5 at 0.5/s, fps inf, however many"),
        (None, {"do_sample_frames": True}, "5 at 1/s"),
        ({"fps": 4}, {"num_frames": 2, "fps": 1}, "5 at 4/s, fps 1, most 2"),
    ],
)
def test_frames_that_come_as_pictures(server, loader, processor, shown):
    assert chat(server, pictures(5), media_io_kwargs={"video": loader}, mm_processor_kwargs=processor).status == 200
    assert server.seen() == [f"<{RECEIPT_SIZE}, {shown}>"]


@pytest.mark.parametrize(
    "url, message",
    [
        ("data:video/jpeg;base64,", "messages[0].content[0].video_url.url: frame 0: "),
        ("data:video/jpeg;base64,AAAA", "messages[0].content[0].video_url.url: frame 0: "),
        (pictures(1)["video_url"]["url"] + ",?", "messages[0].content[0].video_url.url: frame 1: "),
    ],
    ids=["nothing", "no picture", "no base64"],
)
def test_pictures_that_are_none(server, url, message):
    refused = chat(server, video(url))
    assert refused.status == 400 and message in refused.json()["error"]["message"]
    assert refused.json()["error"]["param"] == "messages[0].content[0].video_url.url"


@pytest.mark.parametrize(
    "loader, processor, asked",
    [
        ({"num_frames": 8}, None, ", fps inf, most 8"),
        ({"num_frames": 8, "fps": -1}, None, ", fps inf, most 8"),
        ({"num_frames": -1}, None, ", fps inf, however many"),
        ({"num_frames": -1, "fps": 2.5}, None, ", fps 2.5, however many"),
        ({"num_frames": 8, "fps": 2}, None, ", fps 2, most 8"),
        ({"fps": 2}, None, ", fps 2"),
        ({"fps": -1}, None, ""),
        ({}, None, ""),
        (None, None, ""),
        # What the processor chooses, it chooses of the frames that the loader took.
        ({"num_frames": -1}, {"fps": 2, "do_sample_frames": True}, ", fps 2"),
        ({"num_frames": -1}, {"do_sample_frames": True}, ""),
        ({"num_frames": 8}, {"num_frames": 4}, ", most 4"),
        ({"num_frames": 8}, {"num_frames": 16, "fps": 1}, ", fps 1, most 8"),
        ({"num_frames": 8, "fps": 2}, {"fps": 4}, ", fps 2, most 8"),
        (None, {"do_sample_frames": True}, ""),
        (None, {"do_sample_frames": True, "num_frames": 8}, ", most 8"),
        # Frames that were chosen before: all of the file, or of what the loader took.
        (None, {"do_sample_frames": False}, ", fps inf, however many"),
        ({"num_frames": 8}, {"do_sample_frames": False, "fps": None}, ", fps inf, most 8"),
    ],
)
def test_frames_as_vllm_chooses_them(server, loader, processor, asked):
    assert chat(server, video(), media_io_kwargs={"video": loader, "image": {}}, mm_processor_kwargs=processor).status == 200
    assert server.seen() == [SHOWN[:-1] + asked + ">"]


@pytest.mark.parametrize(
    "parts, more, sentence",
    [
        ([{"type": "video_url", "video_url": URL}], {}, "messages[0].content[0].video_url: expected an object"),
        ([video("https://example.com/a.mp4")], {}, "messages[0].content[0].video_url.url: expected the video itself"),
        ([video("data:video/mp4;base64,AAAA")], {}, "messages[0].content[0].video_url.url: not a video, expected MP4"),
        ([video()], {"mm_processor_kwargs": {"size": 2}}, "mm_processor_kwargs.size: expected fps, num_frames and do_sample_frames alone"),
        ([video()], {"mm_processor_kwargs": {"num_frames": -1}}, "mm_processor_kwargs.num_frames: expected an integer from 1 to"),
        ([video()], {"mm_processor_kwargs": {"do_sample_frames": "yes"}}, "mm_processor_kwargs.do_sample_frames: expected true or false, found string"),
        ([video()], {"mm_processor_kwargs": {"do_sample_frames": False, "fps": 2}}, "mm_processor_kwargs.do_sample_frames: expected true beside fps or"),
        ([video()], {"media_io_kwargs": 8}, "media_io_kwargs: expected an object, found number"),
        ([video()], {"media_io_kwargs": {"video": [8]}}, "media_io_kwargs.video: expected an object, found array"),
        ([video()], {"media_io_kwargs": {"num_frames": 8}}, "media_io_kwargs.num_frames: expected nothing, only videos have options here"),
        ([video()], {"media_io_kwargs": {"image": {"rgba_background_color": [0, 0, 0]}}}, "media_io_kwargs.image: expected nothing, only videos"),
        ([video()], {"media_io_kwargs": {"video": {"backend": "opencv"}}}, "media_io_kwargs.video.backend: expected num_frames and fps alone"),
        ([video()], {"media_io_kwargs": {"video": {"num_frames": "8"}}}, "media_io_kwargs.video.num_frames: expected an integer, found string"),
        ([video()], {"media_io_kwargs": {"video": {"num_frames": 0}}}, "media_io_kwargs.video.num_frames: expected an integer from 1 to"),
        ([video()], {"media_io_kwargs": {"video": {"num_frames": 1.5}}}, "media_io_kwargs.video.num_frames: expected an integer, found 1.5"),
        ([video()], {"media_io_kwargs": {"video": {"fps": True}}}, "media_io_kwargs.video.fps: expected a number, found boolean"),
        ([video()], {"media_io_kwargs": {"video": {"fps": 0}}}, "media_io_kwargs.video.fps: expected a number from"),
        ([video()], {"mm_processor_kwargs": {"fps": -1}}, "mm_processor_kwargs.fps: expected"),
        ([video(), video(), video()], {}, "messages[0].content[2]: expected at most 2 pictures in a request, found 3"),
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


def test_gemini_counts_them_as_videos(server):
    body = {"contents": [{"parts": [inline(videoMetadata={"fps": "2"}), {"text": "What moves?"}]}]}
    details = server.post("/v1beta/models/nano:countTokens", body).json()["promptTokensDetails"]
    assert [d["modality"] for d in details] == ["TEXT", "VIDEO"]
    picture = {"contents": [{"parts": [{"inlineData": {"mimeType": "image/jpeg", "data": base64.b64encode(RECEIPT).decode()}}]}]}
    details = server.post("/v1beta/models/nano:countTokens", picture).json()["promptTokensDetails"]
    assert [d["modality"] for d in details] == ["TEXT", "IMAGE"]


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
    frames = {"media_io_kwargs": {"video": {"num_frames": -1, "fps": 2.5}}, "mm_processor_kwargs": {"do_sample_frames": True}}
    jsonschema.validate({"model": "m", "messages": [{"role": "user", "content": [video()]}], **frames}, chat_schema)
    jsonschema.validate({"contents": [{"parts": [inline(videoMetadata={"fps": 2, "endOffset": "3s"})]}]}, gemini)
    for wrong in ({"num_frames": 0}, {"fps": 0}, {"backend": "opencv"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"model": "m", "messages": [{"role": "user"}], "media_io_kwargs": {"video": wrong}}, chat_schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"contents": [{"parts": [inline(videoMetadata={"fps": 100})]}]}, gemini)
