"""Safetensors files read and written with the standard library, so that tests can break them one byte at a time."""
import json
import struct

SIZE = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1}


def read_safetensors(path):
    """-> (header, bytes of the data section)"""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def write_safetensors(path, header, data, length=None):
    """`header`: an object, or bytes as they are; `length`: what to claim about it instead of the truth."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if path.is_symlink():
        path.unlink()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def change_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def drop_tensor(header, data, name):
    """Without that tensor, the rest moved up."""
    kept, out = {}, bytearray()
    for key, row in sorted(((k, v) for k, v in header.items() if k != "__metadata__"), key=lambda kv: kv[1]["data_offsets"]):
        if key == name:
            continue
        begin, end = row["data_offsets"]
        kept[key] = {**row, "data_offsets": [len(out), len(out) + end - begin]}
        out += data[begin:end]
    return kept, bytes(out)


def add_tensor(header, data, name, dtype, shape):
    count = SIZE[dtype]
    for extent in shape:
        count *= extent
    grown = {**header, name: {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + count]}}
    return grown, data + bytes(count)
