"""More pictures than one machine can do: a Ray Data step that asks a question about each row. Needs Ray: pip install "ray[data]".

    import ray
    from onsight.ray import ask

    pictures = ray.data.from_items([{"path": str(path)} for path in Path("scans").glob("*.png")])
    answers = ask(pictures, "Read the text.", column="path", workers=4)
    answers.write_json("answers")                     # {"path": ..., "answer": ..., "error": null} a line

The rows may come from whatever Ray reads: paths, the bytes of files (ray.data.read_binary_files), arrays (ray.data.read_images).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray.data

from onsight import inputs
from onsight.errors import InputError
from onsight.model import ask_options, find_model, load

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from onsight.model import AskOptions

__all__ = ["Worker", "ask"]


class Worker:
    """What each of Ray's workers runs: a model of its own, which answers the rows of a batch together.

    `ask()` makes them; by itself it is for a pipeline that sets up map_batches otherwise.
    """

    def __init__(
        self,
        prompt: str | None,
        column: str = "image",
        answer: str = "answer",
        error: str = "error",
        load_options: Mapping[str, Any] | None = None,
        ask_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._prompt, self._column, self._answer, self._error = prompt, column, answer, error
        self._options = dict(ask_options or {})
        self._model = load(**(load_options or {}))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """batch: columns of the same length. Returns them, and the columns of answers and errors."""
        streams: list[Any] = []
        for row in batch[self._column]:  # all are begun before the first is waited for
            try:
                streams.append(self._model.ask(row, self._prompt, stream=True, **self._options))
            except (InputError, TypeError) as error:
                streams.append(error)
        answers: list[str | None] = []
        errors: list[str | None] = []
        for stream in streams:
            try:
                if isinstance(stream, Exception):
                    raise stream
                answers.append("".join(stream))
                errors.append(None)
            except (InputError, TypeError) as error:
                answers.append(None)
                errors.append(str(error))
        return {**batch, self._answer: answers, self._error: errors}


def ask(
    dataset: ray.data.Dataset,
    prompt: str | None = None,
    *,
    column: str = "image",
    answer: str = "answer",
    error: str = "error",
    workers: int | tuple[int, int] = 1,
    threads: int = 1,
    batch_size: int = 16,
    model: str | os.PathLike[str] | None = None,
    quant: str = "auto",
    vision_quant: str | None = None,
    kv: str = "auto",
    cache: str | os.PathLike[str] | None = None,
    cache_size: int = 1024,
    **options: Unpack[AskOptions],
) -> ray.data.Dataset:
    """A Dataset with two columns more: the answer about each row's picture, and why there is none. Nothing runs before it is read.

    A picture that cannot be used does not end the run: its row has the sentence in `error`, and None in `answer`. A worker that dies is
    replaced and its rows are done again by another, so that each comes out once. Rows come out in any order, unless Ray's
    execution options ask for theirs.

    Args:
        dataset: rows with a picture in `column`: whatever `images` of Model.ask() may be.
        prompt: what is asked about each; None: "Describe this image."
        column, answer, error: names of the columns.
        workers: how many processes; or (least, most), between which Ray chooses.
        threads: of each worker, which takes as many of Ray's CPUs. One picture after the other is done soonest by one worker of all
            threads, a great many by workers of one thread each.
        batch_size: rows that a worker takes at once, 1 to 256. Their answers are written together.
        model, quant, vision_quant, kv, cache, cache_size: those of onsight.load(). The model is a path, or the name of one, on each machine. Weights of a
            native file (`onsight convert`) are in memory once a machine, whatever the number of workers.
        options: those of Model.ask(), except images, prompt and video.

    Raises:
        InputError: a number or name that cannot be used, or a model that is not on this machine.
    """
    if not isinstance(batch_size, int) or not 1 <= batch_size <= 256:
        raise InputError(f"batch_size: expected 1 to 256, found {batch_size!r}")
    if not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads: expected 1 or more, found {threads!r}")
    least, most = workers if isinstance(workers, Sequence) else (workers, workers)
    if not 1 <= least <= most:
        raise InputError(f"workers: expected 1 or more, or a pair (least, most), found {workers!r}")
    if answer == error or column in (answer, error):
        raise InputError(f"column, answer and error: expected three names, found {column!r}, {answer!r} and {error!r}")
    for name in ("images", "video"):
        if name in options:
            raise TypeError(f"ask: {name} is no option of it, expected the pictures in a column")
    inputs.sampling(ask_options(options))
    find_model(model)
    return dataset.map_batches(
        Worker,
        batch_size=batch_size,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=threads,
        fn_constructor_kwargs={
            "prompt": prompt,
            "column": column,
            "answer": answer,
            "error": error,
            "load_options": {"model": model, "quant": quant, "vision_quant": vision_quant, "kv": kv, "threads": threads, "cache": cache, "cache_size": cache_size},
            "ask_options": options,
        },
    )
