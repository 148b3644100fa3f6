"""Pictures made of nothing but the standard library."""
import struct
import zlib


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def png(width, height, color=(200, 30, 30)):
    rows = (b"\0" + bytes(color) * width) * height
    return png_header(width, height) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_of_rows(width, height, rows):
    return png_header(width, height) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_bomb(width, height):
    """A picture that claims to be huge and holds next to nothing."""
    return png_of_rows(width, height, b"\0" * 1000)


def bmp_bomb(width, height):
    return b"BM" + struct.pack("<IHHI", 200, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0" * 100


def gif_bomb(width, height):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6 + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


def jpeg_header(width, height):
    """Up to the frame header: dimensions without a single coded pixel."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x22\x00\x02\x11\x00\x03\x11\x00"
    return b"\xff\xd8" + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame


def packed_row(value, width):
    """PackBits: runs of up to 128 bytes."""
    full, rest = divmod(width, 128)
    return bytes([129, value]) * full + (bytes([(257 - rest) % 256, value]) if rest else b"")


def tiff(*pages, back_to=None):
    """Grey pages of (width, height), one strip each, as scanners write them. `back_to`: that page stands behind the last one again."""
    out = bytearray(struct.pack("<2sHI", b"II", 42, 0))
    link, directories = 4, []
    for number, (width, height) in enumerate(pages, 1):
        strip = packed_row(40 * number % 256, width) * height
        at = len(out)
        out += strip + b"\0" * (len(strip) % 2)
        struct.pack_into("<I", out, link, len(out))
        directories.append(len(out))
        entries = {256: width, 257: height, 258: 8, 259: 32773, 262: 1, 273: at, 278: height, 279: len(strip)}
        out += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
        link = len(out)
        out += struct.pack("<I", 0)
    if back_to:
        struct.pack_into("<I", out, link, directories[back_to - 1])
    return bytes(out)
