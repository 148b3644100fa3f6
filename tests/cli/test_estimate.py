"""POST /v1/estimate beside what happens, with the model that ships. ONSIGHT_TIMINGS=1 compares seconds too, on a machine that does nothing else."""
import base64
import json
import os
import re
import statistics
import time

import pytest

from conftest import ROOT
from pictures import png

RECEIPT = ROOT / "examples" / "receipt.jpg"
FACTOR = 2


def chat(*pictures, **more):
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(picture).decode()}"}} for picture in pictures]
    return {"model": "nano", "messages": [{"role": "user", "content": [*content, {"type": "text", "text": "Read the text."}]}], **more}


def timed(ask, body):
    began = time.perf_counter()
    reply = ask("/v1/chat/completions", body)
    return reply["usage"], time.perf_counter() - began


# No picture comes twice: none is found in a cache.
SHADES = iter(range(1, 255))


def fresh(count, **more):
    return chat(*(png(300, 200, (next(SHADES), 90, 90)) for _ in range(count)), **more)


def test_tokens_and_tiles_are_those_of_the_reply(server):
    ask = server()

    def tiles():
        return float(re.search(r"^onsight_tiles_total (\S+)$", ask("/metrics"), re.M)[1])

    for count in (0, 1, 3):
        body = fresh(count, max_tokens=5)
        before, said = tiles(), ask("/v1/estimate", body)
        usage, _ = timed(ask, body)
        assert said["prompt_tokens"] == usage["prompt_tokens"] and said["max_tokens"] == 5
        assert said["tiles"] == tiles() - before == count


@pytest.mark.skipif("ONSIGHT_TIMINGS" not in os.environ, reason="ONSIGHT_TIMINGS is not set: it wants a machine at rest")
def test_seconds(server):
    ask = server("--no-draft")
    long, short = (chat(RECEIPT.read_bytes(), max_tokens=tokens) for tokens in (200, 1))
    for _ in range(2):  # what is measured at the start is corrected by what happens
        timed(ask, long)
    first, token = [], []
    for count in (1, 2, 3, 1, 2):
        body = fresh(count, max_tokens=1)
        said = ask("/v1/estimate", body)
        first.append(timed(ask, body)[1] / said["first_token_seconds"])
        said = ask("/v1/estimate", long)
        (usage, seconds), (_, beginning) = timed(ask, long), timed(ask, short)
        token.append((seconds - beginning) / (usage["completion_tokens"] - 1) / said["token_seconds"])
    assert 1 / FACTOR < statistics.median(first) < FACTOR, first
    assert 1 / FACTOR < statistics.median(token) < FACTOR, token


def test_keys_and_values_take_what_their_format_says(onsight):
    """And the answer about the receipt is the one that it is in floats."""
    memory = {}
    for kv in ("f32", "f16", "q8"):
        question = ("--image", RECEIPT, "--kv", kv, "What is the total?")
        memory[kv] = json.loads(onsight("ask", "--estimate", "--json", *question).stdout)["memory_bytes"]
        assert onsight("ask", *question).stdout == "10.54\n", kv
    assert 0.48 < memory["f16"] / memory["f32"] < 0.55
    assert 0.5 < memory["q8"] / memory["f16"] < 0.6
