"""read and describe: many pictures and documents, in order, resumed where they stopped."""
import ctypes
import json
import os
import resource
import shutil
import signal
import struct
import time

import pytest

from documents import pdf
from pictures import png, tiff


@pytest.fixture
def folder(tmp_path):
    scans = tmp_path / "scans"
    (scans / "deeper").mkdir(parents=True)
    for name, size in (("b.png", (3, 2)), ("a.PNG", (5, 4)), ("deeper/c.png", (7, 6))):
        (scans / name).write_bytes(png(*size))
    (scans / "notes.txt").write_text("not a picture")
    return scans


@pytest.fixture
def tools(tmp_path):
    """A folder of a pdfinfo that says 3 pages and a pdftoppm that draws page N as a picture of N x 1; both note how they were called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for n in (1, 2, 3):
        (tools / f"{n}.png").write_bytes(png(n, 1))
    for name, script in {
        "pdfinfo": f'#!/bin/sh\necho "$@" >> {tools}/calls\ncase "$1" in *bad*) exit 1;; esac\necho "Title: x"\necho "Pages:          3"\n',
        "pdftoppm": f'#!/bin/sh\necho "$@" >> {tools}/calls\ncat {tools}/$5.png\n',
    }.items():
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    return tools


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_page_is_its_text(scripted, model, folder):
    done = scripted("read", "--model", model, folder / "b.png", script={"pieces": ["One\n", "two"]})
    assert (done.returncode, done.stdout, done.stderr) == (0, "One\ntwo\n", "")


@pytest.mark.parametrize("verb, asked", [("read", "Read the text."), ("describe", "Describe this image.")])
def test_a_prompt_that_asks_nothing_is_the_verbs(scripted, model, folder, tmp_path, verb, asked):
    log = tmp_path / "log"
    for i, prompt in enumerate(("", "{image}", "{image} ")):
        out = tmp_path / f"{i}.jsonl"
        done = scripted(verb, "--model", model, "--out", out, "--prompt", prompt, folder / "b.png", script={"log": str(log)})
        assert (done.returncode, done.stdout, rows(out)[0]["prompt"][-len(asked) :]) == (0, "", asked), done.stderr
    assert [request["messages"][0]["parts"] for request in rows(log)] == [["<3x2>", asked]] * 3


def test_standard_input_is_a_page(scripted, model, folder, tmp_path):
    log = tmp_path / "log"
    done = scripted("read", "--model", model, "-", folder / "b.png", input=png(9, 8), script={"log": str(log)})
    assert (done.returncode, done.stdout) == (0, f"== -\nSeen.\n== {folder / 'b.png'}\nSeen.\n")
    assert [request["messages"][0]["parts"][0] for request in rows(log)] == ["<9x8>", "<3x2>"]
    done = scripted("read", "--model", model, "-", input=b"no picture")
    assert done.returncode == 3 and "onsight: standard input: " in done.stderr


def test_many_pages_come_in_order(scripted, model, folder):
    done = scripted("read", "--model", model, folder, script={"pieces": ["Text"]})
    names = [folder / "a.PNG", folder / "b.png", folder / "deeper" / "c.png"]
    assert done.stdout == "".join(f"== {name}\nText\n" for name in names)


def test_json(scripted, model, folder):
    done = scripted("read", "--model", model, "--json", folder / "a.PNG", folder / "b.png", script={"pieces": ["One\n\ntwo"]})
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["file"].endswith("a.PNG") and first["text"] == "One\n\ntwo" and first["lines"] == ["One", "", "two"]
    assert first["prompt"] == "Read the text." and first["model"] == "model" and "page" not in first
    assert second["file"].endswith("b.png") and second["finish_reason"] == "stop"


def test_what_is_asked(scripted, model, folder, tmp_path):
    log = tmp_path / "log"
    scripted("read", "--model", model, "--prompt", "Total?", "--system", "Be brief.", "--max-tokens", "9", folder / "b.png", script={"log": str(log)})
    [request] = rows(log)
    assert request["messages"] == [{"role": "system", "parts": ["Be brief."]}, {"role": "user", "parts": ["<3x2>", "Total?"]}]
    assert request["max_tokens"] == 9


def test_describe_writes_captions_and_goes_on(scripted, model, folder, tmp_path):
    out, log = tmp_path / "captions.jsonl", tmp_path / "log"
    command = ("describe", "--model", model, folder, "--out", out)
    assert scripted(*command, script={"log": str(log)}).returncode == 0
    assert sorted(row["file"] for row in rows(out)) == [str(folder / n) for n in ("a.PNG", "b.png", "deeper/c.png")]
    assert {row["caption"] for row in rows(out)} == {"Seen."} and len(rows(log)) == 3
    before = out.read_bytes()
    assert scripted(*command, script={"log": str(log)}).returncode == 0
    assert out.read_bytes() == before and len(rows(log)) == 3
    # A picture that is another now, and a question that is another, are asked again.
    (folder / "b.png").write_bytes(png(9, 9))
    scripted(*command, script={"log": str(log)})
    assert len(rows(out)) == 4 and rows(log)[-1]["messages"][-1]["parts"][0] == "<9x9>"
    scripted(*command, "--prompt", "What is it?", script={"log": str(log)})
    assert len(rows(out)) == 7 and len(rows(log)) == 7


def test_what_changes_answers_is_asked_again(scripted, model, picture, tmp_path):
    out, log, schema = tmp_path / "captions.jsonl", tmp_path / "log", tmp_path / "schema.json"
    schema.write_text('{"type": "string", "maxLength": 3}')

    def asked(*options, model=model):
        before = len(rows(log)) if log.exists() else 0
        done = scripted("describe", "--model", model, picture, "--out", out, *options, script={"log": str(log)})
        assert done.returncode == 0, done.stderr
        return len(rows(log)) - before

    assert asked() == 1 and asked() == 0
    for options in (["--max-tokens", 9], ["--system", "Be brief."], ["--stop", "x"], ["--temperature", 0.5], ["--seed", 1], ["--top-k", 2], ["--top-p", 0.5],
                    ["--min-p", 0.5], ["--repetition-penalty", 2], ["--json-schema", schema], ["--max-tiles", 1], ["--no-upscale"], ["--quant", "q8"],
                    ["--vision-quant", "q8"], ["--kv", "q8"]):  # fmt: skip
        assert (asked(*options), asked(*options)) == (1, 0), options
    schema.write_text('{"type": "string", "maxLength": 4}')
    assert asked("--json-schema", schema) == 1
    # What another option answered since is not what this one would.
    assert asked() == 1 and asked() == 0
    # Threads change nothing, nor does a copy of the model under another path; what is in it does.
    assert asked("--threads", 1) == 0
    other = tmp_path / "other" / "model"
    shutil.copytree(model, other)
    assert asked(model=other) == 0
    (other / "config.json").write_text("{}")
    assert asked(model=other) == 1
    assert all(len(row["asked"]) == 16 for row in rows(out))


def test_a_file_is_read_once_however_it_is_named(scripted, model, folder, tmp_path):
    out = tmp_path / "out.jsonl"
    names = ["scans/b.png", "./scans/b.png", folder / "b.png", "scans", "scans/deeper/../b.png", "scans/", "scans/b.png"]
    done = scripted("read", "--model", model, "--json", *names, cwd=tmp_path)
    assert done.returncode == 0 and [json.loads(line)["file"] for line in done.stdout.splitlines()] == ["scans/b.png", "scans/a.PNG", "scans/deeper/c.png"]
    # Nor again under another name.
    for name in ("scans", "./scans", folder):
        assert scripted("read", "--model", model, "--out", out, name, cwd=tmp_path).returncode == 0
    assert [row["file"] for row in rows(out)] == ["scans/a.PNG", "scans/b.png", "scans/deeper/c.png"]
    # A link is a name of its own.
    (folder / "link.png").symlink_to("b.png")
    assert scripted("read", "--model", model, folder, cwd=tmp_path).stdout.count("== ") == 4


def test_of_several_rows_of_a_picture_the_last_counts(scripted, model, picture, tmp_path):
    out, log = tmp_path / "captions.jsonl", tmp_path / "log"
    command = ("describe", "--model", model, picture, "--out", out)
    for modified in (10, 20, 20, 10, 10):
        os.utime(picture, (modified, modified))
        assert scripted(*command, script={"log": str(log)}).returncode == 0
    assert [row["modified"] // 10**9 for row in rows(out)] == [10, 20, 10] and len(rows(log)) == 3


def test_a_line_that_was_cut_short_is_written_again(scripted, model, folder, tmp_path):
    out = tmp_path / "captions.jsonl"
    command = ("describe", "--model", model, folder, "--out", out)
    scripted(*command)
    whole = rows(out)
    out.write_bytes(out.read_bytes()[:-20])
    scripted(*command)
    assert sorted(row["file"] for row in rows(out)) == sorted(row["file"] for row in whole)


def test_a_last_row_that_lacks_its_newline_alone_is_kept(scripted, model, folder, tmp_path):
    out, log = tmp_path / "captions.jsonl", tmp_path / "log"
    command = ("describe", "--model", model, folder, "--out", out)
    scripted(*command)
    whole = out.read_bytes()
    first, second, _ = whole.splitlines()
    out.write_bytes(whole[:-1])
    assert scripted(*command, script={"log": str(log)}).returncode == 0
    assert out.read_bytes() == whole and not log.exists()
    out.write_bytes(first + b"\n" + second)
    assert scripted(*command, script={"log": str(log)}).returncode == 0
    assert out.read_bytes().startswith(first + b"\n" + second + b"\n") and len(rows(out)) == 3 and len(rows(log)) == 1


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_killed_it_loses_nothing_and_doubles_nothing(scripted, model, tmp_path, end):
    many = tmp_path / "many"
    many.mkdir()
    for i in range(40):
        (many / f"{i:02}.png").write_bytes(png(2, 2))
    out = tmp_path / "out.jsonl"
    command = ("read", "--model", model, many, "--out", out)
    process = scripted.start(*command, script={"pieces": ["a", "b"], "delay_ms": 20},
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    until = time.monotonic() + 20
    while (not out.exists() or out.read_bytes().count(b"\n") < 5) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(end)
    process.communicate(timeout=20)
    assert process.returncode == (130 if end == signal.SIGINT else -9)
    some = len(out.read_bytes().splitlines())
    assert 5 <= some < 40
    assert scripted(*command).returncode == 0
    assert sorted(row["file"] for row in rows(out)) == sorted(map(str, many.glob("*.png")))


def test_what_cannot_be_read_is_said_and_the_rest_is_read(scripted, model, folder):
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = scripted("read", "--model", model, folder, folder / "missing.png", script={"pieces": ["Text"]})
    assert done.returncode == 3 and done.stdout.count("Text\n") == 3
    assert "broken.jpg: " in done.stderr and "missing.png: No such file or directory" in done.stderr
    assert "2 of 5 could not be read" in done.stderr


def test_nothing_to_read_is_said(scripted, model, tmp_path):
    out = tmp_path / "new.jsonl"
    (tmp_path / "empty").mkdir()
    for verb, what in (("read", "pictures or PDFs"), ("describe", "pictures")):
        done = scripted(verb, "--model", model, "empty", "--out", out, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"onsight: empty: no {what} in it\n")
    done = scripted("describe", "--model", model, "nowhere", "--out", out, cwd=tmp_path)
    assert done.returncode == 3 and "nowhere: No such file or directory" in done.stderr
    assert not out.exists()
    out.touch()
    assert scripted("read", "--model", model, "empty", "--out", out, cwd=tmp_path).returncode == 0 and out.exists()


def without_privileges():
    """Root reads every folder with these capabilities alone."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


def test_folders_that_are_left_out_are_said(scripted, model, folder, tmp_path):
    (folder / "circle").symlink_to(folder)
    done = scripted("read", "--model", model, folder)
    assert done.returncode == 0 and done.stdout.count("== ") == 3
    assert done.stderr == f"onsight: {folder}/circle: left out, a link to a folder\n"
    assert scripted("read", "--model", model, folder / "circle").stdout.count("== ") == 3
    (folder / "circle").unlink()
    (folder / "deeper").chmod(0)
    done = scripted("read", "--model", model, folder, preexec_fn=without_privileges)
    (folder / "deeper").chmod(0o700)
    assert done.returncode == 3 and done.stdout.count("== ") == 2
    assert done.stderr == f"onsight: {folder}/deeper: Permission denied\nonsight: 1 of 3 could not be read\n"


def test_a_page_that_the_engine_refuses(scripted, model, folder):
    done = scripted("read", "--model", model, folder, script={"fail": "too long"})
    assert done.returncode == 3 and "a.PNG: too long" in done.stderr and "3 of 3 could not be read" in done.stderr
    done = scripted("read", "--model", model, folder, script={"fail": "not enough memory", "code": 2})
    assert done.returncode == 4 and "a.PNG: not enough memory" in done.stderr and "3 of 3 could not be read" in done.stderr


def test_pages_of_a_pdf(scripted, model, tmp_path, tools):
    document, log = tmp_path / "-report.PDF", tmp_path / "log"
    document.write_bytes(b"%PDF-1.4")
    env = {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = scripted("read", "--model", model, "--json", "--", document.name, script={"log": str(log)}, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(row["file"], row["page"]) for row in map(json.loads, done.stdout.splitlines())] == [("-report.PDF", n) for n in (1, 2, 3)]
    assert [request["messages"][0]["parts"][0] for request in rows(log)] == ["<1x1>", "<2x1>", "<3x1>"]
    assert "./-report.PDF" in (tools / "calls").read_text().splitlines()[0]


def test_a_pdf_that_is_none(scripted, model, tmp_path, tools):
    (tmp_path / "bad.pdf").write_bytes(b"x")
    done = scripted("read", "--model", model, tmp_path / "bad.pdf", env={"PATH": f"{tools}:{os.environ['PATH']}"})
    assert done.returncode == 3 and "bad.pdf: not a PDF that pdfinfo reads" in done.stderr


WORDS = [("Invoice", 595, 842, 0), ("Garden", 842, 420, 0), ("Window", 595, 842, 90)]


def test_the_shipped_model_reads_a_pdf(onsight, tmp_path):
    document = tmp_path / "three.pdf"
    document.write_bytes(pdf(*WORDS))
    done = onsight("read", "--json", document)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["page"] for row in found] == [1, 2, 3]
    assert [row["text"].strip().lower() for row in found] == ["invoice", "garden", "window"]


def test_poppler_draws_pages_as_they_stand(scripted, model, tmp_path):
    """150 pixels an inch, and the last page, which is turned, lies on its side."""
    document, log = tmp_path / "three.pdf", tmp_path / "log"
    document.write_bytes(pdf(*WORDS))
    assert scripted("read", "--model", model, document, script={"log": str(log)}).returncode == 0
    sizes = [tuple(map(int, request["messages"][0]["parts"][0].strip("<>").split("x"))) for request in rows(log)]
    wanted = [(595, 842), (842, 420), (842, 595)]
    assert len(sizes) == 3 and all(abs(a - b * 150 / 72) <= 1 for size, points in zip(sizes, wanted) for a, b in zip(size, points)), sizes


def test_pdfs_that_poppler_does_not_read(scripted, model, tmp_path):
    whole = pdf(*WORDS)
    for name, document in {"cut.pdf": whole[:700], "text.pdf": b"%PDF-1.4\nhello", "empty.pdf": b"", "locked.pdf": pdf(*WORDS, encrypted=True)}.items():
        (tmp_path / name).write_bytes(document)
    # A table of places that is not where it should be is made anew.
    (tmp_path / "mended.pdf").write_bytes(whole.replace(b"startxref\n", b"startxref\n9"))
    done = scripted("read", "--model", model, tmp_path)
    assert done.returncode == 3 and done.stdout == "".join(f"== {tmp_path}/mended.pdf, page {n}\nSeen.\n" for n in (1, 2, 3))
    lines = done.stderr.splitlines()
    for name in ("cut.pdf", "text.pdf", "empty.pdf", "locked.pdf"):
        assert sum(f"{tmp_path}/{name}: not a PDF that pdfinfo reads, expected a whole one without a password" in line for line in lines) == 1
    assert len(lines) == 5 and "4 of 7 could not be read" in lines[-1]


def test_without_poppler(scripted, model, tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    done = scripted("read", "--model", model, tmp_path / "a.pdf", env={"PATH": str(tmp_path)})
    assert done.returncode == 3 and "a.pdf: expected pdfinfo and pdftoppm on this machine (Debian: poppler-utils)" in done.stderr


def test_describe_takes_no_pdf(scripted, model, tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    done = scripted("describe", "--model", model, tmp_path / "a.pdf", "--out", tmp_path / "o.jsonl")
    assert done.returncode == 3 and "a.pdf: expected a picture, found a PDF" in done.stderr


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.tif"
    path.write_bytes(tiff((5, 1), (6, 2), (7, 3)))
    return path


def test_pages_of_a_tiff(scripted, model, scan, tmp_path):
    log = tmp_path / "log"
    done = scripted("read", "--model", model, "--json", scan, script={"log": str(log)})
    assert done.returncode == 0 and done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["file"], row["page"], row["text"]) for row in found] == [(str(scan), n, "Seen.") for n in (1, 2, 3)]
    assert [request["messages"][0]["parts"][0] for request in rows(log)] == ["<5x1>", "<6x2>", "<7x3>"]
    done = scripted("read", "--model", model, scan)
    assert done.stdout == "".join(f"== {scan}, page {n}\nSeen.\n" for n in (1, 2, 3))


def test_the_name_of_a_tiff_does_not_matter(scripted, model, scan):
    other = scan.rename(scan.with_name("scan.jpg"))
    assert scripted("read", "--model", model, other).stdout.count("== ") == 3


def test_a_tiff_of_one_page_is_a_picture(scripted, model, tmp_path):
    scan = tmp_path / "scan.tif"
    scan.write_bytes(tiff((5, 1)))
    done = scripted("read", "--model", model, scan)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Seen.\n", "")
    assert "page" not in json.loads(scripted("read", "--model", model, "--json", scan).stdout)


def test_pages_of_a_tiff_are_gone_on_with(scripted, model, scan, tmp_path):
    out, log = tmp_path / "out.jsonl", tmp_path / "log"
    command = ("read", "--model", model, scan, "--out", out)
    scripted(*command)
    whole = {row["page"]: row for row in rows(out)}
    assert sorted(whole) == [1, 2, 3]
    out.write_text("".join(json.dumps(whole[n]) + "\n" for n in (1, 3)))
    assert scripted(*command, script={"log": str(log)}).returncode == 0
    assert [row["page"] for row in rows(out)] == [1, 3, 2]
    assert [request["messages"][0]["parts"][0] for request in rows(log)] == ["<6x2>"]
    # Another file of this name is read from its first page on.
    scan.write_bytes(tiff((8, 8), (9, 9)))
    scripted(*command)
    assert [row["page"] for row in rows(out)[3:]] == [1, 2]


def test_a_broken_page_of_a_tiff_leaves_the_others(scripted, model, tmp_path):
    scan = tmp_path / "scan.tif"
    whole = tiff((5, 1), (6, 2), (7, 3))
    for width, page in ((5, 1), (6, 2), (7, 3)):
        scan.write_bytes(whole.replace(struct.pack("<HHII", 256, 4, 1, width), struct.pack("<HHII", 256, 4, 1, 0)))
        done = scripted("read", "--model", model, scan)
        assert done.returncode == 3 and done.stdout == "".join(f"== {scan}, page {n}\nSeen.\n" for n in (1, 2, 3) if n != page)
        assert [line for line in done.stderr.splitlines() if f"{scan}, page {page}: " in line], done.stderr
        assert "1 of 3 could not be read" in done.stderr and len(done.stderr.splitlines()) == 2


def test_a_tiff_that_was_cut_off(scripted, model, scan):
    scan.write_bytes(scan.read_bytes()[:-60])
    done = scripted("read", "--model", model, scan)
    assert done.returncode == 3 and done.stdout.count("Seen.") == 2
    assert f"{scan}, page 3: truncated or corrupt TIFF" in done.stderr and "1 of 3 could not be read" in done.stderr


def test_a_tiff_that_goes_in_circles(scripted, model, tmp_path):
    scan = tmp_path / "scan.tif"
    for back_to in (1, 2):
        scan.write_bytes(tiff((5, 1), (6, 2), back_to=back_to))
        done = scripted("read", "--model", model, scan, timeout=20)
        assert done.returncode == 3 and done.stdout.count("Seen.") == 2
        assert f"{scan}, page 3: the TIFF goes on with a page that was there before, expected another or its end" in done.stderr


def test_a_tiff_of_too_many_directories(scripted, model, folder):
    # One of them is read, the others are empty: 6 bytes each.
    start = tiff((5, 1))[:-4]
    links = b"".join(struct.pack("<IH", len(start) + 4 + 6 * i, 0) for i in range(70_000))
    (folder / "many.tif").write_bytes(start + links + struct.pack("<I", 0))
    done = scripted("read", "--model", model, folder, timeout=20)
    assert done.returncode == 3 and done.stdout.count("Seen.") == 3
    assert f"{folder / 'many.tif'}: a TIFF of more than 65536 directories, expected at most as many" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_few_pages_of_a_tiff_are_in_memory(scripted, model, tmp_path):
    scan, out = tmp_path / "scan.tif", tmp_path / "out.jsonl"
    scan.write_bytes(tiff(*[(2000, 1500)] * 60))  # 9 MB a page

    def little_memory():
        resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))

    done = scripted("read", "--model", model, scan, "--out", out, preexec_fn=little_memory)
    assert (done.returncode, done.stderr) == (0, "") and sorted(row["page"] for row in rows(out)) == list(range(1, 61))


def test_memory_does_not_grow_with_the_pages(onsight, tmp_path):
    def peak(pages):
        folder = tmp_path / str(pages)
        folder.mkdir()
        for i in range(pages):
            (folder / f"{i}.png").write_bytes(png(640, 480, (i % 256, i // 256, 90)))
        process = onsight.start("read", "--max-tokens", "1", "--out", tmp_path / f"{pages}.jsonl", folder)
        process.stdout.close()
        process.stderr.close()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0 and len(rows(tmp_path / f"{pages}.jsonl")) == pages
        return used.ru_maxrss / 1024

    few, many = peak(50), peak(120)
    assert many < few + 12, (few, many)


def test_describe_takes_the_first_page(scripted, model, scan, tmp_path):
    out, log = tmp_path / "out.jsonl", tmp_path / "log"
    assert scripted("describe", "--model", model, scan, "--out", out, script={"log": str(log)}).returncode == 0
    [row], [request] = rows(out), rows(log)
    assert "page" not in row and request["messages"][0]["parts"][0] == "<5x1>"


@pytest.mark.parametrize(
    "arguments, code, sentence",
    [
        (["read"], 2, "expected a file or a folder"),
        (["describe", "."], 2, "expected --out FILE.jsonl, the file of captions"),
        (["read", "--out", "", "."], 2, "--out: expected a file, found nothing"),
        (["read", "--out", "/dev/null", "."], 2, "/dev/null: expected a plain file, which can be read again and gone on with"),
        (["read", "--out", "o", "-"], 2, "-: expected files beside --out, standard input cannot be gone on with"),
        (["read", "-", "-"], 2, "standard input can be read once only, expected one -"),
        (["read", "--out", "o", "--json", "."], 2, "--out and --json exclude each other"),
        (["read", "--out", "/nowhere/o.jsonl", "."], 1, "/nowhere/o.jsonl: cannot be written (No such file or directory)"),
    ],
)
def test_wrong_usage(scripted, model, tmp_path, arguments, code, sentence):
    done = scripted(*arguments, "--model", model, cwd=tmp_path)
    assert done.returncode == code and sentence in done.stderr


def test_a_file_of_something_else_is_not_appended_to(scripted, model, folder, tmp_path):
    notes = tmp_path / "notes.txt"
    assert scripted("describe", "--model", model, folder, "--out", tmp_path / "ours").returncode == 0
    row = (tmp_path / "ours").read_text().splitlines()[0]
    foreign = ["milk", '{"a": 1}', '{"file": "a.png"}', '{"file":"a.png"}', '{"file":"a.png","x":1}', '{"theme": "dark", "font": {"size": 12}}',
               "[1, 2", "{", '{"name": "x",\n "size": 3}', row.replace('"caption"', '"text"')]  # fmt: skip
    for text in (each + end for each in foreign for end in ("", "\n")):
        if text == "{":
            continue  # our first row may have been cut there
        for before in ("", row + "\n"):
            notes.write_text(before + text)
            done = scripted("describe", "--model", model, folder, "--out", notes)
            line = 1 + before.count("\n")
            assert done.returncode == 3 and f"notes.txt:{line}: expected a JSON object a line, as this verb writes" in done.stderr, text
            assert notes.read_text() == before + text


def test_two_at_once_do_not_write_to_one_file(scripted, model, folder, tmp_path):
    out = tmp_path / "out.jsonl"
    first = scripted.start("read", "--model", model, folder, "--out", out, script={"pieces": ["a"] * 20, "delay_ms": 100})
    until = time.monotonic() + 20
    while not out.exists() and time.monotonic() < until:
        time.sleep(0.01)
    done = scripted("read", "--model", model, folder, "--out", out)
    first.kill()
    first.communicate()
    assert done.returncode == 1 and "out.jsonl: another process writes to it" in done.stderr


def test_a_full_disk_leaves_whole_lines(scripted, model, folder, tmp_path):
    out = tmp_path / "out.jsonl"

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))

    done = scripted("read", "--model", model, folder, "--out", out, preexec_fn=small_files)
    assert done.returncode == 1 and "out.jsonl: cannot be written (File too large)" in done.stderr
    assert len(out.read_bytes()) <= 400 and len(rows(out)) == 1
    assert scripted("read", "--model", model, folder, "--out", out).returncode == 0 and len(rows(out)) == 3


def test_the_shipped_model_reads_the_examples(onsight):
    examples = os.path.join(os.path.dirname(__file__), "..", "..", "examples")
    done = onsight("read", examples)
    assert "Total 10.54" in done.stdout and done.stdout.count("== ") == 3
