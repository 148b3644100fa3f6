"""What the measured peers share: their arguments, the clock, the peak of memory, and the one line of JSON that run.py reads."""
import argparse
import json
import statistics
import time


def arguments(variants):
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=variants, required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--prepared", required=True, help="a folder for files that the peer makes of the checkpoint once")
    parser.add_argument("--prepare", action="store_true", help="make those files and measure nothing")
    parser.add_argument("--picture", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    return parser.parse_args()


def load_torchvision():
    """torchvision's compiled operators do not load beside a CPU-only torch; transformers uses none of them, but imports the package."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    return library, torchvision


def peak_memory_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


class Request:
    """The clock of one request: token() is called when a token is there."""

    def __init__(self):
        self.start = time.perf_counter()
        self.tokens = []

    def token(self):
        self.tokens.append(time.perf_counter())

    def first_token_ms(self):
        return (self.tokens[0] - self.start) * 1e3

    def tokens_per_s(self):
        return (len(self.tokens) - 1) / (self.tokens[-1] - self.tokens[0]) if len(self.tokens) > 1 else None


def spread(values):
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": values}


def measure(ask, runs, **facts):
    """Calls ask() -> Request once to warm up, then `runs` times, and prints what was measured."""
    ask()
    requests = [ask() for _ in range(runs)]
    result = {
        "first_token_ms": spread([r.first_token_ms() for r in requests]),
        "decode_tokens_per_s": spread([r.tokens_per_s() for r in requests]),
        "peak_memory_bytes": peak_memory_bytes(),
        "answer_tokens": len(requests[-1].tokens),
    }
    result.update({name: value() if callable(value) else value for name, value in facts.items()})
    print(json.dumps(result), flush=True)
