"""What llama.cpp computes, as .npy files, for run_fidelity.py: the logits of a text at every position, or the features of a picture's tiles.

    llama_trace.py quantise TEXT-f16.gguf OUT.gguf q8_0|q4_0 [keep]    keep: the embeddings stay in f16
    llama_trace.py logits TEXT.gguf IDS.npy OUT.npy
    llama_trace.py features TEXT.gguf MMPROJ.gguf PICTURE OUT.npy
"""
import ctypes
import os
import sys

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp as mtmd

THREADS = len(os.sched_getaffinity(0))


def quantise(source, target, kind, keep=None):
    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread = THREADS
    options.ftype = {"q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0}[kind]
    if keep:
        options.token_embedding_type = llama_cpp.GGML_TYPE_F16
    if llama_cpp.llama_model_quantize(source.encode(), target.encode(), options):
        sys.exit("llama_model_quantize failed")


def logits(text, ids, out):
    ids = np.load(ids).tolist()
    model = llama_cpp.Llama(model_path=text, n_ctx=len(ids) + 8, n_batch=512, n_threads=THREADS, n_threads_batch=THREADS, logits_all=True, verbose=False)
    model.eval(ids)
    np.save(out, np.array(model.scores[: len(ids)], np.float32))


def features(text, projector, picture, out):
    model = llama_cpp.Llama(model_path=text, n_ctx=512, verbose=False)
    options = mtmd.mtmd_context_params_default()
    options.use_gpu, options.n_threads = False, THREADS
    context = mtmd.mtmd_init_from_file(projector.encode(), model.model, options)
    if not context:
        sys.exit(f"{projector}: mtmd_init_from_file failed")
    bitmap = mtmd.mtmd_helper_bitmap_init_from_file(context, picture.encode(), False)
    marker = mtmd.mtmd_get_marker(context)
    text = mtmd.mtmd_input_text(text=marker, text_len=len(marker), add_special=False, parse_special=True)
    chunks = mtmd.mtmd_input_chunks_init()
    if not bitmap or mtmd.mtmd_tokenize(context, chunks, ctypes.byref(text), (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap), 1):
        sys.exit(f"{picture}: mtmd_tokenize failed")
    rows = []
    for i in range(mtmd.mtmd_input_chunks_size(chunks)):
        chunk = mtmd.mtmd_input_chunks_get(chunks, i)
        if mtmd.mtmd_input_chunk_get_type(chunk) != mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE:
            continue
        if mtmd.mtmd_encode_chunk(context, chunk):
            sys.exit("mtmd_encode_chunk failed")
        shape = mtmd.mtmd_input_chunk_get_n_tokens(chunk), model.n_embd()
        rows.append(np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(context), shape).copy())
    np.save(out, np.concatenate(rows))


{"quantise": quantise, "logits": logits, "features": features}[sys.argv[1]](*sys.argv[2:])
