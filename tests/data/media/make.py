#!/usr/bin/env python3
"""Writes pictures.bin, all pictures one after the other, and pictures.txt, which says where each is and what PIL makes of it,
for src/media/decode_test.cc; and resizes.txt, the hashes of what PIL's resize makes of noise, for src/media/resize_test.cc.

pictures() is also what tests/parity/test_media.py compares live. Every file is made here, byte by byte where PIL cannot
write the variant, so that each kind of picture which PIL reads is covered without any picture from elsewhere.

    .venv/bin/python tests/data/media/make.py
"""
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
# Lossy formats, whose decoders may differ between versions of the libraries: their goldens are PNG files, compared with a bound.
LOSSY = (".jpg", ".heic", ".avif", "jpeg.tif", "ycbcr.tif", "lossy.webp", "alpha_lossy.webp", "animated_lossy.webp")


def photo(width, height, channels=3, seed=0, depth=8):
    """Something like a photograph: waves, an edge and noise. [height, width, channels], uint8 or uint16."""
    rng = np.random.default_rng(seed + width * 7919 + height * 104729 + channels)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for c in range(channels):
        wave = 120 + 90 * np.sin((x * (c + 2) + y * 3) / (9.0 + 4 * c)) + 40 * ((x // 7 + y // 5 + c) % 2)
        planes.append(wave + rng.normal(0, 12, (height, width)))
    values = np.clip(np.stack(planes, -1), 0, 255)
    if depth == 16:
        return np.clip(values * 257 + rng.integers(-128, 128, values.shape), 0, 65535).astype(np.uint16)
    return values.astype(np.uint8)


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def exif_block(orientation, big_endian=False):
    order = ">" if big_endian else "<"
    head = b"MM\0*" if big_endian else b"II*\0"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


# --- PNG ------------------------------------------------------------------------------------------------------------

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(samples, bits):
    """Rows of big-endian samples with `bits` bits each; samples: [height, width, channels]."""
    for row in samples.reshape(samples.shape[0], -1):
        if bits == 16:
            yield row.astype(">u2").tobytes()
        elif bits == 8:
            yield row.astype(np.uint8).tobytes()
        else:
            spread = (row.astype(np.uint8)[:, None] >> np.arange(bits - 1, -1, -1)) & 1
            yield np.packbits(spread.reshape(-1).astype(np.uint8)).tobytes()


def filtered(rows, pixel_bytes):
    """The rows with PNG's five filters in turn."""
    previous = None
    for i, row in enumerate(rows):
        above = np.frombuffer(previous or bytes(len(row)), np.uint8).astype(int)
        now = np.frombuffer(row, np.uint8).astype(int)
        left = np.concatenate([np.zeros(pixel_bytes, int), now])[: len(now)]
        corner = np.concatenate([np.zeros(pixel_bytes, int), above])[: len(now)]
        guess = left + above - corner
        distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(distances.argmin(0), [left, above, corner])
        kind = i % 5
        base = [np.zeros_like(now), left, above, (left + above) // 2, paeth][kind]
        yield bytes([kind]) + ((now - base) % 256).astype(np.uint8).tobytes()
        previous = row


def png(samples, bits, color, interlaced=False, before=(), after=()):
    height, width, channels = samples.shape
    pixel_bytes = max(1, channels * bits // 8)
    data = b""
    for x, y, dx, dy in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[y::dy, x::dx]
        if part.size:
            data += b"".join(filtered(packed_rows(part, bits), pixel_bytes))
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced)
    packed = zlib.compress(data)
    half = len(packed) // 2
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(before) + chunk(b"IDAT", packed[:half])
            + chunk(b"IDAT", packed[half:]) + b"".join(after) + chunk(b"IEND", b""))


def png_pictures(width, height):
    rng = np.random.default_rng(1)
    for name, color, channels, depths in (("grey", 0, 1, (1, 2, 4, 8, 16)), ("rgb", 2, 3, (8, 16)), ("palette", 3, 1, (1, 2, 4, 8)),
                                          ("grey_alpha", 4, 2, (8, 16)), ("rgba", 6, 4, (8, 16))):
        for bits in depths:
            for interlaced in (False, True):
                samples = photo(width, height, channels, depth=16).astype(int) >> (16 - bits)
                before = []
                if color == 3:
                    colors = rng.integers(0, 256, (1 << bits, 3)).astype(np.uint8)
                    before.append(chunk(b"PLTE", colors.tobytes()))
                yield f"{name}_{bits}{'_interlaced' if interlaced else ''}.png", png(samples, bits, color, interlaced, before)
    indices = rng.integers(0, 8, (height, width, 1))
    colors = chunk(b"PLTE", rng.integers(0, 256, 24).astype(np.uint8).tobytes())
    yield "palette_trns.png", png(indices, 8, 3, False, [colors, chunk(b"tRNS", bytes([0, 255, 128, 7]))])
    yield "palette_trns_simple.png", png(indices, 4, 3, True, [colors, chunk(b"tRNS", bytes([255, 255, 0, 255]))])
    yield "palette_short.png", png(rng.integers(0, 16, (height, width, 1)), 8, 3, False, [colors])
    yield "grey_trns.png", png(photo(width, height, 1), 8, 0, False, [chunk(b"tRNS", struct.pack(">H", 120))])
    yield "grey_16_trns.png", png(photo(width, height, 1, depth=16), 16, 0, False, [chunk(b"tRNS", struct.pack(">H", 300))])
    yield "grey_16_dark.png", png(photo(width, height, 1) * 2, 16, 0)
    yield "rgb_trns.png", png(photo(width, height), 8, 2, False, [chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))])
    yield "rgb_gamma.png", png(photo(width, height), 8, 2, False, [chunk(b"gAMA", struct.pack(">I", 100000))])
    frame = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)
    yield "animated.png", png(photo(width, height, 4), 8, 6, False,
                              [chunk(b"acTL", struct.pack(">II", 1, 0)), chunk(b"fcTL", frame)])
    for turn in range(1, 9):
        yield f"exif_{turn}.png", png(photo(width, height), 8, 2, False, [chunk(b"eXIf", exif_block(turn, turn % 2 == 0))])
    yield "exif_after.png", png(photo(width, height), 8, 2, True, (), [chunk(b"eXIf", exif_block(6))])
    profile = exif_block(8).hex().encode()
    profile = b"\nexif\n%8d\n" % (len(profile) // 2) + profile[:20] + b"\n" + profile[20:] + b"\n"
    yield "exif_profile.png", png(photo(width, height), 8, 2, False, [chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))])
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="5"/></x:xmpmeta>'
    yield "exif_xmp.png", png(photo(width, height), 8, 2, False, [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)])


# --- JPEG -----------------------------------------------------------------------------------------------------------


def app1(data):
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def jpeg_pictures(width, height):
    color = Image.fromarray(photo(width, height))
    cmyk = Image.fromarray(photo(width, height, 4), "CMYK")
    yield "grey.jpg", saved(color.convert("L"), "JPEG", quality=90)
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"rgb_{name}.jpg", saved(color, "JPEG", quality=85, subsampling=sampling)
        yield f"progressive_{name}.jpg", saved(color, "JPEG", quality=85, subsampling=sampling, progressive=True)
    yield "rgb_poor.jpg", saved(color, "JPEG", quality=5)
    yield "rgb_restart.jpg", saved(color, "JPEG", quality=80, restart_marker_blocks=2)
    yield "rgb_stored.jpg", saved(color, "JPEG", quality=90, keep_rgb=True)
    inked = saved(cmyk, "JPEG", quality=90)
    yield "cmyk.jpg", inked
    yield "cmyk_progressive.jpg", saved(cmyk, "JPEG", quality=90, progressive=True)
    at = inked.index(b"Adobe")
    yield "ycck.jpg", inked[: at + 11] + b"\x02" + inked[at + 12:]  # the same data, said to be YCCK
    yield "cmyk_no_adobe.jpg", inked[: at - 4] + inked[at + 12:]
    plain = saved(color, "JPEG", quality=90)
    for turn in range(0, 10):
        yield f"exif_{turn}.jpg", plain[:2] + app1(b"Exif\0\0" + exif_block(turn, turn % 2 == 1)) + plain[2:]
    yield "exif_6_progressive.jpg", saved(color, "JPEG", quality=90, progressive=True, exif=b"Exif\0\0" + exif_block(6))
    yield "exif_8_grey.jpg", saved(color.convert("L"), "JPEG", quality=90, exif=b"Exif\0\0" + exif_block(8))
    xmp = b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>7</tiff:Orientation>"
    yield "exif_xmp.jpg", plain[:2] + app1(xmp) + plain[2:]
    yield "exif_over_xmp.jpg", plain[:2] + app1(b"Exif\0\0" + exif_block(1)) + app1(xmp) + plain[2:]
    block = exif_block(6)
    yield "exif_split.jpg", plain[:2] + app1(b"Exif\0\0" + block[:15]) + app1(b"Exif\0\0" + block[15:]) + plain[2:]
    long_form = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 4, 1, 3, 0)
    yield "exif_long.jpg", plain[:2] + app1(b"Exif\0\0" + long_form) + plain[2:]
    byte_form = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 1, 1, 3, 0)
    yield "exif_byte.jpg", plain[:2] + app1(b"Exif\0\0" + byte_form) + plain[2:]
    yield "junk_after.jpg", plain + b"\0\1\2junk" * 20


# --- WebP -----------------------------------------------------------------------------------------------------------


def webp_pictures(width, height):
    color, alpha = Image.fromarray(photo(width, height)), Image.fromarray(photo(width, height, 4), "RGBA")
    yield "lossy.webp", saved(color, "WEBP", quality=80)
    yield "lossless.webp", saved(color, "WEBP", lossless=True)
    yield "alpha_lossy.webp", saved(alpha, "WEBP", quality=80)
    yield "alpha_lossless.webp", saved(alpha, "WEBP", lossless=True, exact=True)
    for turn in range(1, 9):
        yield f"exif_{turn}.webp", saved(color, "WEBP", lossless=True, exif=b"Exif\0\0" + exif_block(turn))
    others = [Image.fromarray(photo(width, height, 4, seed=s), "RGBA") for s in (1, 2)]
    yield "animated_lossless.webp", saved(alpha, "WEBP", lossless=True, save_all=True, append_images=others, duration=50)
    yield "animated_lossy.webp", saved(color, "WEBP", quality=80, save_all=True, append_images=others, duration=50)
    sparse = Image.new("RGBA", (width, height))
    sparse.paste(alpha.crop((0, 0, width // 2, height // 2)), (width // 3, height // 3))
    yield "animated_sparse.webp", saved(sparse, "WEBP", lossless=True, save_all=True, append_images=others, duration=50)


# --- GIF ------------------------------------------------------------------------------------------------------------


def gif_frame(indices, left=0, top=0, colors=None, interlaced=False):
    """One frame of 8-bit codes that are never compressed: a clear code comes often enough that codes stay 9 bits wide."""
    height, width = indices.shape
    order = list(range(height))
    if interlaced:
        order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
    bits, count = 0, 0
    codes = []
    for i, value in enumerate(indices[order].reshape(-1)):
        if i % 100 == 0:
            codes.append(256)
        codes.append(int(value))
    codes.append(257)
    for code in codes:
        bits |= code << count
        count += 9
    data = bits.to_bytes((count + 7) // 8, "little")
    blocks = b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255))
    flags = (64 if interlaced else 0) | (0x80 | (len(colors) // 3).bit_length() - 2 if colors else 0)
    return b"," + struct.pack("<HHHHB", left, top, width, height, flags) + (colors or b"") + b"\x08" + blocks + b"\0"


def gif(canvas, frames, colors=None, transparent=None):
    flags = 0x80 | (len(colors) // 3).bit_length() - 2 if colors else 0
    control = b"" if transparent is None else b"!\xf9\x04" + struct.pack("<BHBB", 1, 0, transparent, 0)
    return (b"GIF89a" + struct.pack("<HHBBB", *canvas, flags, 3, 0) + (colors or b"") + b"!\xfe\x03abc\0" + control
            + b"".join(frames) + b";")


def gif_pictures(width, height):
    rng = np.random.default_rng(2)
    indices = photo(width, height, 1)[:, :, 0]
    small = indices[: max(1, height // 2), : max(1, width // 2)]
    colors, few = (rng.integers(0, 256, n * 3).astype(np.uint8).tobytes() for n in (256, 32))
    greys = bytes(v for i in range(256) for v in (i, i, i))
    size = (width, height)
    yield "global.gif", gif(size, [gif_frame(indices)], colors)
    yield "local.gif", gif(size, [gif_frame(indices, colors=colors)], few)
    yield "interlaced.gif", gif(size, [gif_frame(indices, interlaced=True)], colors)
    yield "no_colors.gif", gif(size, [gif_frame(indices)])
    yield "grey_colors.gif", gif(size, [gif_frame(indices)], greys)
    yield "few_colors.gif", gif(size, [gif_frame(indices)], few)
    yield "few_greys.gif", gif(size, [gif_frame(indices)], greys[:96])
    yield "offset.gif", gif(size, [gif_frame(small, width // 4, height // 4)], colors)
    yield "offset_transparent.gif", gif(size, [gif_frame(small, width // 4, height // 4)], colors, 9)
    yield "offset_transparent_unknown.gif", gif(size, [gif_frame(small % 32, 0, 0)], few, 200)
    yield "offset_no_colors.gif", gif(size, [gif_frame(small, width // 4, height // 4)], None, 77)
    yield "outside.gif", gif((max(1, width // 2), max(1, height // 2)), [gif_frame(indices, 1, 2)], colors)
    yield "animated.gif", gif(size, [gif_frame(indices), gif_frame(small)], colors, 4)
    yield "pil.gif", saved(Image.fromarray(photo(width, height)).quantize(64), "GIF")


# --- BMP ------------------------------------------------------------------------------------------------------------


def bmp(width, height, bits, rows, header_size=40, compression=0, colors=b"", masks=(), top_down=False, color_count=0):
    if header_size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack("<IiiHHIIiiII", header_size, width, -height if top_down else height, 1, bits, compression, len(rows),
                             2835, 2835, color_count, 0)
        header += struct.pack(f"<{len(masks)}I", *masks)
        if header_size > 40:
            header = header[:header_size].ljust(header_size, b"\0")
    offset = 14 + len(header) + len(colors)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + colors + rows


def padded(rows):
    return b"".join(row + bytes(-len(row) % 4) for row in rows)


def rle(indices, bits):
    """Runs, literal pieces, line ends and one jump."""
    out = b""
    for y, row in enumerate(indices):
        x = 0
        while x < len(row):
            if x + 6 <= len(row) and (x + y) % 3 == 0:
                piece = row[x:x + 5]
                packed = bytes(piece) if bits == 8 else bytes([piece[0] << 4 | piece[1], piece[2] << 4 | piece[3], piece[4] << 4])
                out += bytes([0, 5]) + packed + bytes(len(packed) % 2)
                x += 5
            else:
                count = min(3, len(row) - x)
                value = int(row[x])
                out += bytes([count, value if bits == 8 else value << 4 | (value + 1) % 16])
                x += count
        out += b"\0\0"
    return out + b"\0\1"


def bmp_pictures(width, height):
    rng = np.random.default_rng(3)
    colors = rng.integers(0, 256, (256, 4)).astype(np.uint8)
    color = photo(width, height)
    alpha = photo(width, height, 4)
    for bits in (1, 4, 8):
        indices = photo(width, height, 1) >> (8 - bits)
        rows = padded(list(packed_rows(indices, bits))[::-1])
        table = colors[: 1 << bits].tobytes()
        yield f"palette_{bits}.bmp", bmp(width, height, bits, rows, colors=table)
        yield f"palette_{bits}_os2.bmp", bmp(width, height, bits, rows, 12, colors=colors[: 1 << bits, :3].tobytes())
        if bits > 1:
            few = indices[:, :, 0] % 12
            runs = rle(few[::-1], bits)
            yield f"rle_{bits}.bmp", bmp(width, height, bits, runs, compression=3 - bits // 4, colors=table)
    yield "palette_few.bmp", bmp(width, height, 8, padded(list(packed_rows(photo(width, height, 1) % 20, 8))), colors=colors[:20].tobytes(),
                                 color_count=20)
    if width > 8 and height > 3:
        jump = bytes([2, 5, 0, 2, 1, 1, 0, 3, 1, 2, 3, 0, 0, 0])
        runs = jump + rle(photo(width, height, 1)[2:, :, 0], 8)
        yield "rle_jump.bmp", bmp(width, height, 8, runs, compression=1, colors=colors.tobytes())
    yield "grey.bmp", saved(Image.fromarray(color).convert("L"), "BMP")
    yield "bilevel.bmp", saved(Image.fromarray(color).convert("1"), "BMP")
    yield "rgb_24.bmp", saved(Image.fromarray(color), "BMP")
    yield "top_down.bmp", bmp(width, height, 24, padded([r.tobytes() for r in color]), top_down=True)
    yield "rgb_32.bmp", bmp(width, height, 32, padded([r.tobytes() for r in alpha]))
    yield "rgb_24_os2.bmp", bmp(width, height, 24, padded([r.tobytes() for r in color]), 12)
    words = padded([r.tobytes() for r in photo(width, height, 1, depth=16)])
    yield "rgb_15.bmp", bmp(width, height, 16, words)
    yield "fields_565.bmp", bmp(width, height, 16, words, compression=3, masks=(0xF800, 0x7E0, 0x1F))
    yield "fields_555_v4.bmp", bmp(width, height, 16, words, 108, 3, masks=(0x7C00, 0x3E0, 0x1F, 0))
    wide = padded([r.tobytes() for r in alpha])
    for i, masks in enumerate(((0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
                               (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
                               (0xFF000000, 0xFF0000, 0xFF00, 0), (0, 0, 0, 0))):
        yield f"fields_32_{i}.bmp", bmp(width, height, 32, wide, 124, 3, masks=masks)
    yield "fields_32_v3.bmp", bmp(width, height, 32, wide, compression=3, masks=(0xFF0000, 0xFF00, 0xFF))


# --- TIFF -----------------------------------------------------------------------------------------------------------


def tiff(samples, bits, photometric, order="<", compression=1, planar=False, tile=None, rows_per_strip=5, extra=(), format=1,
         orientation=None, colors=None, fill=1, more=()):
    """samples: [height, width, channels] of integers, or floats where format is 3."""
    height, width, channels = samples.shape

    def encoded(block):  # [rows, columns, channels]
        rows = []
        for row in block.reshape(block.shape[0], -1):
            if format == 3:
                rows.append(row.astype(order + "f4").tobytes())
            elif bits in (16, 32):
                rows.append(row.astype(order + ("i" if format == 2 else "u") + str(bits // 8)).tobytes())
            elif bits == 12:
                text = "".join(f"{int(v):012b}" for v in row)
                text += "0" * (-len(text) % 8)
                rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
            else:
                rows.append(next(packed_rows(row.reshape(1, -1, 1), bits)))
        data = b"".join(rows)
        if fill == 2:
            data = bytes(int(f"{b:08b}"[::-1], 2) for b in data)
        if compression == 8:
            return zlib.compress(data)
        if compression == 32773:
            return b"".join(bytes([len(data[i:i + 128]) - 1]) + data[i:i + 128] for i in range(0, len(data), 128))
        return data

    blocks = []
    for plane in (range(channels) if planar else (None,)):
        part = samples if plane is None else samples[:, :, plane:plane + 1]
        if tile:
            for y in range(0, height, tile):
                for x in range(0, width, tile):
                    block = part[y:y + tile, x:x + tile]
                    full = np.zeros((tile, tile, part.shape[2]), part.dtype)
                    full[: block.shape[0], : block.shape[1]] = block
                    blocks.append(encoded(full))
        else:
            blocks += [encoded(part[y:y + rows_per_strip]) for y in range(0, height, rows_per_strip)]
    offsets, at = [], 8
    for block in blocks:
        offsets.append(at)
        at += len(block) + len(block) % 2
    tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels), 259: ("H", [compression]),
            262: ("H", [photometric]), 266: ("H", [fill]), 277: ("H", [channels]), 284: ("H", [2 if planar else 1]),
            339: ("H", [format] * channels)}
    sizes = [len(block) for block in blocks]
    if tile:
        tags.update({322: ("I", [tile]), 323: ("I", [tile]), 324: ("I", offsets), 325: ("I", sizes)})
    else:
        tags.update({273: ("I", offsets), 278: ("I", [rows_per_strip]), 279: ("I", sizes)})
    if extra:
        tags[338] = ("H", list(extra))
    if orientation:
        tags[274] = ("H", [orientation])
    if colors is not None:
        tags[320] = ("H", list(colors))
    tags.update(more)
    body, directory = b"".join(b + bytes(len(b) % 2) for b in blocks), b""
    end = 8 + len(body) + 2 + 12 * len(tags) + 4
    tail = b""
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(data) > 4:
            place = struct.pack(order + "I", end + len(tail))
            tail += data + bytes(len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        directory += struct.pack(order + "HHI", tag, 3 if kind == "H" else 4, len(values)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    return head + body + struct.pack(order + "H", len(tags)) + directory + bytes(4) + tail


def tiff_pictures(width, height):
    rng = np.random.default_rng(4)
    colors = {bits: rng.integers(0, 65536, 3 << bits) for bits in (1, 2, 4, 8)}
    deep = {channels: photo(width, height, channels, depth=16).astype(int) for channels in (1, 2, 3, 4)}
    for order, letter in (("<", "ii"), (">", "mm")):
        for bits in (1, 2, 4, 8, 16):
            for photometric in (0, 1):
                if bits == 16 and photometric == 0 and order == ">":
                    continue  # PIL refuses it
                yield f"grey_{bits}_{photometric}_{letter}.tif", tiff(deep[1] >> (16 - bits), bits, photometric, order)
        for bits in (1, 2, 4, 8):
            yield f"palette_{bits}_{letter}.tif", tiff(deep[1] >> (16 - bits), bits, 3, order, colors=colors[bits])
        for bits in (8, 16):
            for kind in ("raw", "deflate", "planar", "tiled", "tiled_planar"):
                options = {"raw": {}, "deflate": {"compression": 8}, "planar": {"planar": True, "compression": 8},
                           "tiled": {"tile": 16, "compression": 8}, "tiled_planar": {"tile": 16, "planar": True, "compression": 8}}[kind]
                yield f"rgb_{bits}_{kind}_{letter}.tif", tiff(deep[3] >> (16 - bits), bits, 2, order, **options)
            for extra in ((), (0,), (1,), (2,)):
                name = f"rgba_{bits}_{''.join(map(str, extra))}_{letter}.tif"
                yield name, tiff(deep[4] >> (16 - bits), bits, 2, order, extra=extra)
            yield f"cmyk_{bits}_{letter}.tif", tiff(deep[4] >> (16 - bits), bits, 5, order, compression=8)
        yield f"grey_16_deflate_{letter}.tif", tiff(deep[1], 16, 1, order, compression=8)
        yield f"grey_16_dark_{letter}.tif", tiff(deep[1] >> 7, 16, 1, order)
        yield f"grey_16_signed_{letter}.tif", tiff((deep[1] >> 6) - 500, 16, 1, order, format=2)
        yield f"grey_32_signed_{letter}.tif", tiff((deep[1] >> 6) - 500, 32, 1, order, format=2)
        yield f"grey_float_{letter}.tif", tiff((deep[1] >> 6) / 1.7 - 99, 32, 1, order, format=3)
        yield f"grey_alpha_{letter}.tif", tiff(deep[2] >> 8, 8, 1, order, extra=(2,))
        yield f"grey_extra_{letter}.tif", tiff(deep[2] >> 8, 8, 1, order, extra=(0,))
    yield "grey_32_unsigned.tif", tiff(deep[1] >> 6, 32, 1)
    if width > 1:
        yield "grey_12.tif", tiff(deep[1][:, : width // 2 * 2] >> 7, 12, 1)
    yield "grey_8_fill.tif", tiff(deep[1] >> 8, 8, 1, fill=2)
    yield "bilevel_fill.tif", tiff(deep[1] >> 15, 1, 0, fill=2)
    yield "packbits.tif", tiff(deep[3] >> 8, 8, 2, compression=32773)
    yield "one_strip.tif", tiff(deep[3] >> 8, 8, 2, rows_per_strip=height, compression=8)
    yield "ycbcr_raw.tif", tiff(deep[3] >> 8, 8, 6, more={530: ("H", [1, 1])})
    yield "palette_alpha.tif", tiff(deep[2] >> 8, 8, 3, extra=(2,), colors=colors[8])
    for turn in range(1, 9):
        yield f"exif_{turn}.tif", tiff(deep[3] >> 8, 8, 2, "<" if turn % 2 else ">", orientation=turn)
        yield f"exif_{turn}_deflate.tif", tiff(deep[3] >> 8, 8, 2, compression=8, orientation=turn)
    color = Image.fromarray(photo(width, height))
    yield "lzw.tif", saved(color, "TIFF", compression="tiff_lzw")
    yield "grey_lzw.tif", saved(color.convert("L"), "TIFF", compression="tiff_lzw")
    yield "rgb_jpeg.tif", saved(color, "TIFF", compression="jpeg", quality=90)
    yield "grey_jpeg.tif", saved(color.convert("L"), "TIFF", compression="jpeg", quality=90)
    yield "ycbcr_lzw_ycbcr.tif", saved(color.convert("YCbCr"), "TIFF", compression="tiff_lzw")
    for kind in ("group3", "group4", "tiff_ccitt"):
        yield f"{kind}.tif", saved(color.convert("1"), "TIFF", compression=kind)
    yield "big.tif", saved(color, "TIFF", big_tiff=True)
    yield "pages.tif", saved(color, "TIFF", save_all=True, append_images=[color.rotate(90, expand=True)])
    yield "i16.tif", saved(Image.fromarray(photo(width, height, 1, depth=16)[:, :, 0]), "TIFF", compression="tiff_lzw")
    yield "cmyk_lzw.tif", saved(Image.fromarray(photo(width, height, 4), "CMYK"), "TIFF", compression="tiff_lzw")


# --- HEIC and AVIF --------------------------------------------------------------------------------------------------


def avif_pictures(width, height):
    color, alpha = Image.fromarray(photo(width, height)), Image.fromarray(photo(width, height, 4), "RGBA")
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for span in ("full", "limited"):
            yield f"{sampling.replace(':', '')}_{span}.avif", saved(color, "AVIF", quality=80, subsampling=sampling, range=span)
    yield "grey.avif", saved(color.convert("L"), "AVIF", quality=80)
    yield "alpha.avif", saved(alpha, "AVIF", quality=80)
    for turn in range(1, 9):
        yield f"exif_{turn}.avif", saved(color, "AVIF", quality=90, subsampling="4:4:4", exif=b"Exif\0\0" + exif_block(turn))


def heic_pictures(width, height):
    import pillow_heif

    pillow_heif.register_heif_opener()
    color, alpha = Image.fromarray(photo(width, height)), Image.fromarray(photo(width, height, 4), "RGBA")
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        yield f"{sampling.replace(':', '')}.heic", saved(color, "HEIF", quality=80, subsampling=sampling.replace(":", ""), chroma=sampling.replace(":", ""))
    yield "alpha.heic", saved(alpha, "HEIF", quality=80)
    # Turned halved chroma of an odd size is off by half a sample in libheif; we turn the colours.
    color = Image.fromarray(photo(width + width % 2, height + height % 2))
    for turn in (1, 3, 6, 8):
        yield f"exif_{turn}.heic", saved(color, "HEIF", quality=90, exif=b"Exif\0\0" + exif_block(turn))


KINDS = {"png": png_pictures, "jpeg": jpeg_pictures, "webp": webp_pictures, "gif": gif_pictures, "bmp": bmp_pictures,
         "tiff": tiff_pictures, "avif": avif_pictures, "heic": heic_pictures}


def pictures(width, height, kinds=tuple(KINDS)):
    """Yields (file name, bytes) of every variant, at this size."""
    for kind in kinds:
        yield from KINDS[kind](width, height)


def reference(data):
    """What transformers.image_utils.load_image makes of the bytes: [height, width, 3] uint8."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def noise(width, height):
    """What noise() of src/media/resize_test.cc makes: the high bytes of a linear congruential sequence."""
    values, x = bytearray(), width * 65536 + height
    for _ in range(width * height * 3):
        x = (x * 1664525 + 1013904223) % 2**32
        values.append(x >> 24)
    return Image.frombytes("RGB", (width, height), bytes(values))


RESIZES = [((23, 17), (23, 17)), ((23, 17), (7, 5)), ((23, 17), (61, 44)), ((23, 17), (23, 9)), ((23, 17), (8, 17)), ((1, 1), (5, 3)),
           ((64, 48), (1, 1)), ((40, 3), (9, 11)), ((5, 400), (4, 9)), ((5, 400), (9, 7)), ((600, 5), (13, 4)), ((300, 2), (2, 300)),
           ((97, 131), (96, 60)), ((97, 131), (50, 61)), ((3, 3000), (2, 2999)), ((4000, 2), (3, 1))]


def is_kept(name):
    """Whether a picture is in the committed files; the parity test sees them all."""
    if name.endswith("_mm.tif"):
        return "16" in name or "float" in name
    return not name.endswith("_deflate.tif")


def main():
    """A line of pictures.txt: name, offset and size in pictures.bin, width, height, and PIL's pixels: either their hash or, where
    a bound is allowed, the offset and size of a PNG of them."""
    blob, lines = b"", []
    for name, data in pictures(21, 13):
        if not is_kept(name):
            continue
        pixels = reference(data)
        line = f"{name} {len(blob)} {len(data)} {pixels.shape[1]} {pixels.shape[0]}"
        blob += data
        if name.endswith(LOSSY):
            golden = saved(Image.fromarray(pixels), "PNG", optimize=True)
            line += f" png {len(blob)} {len(golden)}\n"
            blob += golden
        else:
            line += f" fnv1a {fnv1a(pixels.tobytes()):016x}\n"
        lines.append(line)
    (HERE / "pictures.bin").write_bytes(blob)
    (HERE / "pictures.txt").write_text("".join(lines))
    lines = [f"{w} {h} {to_w} {to_h} {kind} {fnv1a(noise(w, h).resize((to_w, to_h), kind).tobytes()):016x}\n"
             for (w, h), (to_w, to_h) in RESIZES for kind in range(6)]
    (HERE / "resizes.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
