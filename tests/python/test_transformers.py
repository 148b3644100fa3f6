"""The same calls of transformers.pipeline and onsight.pipeline, on the model that ships: shapes and words."""

import copy
import inspect
import sys

import onsight
import PIL.Image
import pytest
import transformers_names as names
from conftest import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(ROOT / "tests" / "parity"))
NANO = ROOT / "models/onsight-nano"
READ = "Read the text."


@pytest.fixture(scope="module")
def theirs():
    import reference  # noqa: F401  (lets transformers be imported beside a torch for the CPU alone)
    import transformers
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    pipe = transformers.pipeline("image-text-to-text", model=str(NANO), dtype=torch.float32, device="cpu")
    pipe.processor.image_processor = SmolVLMImageProcessorPil.from_pretrained(NANO)
    return pipe


@pytest.fixture(scope="module")
def ours():
    return onsight.pipeline("image-text-to-text", model=str(NANO), dtype=torch.float32, device="cpu")


def test_the_names_are_transformers(theirs):
    import transformers
    from transformers.pipelines.base import Pipeline
    from transformers.processing_utils import VideosKwargs

    def defaults(function):
        return {each.name: each.default for each in inspect.signature(function).parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD}

    assert list(defaults(transformers.pipeline).items()) == list(names.PIPELINE.items())
    assert list(defaults(theirs._sanitize_parameters)) == list(names.CALL)
    called = inspect.signature(Pipeline.__call__).parameters.values()
    assert [each.name for each in called if each.kind is each.KEYWORD_ONLY] == list(names.EVERY_CALL)
    assert set(names.FRAMES) <= VideosKwargs.__annotations__.keys()
    # What a pipeline takes out of its **kwargs is in no signature.
    loaded = inspect.getsource(transformers.pipeline) + inspect.getsource(Pipeline.__init__)
    assert [name for name in names.LOADING if f'"{name}"' not in loaded and name not in defaults(Pipeline.__init__)] == []


def without_spaces(value):
    """Theirs keeps the space that a model of this family writes after "Assistant:"."""
    if isinstance(value, dict):
        return {key: without_spaces(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_spaces(each) for each in value]
    return value.lstrip(" ") if isinstance(value, str) else value


def chat(source, question=READ):
    return [{"role": "user", "content": [{"type": "image", **source}, {"type": "text", "text": question}]}]


def calls(receipt, scene):
    of_receipt, of_scene = chat({"url": str(receipt)}), chat({"path": str(scene)}, "How many objects are there?")
    yield {"text": of_receipt, "max_new_tokens": 24}
    yield {"text": of_receipt, "max_new_tokens": 24, "return_full_text": False}
    yield {"images": of_receipt, "max_new_tokens": 24}
    yield {"text": chat({"image": PIL.Image.open(receipt)}), "generate_kwargs": {"max_new_tokens": 8, "do_sample": False}, "return_full_text": False}
    yield {"text": [of_receipt, of_scene], "max_new_tokens": 12, "return_full_text": False}
    yield {"text": [of_receipt, of_scene], "max_new_tokens": 12}
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    yield {"text": [system, *of_scene], "max_new_tokens": 12, "return_full_text": False}
    yield {"text": of_receipt, "generate_kwargs": {"max_new_tokens": 24, "repetition_penalty": 1.3}, "return_full_text": False}
    yield {"text": of_receipt, "max_new_tokens": 24, "return_full_text": False, "do_sample": False}


@pytest.mark.parametrize("number", range(9))
def test_the_name_is_all_that_changes(theirs, ours, receipt, scene, number):
    call = list(calls(receipt, scene))[number]
    want = theirs(**{name: copy.deepcopy(value) if name != "text" else value for name, value in call.items()})
    assert without_spaces(ours(**call)) == without_spaces(want)


def test_questions_without_a_conversation_have_the_same_shape(theirs, ours, receipt, scene):
    """Theirs hands the bare text to the model, ours as a user's message; only the words of the answers differ."""
    for call in (
        {"images": str(receipt), "text": "<image>" + READ},
        {"images": [str(receipt)], "text": "<image>" + READ, "return_full_text": False},
        {"images": [str(receipt), str(scene)], "text": "<image><image>" + READ},
        {"text": "Hello?"},
    ):
        want, got = theirs(**call, max_new_tokens=4), ours(**call, max_new_tokens=4)
        assert [each.keys() for each in got] == [each.keys() for each in want]
        assert [each["input_text"] for each in got] == [each["input_text"] for each in want]
        begins = call["text"] if call.get("return_full_text", True) else ""
        assert got[0]["generated_text"].startswith(begins) and want[0]["generated_text"].startswith(begins)


def shape(value):
    """Lists of lists of dicts by their keys."""
    return [shape(each) for each in value] if isinstance(value, list) else sorted(value)


def test_many_texts_and_conversations_have_the_same_shape(theirs, ours, scene):
    said = chat({"path": str(scene)})
    for text in (["Hello", "Hi"], ["Hello"], ("Hello", "Hi"), [said, said], (said, said)):
        assert shape(ours(text=text, max_new_tokens=2)) == shape(theirs(text=text, max_new_tokens=2)), text
    for texts in (["Hello", "Hi"], [said, said], said):
        want, got = theirs(text=(each for each in texts), max_new_tokens=2), ours(text=(each for each in texts), max_new_tokens=2)
        assert shape(list(got)) == shape(list(want))
        assert isinstance(got, list) == isinstance(want, list)
