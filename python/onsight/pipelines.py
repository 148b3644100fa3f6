"""Pipelines with the arguments and results of transformers' pipelines.

    pipe = onsight.pipeline("image-text-to-text", model="SmolVLM-256M-Instruct")
    pipe(text=[{"role": "user", "content": [{"type": "image", "url": "receipt.jpg"}, {"type": "text", "text": "Read the text."}]}],
         max_new_tokens=64, return_full_text=False)
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from onsight import compatible, inputs
from onsight._engine import Answering
from onsight.answers import Answer, wait
from onsight.errors import InputError
from onsight.model import DEFAULT_PROMPT, Model, load

_MAX_NEW_TOKENS = 256  # what transformers' pipelines take without one
_TOGETHER = 16  # answers that are written together

Begin = Callable[[], Answering]
Chat = list[Mapping[str, Any]]


def _is_chat(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and isinstance(value[0], Mapping) and "role" in value[0]


def _is_chats(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(_is_chat, value))


def _is_lazy(value: Any) -> bool:
    """A generator, a dataset: what is gone through, and not one picture or a list."""
    if isinstance(value, (str, bytes, bytearray, os.PathLike, list, tuple, Mapping)) or inputs.is_pil(value) or inputs.is_array(value):
        return False
    return isinstance(value, Iterable)


# What transformers' generate() would do by default is all right to ask for.
_GENERATE_AS_IT_IS: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "use_cache": (True,),
    "return_dict_in_generate": (False,),
    "no_repeat_ngram_size": (0,),
    "length_penalty": (1,),
    "typical_p": (1,),
}
_GENERATE_IGNORED = {"tokenizer", "pad_token_id"}  # what they are for has no counterpart here


_GENERATE_OURS = ("repetition_penalty", "seed", "json_schema", "max_tiles", "no_upscale", "no_draft", "fps", "max_frames", "start", "end")
_GENERATE_CHOSEN = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "min_p": 0.0}  # transformers' defaults
_GENERATE = {"max_new_tokens", "stop_strings", "do_sample", *_GENERATE_AS_IT_IS, *_GENERATE_OURS, *_GENERATE_CHOSEN}


def _options(generate: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of generate() as options of Model.ask()."""
    given = {name: value for name, value in generate.items() if value is not None and name not in _GENERATE_IGNORED}
    for name, values in _GENERATE_AS_IT_IS.items():
        if (value := given.pop(name, values[0])) not in values:
            raise InputError(f"generate_kwargs: expected {name} {values[0]}, found {value!r}")
    out = {"max_tokens": given.pop("max_new_tokens", _MAX_NEW_TOKENS), "stop": given.pop("stop_strings", None)}
    for name in _GENERATE_OURS:
        if name in given:
            out[name] = given.pop(name)
    chosen = {name: given.pop(name, value) for name, value in _GENERATE_CHOSEN.items()}
    if given.pop("do_sample", False):
        out |= chosen
    if given:
        raise InputError(f"generate_kwargs: {min(given)}: not supported, expected one of max_new_tokens, do_sample, temperature, top_k, top_p, "
                         "min_p, repetition_penalty, stop_strings, seed, json_schema, max_tiles, no_upscale, no_draft, fps, max_frames, start, end")
    return out


def _dict_of(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: expected a dict, found {type(value).__name__}")
    return value


_SAMPLING: compatible.Harmless = {"do_sample_frames": (None, True)}


def _frames(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What transformers hands to its processor of videos, beside the other arguments or as processor_kwargs."""
    for name, value in _dict_of(given, "processor_kwargs").items():
        if name in _SAMPLING:
            compatible.check(name, value, _SAMPLING)
        elif name in ("fps", "num_frames"):
            yield name, _frame_choice(name, value)
        elif value is not None:
            raise InputError(f"processor_kwargs: {name}: not supported, expected fps, num_frames or do_sample_frames")
    for name in ("fps", "num_frames"):
        yield name, _frame_choice(name, given.get(name))


def _frame_choice(name: str, value: Any) -> Any:
    return inputs.whole(value, name, 1, 100_000) if name == "num_frames" and value is not None else value


class Pipeline:
    """What onsight.pipeline() makes. `model` is the Model, `task` the name of the task."""

    task = ""
    _call_names: tuple[str, ...] = ("max_new_tokens", "generate_kwargs", "return_full_text", "stop_sequence", "batch_size")
    # Arguments of transformers that change nothing here, with the values for which that is so.
    _as_it_is: compatible.Harmless = {
        "timeout": (),  # nothing is fetched
        "num_workers": (),
        "padding": (),
        "return_tensors": (None, False),
        "return_type": (None,),
        "clean_up_tokenization_spaces": (None, False),
        "skip_special_tokens": (None, True),
        "continue_final_message": (None, False),
        "truncation": (None, False),
        "tools": (None,),
    }

    def __init__(self, model: Model, **defaults: Any) -> None:
        self.model = model
        self._defaults = self._checked(defaults)
        self._arguments({})  # what no call could be made with is refused now

    def __repr__(self) -> str:
        return f"<onsight.Pipeline {self.task}: {self.model!r}>"

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a call. What generate() takes may stand among them, below generate_kwargs, as transformers' constructor has it."""
        out, generate = {}, {}
        for name, value in given.items():
            if name in self._as_it_is:
                compatible.check(name, value, self._as_it_is)
            elif name in self._call_names:
                out[name] = value
            elif name in _GENERATE:
                generate[name] = value
            else:
                raise TypeError(f"{self.task}: {name}: no such argument, expected one of {', '.join((*self._call_names, *self._as_it_is))}")
        if generate:
            out["generate_kwargs"] = {**generate, **_dict_of(out, "generate_kwargs")}
        return out

    def _generate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """generate_kwargs, and what else is an option of the answer, under the names that it has there."""
        out = dict(_dict_of(given, "generate_kwargs"))
        for name, value in (("max_new_tokens", given.get("max_new_tokens")), *_frames(given)):
            if value is None:
                continue
            there = "max_frames" if name == "num_frames" else name
            if there in out:
                raise InputError(f"{name}: given twice, expected it in generate_kwargs or as an argument")
            out[there] = value
        if (stop := given.get("stop_sequence")) is not None:
            out["stop_strings"] = stop
        return out

    def _arguments(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Options of ask(), and all arguments of the call."""
        checked = self._checked(given)
        return _options({**self._generate(self._defaults), **self._generate(checked)}), {**self._defaults, **checked}

    def _run(self, requests: Iterable[tuple[Begin, Callable[[Answer], Any]]], together: Any) -> Iterator[Any]:
        """The results of all in order; a few are on their way at a time, which bounds what is in memory."""
        together = _TOGETHER if together is None else inputs.whole(together, "batch_size", 1, 256)
        waiting: deque[tuple[Answering, Callable[[Answer], Any]]] = deque()
        try:
            for begin, shape in requests:
                waiting.append((begin(), shape))
                if len(waiting) >= together:
                    answering, shape_of_it = waiting.popleft()
                    yield shape_of_it(wait(answering))
            while waiting:
                answering, shape_of_it = waiting.popleft()
                yield shape_of_it(wait(answering))
        finally:
            for answering, _ in waiting:
                answering.cancel()


class ImageToTextPipeline(Pipeline):
    """Says what is in pictures."""

    task = "image-to-text"
    _call_names = (*Pipeline._call_names, "prompt")

    def __call__(self, inputs: Any = None, **kwargs: Any) -> Any:
        """
        Args:
            inputs: a picture as Model.ask() takes it, a list of them, or a generator; also under the name `images`.
            prompt: what is asked; "Describe this image." without one.
            max_new_tokens, generate_kwargs, stop_sequence, batch_size: as in ImageTextToTextPipeline.

        Returns:
            [{"generated_text": str}] of one picture, a list of such lists of several, a generator of such of a generator.
        """
        given = kwargs.pop("images", None) if inputs is None else inputs
        if given is None:
            raise InputError("image-to-text: expected a picture, found none")
        options, arguments = self._arguments(kwargs)
        prompt = arguments.get("prompt") or DEFAULT_PROMPT

        def request(picture: Any) -> tuple[Begin, Callable[[Answer], Any]]:
            return self.model._begin_of(picture, prompt, options), lambda answer: [{"generated_text": answer.text}]

        lazy = _is_lazy(given)
        several = lazy or isinstance(given, (list, tuple))
        results = self._run(map(request, given if several else [given]), arguments.get("batch_size"))
        if lazy:
            return results
        return list(results) if several else next(results)


class _TextPipeline(Pipeline):
    """A question beside pictures or videos, or a conversation that holds them."""

    _call_names = (*Pipeline._call_names, "fps", "num_frames", "processor_kwargs")
    _as_it_is = {**Pipeline._as_it_is, **_SAMPLING}
    _kind = _token = ""
    _keys: tuple[str, ...] = ()
    _single_key = ""

    def _several(self, shown: Any) -> list[Any]:
        return inputs.several_videos(shown) if self._kind == "video" else inputs.several(shown)

    def _place(self, shown: list[Any], text: str) -> str:
        """Where transformers' text has the model's own token for a picture, ours has a place."""
        place = "{" + self._kind + "}"
        if shown and self._token in text:
            return text.replace(self._token, place)
        return text

    def _question(self, shown: Any, text: str, options: Mapping[str, Any], full: bool) -> tuple[Begin, Callable[[Answer], Any]]:
        text = inputs.text(text, "text")
        shown = self._several(shown)
        prompt = self._place(shown, text)
        images, video = (None, shown or None) if self._kind == "video" else (shown or None, None)
        begin = self.model._begin_of(images, prompt, {**options, "video": video})
        return begin, lambda answer: {"input_text": text, "generated_text": text + answer.text if full else answer.text}

    def _chat(self, messages: Chat, options: Mapping[str, Any], full: bool) -> tuple[Begin, Callable[[Answer], Any]]:
        messages = list(messages)

        def shape(answer: Answer) -> dict[str, Any]:
            said = [*messages, {"role": "assistant", "content": answer.text}] if full else answer.text
            return {"input_text": messages, "generated_text": said}

        return self.model._conversation(messages, options), shape

    def _call(self, shown: Any, text: Any, kwargs: Mapping[str, Any]) -> Any:
        options, arguments = self._arguments(kwargs)
        full = arguments.get("return_full_text")
        full = True if full is None else bool(full)
        together = arguments.get("batch_size")
        if shown is None and text is None:
            raise InputError(f"{self.task}: expected text, {self._kind}s or a conversation, found none")

        chats = text if text is not None else shown
        if isinstance(chats, Iterator):
            first = next(chats, None)
            again = itertools.chain([] if first is None else [first], chats)
            # The messages of one conversation, or one thing after the other: transformers looks at the first, too.
            chats = list(again) if isinstance(first, Mapping) and "role" in first else again
            shown, text = (chats, None) if text is None else (shown, chats)
        if _is_chat(chats) or _is_chats(chats):
            if text is not None and shown is not None:
                raise InputError(f"{self._kind}s: expected them in the conversation's 'content', found them beside it")
            one = _is_chat(chats)
            results = self._run((self._chat(chat, options, full) for chat in ([chats] if one else chats)), together)
            return [next(results)] if one else [[each] for each in results]

        if text is None and (_is_lazy(shown) or isinstance(shown, Mapping) or (isinstance(shown, (list, tuple)) and shown and isinstance(shown[0], Mapping))):
            return self._rows(shown, options, full, together)
        if text is None:
            raise InputError(f"{self.task}: expected text beside the {self._kind}s, found none")
        if isinstance(text, str):
            return list(self._run([self._question(shown, text, options, full)], together))
        if shown is None and not isinstance(text, tuple):  # a tuple is a batch of transformers' processor, and a list is of calls
            return self._rows(text, options, full, together, texts=True)

        # One prompt each; the pictures of a prompt are a list where there are several.
        texts = list(text)
        each = [None] * len(texts) if shown is None else self._several(shown)
        if len(each) != len(texts):
            raise InputError(f"{self._kind}s: expected one for each of the {len(texts)} texts, found {len(each)}")
        return list(self._run((self._question(s, t, options, full) for s, t in zip(each, texts)), together))

    def _rows(self, rows: Any, options: Mapping[str, Any], full: bool, together: Any, texts: bool = False) -> Any:
        """{"images": ..., "text": ...}, a list of such, or what is gone through; a row may be a conversation, or of `texts` a text."""

        def request(row: Any) -> tuple[Begin, Callable[[Answer], Any]]:
            if _is_chat(row):
                begin, shape = self._chat(row, options, full)
            elif texts and isinstance(row, str):
                begin, shape = self._question(None, row, options, full)
            elif isinstance(row, Mapping):
                shown = row.get(self._keys[0], row.get(self._single_key))
                begin, shape = self._question(shown, row.get("text", ""), options, full)
            else:
                raise TypeError(f"{self.task}: expected a dict with {self._keys[0]} and text, found {type(row).__name__}")
            return begin, lambda answer: [shape(answer)]

        if isinstance(rows, Mapping):
            return next(self._run([request(rows)], together))
        results = self._run(map(request, rows), together)
        return results if _is_lazy(rows) else list(results)


class ImageTextToTextPipeline(_TextPipeline):
    """Answers questions about pictures."""

    task = "image-text-to-text"
    _kind, _token = "image", "<image>"
    _keys, _single_key = ("images",), "image"

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        """
        Args:
            images: a picture as Model.ask() takes it, or a list of them; also a conversation, or rows {"images": ..., "text": ...}.
            text: the question, whose <image> are the pictures' places; a list of questions, with a picture each or none; a conversation in the
                format of Model.chat(); a list or a generator of either.
            max_new_tokens: 256 without one.
            generate_kwargs: max_new_tokens, do_sample, temperature, top_k, top_p, min_p, repetition_penalty, stop_strings; also seed, json_schema,
                max_tiles, no_upscale and no_draft of Model.ask(). Each may also stand beside the other arguments.
            return_full_text: True (the default): generated_text begins with the input; of a conversation it is the conversation with the answer as
                its last message. False: the answer alone.
            stop_sequence: one or a list of texts before which the answer ends.
            fps, num_frames: how many frames of a second, and at most, are looked at in the videos of a conversation; also in processor_kwargs.
            batch_size: so many answers are written together (default 16).

        Returns:
            [{"input_text": ..., "generated_text": ...}] of a question or a conversation; of a list of conversations, or of questions without
            pictures, a list [{...}] each, of a generator of such a generator; of questions with a picture each, or a tuple, one dict each.
        """
        return self._call(images, text, kwargs)


class VideoTextToTextPipeline(_TextPipeline):
    """Answers questions about videos."""

    task = "video-text-to-text"
    _kind, _token = "video", "<video>"
    _keys, _single_key = ("videos",), "video"

    def __call__(self, videos: Any = None, text: Any = None, **kwargs: Any) -> Any:
        """As ImageTextToTextPipeline with videos for pictures; generate_kwargs also takes fps, max_frames, which is num_frames, start and end of Model.ask()."""
        return self._call(videos, text, kwargs)


_TASKS: dict[str, type[Pipeline]] = {cls.task: cls for cls in (ImageTextToTextPipeline, ImageToTextPipeline, VideoTextToTextPipeline)}


def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | Model | None = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: Any = None,
    video_processor: Any = None,
    processor: Any = None,
    revision: str | None = None,
    use_fast: bool | None = True,
    token: str | bool | None = None,
    device: Any = None,
    device_map: Any = None,
    dtype: Any = "auto",
    trust_remote_code: bool | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    pipeline_class: Any = None,
    *,
    torch_dtype: Any = None,
    quant: str | None = None,
    vision_quant: str | None = None,
    kv: str = "auto",
    threads: int = 0,
    cache: str | os.PathLike[str] | None = None,
    cache_size: int = 1024,
    **defaults: Any,
) -> Any:
    """A pipeline as transformers.pipeline() makes it, with its arguments in its order; what would be ignored is refused.

    Args:
        task: "image-text-to-text", "image-to-text" or "video-text-to-text".
        model: as in load(), or a Model.
        config, tokenizer, feature_extractor, image_processor, video_processor, processor: None, or the model's own path or name.
        revision: of a model OWNER/NAME that `onsight pull` has fetched; of others None or "main".
        use_fast, token, trust_remote_code: change nothing; nothing is fetched, and no code of a model is ever run.
        device, device_map: None, "cpu" or -1; device_map also "auto".
        dtype, torch_dtype: None or "auto"; or torch.float32, bfloat16 or float16, which are quant="none": the weights as they come.
        model_kwargs: dtype and device_map may stand here; the rest is None or what is done anyway.
        pipeline_class: None.
        quant, vision_quant, kv, threads, cache, cache_size: as in load().
        defaults: arguments of all calls, such as max_new_tokens or num_frames; or of generate(), such as do_sample.
    """
    if task not in _TASKS:
        raise KeyError(f"task: expected {', '.join(map(repr, _TASKS))}, found {task!r}")
    parts = (config, tokenizer, feature_extractor, image_processor, video_processor, processor)
    loading = {"use_fast": use_fast, "token": token, "trust_remote_code": trust_remote_code, "pipeline_class": pipeline_class}
    loading |= {name: defaults.pop(name) for name in [*defaults] if name in compatible.LOADING}
    for name, value in loading.items():
        compatible.check(name, value, compatible.LOADING)
    compatible.check_parts(model, dict(zip(compatible.PARTS, parts)))
    if torch_dtype is not None and str(dtype) in ("None", "auto"):
        dtype = torch_dtype
    device_map, dtype = compatible.model_kwargs(model_kwargs, device_map, dtype)
    compatible.check_device(device, device_map)
    keeps_weights = compatible.keeps_weights(dtype)
    model = compatible.of_revision(model, revision)
    if not isinstance(model, Model):
        if model is not None and not isinstance(model, (str, os.PathLike)):
            raise TypeError(f"model: expected a path, a name or an onsight.Model, found {type(model).__name__}")
        if quant is None:
            quant = "none" if keeps_weights else "auto"
        model = load(model, quant=quant, vision_quant=vision_quant, kv=kv, threads=threads, cache=cache, cache_size=cache_size)
    return _TASKS[task](model, **defaults)
