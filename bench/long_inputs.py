#!/usr/bin/env python3
"""What long inputs cost: two hours of video, a folder of thousands of pages, and a camera that mostly shows the same.

    bench/long_inputs.py NAME VIDEO_MODEL [--model MODEL] [--hours 2] [--pages 2000] [--minutes 10]      writes bench/results/long-NAME.json and .svg

1. A video of so many hours (1280 x 720, H.264, 24 frames a second, a key frame every ten seconds), made by repeating the packets of ten seconds, and
   one of ten seconds only: the time for the frames that VIDEO_MODEL looks at, and the most memory; and, in this process, how long decoding all frames
   in order takes, which the reference does, reckoned from its first minutes.
2. `onsight read` of a folder of pages with MODEL (the one that ships): memory after so many of them.
3. `onsight watch` of a clip with a sensor's noise that shows another picture every now and then: with and without leaving out what has not changed.

Needs the packages of scripts/requirements.txt (PyAV, Pillow, matplotlib).
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

import common

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
BINARY = os.environ.get("ONSIGHT_BINARY", str(ROOT / "build/onsight"))
RATE, GOP_SECONDS = 24, 10
DECODED_SECONDS = 120  # in order, to reckon the whole


def long_video(path, seconds):
    """Ten seconds of a square that moves, again and again: their packets, each time later."""
    one = path.with_suffix(".one.mp4")
    with av.open(str(one), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.options = {"preset": "veryfast", "g": str(RATE * GOP_SECONDS), "bf": "2", "x264-params": "scenecut=0:threads=1"}
        y, x = np.mgrid[0:720, 0:1280]
        background = np.stack([x * 255 // 1280, y * 255 // 720, (x + y) % 256], -1).astype(np.uint8)
        for i in range(RATE * GOP_SECONDS):
            pixels = background.copy()
            pixels[300:420, 5 * i % 1100 : 5 * i % 1100 + 120] = (250, 220, 40)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    with av.open(str(one)) as source, av.open(str(path), "w") as out:
        stream = source.streams.video[0]
        target = out.add_stream_from_template(stream)
        packets = [p for p in source.demux(stream) if p.dts is not None]
        lasts = int(GOP_SECONDS / stream.time_base)
        for n in range(seconds // GOP_SECONDS):
            for p in packets:
                again = av.Packet(bytes(p))
                again.pts, again.dts, again.duration, again.time_base = p.pts + n * lasts, p.dts + n * lasts, p.duration, p.time_base
                again.is_keyframe, again.stream = p.is_keyframe, target
                out.mux(again)
    one.unlink()


def ask_video(model, path):
    run = subprocess.run([BINARY, "ask", "--json", "--model", model, "--video", str(path), "--max-tokens", "1", "What happens?"], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"onsight ask: {run.stderr.strip()}")
    answer = json.loads(run.stdout)
    return {"bytes": path.stat().st_size, "prompt_tokens": answer["prompt_tokens"], "frames_ms": answer["timings_ms"]["preprocess"],
            "first_token_ms": answer["timings_ms"]["first_token"], "peak_memory_bytes": answer["peak_memory_bytes"]}  # fmt: skip


def decode_in_order(path):
    """Seconds a second of the video takes."""
    begun, last = time.perf_counter(), 0.0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            last = float(frame.time)
            if last >= DECODED_SECONDS:
                break
    return (time.perf_counter() - begun) / max(last, 1e-9)


def measure_video(model, folder, hours):
    short, whole = folder / "short.mp4", folder / "long.mp4"
    seconds = int(hours * 3600) // GOP_SECONDS * GOP_SECONDS
    long_video(short, GOP_SECONDS)
    long_video(whole, seconds)
    return {"model": Path(model).name, "seconds": seconds, "frames": seconds * RATE, "short": ask_video(model, short), "long": ask_video(model, whole),
            "in_order_s": decode_in_order(whole) * seconds}  # fmt: skip


def resident_bytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


def measure_pages(model, folder, count):
    pages = folder / "pages"
    pages.mkdir()
    for i in range(count):
        page = Image.new("L", (640, 200), 255)
        ImageDraw.Draw(page).text((20, 80), f"Page {i} of {count}", fill=0)
        page.save(pages / f"{i:05}.png")
    out = folder / "pages.jsonl"
    samples, begun = [], time.perf_counter()
    process = subprocess.Popen([BINARY, "read", "--model", model, "--max-tokens", "4", "--out", str(out), str(pages)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.2)
        done = out.read_bytes().count(b"\n") if out.exists() else 0
        try:
            samples.append([done, resident_bytes(process.pid)])
        except (AttributeError, FileNotFoundError):
            break  # it has just ended
    if process.wait() != 0 or out.read_bytes().count(b"\n") != count:
        raise SystemExit("onsight read: not all pages were read")
    return {"model": Path(model).name, "pages": count, "seconds": time.perf_counter() - begun, "memory": samples[:: max(1, len(samples) // 200)]}


def measure_watch(model, folder, minutes):
    clip = folder / "camera.mp4"
    random = np.random.default_rng(1)
    pictures = [np.asarray(Image.open(ROOT / "examples" / name).convert("RGB").resize((640, 480))).astype(np.int16) for name in ("receipt.jpg", "screenshot.png")]
    shown_seconds, looks = 100, minutes * 60 // 2
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt, stream.options = 640, 480, "yuv420p", {"preset": "veryfast", "g": "20", "crf": "18"}
        for second in range(minutes * 60):
            noisy = pictures[second // shown_seconds % 2] + random.normal(0, 6, (480, 640, 3))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(noisy.clip(0, 255).astype(np.uint8), format="rgb24")))
        out.mux(stream.encode())

    def watch(*options):
        begun = time.perf_counter()
        run = subprocess.run([BINARY, "watch", "--model", model, str(clip), "--ask", "Read the text.", "--every", "2s", "--max-tokens", "12", "--json", *options], capture_output=True, text=True, check=True)
        lines = [json.loads(line) for line in run.stdout.splitlines()]
        return {"seconds": time.perf_counter() - begun, "looks": len(lines), "read": sum(line["read"] for line in lines)}

    return {"model": Path(model).name, "minutes": minutes, "pictures": -(-minutes * 60 // shown_seconds), "looks": looks, "as_shipped": watch(), "every_look": watch("--min-change", "0")}


def plot(results, target):
    figure, axis = common.axes()
    memory = results["pages"]["memory"]
    axis.plot([n for n, _ in memory], [m / 1e6 for _, m in memory], color="#2563eb")
    axis.set(xlabel="pages read", ylabel="memory, MB", xlim=(0, None), ylim=(0, None))
    axis.grid(alpha=0.25)
    common.save(figure, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("video_model")
    parser.add_argument("--model", default=str(ROOT / "models/onsight-nano"))
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--minutes", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {"video": measure_video(args.video_model, folder, args.hours), "pages": measure_pages(args.model, folder, args.pages),
                   "watch": measure_watch(args.model, folder, args.minutes)}  # fmt: skip
    results["machine"] = common.machine()
    target = RESULTS / f"long-{args.name}.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    plot(results, target.with_suffix(".svg"))
    print(json.dumps({**results, "pages": {**results["pages"], "memory": [results["pages"]["memory"][0], results["pages"]["memory"][-1]]}}, indent=1))


if __name__ == "__main__":
    main()
