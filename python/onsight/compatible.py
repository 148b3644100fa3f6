"""What transformers.pipeline() is told about a model and its loading: taken where it asks for what is done anyway, refused otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from onsight.errors import InputError

#: The values of an argument that change nothing; none of them: any does.
Harmless = Mapping[str, tuple[Any, ...]]

#: Each is a part of the model's folder, and read from there.
PARTS = ("config", "tokenizer", "feature_extractor", "image_processor", "video_processor", "processor")
LOADING: Harmless = {
    "use_fast": (),  # there is one tokenizer
    "token": (),  # nothing is fetched
    "local_files_only": (),
    "trust_remote_code": (),  # no code of a model is ever run
    "pipeline_class": (None,),
    "code_revision": (None,),
    "framework": (None, "pt"),
    "binary_output": (None, False),
    "generation_config": (None,),
    "assistant_model": (None,),
    "assistant_tokenizer": (None,),
}
_MODEL_KWARGS: Harmless = {
    "attn_implementation": (None, "eager", "sdpa"),
    "cache_dir": (None,),
    "force_download": (None, False),
    "local_files_only": (),
    "low_cpu_mem_usage": (),
    "quantization_config": (None,),
    "subfolder": (None, ""),
    "token": (),
    "trust_remote_code": (),
    "use_safetensors": (None, True),
    "variant": (None,),
}


def shown(value: object) -> str:
    """For a sentence: objects of other packages have representations of many lines."""
    return repr(value) if value is None or isinstance(value, (str, int, float, list, tuple, dict)) else type(value).__name__


def check(name: str, value: object, harmless: Harmless) -> None:
    values = harmless[name]
    if values and not any(value is each or (isinstance(value, (str, int, float)) and value == each) for each in values):
        raise InputError(f"{name}: expected {' or '.join(map(repr, values))}, found {shown(value):.200}")


def check_parts(model: object, given: Mapping[str, Any]) -> None:
    """Parts that transformers would take from elsewhere; by the model's own name they are the model's."""
    for name, value in given.items():
        if value is None or (isinstance(model, (str, os.PathLike)) and isinstance(value, (str, os.PathLike)) and os.fspath(value) == os.fspath(model)):
            continue
        raise InputError(f"{name}: expected None or the model's own path or name, found {shown(value):.200}: a model is read with what its folder has")


def of_revision(model: Any, revision: str | None) -> Any:
    """The model under its name with the revision, as `onsight pull` knows it."""
    if revision is None or revision == "main":
        return model
    if isinstance(model, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not os.path.exists(model):
        return f"{model}@{revision}"
    raise InputError(f"revision: expected None or 'main' of a model that is not OWNER/NAME of the hub, found {shown(revision)}")


def model_kwargs(given: Any, device_map: Any, dtype: Any) -> tuple[Any, Any]:
    """Checks what from_pretrained() would be handed; the device_map and the dtype that hold with it."""
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise TypeError(f"model_kwargs: expected a dict, found {type(given).__name__}")
    rest = dict(given)
    if "device_map" in rest:
        if device_map is not None:
            raise InputError("device_map: given twice, expected it in model_kwargs or as an argument")
        device_map = rest.pop("device_map")
    for name in ("dtype", "torch_dtype"):
        if name in rest:
            if str(dtype) not in ("None", "auto"):
                raise InputError(f"{name}: given twice, expected it in model_kwargs or as an argument")
            dtype = rest.pop(name)
    for name, value in rest.items():
        if name in _MODEL_KWARGS:
            check(name, value, _MODEL_KWARGS)
        elif value is not None:
            raise InputError(f"model_kwargs: {name}: not supported, expected dtype, device_map or {', '.join(_MODEL_KWARGS)}")
    return device_map, dtype


def check_device(device: object, device_map: object) -> None:
    cpu = {"cpu", "cpu:0"}
    if str(device) not in {"None", "-1", *cpu}:
        raise InputError(f"device: expected 'cpu', found {str(device)!r}")
    whole = {str(place) for place in device_map.values()} <= cpu if isinstance(device_map, Mapping) else str(device_map) in {"None", "auto", *cpu}
    if not whole:
        raise InputError(f"device_map: expected 'auto' or 'cpu', found {str(device_map)!r:.200}")


def keeps_weights(dtype: object) -> bool:
    """Whether the weights are to be as they come, and not as `quant` would have them: exact for bfloat16 and float16, too."""
    number_format = str(dtype).removeprefix("torch.")
    if number_format not in ("None", "auto", "float32", "bfloat16", "float16"):
        raise InputError(f"dtype: expected 'auto', float32, bfloat16 or float16, found {number_format} (quant chooses the weights' format)")
    return number_format not in ("None", "auto")
