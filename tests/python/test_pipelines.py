"""Pipelines: transformers' arguments and the shapes of its results. test_transformers.py compares with transformers itself."""

import types

import numpy as np
import onsight
import PIL.Image
import pytest

READ = "Read the text."


@pytest.fixture(scope="module")
def image_to_text(model):
    return onsight.pipeline("image-to-text", model=model, max_new_tokens=12)


@pytest.fixture(scope="module")
def image_text_to_text(model):
    return onsight.pipeline("image-text-to-text", model=model, max_new_tokens=12)


def chat(picture, question=READ):
    return [{"role": "user", "content": [{"type": "image", "url": str(picture)}, {"type": "text", "text": question}]}]


def test_image_to_text(image_to_text, model, receipt, scene):
    said = [{"generated_text": model.ask(receipt, max_tokens=12)}]
    other = [{"generated_text": model.ask(scene, max_tokens=12)}]
    assert image_to_text(str(receipt)) == image_to_text(PIL.Image.open(receipt)) == image_to_text(images=receipt) == said
    assert image_to_text([str(receipt), scene]) == [said, other]
    assert image_to_text([str(receipt)]) == [said]
    lazy = image_to_text((picture for picture in [receipt, scene, receipt]), batch_size=2)
    assert isinstance(lazy, types.GeneratorType) and list(lazy) == [said, other, said]
    assert image_to_text(scene, prompt="How many objects are there?") == [{"generated_text": model.ask(scene, "How many objects are there?", max_tokens=12)}]
    assert type(said[0]["generated_text"]) is onsight.Answer and type(image_to_text(scene)[0]["generated_text"]) is str


def test_more_pictures_than_go_together(image_to_text):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 255, (20, 20 + i, 3), dtype=np.uint8) for i in range(40)]
    together = image_to_text(pictures, max_new_tokens=3)
    assert together == [image_to_text(picture, max_new_tokens=3) for picture in pictures]


def test_a_question(image_text_to_text, model, receipt, scene):
    answer = model.ask(receipt, READ, max_tokens=12)
    said = [{"input_text": READ, "generated_text": READ + answer}]
    assert image_text_to_text(images=receipt, text=READ) == image_text_to_text(str(receipt), READ) == said
    assert image_text_to_text([receipt], READ, return_full_text=False) == [{"input_text": READ, "generated_text": answer}]
    marked = "<image>" + READ
    assert image_text_to_text(receipt, marked) == [{"input_text": marked, "generated_text": marked + answer}]
    other = model.ask(scene, READ, max_tokens=12)
    assert image_text_to_text([receipt, scene], [READ, READ]) == [*said, {"input_text": READ, "generated_text": READ + other}]
    rows = [{"images": receipt, "text": READ}, {"image": scene, "text": READ}]
    assert image_text_to_text(rows) == [said, [{"input_text": READ, "generated_text": READ + other}]]
    assert list(image_text_to_text(iter(rows))) == image_text_to_text(rows)
    assert image_text_to_text(text="Hello?")[0]["generated_text"].startswith("Hello?")


def test_a_conversation(image_text_to_text, model, receipt, scene):
    messages = chat(receipt)
    answer = model.ask(receipt, READ, max_tokens=12).text
    full = [{"input_text": messages, "generated_text": [*messages, {"role": "assistant", "content": answer}]}]
    assert image_text_to_text(text=messages) == image_text_to_text(messages) == full
    assert messages == chat(receipt)
    assert image_text_to_text(text=messages, return_full_text=False) == [{"input_text": messages, "generated_text": answer}]
    both = image_text_to_text(text=[messages, chat(scene)], return_full_text=False)
    assert [len(each) for each in both] == [1, 1] and both[0][0]["generated_text"] == answer
    again = image_text_to_text(text=[*full[0]["generated_text"], {"role": "user", "content": "And the total?"}])
    assert len(again[0]["generated_text"]) == 4


def test_video_text_to_text(model, clip):
    pipe = onsight.pipeline("video-text-to-text", model=model, max_new_tokens=8, generate_kwargs={"max_frames": 3})
    answer = model.ask(video=clip, prompt="What moves?", max_frames=3, max_tokens=8)
    assert pipe(videos=str(clip), text="What moves?", return_full_text=False) == [{"input_text": "What moves?", "generated_text": answer}]
    messages = [{"role": "user", "content": [{"type": "video", "path": str(clip)}, {"type": "text", "text": "What moves?"}]}]
    assert pipe(text=messages)[0]["generated_text"][-1] == {"role": "assistant", "content": answer}


def test_generate_kwargs(image_text_to_text, model, receipt):
    def say(**kwargs):
        return image_text_to_text(receipt, READ, return_full_text=False, **kwargs)[0]["generated_text"]

    assert say(generate_kwargs={"max_new_tokens": 4}) == say(max_new_tokens=4) == model.ask(receipt, READ, max_tokens=4)
    assert say(generate_kwargs={"do_sample": False, "num_beams": 1, "temperature": 0.5}) == say()
    sampled = {"temperature": 0.8, "top_k": 5, "seed": 3}
    assert say(generate_kwargs={"do_sample": True, **sampled}) == model.ask(receipt, READ, max_tokens=12, **sampled)
    assert say(stop_sequence="2.45") == "Bread "
    assert say(generate_kwargs={"stop_strings": ["2.45"]}) == "Bread "


@pytest.mark.parametrize(
    "arguments, error, sentence",
    [
        ({"task": "text-to-image"}, KeyError, "task: expected 'image-text-to-text'"),
        ({"device": "cuda:0"}, ValueError, "device: expected 'cpu', found 'cuda:0'"),
        ({"dtype": "bfloat16"}, ValueError, "dtype: expected 'auto' or float32, found bfloat16"),
        ({"feature_extractor": 1}, TypeError, "feature_extractor: no such argument"),
        ({"model": "nowhere"}, ValueError, "model 'nowhere' not found"),
    ],
)
def test_pipelines_that_cannot_be_made(model, arguments, error, sentence):
    with pytest.raises(error) as refused:
        onsight.pipeline(**{"task": "image-to-text", "model": model, **arguments})
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "arguments, error, sentence",
    [
        ({}, ValueError, "expected text, images or a conversation, found none"),
        ({"images": "x.png"}, ValueError, "expected text beside the images, found none"),
        ({"images": "x.png", "text": chat("x.png")}, ValueError, "images: expected them in the conversation's 'content', found them beside it"),
        ({"images": ["x.png"], "text": ["a", "b"]}, ValueError, "images: expected one for each of the 2 texts, found 1"),
        ({"text": "a", "generate_kwargs": {"num_beams": 4}}, ValueError, "generate_kwargs: expected num_beams 1, found 4"),
        ({"text": "a", "generate_kwargs": {"penalty_alpha": 4}}, ValueError, "generate_kwargs: penalty_alpha: not supported, expected one of"),
        ({"text": "a", "max_new_tokens": 1, "generate_kwargs": {"max_new_tokens": 4}}, ValueError, "max_new_tokens: given twice"),
        ({"text": "a", "return_tensors": True}, ValueError, "return_tensors: expected None or False, found True"),
        ({"text": "a", "colour": 1}, TypeError, "colour: no such argument"),
        ({"text": [*chat("x.png"), {"role": "assistant", "content": "There"}]}, ValueError, "expected the last to be the user's"),
    ],
)
def test_calls_that_cannot_be_answered(image_text_to_text, arguments, error, sentence):
    with pytest.raises(error) as refused:
        image_text_to_text(**arguments)
    assert sentence in str(refused.value)


def test_what_a_name_is_enough_for(receipt):
    """No model, no path, no connection."""
    assert onsight.pipeline("image-to-text")(str(receipt), prompt=READ)[0]["generated_text"].startswith("Bread")
