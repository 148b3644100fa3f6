"""llama.cpp by its C functions, which the package xllamacpp brings compiled: run as a program of its own, so that no failure of it ends the tests.

    python llama.py answers MODEL.gguf MAX_TOKENS < prompts         a prompt is a line of JSON, a string
    -> {"prompt": its ids, "tokens": those of the greedy answer, "leads": how far each led over the next, in standard deviations}
    python llama.py features MODEL.gguf MMPROJ.gguf PICTURE OUT.npy    [tiles * tokens a tile, d_text], as the projector gives them
"""
import ctypes
import json
import sys

import numpy as np
import xllamacpp.xllamacpp

C = ctypes.CDLL(xllamacpp.xllamacpp.__file__)


class Settings(ctypes.Structure):
    """Settings of any kind, passed on by value as their default function gave them: room for more than any of them is."""

    _fields_ = [("bytes", ctypes.c_uint64 * 256)]


def function(name, result, *arguments):
    found = getattr(C, name)
    found.restype, found.argtypes = result, arguments
    return found


handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
numbers, floats = ctypes.POINTER(number), ctypes.POINTER(ctypes.c_float)


def checked(value, what):
    if not value:
        sys.exit(f"{what} failed")
    return value


def load(path):
    settings = function("llama_model_default_params", Settings)()
    return checked(function("llama_model_load_from_file", handle, text, Settings)(path.encode(), settings), f"{path}: llama_model_load_from_file")


def answers(path, most):
    model = load(path)
    vocabulary = function("llama_model_get_vocab", handle, handle)(model)
    size = function("llama_vocab_n_tokens", number, handle)(vocabulary)
    ends = function("llama_vocab_is_eog", ctypes.c_bool, handle, number)
    tokenize = function("llama_tokenize", number, handle, text, number, numbers, number, ctypes.c_bool, ctypes.c_bool)
    batch_of = function("llama_batch_get_one", Settings, numbers, number)
    decode = function("llama_decode", number, handle, Settings)
    logits_of = function("llama_get_logits_ith", floats, handle, number)

    for line in sys.stdin:
        prompt = json.loads(line).encode()
        ids = (number * 512)()
        count = tokenize(vocabulary, prompt, len(prompt), ids, len(ids), False, True)
        settings = function("llama_context_default_params", Settings)()
        context = checked(function("llama_init_from_model", handle, handle, Settings)(model, settings), "llama_init_from_model")

        def run(ids, count):
            if decode(context, batch_of(ids, count)):
                sys.exit("llama_decode failed")
            return np.ctypeslib.as_array(logits_of(context, -1), (size,))

        logits = run(ids, count)
        tokens, leads = [], []
        while len(tokens) < int(most):
            second, first = np.sort(logits)[-2:]
            leads.append(float((first - second) / logits.std()))
            tokens.append(int(logits.argmax()))
            if ends(vocabulary, tokens[-1]):
                break
            logits = run((number * 1)(tokens[-1]), 1)
        function("llama_free", None, handle)(context)
        print(json.dumps({"prompt": list(ids[:count]), "tokens": tokens, "leads": leads}))


class InputText(ctypes.Structure):
    _fields_ = [("text", text), ("length", ctypes.c_size_t), ("add_special", ctypes.c_bool), ("parse_special", ctypes.c_bool)]


def features(path, projector, picture, out):
    model = load(path)
    settings = function("mtmd_context_params_default", Settings)()
    context = checked(function("mtmd_init_from_file", handle, text, handle, Settings)(projector.encode(), model, settings), f"{projector}: mtmd_init_from_file")
    bitmap = checked(function("mtmd_helper_bitmap_init_from_file", handle, handle, text, ctypes.c_bool)(context, picture.encode(), False), picture)
    marker = function("mtmd_get_marker", text, handle)(context)
    chunks = function("mtmd_input_chunks_init", handle)()
    tokenize = function("mtmd_tokenize", number, handle, handle, ctypes.POINTER(InputText), ctypes.POINTER(handle), ctypes.c_size_t)
    if tokenize(context, chunks, InputText(marker, len(marker), False, True), (handle * 1)(bitmap), 1):
        sys.exit(f"{picture}: mtmd_tokenize failed")
    width = function("llama_model_n_embd", number, handle)(model)
    rows = []
    for i in range(function("mtmd_input_chunks_size", ctypes.c_size_t, handle)(chunks)):
        chunk = function("mtmd_input_chunks_get", handle, handle, ctypes.c_size_t)(chunks, i)
        if function("mtmd_input_chunk_get_type", number, handle)(chunk) != 1:  # a picture's
            continue
        if function("mtmd_encode_chunk", number, handle, handle)(context, chunk):
            sys.exit("mtmd_encode_chunk failed")
        count = function("mtmd_input_chunk_get_n_tokens", ctypes.c_size_t, handle)(chunk)
        rows.append(np.ctypeslib.as_array(function("mtmd_get_output_embd", floats, handle)(context), (count, width)).copy())
    np.save(out, np.concatenate(rows))


{"answers": answers, "features": features}[sys.argv[1]](*sys.argv[2:])
