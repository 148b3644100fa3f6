"""watch: videos, pictures, folders and streams, what has not changed, and what happens when the answer does."""
import ctypes
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime

import pytest

from conftest import ROOT
from pictures import png

CLIPS = ROOT / "tests/data/video"
RECEIPT, SCREEN = ROOT / "examples/receipt.jpg", ROOT / "examples/screenshot.png"
READ = ("--ask", "Read the text.", "--every", "50ms", "--json")


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def watch(onsight):
    """Starts a watch; .row() is its next line, .end() stops it and gives what else it said."""
    started = []

    class Watch:
        def __init__(self, *arguments, env=None):
            self.process = onsight.start("watch", *arguments, env=env)
            started.append(self.process)

        def row(self, seconds=20):
            line = []
            thread = threading.Thread(target=lambda: line.append(self.process.stdout.readline()), daemon=True)
            thread.start()
            thread.join(seconds)
            assert line and line[0], self.process.stderr.read() if self.process.poll() is not None else "no line came"
            return json.loads(line[0])

        def end(self, code=0):
            self.process.send_signal(signal.SIGINT)
            out, errors = self.process.communicate(timeout=20)
            assert self.process.returncode == code, errors
            return rows(out.decode()), errors.decode()

    yield Watch
    for process in started:
        process.kill()
        process.communicate()


def test_a_video_by_its_own_time(onsight):
    done = onsight("watch", CLIPS / "b-frames.mp4", "--every", "500ms", "--min-change", 0, "--json", "--stats", "--max-tokens", 4)
    assert done.returncode == 0, done.stderr
    looks = rows(done.stdout)
    assert [r["time"] for r in looks] == [f"0:00:0{t // 2}.{5 * (t % 2)}00" for t in range(len(looks))]
    assert len(looks) >= 3 and all(r["read"] for r in looks)
    assert all(0 < r["confidence"] <= 1 and r["latency_ms"] > 0 for r in looks)
    assert re.fullmatch(rf"{len(looks)} looks, {len(looks)} read in \d+\.\d\d s each; 0 had not changed, which saved 0\.0 s\n", done.stderr)
    # The same frames as one who asks about each: answers and confidence do not depend on what came before.
    first = onsight("ask", "--video", CLIPS / "b-frames.mp4", "--max-frames", 1, "--max-tokens", 4)
    assert first.returncode == 0
    # Nothing is so different as 255: one is read.
    done = onsight("watch", CLIPS / "b-frames.mp4", "--every", "500ms", "--min-change", 255, "--json", "--max-tokens", 4)
    again = rows(done.stdout)
    assert [r["read"] for r in again] == [True] + [False] * (len(looks) - 1)
    assert {r["answer"] for r in again} == {looks[0]["answer"]} and done.stderr == ""
    assert [r["changed"] for r in again] == [True] + [False] * (len(looks) - 1)
    # Only what is new.
    done = onsight("watch", CLIPS / "b-frames.mp4", "--every", "500ms", "--min-change", 255, "--on-change", "--max-tokens", 4)
    assert re.fullmatch(r"0:00:00\.000  .*  [01]\.\d\d  \d+ ms\n", done.stdout)


def test_a_folder_that_fills(watch, tmp_path):
    inbox, log = tmp_path / "inbox", tmp_path / "log"
    inbox.mkdir()
    shutil.copy(RECEIPT, inbox / "b.jpg")
    seen = watch(inbox, *READ, "--exec", f'printf "%s|%s|%s\\n" "$ONSIGHT_BEFORE" "$ONSIGHT_ANSWER" "$ONSIGHT_FILE" >> {log}; echo said')
    first = seen.row()
    assert first["file"] == str(inbox / "b.jpg") and first["answer"].startswith("Bread") and first["changed"] and first["confidence"] > 0.8
    assert abs(datetime.fromisoformat(first["time"].replace("Z", "+00:00")).timestamp() - time.time()) < 60
    # The same picture under another name shows nothing new.
    shutil.copy(RECEIPT, inbox / "c.jpg")
    same = seen.row()
    assert same["file"] == str(inbox / "c.jpg") and not same["read"] and not same["changed"] and same["answer"] == first["answer"]
    assert same["latency_ms"] < first["latency_ms"]
    # One that is being written is waited for.
    data = SCREEN.read_bytes()
    with open(inbox / "a.png", "wb") as f:
        f.write(data[:2000])
        f.flush()
        time.sleep(0.3)
        f.write(data[2000:])
    other = seen.row()
    assert other["file"] == str(inbox / "a.png") and other["read"] and other["changed"] and "Battery" in other["answer"]
    # One that never becomes a picture is said once, and the others go on.
    (inbox / "d.png").write_bytes(b"no picture")
    (inbox / "e.txt").write_text("nor this")
    time.sleep(1.4)
    (inbox / "f.png").write_bytes(png(40, 30))
    assert seen.row()["file"] == str(inbox / "f.png")
    end = time.monotonic() + 10
    while log.read_text().count("/inbox/") < 2 and time.monotonic() < end:  # Ctrl-C would end the command, too
        time.sleep(0.02)
    time.sleep(0.1)
    rest, errors = seen.end()
    assert rest == []
    complaints = [line for line in errors.splitlines() if "d.png" in line]
    assert len(complaints) == 1 and errors.count("said\n") == 2 and len(errors.splitlines()) <= 4
    told = log.read_text()
    assert told.startswith(f"{first['answer']}|{other['answer']}|{inbox / 'a.png'}\n")


def test_a_picture_that_is_written_again(watch, tmp_path):
    shot = tmp_path / "shot"
    shutil.copy(RECEIPT, shot)
    seen = watch(shot, *READ, "--on-change")
    assert seen.row()["answer"].startswith("Bread")
    shutil.copy(SCREEN, tmp_path / "next")
    os.replace(tmp_path / "next", shot)
    assert "Battery" in seen.row()["answer"]
    os.replace(shot, tmp_path / "away")
    time.sleep(0.3)
    os.replace(tmp_path / "away", shot)  # as it was, its time too
    time.sleep(0.3)
    shutil.copy(RECEIPT, tmp_path / "next")
    os.replace(tmp_path / "next", shot)
    assert seen.row()["answer"].startswith("Bread")
    rest, errors = seen.end()
    assert rest == [] and errors.count("\n") == 1 and str(shot) in errors


@pytest.fixture
def camera():
    """A stream over HTTP that ends again and again; .open says whether anybody is there."""

    class Camera(http.server.BaseHTTPRequestHandler):
        seen, is_open, type, bytes = 0, True, "video/webm", (CLIPS / "walk.webm").read_bytes()

        def log_message(self, *_):
            pass

        def do_GET(self):
            if not Camera.is_open:
                return self.send_error(503)
            Camera.seen += 1
            self.send_response(200)
            self.send_header("Content-Type", Camera.type)
            self.end_headers()
            self.wfile.write(Camera.bytes)
            return None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Camera.url = f"http://127.0.0.1:{server.server_port}/live"
    yield Camera
    server.shutdown()
    server.server_close()


def test_an_address_of_one_picture_at_a_time(watch, camera):
    """Is fetched anew for each look, without a word, until it is not there."""
    camera.type, camera.bytes = "image/jpeg", RECEIPT.read_bytes()
    seen = watch(camera.url, "--every", "300ms", "--json", "--ask", "Read the text.", "--max-tokens", 12)
    looks = [seen.row(), seen.row()]
    assert [row["read"] for row in looks] == [True, False]
    camera.type, camera.bytes = "image/png", SCREEN.read_bytes()
    while not looks[-1]["read"]:
        looks.append(seen.row())
    assert looks[-1]["answer"] != looks[0]["answer"]
    camera.is_open = False
    time.sleep(1)
    camera.is_open = True
    looks += [seen.row() for _ in range(4)]
    more, errors = seen.end()
    assert camera.seen - len(looks + more) in (0, 1)
    assert [line.rsplit(", ", 1)[-1] for line in errors.splitlines()] == ["trying again", f"onsight: {camera.url}: there again"]


def test_a_stream_that_drops_is_taken_up_again(watch, camera):
    seen = watch(camera.url, "--every", "50ms", "--json", "--max-tokens", 2)
    for _ in range(2):
        seen.row()
    while camera.seen < 3:
        seen.row()
    camera.is_open = False
    time.sleep(0.5)
    camera.is_open = True
    before = camera.seen
    while camera.seen == before:
        time.sleep(0.05)
    for _ in range(2):
        seen.row()
    _, errors = seen.end()
    assert errors.count("the stream has ended, trying again") >= 2 and "there again" in errors


@pytest.fixture
def rtsp(tmp_path):
    """rtsp("both") starts a camera that offers TCP and UDP, rtsp("both", port) one that was there before. It has .url, .port and .told("play"), how each client wants it."""
    started = []

    class Rtsp:
        def __init__(self, transport, port=0):
            self.log = tmp_path / f"camera-{len(started)}"
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen([sys.executable, ROOT / "tests/cli/rtsp.py", CLIPS / "camera.h264", "--transport", transport, "--port", str(port)], stdout=log)
            started.append(self.process)
            end = time.monotonic() + 20
            while not self.log.read_text().endswith("\n"):
                assert time.monotonic() < end and self.process.poll() is None
                time.sleep(0.02)
            self.url = self.log.read_text().split()[0]
            self.port = int(re.search(r":(\d+)/", self.url)[1])

        def told(self, what):
            return [words[1] for line in self.log.read_text().splitlines() if (words := line.split())[0] == what]

        def kill(self):
            self.process.kill()
            self.process.wait()

    yield Rtsp
    for process in started:
        process.kill()
        process.wait()


def seconds_of(row):
    return datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()


@pytest.mark.parametrize(("offered", "chosen"), [("both", "tcp"), ("udp", "udp")])
def test_a_camera_of_the_network_that_drops(watch, rtsp, offered, chosen):
    camera = rtsp(offered)
    seen = watch(camera.url.replace("://", "://admin:12345@"), *READ, "--max-tokens", 8)

    def both_pictures():
        for words in ("Bread", "Battery"):
            while not seen.row()["answer"].startswith(words):
                pass

    both_pictures()
    camera.kill()
    time.sleep(1)
    again = rtsp(offered, camera.port)
    begun = time.time()
    while seconds_of(seen.row()) < begun:
        pass
    both_pictures()
    assert camera.told("play") == again.told("play") == [chosen]
    _, errors = seen.end()
    shown = f"onsight: {camera.url.replace('://', '://admin:***@')}"
    assert errors == f"{shown}: the stream has ended, trying again\n{shown}: there again\n"


def test_what_a_camera_shows_is_new(watch, rtsp):
    """The first look is at the first picture that can be seen, when it comes: finding out about the stream keeps nothing back."""
    camera = rtsp("both")
    for _ in range(2):
        seen = watch(camera.url, *READ, "--max-tokens", 8)
        first = seen.row()
        assert 0 <= seconds_of(first) - float(camera.told("key")[-1]) + 0.001 < 0.5
        seen.end()


@pytest.mark.parametrize("carrier", ["srt", "udp"])
def test_a_transport_stream(watch, tmp_path, carrier):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = ROOT / "tests/cli/transport_stream.py"
    camera = subprocess.Popen([sys.executable, script, CLIPS / "camera.h264", carrier, "--port", str(port)], stdout=subprocess.PIPE)
    try:
        url = camera.stdout.readline().decode().strip()
        assert url == f"{carrier}://127.0.0.1:{port}"
        seen = watch(url, *READ, "--max-tokens", 8)
        for words in ("Bread", "Battery"):
            while not seen.row()["answer"].startswith(words):
                pass
        assert seen.end()[1] == ""
    finally:
        camera.kill()
        camera.communicate()


def test_a_camera_at_hand(watch, tmp_path):
    """A Video4Linux device, as far as the program and FFmpeg can tell, that is unplugged and plugged in again."""
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "camera.so", ROOT / "tests/tools/fake_camera.c", "-ldl"], check=True)
    picture = shutil.copy(RECEIPT, tmp_path / "shown.jpg")
    device = {"CAMERA": "/dev/video7", "CAMERA_PICTURE": str(picture), "CAMERA_SIZE": "320x230", "LD_PRELOAD": str(tmp_path / "camera.so")}
    seen = watch("/dev/video7", *READ, "--max-tokens", 8, env=device)
    if not any(is_library(name) for name in ("libavdevice-onsight.so.59", "libavdevice.so.59")):
        _, errors = seen.process.communicate(timeout=20)
        assert seen.process.returncode == 3
        assert errors == b"onsight: /dev/video7: no libavdevice.so.59 on this machine, expected FFmpeg's (Debian: libavdevice59)\n"
        return
    first = seen.row()
    assert first["answer"].startswith("Bread") and first["read"] and not seen.row()["read"]
    os.rename(picture, tmp_path / "away")
    time.sleep(1)
    os.rename(tmp_path / "away", picture)
    begun = time.time()
    while seconds_of(row := seen.row()) < begun:
        pass
    assert row["answer"] == first["answer"]
    assert seen.end()[1] == "onsight: /dev/video7: the stream has ended, trying again\nonsight: /dev/video7: there again\n"


def is_library(name):
    try:
        return bool(ctypes.CDLL(name))
    except OSError:
        return False


def test_what_cannot_be_watched(onsight, camera, tmp_path):
    def fails(code, *words, arguments=()):
        done = onsight("watch", *arguments, env={"no_proxy": "*"})
        assert done.returncode == code and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
        assert all(word in done.stderr for word in words), done.stderr

    fails(2, "SOURCE")
    fails(2, "--every", "soon", arguments=(RECEIPT, "--every", "soon"))
    fails(2, "--every", arguments=(RECEIPT, "--every", "0s"))
    fails(3, "none.mp4", "expected a file", arguments=(tmp_path / "none.mp4",))
    (tmp_path / "text").write_text("words")
    fails(3, "text", "expected a picture or a video", arguments=(tmp_path / "text",))
    fails(3, "http://127.0.0.1:9/", "cannot be opened", arguments=("http://127.0.0.1:9/",))
    # Before a model is looked for, which may take long to load.
    fails(3, "/dev/video99: No such file or directory, expected a camera", arguments=("/dev/video99", "--model", tmp_path / "none"))
    fails(3, "/dev/null: not a camera, expected a Video4Linux device", arguments=("/dev/null", "--model", tmp_path / "none"))
    (tmp_path / "by-id").symlink_to("/dev/null")
    fails(3, "by-id: not a camera", arguments=(tmp_path / "by-id", "--model", tmp_path / "none"))
    fails(3, "none.mp4", "expected a file", arguments=(tmp_path / "none.mp4", "--model", tmp_path / "none"))
    fails(3, "rtsp://127.0.0.1:9/", "cannot be opened", arguments=("rtsp://127.0.0.1:9/",))
    camera.is_open = False
    fails(3, camera.url, arguments=(camera.url,))
    # A list that leads to a file of this machine is not followed.
    secret = tmp_path / "list.m3u8"
    secret.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{CLIPS / 'walk.webm'}\n#EXT-X-ENDLIST\n")

    class Lists(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.apple.mpegurl")
            self.end_headers()
            self.wfile.write(secret.read_bytes())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lists)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fails(3, arguments=(f"http://127.0.0.1:{server.server_port}/list.m3u8",))
    server.shutdown()
    server.server_close()


def test_a_command_that_fails_is_said(watch, tmp_path):
    shutil.copy(RECEIPT, tmp_path / "a.jpg")
    seen = watch(tmp_path, *READ, "--exec", "exit 5")
    seen.row()
    shutil.copy(SCREEN, tmp_path / "next")
    os.replace(tmp_path / "next", tmp_path / "b.png")
    seen.row()
    time.sleep(0.5)
    _, errors = seen.end()
    assert errors == "onsight: --exec: ended with code 5\n"


def test_a_picture_that_the_engine_refuses_does_not_end_it(scripted, model, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for name in ("a.png", "b.png"):
        (inbox / name).write_bytes(png(3, 2))
    process = scripted.start("watch", "--model", model, inbox, "--every", "50ms", "--stats", script={"fail": "too long"})
    said = {process.stderr.readline().decode() for _ in range(2)}
    assert said == {f"onsight: {inbox / name}: too long\n" for name in ("a.png", "b.png")}
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (0, b"", b"nothing was seen\n")


def test_what_is_not_read_again_is_saved(onsight):
    done = onsight("watch", CLIPS / "b-frames.mp4", "--every", "50ms", "--min-change", 255, "--max-tokens", 4, "--stats")
    summary = re.fullmatch(r"(\d+) looks, 1 read in ([\d.]+) s each; (\d+) had not changed, which saved ([\d.]+) s\n", done.stderr)
    looks, each, spared, saved = map(float, summary.groups())
    assert spared == looks - 1 > 9 and saved > 0 and abs(saved - spared * each) <= 0.05 + 0.005 * spared


def test_answers_in_a_form(onsight, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"open": {"type": "boolean"}}, "required": ["open"], "additionalProperties": false}')
    done = onsight("watch", CLIPS / "walk.gif", "--every", "1s", "--json", "--json-schema", schema, "--ask", "Is it open?")
    assert done.returncode == 0, done.stderr
    assert all(set(json.loads(r["answer"])) == {"open"} for r in rows(done.stdout))
