"""OpenVINO through optimum-intel: weights in int8, and the same with the vision tower quantised statically by NNCF, activations too."""
import contextlib
import time
from importlib.metadata import version
from pathlib import Path

import peer

args = peer.arguments(["int8", "int8-static"])
_library = peer.load_torchvision()
import nncf
import openvino
import torch
import transformers
from optimum.intel import OVModelForVisualCausalLM
from PIL import Image
from transformers import AutoProcessor

transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(args.threads)
weights = Path(args.prepared) / "openvino-int8"
static_tower = Path(args.prepared) / "openvino-static-vision.xml"
processor = AutoProcessor.from_pretrained(args.checkpoint)
messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": args.prompt}]}]
options = {"ov_config": {"INFERENCE_NUM_THREADS": str(args.threads), "PERFORMANCE_HINT": "LATENCY"}, "device": "CPU"}


def inputs():
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    return processor(text=text, images=[[Image.open(args.picture).convert("RGB")]], return_tensors="pt")


def prepare():
    if not (weights / "config.json").exists():
        model = OVModelForVisualCausalLM.from_pretrained(args.checkpoint, export=True, load_in_8bit=True, compile=False)
        model.save_pretrained(weights)
    if args.variant == "int8-static" and not static_tower.exists():
        # From the float tower: the tiles of the measured picture calibrate it, one at a time.
        model = OVModelForVisualCausalLM.from_pretrained(args.checkpoint, export=True, load_in_8bit=False, compile=False)
        seen = {}

        class Seen(Exception):
            pass

        def look(pixel_values, **more):
            seen.update(pixel_values=pixel_values, **more)
            raise Seen

        model.vision_embeddings.forward = look
        model.compile()
        with contextlib.suppress(Seen):
            model.generate(**inputs(), do_sample=False, max_new_tokens=1)
        names = {key.get_any_name() for key in model.vision_embeddings.model.inputs}
        tiles = [
            {name: value[i : i + 1].numpy() for name, value in seen.items() if name in names} for i in range(seen["pixel_values"].shape[0])
        ]
        quantised = nncf.quantize(
            model.vision_embeddings.model, nncf.Dataset(tiles), subset_size=len(tiles), model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED, fast_bias_correction=True,
        )  # fmt: skip
        openvino.save_model(quantised, static_tower, compress_to_fp16=False)


if args.prepare:
    prepare()
    raise SystemExit

model = OVModelForVisualCausalLM.from_pretrained(weights, compile=False, **options)
if args.variant == "int8-static":
    model.vision_embeddings.model = openvino.Core().read_model(static_tower)
    model.vision_embeddings.request = None
model.compile()
facts = {}
vision_ms = []
tower = model.vision_embeddings.forward


def timed_tower(pixel_values, **more):
    start = time.perf_counter()
    features = tower(pixel_values, **more)
    vision_ms.append((time.perf_counter() - start) * 1e3)
    facts["tiles"] = pixel_values.shape[0]
    return features


model.vision_embeddings.forward = timed_tower


class Ticks(transformers.StoppingCriteria):
    def __init__(self, request):
        self.request = request

    def __call__(self, input_ids, scores, **more):
        self.request.token()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


def ask():
    request = peer.Request()
    asked = inputs()
    facts["prompt_tokens"] = asked["input_ids"].shape[1]
    model.generate(
        **asked, do_sample=False, max_new_tokens=args.max_tokens, min_new_tokens=args.max_tokens, stopping_criteria=[Ticks(request)]
    )
    return request


peer.measure(
    ask, args.runs, prompt_tokens=lambda: facts["prompt_tokens"], tiles=lambda: facts["tiles"],
    vision_ms=lambda: peer.spread(vision_ms[1:]),
    versions={name: version(name) for name in ("openvino", "optimum-intel", "nncf", "transformers")},
)  # fmt: skip
