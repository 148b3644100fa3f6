"""Pictures for evaluation that do not come from the generator: Chromium draws pages, matplotlib draws labels, some are then scanned-looking.
Fonts are the held-out families; texts are written here by hand."""
import html
import io
import os
import random
import subprocess
import tempfile

import numpy as np
from PIL import Image, ImageFilter

TEXTS = (
    "Invoice number 20417|Total: $45.90|Open daily 9 to 17|No parking at any time|Platform 3/London 14:05|Best before 12.2027|Room 114/Meeting at 10:30|"
    "Add to cart|Forgot your password?|Settings/Privacy/About|Battery low: 12%|Gate B22 closes 18:40|Serial: X7K-2209-QA|Error 404/Page not found|"
    "Dr. Helen Brandt/Cardiology|Speed limit 50|PUSH TO OPEN|Fragile/Handle with care|Temperature 21.5 C|Wi-Fi: guest/Key: blue42sky|Save changes|"
    "Exit 27 North|Lot 88, 0.75 acres|Please wait here|Milk 1.29/Bread 2.45/Eggs 3.10|Version 4.2.1 beta|Sold out|Row F Seat 12|Call 555-0134|"
    "Next stop: Harbour Street|Warning!/Hot surface|Made in Portugal|Sign in|Net weight 250 g|Level 2 of 7|Tuesday, 4 March|Return by Friday|"
    "Tax 19% included|Order #88123/shipped today|Volume up|Free shipping over $50|Mind the gap|Printer is offline|Keep refrigerated|Check-in opens 06:15|"
    "Flight LX 318/Zurich|Ticket 004512|Adults only|Download (3.4 MB)|Unread: 17|Low tyre pressure|Max. load 400 kg|Reading room/Quiet please|"
    "Your code: 839 204|Expires 09/28|Balance: -12.50|Page 3 of 48|Out of order|Use other door|Bus 42/every 15 min"
).split("|")
TEXTS = [t.replace("/", "\n") if t.count("/") and not t.startswith("Expires") else t for t in TEXTS]
FONTS = ["Inter", "Vollkorn", "Lato", "Courier Prime", "Cantarell", "Karla", "EB Garamond", "JetBrains Mono"]
COLOURS = [("#111", "#fff"), ("#333", "#f4f4f4"), ("#fff", "#1565c0"), ("#eee", "#222"), ("#0a5", "#fff"), ("#802", "#fde8e8"), ("#222", "#ffe9a8"), ("#fff", "#2e7d32")]
PAGES = [  # small dialogs, cards and notices: heading, then lines
    ("Delete file?", ["This cannot be undone."]), ("Update ready", ["Restart to install", "version 7.3"]), ("Your order", ["Pizza 9.50", "Cola 2.20", "Total 11.70"]),
    ("Sign in", ["Name: maria", "Password"]), ("Storage", ["48 GB of 64 GB used"]), ("Departures", ["Oslo 12:40", "Rome 13:05"]),
    ("Weather", ["Sunny, 23 C", "Wind 12 km/h"]), ("Invoice 7741", ["Due 30.06.2026", "Amount 318.00"]), ("New message", ["Lunch at noon?", "From: Peter"]),
    ("Low disk space", ["Free up 2 GB"]), ("Meeting", ["Room 4.12", "Monday 09:30"]), ("Opening hours", ["Mon-Fri 8-18", "Sat 9-13"]),
    ("Download", ["report.pdf", "1.8 MB"]), ("Alarm", ["06:45", "Weekdays"]), ("Parcel", ["Locker 27", "Code 5190"]),
    ("Recipe", ["Flour 500 g", "Butter 120 g", "Sugar 80 g"]),
    ("Connection lost", ["Trying again in 10 s"]), ("Score", ["Home 3", "Guests 1"]), ("Print", ["2 copies", "A4, black"]), ("Visitor", ["Anna Keller", "until 16:00"]),
]


def shoot(body, width, height):
    """HTML body -> picture of width x height, drawn by Chromium."""
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/page.html", "w", encoding="utf8") as f:
            f.write(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{body}')
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}", f"--screenshot={d}/page.png",
             f"file://{d}/page.html"], check=True, capture_output=True, timeout=180)
        with Image.open(os.path.join(d, "page.png")) as im:
            return im.convert("RGB").copy()


def crops(rounds=2):
    """Raw crops of browser-made pages, of any shape: [(picture, text)]."""
    r, css, boxes, y = random.Random(1), [], [], 0
    for i in range(rounds * len(TEXTS)):
        text, size, (fg, bg) = TEXTS[i % len(TEXTS)], r.choice([14, 16, 18, 20, 24, 28, 32]), COLOURS[r.randrange(len(COLOURS))]
        lines = text.split("\n")
        w, h = int(max(map(len, lines)) * size * 0.68) + 2 * r.randint(8, 20), int(len(lines) * size * 1.35) + 2 * r.randint(6, 16)
        css.append(
            f'<div style="position:absolute;left:0;top:{y}px;width:{w}px;height:{h}px;background:{bg};color:{fg};font:{size}px \'{r.choice(FONTS)}\';'
            f'line-height:1.35;display:flex;align-items:center;justify-content:{r.choice(["center", "left"])};white-space:pre"><span>{html.escape(text)}</span></div>')
        boxes.append((0, y, w, y + h, text))
        y += h + 4
    page = shoot("".join(css), 900, y)
    return [(page.crop(b[:4]), b[4]) for b in boxes]


def scanned(r, im):
    """A little askew on a scanner: grain, uneven light, soft focus, JPEG."""
    noise = np.random.default_rng(r.randrange(1 << 30)).standard_normal((im.height, im.width, 1)) * 4
    im = im.rotate(r.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, fillcolor=im.getpixel((1, 1))).filter(ImageFilter.GaussianBlur(r.uniform(0.3, 0.7)))
    im = Image.fromarray(np.clip(np.asarray(im) * np.linspace(1, r.uniform(0.85, 1), im.width)[None, :, None] + noise, 0, 255).astype(np.uint8))
    data = io.BytesIO()
    im.save(data, "JPEG", quality=r.randint(60, 90))
    return Image.open(data).convert("RGB")


def screens():
    """Screenshots of small dialogs and cards, every second one made to look scanned: [(picture, text)]."""
    r, out = random.Random(2), []
    blocks, y = [], 0
    for i, (head, lines) in enumerate(PAGES):
        size, (fg, bg), font = r.choice([18, 20, 24]), COLOURS[r.choice([0, 1, 0, 6, 3])], FONTS[i % len(FONTS)]
        w, h = r.choice([220, 280, 320]), 40 + int(size * 1.25 * 1.5) + int(len(lines) * size * 1.5)
        style = f"position:absolute;left:0;top:{y}px;width:{w}px;height:{h}px;background:{bg};color:{fg};font:{size}px '{font}';line-height:1.5;overflow:hidden"
        inner = "".join(f"<div>{html.escape(t)}</div>" for t in lines)
        blocks.append(f'<div style="{style}"><div style="margin:16px 20px"><div style="font-weight:bold;font-size:1.25em">{html.escape(head)}</div>{inner}</div></div>')
        out.append(((0, y, w, y + h), "\n".join([head, *lines])))
        y += h + 4
    page = shoot("".join(blocks), 700, y)
    return [(scanned(r, page.crop(b)) if i % 2 else page.crop(b), t) for i, (b, t) in enumerate(out)]


def labels():
    """Labels drawn by matplotlib, whose text renderer is its own: [(picture, text)]."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    r, out = random.Random(3), []
    for t in TEXTS[1::3]:
        n = t.count("\n") + 1
        fig = pyplot.figure(figsize=(r.uniform(1.8, 3.2), 0.5 + 0.45 * n), dpi=r.choice([80, 100, 130]), facecolor=r.choice(["white", "#f5f1e6", "#e8f0fa"]))
        look = dict(fontsize=r.choice([12, 14, 16]), color=r.choice(["black", "#223366", "#702020"]), family=r.choice(["Lato", "Karla", "Carlito"]))
        fig.text(0.5, 0.5, t.replace("$", r"\$"), ha="center", va="center", **look)
        fig.canvas.draw()
        out.append((Image.fromarray(np.asarray(fig.canvas.buffer_rgba())[..., :3].copy()), t))
        pyplot.close(fig)
    return out
