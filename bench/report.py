#!/usr/bin/env python3
"""Puts measured figures into docs/performance.md, between <!-- results:NAME --> and <!-- /results:NAME -->.

    bench/report.py            # from bench/results/NAME.json
    bench/report.py --check    # fails if the page would change

"goals" is what several of them come to. A NAME that begins with "peers-" is a table of bench/peers/run.py, with "fidelity-" one of bench/fidelity.py, with "serve-" one of
bench/serve_load.py, "ray" that of bench/ray_workers.py, any other what `onsight bench --json` wrote.
"""
import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "bench" / "results"
PLACE = re.compile(r"(<!-- results:([\w.-]+) -->\n).*?(<!-- /results:\2 -->)", re.DOTALL)
EMPTY = "*not measured yet*\n"


def table(head, rows):
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def seconds(ms):
    return f"{ms / 1e3:.2f} s" if ms >= 1e4 else f"{ms:.0f} ms" if ms >= 100 else f"{ms:.1f} ms" if ms >= 10 else f"{ms:.2f} ms"


def times(spread):
    return f"{seconds(spread['median'])} ({seconds(spread['min'])} – {seconds(spread['max'])})" if spread else "–"


def rate(spread):
    return f"{spread['median']:.1f} ({spread['min']:.1f} – {spread['max']:.1f})" if spread and spread["median"] else "–"


def gigabytes(n):
    return f"{n / 1e9:.2f} GB" if n else "–"


def percent(part):
    return f"{100 * part:.0f} %" if part else "–"


def count(n, what):
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def machine_line(machine, threads, runs):
    return f"{machine['cpu']}, {count(machine['cores'], 'core')}, {gigabytes(machine['memory_bytes'])}; {count(threads, 'thread')}, {count(runs, 'run')}.\n"


def peers_table(results):
    rows = []
    measured = [row for row in results["rows"] if "not_measured" not in row]
    for row in results["rows"]:
        if "not_measured" in row:
            rows.append([row["name"], f"not measured: {row['not_measured']}", "", "", "", ""])
            continue
        tile = row.get("vision_ms")
        tile = seconds(tile["median"] / row["tiles"]) if tile and row.get("tiles") else "–"
        rows.append([row["name"], times(row["first_token_ms"]), tile, rate(row["decode_tokens_per_s"]), gigabytes(row["peak_memory_bytes"]),
                     row.get("prompt_tokens") or "–"])  # fmt: skip
    head = ["", "first token", "vision, a tile", "tokens/s", "peak memory", "prompt tokens"]
    line = f"{results['preset']} shapes, {results['picture']}. " if "picture" in results else ""
    if measured:
        line += machine_line(measured[0]["machine"], measured[0]["machine"]["threads"], results["runs"])
    return line + "\n" + table(head, rows)


def ceilings_line(ceilings):
    parts = [f"f32 {ceilings['f32_ops_per_s'] / 1e9:.0f} GOP/s ({ceilings['f32_instruction']})",
             f"int8 {ceilings['int8_ops_per_s'] / 1e9:.0f} GOP/s ({ceilings['int8_instruction']})"]  # fmt: skip
    if ceilings["bf16_ops_per_s"]:
        parts.append(f"bf16 {ceilings['bf16_ops_per_s'] / 1e9:.0f} GOP/s ({ceilings['bf16_instruction']})")
    if ceilings["read_bytes_per_s"]:
        parts.append(f"reading {ceilings['read_bytes_per_s'] / 1e9:.1f} GB/s")
    return "Ceilings: " + ", ".join(parts) + ".\n"


def bench_table(results):
    model = results["model"]
    line = f"{model['name']} ({model['weight_types']}), kernels {results['machine']['isa']}. "
    line += machine_line(results["machine"], results["threads"], results["runs"]) + ceilings_line(results["ceilings"])
    if "sweep" in results:
        return line + "\n" + sweep_table(results["sweep"])
    stages, speeds, reached = results["stages"], results["speeds"], results["reached"]
    picture = results["picture"]
    line += f"{picture['file']}, {picture['width']} x {picture['height']}, {count(results['tiles'], 'tile')}, {results['prompt_tokens']} tokens.\n"

    def gops(key):
        return f"{speeds[key] / 1e9:.0f} GOP/s" if speeds[key] else "–"

    rows = [
        ["load", times(stages["load_ms"]), "", "", ""],
        ["preprocess", times(stages["preprocess_ms"]), "", "", ""],
        ["vision", times(stages["vision_ms"]), gops("vision_ops_per_s"), percent(reached["vision_of_f32"]), percent(reached["vision_of_int8"])],
        ["vision, a tile", times(stages["vision_tile_ms"]), "", "", ""],
        ["prefill", times(stages["prefill_ms"]), gops("prefill_ops_per_s"), percent(reached["prefill_of_f32"]), percent(reached["prefill_of_int8"])],
        ["first token", times(stages["first_token_ms"]), "", "", ""],
        ["second question", times(results["second_question"]["first_token_ms"]), "", "", ""],
    ]  # fmt: skip
    text = line + "\n" + table(["stage", "time", "speed", "of f32", "of int8"], rows)
    decode = f"Decoding: {rate(stages['decode_tokens_per_s'])} tokens/s"
    if speeds["decode_bytes_per_s"]:
        decode += f", {speeds['decode_bytes_per_s'] / 1e9:.1f} GB/s, {percent(reached['decode_of_read'])} of reading"
    text += f"\n{decode}. Peak memory: {gigabytes(results['peak_memory_bytes'])}.\n"
    return text + ("\n" + steps_table(results["steps"], results["ceilings"]) if results.get("steps") else "")


def steps_table(steps, ceilings):
    rows = []
    for step in steps:
        of = [other["ms"] for other in steps if other["of"] == step["of"]]
        each = f"{step['rows'] / step['steps']:.0f}" if step["rows"] else ""
        what, most, unit = ("bytes", ceilings["read_bytes_per_s"], "reading") if step["of"] == "token" else ("ops", ceilings["int8_ops_per_s"], "int8")
        reached = f"{percent(step[what] / step['ms'] * 1e3 / most)} of {unit}" if step["rows"] and most and step["ms"] else ""
        rows.append([f"{step['of']}: {step['what']}", each, step["steps"], seconds(step["ms"]), percent(step["ms"] / sum(of)), reached])
    return table(["steps of", "rows", "steps", "time", "share", "reached"], rows)


def judged(value, bar, goal, text):
    """value: a smaller one is better."""
    return f"{text}: " + ("goal met" if value <= goal else "bar met" if value <= bar else "**missed**")


def goals_table(folder):
    """What the project holds itself to, each figure against the ceiling of the run that it was measured in."""
    head = ["", "goal", "bar"]
    columns = {}
    for name, title in [("256m-q8", "256M q8"), ("256m-q4", "256M q4"), ("500m-q8", "500M q8"), ("2.2b-q4", "2.2B q4")]:
        file = folder / f"{name}.json"
        if file.exists():
            columns[title] = json.loads(file.read_text())
            head.append(title)
    memory = {"256M q8": 0.40e9, "256M q4": 0.40e9, "500M q8": 0.65e9, "2.2B q4": 2.0e9}

    def first_token(r, _):
        stages, work, peak = r["stages"], r["work"], r["ceilings"]["int8_ops_per_s"]
        limit = 1e3 * (r["tiles"] * work["tile_ops"] + work["prompt_ops"]) / peak
        ms = stages["load_ms"]["median"] + stages["first_token_ms"]["median"]
        return judged(ms / limit, 1.6, 1.3, f"{seconds(ms)}, {ms / limit:.2f} ×")

    def tile(r, _):
        ms = r["stages"]["vision_tile_ms"]["median"]
        times_limit = ms / (1e3 * r["work"]["tile_ops"] / r["ceilings"]["int8_ops_per_s"])
        return judged(times_limit, 1.45, 1.25, f"{seconds(ms)}, {times_limit:.2f} ×")

    def gemm(of):
        def cell(r, _):
            steps = [step for step in r.get("steps", []) if step["of"] == of and step["what"].startswith("linear")]
            if not steps:
                return "–"
            part = sum(step["ops"] for step in steps) / (sum(step["ms"] for step in steps) / 1e3) / r["ceilings"]["int8_ops_per_s"]
            return judged(-part, -0.75, -0.85, percent(part))
        return cell

    def decoding(r, _):
        part = r["reached"]["decode_of_read"]
        return judged(-part, -0.8, -0.9, f"{r['stages']['decode_tokens_per_s']['median']:.0f} tokens/s, {percent(part)}")

    def peak_memory(r, title):
        return judged(r["peak_memory_bytes"], memory[title], memory[title], gigabytes(r["peak_memory_bytes"]))

    def load(r, _):
        ms = r["stages"]["load_ms"]["median"]
        return judged(ms, 500, 250, seconds(ms))

    def second(r, _):
        ms = r["second_question"]["first_token_ms"]["median"]
        return judged(ms, 600, 300, seconds(ms))

    lines = [("first token, loading and all, of its operations at the int8 ceiling", "≤ 1.3 ×", "≤ 1.6 ×", first_token),
             ("a tile, likewise", "≤ 1.25 ×", "≤ 1.45 ×", tile),
             ("linear layers of a tile, of the int8 ceiling, all that is done for them", "≥ 85 %", "≥ 75 %", gemm("tile")),
             ("linear layers of the prompt", "≥ 85 %", "≥ 75 %", gemm("prompt")),
             ("decoding, of reading", "≥ 90 %", "≥ 80 %", decoding),
             ("peak memory: 0.40, 0.65, 2.0 GB", "", "", peak_memory),
             ("load", "≤ 250 ms", "≤ 500 ms", load),
             ("second question about a picture: first token", "≤ 300 ms", "≤ 600 ms", second)]  # fmt: skip
    return table(head, [[name, goal, bar, *(cell(r, title) for title, r in columns.items())] for name, goal, bar, cell in lines])


def sweep_table(sweep):
    rows = []
    for point in sweep["points"]:
        stages = point["stages"]
        rows.append([point["threads"], point["tiles"], point["prompt_tokens"], times(stages["vision_ms"]), times(stages["prefill_ms"]),
                     times(stages["first_token_ms"]), rate(stages["decode_tokens_per_s"]), gigabytes(point["peak_memory_bytes"])])  # fmt: skip
    text = table(["threads", "tiles", "tokens", "vision", "prefill", "first token", "tokens/s", "peak memory"], rows)
    if "time_ms_fit" not in sweep:
        return text
    time, memory, one = sweep["time_ms_fit"], sweep["memory_mb_fit"], sweep["over"][:-1]
    return text + (f"\nA {one} more: {seconds(time['slope'])} (straight line, r² {time['r2']:.4f}) and {memory['slope']:.3f} MB "
                   f"(r² {memory['r2']:.4f}).\n")  # fmt: skip


def fidelity_table(results):
    if "pictures" in results:
        return shipped_table(results)
    if "preset" in results:
        return peers_fidelity_table(results)
    rows = [[f"`{row['options']}`", f"{100 * row['features']:.2f} %", f"{row['kl']:.5f}", f"{100 * row['top1']:.1f} %"] for row in results["rows"]]
    line = f"{results['model']}, {results['image']}, {results['rows'][0]['positions']} positions.\n\n"
    return line + table(["", "image features, relative error", "mean KL", "same first choice"], rows)


def peers_fidelity_table(results):
    rows = []
    for row in results["rows"]:
        features = f"{100 * row['features']:.2f} %" if row["features"] else "–"
        rows.append([row["name"], features, f"{row['kl']:.5f}", f"{100 * row['top1']:.1f} %"])
    line = f"{results['preset']} shapes, {results['rows'][0]['positions']} tokens of text.\n\n"
    return line + table(["", "image features, relative error", "mean KL", "same first choice"], rows)


SETS = {"read1": "reading, 1 line: character error rate", "read2": "2 lines", "read3": "3 lines", "scene": "scene questions answered rightly",
        "gauge": "gauges within 5 % of full scale"}  # fmt: skip


def shipped_table(results):
    rows = []
    for row in results["rows"]:
        cells = [f"{row[part]['kl']:.5f}, {100 * row[part]['top1']:.1f} %" for part in ("answer", "all")]
        rows.append([f"`{row['options']}`", f"{100 * row['features']:.2f} %", *cells])
    answer, every = (results["rows"][0][part]["positions"] for part in ("answer", "all"))
    text = f"{results['model']}, {results['pictures']} pictures; {answer} positions of the answers, {every} in all.\n\n"
    text += table(["", "image features, relative error", "answer: mean KL, same first choice", "all positions: the same"], rows)
    if "answers" not in results:
        return text
    rows = []
    for row in results["answers"]:
        cells = [f"{100 * row['figures']['none']:.2f} %"]
        for q, drop in row["drops"].items():
            cells += [f"{100 * row['figures'][q]:.2f} %", f"{100 * drop:+.2f} ± {100 * row['errors'][q]:.2f}"]
        rows.append([SETS[row["name"]], row["n"], *cells])
    rows.append(["the same answer as in floats", sum(row["n"] for row in results["answers"]), "", *(
        cell for share in results["same_answers"].values() for cell in (f"{100 * share:.1f} %", ""))])  # fmt: skip
    head = ["", "pictures", "floats"]
    for q in results["same_answers"]:
        head += [f"`--quant {q}`", "points worse"]
    return text + "\n" + table(head, rows)


def serve_table(results):
    how = "" if results.get("draft", True) else ", without drafting"
    if results.get("temperature"):
        how += f", temperature {results['temperature']:g}"
    line = f"{results['model']}, {results['image']}{how}; {results['machine']['cpu']}, {count(results['machine']['cores'], 'core')}.\n\n"
    rows = [[row["streams"], f"{row['tokens_per_s']:.0f}", f"{min(row['rounds']):.0f} – {max(row['rounds']):.0f}", f"{row['of_one']:.1f} ×"] for row in results["decoding"]]
    text = line + table(["streams past their pictures", f"tokens/s, all together, median of {len(results['decoding'][0]['rounds'])}", "least – most", "of one"], rows)
    beside, many, guess = results["beside"], results["open"], results["estimate"]
    first = many["first_token_s"]
    # Guesses that come true make it less, and cannot be foreseen.
    further = "" if results["draft"] else f"; a further one {1e3 * guess['estimate']['token_seconds']:.1f} ms after the one before, and they came {1e3 * guess['token_s']:.1f} ms apart"
    text += (f"\nWhile a picture is read, {beside['streams']} answers go on: the longest wait for a token {beside['longest_gap_s']:.2f} s, the median "
             f"{beside['median_gap_s']:.2f} s; the picture's first token came after {beside['first_token_s']:.1f} s.\n"
             f"\n{many['open']} streams opened at once, about {results['pictures']} pictures, {results['tokens_each']} tokens each: {many['whole']} answered in whole, in "
             f"{many['seconds']:.0f} s; first token after {first[len(first) // 2]:.1f} s (median), {first[int(0.95 * len(first))]:.1f} s (95 of 100). Peak memory of the "
             f"server: {gigabytes(results['peak_memory_bytes'])}.\n"
             f"\nPredicted of a picture by /v1/estimate: the first token after {guess['estimate']['first_token_seconds']:.2f} s; it came after {guess['first_token_s']:.2f} s"
             f"{further}.\n")  # fmt: skip
    return text


def ray_table(results):
    def who(row):
        threads = count(row["threads"], "thread")
        return f"{count(row['workers'], 'worker')} of {threads}" if row["workers"] else f"one process without Ray, {threads}"

    one = results["rows"][0]["pictures_per_s"]
    line = f"{results['model']}, {results['pictures']} pictures, Ray {results['ray']}; {results['machine']['cpu']}, {count(results['machine']['cores'], 'core')}.\n\n"
    rows = [[who(row), f"{row['pictures_per_s']:.1f}", f"{row['pictures_per_s'] / one:.2f} ×", f"{row['start_s']:.1f} s" if row["workers"] else "–"] for row in results["rows"]]
    return line + table(["", "pictures/s", "of one process", "first answers after"], rows)


def long_table(results):
    video, pages, watch = results["video"], results["pages"], results["watch"]
    line = f"{results['machine']['cpu']}, {count(results['machine']['cores'], 'core')}.\n\n"
    rows = [[f"{part['seconds']:,} s" if part is video else "10 s", f"{part['frames']:,}" if part is video else "240", gigabytes(seen["bytes"]), f"{seen['prompt_tokens']:,}",
             seconds(seen["frames_ms"]), seconds(seen["first_token_ms"]), gigabytes(seen["peak_memory_bytes"])]
            for part, seen in ((None, video["short"]), (video, video["long"]))]  # fmt: skip
    text = line + table([f"video, {video['model']}", "frames", "file", "prompt tokens", "its frames taken after", "first token after", "memory"], rows)
    text += f"\nDecoding the longer one in order, as the reference does: {video['in_order_s']:.0f} s, reckoned from its first two minutes.\n"
    memory = pages["memory"]
    tenth = next(m for n, m in memory if 10 * n >= pages["pages"])
    text += (f"\n`onsight read` of a folder of {pages['pages']:,} pages with {pages['model']}: {pages['seconds']:.0f} s; memory {tenth / 1e6:.0f} MB after a tenth of them, "
             f"{max(m for _, m in memory) / 1e6:.0f} MB at most.\n")  # fmt: skip
    seen, every = watch["as_shipped"], watch["every_look"]
    text += (f"\n`onsight watch` of {watch['minutes']} minutes of a noisy camera that shows {watch['pictures']} pictures in turn, a look every two seconds: {seen['read']} of {seen['looks']} "
             f"looks were read, in {seen['seconds']:.1f} s together; with `--min-change 0` {every['read']}, in {every['seconds']:.1f} s.\n")  # fmt: skip
    return text


def agents_table(results):
    start, idle = results["start"], results["idle"]
    of = f"of {idle['agents']} idle agents"
    rows = [["from the end of its clone to its first output", f"{start['container']:.2f} s, {start['ratio']:.2f} × a plain container's {start['plain']:.2f} s", "≤ 1.2 ×"],
            ["until the prompt is back", f"{start['prompt']:.2f} s", "1 s"]]  # fmt: skip
    for word, bar in (("supervise", "< 2 %, < 100 MB"), ("broker", "")):
        rows.append([f"`onsight agents {word}` {of}", f"{idle[word]['cpu_percent']:.2f} % of a core, {idle[word]['resident_mb']:.0f} MB", bar])
    rows.append(["messages queued, delivered and consumed, on disk", f"{results['messages_per_second']:,} a second", "≥ 1,000"])
    return f"{results['engine']}; {results['machine']['cpu']}, {count(results['machine']['cores'], 'core')}.\n\n" + table(["", "", "bar"], rows)


def filled(page, folder):
    def fill(match):
        begin, name, end = match.groups()
        if name == "goals":
            return begin + goals_table(folder) + end
        file = folder / f"{name}.json"
        if not file.exists():
            return begin + EMPTY + end
        results = json.loads(file.read_text())
        kinds = {"peers": peers_table, "fidelity": fidelity_table, "serve": serve_table, "ray": ray_table, "long": long_table, "agents": agents_table}
        text = kinds.get(name.split("-")[0], bench_table)(results)
        if file.with_suffix(".svg").exists():
            text += f"\n![{name}](../bench/results/{name}.svg)\n"
        return begin + text + end

    return PLACE.sub(fill, page)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    page = PAGE.read_text()
    new = filled(page, RESULTS)
    if args.check and new != page:
        sys.exit("docs/performance.md is not what bench/results/ says: run bench/report.py")
    if not args.check:
        PAGE.write_text(new)


if __name__ == "__main__":
    main()
