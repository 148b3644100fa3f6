"""Writes a training checkpoint as a Hugging Face SmolVLM folder (bf16) and proves that transformers agrees:
python export.py [--checkpoint runs/annealed-ema] [--out ../models/onsight-nano] [--config-only]"""
import argparse
import json
import os
import random
from importlib.metadata import version

import torch

if torch.version.cuda is None and "cpu" not in version("torchvision"):  # a CUDA torchvision beside a CPU torch looks for these
    LIB = torch.library.Library("torchvision", "DEF")
    for op in ("nms", "qnms"):
        LIB.define(op + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
    SmolVLMVisionConfig,
)

from onsight_nano import checkpoint
from onsight_nano.batch import prompt_ids
from onsight_nano.config import BOS, EOU, IMAGE, IMAGE_TOKENS, PAD, PATCH, SHUFFLE, SPECIALS, TEXT, TILE, VISION, VOCAB
from onsight_nano.model import NanoVLM

HERE = os.path.dirname(os.path.abspath(__file__))
SHIPPED = os.path.normpath(f"{HERE}/../models/onsight-nano")
FRAMES = 5  # of a video: more do not fit into the context
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
    "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% elif line['type'] == 'video' %}{{ '<video>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def tokenizer():
    """256 bytes without merges, then the specials: a byte's id is its value."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    odd = (b for b in range(256) if b not in plain)
    names = {b: chr(256 + n) for n, b in enumerate(odd)} | {b: chr(b) for b in plain}
    t = Tokenizer(models.BPE(vocab={names[b]: b for b in range(256)}, merges=[]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=t, bos_token=SPECIALS[0], eos_token=SPECIALS[1], pad_token=SPECIALS[5], clean_up_tokenization_spaces=False,
        model_max_length=TEXT["positions"],
        extra_special_tokens={"image_token": SPECIALS[2], "fake_image_token": SPECIALS[3], "global_image_token": SPECIALS[4], "end_of_utterance_token": SPECIALS[1]},
    )


def config():
    text = LlamaConfig(
        vocab_size=VOCAB, hidden_size=TEXT["width"], intermediate_size=TEXT["ffn"], num_hidden_layers=TEXT["layers"],
        num_attention_heads=TEXT["heads"], num_key_value_heads=TEXT["kv"], head_dim=TEXT["width"] // TEXT["heads"],
        max_position_embeddings=TEXT["positions"], rms_norm_eps=TEXT["eps"], rope_parameters={"rope_type": "default", "rope_theta": TEXT["theta"]},
        bos_token_id=BOS, eos_token_id=EOU, pad_token_id=PAD, tie_word_embeddings=False,
    )
    vision = SmolVLMVisionConfig(
        hidden_size=VISION["width"], intermediate_size=VISION["ffn"], num_hidden_layers=VISION["layers"], num_attention_heads=VISION["heads"],
        image_size=TILE, patch_size=PATCH, layer_norm_eps=VISION["eps"],
    )
    return SmolVLMConfig(
        vision_config=vision.to_dict(), text_config=text.to_dict(), scale_factor=SHUFFLE, image_token_id=IMAGE, tie_word_embeddings=False,
        bos_token_id=BOS, eos_token_id=EOU, pad_token_id=PAD,
    )


def processor():
    edge = {"longest_edge": TILE}
    images = SmolVLMImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return SmolVLMProcessor(images, tokenizer(), SmolVLMVideoProcessor(size=edge, max_image_size=edge, fps=1, num_frames=FRAMES), image_seq_len=IMAGE_TOKENS, chat_template=TEMPLATE)


def reference(weights):
    """The transformers model with these weights, loaded strictly, in f32."""
    model = SmolVLMForConditionalGeneration(config())
    model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=True)
    return model.float().eval()


def plain(weights):
    """The plain PyTorch model with these weights, in f32."""
    model = NanoVLM()
    model.load_state_dict({k: v.float() for k, v in weights.items()})
    return model.eval()


@torch.no_grad()
def difference(weights, samples):
    """Largest difference of the logits of the two models over samples."""
    a, b, worst = plain(weights), reference(weights), 0.0
    for s in samples:
        ids = torch.tensor([prompt_ids(s["question"]) + [32, *s["answer"].encode(), EOU]])
        image = torch.from_numpy(s["image"].copy())[None]
        x = a.lm_head(a.text(a.embed(ids, a.connect(a.vision(image)))))
        pixels = (image.permute(0, 3, 1, 2)[:, None].float() - 127.5) / 127.5
        y = b(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids)).logits
        worst = max(worst, (x - y).abs().max().item())
    return worst


def write(weights, out):
    """The folder. Without weights only the small files."""
    os.makedirs(out, exist_ok=True)
    processor().save_pretrained(out)
    cfg = config()
    cfg.architectures, cfg.dtype = ["SmolVLMForConditionalGeneration"], "bfloat16"
    cfg.save_pretrained(out)
    with open(f"{out}/config.json", encoding="utf8") as f:
        values = json.load(f)
    values.pop("_pad_token_id", None)  # transformers 5.23 writes the private name of this one
    values.update(pad_token_id=PAD, vocab_size=VOCAB)
    with open(f"{out}/config.json", "w", encoding="utf8") as f:
        json.dump(dict(sorted(values.items())), f, indent=2)
        f.write("\n")
    with open(f"{out}/generation_config.json", "w", encoding="utf8") as f:
        json.dump({"bos_token_id": BOS, "eos_token_id": EOU, "pad_token_id": PAD, "transformers_version": version("transformers")}, f, indent=2)
        f.write("\n")
    if weights is not None:
        save_file({k: v.to(torch.bfloat16).contiguous() for k, v in weights.items()}, f"{out}/model.safetensors", {"format": "pt"})


def ask(model, proc, image, question, n=110):
    """The answer that transformers gives about a PIL picture."""
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    x = proc(text=proc.apply_chat_template(message, add_generation_prompt=True), images=[image], return_tensors="pt")
    y = model.generate(**x, max_new_tokens=n, do_sample=False)
    return proc.batch_decode(y[:, x["input_ids"].shape[1] :], skip_special_tokens=True)[0].strip()


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--checkpoint", default=f"{HERE}/runs/annealed-ema")
    ap.add_argument("--out", default=SHIPPED)
    ap.add_argument("--config-only", action="store_true")
    a = ap.parse_args()
    weights, _ = checkpoint.load(a.checkpoint)
    write(None if a.config_only else checkpoint.shipped(weights), a.out)
    print({f: os.path.getsize(f"{a.out}/{f}") for f in sorted(os.listdir(a.out))})
    if a.config_only:
        return
    from onsight_nano.data.text import crop, square
    from onsight_nano.quick import answers

    r = random.Random(3)
    samples = [square(r, 2, True) for _ in range(3)] + [crop(r, 1) for _ in range(2)]
    shipped = load_file(f"{a.out}/model.safetensors")
    print("largest logit difference to transformers (f32):", difference(shipped, samples))
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, proc = AutoModelForImageTextToText.from_pretrained(a.out, dtype=torch.float32), AutoProcessor.from_pretrained(a.out, use_fast=False)
    for s in samples:
        print(repr(ask(model, proc, Image.fromarray(s["image"]), s["question"])), "| plain:", repr(answers(plain(shipped), [s])[0]), "| truth:", repr(s["answer"]))


if __name__ == "__main__":
    main()
