"""libonsight from another language, here Python with nothing but its standard library."""
import ctypes as c
import subprocess
import threading

import pytest

from conftest import BUILD, ROOT

RECEIPT = bytes(ROOT / "examples/receipt.jpg")
TEXT = "Bread 2.45\nMilk 1.29\nCoffee 6.80\nTotal 10.54"


class Error(c.Structure):
    _fields_ = [("code", c.c_int), ("message", c.c_char * 1020)]


class AskOptions(c.Structure):
    _fields_ = [("size", c.c_size_t), ("seed", c.c_uint64), ("stops", c.POINTER(c.c_char_p)), ("json_schema", c.c_char_p), ("max_tokens", c.c_int),
                ("temperature", c.c_float), ("top_k", c.c_int), ("top_p", c.c_float), ("min_p", c.c_float), ("repetition_penalty", c.c_float),
                ("max_tiles", c.c_int), ("no_upscale", c.c_int)]  # fmt: skip


class Reply(c.Structure):
    _fields_ = [("text", c.c_char_p), ("length", c.c_size_t), ("finish", c.c_int), ("prompt_tokens", c.c_int), ("completion_tokens", c.c_int),
                ("cached_tokens", c.c_int)] + [(f"{stage}_ms", c.c_double) for stage in ("preprocess", "vision", "prefill", "decode", "first_token")]  # fmt: skip


class LaterReply(Reply):  # what a newer header appended
    _fields_ = [("peak_memory_bytes", c.c_int64), ("drafted_tokens", c.c_int), ("accepted_tokens", c.c_int), ("cached_tiles", c.c_int)]


OnText = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_char), c.c_size_t)


@pytest.fixture(scope="module")
def lib(library):
    lib = c.CDLL(str(library))
    error = c.POINTER(Error)
    for name, *types in [
        ("model_load", c.c_char_p, c.c_void_p, c.POINTER(c.c_void_p), error),
        ("chat_text", c.c_void_p, c.c_char_p, error),
        ("chat_image_file", c.c_void_p, c.c_char_p, error),
        ("ask", c.c_void_p, c.c_void_p, c.POINTER(AskOptions), OnText, c.c_void_p, c.POINTER(c.POINTER(Reply)), error),
        ("model_free", c.c_void_p), ("chat_free", c.c_void_p), ("reply_free", c.c_void_p), ("chat_cancel", c.c_void_p, c.c_int), ("chat_new",),
    ]:  # fmt: skip
        getattr(lib, f"onsight_{name}").argtypes = types
    lib.onsight_chat_new.restype = c.c_void_p
    lib.onsight_version.restype = c.c_char_p
    return lib


@pytest.fixture(scope="module")
def model(lib):
    model, error = c.c_void_p(), Error()
    assert lib.onsight_model_load(None, None, model, error) == 0, error.message
    yield model
    lib.onsight_model_free(model)


def ask(lib, model, on_text):
    chat, error, reply = lib.onsight_chat_new(), Error(), c.POINTER(Reply)()
    options = AskOptions(size=c.sizeof(AskOptions), max_tokens=200)
    assert lib.onsight_chat_image_file(chat, RECEIPT, error) == 0, error.message
    assert lib.onsight_chat_text(chat, b"Read the text.", error) == 0, error.message
    assert lib.onsight_ask(model, chat, options, OnText(on_text), None, reply, error) == 0, error.message
    told = (reply.contents.text.decode(), reply.contents.finish, reply.contents.completion_tokens)
    later = c.cast(reply, c.POINTER(LaterReply)).contents
    assert later.peak_memory_bytes > 10_000_000 and 0 <= later.accepted_tokens <= later.drafted_tokens and later.cached_tiles == 0
    lib.onsight_reply_free(reply)
    lib.onsight_chat_free(chat)
    return told


def test_an_answer_comes_in_pieces(lib, model):
    pieces = []
    text, finish, tokens = ask(lib, model, lambda user, text, length: pieces.append(text[:length].decode()) or 0)
    assert text == "".join(pieces) == TEXT
    assert len(pieces) > 3 and finish == 0 and tokens > len(pieces) / 2


def test_the_callback_ends_it(lib, model):
    text, finish, _ = ask(lib, model, lambda *_: 1)
    assert finish == 2 and TEXT.startswith(text)


def test_threads(lib, model):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(lib, model, lambda *_: 0)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [TEXT] * 3


def test_errors_are_those_of_the_program(lib, model):
    said = subprocess.run([BUILD / "onsight", "ask", "--model", "/nowhere", "Hi"], capture_output=True, text=True)
    other, error = c.c_void_p(), Error()
    assert lib.onsight_model_load(b"/nowhere", None, other, error) == said.returncode == error.code == 3
    assert other.value is None and said.stderr == f"onsight: {error.message.decode()}\n"
    assert lib.onsight_chat_image_file(lib.onsight_chat_new(), b"/nowhere.png", error) == 3
    assert b"/nowhere.png" in error.message and not error.message.endswith(b".")
