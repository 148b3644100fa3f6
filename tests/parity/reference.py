"""What transformers computes for a checkpoint folder and a conversation, in f32 on the CPU, with the PIL image processor.

    from reference import Reference
    answer = Reference(folder).run([Turn("user", "What is {image}?", [picture])])
"""
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

# torchvision's compiled operators do not load beside a CPU-only torch; transformers needs none of them, but imports the package.
_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import transformers  # noqa: E402
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: E402
from transformers.image_utils import load_image  # noqa: E402
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil  # noqa: E402
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)  # the models are small: more threads only wait for one another
warnings.filterwarnings("ignore")


@dataclass
class Turn:
    """A message as `onsight ask` takes it: pictures stand where text says {image}, else before the text."""

    role: str
    text: str
    images: list = field(default_factory=list)  # paths

    def content(self):
        pieces = self.text.split("{image}")
        if len(pieces) == 1:
            pieces = [""] * len(self.images) + pieces
        else:
            assert len(pieces) == len(self.images) + 1
        parts = []
        for i, piece in enumerate(pieces):
            if piece:
                parts.append({"type": "text", "text": piece})
            if i + 1 < len(pieces):
                parts.append({"type": "image"})
        return parts


@dataclass
class Trace:
    """The tensors of one pass over the prompt, under the names of `onsight trace`, and the greedy answer."""

    tensors: dict
    text: str
    tokens: list  # of the answer, end token excluded
    ended: bool  # by an end token
    margin: float  # the least lead of a chosen token over the next one, in standard deviations of the logits


class Reference:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.processor = AutoProcessor.from_pretrained(folder)
        pil = Idefics3ImageProcessorPil if type(self.processor).__name__.startswith("Idefics3") else SmolVLMImageProcessorPil
        self.processor.image_processor = pil.from_pretrained(folder)

    def inputs(self, turns):
        messages = [{"role": turn.role, "content": turn.content()} for turn in turns]
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        images = [load_image(str(path)) for turn in turns for path in turn.images]
        return self.processor(text=text, images=[images] if images else None, return_tensors="pt")

    @torch.no_grad()
    def run(self, turns, max_tokens=64, layers=True):
        inputs = self.inputs(turns)
        tensors = {"input_ids": inputs["input_ids"][0].numpy().astype(np.int32)}
        if "pixel_values" in inputs:
            tensors["pixel_values"] = inputs["pixel_values"][0].numpy()
        with self._record(tensors if layers else {}):
            logits = self.model(**inputs).logits[0]
        tensors["logits"] = logits.numpy()
        if "pixel_values" in inputs:
            features = self.model.get_image_features(inputs["pixel_values"], inputs.get("pixel_attention_mask")).pooler_output
            tensors["image_features"] = torch.cat(list(features)).numpy()
        done = self.model.generate(
            **inputs, do_sample=False, max_new_tokens=max_tokens, return_dict_in_generate=True, output_logits=True
        )
        tokens = done.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        ended = bool(tokens) and tokens[-1] in ends
        margin = min((self._margin(step[0]) for step in done.logits), default=float("inf"))
        tokens = tokens[:-1] if ended else tokens
        return Trace(tensors, self.processor.tokenizer.decode(tokens, skip_special_tokens=True), tokens, ended, margin)

    @staticmethod
    def _margin(logits):
        first, second = torch.topk(logits.float(), 2).values.tolist()
        return (first - second) / logits.float().std().item()

    def _record(self, tensors):
        vision, text = self.model.model.vision_model, self.model.model.text_model
        places = {"vision.embeddings": vision.embeddings, "vision.post_layernorm": vision.post_layernorm, "text.norm": text.norm}
        places |= {f"vision.layers.{i}": layer for i, layer in enumerate(vision.encoder.layers)}
        places |= {f"text.layers.{i}": layer for i, layer in enumerate(text.layers)}
        return _Hooks(tensors, places, text.layers[0])


class _Hooks:
    """Keeps the outputs of modules, and the input of the first text layer, in `tensors` while the model runs."""

    def __init__(self, tensors, places, first_text_layer):
        self.tensors, self.places, self.first_text_layer = tensors, places, first_text_layer

    def __enter__(self):
        def keep(name):
            def hook(module, arguments, output):
                value = output[0] if isinstance(output, tuple) else output
                value = value if value.dim() == 3 else value[None]
                self.tensors[name] = (value if name.startswith("vision") else value[0]).numpy().copy()

            return hook

        def keep_input(module, arguments, keywords):
            value = arguments[0] if arguments else keywords["hidden_states"]
            self.tensors["text.embeddings"] = value[0].numpy().copy()

        self.handles = [module.register_forward_hook(keep(name)) for name, module in self.places.items()]
        self.handles.append(self.first_text_layer.register_forward_pre_hook(keep_input, with_kwargs=True))
        return self

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


def relative_error(got, want):
    """The largest difference, in units of the reference's root mean square."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return float(np.abs(got - want).max() / max(np.sqrt(np.mean(want**2)), 1e-30)) if want.size else 0.0
