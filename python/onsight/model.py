"""Models: load one, ask it."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

from onsight import inputs
from onsight._engine import Answering, Runner, place_pictures, place_videos
from onsight.answers import Answer, Stream, pieces, wait
from onsight.errors import InputError
from onsight.inputs import ImageLike, Look, VideoLike

if TYPE_CHECKING:
    from typing_extensions import Unpack

SHIPPED = "onsight-nano"
DEFAULT_PROMPT, DEFAULT_VIDEO_PROMPT = "Describe this image.", "Describe this video."
_QUANTS = ("auto", "none", "q8", "q4")  # in the order of the engine's Quantisation
_KV_FORMATS = ("auto", "f32", "f16", "q8")  # and of its kKvFormats


def model_folders() -> list[Path]:
    """Where models have names: $ONSIGHT_MODELS, the package, and the source tree where the package is used from there."""
    here = Path(__file__).resolve().parent
    folders = [here / "models", here.parents[1] / "models"]
    if named := os.environ.get("ONSIGHT_MODELS"):
        folders.insert(0, Path(named))
    return folders


def _find_pulled(name: str) -> Path | None:
    """OWNER/NAME[@REVISION] in the hub's cache, where `onsight pull` and the hub's own tools put models."""
    found = re.fullmatch(r"([\w.-]+)/([\w.-]+)(?:@([\w./-]+))?", name)
    if not found or ".." in name:
        return None
    given = os.environ.get
    home = given("HF_HOME") or os.path.join(given("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = given("HF_HUB_CACHE") or given("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    folder = Path(os.path.expanduser(cache)) / f"models--{found[1]}--{found[2]}"
    commit = found[3] or "main"
    if (ref := folder / "refs" / commit).is_file():
        commit = ref.read_text().strip()
    snapshot = folder / "snapshots" / commit
    return snapshot if (snapshot / "config.json").exists() else None


def find_model(model: str | os.PathLike[str] | None) -> str:
    if model is None:
        model = SHIPPED
    else:
        model = os.fspath(model)
        if not model:
            raise InputError("model: expected a folder, a .onsight or .gguf file, or a name, found nothing")
        first = model.split(",")[0] if model.endswith(".gguf") else model  # TEXT.gguf,MMPROJ.gguf
        if os.path.exists(model) or os.path.exists(first):
            return model
    looked = model_folders()
    if not os.path.isabs(model):
        for folder in looked:
            if (folder / model).exists():
                return str(folder / model)
        if pulled := _find_pulled(model):
            return str(pulled)
    raise InputError(f"model '{model}' not found: there is no such folder, .onsight or .gguf file here, nor one of that name in {', '.join(map(str, looked))}")


def _place(value: str, where: str, among: tuple[str, ...]) -> int:
    if value not in among:
        raise InputError(f"{where}: expected {', '.join(among[:-1])} or {among[-1]}, found {value!r}")
    return among.index(value)


class ChatOptions(TypedDict, total=False):
    """Options of Model.chat(); Model.ask() documents them."""

    fps: float | None
    max_frames: int | None
    start: float | None
    end: float | None
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int
    stop: str | Sequence[str] | None
    max_tiles: int
    no_upscale: bool
    no_draft: bool
    json_schema: Any


class AskOptions(ChatOptions, total=False):
    """Options of Model.ask()."""

    video: VideoLike | Sequence[VideoLike] | None
    system: str | None


class Model:
    """A model in memory. onsight.load() makes one.

    All methods may be called from several threads, and at the same time: answers that are asked for together are written together, which takes
    less time than one after the other. The interpreter's lock is not held meanwhile. Ctrl-C ends the answer that the main thread waits for.
    A model does not survive a fork: load it in each process.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._close = weakref.finalize(self, runner.close)  # before the interpreter ends, too
        #: What is in memory: name, architecture, parameters, weight_types, quant, vision_quant, memory_bytes, tile_size, tokens_per_tile,
        #: context_length, vocabulary_size.
        self.info: dict[str, Any] = runner.info()

    @overload
    def ask(
        self, images: ImageLike | Sequence[ImageLike] | None = ..., prompt: str | None = ..., *, stream: Literal[False] = ..., **options: Unpack[AskOptions]
    ) -> Answer: ...
    @overload
    def ask(
        self, images: ImageLike | Sequence[ImageLike] | None = ..., prompt: str | None = ..., *, stream: Literal[True], **options: Unpack[AskOptions]
    ) -> Stream: ...

    def ask(
        self,
        images: ImageLike | Sequence[ImageLike] | None = None,
        prompt: str | None = None,
        *,
        video: VideoLike | Sequence[VideoLike] | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        start: float | None = None,
        end: float | None = None,
        system: str | None = None,
        stream: bool = False,
        max_tokens: int = 1024,
        temperature: float = 0,
        top_k: int = 0,
        top_p: float = 1,
        min_p: float = 0,
        repetition_penalty: float = 1,
        seed: int = 0,
        stop: str | Sequence[str] | None = None,
        max_tiles: int = 0,
        no_upscale: bool = False,
        no_draft: bool = False,
        json_schema: Any = None,
    ) -> Answer | Stream:
        """Asks about pictures, a video, or nothing but the prompt.

        Args:
            images: one or a list of: the path of a file (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF), the bytes of one, a data: URL, base64, a PIL
                picture of any mode, or an array (numpy, or any with DLPack in main memory) of uint8, [H, W, 3] in RGB, [H, W, 4] with one more
                that is left out, [H, W] or [H, W, 1] in grey, with any strides. Files and PIL pictures are turned as their EXIF orientation says.
            prompt: what is asked. Pictures stand before it, or where it says {image}, videos where it says {video}. Without one, or
                where it says nothing else, "Describe this image." or "Describe this video.".
            video: one or a list of: the path of a file, the bytes of one, or its frames, a list of PIL pictures or arrays, or an array of uint8
                [frames, H, W, 3]. Not beside images.
            fps, max_frames: how many frames of a second, and at most, are looked at; None: as the model's checkpoint says. Of a video that comes
                as its frames all are, max_frames at most, and fps says how many of them are a second (1).
            start, end: seconds between which the video is looked at.
            system: what the model is told before the conversation.
            stream: return a Stream of pieces instead of the Answer.
            max_tokens: the answer ends after so many.
            temperature: 0 takes the most probable token; up to 10.
            top_k, top_p, min_p: choose among so many tokens, those that together reach top_p, those at least min_p times as probable as the first.
                0, 1 and 0 leave them out.
            repetition_penalty: as transformers'; 1: none.
            seed: the same seed gives the same answer.
            stop: one or a list of texts before which the answer ends.
            max_tiles: read a picture in at most so many tiles; 0: as many as the model makes.
            no_upscale: do not enlarge a small picture beyond what tiling needs.
            no_draft: one token at a time, and no guesses from what was said; the same answer.
            json_schema: the answer is JSON that this allows, whole even where max_tokens ends it: a dict, its text, the path of a file, or a
                pydantic model. docs/structured_output.md lists the keywords.

        Raises:
            InputError: a picture, video or argument that cannot be used; also a ValueError.
            TypeError: an argument of a type that is not listed here.
            BusyError: more than 256 answers are waited for.
            OutOfMemoryError: also a MemoryError.
            KeyboardInterrupt: Ctrl-C; the answer is cancelled.
        """
        given = locals()
        begin = self._question(given)
        return Stream(begin(), self) if stream else wait(begin())

    async def ask_async(
        self, images: ImageLike | Sequence[ImageLike] | None = None, prompt: str | None = None, **options: Unpack[AskOptions]
    ) -> Answer:
        """As ask(), for event loops. Cancelling the task cancels the answer."""
        answers: list[Answer] = []
        async for _ in pieces(self._begin_of(images, prompt, options), answers.append):
            pass
        return answers[0]

    def stream_async(
        self, images: ImageLike | Sequence[ImageLike] | None = None, prompt: str | None = None, **options: Unpack[AskOptions]
    ) -> AsyncGenerator[str, None]:
        """As ask(stream=True), for event loops: `async for piece in model.stream_async("receipt.jpg", "Read the text."): ...`.

        No thread waits for it; many go at the same time. Cancelling the task, or aclose(), cancels the answer.
        """
        return pieces(self._begin_of(images, prompt, options))

    @overload
    def chat(self, messages: Sequence[Mapping[str, Any]], *, stream: Literal[False] = ..., **options: Unpack[ChatOptions]) -> Answer: ...
    @overload
    def chat(self, messages: Sequence[Mapping[str, Any]], *, stream: Literal[True], **options: Unpack[ChatOptions]) -> Stream: ...

    def chat(self, messages: Sequence[Mapping[str, Any]], *, stream: bool = False, **options: Unpack[ChatOptions]) -> Answer | Stream:
        """Answers the last message of a conversation in transformers' format.

        Args:
            messages: dicts with "role" ("system", "user" or "assistant") and "content", a str or a list of parts: {"type": "text", "text": ...},
                {"type": "image", "image" | "url" | "path" | "base64": ...} with what `images` of ask() may be, and {"type": "video",
                "video" | "url" | "path": ...}. The last is the user's. Nothing is fetched: a url is a path or a data: URL.
            stream, options: those of ask(), except images, prompt, video and system.

        What a conversation begins with is not computed again: an answer about the same pictures comes sooner.
        """
        begin = self._conversation(messages, options)
        return Stream(begin(), self) if stream else wait(begin())

    def close(self) -> None:
        """Cancels what is not done and ends the model's thread; the memory goes with the last reference."""
        self._close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        quant = self.info["quant"] or self.info["weight_types"]
        return f"<onsight.Model {self.info['name']}: {self.info['parameters'] / 1e6:.1f} million parameters, {quant}>"

    def _begin_of(self, images: Any, prompt: Any, options: Mapping[str, Any]) -> Callable[[], Answering]:
        return self._question(ask_options(options) | {"images": images, "prompt": prompt})

    def _question(self, given: Mapping[str, Any]) -> Callable[[], Answering]:
        """What starts the answer; mistakes that need no file are raised here."""
        images, video, prompt = given["images"], given["video"], given["prompt"]
        look = Look(given["fps"], given["max_frames"], given["start"], given["end"])
        shown, filmed = len(inputs.several(images)), len(inputs.several_videos(video))
        if prompt is not None:
            prompt = inputs.text(prompt, "prompt")
        if shown and filmed:
            raise InputError("images and video exclude each other: a conversation shows one kind")
        if not shown and not filmed and not prompt:
            raise InputError("expected a question, a picture or a video, found nothing")
        if look.given and not filmed:
            raise InputError(f"{look.given[0]}: expected a video beside it")
        place, otherwise = ("{video}", DEFAULT_VIDEO_PROMPT) if filmed else ("{image}", DEFAULT_PROMPT)
        if prompt is None or (shown or filmed) and not prompt.replace(place, "").strip():
            prompt = place * (prompt or "").count(place) + otherwise
        system = None if given["system"] is None else inputs.text(given["system"], "system")
        sampling = inputs.sampling(given)

        def begin() -> Answering:
            parts: inputs.Parts = [*(place_videos(inputs.clips(video, look), prompt) if filmed else place_pictures(inputs.pictures(images), prompt))]
            before: inputs.Messages = [] if system is None else [("system", [system])]
            return self._runner.submit([*before, ("user", parts)], **sampling)

        return begin

    def _conversation(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Callable[[], Answering]:
        for name in ("images", "prompt", "video", "system"):
            if name in options:
                raise TypeError(f"chat: {name} is no option of it, expected it among the messages")
        given = ask_options(options)
        look = Look(given["fps"], given["max_frames"], given["start"], given["end"])
        sampling = inputs.sampling(given)
        return lambda: self._runner.submit(inputs.messages(messages, look), **sampling)


_ASK = Model.__dict__["ask"].__kwdefaults__


def ask_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ask(), the others as they are by default."""
    unknown = given.keys() - _ASK.keys() | given.keys() & {"stream"}
    if unknown:
        raise TypeError(f"{min(unknown)}: no such option, expected one of {', '.join(name for name in _ASK if name != 'stream')}")
    return {**_ASK, **given}


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    quant: str = "auto",
    vision_quant: str | None = None,
    kv: str = "auto",
    threads: int = 0,
    cache: str | os.PathLike[str] | None = None,
    cache_size: int = 1024,
) -> Model:
    """Brings a model into memory.

    Args:
        model: a checkpoint folder of SmolVLM, SmolVLM2 or Idefics3 in Hugging Face's layout, a file that `onsight convert` wrote, a GGUF file with
            its mmproj beside it, "TEXT.gguf,MMPROJ.gguf", or a name under $ONSIGHT_MODELS. None: onsight-nano, which comes with the package.
        quant: weights in memory: "q8", "q4", "none" (as they come, or as converted; answers equal transformers'), "auto" (q8 from 100 million
            parameters on).
        vision_quant: the same for the vision tower; None: as quant, but q8 for q4.
        kv: keys and values in memory: "f32", "f16", "q8" (about half of f16, a little less exact), "auto" (f16 beside q8 and q4, else f32).
        threads: to compute with; 0: one for each core that this process may use.
        cache: a folder that keeps what was seen of pictures, and the decoder's state after them, for later runs; None: nothing is kept.
        cache_size: the megabytes that it may hold, what was used last.

    Raises:
        InputError: the model is missing, broken or of a kind that is not supported, in one sentence.
        OutOfMemoryError: more memory is needed than is free.
    """
    text = _place(quant, "quant", _QUANTS)
    vision = (_QUANTS.index("q8") if quant == "q4" else text) if vision_quant is None else _place(vision_quant, "vision_quant", _QUANTS)
    if cache is not None and not os.fspath(cache):
        raise InputError("cache: expected a folder, found nothing")
    numbers = (inputs.whole(threads, "threads", 0, 1024), inputs.whole(cache_size, "cache_size", 1, 1_000_000))
    path = os.fsencode(find_model(model))
    folder = None if cache is None else os.fsencode(cache)
    return Model(Runner.load(path, text, vision, _place(kv, "kv", _KV_FORMATS), numbers[0], folder, numbers[1]))
