#!/usr/bin/env python3
"""A camera on this machine: shows a file of bare H.264 over RTSP, in real time and again and again, whether or not anybody looks.

    python3 tests/cli/rtsp.py tests/data/video/camera.h264 --transport both      # prints its address, then what happens

`--transport` is what it offers, as cameras do that know tcp (RTP between the lines of RTSP), udp or both. Of each client it says which of them
it plays, and when its first key frame was sent. Debian's GStreamer server would do the same with 100 MB of packages.
"""
import argparse
import base64
import re
import socket
import socketserver
import struct
import threading
import time
from pathlib import Path

FPS, CLOCK, MOST = 10, 90_000, 1400  # frames a second; ticks of RTP a second; bytes in a packet
BEGUN = time.monotonic()
SPS, PPS, KEY, PICTURE = 7, 8, 5, 1  # kinds of NAL units


def frames_of(data):
    """-> [the NAL units of a frame]: what stands before a picture belongs to it"""
    out, units = [], []
    for unit in re.split(rb"\x00?\x00\x00\x01", data)[1:]:
        units.append(unit)
        if unit[0] & 31 in (KEY, PICTURE):
            out.append(units)
            units = []
    return out


class Packets:
    """The RTP packets of frames, as RFC 6184 cuts them."""

    def __init__(self):
        self.sequence = 65_000  # soon begins anew

    def packet(self, payload, number, is_last):
        self.sequence = (self.sequence + 1) % 65_536
        return struct.pack(">BBHII", 0x80, is_last << 7 | 96, self.sequence, number * CLOCK // FPS % 2**32, 0x0C0FFEE0) + payload

    def of(self, units, number):
        for unit in units:
            is_last = unit is units[-1]
            if len(unit) <= MOST:
                yield self.packet(unit, number, is_last)
                continue
            parts = [unit[i : i + MOST] for i in range(1, len(unit), MOST)]
            for i, part in enumerate(parts):
                ends = i == len(parts) - 1
                head = bytes([unit[0] & 0x60 | 28, (i == 0) << 7 | ends << 6 | unit[0] & 31])
                yield self.packet(head + part, number, is_last and ends)


class Client(socketserver.StreamRequestHandler):
    """One connection. Its picture begins where the camera is, which is rarely a key frame."""

    def setup(self):
        super().setup()
        self.writing, self.gone, self.send, self.chosen = threading.Lock(), threading.Event(), None, None

    def handle(self):
        try:
            while request := self.read_request():
                self.answer(*request)
        except OSError:
            pass
        self.gone.set()

    def read_request(self):
        """-> (method, headers), past the reports that a client sends between its requests"""
        while (first := self.rfile.read(1)) == b"$":
            self.rfile.read(struct.unpack(">xH", self.rfile.read(3))[0])
        line, headers = first + self.rfile.readline(), {}
        while field := self.rfile.readline().strip():
            name, _, value = field.decode().partition(":")
            headers[name.lower()] = value.strip()
        return (line.split()[0].decode(), headers) if line.strip() else None

    def write(self, data):
        with self.writing:
            self.request.sendall(data)

    def reply(self, headers, status="200 OK", body="", **more):
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers['cseq']}", "Session: 1", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        self.write("\r\n".join([*lines, "", body]).encode())

    def answer(self, method, headers):
        if method == "OPTIONS":
            self.reply(headers, Public="OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        elif method == "DESCRIBE":
            sets = ",".join(base64.b64encode(self.server.unit(kind)).decode() for kind in (SPS, PPS))
            lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0", "m=video 0 RTP/AVP 96", "a=control:track1",
                     f"a=rtpmap:96 H264/{CLOCK}", f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}", ""]  # fmt: skip
            self.reply(headers, body="\r\n".join(lines), Content_Type="application/sdp")
        elif method == "SETUP":
            self.set_up(headers, headers["transport"])
        elif method == "PLAY":
            self.reply(headers)
            print("play", self.chosen, flush=True)
            threading.Thread(target=self.play, daemon=True).start()
        else:
            self.reply(headers)

    def set_up(self, headers, wanted):
        self.chosen = "tcp" if "RTP/AVP/TCP" in wanted else "udp"
        if self.server.transport not in (self.chosen, "both") or "multicast" in wanted:
            return self.reply(headers, "461 Unsupported Transport")
        if self.chosen == "tcp":
            self.send = lambda packet: self.write(struct.pack(">BBH", ord("$"), 0, len(packet)) + packet)
            return self.reply(headers, Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
        port = int(re.search(r"client_port=(\d+)", wanted)[1])
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        mine = udp.getsockname()[1]
        self.send = lambda packet: udp.sendto(packet, (self.client_address[0], port))
        return self.reply(headers, Transport=f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port={mine}-{mine + 1}")

    def play(self):
        packets, number, is_seen = Packets(), int((time.monotonic() - BEGUN) * FPS), False
        try:
            while not self.gone.wait(max(0, BEGUN + number / FPS - time.monotonic())):
                units = self.server.frames[number % len(self.server.frames)]
                if not is_seen and units[-1][0] & 31 == KEY:
                    is_seen = True
                    print("key", time.time(), flush=True)
                for packet in packets.of(units, number):
                    self.send(packet)
                number += 1
        except OSError:  # the client has left
            pass


class Camera(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, file, port, transport):
        self.frames, self.transport = frames_of(Path(file).read_bytes()), transport
        super().__init__(("127.0.0.1", port), Client)

    def unit(self, kind):
        return next(unit for unit in self.frames[0] if unit[0] & 31 == kind)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--transport", choices=["tcp", "udp", "both"], default="both")
    with Camera(**vars(arguments.parse_args())) as camera:
        print(f"rtsp://127.0.0.1:{camera.server_address[1]}/camera", flush=True)
        camera.serve_forever()
