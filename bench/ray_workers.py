#!/usr/bin/env python3
"""Pictures a second by workers of Ray's, beside one process without Ray.

    bench/ray_workers.py [--pictures 200] [--model MODEL]      writes bench/results/ray.json and .svg

Wants the Python package and "ray[data]". Every picture differs, so that none is found in a cache; the time is from the first row to the last, with
the workers already there: what starting them takes stands apart.
"""
import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
import common
import onsight
import ray
from onsight.ray import Worker, ask

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PROMPT, MOST_TOKENS, BATCH = "Describe this image.", 32, 8


def variants(folder, count):
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(ROOT / "examples/scene.png").convert("RGB"))
    files = []
    for i in range(count):
        moved = np.roll(pixels, i, 1).copy()
        moved[0, 0] = i % 256, i // 256, 0
        files.append(str(folder / f"{i:05}.png"))
        Image.fromarray(moved).save(files[-1])
    return files


def one_process(files, model):
    worker = Worker(PROMPT, load_options={"model": model}, ask_options={"max_tokens": MOST_TOKENS})
    worker({"image": files[:1]})
    start = time.perf_counter()
    for at in range(0, len(files), BATCH):
        worker({"image": files[at : at + BATCH]})
    return {"workers": 0, "threads": os.cpu_count(), "pictures_per_s": len(files) / (time.perf_counter() - start), "start_s": 0.0}


def with_ray(files, model, workers, threads):
    rows = ray.data.from_items([{"image": file} for file in files])
    begun = time.perf_counter()
    times = []
    answered = ask(rows, PROMPT, workers=workers, threads=threads, batch_size=BATCH, model=model, max_tokens=MOST_TOKENS)
    for batch in answered.iter_batches(batch_size=None):
        times += [time.perf_counter()] * len(batch["image"])
    if len(times) != len(files):
        raise SystemExit(f"{workers} workers: expected {len(files)} answers, found {len(times)}")
    steady = sum(t > times[0] for t in times)
    return {"workers": workers, "threads": threads, "pictures_per_s": steady / (times[-1] - times[0]), "start_s": times[0] - begun}


def plot(results, target):
    figure, axis = common.axes(size=(6, 2.6))
    rows = results["rows"]
    axis.barh([name_of(row) for row in rows], [row["pictures_per_s"] for row in rows], color=["#64748b"] + ["#2563eb"] * (len(rows) - 1))
    axis.invert_yaxis()
    axis.set(xlabel="pictures a second")
    common.save(figure, target)


def name_of(row):
    threads = f"{row['threads']} thread{'s' * (row['threads'] != 1)}"
    return f"{row['workers']} × {threads}" if row["workers"] else f"one process, {threads}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--model")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    cores = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        files = variants(Path(folder), args.pictures)
        rows = [one_process(files, args.model)]
        ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, configure_logging=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows += [with_ray(files, args.model, 1, cores), with_ray(files, args.model, cores, 1)]
        ray.shutdown()
    results = {"machine": common.machine(), "model": Path(args.model).name if args.model else "onsight-nano", "pictures": args.pictures,
               "ray": ray.__version__, "rows": rows}  # fmt: skip
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "ray.json").write_text(json.dumps(results, indent=1) + "\n")
    for row in rows:
        print(f"{name_of(row)}: {row['pictures_per_s']:.1f} pictures/s, begun after {row['start_s']:.1f} s")
    if importlib.util.find_spec("matplotlib"):
        plot(results, args.results / "ray.svg")
    else:
        print("no plot: matplotlib is not installed", file=sys.stderr)


if __name__ == "__main__":
    main()
