"""The README's table of what other programs' users know: its last column."""
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lines(python):
    """The commands of the last column: those of Python, or those of the shell."""
    table = (ROOT / "README.md").read_text().split("<!-- come from -->")[1].split("<!-- /come from -->")[0]
    cells = [row.rsplit("|", 2)[1].strip() for row in table.strip().splitlines()[2:]]
    assert all(cell.startswith("`onsight") and cell.endswith("`") for cell in cells)
    return [cell.strip("`") for cell in cells if cell.startswith("`onsight.") == python]
