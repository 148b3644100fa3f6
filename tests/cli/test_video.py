"""Videos on the command line: what of them is asked for, and what is refused."""
import json
from pathlib import Path

import pytest

VIDEO = Path(__file__).resolve().parents[1] / "data" / "video"
CLIP = VIDEO / "b-frames.mp4"


@pytest.fixture
def ask(scripted, model, tmp_path):
    """ask(arguments...) -> parts of the user's message"""

    def run(*arguments, **more):
        log = tmp_path / "requests"
        done = scripted("ask", "--model", model, *arguments, script={"log": str(log)}, **more)
        assert done.returncode == 0, done.stderr
        return json.loads(log.read_text().splitlines()[-1])["messages"][-1]["parts"]

    return run


def test_a_video_comes_first(ask):
    assert ask("--video", CLIP, "What moves?") == ["<64x48, 48 at 12/s>", "What moves?"]
    assert ask("-v", CLIP, "-v", VIDEO / "walk.gif", "Now {video}, before {video}.") == [
        "Now ", "<64x48, 48 at 12/s>", ", before ", "<32x24, 6 at 4/s>", "."]  # fmt: skip


def test_without_a_prompt_the_video_is_described(ask):
    for prompt in ([], ["{video}"], [" {video}\n"]):
        assert ask("--video", CLIP, *prompt) == ["<64x48, 48 at 12/s>", "Describe this video."]


def test_a_video_that_was_filmed_upright_stands_upright(ask):
    assert ask("--video", VIDEO / "turned.mp4")[0] == "<48x64, 48 at 12/s>"


def test_what_of_it_is_looked_at(ask):
    assert ask("--video", CLIP, "--fps", "2.5", "--max-frames", "7")[0] == "<64x48, 48 at 12/s, fps 2.5, most 7>"
    assert ask("--video", CLIP, "--start", "1.5", "--end", "0:03")[0] == "<64x48, 48 at 12/s, from 1.5 to 3>"
    assert ask("--video", CLIP, "--end", "1:02:03.5")[0] == "<64x48, 48 at 12/s, from 0 to 3723.5>"


def test_video_from_standard_input(ask):
    assert ask("--video", "-", input=CLIP.read_bytes())[0] == "<64x48, 48 at 12/s>"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--video", ""], "--video: expected a file, found nothing"),
        (["--fps", "2", "Hello?"], "--fps: expected a video (--video FILE) beside it"),
        (["--end", "2", "Hello?"], "--end: expected a video (--video FILE) beside it"),
        (["--video", CLIP, "--start", "1:75"], "--start: expected seconds or H:MM:SS, found '1:75'"),
        (["--video", CLIP, "--start", "soon"], "--start: expected seconds or H:MM:SS, found 'soon'"),
        (["--video", CLIP, "--start", "1:2:3:4"], "--start: expected seconds or H:MM:SS, found '1:2:3:4'"),
        (["--video", CLIP, "--start", "1.2.3"], "--start: expected seconds or H:MM:SS, found '1.2.3'"),
        (["--video", CLIP, "--start", "3", "--end", "2"], "--end: expected a time after --start, found '2'"),
        (["--video", CLIP, "--image", CLIP], "--image and --video exclude each other: a conversation shows one kind"),
        (["--video", "-", "-"], "standard input can be read once only, expected - for one picture, one video or the prompt"),
        (["--video", CLIP, "{video} {video}"], "prompt: 2 times {video}, expected once for each of the 1 videos or not at all"),
    ],
)
def test_wrong_usage(scripted, model, arguments, sentence):
    done = scripted("ask", "--model", model, *arguments)
    assert done.returncode == 2 and sentence in done.stderr


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("sound.m4a", "sound.m4a: holds sound alone, expected a video"),
        ("make.py", "make.py: not a video, expected MP4, MOV, WebM"),
        ("missing.mp4", "missing.mp4: No such file or directory"),
        (".", "expected a file"),
    ],
)
def test_bad_videos(scripted, model, name, sentence):
    done = scripted("ask", "--model", model, "--video", VIDEO / name)
    assert done.returncode == 3 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_the_shipped_model_looks_at_a_video(onsight):
    done = onsight("ask", "--video", CLIP, "--max-frames", "3", "--max-tokens", "8", "--json")
    answer = json.loads(done.stdout)
    assert answer["prompt_tokens"] > 3 * 144 and answer["finish_reason"] in ("stop", "length")


def test_more_frames_than_the_context_holds_are_refused_before_they_are_decoded(onsight):
    done = onsight("ask", "--video", CLIP, "--fps", "12", "--max-frames", "64")
    assert done.returncode == 3
    assert "video: 48 frames take 6912 tokens, expected fewer than the model's context of 1024" in done.stderr


def test_a_part_that_is_not_there(onsight):
    done = onsight("ask", "--video", CLIP, "--start", "1:00")
    assert done.returncode == 3 and f"{CLIP}: nothing between 60 and 4 s, expected a part of its 4.00 s" in done.stderr


def test_without_ffmpeg_one_sentence_says_so(onsight, tmp_path):
    for version in range(55, 70):
        (tmp_path / f"libavutil.so.{version}").write_bytes(b"not a library" * 100)
    done = onsight("ask", "--video", CLIP, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "video: no libavutil.so." in done.stderr and "expected FFmpeg's libraries" in done.stderr
    picture = onsight("ask", "--image", VIDEO.parents[2] / "examples" / "receipt.jpg", "--max-tokens", "1", env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert picture.returncode == 0
