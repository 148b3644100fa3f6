"""What cannot be used is refused with one sentence: what, where, and what was expected."""

import base64

import numpy as np
import onsight
import PIL.Image
import pytest
from conftest import ROOT

GREY = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    "images, error, sentence",
    [
        ("nowhere.png", onsight.InputError, "nowhere.png: cannot be opened (No such file or directory)"),
        ("", onsight.InputError, "images: expected a file, found nothing"),
        ("a\0b", onsight.InputError, "images: expected a path, found a zero byte in it"),
        (["examples/scene.png", b"GIF89a"], onsight.InputError, "images[1]: "),
        (b"not a picture", onsight.InputError, "images: "),
        (ROOT / "README.md", onsight.InputError, "README.md: "),
        ("https://example.com/x.png", onsight.InputError, "images: expected a file of this machine or its bytes, found https: (nothing is fetched)"),
        ("data:image/png,abc", onsight.InputError, "images: expected data:...;base64,... found data:image/png"),
        ("A" * 2000, onsight.InputError, "images: expected a path, found 2000 characters that begin with 'AAAAAAAAAAAAAAAAAAAA'"),
        ("A" * 200, onsight.InputError, "A" * 200 + ": cannot be opened (No such file or directory)"),
        ("data:image/png;base64,%%", onsight.InputError, "images: expected base64, found other characters"),
        (np.zeros((4, 4, 2), np.uint8), onsight.InputError, "images: expected pixels [height, width, 3], [height, width, 4], [height, width, 1] or [height, width], found [4, 4, 2]"),
        (np.zeros((0, 4, 3), np.uint8), onsight.InputError, "images: expected at least one pixel, found [0, 4, 3]"),
        (np.zeros((4, 4, 3), np.float32), onsight.InputError, "expected uint8 pixels [height, width, 3], [height, width, 4] or [height, width], found float32 [4, 4, 3]"),
        (np.zeros((2, 4, 4, 3), np.uint8), onsight.InputError, "[height, width, 1] or [height, width], found [2, 4, 4, 3]"),
        (7, TypeError, "images: expected a path, bytes, a PIL picture or an array of uint8, found int"),
        ([GREY, None], TypeError, "images[1]: expected a path, bytes, a PIL picture or an array of uint8, found NoneType"),
    ],
)
def test_bad_pictures(model, images, error, sentence):
    with pytest.raises(error) as refused:
        model.ask(images, "Read the text.")
    message = str(refused.value)
    assert sentence in message and "\n" not in message and not message.endswith(".")


@pytest.mark.parametrize(
    "options, error, sentence",
    [
        ({}, onsight.InputError, "expected a question, a picture or a video, found nothing"),
        ({"images": []}, onsight.InputError, "expected a question, a picture or a video, found nothing"),
        ({"prompt": 3}, TypeError, "prompt: expected a str, found int"),
        ({"prompt": "a\ud800"}, onsight.InputError, "prompt: expected text, found half of a surrogate pair at 1"),
        ({"images": GREY, "video": "a.mp4"}, onsight.InputError, "images and video exclude each other"),
        ({"images": GREY, "fps": 1}, onsight.InputError, "fps: expected a video beside it"),
        ({"images": [GREY, GREY], "prompt": "{image}"}, onsight.InputError, "prompt: 1 times {image}, expected once for each of the 2 pictures or not at all"),
        ({"prompt": "Hi", "max_tokens": 0}, onsight.InputError, "max_tokens: expected a whole number from 1 to 1000000, found 0"),
        ({"prompt": "Hi", "max_tokens": 1.5}, TypeError, "max_tokens: expected a whole number, found float"),
        ({"prompt": "Hi", "temperature": -1}, onsight.InputError, "temperature: expected a number from 0 to 10, found -1"),
        ({"prompt": "Hi", "temperature": float("nan")}, onsight.InputError, "temperature: expected a number from 0 to 10, found nan"),
        ({"prompt": "Hi", "temperature": "hot"}, TypeError, "temperature: expected a number, found str"),
        ({"prompt": "Hi", "top_p": 0}, onsight.InputError, "top_p: expected a number above 0 up to 1, found 0"),
        ({"prompt": "Hi", "no_draft": 1}, TypeError, "no_draft: expected True or False, found int"),
        ({"prompt": "Hi", "no_upscale": None}, TypeError, "no_upscale: expected True or False, found NoneType"),
        ({"prompt": "Hi", "seed": -1}, onsight.InputError, "seed: expected a whole number from 0 to 18446744073709551615, found -1"),
        ({"prompt": "Hi", "stop": ""}, onsight.InputError, "stop: expected a text, found nothing"),
        ({"prompt": "Hi", "stop": "x", "json_schema": True}, onsight.InputError, "stop and json_schema exclude each other"),
        ({"prompt": "Hi", "json_schema": {"type": "colour"}}, onsight.InputError, "json_schema"),
        ({"prompt": "Hi", "json_schema": "{"}, onsight.InputError, "json_schema"),
        ({"prompt": "Hi", "json_schema": ROOT / "nowhere.json"}, onsight.InputError, "nowhere.json: expected a JSON schema"),
        ({"prompt": "Hi " * 2000}, onsight.InputError, "prompt: "),
        ({"video": "nowhere.mp4"}, onsight.InputError, "nowhere.mp4: No such file or directory"),
        ({"video": b"no video"}, onsight.InputError, "video: "),
        ({"video": "A" * 3000}, onsight.InputError, "video: expected a path, found 3000 characters that begin with 'AAAAAAAAAAAAAAAAAAAA'"),
        ({"video": ROOT / "tests/data/video/sound.m4a"}, onsight.InputError, "sound.m4a: holds sound alone, expected a video"),
        ({"video": "a.mp4", "start": 3, "end": 2}, onsight.InputError, "end: expected a time after start (3 s), found 2 s"),
    ],
)
def test_bad_options(model, options, error, sentence):
    with pytest.raises(error) as refused:
        model.ask(**options)
    message = str(refused.value)
    assert sentence in message and "\n" not in message and not message.endswith(".")


@pytest.mark.parametrize(
    "messages, sentence",
    [
        ([], "messages: expected the last to be the user's, found none"),
        ([{"role": "assistant", "content": "Hi"}], "messages: expected the last to be the user's, found the assistant's"),
        ([{"role": "tool", "content": "Hi"}], "messages[0]: expected role 'system', 'user' or 'assistant', found 'tool'"),
        ([{"role": "user"}], "messages[0]: expected a dict with 'role' and 'content'"),
        ([{"role": "user", "content": []}], "messages[0]: expected content, a str or a list of parts, found []"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "messages[0]['content'][0]: expected type 'text', 'image' or 'video', found 'audio'"),
        ([{"role": "user", "content": [{"type": "image"}]}], "messages[0]['content'][0]: expected one of image, url, path, base64, found none of them"),
        ([{"role": "user", "content": [{"type": "image", "base64": "?"}]}], "messages[0]['content'][0]['base64']: expected base64, found other characters"),
        ([{"role": "user", "content": [{"type": "image", "url": "http://x/y.png"}]}], "(nothing is fetched)"),
    ],
)
def test_bad_conversations(model, messages, sentence):
    with pytest.raises(onsight.InputError) as refused:
        model.chat(messages)
    assert sentence in str(refused.value)


def test_options_that_are_not_there(model):
    with pytest.raises(TypeError, match="temprature: no such option"):
        model.chat([{"role": "user", "content": "Hi"}], temprature=1)
    with pytest.raises(TypeError, match="video is no option of it"):
        model.chat([{"role": "user", "content": "Hi"}], video="x.mp4")


def test_data_urls(model, scene):
    url = "data:image/png;base64," + base64.b64encode(scene.read_bytes()).decode()
    assert model.ask(url, max_tokens=8) == model.ask(scene, max_tokens=8)
    raw = url.split(",")[1]
    lines = "\n".join(raw[at : at + 76] for at in range(0, len(raw), 76))
    assert model.ask(raw, max_tokens=8) == model.ask([lines], max_tokens=8) == model.ask(scene, max_tokens=8)
    part = {"type": "image", "base64": raw}
    assert model.chat([{"role": "user", "content": [part, {"type": "text", "text": "Describe this image."}]}], max_tokens=8) == model.ask(scene, max_tokens=8)


def test_modes_of_pil(model, scene):
    image = PIL.Image.open(scene)
    want = model.ask(image.convert("RGB"), max_tokens=8)
    assert model.ask(image.convert("RGBA"), max_tokens=8) == want
    for mode in ("L", "1", "P", "CMYK", "I;16"):
        assert model.ask(PIL.Image.new(mode, (9, 7)), max_tokens=2)


@pytest.mark.parametrize(
    "options, error, sentence",
    [
        ({"model": "no-such-model"}, onsight.InputError, "model 'no-such-model' not found: "),
        ({"model": ""}, onsight.InputError, "model: expected a folder"),
        ({"model": ROOT / "examples"}, onsight.InputError, "config.json"),
        ({"quant": "q5"}, onsight.InputError, "quant: expected auto, none, q8 or q4, found 'q5'"),
        ({"vision_quant": "q5"}, onsight.InputError, "vision_quant: expected auto, none, q8 or q4, found 'q5'"),
        ({"threads": -1}, onsight.InputError, "threads: expected a whole number from 0 to 1024, found -1"),
        ({"cache": ""}, onsight.InputError, "cache: expected a folder, found nothing"),
        ({"cache_size": 0}, onsight.InputError, "cache_size: expected a whole number from 1 to 1000000, found 0"),
        ({"kv": "q4"}, onsight.InputError, "kv: expected auto, f32, f16 or q8, found 'q4'"),
    ],
)
def test_models_that_cannot_be_loaded(options, error, sentence):
    with pytest.raises(error) as refused:
        onsight.load(**options)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_errors_are_those_of_python():
    assert issubclass(onsight.InputError, (onsight.Error, ValueError))
    assert issubclass(onsight.OutOfMemoryError, MemoryError) and issubclass(onsight.BusyError, onsight.Error)


def test_models_by_name_and_in_other_formats(tmp_path, monkeypatch, scene, model):
    monkeypatch.setenv("ONSIGHT_MODELS", str(tmp_path))
    (tmp_path / "mine").symlink_to(ROOT / "models/onsight-nano")
    assert onsight.load("mine").ask(scene, max_tokens=8) == onsight.load(ROOT / "models/onsight-nano").ask(scene, max_tokens=8) == model.ask(scene, max_tokens=8)
    # In the hub's cache, wherever its own tools have it.
    snapshot = tmp_path / "hf/hub/models--acme--tiny/snapshots" / ("f" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(ROOT / "models/onsight-nano")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("HF_HOME", "~/hf"), ("HUGGINGFACE_HUB_CACHE", "~/hf/hub"), ("HF_HUB_CACHE", f"{tmp_path}/hf/hub")):
        with monkeypatch.context() as variables:
            variables.setenv(name, value)
            assert onsight.model.find_model("acme/tiny@" + "f" * 40) == str(snapshot)
    small = onsight.load(quant="q4")
    assert small.info["quant"] == "q4" and small.info["vision_quant"] == "q8" and small.ask(scene, max_tokens=2)
