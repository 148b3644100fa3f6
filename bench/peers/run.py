#!/usr/bin/env python3
"""Measures onsight and its peers on the same random checkpoint of real shapes, the same picture and the same question.

    bench/peers/run.py --preset 256m --tokenizer tokenizer.json
    bench/peers/run.py --preset 256m --peers onsight,llama --runs 5

Each peer gets a virtual environment of its own, made from PyPI on first use. A peer that cannot be installed or run becomes a row
'not measured', with the reason. Rows of an earlier run stay until their peer is measured again. README.md beside this file says more.
"""
import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE.parent / "results"
PROMPT = "Describe the image."
# name: (label, environment, script, variant)
ROWS = {
    "onsight": [("onsight, f32", None, None, "as stored"), ("onsight, q8", None, None, "q8"), ("onsight, q4", None, None, "q4")],
    "transformers": [
        ("transformers, f32", "transformers", "transformers_peer.py", "f32"),
        ("transformers, bf16", "transformers", "transformers_peer.py", "bf16"),
    ],
    "llama": [
        ("llama.cpp, text f16, vision q8_0", "llama", "llama_peer.py", "f16"),
        ("llama.cpp, text q8_0, vision q8_0", "llama", "llama_peer.py", "q8_0"),
    ],
    "openvino": [
        ("OpenVINO, int8 weights", "openvino", "openvino_peer.py", "int8"),
        ("OpenVINO, int8 weights, static int8 vision", "openvino", "openvino_peer.py", "int8-static"),
    ],
}


class NotMeasured(Exception):
    pass


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, log, limit_s, env=None):
    """Standard output of a command; what it writes elsewhere goes to `log`. Raises NotMeasured with its last words."""
    with open(log, "a") as err:
        err.write(f"\n$ {' '.join(map(str, command))}\n")
        err.flush()
        begin = err.tell()
        try:
            done = subprocess.run(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True, timeout=limit_s,
                env={**os.environ, **(env or {})},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"not done after {limit_s} s") from None
        except OSError as error:
            raise NotMeasured(str(error)) from None
        err.write(done.stdout)
    if done.returncode < 0:
        raise NotMeasured(f"ended by signal {-done.returncode} (out of memory?)")
    if done.returncode:
        said = Path(log).read_bytes()[begin:].decode(errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
        reason = next((line for line in reversed(lines) if "rror" in line or line.startswith("onsight:")), lines[-1])
        raise NotMeasured(f"exit code {done.returncode}: {reason[:200]}")
    return done.stdout


def environment(name, args):
    """The Python of a peer's environment, which is made if it is not there as its requirements say."""
    folder = args.venvs / name
    wanted = (HERE / "requirements" / f"{name}.txt").read_text()
    stamp = folder / ".requirements"
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    say(f"installing {name} ...")
    log = args.work / f"install-{name}.log"
    log.unlink(missing_ok=True)
    if not python.exists():
        run([sys.executable, "-m", "venv", folder], log, 600)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    rest = [line for line in wanted.splitlines() if line.strip()]
    env = {}
    # torch first, so that nothing later pulls another build of it; torchvision would.
    for package, options in (("torch", []), ("torchvision", ["--no-deps"])):
        for line in [r for r in rest if r.startswith(package + "==")]:
            run([*pip, *options, line], log, 3600)
            rest.remove(line)
    if name == "llama":  # from source, for this very CPU
        env = {"CMAKE_ARGS": "-DGGML_NATIVE=ON", "CMAKE_BUILD_PARALLEL_LEVEL": str(args.jobs)}
        pip += ["--no-binary", "llama-cpp-python"]
    run([*pip, *rest], log, 4 * 3600, env)
    stamp.write_text(wanted)
    return python


def inputs(args):
    """(checkpoint folder, picture), made if they are not there."""
    log = args.work / "inputs.log"
    picture = args.work / "picture-1536x1024.jpg"
    if not picture.exists():
        run([environment("tools", args), HERE / "picture.py", picture], log, 600)
    folder = args.checkpoint or args.work / args.preset
    if not (folder / "model.safetensors").exists():
        if not args.tokenizer:
            sys.exit("expected --tokenizer FILE to make a checkpoint: the tokenizer.json of SmolLM2 or of any published SmolVLM")
        say(f"making a random checkpoint of the {args.preset} shapes ...")
        run([environment("tools", args), HERE / "checkpoint.py", args.preset, folder, "--tokenizer", args.tokenizer], log, 3600)
    return folder, picture


def measure_onsight(variant, checkpoint, picture, prepared, args):
    log = args.work / f"{args.preset}-onsight-{variant.replace(' ', '-')}.log"
    model = checkpoint
    if variant != "as stored":
        model = prepared / f"onsight-{variant}.onsight"
        if not model.exists():
            run([args.onsight, "convert", checkpoint, model, "--quant", variant], log, 3600)
    out = args.work / f"{args.preset}-onsight.json"
    run(
        [args.onsight, "bench", "--model", model, "--image", picture, "--prompt", PROMPT, "--runs", args.runs, "--max-tokens",
         args.max_tokens, "--threads", args.threads, "--json", out, *(["--quant", "none"] if variant == "as stored" else [])], log, args.limit,
    )  # fmt: skip
    found = json.loads(out.read_text())
    stages = found["stages"]
    return {
        "first_token_ms": stages["first_token_ms"],
        "decode_tokens_per_s": stages["decode_tokens_per_s"],
        "vision_ms": stages["vision_ms"],
        "peak_memory_bytes": found["peak_memory_bytes"],
        "prompt_tokens": found["prompt_tokens"],
        "tiles": found["tiles"],
        "answer_tokens": found["completion_tokens"],
        "versions": {"onsight": found["onsight"], "weights": found["model"]["weight_types"], "isa": found["machine"]["isa"]},
    }


def measure_peer(name, script, variant, checkpoint, picture, prepared, args):
    python = environment(name, args)
    log = args.work / f"{args.preset}-{name}-{variant}.log"
    log.unlink(missing_ok=True)
    command = [
        python, HERE / script, "--variant", variant, "--checkpoint", checkpoint, "--prepared", prepared, "--picture", picture, "--prompt",
        PROMPT, "--threads", args.threads, "--runs", args.runs, "--max-tokens", args.max_tokens,
    ]  # fmt: skip
    env = {"OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    run([*command, "--prepare"], log, args.limit, env)  # in a process of its own: its memory is no cost of answering
    lines = [line for line in run(command, log, args.limit, env).splitlines() if line.startswith("{")]
    if not lines:
        raise NotMeasured("no figures printed")
    return json.loads(lines[-1])


def machine(args):
    name = platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        name = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), name)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": name, "cores": len(os.sched_getaffinity(0)), "memory_bytes": memory, "threads": args.threads}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["tiny", "256m", "500m", "2.2b"], default="256m")
    parser.add_argument("--peers", default=",".join(ROWS), help="of " + ", ".join(ROWS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--jobs", type=int, default=1, help="of the build of llama.cpp")
    parser.add_argument("--limit", type=int, default=3600, help="seconds for one row")
    parser.add_argument("--onsight", type=Path, default=ROOT / "build" / "onsight")
    parser.add_argument("--checkpoint", type=Path, help="a folder to measure instead of a random one of the preset's shapes")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json for a random checkpoint")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "peers", help="checkpoints, logs, converted files")
    parser.add_argument("--venvs", type=Path, default=Path(tempfile.gettempdir()) / "peers-venvs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    wanted = [name for name in args.peers.split(",") if name]
    for name in wanted:
        if name not in ROWS:
            parser.error(f"--peers: expected names of {', '.join(ROWS)}, found '{name}'")
    args.work.mkdir(parents=True, exist_ok=True)
    args.venvs.mkdir(parents=True, exist_ok=True)
    args.results.mkdir(parents=True, exist_ok=True)
    try:
        checkpoint, picture = inputs(args)
    except NotMeasured as error:
        sys.exit(f"the checkpoint or the picture could not be made: {error}")
    prepared = args.work / f"{args.preset}-prepared"
    prepared.mkdir(exist_ok=True)

    results = args.results / f"peers-{args.preset}.json"
    rows = {}
    if results.exists():
        rows = {row["name"]: row for row in json.loads(results.read_text())["rows"]}
    for name in wanted:
        for label, venv, script, variant in ROWS[name]:
            say(f"measuring {label} ...")
            started = time.monotonic()
            row = {"name": label}
            try:
                if script is None:
                    row.update(measure_onsight(variant, checkpoint, picture, prepared, args))
                else:
                    row.update(measure_peer(venv, script, variant, checkpoint, picture, prepared, args))
                say(f"  first token {row['first_token_ms']['median']:.0f} ms, in all {time.monotonic() - started:.0f} s")
            except NotMeasured as error:
                row["not_measured"] = str(error)
                say(f"  not measured: {error}")
            row["machine"] = machine(args)
            rows[label] = row
            order = [label for group in ROWS.values() for label, *_ in group]
            report = {
                "preset": args.preset, "prompt": PROMPT, "picture": "generated JPEG, 1536 x 1024", "runs": args.runs,
                "rows": sorted(rows.values(), key=lambda r: order.index(r["name"])),
            }  # fmt: skip
            results.write_text(json.dumps(report, indent=1) + "\n")
    sys.path.insert(0, str(HERE.parent))
    import report as tables

    markdown = tables.peers_table(json.loads(results.read_text()))
    results.with_suffix(".md").write_text(markdown)
    print(markdown)
    try:
        run([environment("tools", args), HERE / "plot.py", results, results.with_suffix(".svg")], args.work / "plot.log", 300)
    except NotMeasured as error:
        say(f"no plot: {error}")


if __name__ == "__main__":
    main()
