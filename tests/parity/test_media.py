"""src/media against the installed Pillow: decoding as transformers.image_utils.load_image does, and PIL's resize.

Needs the program media_probe: $ONSIGHT_MEDIA_PROBE, or the one in build/.
"""
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/data/media"))
import make  # noqa: E402

PROBE = Path(os.environ.get("ONSIGHT_MEDIA_PROBE", ROOT / "build/media_probe"))


class Refused(Exception):
    pass


class Probe:
    """One media_probe process that answers many questions."""

    def __init__(self):
        self.process = subprocess.Popen([str(PROBE), "batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *words):
        self.process.stdin.write(("\t".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()
        head = self.process.stdout.readline().decode().rstrip("\n")
        assert head, f"media_probe ended at {words}"
        if head.startswith("error "):
            raise Refused(head[6:])
        width, height = map(int, head.split()[1:])
        return np.frombuffer(self.process.stdout.read(width * height * 3), np.uint8).reshape(height, width, 3)


@pytest.fixture(scope="module")
def probe():
    if not PROBE.exists():
        pytest.skip(f"{PROBE} is not built")
    running = Probe()
    yield running
    running.process.stdin.close()
    assert running.process.wait() == 0


def difference(ours, theirs):
    assert ours.shape == theirs.shape
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


def check_all(probe, folder, pictures, bound):
    wrong, count = [], 0
    for name, data in pictures:
        path = folder / name
        path.write_bytes(data)
        count += 1
        try:
            worst = difference(probe.ask("decode", path), make.reference(data))
        except (Refused, AssertionError) as error:
            worst = str(error)
        if not isinstance(worst, int) or worst > bound(name):
            wrong.append(f"{name}: {worst}")
    assert not wrong, "\n".join(wrong)
    return count


def decoding_bound(name):
    """How far a pixel may be off: JPEG decoding may round otherwise, everything else is exact."""
    return 1 if name.endswith((".jpg", "jpeg.tif")) else 0


@pytest.mark.parametrize("size", [(21, 13), (13, 64), (1, 1), (8, 8), (131, 67), (9, 200)], ids=str)
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "bmp", "tiff"])
def test_decoding(probe, tmp_path, kind, size):
    assert check_all(probe, tmp_path, make.pictures(*size, [kind]), decoding_bound) > 10


@pytest.mark.parametrize("size", [(64, 48), (21, 13), (36, 61), (101, 30)], ids=str)
@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_decoding_of_phones(probe, tmp_path, kind, size):
    pytest.importorskip("pillow_heif")
    assert check_all(probe, tmp_path, make.pictures(*size, [kind]), lambda name: 0) > 7


def test_color_matrices_of_avif(probe, tmp_path):
    """Every matrix and range that libavif converts in its main way, by rewriting what the file says about itself."""

    def pictures():
        for mode, image in (("rgb", make.photo(65, 43)), ("rgba", make.photo(65, 43, 4))):
            for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
                for span in ("full", "limited"):
                    data = make.saved(Image.fromarray(image), "AVIF", subsampling=sampling, range=span, quality=85)
                    at = data.index(b"nclx") + 8
                    for matrix in (1, 2, 5, 6, 9, 12) + ((0,) if sampling == "4:4:4" else ()):
                        name = f"{mode}_{sampling.replace(':', '')}_{span}_{matrix}.avif"
                        yield name, data[:at] + bytes([0, matrix]) + data[at + 2:]

    assert check_all(probe, tmp_path, pictures(), lambda name: 0) == 100


def test_sizes_from_one_pixel_to_8000x20(probe, tmp_path):
    sizes = [(1, 1), (1, 2), (2, 1), (3, 5), (1, 97), (97, 1), (640, 480), (480, 640), (1023, 7), (8000, 20), (20, 8000)]

    def pictures():
        for width, height in sizes:
            image = Image.fromarray(make.photo(width, height))
            for turn in (1, 6, 7):
                exif = b"Exif\0\0" + make.exif_block(turn)
                name = f"{width}x{height}_{turn}"
                yield name + ".jpg", make.saved(image, "JPEG", quality=90, exif=exif)
                yield name + ".png", make.saved(image, "PNG", exif=exif)
                yield name + ".webp", make.saved(image, "WEBP", quality=80, exif=exif)
                yield name + ".tif", make.saved(image, "TIFF", compression="tiff_lzw", exif=make.exif_block(turn))

    check_all(probe, tmp_path, pictures(), decoding_bound)


def test_what_pil_refuses_as_cut_short(probe, tmp_path):
    """Where PIL shows no picture of a cut file, neither do we; the other way round, a few formats are stricter here."""
    only_ours = []
    for name, data in make.pictures(64, 48, ["png", "jpeg", "webp", "gif", "bmp"]):
        for part in (0.3, 0.6, 0.9):
            cut = data[: int(len(data) * part)]
            path = tmp_path / name
            path.write_bytes(cut)
            try:
                probe.ask("decode", path)
            except Refused:
                continue
            try:
                make.reference(cut)
            except Exception as error:  # noqa: BLE001 PIL raises whatever it meets
                only_ours.append(f"{name} cut to {part}: PIL says {error}")
    assert not only_ours, "\n".join(only_ours)


def random_side(rng):
    return rng.choice([1, 2, 3, rng.randint(1, 40), rng.randint(1, 300), rng.randint(300, 1200)])


@pytest.mark.parametrize("seed", range(4))
def test_resize(probe, tmp_path, seed):
    """480 pairs of sizes, all six filters, one axis or both: not one byte of difference."""
    rng = random.Random(seed)
    path = tmp_path / "picture.bmp"
    for i in range(20):
        width, height = random_side(rng), random_side(rng)
        pixels = make.photo(width, height, seed=i) if i % 2 else np.random.default_rng(i).integers(0, 256, (height, width, 3)).astype(np.uint8)
        image = Image.fromarray(pixels)
        image.save(path)
        for kind in range(6):
            to_width = width if rng.random() < 0.15 else random_side(rng)
            to_height = height if rng.random() < 0.15 else random_side(rng)
            ours = probe.ask("resize", path, to_width, to_height, kind)
            theirs = np.asarray(image.resize((to_width, to_height), kind))
            assert np.array_equal(ours, theirs), f"{width}x{height} to {to_width}x{to_height} by filter {kind}"


def test_resize_of_extreme_shapes(probe, tmp_path):
    path = tmp_path / "picture.bmp"
    for width, height in ((8000, 20), (20, 8000), (1, 5000), (5000, 1), (3000, 2000)):
        image = Image.fromarray(make.photo(width, height))
        image.save(path)
        for to_width, to_height in ((2048, 6), (6, 2048), (512, 512), (2, 2048), (1, 1), (width, 7), (7, height)):
            for kind in range(6):
                ours = probe.ask("resize", path, to_width, to_height, kind)
                theirs = np.asarray(image.resize((to_width, to_height), kind))
                assert np.array_equal(ours, theirs), f"{width}x{height} to {to_width}x{to_height} by filter {kind}"
