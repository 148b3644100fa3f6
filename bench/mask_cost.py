#!/usr/bin/env python3
"""How much of an answer's time goes into finding the tokens that its schema allows, while a model decodes.

    bench/mask_cost.py MODEL [--tokens 200] [--answers 3]      prints a table

MODEL has the vocabulary that is to be measured; random weights will do (bench/peers/checkpoint.py), which at temperature 1 write random values. Each
answer is of a program that has just started, so that no mask is found in a cache. `build/mask_bench` times masks alone, without a model.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECEIPT = {
    "type": "object",
    "properties": {
        "shop": {"type": "string", "maxLength": 60},
        "date": {"type": "string", "format": "date"},
        "items": {"type": "array", "items": {"type": "object", "required": ["name", "price"], "properties": {
            "name": {"type": "string"}, "price": {"type": "number", "minimum": 0}, "count": {"type": "integer"}}}},
        "total": {"type": "number"},
    },
    "required": ["shop", "items", "total"],
}  # fmt: skip
SCHEMAS = {
    "a number": {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]},
    "a receipt: strings, a date, numbers, a list of objects": RECEIPT,
    "a tree, recursive": {"type": "object", "properties": {"text": {"type": "string", "maxLength": 200}, "children": {"type": "array", "items": {"$ref": "#"}}},
                          "required": ["text"]},
    "strings of a pattern and a length": {"type": "array", "items": {"type": "string", "pattern": "^\\w+( \\w+)*$", "maxLength": 80}, "minItems": 8},
    "`{}`": {},
}  # fmt: skip


def answer(binary, model, schema, tokens, seed):
    """(tokens, ms of masks, ms of decoding) of one answer."""
    done = subprocess.run([binary, "ask", "--model", model, "--json-schema", schema, "--json", "--stats", "--max-tokens", str(tokens), "--temperature", "1",
                           "--seed", str(seed), "Tell all that you know."], capture_output=True, text=True)  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip())
    reply = json.loads(done.stdout)
    masks = re.search(r"^schema +([\d.]+) ms", done.stderr, re.M)
    return reply["completion_tokens"], float(masks[1]) if masks else 0.0, reply["timings_ms"]["decode"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=200, help="at most, of an answer")
    parser.add_argument("--answers", type=int, default=3, help="of each schema")
    parser.add_argument("--binary", default=os.environ.get("ONSIGHT_BINARY", str(ROOT / "build/onsight")))
    args = parser.parse_args()
    print("| schema | tokens | masks, a token | decoding, a token | share |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.schema.json"
        for name, schema in SCHEMAS.items():
            path.write_text(json.dumps(schema))
            tokens, masks, decoding = (sum(part) for part in zip(*(answer(args.binary, args.model, path, args.tokens, seed) for seed in range(args.answers))))
            print(f"| {name} | {tokens} | {1e3 * masks / tokens:.0f} µs | {decoding / tokens:.2f} ms | {100 * masks / decoding:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
