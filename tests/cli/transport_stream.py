#!/usr/bin/env python3
"""A camera on this machine: sends a file of bare H.264 as an MPEG transport stream (ISO 13818-1), in real time and again and again.

    python3 tests/cli/transport_stream.py tests/data/video/camera.h264 srt            # waits for a caller; prints its address
    python3 tests/cli/transport_stream.py tests/data/video/camera.h264 udp --port N   # sends to that port of this machine

SRT is spoken by the library that Debian's FFmpeg brings along.
"""
import argparse
import ctypes
import socket
import struct
import time
from pathlib import Path

from rtsp import FPS, frames_of

PMT_PID, PICTURES_PID, CLOCK = 0x1000, 0x100, 90_000
PACKETS = 7  # of 188 bytes in what is sent at once, as everybody does


def crc32(data):
    """CRC-32/MPEG-2"""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def section(table, number, body):
    head = struct.pack(">BHHBBB", table, 0xB000 | 5 + len(body) + 4, number, 0xC1, 0, 0)
    return b"\0" + head + body + struct.pack(">I", crc32(head + body))


PAT = section(0, 1, struct.pack(">HH", 1, 0xE000 | PMT_PID))
PMT = section(2, 1, struct.pack(">HH", 0xE000 | PICTURES_PID, 0xF000) + struct.pack(">BHH", 0x1B, 0xE000 | PICTURES_PID, 0xF000))


class Muxer:
    def __init__(self):
        self.counters = {}

    def packets(self, pid, payload, pcr=None):
        """Payload in packets of 188 bytes; what is left of the last is filled up in its adaptation field."""
        out, first = [], True
        while payload:
            count = self.counters[pid] = (self.counters.get(pid, -1) + 1) % 16
            field = b"" if pcr is None or not first else struct.pack(">BIH", 0x10, pcr >> 1, (pcr & 1) << 15 | 0x7E00)
            room = 184 - (1 + len(field) if field else 0)
            if len(payload) < room:
                field = field or (b"\0" if len(payload) < 183 else b"")
                field += b"\xff" * (183 - len(field) - len(payload))
                has_field = True
            else:
                has_field = bool(field)
            space = 184 - (1 + len(field) if has_field else 0)
            head = struct.pack(">BHB", 0x47, first << 14 | pid, (0x30 if has_field else 0x10) | count)
            out.append(head + (bytes([len(field)]) + field if has_field else b"") + payload[:space])
            payload, first = payload[space:], False
        assert all(len(packet) == 188 for packet in out)
        return out

    def frame(self, units, number):
        time_stamp = CLOCK + number * CLOCK // FPS & (1 << 33) - 1
        pts = struct.pack(">BHH", 0x21 | time_stamp >> 29 & 14, time_stamp >> 14 & 0xFFFE | 1, time_stamp << 1 & 0xFFFE | 1)
        pictures = b"".join(b"\0\0\0\1" + unit for unit in [b"\x09\xf0", *units])
        out = self.packets(0, PAT + b"\xff" * (184 - len(PAT))) + self.packets(PMT_PID, PMT + b"\xff" * (184 - len(PMT)))
        return out + self.packets(PICTURES_PID, b"\0\0\1\xe0\0\0\x80\x80\5" + pts + pictures, time_stamp - CLOCK // 2)


class Srt:
    """Listens; sends to who has called."""

    def __init__(self, port):
        self.lib = ctypes.CDLL("libsrt-gnutls.so.1.5")
        self.lib.srt_startup()
        self.listening = self.lib.srt_create_socket()
        address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton("127.0.0.1"))
        if self.lib.srt_bind(self.listening, address, len(address)) or self.lib.srt_listen(self.listening, 1):
            raise OSError("SRT: cannot listen")
        name, size = ctypes.create_string_buffer(128), ctypes.c_int(128)
        self.lib.srt_getsockname(self.listening, name, ctypes.byref(size))
        print(f"srt://127.0.0.1:{struct.unpack('>H', name.raw[2:4])[0]}", flush=True)
        self.accept()

    def accept(self):
        self.caller = self.lib.srt_accept(self.listening, ctypes.create_string_buffer(128), ctypes.byref(ctypes.c_int(128)))
        print("called", flush=True)

    def send(self, data):
        if self.lib.srt_send(self.caller, data, len(data)) < 0:
            self.lib.srt_close(self.caller)
            self.accept()


class Udp:
    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = ("127.0.0.1", port)
        print(f"udp://127.0.0.1:{port}", flush=True)

    def send(self, data):
        try:
            self.socket.sendto(data, self.address)
        except ConnectionRefusedError:  # nobody listens
            pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("carrier", choices=["srt", "udp"])
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    frames, muxer = frames_of(Path(arguments.file).read_bytes()), Muxer()
    to = (Srt if arguments.carrier == "srt" else Udp)(arguments.port)
    begun, number = time.monotonic(), 0
    while True:
        time.sleep(max(0, begun + number / FPS - time.monotonic()))
        packets = muxer.frame(frames[number % len(frames)], number)
        for i in range(0, len(packets), PACKETS):
            to.send(b"".join(packets[i : i + PACKETS]))
        number += 1
