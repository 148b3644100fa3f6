"""Writes the clips of this folder and frames.json, what PyAV decodes of them: python tests/data/video/make.py (needs av, numpy and Pillow).

frames.json: {file: {"width", "height", "frames", "fps", "blocks": {number of a frame: mean colour of 4 x 3 blocks, row by row}}}, the frames upright.
"""
import io
import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[2] / "examples"


def pixels(i, width, height):
    """A square that walks over slopes of colour."""
    y, x = np.mgrid[0:height, 0:width]
    out = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, i * 5 % 256)], -1).astype(np.uint8)
    out[height // 3 : height // 3 + 12, 2 * i % (width - 12) : 2 * i % (width - 12) + 12] = (250, 240, 20)
    return out


def clip(path, n=48, fps=12, size=(64, 48), codec="libx264", pix="yuv420p", times=None, **options):
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt, stream.options = *size, pix, {k: str(v) for k, v in options.items()}
        if times:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(pixels(i, *size), format="rgb24")
            if times:
                frame.pts, frame.time_base = int(times[i] * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def camera(path):
    """What a camera sends that looks at two of the examples in turn, two seconds each: a key frame each time, and no frame that waits for a later one."""
    with av.open(str(path), "w", format="h264") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 360, 240, "yuv420p"
        stream.options = {"tune": "zerolatency", "g": "20", "crf": "24", "x264-params": "slices=1:threads=1:scenecut=0"}
        for name in ("receipt.jpg", "screenshot.png"):
            shown = Image.new("RGB", (360, 240), "white")
            shown.paste(Image.open(EXAMPLES / name))
            for _ in range(20):
                out.mux(stream.encode(av.VideoFrame.from_image(shown)))
        out.mux(stream.encode())


def reading(path, codec, pix="yuv420p", **options):
    """One of the examples, twice: what a model reads of it tells whether it was decoded."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=4)
        stream.width, stream.height, stream.pix_fmt, stream.options = 192, 192, pix, {k: str(v) for k, v in options.items()}
        stream.codec_context.thread_count = 1  # the same bytes each time
        shown = Image.open(EXAMPLES / "receipt.jpg").convert("RGB").resize((192, 192))
        for _ in range(2):
            out.mux(stream.encode(av.VideoFrame.from_image(shown)))
        out.mux(stream.encode())


def turn(source, target, matrix):
    """A copy of an MP4 file whose track header has this display matrix (a, b, c, d)."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (v << 16 for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(data)


def sound(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 16000, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode())


def blocks(image):
    h, w = image.shape[0] // 3, image.shape[1] // 4
    return [[round(float(v), 1) for v in image[r * h : r * h + h, c * w : c * w + w].mean((0, 1))] for r in range(3) for c in range(4)]


def main():
    clip(HERE / "b-frames.mp4", g=12, bf=3, crf=24)
    turn(HERE / "b-frames.mp4", HERE / "turned.mp4", (0, 1, -1, 0))
    clip(HERE / "uneven.mkv", times=[i * 0.1 + (i // 5) * 0.13 for i in range(48)], g=8, bf=2, crf=24)
    clip(HERE / "walk.webm", n=24, codec="libvpx-vp9", crf=40)
    clip(HERE / "walk.gif", n=6, fps=4, size=(32, 24), codec="gif", pix="rgb8")
    reading(HERE / "text-hevc.mp4", "libx265", crf=30, **{"x265-params": "log-level=none:pools=1:frame-threads=1"})
    reading(HERE / "text-av1.mp4", "libsvtav1", crf=40, **{"svtav1-params": "lp=1"})
    reading(HERE / "text-mjpeg.avi", "mjpeg", pix="yuvj420p", qmin=8, qmax=8)
    sound(HERE / "sound.m4a")
    camera(HERE / "camera.h264")
    facts = {}
    for path in sorted(HERE.glob("*")):
        if path.suffix in (".py", ".json", ".m4a", ".h264"):
            continue
        with av.open(str(path)) as container:
            fps = float(container.streams.video[0].average_rate)
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        if path.stem == "turned":
            frames = [np.rot90(frame, -1) for frame in frames]
        height, width = frames[0].shape[:2]
        facts[path.name] = {"width": width, "height": height, "frames": len(frames), "fps": fps,
                            "blocks": {i: blocks(frames[i]) for i in (0, 1, len(frames) // 2, len(frames) - 1)}}  # fmt: skip
    text = io.StringIO()
    json.dump(facts, text, indent=1)
    (HERE / "frames.json").write_text(text.getvalue() + "\n")


if __name__ == "__main__":
    main()
