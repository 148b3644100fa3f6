"""What llama.cpp says to prompts, as JSON lines: run by an interpreter that has llama-cpp-python (bench/peers/requirements/llama.txt).

    python llama.py MODEL.gguf MAX_TOKENS < prompts          a prompt is a line of JSON, a string
    -> {"prompt": its ids, "tokens": those of the greedy answer, "leads": how far each led over the next, in standard deviations}
"""
import json
import sys

import llama_cpp
import numpy as np

model = llama_cpp.Llama(model_path=sys.argv[1], n_ctx=1024, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)
for line in sys.stdin:
    ids = model.tokenize(json.loads(line).encode(), add_bos=False, special=True)
    model.reset()
    model.eval(ids)
    tokens, leads = [], []
    while len(tokens) < int(sys.argv[2]):
        logits = np.array(model.scores[model.n_tokens - 1])
        second, first = np.sort(logits)[-2:]
        leads.append(float((first - second) / logits.std()))
        tokens.append(int(logits.argmax()))
        if llama_cpp.llama_vocab_is_eog(model._model.vocab, tokens[-1]):
            break
        model.eval(tokens[-1:])
    print(json.dumps({"prompt": ids, "tokens": tokens, "leads": leads}))
