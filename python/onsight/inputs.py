"""What people pass, as the engine takes it: pictures, videos, messages, schemas and numbers. What cannot be used is refused with a sentence."""

from __future__ import annotations

import base64
import binascii
import json
import math
import operator
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onsight._engine import Clip, Picture, Schema
from onsight.errors import InputError

#: A path, the bytes of a file, base64 of them, a PIL picture, or an array of uint8 [H, W, 3], [H, W, 4], [H, W, 1] or [H, W].
ImageLike = Any
#: A path, the bytes of a file, or its frames: a list of PIL pictures or arrays, or an array of uint8 [frames, H, W, 3].
VideoLike = Any
Parts = list[str | Picture | Clip]
_SHORTEST_BASE64 = 40  # of a picture of one pixel
_LONGEST_PATH = 1024  # what is longer is hardly one, and no word of a sentence
Messages = list[tuple[str, Parts]]


def _kind(value: object) -> str:
    return type(value).__name__


def text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{where}: expected a str, found {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: expected text, found half of a surrogate pair at {error.start}") from None
    return str(value)


def _path(value: str | os.PathLike[str], where: str) -> bytes:
    path = os.fsencode(value)
    if len(path) > _LONGEST_PATH:
        raise InputError(f"{where}: expected a path, found {len(path)} characters that begin with {path[:20].decode(errors='replace')!r}")
    if not path:
        raise InputError(f"{where}: expected a file, found nothing")
    if b"\0" in path:
        raise InputError(f"{where}: expected a path, found a zero byte in it")
    return path


def _data_url(value: str, where: str) -> bytes | None:
    """The bytes of a data: URL, or None for a path."""
    if value.startswith(("http://", "https://")):
        raise InputError(f"{where}: expected a file of this machine or its bytes, found {value.split(':')[0]}: (nothing is fetched)")
    if not value.startswith("data:"):
        return None
    head, comma, body = value.partition(",")
    if not comma or not head.endswith(";base64"):
        raise InputError(f"{where}: expected data:...;base64,... found {head[:40]}")
    return _base64(body, where)


def _base64(value: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{where}: expected base64, found other characters") from None


def _raw_base64(value: str) -> Picture | None:
    """The picture of which the text is base64, as transformers' load_image takes it, or None for a path."""
    if len(value) < _SHORTEST_BASE64 or os.path.isfile(value):
        return None
    try:
        return Picture.decode(_base64(value, "base64"), "base64")
    except InputError:
        return None  # a path that leads nowhere may look like it


def is_pil(value: object) -> bool:
    module = sys.modules.get("PIL.Image")  # whoever has a PIL picture has imported it
    return module is not None and isinstance(value, module.Image)


def _of_pil(image: Any) -> Picture:
    import PIL.ImageOps

    # In the order of transformers' load_image.
    image = PIL.ImageOps.exif_transpose(image).convert("RGB")
    # A buffer of its own: an Arrow view of PIL's memory would be RGBX.
    pixels = memoryview(image.tobytes()).cast("B", shape=[image.height, image.width, 3])
    return Picture.of_array(pixels, "picture")


def is_array(value: object) -> bool:
    return hasattr(value, "__dlpack__") or hasattr(value, "__array_interface__")


def picture(value: ImageLike, where: str) -> Picture:
    if isinstance(value, Picture):
        return value
    if isinstance(value, str) and (data := _data_url(value, where)) is not None:
        return Picture.decode(data, where)
    if isinstance(value, str) and (decoded := _raw_base64(value)) is not None:
        return decoded
    if isinstance(value, (str, os.PathLike)):
        return Picture.open(_path(value, where))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Picture.decode(bytes(value), where)
    if is_pil(value):
        return _of_pil(value)
    if is_array(value):
        dtype, shape = getattr(value, "dtype", None), list(getattr(value, "shape", []))
        if dtype is not None and not str(dtype).endswith("uint8"):
            raise InputError(f"{where}: expected uint8 pixels [height, width, 3], [height, width, 4] or [height, width], found {dtype} {shape}")
        return Picture.of_array(value, where)
    raise TypeError(f"{where}: expected a path, bytes, a PIL picture or an array of uint8, found {_kind(value)}")


def several(value: object) -> list[Any]:
    """One or a list of them; an array is one."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _dimensions(value: object) -> int:
    return len(getattr(value, "shape", ())) if is_array(value) else 0


def _is_frames(value: object) -> bool:
    """Whether a video comes as its frames, and is one therefore."""
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(is_pil(each) or _dimensions(each) in (2, 3) for each in value)
    return _dimensions(value) == 4


def several_videos(value: object) -> list[Any]:
    return [value] if _is_frames(value) else several(value)


def pictures(value: ImageLike | Sequence[ImageLike] | None) -> list[Picture]:
    given = several(value)
    one = not isinstance(value, (list, tuple))
    return [picture(each, "images" if one else f"images[{i}]") for i, each in enumerate(given)]


class Look:
    """What of a video is looked at."""

    def __init__(self, fps: float | None, max_frames: int | None, start: float | None, end: float | None) -> None:
        self.given = [name for name, each in (("fps", fps), ("max_frames", max_frames), ("start", start), ("end", end)) if each is not None]
        self.fps = 0.0 if fps is None else number(fps, "fps", 0, 1000, open_least=True)
        self.max_frames = 0 if max_frames is None else whole(max_frames, "max_frames", 1, 100_000)
        self.start = 0.0 if start is None else number(start, "start", 0, 1e9)
        self.end = 0.0 if end is None else number(end, "end", 0, 1e9, open_least=True)
        if end is not None and self.end <= self.start:
            raise InputError(f"end: expected a time after start ({self.start:g} s), found {self.end:g} s")


def clip(value: VideoLike, look: Look, where: str) -> Clip:
    if _is_frames(value):
        frames = [picture(value[i], f"{where}: frame {i}") for i in range(len(value))]
        return Clip.of_frames(frames, where, look.fps or 1.0, look.max_frames, look.start, look.end)
    at = (look.fps, look.max_frames, look.start, look.end)
    if isinstance(value, str) and (data := _data_url(value, where)) is not None:
        return Clip.decode(data, where, *at)
    if isinstance(value, (str, os.PathLike)):
        return Clip.open(_path(value, where), *at)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Clip.decode(bytes(value), where, *at)
    raise TypeError(f"{where}: expected a path, the bytes of a video or its frames, found {_kind(value)}")


def clips(value: VideoLike | Sequence[VideoLike] | None, look: Look) -> list[Clip]:
    given = several_videos(value)
    one = not isinstance(value, (list, tuple)) or _is_frames(value)
    return [clip(each, look, "video" if one else f"video[{i}]") for i, each in enumerate(given)]


_IMAGE_KEYS = ("image", "url", "path", "base64")
_VIDEO_KEYS = ("video", "url", "path")


def _source(part: Mapping[str, Any], keys: tuple[str, ...], where: str) -> tuple[str, Any]:
    given = [key for key in keys if part.get(key) is not None]
    if len(given) != 1:
        raise InputError(f"{where}: expected one of {', '.join(keys)}, found {', '.join(given) or 'none of them'}")
    return given[0], part[given[0]]


def _part(part: Any, look: Look, where: str) -> str | Picture | Clip:
    if isinstance(part, str):
        return text(part, where)
    if not isinstance(part, Mapping):
        raise TypeError(f"{where}: expected a dict with a type, found {_kind(part)}")
    kind = part.get("type")
    if kind == "text":
        if "text" not in part:
            raise InputError(f"{where}: expected its text, found none")
        return text(part["text"], f"{where}['text']")
    if kind == "image":
        key, value = _source(part, _IMAGE_KEYS, where)
        if key == "base64":
            return Picture.decode(_base64(text(value, f"{where}['base64']"), f"{where}['base64']"), where)
        return picture(value, f"{where}['{key}']")
    if kind == "image_url":  # as OpenAI's clients write it
        value = part.get("image_url")
        return picture(value.get("url") if isinstance(value, Mapping) else value, f"{where}['image_url']")
    if kind == "video":
        key, value = _source(part, _VIDEO_KEYS, where)
        return clip(value, look, f"{where}['{key}']")
    raise InputError(f"{where}: expected type 'text', 'image' or 'video', found {kind!r}")


def messages(given: Sequence[Mapping[str, Any]], look: Look) -> Messages:
    """A conversation as transformers' chat templates take it."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence):
        raise TypeError(f"messages: expected a list of dicts with role and content, found {_kind(given)}")
    last = "none"
    for i, message in enumerate(given):  # all roles before any file is opened
        where = f"messages[{i}]"
        if not isinstance(message, Mapping) or "role" not in message or "content" not in message:
            raise InputError(f"{where}: expected a dict with 'role' and 'content'")
        if message["role"] not in ("system", "user", "assistant"):
            raise InputError(f"{where}: expected role 'system', 'user' or 'assistant', found {message['role']!r}")
        last = f"the {message['role']}'s"
    if last != "the user's":
        raise InputError(f"messages: expected the last to be the user's, found {last}")
    out: Messages = []
    for i, message in enumerate(given):
        content, where = message["content"], f"messages[{i}]"
        if isinstance(content, (str, Mapping)):
            content = [content]
        if not isinstance(content, Sequence) or not content:
            raise InputError(f"{where}: expected content, a str or a list of parts, found {content!r:.60}")
        out.append((message["role"], [_part(part, look, f"{where}['content'][{k}]") for k, part in enumerate(content)]))
    return out


def schema(value: Any) -> Schema | None:
    """A dict, the text of one, a path to one, or a pydantic model."""
    if value is None:
        return None
    if hasattr(value, "model_json_schema"):
        value = value.model_json_schema()
    if isinstance(value, os.PathLike):
        try:
            return Schema.compile(Path(value).read_text(encoding="utf-8"), os.fspath(value))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{os.fspath(value)}: expected a JSON schema, {error.__class__.__name__}: {error}") from None
    if not isinstance(value, str):
        try:
            value = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"json_schema: expected a JSON schema as a dict, {error}") from None
    return Schema.compile(text(value, "json_schema"), "json_schema")


def number(value: Any, where: str, least: float, most: float, *, open_least: bool = False) -> float:
    try:
        out = float(value) if not isinstance(value, (str, bytes)) else None
    except (TypeError, ValueError, OverflowError):
        out = None
    if out is None:
        raise TypeError(f"{where}: expected a number, found {_kind(value)}")
    if math.isnan(out) or out > most or out < least or (open_least and out == least):
        raise InputError(f"{where}: expected a number {'above' if open_least else 'from'} {least:g} {'up ' if open_least else ''}to {most:g}, found {out:g}")
    return out


def whole(value: Any, where: str, least: int, most: int) -> int:
    try:
        out = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: expected a whole number, found {_kind(value)}") from None
    if not least <= out <= most:
        raise InputError(f"{where}: expected a whole number from {least} to {most}, found {out}")
    return out


def truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{where}: expected True or False, found {_kind(value)}")
    return value


def sampling(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an answer, in the ranges of `onsight ask`."""
    stop = [text(each, "stop") for each in several(given["stop"])]
    if "" in stop:
        raise InputError("stop: expected a text, found nothing")
    if stop and given["json_schema"] is not None:
        raise InputError("stop and json_schema exclude each other: a stop would cut the JSON")
    return {
        "max_tokens": whole(given["max_tokens"], "max_tokens", 1, 1_000_000),
        "temperature": number(given["temperature"], "temperature", 0, 10),
        "top_k": whole(given["top_k"], "top_k", 0, 1_000_000),
        "top_p": number(given["top_p"], "top_p", 0, 1, open_least=True),
        "min_p": number(given["min_p"], "min_p", 0, 1),
        "repetition_penalty": number(given["repetition_penalty"], "repetition_penalty", 0, 10, open_least=True),
        "seed": whole(given["seed"], "seed", 0, 2**64 - 1),
        "stop": stop,
        "max_tiles": whole(given["max_tiles"], "max_tiles", 0, 10_000),
        "upscale": not truth(given["no_upscale"], "no_upscale"),
        "draft": not truth(given["no_draft"], "no_draft"),
        "schema": schema(given["json_schema"]),
    }
