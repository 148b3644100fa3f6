"""Pipelines: transformers' arguments and the shapes of its results. test_transformers.py compares with transformers itself."""

import inspect
import types

import numpy as np
import onsight
import PIL.Image
import pytest
import transformers_names as names

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


def test_many_texts_and_conversations(image_text_to_text, model, receipt, scene):
    def said(text):
        return {"input_text": text, "generated_text": text + model.ask(prompt=text, max_tokens=4).text}

    def say(**call):
        return image_text_to_text(max_new_tokens=4, **call)

    assert say(text=["Hello", "Hi"]) == [[said("Hello")], [said("Hi")]] and say(text=["Hi"]) == [[said("Hi")]]
    assert say(text=("Hello", "Hi")) == [said("Hello"), said("Hi")]
    lazy = say(text=(each for each in ["Hello", "Hi"]))
    assert isinstance(lazy, types.GeneratorType) and list(lazy) == [[said("Hello")], [said("Hi")]]
    both = [chat(receipt), chat(scene)]
    lazy = say(text=(each for each in both))
    assert isinstance(lazy, types.GeneratorType) and list(lazy) == say(text=both) == list(say(images=iter(both)))
    assert say(text=iter(both[0])) == say(text=both[0]) and list(say(text=iter([]))) == []


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


@pytest.fixture
def looks(monkeypatch):
    """(fps, max_frames) of every question, in order; 0 is what the model's checkpoint says."""
    seen = []

    class Look(onsight.model.Look):
        def __init__(self, *given):
            super().__init__(*given)
            seen.append((self.fps, self.max_frames))

    monkeypatch.setattr(onsight.model, "Look", Look)
    return seen


def film(clip):
    return [{"role": "user", "content": [{"type": "video", "path": str(clip)}, {"type": "text", "text": "What moves?"}]}]


@pytest.mark.parametrize(
    "theirs, ours, look",
    [
        ({"num_frames": 2}, {"max_frames": 2}, (0, 2)),
        ({"fps": 0.5}, {"fps": 0.5}, (0.5, 0)),
        ({"fps": 5, "num_frames": 4, "do_sample_frames": True}, {"fps": 5, "max_frames": 4}, (5, 4)),
        ({"processor_kwargs": {"fps": 5, "num_frames": 3, "do_sample_frames": True, "size": None}}, {"fps": 5, "max_frames": 3}, (5, 3)),
        ({"processor_kwargs": {"fps": 0.5}, "num_frames": 3}, {"fps": 0.5, "max_frames": 3}, (0.5, 3)),
        ({"fps": None, "num_frames": None, "processor_kwargs": None, "do_sample_frames": None}, {}, (0, 0)),
    ],
)
def test_frames_by_transformers_names(model, clip, looks, theirs, ours, look):
    films = onsight.pipeline("video-text-to-text", model=model, max_new_tokens=2)
    said = films(videos=str(clip), text="What moves?", generate_kwargs=ours)
    assert films(videos=str(clip), text="What moves?", **theirs) == said
    always = onsight.pipeline("image-text-to-text", model=model, max_new_tokens=2, **theirs)
    assert always(text=film(clip)) == films(text=film(clip), **theirs)
    assert looks == [look] * 4


def test_a_call_comes_before_the_constructor(model, clip, looks):
    pipe = onsight.pipeline("video-text-to-text", model=model, max_new_tokens=2, num_frames=4, fps=5)
    pipe(text=film(clip))
    pipe(text=film(clip), num_frames=2)
    pipe(text=film(clip), generate_kwargs={"max_frames": 3}, fps=1)
    assert looks == [(5, 4), (5, 2), (1, 3)]


def test_the_constructor_takes_what_generate_takes(model, receipt):
    pipe = onsight.pipeline("image-text-to-text", model=model, do_sample=True, temperature=0.8, top_k=5, seed=3, num_beams=1, max_new_tokens=12)
    sampled = {"temperature": 0.8, "top_k": 5, "seed": 3, "max_tokens": 12}
    assert pipe(receipt, READ, return_full_text=False)[0]["generated_text"] == model.ask(receipt, READ, **sampled)
    greedy = pipe(receipt, READ, return_full_text=False, generate_kwargs={"do_sample": False})
    assert greedy[0]["generated_text"] == model.ask(receipt, READ, max_tokens=12)
    with pytest.raises(ValueError, match="expected num_beams 1, found 4"):
        onsight.pipeline("image-text-to-text", model=model, num_beams=4)


def test_generate_kwargs(image_text_to_text, model, receipt):
    def say(**kwargs):
        return image_text_to_text(receipt, READ, return_full_text=False, **kwargs)[0]["generated_text"]

    assert say(generate_kwargs={"max_new_tokens": 4}) == say(max_new_tokens=4) == model.ask(receipt, READ, max_tokens=4)
    assert say(generate_kwargs={"do_sample": False, "num_beams": 1, "temperature": 0.5}) == say()
    sampled = {"temperature": 0.8, "top_k": 5, "seed": 3}
    assert say(generate_kwargs={"do_sample": True, **sampled}) == model.ask(receipt, READ, max_tokens=12, **sampled)
    assert say(do_sample=False) == say() and say(do_sample=True, **sampled) == say(generate_kwargs={"do_sample": True, **sampled})
    assert say(do_sample=True, generate_kwargs={"do_sample": False}) == say()
    assert say(stop_sequence="2.45") == "Bread "
    assert say(generate_kwargs={"stop_strings": ["2.45"]}) == "Bread "


@pytest.mark.parametrize(
    "arguments, error, sentence",
    [
        ({"task": "text-to-image"}, KeyError, "task: expected 'image-text-to-text'"),
        ({"device": "cuda:0"}, ValueError, "device: expected 'cpu', found 'cuda:0'"),
        ({"device": 0}, ValueError, "device: expected 'cpu', found '0'"),
        ({"device_map": "cuda"}, ValueError, "device_map: expected 'auto' or 'cpu', found 'cuda'"),
        ({"device_map": {"": 0}}, ValueError, "device_map: expected 'auto' or 'cpu', found \"{'': 0}\""),
        ({"dtype": "float64"}, ValueError, "dtype: expected 'auto', float32, bfloat16 or float16, found float64"),
        ({"torch_dtype": "int8"}, ValueError, "dtype: expected 'auto', float32, bfloat16 or float16, found int8"),
        ({"feature_extractor": 1}, ValueError, "feature_extractor: expected None or the model's own path or name, found 1"),
        ({"processor": object()}, ValueError, "processor: expected None or the model's own path or name, found object: a model is read with"),
        ({"config": "elsewhere"}, ValueError, "config: expected None or the model's own path or name, found 'elsewhere'"),
        ({"revision": "v2"}, ValueError, "revision: expected None or 'main' of a model that is not OWNER/NAME of the hub, found 'v2'"),
        ({"model": "an/other", "revision": "v2"}, ValueError, "model 'an/other@v2' not found"),
        ({"model": 5}, TypeError, "model: expected a path, a name or an onsight.Model, found int"),
        ({"pipeline_class": dict}, ValueError, "pipeline_class: expected None, found type"),
        ({"assistant_model": "small"}, ValueError, "assistant_model: expected None, found 'small'"),
        ({"framework": "tf"}, ValueError, "framework: expected None or 'pt', found 'tf'"),
        ({"binary_output": True}, ValueError, "binary_output: expected None or False, found True"),
        ({"model_kwargs": 5}, TypeError, "model_kwargs: expected a dict, found int"),
        ({"model_kwargs": {"load_in_4bit": True}}, ValueError, "model_kwargs: load_in_4bit: not supported, expected dtype, device_map or attn_"),
        ({"model_kwargs": {"attn_implementation": "flash_attention_2"}}, ValueError, "attn_implementation: expected None or 'eager' or 'sdpa'"),
        ({"model_kwargs": {"dtype": "float8"}}, ValueError, "dtype: expected 'auto', float32, bfloat16 or float16, found float8"),
        ({"model_kwargs": {"dtype": "float32"}, "dtype": "float32"}, ValueError, "dtype: given twice"),
        ({"model_kwargs": {"device_map": "cuda"}}, ValueError, "device_map: expected 'auto' or 'cpu', found 'cuda'"),
        ({"generate_kwargs": 5}, TypeError, "generate_kwargs: expected a dict, found int"),
        ({"generate_kwargs": {"max_new_tokens": 4}, "max_new_tokens": 4}, ValueError, "max_new_tokens: given twice"),
        ({"task": "image-text-to-text", "num_frames": 0}, ValueError, "num_frames: expected a whole number from 1 to 100000, found 0"),
        ({"num_frames": 4}, TypeError, "image-to-text: num_frames: no such argument"),
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
        ({"text": "a", "num_frames": 1, "generate_kwargs": {"max_frames": 4}}, ValueError, "num_frames: given twice"),
        ({"text": "a", "num_frames": "all"}, TypeError, "num_frames: expected a whole number, found str"),
        ({"text": "a", "fps": 2}, ValueError, "fps: expected a video beside it"),
        ({"text": "a", "do_sample_frames": False}, ValueError, "do_sample_frames: expected None or True, found False"),
        ({"text": "a", "processor_kwargs": {"size": 64}}, ValueError, "processor_kwargs: size: not supported, expected fps, num_frames or do_sample"),
        ({"text": "a", "processor_kwargs": 2}, TypeError, "processor_kwargs: expected a dict, found int"),
        ({"text": "a", "generate_kwargs": [4]}, TypeError, "generate_kwargs: expected a dict, found list"),
        ({"text": "a", "continue_final_message": True}, ValueError, "continue_final_message: expected None or False, found True"),
        ({"text": "a", "tools": [print]}, ValueError, "tools: expected None, found ["),
        ({"text": "a", "skip_special_tokens": False}, ValueError, "skip_special_tokens: expected None or True, found False"),
        ({"text": "a", "return_tensors": True}, ValueError, "return_tensors: expected None or False, found True"),
        ({"text": "a", "colour": 1}, TypeError, "colour: no such argument"),
        ({"text": [*chat("x.png"), {"role": "assistant", "content": "There"}]}, ValueError, "expected the last to be the user's"),
    ],
)
def test_calls_that_cannot_be_answered(image_text_to_text, arguments, error, sentence):
    with pytest.raises(error) as refused:
        image_text_to_text(**arguments)
    assert sentence in str(refused.value)


def test_the_arguments_of_transformers_pipeline():
    ours = inspect.signature(onsight.pipeline).parameters
    assert [(name, each.default) for name, each in ours.items() if each.kind is each.POSITIONAL_OR_KEYWORD] == list(names.PIPELINE.items())


@pytest.mark.parametrize(
    "given",
    [
        *({name: value} for name, value in names.PIPELINE.items() if name not in ("task", "model")),
        *({name: None} for name in (*names.LOADING, *names.CALL, *names.EVERY_CALL, *names.FRAMES)),
        {"revision": "main", "model_kwargs": {}, "token": "hf_x", "use_fast": False, "trust_remote_code": True, "local_files_only": True},
        {"device": "cpu", "dtype": "float32", "framework": "pt", "binary_output": False},
        {"device": -1, "torch_dtype": "auto", "device_map": {"": "cpu"}},
        {"torch_dtype": "float16", "model_kwargs": {"device_map": "cpu"}},
        {"dtype": "bfloat16", "do_sample": False},
        {"dtype": None, "device_map": "auto", "model_kwargs": {"torch_dtype": "float32", "attn_implementation": "sdpa", "low_cpu_mem_usage": True}},
        {"model_kwargs": {"device_map": "cpu", "dtype": "auto", "quantization_config": None, "something": None}},
        {"batch_size": 2, "num_workers": 4, "timeout": 3.5, "padding": True, "truncation": False, "tools": None},
        {"return_tensors": False, "clean_up_tokenization_spaces": False, "continue_final_message": False, "skip_special_tokens": True},
    ],
    ids=lambda given: ",".join(given),
)
def test_arguments_that_change_nothing(model, receipt, given):
    want = [{"input_text": READ, "generated_text": READ + model.ask(receipt, READ, max_tokens=4)}]
    generate = {"generate_kwargs": {"max_new_tokens": 4}}
    assert onsight.pipeline("image-text-to-text", model, **{**generate, **given})(receipt, READ, **generate) == want
    of_a_call = {name: value for name, value in given.items() if name in (*names.CALL, *names.EVERY_CALL, *names.FRAMES, "padding", "truncation", "tools", "do_sample")}
    assert onsight.pipeline("image-text-to-text", model)(receipt, READ, **{**of_a_call, **generate}) == want


def test_parts_by_the_models_own_name(receipt):
    shipped = str(onsight.model.find_model(None))
    parts = dict.fromkeys(("config", "tokenizer", "image_processor", "processor"), shipped)
    assert onsight.pipeline("image-to-text", shipped, **parts)(str(receipt), prompt=READ)[0]["generated_text"].startswith("Bread")


def test_what_a_name_is_enough_for(receipt):
    """No model, no path, no connection."""
    assert onsight.pipeline("image-to-text")(str(receipt), prompt=READ)[0]["generated_text"].startswith("Bread")
