"""Seeded random checkpoints of the SmolVLM family, small and of varied shape, in both folder layouts.

    python tests/parity/make_checkpoint.py FOLDER --seed 3         # the third of the varied shapes
    from make_checkpoint import Spec, varied, write                # write(Spec(...), folder)

The numbers are random, yet the answers are not dull: attention is sharp, layers outweigh the embedding, and control tokens are
unlikely, so that 64 greedy tokens depend on the prompt and the pictures.
"""
import argparse
import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import reference  # noqa: F401  (defines torchvision's operators before transformers is imported)
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
    "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass
class Spec:
    seed: int = 0
    architecture: str = "SmolVLM"  # or "Idefics3"
    layout: str = "published"  # or "saved": as transformers 5 writes it
    dtype: str = "float32"
    shards: int = 1
    tied: bool = False
    # vision
    vision_width: int = 48
    vision_heads: int = 3
    vision_layers: int = 2
    vision_inner: int = 80
    image_size: int = 32
    tile: int = 0  # 0: image_size
    patch: int = 8
    scale: int = 2
    vision_act: str = "gelu_pytorch_tanh"
    # text
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 0  # 0: width / heads
    layers: int = 3
    inner: int = 112
    theta: float = 10000.0
    rope: dict = field(default_factory=dict)  # {"rope_type": "linear", "factor": 2}
    eps: float = 1e-5
    attention_bias: bool = False
    mlp_bias: bool = False
    context: int = 4096
    # processor
    longest_edge: int = 96
    splitting: bool = True
    resample: int = 1
    mean: tuple = (0.5, 0.5, 0.5)
    std: tuple = (0.5, 0.5, 0.5)
    # tokenizer
    merges: int = 120
    row_col_tokens: int = 6  # rows and columns that have a token of their own; 0: "<row_1_col_1>" is plain text, as in SmolVLM 1
    spare_vocabulary: int = 5  # rows of the embedding beyond the tokenizer's ids

    @property
    def tile_size(self):
        return self.tile or self.image_size

    @property
    def image_seq_len(self):
        return (self.tile_size // self.patch // self.scale) ** 2


def varied(seed):
    """The spec of a seed: every choice varies, and the first 24 seeds together cover each."""
    rng = random.Random(1000 + seed)
    heads = rng.choice([1, 2, 3, 4, 6, 9])
    kv_heads = rng.choice([k for k in range(1, heads + 1) if heads % k == 0])
    head_dim = rng.choice([8, 10, 16, 24])
    vision_heads = rng.choice([1, 2, 3, 4, 5])
    patch, scale = rng.choice([(4, 2), (5, 2), (6, 1), (7, 3), (8, 2), (8, 3), (8, 4), (14, 1), (16, 2)])
    side = scale * rng.choice([1, 2, 3] if scale > 1 else [2, 3, 4])  # patches a side of a tile
    tile = side * patch + rng.choice([0, 0, 0, patch - 1, patch // 2])  # a remainder is not looked at
    image_size = tile if seed % 4 else patch * rng.choice([side - 1 or 1, side + 1, side + 3])  # positions other than patches
    rope = {}
    if seed % 8 == 5:
        rope = {"rope_type": "linear", "factor": 2.5}
    if seed % 8 == 7:
        rope = {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }  # fmt: skip
    return Spec(
        seed=seed,
        architecture="Idefics3" if seed % 3 == 2 else "SmolVLM",
        layout="saved" if seed % 2 else "published",
        dtype=["float32", "bfloat16", "float16"][seed % 3],
        shards=3 if seed % 5 == 1 else 1,
        tied=seed % 4 in (1, 2),
        vision_width=vision_heads * rng.choice([8, 12, 16, 18]),
        vision_heads=vision_heads,
        vision_layers=rng.choice([1, 2, 3]),
        vision_inner=rng.choice([33, 64, 100, 130]),
        image_size=image_size,
        tile=tile,
        patch=patch,
        scale=scale,
        vision_act="gelu" if seed % 7 == 3 else "gelu_pytorch_tanh",
        width=heads * (head_dim if seed % 6 else head_dim + 3),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        layers=rng.choice([1, 2, 3, 4]),
        inner=rng.choice([48, 97, 128, 200]),
        theta=rng.choice([10000.0, 100000.0, 130000.0, 273768.0]),
        rope=rope,
        eps=rng.choice([1e-5, 1e-6]),
        attention_bias=seed % 9 == 4,
        mlp_bias=seed % 9 == 6,
        longest_edge=rng.choice([tile, 2 * tile, 3 * tile, 4 * tile, 2 * tile + 1, 2 * tile + tile // 2]),
        splitting=seed % 5 != 3,
        resample=rng.choice([1, 1, 1, 2, 3]),
        mean=rng.choice([(0.5, 0.5, 0.5), (0.485, 0.456, 0.406)]),
        std=rng.choice([(0.5, 0.5, 0.5), (0.229, 0.224, 0.225)]),
        merges=rng.choice([40, 120, 200]),
        row_col_tokens=0 if seed % 4 == 3 else 6,
        spare_vocabulary=rng.choice([0, 1, 7, 30]),
    )


def make_tokenizer(spec):
    """Byte-level BPE with the family's pre-tokeniser and added tokens; every byte has a token, and so has "\\n\\n"."""
    words = ["the", "what", "is", "in", "this", "image", "describe", "picture", "User", "Assistant", "text", "read", "how", "many"]
    rng = random.Random(7)
    corpus = [" ".join(rng.choices(words, k=12)) + rng.choice([".", "?", "!", ":"]) + "\n\n" for _ in range(300)]
    corpus += ["user: assistant: row col 1 2 3\n\n"] * 40
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(control) + 256 + spec.merges, special_tokens=control, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    n = spec.row_col_tokens
    tokenizer.add_special_tokens(["<global-img>"] if n else [])
    tokenizer.add_special_tokens([f"<row_{r}_col_{c}>" for r in range(1, n + 1) for c in range(1, n + 1)])
    tokenizer.add_special_tokens(["<fake_token_around_image>", "<image>", "<end_of_utterance>"])
    return tokenizer


def make_weights(spec, vocabulary, control_ids):
    """name -> f32 tensor"""
    rng = np.random.default_rng(spec.seed)
    out = {}

    def put(name, *shape, gain=1.0, fan_in=None):
        fan_in = fan_in or shape[-1]
        out[name] = torch.from_numpy(rng.standard_normal(shape).astype(np.float32) * np.float32(gain / fan_in**0.5))

    def bias(name, n):
        out[name] = torch.from_numpy(rng.standard_normal(n).astype(np.float32) * np.float32(0.1))

    def norm(name, n, has_bias=False):
        out[name + ".weight"] = torch.from_numpy(1 + 0.1 * rng.standard_normal(n).astype(np.float32))
        if has_bias:
            bias(name + ".bias", n)

    v, d = "model.vision_model.", spec.vision_width
    put(v + "embeddings.patch_embedding.weight", d, 3, spec.patch, spec.patch, fan_in=3 * spec.patch**2, gain=2.0)
    bias(v + "embeddings.patch_embedding.bias", d)
    put(v + "embeddings.position_embedding.weight", (spec.image_size // spec.patch) ** 2, d, fan_in=1, gain=0.5)
    for i in range(spec.vision_layers):
        p = f"{v}encoder.layers.{i}."
        for name, gain in (("q_proj", 1.6), ("k_proj", 1.6), ("v_proj", 1.0), ("out_proj", 1.0)):
            put(f"{p}self_attn.{name}.weight", d, d, gain=gain)
            bias(f"{p}self_attn.{name}.bias", d)
        for name, rows, columns in (("fc1", spec.vision_inner, d), ("fc2", d, spec.vision_inner)):
            put(f"{p}mlp.{name}.weight", rows, columns, gain=1.5)
            bias(f"{p}mlp.{name}.bias", rows)
        norm(p + "layer_norm1", d, True)
        norm(p + "layer_norm2", d, True)
    norm(v + "post_layernorm", d, True)
    put("model.connector.modality_projection.proj.weight", spec.width, d * spec.scale**2)

    t, w, hd = "model.text_model.", spec.width, spec.head_dim or spec.width // spec.heads
    put(t + "embed_tokens.weight", vocabulary, w, fan_in=1, gain=0.3)
    for i in range(spec.layers):
        p = f"{t}layers.{i}."
        shapes = {
            "self_attn.q_proj": (spec.heads * hd, w, 1.8), "self_attn.k_proj": (spec.kv_heads * hd, w, 1.8),
            "self_attn.v_proj": (spec.kv_heads * hd, w, 1.0), "self_attn.o_proj": (w, spec.heads * hd, 1.2),
            "mlp.gate_proj": (spec.inner, w, 1.5), "mlp.up_proj": (spec.inner, w, 1.5), "mlp.down_proj": (w, spec.inner, 1.5),
        }  # fmt: skip
        for name, (rows, columns, gain) in shapes.items():
            put(f"{p}{name}.weight", rows, columns, gain=gain)
            if spec.attention_bias if name.startswith("self_attn") else spec.mlp_bias:
                bias(f"{p}{name}.bias", rows)
        norm(p + "input_layernorm", w)
        norm(p + "post_attention_layernorm", w)
    norm(t + "norm", w)
    head = t + "embed_tokens.weight"
    if not spec.tied:
        head = "lm_head.weight"
        put(head, vocabulary, w, gain=2.0)
    out[head][control_ids] *= 0.05
    return out


def make_config(spec, vocabulary, ids):
    published = spec.layout == "published"
    model_type = spec.architecture.lower()
    text = {
        "model_type": "llama", "hidden_size": spec.width, "intermediate_size": spec.inner, "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads, "num_hidden_layers": spec.layers, "max_position_embeddings": spec.context,
        "rms_norm_eps": spec.eps, "hidden_act": "silu", "vocab_size": vocabulary, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 2, "attention_bias": spec.attention_bias, "mlp_bias": spec.mlp_bias, "tie_word_embeddings": spec.tied,
    }  # fmt: skip
    if spec.head_dim:
        text["head_dim"] = spec.head_dim
    if published:
        text["rope_theta"] = spec.theta
        if spec.rope:
            text["rope_scaling"] = spec.rope
    else:
        text["rope_parameters"] = {"rope_type": "default", **spec.rope, "rope_theta": spec.theta}
    vision = {
        "model_type": f"{model_type}_vision", "hidden_size": spec.vision_width, "intermediate_size": spec.vision_inner,
        "num_attention_heads": spec.vision_heads, "num_hidden_layers": spec.vision_layers, "image_size": spec.image_size,
        "patch_size": spec.patch, "hidden_act": spec.vision_act,
    }  # fmt: skip
    return {
        "architectures": [f"{spec.architecture}ForConditionalGeneration"], "model_type": model_type, "scale_factor": spec.scale,
        "image_token_id": ids["<image>"], "tie_word_embeddings": spec.tied, "pad_token_id": 2,
        "torch_dtype" if published else "dtype": spec.dtype, "text_config": text, "vision_config": vision,
    }  # fmt: skip


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_weights(folder, tensors, shards):
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, weight_map = list(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i::shards]
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def write(spec, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(spec)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = tokenizer.get_vocab(with_added_tokens=True)
    control = [i for name, i in ids.items() if name.startswith("<") and name.endswith(">") and len(name) > 2]
    vocabulary = max(ids.values()) + 1 + spec.spare_vocabulary
    control += range(vocabulary - spec.spare_vocabulary, vocabulary)  # ids without a token
    tensors = make_weights(spec, vocabulary, control)
    write_weights(folder, {k: v.to(DTYPES[spec.dtype]) for k, v in tensors.items()}, spec.shards)
    write_json(folder / "config.json", make_config(spec, vocabulary, ids))
    ends = ids["<end_of_utterance>"]
    generation = {"bos_token_id": 1, "eos_token_id": [2, ends] if spec.seed % 2 else ends, "pad_token_id": 2}
    write_json(folder / "generation_config.json", generation)
    image = {
        "do_convert_rgb": True, "do_image_splitting": spec.splitting, "do_normalize": True, "do_pad": True, "do_rescale": True,
        "do_resize": True, "image_mean": list(spec.mean), "image_std": list(spec.std), "resample": spec.resample,
        "image_processor_type": f"{spec.architecture}ImageProcessor", "max_image_size": {"longest_edge": spec.tile_size},
        "rescale_factor": 1 / 255, "size": {"longest_edge": spec.longest_edge},
    }  # fmt: skip
    processor = {"image_seq_len": spec.image_seq_len, "processor_class": f"{spec.architecture}Processor"}
    tokens = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    if spec.layout == "published":
        if spec.architecture == "SmolVLM":
            frames = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": spec.tile_size}}
            image["video_sampling"] = frames
        write_json(folder / "preprocessor_config.json", image | {"processor_class": processor["processor_class"]})
        write_json(folder / "chat_template.json", {"chat_template": TEMPLATE})
    else:
        processor["image_processor"] = image
        if spec.architecture == "SmolVLM":
            processor["video_processor"] = {
                "video_processor_type": "SmolVLMVideoProcessor", "size": {"longest_edge": spec.longest_edge},
                "max_image_size": {"longest_edge": spec.tile_size},
            }  # fmt: skip
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    write_json(folder / "processor_config.json", processor)
    write_json(folder / "tokenizer_config.json", tokens)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    spec = varied(arguments.seed)
    write(spec, arguments.folder)
    print(replace(spec))


if __name__ == "__main__":
    main()
