"""The compiled part. Paths are bytes, as os.fsencode makes them."""

from typing import Any, TypedDict

class Timings(TypedDict):
    preprocess: float
    vision: float
    prefill: float
    decode: float
    first_token: float

class Reply(TypedDict):
    text: str
    prompt_tokens: int
    cached_tokens: int
    cached_tiles: int
    completion_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    finish_reason: str
    timings_ms: Timings
    peak_memory_bytes: int

class Picture:
    """8-bit RGB pixels."""

    @staticmethod
    def open(path: bytes) -> Picture: ...
    @staticmethod
    def decode(data: bytes, where: str) -> Picture: ...
    @staticmethod
    def of_array(array: Any, where: str) -> Picture:
        """uint8 [H, W, 3], [H, W, 4], [H, W, 1] or [H, W] with any strides; copied."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...

class Clip:
    """A video, and what of it is looked at; 0 is the model's choice."""

    @staticmethod
    def open(path: bytes, fps: float, max_frames: int, start: float, end: float) -> Clip: ...
    @staticmethod
    def decode(data: bytes, where: str, fps: float, max_frames: int, start: float, end: float) -> Clip: ...
    @staticmethod
    def of_frames(pictures: list[Picture], where: str, rate: float, max_frames: int, start: float, end: float) -> Clip:
        """Pictures of one size, `rate` a second; each is looked at, but no more than max_frames."""


class Schema:
    @staticmethod
    def compile(json: str, where: str) -> Schema: ...

class Answering:
    """An answer on its way; cancelled when it is dropped."""

    def take(self, wait: bool) -> tuple[str, bool]:
        """The text that has come, and whether that was all of it."""

    def reply(self) -> Reply: ...
    def cancel(self) -> None: ...
    def fileno(self) -> int:
        """Readable when take() would not wait."""

class Runner:
    @staticmethod
    def load(path: bytes, text: int, vision: int, kv: int, threads: int, cache: bytes | None, cache_megabytes: int) -> Runner: ...
    def submit(
        self,
        messages: list[tuple[str, list[str | Picture | Clip]]],
        *,
        max_tokens: int,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repetition_penalty: float,
        seed: int,
        stop: list[str],
        max_tiles: int,
        upscale: bool,
        draft: bool,
        schema: Schema | None,
    ) -> Answering: ...
    def info(self) -> dict[str, Any]: ...
    def close(self) -> None: ...

def place_pictures(pictures: list[Picture], prompt: str) -> list[str | Picture]: ...
def place_videos(clips: list[Clip], prompt: str) -> list[str | Clip]: ...
