#!/usr/bin/env python3
"""Loads `onsight serve` with many clients at once and writes what they saw.

    bench/serve_load.py NAME MODEL [--image FILE] [--streams 1,2,4,8,16] [--open 200] [--no-draft | --temperature T]      writes bench/results/serve-NAME.json and .svg

1. Decoding: N clients ask about the same picture, one after the other, so that it has been read when all of them write; tokens a second of all
   together, while all N are writing, against those of one; the median of --rounds rounds. Greedy answers of random weights repeat themselves, so that a lone one is guessed ahead
   and gains by it; sampled ones (--temperature 1) do not, as most text.
2. A picture is read while four answers are written: the longest that any of them waited for its next token.
3. Open streams: --open clients at once, each with one of a few pictures and a question of its own; all must get their whole answer. Time to the
   first token (median, 95 of 100), and the most memory that the server held.
4. Estimates: what POST /v1/estimate said of the picture, beside what happened.

Only the standard library and, for the plot, matplotlib; the server runs on a free port of this machine and ends with the script.
"""
import argparse
import asyncio
import base64
import json
import os
import re
import statistics
import subprocess
import time
from pathlib import Path

import common

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
MODEL = "load"  # a name that the server is told to answer to
TOO_SHORT = "the answers ended at once: expected a model that writes on, as random weights do (bench/peers/checkpoint.py makes some)"
WARM_TOKENS = 8  # of a stream, before the clock starts


class Client:
    """One request on a connection of its own, its answer as events with their times."""

    def __init__(self, port):
        self.port = port

    async def post(self, path, body):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = json.dumps(body).encode()
        writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        while (await reader.readline()).strip():
            pass
        if status != 200:
            raise SystemExit(f"{path}: {status} {(await reader.read()).decode()}")
        return status, reader, writer

    async def ask(self, body, on_token=None):
        """Streams an answer. Returns {first, last, tokens, longest_gap, whole}; times in seconds from the request on."""
        start = time.perf_counter()
        status, reader, writer = await self.post("/v1/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})
        seen = {"first": None, "last": None, "tokens": 0, "longest_gap": 0.0, "whole": False, "text": ""}
        before = None
        while line := await reader.readline():
            if not line.startswith(b"data: "):
                continue
            now = time.perf_counter()
            if line.startswith(b"data: [DONE]"):
                seen["whole"] = True
                break
            event = json.loads(line[6:])
            if event.get("usage"):
                seen["tokens"] = event["usage"]["completion_tokens"]
            if any(choice["delta"].get("content") for choice in event["choices"]):
                seen["text"] += event["choices"][0]["delta"]["content"]
                seen["first"] = seen["first"] or now - start
                seen["longest_gap"] = max(seen["longest_gap"], now - (before or now))
                before, seen["last"] = now, now - start
                if on_token:
                    on_token(now)
        writer.close()
        return seen

    async def json(self, path, body):
        _, reader, writer = await self.post(path, body)
        answer = json.loads(await reader.read())
        writer.close()
        return answer


def request(question, picture=None, **more):
    content = [{"type": "text", "text": question}]
    if picture:
        content.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/{picture.suffix[1:]};base64,{base64.b64encode(picture.read_bytes()).decode()}"}})
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], **more}


async def decoding(client, picture, streams, tokens, temperature):
    """Tokens a second of so many streams, from when the last of them has begun to when the first one ends."""
    times = [[] for _ in range(streams)]
    ask = [client.ask(request(f"Tell all that you see, number {i}.", picture, max_tokens=tokens + WARM_TOKENS, temperature=temperature, seed=i), times[i].append) for i in range(streams)]
    answers = await asyncio.gather(*ask)
    if min(map(len, times)) <= WARM_TOKENS:
        raise SystemExit(TOO_SHORT)
    begin, end = max(t[min(WARM_TOKENS, len(t) - 1)] for t in times), min(t[-1] for t in times)
    written = sum(sum(begin < t <= end for t in one) for one in times)
    return {"streams": streams, "tokens_per_s": written / (end - begin) if end > begin else 0.0, "whole": sum(a["whole"] for a in answers),
            "first_s": max(a["first"] for a in answers)}  # fmt: skip


def median_of(rounds, alone):
    """Of the rounds of one number of streams; how often as fast as one stream, round by round: the machine's speed goes up and down within minutes."""
    speeds = [r["tokens_per_s"] for r in rounds]
    return {"streams": rounds[0]["streams"], "tokens_per_s": statistics.median(speeds), "rounds": speeds, "of_one": statistics.median(s / a["tokens_per_s"] for s, a in zip(speeds, alone)),
            "whole": min(r["whole"] for r in rounds), "first_s": max(r["first_s"] for r in rounds)}  # fmt: skip


async def reading_beside(client, pictures, streams, tokens):
    """Gaps in answers while another picture is read."""
    gaps, reading = [], {}
    begun = asyncio.Event()
    count = 0

    def token_of(i):
        last = [None]

        def token(now):
            nonlocal count
            count += 1
            if count >= streams * WARM_TOKENS:
                begun.set()
            if last[0] and reading.get("from") and last[0] < reading.get("to", now + 1) and now > reading["from"]:
                gaps.append(now - last[0])
            last[0] = now

        return token

    ask = [asyncio.create_task(client.ask(request(f"Tell a long story, number {i}.", max_tokens=tokens), token_of(i))) for i in range(streams)]
    await asyncio.wait([asyncio.create_task(begun.wait()), *ask], return_when=asyncio.FIRST_COMPLETED)
    if not begun.is_set():
        raise SystemExit(TOO_SHORT)
    reading["from"] = time.perf_counter()
    answer = await client.ask(request("Describe the image.", pictures[0], max_tokens=8))
    reading["to"] = reading["from"] + answer["first"]
    for task in ask:
        await task
    return {"streams": streams, "first_token_s": answer["first"], "longest_gap_s": max(gaps), "median_gap_s": statistics.median(gaps), "tokens_meanwhile": len(gaps)}


async def open_streams(client, pictures, count, tokens):
    ask = [client.ask(request(f"Question {i}: what is there, and what else?", pictures[i % len(pictures)], max_tokens=tokens)) for i in range(count)]
    start = time.perf_counter()
    answers = await asyncio.gather(*ask)
    took = time.perf_counter() - start
    whole = [a for a in answers if a["whole"] and a["first"]]
    first = sorted(a["first"] for a in whole)
    return {"open": count, "whole": len(whole), "tokens": sum(a["tokens"] for a in whole), "seconds": took, "first_token_s": first,
            "longest_gap_s": max(a["longest_gap"] for a in whole)}  # fmt: skip


async def estimating(client, picture):
    ask = request("Describe the image.", picture, max_tokens=64)
    estimate = await client.json("/v1/estimate", ask)
    answer = await client.ask(ask)
    return {"estimate": estimate, "first_token_s": answer["first"], "token_s": (answer["last"] - answer["first"]) / max(1, answer["tokens"] - 1)}


def variants(folder, picture, count):
    """Pictures of the same size and other pixels, so that nothing is found in a cache."""
    from PIL import Image, ImageOps

    image = Image.open(picture).convert("RGB")
    made = []
    for i in range(count):
        part = ImageOps.solarize(image, 255 - 9 * i)
        part.putpixel((0, 0), (i, i, i))
        made.append(folder / f"load{i}.png")
        part.save(made[-1])
    return made


class Server:
    """onsight serve on a free port. Its memory counts from its start."""

    def __init__(self, binary, model, options=()):
        self.process = subprocess.Popen([binary, "serve", "--model", model, "--port", "0", "--name", MODEL, *options], stderr=subprocess.PIPE, text=True)
        ready = self.process.stderr.readline().strip()
        found = re.search(r"serving .*:(\d+)$", ready)
        if not found:
            self.process.kill()
            raise SystemExit(f"{binary} serve: expected a line with its address, found {ready!r}")
        self.port = int(found.group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def peak_memory_bytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


def plot(results, target):
    figure, (left, right) = common.axes(2, size=(9, 3.4))
    rows = results["decoding"]
    left.plot([r["streams"] for r in rows], [r["tokens_per_s"] for r in rows], marker="o", color="#2563eb")
    left.plot([r["streams"] for r in rows], [rows[0]["tokens_per_s"]] * len(rows), linestyle=":", color="#64748b", label="one stream")
    left.set(xlabel="streams", ylabel="tokens a second, all together", ylim=(0, None), xlim=(0, None))
    left.legend(frameon=False)
    first = results["open"]["first_token_s"]
    right.plot(first, [100 * (i + 1) / len(first) for i in range(len(first))], color="#2563eb")
    right.set(xlabel="seconds to the first token", ylabel=f"% of {len(first)} open streams", ylim=(0, 100), xlim=(0, None))
    for axis in (left, right):
        axis.grid(alpha=0.25)
    common.save(figure, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("model")
    parser.add_argument("--image", type=Path, default=ROOT / "examples/receipt.jpg")
    parser.add_argument("--streams", default="1,2,4,8,16,32")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3, help="of all numbers of streams; the median counts")
    parser.add_argument("--open", type=int, default=200)
    parser.add_argument("--open-tokens", type=int, default=24)
    parser.add_argument("--open-pictures", type=int, default=4)
    parser.add_argument("--no-draft", action="store_true", help="the server checks no guesses: what writing together gives alone")
    parser.add_argument("--temperature", type=float, default=0, help="of the answers that are counted in tokens a second")
    parser.add_argument("--binary", default=os.environ.get("ONSIGHT_BINARY", str(ROOT / "build/onsight")))
    args = parser.parse_args()
    import tempfile

    with tempfile.TemporaryDirectory() as folder, Server(args.binary, args.model, ["--no-draft"] if args.no_draft else []) as server:
        pictures = variants(Path(folder), args.image, args.open_pictures + 3)
        client = Client(server.port)

        async def measure():
            results = {"model": Path(args.model).name, "image": str(args.image.name), "draft": not args.no_draft, "temperature": args.temperature, "estimate": await estimating(client, pictures[0])}
            await client.ask(request("First.", pictures[1], max_tokens=4))
            rounds = [[await decoding(client, pictures[1], int(n), args.tokens, args.temperature) for n in args.streams.split(",")] for _ in range(args.rounds)]
            results["decoding"] = [median_of(same, [r[0] for r in rounds]) for same in zip(*rounds)]
            results["beside"] = await reading_beside(client, pictures[2:3], 4, 400)
            results["open"] = await open_streams(client, pictures[3:], args.open, args.open_tokens)
            return results

        results = asyncio.run(measure())
        results["peak_memory_bytes"] = server.peak_memory_bytes()
        results["tokens_each"] = args.open_tokens
        results["pictures"] = args.open_pictures
    results["machine"] = common.machine()
    target = RESULTS / f"serve-{args.name}.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    plot(results, target.with_suffix(".svg"))
    print(json.dumps({k: v for k, v in results.items() if k != "open"}, indent=1))
    first = results["open"]["first_token_s"]
    print(f"open {results['open']['whole']} of {results['open']['open']}, first token median {statistics.median(first):.2f} s, p95 {first[int(0.95 * len(first))]:.2f} s, "
          f"{results['open']['tokens'] / results['open']['seconds']:.0f} tokens/s, peak {results['peak_memory_bytes'] / 1e9:.2f} GB")  # fmt: skip


if __name__ == "__main__":
    main()
