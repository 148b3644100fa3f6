"""The generator: the same seed gives the same picture, labels and answers fit together, evaluation never meets training."""
import random

import numpy as np

from onsight_nano.data import fonts, gauge, plain, prompts, scene, text
from onsight_nano.mix import STAGES

KINDS = {
    "square": lambda r: [text.square(r, 2)],
    "held out": lambda r: [text.square(r, 3, True)],
    "page": lambda r: [text.square(r, 9, page=True)],
    "crop": lambda r: [text.crop(r, 2)],
    "receipt": lambda r: [text.receipt(r)],
    "display": lambda r: [text.display(r)],
    "strip": lambda r: [text.strip(r)],
    "scene": lambda r: scene.scene(r, 3),
    "gauge": lambda r: gauge.gauge(r, 2),
    "plain": lambda r: plain.plain(r, 2),
}


def test_deterministic_and_consistent(generator):
    for name, make in KINDS.items():
        for seed in range(12):
            a, b = make(random.Random(seed)), make(random.Random(seed))
            for s, t in zip(a, b):
                assert s["question"] == t["question"] and s["answer"] == t["answer"], name
                assert np.array_equal(s["image"], t["image"]) and np.array_equal(s["seg"], t["seg"]), name
                assert s["image"].shape == (192, 192, 3) and s["image"].dtype == np.uint8, name
                assert s["answer"] and s["answer"].isascii(), name
                for text, look in (("answer", s["at"]), ("question", s["asked"])):
                    if look is not None:
                        assert len(look) == len(s[text]), name
                        assert all(0 <= x < 1 and 0 <= y < 1 for points in look if points is not None for x, y in points), name


def test_held_out_fonts_and_words(generator):
    assert not set(fonts.families(True)) & set(fonts.families(False))
    assert not set(fonts.words(True)) & set(fonts.words(False))
    assert len(fonts.words(True)) > 1000


def test_wordings_fill_in():
    r = random.Random(0)
    assert len({prompts.ask(r, prompts.READ) for _ in range(300)}) > 40
    assert "circle" in prompts.ask(random.Random(3), prompts.COLOUR, "circle").lower()


def test_stages_make_batches(generator):
    for stage, make in STAGES.items():
        batch = make(random.Random(1), 2)
        assert ("image" in batch) == (stage != "talk")
        assert bool(batch["text"]) == (stage != "see")
