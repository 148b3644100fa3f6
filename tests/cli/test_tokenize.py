"""tokenize as a filter: a line in, a line out."""
import json
import random
import resource

import pytest

from conftest import NANO


@pytest.fixture
def tokenize(onsight):
    def run(*arguments, lines=(), raw=None):
        data = raw if raw is not None else "".join(json.dumps(line) + "\n" for line in lines).encode()
        return onsight("tokenize", "--model", NANO, *arguments, input=data)

    return run


TEXTS = ["Hello world", "", "  two  spaces", "naïve 🎉 \u0000 \n\t\\", "12345678901234567890", "<image>", "<|im_start|>"]


def test_there_and_back(tokenize):
    done = tokenize(lines=TEXTS)
    assert done.returncode == 0 and done.stderr == ""
    ids = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ids) == len(TEXTS) and ids[1] == [] and all(isinstance(i, int) for row in ids for i in row)
    back = tokenize("--decode", lines=ids)
    assert back.returncode == 0
    assert [json.loads(line) for line in back.stdout.splitlines()] == TEXTS


def test_special_tokens_stay_text_unless_asked_for(tokenize):
    (plain,) = [json.loads(line) for line in tokenize(lines=["<image>"]).stdout.splitlines()]
    (special,) = [json.loads(line) for line in tokenize("--special", lines=["<image>"]).stdout.splitlines()]
    assert len(plain) > 1 and len(special) == 1
    assert json.loads(tokenize("--decode", lines=[special]).stdout) == ""
    assert json.loads(tokenize("--decode", "--special", lines=[special]).stdout) == "<image>"


def test_no_input_is_no_output(tokenize):
    done = tokenize(raw=b"")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_last_line_needs_no_newline(tokenize):
    assert tokenize(raw=b'"a"\n"b"').stdout.count("\n") == 2


@pytest.mark.parametrize(
    "arguments, raw, words",
    [
        ([], b"hello\n", ["line 1", "JSON"]),
        ([], b"\n", ["line 1"]),
        ([], b"[1]\n", ["line 1", "string"]),
        ([], b'"\xff"\n', ["line 1"]),
        ([], b'"\\ud800"\n', ["line 1"]),
        ([], b"[" * 100_000 + b"\n", ["line 1"]),
        (["--decode"], b'"a"\n', ["line 1", "array"]),
        (["--decode"], b"[999999999]\n", ["line 1", "999999999"]),
        (["--decode"], b"[99999999999999999999]\n", ["line 1"]),
        (["--decode"], b"[18446744073709551615]\n", ["line 1"]),
        (["--decode"], b"[-1]\n", ["line 1", "-1"]),
        (["--decode"], b"[1.5]\n", ["line 1", "1.5"]),
        (["--decode"], b'[1, "2"]\n', ["line 1"]),
    ],
)
def test_a_bad_line_is_named(tokenize, refused, arguments, raw, words):
    refused(tokenize(*arguments, raw=raw), 3, *words)


def test_lines_before_a_bad_one_are_written(tokenize):
    done = tokenize(raw=b'"a"\n"b"\nc\n"d"\n')
    assert done.returncode == 3 and done.stdout.count("\n") == 2 and "line 3" in done.stderr


def test_takes_turns_with_a_program_at_the_other_end(onsight):
    import subprocess

    process = onsight.start("tokenize", "--model", NANO, stdin=subprocess.PIPE)
    for _ in range(3):
        process.stdin.write(b'"again"\n')
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"[")
    process.stdin.close()
    assert process.wait(timeout=20) == 0


LINE = "The quick brown fox jumps over 1,234 lazy dogs; naïve café 🎉 in_code(x) += 17;\n"


def drawn_words(size):
    """Text of which no word was seen before."""
    draw = random.Random(1)
    return " ".join("".join(draw.choices("etaoinshrdlcumwfgypbvkäé", k=draw.randint(1, 12))) for _ in range(size // 7))


@pytest.mark.parametrize(
    "lines",
    [[LINE * 10] * (2_000_000 // (len(LINE.encode()) * 10)), [drawn_words(2_100_000)], ["a" * 2_000_000], [" " * 2_000_000], ["<" * 2_000_000]],
    ids=["lines", "words", "letters", "blanks", "brackets"],
)
def test_two_megabytes_take_less_than_a_second(tokenize, lines):
    assert sum(len(line.encode()) for line in lines) > 1_990_000
    seconds = []  # of the processor: other programs on the machine do not count, but for what they take of its caches
    while not seconds or (seconds[-1] >= 1 and len(seconds) < 3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = tokenize(lines=lines)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert (done.returncode, done.stderr) == (0, "")
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 1, seconds


def test_one_long_line(tokenize):
    done = tokenize(lines=["word " * 400_000])
    assert done.returncode == 0 and len(json.loads(done.stdout)) > 100_000


def test_a_reader_that_leaves(onsight):
    import subprocess

    process = onsight.start("tokenize", "--model", NANO, stdin=subprocess.PIPE)
    process.stdout.close()
    try:
        process.stdin.write(b'"a"\n' * 1_000_000)
        process.stdin.close()
    except BrokenPipeError:
        pass
    assert process.wait(timeout=20) == 0 and process.stderr.read() == b""
