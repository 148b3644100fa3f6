"""transformers on the CPU, in f32 or bf16."""
import time

import peer

args = peer.arguments(["f32", "bf16"])
if args.prepare:
    raise SystemExit

_library = peer.load_torchvision()
import torch
import transformers
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

torch.set_num_threads(args.threads)
transformers.utils.logging.disable_progress_bar()
dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.variant]
model = AutoModelForImageTextToText.from_pretrained(args.checkpoint, dtype=dtype, attn_implementation="sdpa").eval()
processor = AutoProcessor.from_pretrained(args.checkpoint)
messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": args.prompt}]}]
facts = {}
vision_ms = []
model.model.vision_model.register_forward_pre_hook(lambda *_: facts.update(vision_start=time.perf_counter()))
model.model.vision_model.register_forward_hook(lambda *_: vision_ms.append((time.perf_counter() - facts["vision_start"]) * 1e3))


class Ticks(transformers.StoppingCriteria):
    def __init__(self, request):
        self.request = request

    def __call__(self, input_ids, scores, **more):
        self.request.token()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


@torch.inference_mode()
def ask():
    request = peer.Request()
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(text=text, images=[[Image.open(args.picture).convert("RGB")]], return_tensors="pt")
    facts.update(prompt_tokens=inputs["input_ids"].shape[1], tiles=inputs["pixel_values"].shape[1])
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    model.generate(
        **inputs, do_sample=False, max_new_tokens=args.max_tokens, min_new_tokens=args.max_tokens, stopping_criteria=[Ticks(request)]
    )
    return request


peer.measure(
    ask, args.runs, prompt_tokens=lambda: facts["prompt_tokens"], tiles=lambda: facts["tiles"],
    vision_ms=lambda: peer.spread(vision_ms[1:]), versions={"transformers": transformers.__version__, "torch": torch.__version__},
)  # fmt: skip
