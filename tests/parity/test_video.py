"""Videos against transformers (frames, words, pixels, answers) and PyAV (the decoded frames), on clips that are made here.

The table of frames and words is also a golden of src/models/smolvlm/video_test.cc; `python tests/parity/test_video.py` writes it again.
Needs the programs video_probe and onsight: $ONSIGHT_VIDEO_PROBE and $ONSIGHT_BIN, or those in build/.
"""
import json
import os
import random
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from make_checkpoint import Spec, write
from reference import Reference
from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor
from transformers.video_utils import VideoMetadata, load_video

ROOT = Path(__file__).resolve().parents[2]
PROBE = os.environ.get("ONSIGHT_VIDEO_PROBE", ROOT / "build/video_probe")
BINARY = os.environ.get("ONSIGHT_BIN", ROOT / "build/onsight")
GOLDEN = ROOT / "tests/golden/video_frames.json"


class Words:
    """As much of a processor as the text of a video needs; "#" stands for each frame's tokens."""

    image_seq_len, image_token, fake_image_token, global_image_token = 0, "", "", "#"


def table():
    """Rows [frames, fps, duration, asked fps, most frames, numbers of the frames, text]."""
    r = random.Random(5)
    processor = SmolVLMVideoProcessor()
    rows = []
    for _ in range(260):
        fps = r.choice([0.5, 1, 10, 24000 / 1001, 24, 25, 30000 / 1001, 30, 60000 / 1001, 120, r.uniform(0.1, 240)])
        frames = int(r.choice([1, 2, 3, r.randint(4, 30), r.randint(30, 1000), r.randint(1000, 200_000), r.randint(100_000, 12_000_000)]))
        duration = frames / fps if r.random() < 0.9 else frames / fps * r.uniform(0.5, 2)
        asked = r.choice([1, 1, 0.5, 2, 0.1, 30, round(r.uniform(0.01, 10), 3)])
        most = r.choice([64, 1, 2, 3, 5, 8, 8, 12, 12, 16, 20, 21, 32]) if rows else 1234
        if not rows:
            frames, fps, duration, asked = 1_000_000, 25.0, 40_000.0, 1
        metadata = VideoMetadata(total_num_frames=frames, fps=fps, duration=duration)
        numbers = processor.sample_frames(metadata, num_frames=most, fps=asked)
        metadata.frames_indices = numbers
        inputs = {"pixel_values": np.zeros((1, len(numbers))), "video_metadata": [metadata]}
        text = SmolVLMProcessor.replace_video_token(Words(), inputs, 0)
        if len(numbers) > 1000:
            text = text[: text.index("\n") + 1]
            numbers = numbers[-3:]
        rows.append([frames, fps, duration, asked, most, numbers.tolist(), text])
    return rows


def test_frames_and_words_are_those_of_the_golden():
    assert json.loads(GOLDEN.read_text()) == table()


def make(path, n=60, fps=10, size=(64, 48), codec="libx264", pix="yuv420p", container=None, times=None, matrix=None, tags=None, **options):
    """Writes a clip: a slope of colours that moves; `times`: seconds of each frame, where they are not even."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt, stream.options = *size, pix, {k: str(v) for k, v in options.items()}
        stream.codec_context.thread_count = 1  # the same bytes each time
        if times:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        y, x = np.mgrid[0 : size[1], 0 : size[0]]
        for i in range(n):
            pixels = np.stack([(x * 4 + i * 9) % 256, (y * 5 + i * 3) % 256, (i * 16 + 0 * x) % 256], -1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times:
                frame.pts, frame.time_base = int(times[i] * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


CLIPS = {
    "b-frames.mp4": {"g": 12, "bf": 3},
    "one-key.mp4": {"g": 999, "bf": 2},
    "open-gop.mp4": {"g": 8, "bf": 3, "x264-params": "open-gop=1:scenecut=0"},
    "every-key.mov": {"codec": "mjpeg", "pix": "yuvj420p"},
    "odd-size.mp4": {"size": (66, 50), "bf": 2},
    "10-bit.mp4": {"pix": "yuv420p10le"},
    "444.mp4": {"pix": "yuv444p"},
    "bt709.mp4": {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709", "size": (128, 96)},
    "full-range.mp4": {"x264-params": "fullrange=on"},
    "hevc.mp4": {"codec": "libx265", "x265-params": "log-level=none:keyint=10"},
    "hevc.mkv": {"codec": "libx265", "x265-params": "log-level=none:keyint=10"},
    "vp8.webm": {"codec": "libvpx", "auto-alt-ref": 0},
    "vp9.webm": {"codec": "libvpx-vp9", "auto-alt-ref": 1, "lag-in-frames": 12},
    "av1.mp4": {"codec": "libsvtav1", "preset": 12},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pix": "yuvj420p"},
    "transport.ts": {"g": 12, "bf": 2},
    "uneven.mkv": {"times": [i * 0.1 + (i // 5) * 0.13 for i in range(60)], "g": 8, "bf": 2},
    "uneven.mp4": {"times": [i * 0.1 + (i // 5) * 0.13 for i in range(60)], "g": 8, "bf": 2},
    "fragments.mp4": {"container": "mp4", "g": 12, "fragments": True},
    "small.gif": {"codec": "gif", "pix": "rgb8"},
    "raw.h264": {"g": 12, "bf": 2, "container": "h264"},
    "ntsc.mp4": {"fps": Fraction(30000, 1001), "n": 90},
    "one-frame.mp4": {"n": 1},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")

    def clip(name):
        path = folder / name
        if not path.exists():
            options = dict(CLIPS[name])
            if options.pop("fragments", False):
                whole = make(folder / "whole.mp4", **options)
                with av.open(str(whole)) as source, av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as out:
                    stream = out.add_stream_from_template(source.streams.video[0])
                    for packet in source.demux(video=0):
                        if packet.dts is not None:
                            packet.stream = stream
                            out.mux(packet)
            else:
                make(path, **options)
        return path

    return clip


def frames_of(path, numbers):
    done = subprocess.run([PROBE, "frames", path, ",".join(map(str, numbers))], capture_output=True, check=True, timeout=60)
    out, rest = {}, done.stdout
    while rest:
        end = rest.index(b"\n")
        number, width, height = map(int, rest[:end].split())
        size = width * height * 3
        out[number] = np.frombuffer(rest[end + 1 : end + 1 + size], np.uint8).reshape(height, width, 3)
        rest = rest[end + 1 + size :]
    return out


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_that_pyav_decodes(clips, name):
    path = clips(name)
    with av.open(str(path)) as container:
        want = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    n = len(want)
    facts = subprocess.run([PROBE, "facts", path], capture_output=True, text=True, check=True).stdout.split()
    assert list(map(int, facts[:3])) == [want[0].shape[1], want[0].shape[0], n]
    r = random.Random(name)
    for numbers in (range(n), [n - 1], [n // 2], range(0, n, 7), *(sorted(r.sample(range(n), min(n, 5))) for _ in range(6))):
        got = frames_of(path, numbers)
        assert list(got) == list(numbers)
        for i in numbers:
            difference = np.abs(got[i].astype(int) - want[i])
            # FFmpeg's versions interpolate the colours of 10 bits differently.
            same = difference.mean() < 2 if name == "10-bit.mp4" else difference.max() <= 1
            assert same, f"frame {i} of {list(numbers)} differs by {difference.max()}, {difference.mean():.2f} on average"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write(Spec(seed=3), folder)
    return Reference(folder)


def inputs_of(reference, paths, question, **options):
    processor = reference.processor
    loaded = [load_video(str(path), backend="pyav") for path in paths]
    content = [{"type": "video"} for _ in paths] + [{"type": "text", "text": question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor(
        text=text, videos=[video for video, _ in loaded], video_metadata=[metadata for _, metadata in loaded],
        do_sample_frames=True, return_tensors="pt", **{"fps": 1, "num_frames": 64, **options},
    )  # fmt: skip


@pytest.mark.parametrize(
    "names, options",
    [
        (["b-frames.mp4"], {}),
        (["b-frames.mp4"], {"fps": 5}),
        (["ntsc.mp4"], {"num_frames": 2}),
        (["uneven.mp4"], {"fps": 2.5}),
        (["odd-size.mp4"], {"fps": 3}),
        (["mjpeg.avi"], {}),
        (["small.gif"], {"fps": 2}),
        (["av1.mp4"], {"num_frames": 1}),
        (["one-frame.mp4"], {}),
        (["b-frames.mp4", "odd-size.mp4", "one-frame.mp4"], {}),
    ],
)
def test_prompt_pixels_and_answer_are_those_of_transformers(reference, clips, tmp_path, names, options):
    paths = [clips(name) for name in names]
    want = inputs_of(reference, paths, "What happens?", **options)
    arguments = ["--model", reference.folder, "--quant", "none", "What happens?"]
    for path in paths:
        arguments += ["--video", path]
    for option, name in (("fps", "--fps"), ("num_frames", "--max-frames")):
        if option in options:
            arguments += [name, options[option]]
    arguments = list(map(str, arguments))
    subprocess.run([BINARY, "trace", *arguments, "--out", tmp_path], check=True, timeout=120)
    ids, pixels = np.load(tmp_path / "input_ids.npy"), np.load(tmp_path / "pixel_values.npy")
    np.testing.assert_array_equal(ids, want["input_ids"][0].numpy())
    there = want["pixel_values"].numpy().any((2, 3, 4))  # the shorter videos are filled up with black
    difference = np.abs(pixels - want["pixel_values"].numpy()[there]) * 127.5  # of 255
    assert difference.max() <= 3 and difference.mean() <= 0.05, (difference.max(), difference.mean())

    done = subprocess.run([BINARY, "ask", *arguments, "--max-tokens", "32", "--json"], capture_output=True, check=True, timeout=120)
    # Of the pixels as they are here: one that differs by 1 of 255 may turn a choice that hardly leads.
    want["pixel_values"][torch.from_numpy(there)] = torch.from_numpy(pixels)
    answer = reference.model.generate(**want, do_sample=False, max_new_tokens=32)[0, len(ids) :]
    assert json.loads(done.stdout)["text"] == reference.processor.tokenizer.decode(answer, skip_special_tokens=True).removeprefix(" ")


if __name__ == "__main__":
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(row) for row in table()) + "\n]\n")
