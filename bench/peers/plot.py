"""Bars of first token, decoding and memory for each row of a peers-*.json:  plot.py RESULTS.json OUT.svg|OUT.png"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

with open(sys.argv[1]) as file:
    results = json.load(file)
rows = [row for row in reversed(results["rows"]) if "not_measured" not in row]
panels = [
    ("first token (s), less is better", "first_token_ms", 1e-3),
    ("tokens/s, more is better", "decode_tokens_per_s", 1),
    ("peak memory (GB), less is better", "peak_memory_bytes", 1e-9),
]
figure, axes = plt.subplots(1, 3, figsize=(13, 1.4 + 0.42 * len(rows)), sharey=True)
for axis, (title, key, scale) in zip(axes, panels, strict=True):
    for at, row in enumerate(rows):
        value = row[key]
        median, low, high = (value["median"], value["min"], value["max"]) if isinstance(value, dict) else (value,) * 3
        colour = "#1f5fa8" if row["name"].startswith("onsight") else "#9a9a9a"
        error = [[(median - low) * scale], [(high - median) * scale]]
        axis.barh(at, median * scale, color=colour, height=0.65, xerr=error, ecolor="#222222", capsize=3)
        axis.annotate(f" {median * scale:.3g}", (high * scale, at), va="center", fontsize=9)
    axis.set_title(title, fontsize=10)
    axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axis.set_xlim(right=axis.get_xlim()[1] * 1.12)
    axis.spines[["top", "right"]].set_visible(False)
figure.suptitle(f"{results['preset']}, {rows[0]['machine']['cpu']}, {rows[0]['machine']['threads']} threads" if rows else "", fontsize=11)
figure.tight_layout()
figure.savefig(sys.argv[2], dpi=130)
