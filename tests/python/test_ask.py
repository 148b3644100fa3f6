"""Model.ask and Model.chat: the command line's answers, however a picture comes."""

import io
import json
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onsight
import PIL.Image
import pytest
from conftest import ROOT

READ = "Read the text."
QUESTIONS = [("receipt.jpg", READ), ("screenshot.png", READ), ("scene.png", "How many objects are there?"), ("scene.png", None)]


@pytest.mark.parametrize("name, question", QUESTIONS)
def test_the_command_line_answers_the_same(model, cli, name, question):
    picture = ROOT / "examples" / name
    want = cli("--image", picture, *([question] if question else []))
    answer = model.ask(picture, question)
    assert answer == want["text"] == answer.text and type(answer.text) is str
    assert (answer.prompt_tokens, answer.completion_tokens) == (want["prompt_tokens"], want["completion_tokens"])
    assert answer.finish_reason == want["finish_reason"]
    assert answer.timings_ms.keys() == want["timings_ms"].keys() - {"load"}


def test_however_a_picture_comes_the_answer_is_the_same(model, receipt):
    want = model.ask(str(receipt), READ)
    image = PIL.Image.open(receipt)
    pixels = np.asarray(image.convert("RGB"))
    assert pixels.dtype == np.uint8 and pixels.ndim == 3
    wide = np.zeros((pixels.shape[0], pixels.shape[1] * 2, 4), np.uint8)
    wide[:, ::2, 2::-1] = pixels
    locked = pixels.copy()
    locked.flags.writeable = False
    for given in (
        receipt, receipt.read_bytes(), bytearray(receipt.read_bytes()), image, pixels, locked, [pixels], (receipt,),
        wide[:, ::2, 2::-1], np.asfortranarray(pixels), memoryview(receipt.read_bytes()),
    ):  # fmt: skip
        assert model.ask(given, READ) == want


def test_grey_pixels(model, scene):
    grey = np.asarray(PIL.Image.open(scene).convert("L"))
    assert grey.ndim == 2
    assert model.ask(grey, READ) == model.ask(np.repeat(grey[:, :, None], 3, axis=2), READ)


def test_pixels_of_one_and_of_four_channels(model, scene):
    image = PIL.Image.open(scene).convert("RGB")
    pixels = np.asarray(image)
    alpha = np.dstack([pixels, np.full(pixels.shape[:2], 9, np.uint8)])
    assert model.ask(alpha, READ) == model.ask(alpha[:, :, :3], READ) == model.ask(pixels, READ)
    grey = np.asarray(image.convert("L"))
    assert model.ask(grey[:, :, None], READ) == model.ask(grey, READ)


def test_a_pil_picture_is_turned_as_its_file_says(model, receipt):
    turned = PIL.Image.open(receipt).convert("RGB").transpose(PIL.Image.Transpose.ROTATE_90)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    assert model.ask(PIL.Image.open(file), READ) == model.ask(file.getvalue(), READ) == model.ask(receipt, READ)


def test_places_of_pictures_system_and_no_picture(model, cli, receipt, scene):
    want = cli("--image", receipt, "--image", scene, "--system", "Be brief.", "--max-tokens", "16", "First {image} then {image}: which?")
    assert model.ask([receipt, scene], "First {image} then {image}: which?", system="Be brief.", max_tokens=16) == want["text"]
    described = model.ask(receipt, max_tokens=16)
    for prompt in ("{image}", " {image}\n", "", " "):  # nothing is asked
        assert model.ask(receipt, prompt, max_tokens=16) == described
    assert model.ask(prompt="Hello?", max_tokens=8) == cli("--max-tokens", "8", "Hello?")["text"]


def test_options_of_the_answer(model, cli, receipt):
    options = {"temperature": 0.9, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.1, "seed": 7, "max_tokens": 20}
    flags = [each for name, value in options.items() for each in (f"--{name.replace('_', '-')}", value)]
    assert model.ask(receipt, READ, **options) == cli("--image", receipt, *flags, READ)["text"]
    assert model.ask(receipt, READ, stop="Milk") == "Bread 2.45\n"
    assert model.ask(receipt, READ, stop=["Coffee", "Milk"]).finish_reason == "stop"
    assert model.ask(receipt, READ, max_tokens=3).finish_reason == "length"


def test_options_of_cost(model, cli, receipt, scene):
    small = np.asarray(PIL.Image.open(scene).convert("RGB").resize((40, 30)))
    assert model.ask(small, max_tokens=1, no_upscale=True).prompt_tokens <= model.ask(small, max_tokens=1).prompt_tokens
    drafted, alone = model.ask(receipt, READ), model.ask(receipt, READ, no_draft=True)
    assert drafted == alone and alone.drafted_tokens == alone.accepted_tokens == 0
    want = cli("--image", receipt, "--no-draft", "--kv", "q8", "--no-upscale", "--max-tokens", "8", READ)
    other = onsight.load(kv="q8")
    assert other.ask(receipt, READ, no_draft=True, no_upscale=True, max_tokens=8) == want["text"]
    assert other.info["memory_bytes"] < onsight.load(kv="f32").info["memory_bytes"]
    assert want.keys() - {"prompt_tokens_details"} <= vars(alone).keys() | {"text"} and alone.peak_memory_bytes > 10_000_000


def test_a_video(model, cli, clip):
    want = cli("--video", clip, "--max-frames", "3", "--start", "1", "--end", "3.5", "--fps", "2", "--max-tokens", "8", "What moves?")
    options = {"max_frames": 3, "start": 1, "end": 3.5, "fps": 2, "max_tokens": 8}
    for given in (clip, str(clip), clip.read_bytes(), [clip]):
        answer = model.ask(video=given, prompt="What moves?", **options)
        assert answer == want["text"] and answer.prompt_tokens == want["prompt_tokens"]


def test_a_video_as_its_frames(model, receipt, scene):
    frames = [PIL.Image.open(scene).convert("RGB").rotate(angle) for angle in (0, 90, 180)]
    pixels = np.stack([np.asarray(frame) for frame in frames])
    want = model.ask(video=frames, prompt="What moves?", max_tokens=8)
    for given in (tuple(frames), list(pixels), pixels, [pixels], [frames]):
        assert model.ask(video=given, prompt="What moves?", max_tokens=8) == want
    messages = [{"role": "user", "content": [{"type": "video", "video": frames}, {"type": "text", "text": "What moves?"}]}]
    assert model.chat(messages, max_tokens=8) == want
    pipe = onsight.pipeline("video-text-to-text", model=model, max_new_tokens=8, return_full_text=False)
    assert pipe(videos=frames, text="What moves?")[0]["generated_text"] == want.text
    # Each is looked at; their rate is in the prompt.
    one = model.ask(video=frames[:1], prompt="What moves?", max_tokens=1).prompt_tokens
    assert want.prompt_tokens > model.ask(video=frames, prompt="What moves?", max_tokens=1, max_frames=2).prompt_tokens > one
    assert model.ask(video=[frames[:1], frames[:1]], prompt="{video} and {video}?", max_tokens=1).prompt_tokens > one
    with pytest.raises(onsight.InputError, match=r"video: frame 1 has 9x9 pixels, expected"):
        model.ask(video=[frames[0], np.zeros((9, 9, 3), np.uint8)], prompt="What moves?")


BESIDE_ANOTHER_FFMPEG = """
import ctypes, sys
for library in ("libavutil.so.57", "libavcodec.so.59", "libavformat.so.59", "libswscale.so.6"):
    try:
        ctypes.CDLL(library, getattr(ctypes, sys.argv[2]))
    except OSError:  # this machine has none
        break
import onsight
print(onsight.load().ask(video=sys.argv[1], prompt="What moves?", max_frames=3, max_tokens=8))
print(*sorted({line.split()[-1] for line in open("/proc/self/maps") if "-onsight.so" in line}), sep="\\n")
"""


@pytest.mark.parametrize("scope", ["RTLD_LOCAL", "RTLD_GLOBAL"])
def test_a_video_takes_the_packages_own_ffmpeg(cli, clip, scope):
    """Also where the process holds the system's before."""
    libraries = Path(onsight.__file__).resolve().parents[1] / "onsight.libs"
    if not libraries.is_dir():
        pytest.skip("built for this machine alone: it takes the machine's")
    done = subprocess.run([sys.executable, "-I", "-c", BESIDE_ANOTHER_FFMPEG, clip, scope], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.rsplit("\n", 5)[0], done.stdout.split()[-4:]
    assert answer == cli("--video", clip, "--max-frames", "3", "--max-tokens", "8", "What moves?")["text"]
    assert loaded == [str(libraries / f"lib{name}-onsight.so.{version}") for name, version in (("avcodec", 59), ("avformat", 59), ("avutil", 57), ("swscale", 6))]


def test_an_answer_of_a_schema(model, receipt, tmp_path):
    schema = json.loads((ROOT / "examples/receipt.schema.json").read_text())
    answer = model.ask(receipt, READ, json_schema=schema, max_tokens=120)
    assert json.loads(answer) and answer.finish_reason == "stop"
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    assert answer == model.ask(receipt, READ, json_schema=path, max_tokens=120) == model.ask(receipt, READ, json_schema=json.dumps(schema), max_tokens=120)

    class Total:
        @staticmethod
        def model_json_schema():
            return {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}

    assert isinstance(json.loads(model.ask(receipt, READ, json_schema=Total))["total"], (int, float))


def test_a_conversation(model, receipt):
    image = PIL.Image.open(receipt)
    want = model.ask(receipt, READ)
    for part in (
        {"type": "image", "image": image}, {"type": "image", "url": str(receipt)}, {"type": "image", "path": receipt},
        {"type": "image_url", "image_url": {"url": str(receipt)}},
    ):  # fmt: skip
        assert model.chat([{"role": "user", "content": [part, {"type": "text", "text": READ}]}]) == want
    turns = [{"role": "user", "content": [{"type": "image", "path": receipt}, {"type": "text", "text": READ}]}]
    turns += [{"role": "assistant", "content": want}, {"role": "user", "content": "And the total?"}]
    answer = model.chat(turns, max_tokens=8)
    assert answer and answer.prompt_tokens > model.ask(receipt, READ, max_tokens=1).prompt_tokens + len(want)
    assert "".join(model.chat(turns, max_tokens=8, stream=True)) == answer


def test_a_conversation_about_a_video(model, clip):
    messages = [{"role": "user", "content": [{"type": "video", "path": str(clip)}, {"type": "text", "text": "What moves?"}]}]
    assert model.chat(messages, max_frames=3, max_tokens=8) == model.ask(video=clip, prompt="What moves?", max_frames=3, max_tokens=8)


def test_many_threads(model, receipt, scene):
    questions = [(receipt, READ), (scene, "How many objects are there?"), (scene, READ)] * 4
    want = [model.ask(*question) for question in questions[:3]] * 4
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda question: model.ask(*question), questions)) == want


def test_the_interpreter_goes_on_meanwhile(model, receipt):
    span = []

    def ask():
        start = time.monotonic()
        model.ask([receipt] * 6, READ)
        span.extend((start, time.monotonic()))

    thread = threading.Thread(target=ask)
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(time.monotonic())
        time.sleep(0.001)
    start, end = span
    quarter = (end - start) / 4  # were the lock held, this thread could still run just before the call and just after it
    assert any(start + quarter < moment < end - quarter for moment in seen)


def test_an_answer_is_a_str(model, scene):
    answer = model.ask(scene, READ, max_tokens=4)
    again = pickle.loads(pickle.dumps(answer))
    assert isinstance(answer, str) and again == answer and again.completion_tokens == answer.completion_tokens
    assert json.dumps({"text": answer}) == json.dumps({"text": answer.text})


def test_a_model_that_is_closed(scene):
    with onsight.load(threads=1) as model:
        assert "onsight-nano" in repr(model)
    with pytest.raises(onsight.InputError, match="has been closed"):
        model.ask(scene)


def test_an_earlier_run_is_remembered(receipt, tmp_path):
    first = onsight.load(cache=tmp_path).ask(receipt, READ)
    again = onsight.load(cache=tmp_path).ask(receipt, READ)
    assert again == first and list(tmp_path.iterdir())
    assert first.cached_tiles == 0 < again.cached_tiles
    onsight.load(cache=tmp_path, cache_size=1).ask([receipt, ROOT / "examples/screenshot.png"], READ, max_tokens=1)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1 << 20
