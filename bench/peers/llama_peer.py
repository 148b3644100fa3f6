"""llama.cpp through llama-cpp-python and its own multimodal handler. The GGUF files lie beside the checkpoint (checkpoint.py)."""
import base64
from pathlib import Path

import peer

args = peer.arguments(["f16", "q8_0"])
import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import MTMDChatHandler

folder = Path(args.checkpoint)
text = {"f16": folder / "text-f16.gguf", "q8_0": Path(args.prepared) / "text-q8_0.gguf"}[args.variant]
if args.prepare:
    if not text.exists():
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype, options.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, args.threads
        unfinished = text.with_suffix(".unfinished")
        if llama_cpp.llama_model_quantize(str(folder / "text-f16.gguf").encode(), str(unfinished).encode(), options):
            raise SystemExit("llama_model_quantize failed")
        unfinished.rename(text)
    raise SystemExit

handler = MTMDChatHandler(clip_model_path=str(folder / "mmproj-q8_0.gguf"), verbose=False)
model = llama_cpp.Llama(
    model_path=str(text), chat_handler=handler, n_ctx=2048, n_batch=512, n_threads=args.threads, n_threads_batch=args.threads,
    flash_attn=True, verbose=False,
)  # fmt: skip
facts = {}
end = model.token_eos()


def ask():
    request = peer.Request()

    def tick(ids, scores):
        request.token()
        facts.setdefault("prompt_tokens", len(ids))
        scores[end] = -np.inf  # as many tokens as the others
        return scores

    url = "data:image/jpeg;base64," + base64.b64encode(Path(args.picture).read_bytes()).decode()
    model.create_chat_completion(
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": args.prompt}]}],
        max_tokens=args.max_tokens, temperature=0, repeat_penalty=1, logits_processor=llama_cpp.LogitsProcessorList([tick]),
    )  # fmt: skip
    return request


peer.measure(ask, args.runs, prompt_tokens=lambda: facts["prompt_tokens"], versions={"llama-cpp-python": llama_cpp.__version__})
