#!/usr/bin/env python3
"""Asks the shipped model about the pictures in examples/ and records its answers.

    scripts/examples.py            asks and writes examples/answers.json, the table in README.md, and docs/images/answers.png
    scripts/examples.py --check [COMMAND...]
                                   fails if the program answers otherwise than README.md and examples/answers.json say

COMMAND starts the program, build/onsight where it is missing; of another machine, an emulator comes before it.
The picture needs Pillow (.venv has it); --check needs nothing beyond Python.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = [
    ("receipt.jpg", "Read the text."),
    ("screenshot.png", "Read the text."),
    ("scene.png", "How many objects are there?"),
]
TABLE = re.compile(r"(<!-- answers -->\n).*?(<!-- /answers -->)", re.S)


def ask(program, picture, question):
    command = [*program, "ask", "--json", "--image", ROOT / "examples" / picture, "--", question]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["text"]


def table(answers):
    def cell(text):
        return text.replace("|", "\\|").replace("\n", " ⏎ ")

    rows = "".join(f"| [{a['picture']}](examples/{a['picture']}) | {cell(a['question'])} | {cell(a['answer'])} |\n" for a in answers)
    return "| picture | question | answer |\n|---|---|---|\n" + rows


def draw(answers, path):
    """The pictures side by side, each with its question and answer under it."""
    from PIL import Image, ImageDraw, ImageFont

    width, margin, line = 420, 16, 22
    font = ImageFont.truetype("DejaVuSansMono.ttf", 15)
    bold = ImageFont.truetype("DejaVuSansMono-Bold.ttf", 15)

    def wrap(text, limit=44):
        return [part[i : i + limit] for part in text.split("\n") for i in range(0, max(1, len(part)), limit)]

    columns = []
    for a in answers:
        picture = Image.open(ROOT / "examples" / a["picture"]).convert("RGB")
        picture.thumbnail((width, 300))
        columns.append((picture, wrap("> " + a["question"]), wrap(a["answer"])))
    height = max(p.height for p, _, _ in columns) + line * max(len(q) + len(t) for _, q, t in columns) + 3 * margin
    page = Image.new("RGB", ((width + margin) * len(columns) + margin, height + margin), "white")
    pen = ImageDraw.Draw(page)
    top = max(p.height for p, _, _ in columns) + 2 * margin
    for i, (picture, question, answer) in enumerate(columns):
        x = margin + i * (width + margin)
        page.paste(picture, (x, margin))
        pen.rectangle((x - 1, margin - 1, x + picture.width, margin + picture.height), outline="#bbb")
        y = top
        for text, face, colour in [(t, bold, "#555") for t in question] + [(t, font, "#111") for t in answer]:
            pen.text((x, y), text, font=face, fill=colour)
            y += line
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, optimize=True)


def main():
    record, readme = ROOT / "examples/answers.json", ROOT / "README.md"
    check, program = sys.argv[1:2] == ["--check"], sys.argv[2:] or [ROOT / "build/onsight"]
    answers = [{"picture": p, "question": q, "answer": ask(program, p, q)} for p, q in QUESTIONS]
    if check:
        shown = TABLE.search(readme.read_text())
        wrong = [a for a, b in zip(answers, json.loads(record.read_text())) if a != b]
        for a in wrong:
            print(f"examples/answers.json is out of date: {a}", file=sys.stderr)
        if not shown or table(answers) not in shown.group():
            print("README.md: the table of answers is out of date; run scripts/examples.py", file=sys.stderr)
            wrong.append(readme)
        sys.exit(1 if wrong else 0)
    record.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    readme.write_text(TABLE.sub(lambda m: m.group(1) + table(answers) + m.group(2), readme.read_text()))
    draw(answers, ROOT / "docs/images/answers.png")


if __name__ == "__main__":
    main()
