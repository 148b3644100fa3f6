"""Answers: whole, piece by piece, and piece by piece in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onsight._engine import Answering, Timings


class Answer(str):
    """The text of an answer, and what it took. It is a str, and may be used as one.

    Attributes:
        text: the same as a plain str.
        finish_reason: "stop" (the model ended it, or a stop string), "length" (max_tokens, or the context is full), "cancelled".
        prompt_tokens: of pictures, question and what stood before.
        cached_tokens: of prompt_tokens, those that an earlier answer or run had left ready.
        cached_tiles: tiles of the pictures that an earlier run had read (`cache` of load()).
        completion_tokens: of the answer.
        drafted_tokens, accepted_tokens: tokens that were guessed and checked several at once; how many of them stand in the answer.
        timings_ms: milliseconds of "preprocess", "vision", "prefill" and "decode", and "first_token": from the start to the first token.
        peak_memory_bytes: the most memory that the process had held by then.
    """

    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    cached_tiles: int
    completion_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    timings_ms: Timings
    peak_memory_bytes: int

    @property
    def text(self) -> str:
        return str.__str__(self)

    @classmethod
    def _of(cls, answering: Answering) -> Answer:
        reply = answering.reply()
        answer = cls(reply["text"])
        answer.finish_reason = reply["finish_reason"]
        answer.prompt_tokens = reply["prompt_tokens"]
        answer.cached_tokens = reply["cached_tokens"]
        answer.cached_tiles = reply["cached_tiles"]
        answer.completion_tokens = reply["completion_tokens"]
        answer.drafted_tokens = reply["drafted_tokens"]
        answer.accepted_tokens = reply["accepted_tokens"]
        answer.timings_ms = reply["timings_ms"]
        answer.peak_memory_bytes = reply["peak_memory_bytes"]
        return answer


def wait(answering: Answering) -> Answer:
    """The whole answer. KeyboardInterrupt cancels it."""
    ended = False
    try:
        while not ended:
            _, ended = answering.take(True)
    finally:
        if not ended:
            answering.cancel()
    return Answer._of(answering)


class Stream(Iterator[str]):
    """Pieces of an answer as they become certain. Joined they are the answer; close(), or leaving `with`, cancels what is left.

        with model.ask("receipt.jpg", "Read the text.", stream=True) as stream:
            for piece in stream:
                print(piece, end="", flush=True)
        stream.answer.completion_tokens
    """

    def __init__(self, answering: Answering, model: object) -> None:
        self._answering: Answering | None = answering
        self._model = model  # which lives as long as its answers are read
        #: The whole answer, once the pieces have ended; None before, and when it was closed early.
        self.answer: Answer | None = None

    def __next__(self) -> str:
        if self._answering is None:
            raise StopIteration
        try:
            text, ended = self._answering.take(True)
            if not ended:
                return text
            self.answer = Answer._of(self._answering)
        except BaseException:
            self.close()
            raise
        self._answering = None
        raise StopIteration

    def close(self) -> None:
        """Cancels what has not been written."""
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _give_up(starting: asyncio.Future[Answering]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().cancel()


async def pieces(start: Callable[[], Answering], take_answer: Callable[[Answer], None] | None = None) -> AsyncGenerator[str, None]:
    """As Stream, without a thread that waits: the event loop watches a descriptor."""
    loop = asyncio.get_running_loop()
    # Pictures are decoded and prompts made on a thread beside, so that the loop goes on meanwhile.
    starting = loop.run_in_executor(None, start)
    try:
        answering = await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_give_up)
        raise
    ready = asyncio.Event()
    descriptor = answering.fileno()
    loop.add_reader(descriptor, ready.set)
    try:
        while True:
            await ready.wait()
            ready.clear()
            text, ended = answering.take(False)
            if ended:
                break
            if text:
                yield text
        if take_answer is not None:
            take_answer(Answer._of(answering))
        else:
            answering.reply()  # raises what went wrong
    finally:
        loop.remove_reader(descriptor)
        answering.cancel()
