"""PDFs made of nothing but the standard library."""

from pathlib import Path


def letters():
    """Of each letter its advance and its outline, so that no page depends on the fonts of a machine."""
    lines = (Path(__file__).parent / "letters.txt").read_text().splitlines()[1:]
    return {letter: (int(advance), outline) for letter, advance, outline in (line.split(" ", 2) for line in lines)}


def pdf(*pages, encrypted=False):
    """Pages of (word, width, height, rotate), sizes in points as they are stored: each shows its word upright, in large outlines."""
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
    ]
    drawn = letters()
    for i, (word, width, height, rotate) in enumerate(pages):
        size = (height if rotate else width) * 0.8 / sum(drawn[letter][0] for letter in word)
        # A page that a viewer turns clockwise has its text turned the other way.
        place = f"0 {size:.5f} -{size:.5f} 0 {width * 0.55:.0f} {height * 0.1:.0f}" if rotate else f"{size:.5f} 0 0 {size:.5f} {width * 0.1:.0f} {height * 0.55:.0f}"
        text = f"{place} cm " + " ".join(f"{drawn[letter][1]} 1 0 0 1 {drawn[letter][0]} 0 cm" for letter in word)
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Rotate {rotate} /Resources << >> /Contents {4 + 2 * i} 0 R >>")
        objects.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
    trailer = f"/Size {len(objects) + 1} /Root 1 0 R"
    if encrypted:  # with hashes that no password has
        code = "00" * 32
        trailer += f" /ID [<{code}> <{code}>] /Encrypt << /Filter /Standard /V 1 /R 2 /O <{code}> /U <{code}> /P -4 >>"
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< {trailer} >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out.encode()
