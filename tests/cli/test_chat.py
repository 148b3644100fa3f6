"""chat through a pipe: commands, messages, files."""
import json

import pytest

from conftest import ROOT
from pictures import png


@pytest.fixture
def chat(scripted, model, tmp_path):
    """chat(lines...) -> (CompletedProcess, the requests that the engine got)"""

    def run(*lines, arguments=(), script=None, env=None):
        log = tmp_path / "requests"
        log.unlink(missing_ok=True)
        done = scripted("chat", "--model", model, *arguments, input="".join(f"{line}\n" for line in lines).encode(),
                        script={**(script or {}), "log": str(log)}, env=env, cwd=tmp_path)  # fmt: skip
        return done, [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return run


def turns(request):
    return [(m["role"], m["parts"]) for m in request["messages"]]


def test_the_conversation_is_sent_each_time(chat):
    done, requests = chat("one", "", "two", arguments=["--system", "Be brief.", "--seed", "5"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "Seen.\nSeen.\n", "")
    assert len(requests) == 2 and requests[1]["seed"] == 5
    assert turns(requests[1]) == [("system", ["Be brief."]), ("user", ["one"]), ("assistant", ["Seen."]), ("user", ["two"])]


def test_pictures_go_with_the_next_message(chat, tmp_path):
    (tmp_path / "a b.png").write_bytes(png(3, 2))
    (tmp_path / "c.png").write_bytes(png(5, 4))
    done, requests = chat("/image a b.png", '/image "c.png"', "compare", "go on", "/image c.png", "", arguments=["--image", "c.png"])
    assert done.returncode == 0 and done.stderr == ""
    assert turns(requests[0]) == [("user", ["<5x4>", "<3x2>", "<5x4>", "compare"])]
    assert turns(requests[1])[-1] == ("user", ["go on"])
    assert turns(requests[2])[-1] == ("user", ["<5x4>", "Describe this image."])


def test_reset_forgets_all_but_the_system_text(chat, picture):
    _, requests = chat("one", f"/image {picture}", "/reset", "two", arguments=["--system", "Be brief."])
    assert turns(requests[1]) == [("system", ["Be brief."]), ("user", ["two"])]


def test_a_message_may_begin_with_a_slash(chat):
    _, requests = chat(" /etc/passwd?")
    assert turns(requests[0]) == [("user", ["/etc/passwd?"])]


def test_exit_and_help(chat):
    done, requests = chat("/help", "/exit", "never")
    assert done.returncode == 0 and done.stdout == "" and requests == []
    for command in ["/image", "/reset", "/save", "/load", "/help", "/exit"]:
        assert command in done.stderr


@pytest.mark.parametrize(
    "line, words",
    [
        ("/image", ["/image", "file"]),
        ("/image missing.png", ["missing.png"]),
        ("/image .", ["folder"]),
        ("/image broken.png", ["broken.png"]),
        ("/imgae x", ["'/imgae'", "'/image'"]),
        ("/frobnicate", ["'/frobnicate'", "/help"]),
        ("/save no/such/folder/f", ["no/such/folder/f"]),
        ("/save /dev/full/f", ["/dev/full/f"]),
        ("/load missing.json", ["missing.json"]),
        ("/load broken.png", ["broken.png"]),
        ("/exit now", ["/exit"]),
    ],
)
def test_a_mistake_is_one_sentence_and_the_conversation_goes_on(chat, tmp_path, line, words):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    done, requests = chat("one", line, "two")
    assert done.returncode == 0 and done.stdout == "Seen.\nSeen.\n"
    assert done.stderr.startswith("onsight: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert turns(requests[-1]) == [("user", ["one"]), ("assistant", ["Seen."]), ("user", ["two"])]


def test_a_message_that_fails_is_not_kept_but_its_pictures_are(chat, picture):
    done, requests = chat(f"/image {picture}", "{image} {image}", "what is it?")
    assert done.stderr.count("\n") == 1 and "{image}" in done.stderr
    assert turns(requests[-1]) == [("user", ["<6x4>", "what is it?"])]
    done, requests = chat(f"/image {picture}", "{image}", "{image}?")
    assert done.stderr == "" and turns(requests[-1])[::2] == [("user", ["<6x4>", "Describe this image."]), ("user", ["{image}?"])]
    done, requests = chat("one", "two", script={"fail": "the prompt is too long"})
    assert done.returncode == 0 and done.stderr == "onsight: the prompt is too long\n" * 2
    assert turns(requests[-1]) == [("user", ["two"])]


def test_a_message_that_does_not_fit_leaves_the_conversation_as_it_was(onsight):
    long = "many words, " * 2000
    done = onsight("chat", "-n", "4", "--image", str(ROOT / "examples" / "scene.png"), input=f"{long}\nHow many circles?\n".encode())
    assert "expected fewer than the model's context of 1024; the message is left out (/reset forgets" in done.stderr
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and done.stdout.strip(), "the next one is answered"


@pytest.mark.parametrize("thrown", ["bad_alloc", "system_error"])
def test_not_enough_memory_for_an_answer_does_not_end_the_conversation(chat, thrown):
    done, requests = chat("one", "two", script={"throw": thrown})
    assert done.returncode == 0 and done.stderr.count("memory") == 2 and len(requests) == 2


def test_save_and_load(chat, tmp_path, picture):
    done, _ = chat(f"/image {picture.name}", 'It "says" {image} é', "two", "/save kept.json", arguments=["--system", "S"])
    assert done.returncode == 0 and "5 messages" in done.stderr
    saved = json.loads((tmp_path / "kept.json").read_text())
    assert [m["role"] for m in saved["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert saved["messages"][1]["images"][0]["path"] == str(picture)
    done, requests = chat("lost", "/load kept.json", "three")
    assert turns(requests[-1]) == [("system", ["S"]), ("user", ['It "says" ', "<6x4>", " é"]), ("assistant", ["Seen."]),
                                   ("user", ["two"]), ("assistant", ["Seen."]), ("user", ["three"])]  # fmt: skip


def test_a_changed_or_missing_picture_is_noticed(chat, tmp_path, picture):
    chat(f"/image {picture}", "one", "/save kept.json")
    picture.write_bytes(png(8, 8))
    done, requests = chat("/load kept.json", "two")
    assert "has changed" in done.stderr and str(picture) in done.stderr and turns(requests[-1]) == [("user", ["two"])]
    picture.unlink()
    done, _ = chat("/load kept.json")
    assert done.stderr.count("\n") == 1 and str(picture) in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", "null", '{"onsight_chat": 2, "messages": []}', '{"onsight_chat": 1}', '{"onsight_chat": 1, "messages": {}}',
        '{"onsight_chat": 1, "messages": [1]}', '{"onsight_chat": 1, "messages": [{"role": "tool", "text": ""}]}',
        '{"onsight_chat": 1, "messages": [{"role": "user"}]}', '{"onsight_chat": 1, "messages": [{"role": "user", "text": 1}]}',
        '{"onsight_chat": 1, "messages": [{"role": "user", "text": "", "images": 1}]}',
        '{"onsight_chat": 1, "messages": [{"role": "user", "text": "", "images": [{"path": "a.png", "hash": ""}]}]}',
    ],
)  # fmt: skip
def test_a_broken_file_of_a_conversation_changes_nothing(chat, tmp_path, content):
    (tmp_path / "kept.json").write_text(content)
    done, requests = chat("one", "/load kept.json", "two")
    assert done.returncode == 0 and done.stderr.startswith("onsight: ") and done.stderr.count("\n") == 1
    assert len(turns(requests[-1])) == 3


def test_a_bad_first_picture_ends_the_program(scripted, model, tmp_path, refused):
    refused(scripted("chat", "--model", model, "--image", tmp_path / "no.png"), 3, "no.png")


def test_a_line_without_end_is_an_ordinary_message(chat, scripted, model, tmp_path):
    log = tmp_path / "log"
    done = scripted("chat", "--model", model, input=b"tail", script={"log": str(log)})
    assert done.stdout == "Seen.\n" and "tail" in log.read_text()


CLIPS = ROOT / "tests/data/video"


def test_videos_go_with_the_next_message(chat, tmp_path):
    clip = CLIPS / "walk.gif"
    done, requests = chat(f"/video {clip}", "", f"/video {clip}", "again", arguments=["--fps", "2", "--video", CLIPS / "uneven.mkv"])
    assert done.returncode == 0 and done.stderr == "", done.stderr
    shown = turns(requests[0])[0][1]
    assert len(shown) == 3 and all(part.startswith("<") and "fps 2" in part for part in shown[:2]) and shown[2] == "Describe this video."
    assert turns(requests[1])[-1] == ("user", [shown[1], "again"])
    # Kept by its path, with what of it was looked at.
    file = tmp_path / "talk.json"
    done, _ = chat(f"/video {clip}", "what?", f"/save {file}", arguments=["--fps", "2"])
    assert done.returncode == 0
    kept = json.loads(file.read_text())["messages"][0]["videos"]
    assert kept == [{"path": str(clip), "bytes": clip.stat().st_size, "fps": 2, "max_frames": 0, "start": 0, "end": 0}]
    _, requests = chat(f"/load {file}", "and then?")
    assert turns(requests[0])[0] == ("user", [shown[1], "what?"]) and turns(requests[0])[-1] == ("user", ["and then?"])
    file.write_text(file.read_text().replace(f'"bytes": {clip.stat().st_size}', '"bytes": 5'))
    done, _ = chat(f"/load {file}")
    assert "has changed" in done.stderr


def test_a_conversation_shows_one_kind(chat, picture):
    clip = CLIPS / "walk.gif"
    done, requests = chat(f"/video {clip}", f"/image {picture}", "one", f"/image {picture}", "two", "/reset", f"/image {picture}", "three")
    assert done.stderr.count("onsight: ") == 2 and "excludes pictures" in done.stderr and "pictures or videos, not both" in done.stderr
    assert len(requests) == 2 and turns(requests[1])[-1] == ("user", ["<6x4>", "three"])
    done, _ = chat("x", arguments=["--video", "-"])
    assert done.returncode == 2 and "--video -" in done.stderr
    done, _ = chat("x", arguments=["--start", "5", "--end", "2"])
    assert done.returncode == 2 and "--end" in done.stderr
