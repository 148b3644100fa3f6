"""The exported folder is a plain SmolVLM: strict loading, equal logits, the prompt the trainer used, a byte tokenizer that round-trips."""
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from export import difference, processor, tokenizer, write
from onsight_nano.batch import prompt_ids
from onsight_nano.config import EOU
from onsight_nano.model import NanoVLM, initialise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("nano")
    write(initialise(NanoVLM()).state_dict(), str(path))
    return path


def test_loads_and_agrees(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    assert type(model).__name__ == "SmolVLMForConditionalGeneration"
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (192, 192, 3), np.uint8)
    sample = dict(image=image, question="Read the text.", answer="Total 10.54\nGr\u00fc\u00df dich")
    assert difference(model.state_dict(), [sample]) < 1e-3


def test_generation_agrees(folder):
    from export import ask

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    plain = NanoVLM()
    plain.load_state_dict(model.state_dict())
    image = np.random.default_rng(1).integers(0, 256, (192, 192, 3), np.uint8)
    ids = plain.generate(torch.from_numpy(image)[None], [prompt_ids("Hi")], 16)[0]
    text = bytes(i for i in ids if i < 256).decode("utf8", "replace").strip()
    assert ask(model, AutoProcessor.from_pretrained(folder), Image.fromarray(image), "Hi", 16) == text


def test_prompt_is_the_processors(folder):
    proc = AutoProcessor.from_pretrained(folder)
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What does it say?"}]}]
    text = proc.apply_chat_template(message, add_generation_prompt=True)
    ids = proc(text=text, images=[Image.new("RGB", (50, 20))], return_tensors="pt")["input_ids"][0].tolist()
    assert ids == prompt_ids("What does it say?")


def test_tokenizer_round_trip():
    t = tokenizer()
    for text in ("plain", " two  spaces\n\ttabs\n", "Gr\u00fc\u00df \u4f60\u597d \U0001f600", "".join(map(chr, range(32, 127)))):
        ids = t(text, add_special_tokens=False)["input_ids"]
        assert ids == list(text.encode())
        assert t.decode(ids) == text
    assert t("a<end_of_utterance>")["input_ids"] == [97, EOU]
    assert processor().image_seq_len == 144
