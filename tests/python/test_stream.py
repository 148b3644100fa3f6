"""Answers piece by piece, in event loops, and those that are given up."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

READ = "Read the text."
# The shipped model goes on for long where nothing may end it.
LONG = {"json_schema": {"type": "string", "minLength": 700, "maxLength": 800}, "max_tokens": 800}


def test_the_pieces_are_the_answer(model, receipt):
    stream = model.ask(receipt, READ, stream=True)
    assert stream.answer is None
    pieces = list(stream)
    assert len(pieces) > 1 and all(pieces)
    assert "".join(pieces) == stream.answer == model.ask(receipt, READ)
    assert list(stream) == []


def test_a_stream_that_is_closed_is_cancelled(model, receipt):
    start = time.monotonic()
    whole = len(model.ask(receipt, READ, **LONG))
    took = time.monotonic() - start
    start = time.monotonic()
    with model.ask(receipt, READ, stream=True, **LONG) as stream:
        first = next(stream)
    assert stream.answer is None and list(stream) == [] and len(first) < whole
    stream = model.ask(receipt, READ, stream=True, **LONG)
    next(stream)
    del stream
    gc.collect()
    assert model.ask(receipt, READ).startswith("Bread")
    assert time.monotonic() - start < 3 * took + 5


def test_a_stream_keeps_its_model():
    import onsight

    stream = onsight.load(threads=1).ask(prompt="Hello?", max_tokens=8, stream=True)
    gc.collect()
    assert "".join(stream) == stream.answer and stream.answer.completion_tokens > 0


def test_in_an_event_loop(model, receipt, scene):
    async def one(picture):
        return "".join([piece async for piece in model.stream_async(picture, READ)])

    async def all_of_them():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        beating = asyncio.ensure_future(beat())
        answers = await asyncio.gather(*(one(picture) for picture in [receipt, scene] * 10), model.ask_async(receipt, READ))
        beating.cancel()
        return answers, beats

    answers, beats = asyncio.run(all_of_them())
    want = [str(model.ask(picture, READ)) for picture in (receipt, scene)]
    assert answers == want * 10 + want[:1] and beats > 10
    assert answers[-1].finish_reason == "stop"


def test_an_event_loop_gives_up(model, receipt):
    async def give_up():
        pieces = model.stream_async(receipt, READ, **LONG)
        async for _ in pieces:
            break
        await pieces.aclose()
        task = asyncio.ensure_future(model.ask_async(receipt, READ, **LONG))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ValueError, match="No such file"):
            await model.ask_async("nowhere.png")

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(give_up())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert model.ask(receipt, READ).startswith("Bread")


@pytest.mark.parametrize("how", ["model.ask(PICTURE, **LONG)", "list(model.ask(PICTURE, stream=True, **LONG))"])
def test_ctrl_c_ends_an_answer(receipt, how):
    program = textwrap.dedent(f"""
        import signal, onsight
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
        LONG, PICTURE = {LONG!r}, {str(receipt)!r}
        model = onsight.load(threads=1)
        model.ask(prompt="Hello?", max_tokens=1)
        print("ready", flush=True)
        try:
            for _ in range(1000):
                {how}
        except KeyboardInterrupt:
            print(model.ask(PICTURE, "Read the text.", max_tokens=6), flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60)[0].strip() == "Bread" and process.returncode == 0
        finally:
            process.kill()


def test_what_a_fork_left_behind(receipt):
    """A child has the model and not its thread: one sentence, and it ends."""
    program = textwrap.dedent(f"""
        import os, onsight
        model = onsight.load(threads=1)
        model.ask(prompt="Hello?", max_tokens=1)
        child = os.fork()
        if not child:
            try:
                model.ask({str(receipt)!r})
            except onsight.InputError as error:
                print(error, flush=True)
            raise SystemExit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), model.ask({str(receipt)!r}, "Read the text.", max_tokens=6), flush=True)
    """)
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60, check=True, env=clean_environment())
    first, second = done.stdout.splitlines()
    assert "loaded in each process" in first and second == "7 Bread"


def clean_environment():
    """A child finds the same package as this process."""
    import onsight

    return {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(os.path.dirname(onsight.__file__)), os.environ.get("PYTHONPATH", "")])}
