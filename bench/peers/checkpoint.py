#!/usr/bin/env python3
"""Write a random-weight SmolVLM2 checkpoint of a published size, as a Hugging Face folder and as a GGUF pair.

The shapes are the published ones, so time and memory are those of the real model; the words it says are not.
Both forms hold the same numbers, so two runtimes can be measured on the same work.

    checkpoint.py PRESET OUT_DIR --tokenizer tokenizer.json [--seed 0] [--no-gguf] [--outliers]

--outliers scales three residual channels by 25, as trained transformers have them: quantisation that only works on tame numbers fails on it.
"""

import argparse
import json
import os
import struct

import numpy as np

PRESETS = {
    # name: vision (dim, layers, heads, ffn, image, patch), scale, text (dim, layers, heads, kv, ffn, theta)
    "256m": ((768, 12, 12, 3072, 512, 16), 4, (576, 30, 9, 3, 1536, 100000.0)),
    "500m": ((768, 12, 12, 3072, 512, 16), 4, (960, 32, 15, 5, 2560, 100000.0)),
    "2.2b": ((1152, 27, 16, 4304, 384, 14), 3, (2048, 24, 32, 32, 8192, 130000.0)),
    "tiny": ((64, 2, 2, 128, 64, 16), 2, (96, 3, 3, 1, 192, 100000.0)),
}
VOCAB = 49280


def read_json(path):
    with open(path) as file:
        return json.load(file)


def vlm_added_tokens():
    rows = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    names = ["<global-img>"] + rows + ["<fake_token_around_image>", "<image>"]
    names += [f"<|reserved_special_token_{i}|>" for i in range(VOCAB - 49152 - len(names) - 1)] + ["<end_of_utterance>"]
    return names


def tensors(preset, rng, outliers=False):
    """Yield (name, float32 array) in file order."""
    for name, a in plain_tensors(preset, rng):
        if outliers and name.endswith(("patch_embedding.weight", "patch_embedding.bias", "modality_projection.proj.weight")):
            a[[5, 17, 41]] *= 25
        elif outliers and name.endswith(("position_embedding.weight", "embed_tokens.weight")):
            a[:, [5, 17, 41]] *= 25
        yield name, a


def plain_tensors(preset, rng):
    (vd, vl, vh, vf, img, patch), scale, (td, tl, th, tk, tf, _) = PRESETS[preset]
    hd = td // th

    def w(*shape):
        return rng.standard_normal(shape, dtype=np.float32) * (1.0 / np.sqrt(shape[-1]))

    def norm(n):
        return 1 + 0.05 * rng.standard_normal(n, dtype=np.float32)

    def b(n):
        return 0.02 * rng.standard_normal(n, dtype=np.float32)

    v = "model.vision_model."
    yield v + "embeddings.patch_embedding.weight", w(vd, 3 * patch * patch).reshape(vd, 3, patch, patch)
    yield v + "embeddings.patch_embedding.bias", b(vd)
    yield v + "embeddings.position_embedding.weight", 0.02 * rng.standard_normal(((img // patch) ** 2, vd), dtype=np.float32)
    for i in range(vl):
        p = f"{v}encoder.layers.{i}."
        for n in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield p + f"self_attn.{n}.weight", w(vd, vd)
            yield p + f"self_attn.{n}.bias", b(vd)
        for n in ("layer_norm1", "layer_norm2"):
            yield p + n + ".weight", norm(vd)
            yield p + n + ".bias", b(vd)
        yield p + "mlp.fc1.weight", w(vf, vd)
        yield p + "mlp.fc1.bias", b(vf)
        yield p + "mlp.fc2.weight", w(vd, vf)
        yield p + "mlp.fc2.bias", b(vd)
    yield v + "post_layernorm.weight", norm(vd)
    yield v + "post_layernorm.bias", b(vd)
    yield "model.connector.modality_projection.proj.weight", w(td, vd * scale * scale)
    t = "model.text_model."
    yield t + "embed_tokens.weight", w(VOCAB, td)
    for i in range(tl):
        p = f"{t}layers.{i}."
        yield p + "self_attn.q_proj.weight", w(th * hd, td)
        yield p + "self_attn.k_proj.weight", w(tk * hd, td)
        yield p + "self_attn.v_proj.weight", w(tk * hd, td)
        yield p + "self_attn.o_proj.weight", w(td, th * hd)
        yield p + "mlp.gate_proj.weight", w(tf, td)
        yield p + "mlp.up_proj.weight", w(tf, td)
        yield p + "mlp.down_proj.weight", w(td, tf)
        yield p + "input_layernorm.weight", norm(td)
        yield p + "post_attention_layernorm.weight", norm(td)
    yield t + "norm.weight", norm(td)
    yield "lm_head.weight", w(VOCAB, td)


def bf16_bytes(a):
    u = np.ascontiguousarray(a, dtype=np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16).tobytes()


def from_bf16(raw, shape):
    return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)


def write_hf(preset, out, tokenizer, seed, outliers=False):
    (vd, vl, vh, vf, img, patch), scale, (td, tl, th, tk, tf, theta) = PRESETS[preset]
    os.makedirs(out, exist_ok=True)
    header, offset = {}, 0
    tmp = os.path.join(out, "data.tmp")
    with open(tmp, "wb") as f:
        for name, a in tensors(preset, np.random.default_rng(seed), outliers):
            raw = bf16_bytes(a)
            header[name] = {"dtype": "BF16", "shape": list(a.shape), "data_offsets": [offset, offset + len(raw)]}
            offset += len(raw)
            f.write(raw)
    header["__metadata__"] = {"format": "pt"}
    h = json.dumps(header).encode()
    h += b" " * (-len(h) % 8)
    with open(os.path.join(out, "model.safetensors"), "wb") as f, open(tmp, "rb") as d:
        f.write(struct.pack("<Q", len(h)) + h)
        while chunk := d.read(1 << 24):
            f.write(chunk)
    os.remove(tmp)
    longest = 2048 if img == 512 else (1536 if img == 384 else img * 4)
    config = {
        "architectures": ["SmolVLMForConditionalGeneration"],
        "model_type": "smolvlm",
        "image_token_id": 49190,
        "scale_factor": scale,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": VOCAB,
        "pad_token_id": 2,
        "use_cache": True,
        "vision_config": {
            "model_type": "smolvlm_vision",
            "hidden_size": vd,
            "image_size": img,
            "intermediate_size": vf,
            "num_attention_heads": vh,
            "num_hidden_layers": vl,
            "patch_size": patch,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
            "num_channels": 3,
            "max_image_size": {"longest_edge": img},
            "size": {"longest_edge": longest},
        },
        "text_config": {
            "model_type": "llama",
            "architectures": ["VLlama3ForCausalLM"],
            "hidden_size": td,
            "intermediate_size": tf,
            "num_attention_heads": th,
            "num_key_value_heads": tk,
            "num_hidden_layers": tl,
            "head_dim": td // th,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_theta": theta,
            "hidden_act": "silu",
            "vocab_size": VOCAB,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 2,
            "tie_word_embeddings": False,
            "attention_bias": False,
        },
    }

    def dump(name, obj, **options):
        with open(os.path.join(out, name), "w") as file:
            json.dump(obj, file, **options)

    dump("config.json", config)
    dump("generation_config.json", {"bos_token_id": 1, "eos_token_id": 49279, "pad_token_id": 2})
    pre = {
        "do_convert_rgb": True,
        "do_image_splitting": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "image_processor_type": "SmolVLMImageProcessor",
        "max_image_size": {"longest_edge": img},
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": longest},
        "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": img}},
        "processor_class": "SmolVLMProcessor",
    }
    dump("preprocessor_config.json", pre)
    seq = ((img // patch) // scale) ** 2
    dump("processor_config.json", {"image_seq_len": seq, "processor_class": "SmolVLMProcessor"})
    tok = read_json(tokenizer)
    tok["added_tokens"] = tok["added_tokens"][:17] + [
        {"id": 49152 + i, "content": n, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i, n in enumerate(vlm_added_tokens())
    ]
    dump("tokenizer.json", tok, ensure_ascii=False)
    template = (
        "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
        "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
        "{% elif line['type'] == 'image' %}{{ '<image>' }}{% elif line['type'] == 'video' %}{{ '<video>' }}{% endif %}{% endfor %}"
        "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    )
    dump("chat_template.json", {"chat_template": template})
    dump(
        "tokenizer_config.json",
        {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "model_max_length": 8192,
            "add_prefix_space": False,
            "chat_template": template,
            "processor_class": "SmolVLMProcessor",
        },
    )


class Gguf:
    def __init__(self):
        self.kv, self.infos, self.data = [], [], []

    @staticmethod
    def s(x):
        x = x.encode() if isinstance(x, str) else x
        return struct.pack("<Q", len(x)) + x

    def put(self, key, kind, value):
        self.kv.append(self.s(key) + self.value(kind, value))

    def value(self, kind, v):
        simple = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?")}
        if kind in simple:
            return struct.pack("<I", simple[kind][0]) + struct.pack(simple[kind][1], v)
        if kind == "str":
            return struct.pack("<I", 8) + self.s(v)
        inner = kind[4:]  # arr:f32 ...
        body = b"".join(self.s(x) if inner == "str" else struct.pack(simple[inner][1], x) for x in v)
        return struct.pack("<I", 9) + struct.pack("<IQ", 8 if inner == "str" else simple[inner][0], len(v)) + body

    def tensor(self, name, a, f16):
        shape = a.shape
        if f16 == "q8_0" and len(shape) == 2 and shape[1] % 32 == 0:
            x = np.ascontiguousarray(a, np.float32).reshape(-1, 32)
            d = np.abs(x).max(1, keepdims=True) / 127
            q = np.round(x / np.where(d == 0, 1, d)).astype(np.int8)
            a = np.concatenate([d.astype(np.float16).view(np.uint8), q.view(np.uint8)], 1)
            kind = 8
        else:
            a = np.ascontiguousarray(a, dtype=np.float16 if f16 else np.float32)
            kind = 1 if f16 else 0
        self.infos.append((name, shape, kind))
        self.data.append(a)

    def write(self, path):
        head, offset = b"", 0
        for (name, shape, kind), a in zip(self.infos, self.data):
            head += self.s(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in reversed(shape))
            head += struct.pack("<IQ", kind, offset)
            offset += a.nbytes + (-a.nbytes % 32)
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.infos), len(self.kv)) + b"".join(self.kv) + head
        with open(path, "wb") as f:
            f.write(head + b"\0" * (-len(head) % 32))
            for a in self.data:
                f.write(a.tobytes() + b"\0" * (-a.nbytes % 32))


def rope_permute(w, heads):
    """Hugging Face keeps rotary halves apart, GGUF's llama interleaves them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write_gguf(preset, hf, out):
    (vd, vl, vh, vf, img, patch), scale, (td, tl, th, tk, tf, theta) = PRESETS[preset]
    path = os.path.join(hf, "model.safetensors")
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
    blob = np.memmap(path, np.uint8, "r", offset=8 + n)

    def get(name):
        e = header[name]
        return from_bf16(blob[e["data_offsets"][0] : e["data_offsets"][1]].tobytes(), e["shape"])

    t = Gguf()
    t.put("general.architecture", "str", "llama")
    t.put("general.name", "str", f"synthetic-smolvlm2-{preset}")
    for k, v in (
        ("context_length", 8192),
        ("embedding_length", td),
        ("block_count", tl),
        ("feed_forward_length", tf),
        ("attention.head_count", th),
        ("attention.head_count_kv", tk),
        ("vocab_size", VOCAB),
        ("rope.dimension_count", td // th),
    ):
        t.put("llama." + k, "u32", v)
    t.put("llama.rope.freq_base", "f32", theta)
    t.put("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5)
    t.put("general.file_type", "u32", 1)
    tok = read_json(os.path.join(hf, "tokenizer.json"))
    words = [None] * VOCAB
    for k, i in tok["model"]["vocab"].items():
        words[i] = k
    kinds = [1] * VOCAB
    for a in tok["added_tokens"]:
        words[a["id"]], kinds[a["id"]] = a["content"], 3
    t.put("tokenizer.ggml.model", "str", "gpt2")
    t.put("tokenizer.ggml.pre", "str", "smollm")
    t.put("tokenizer.ggml.tokens", "arr:str", words)
    t.put("tokenizer.ggml.token_type", "arr:i32", kinds)
    t.put("tokenizer.ggml.merges", "arr:str", [m if isinstance(m, str) else " ".join(m) for m in tok["model"]["merges"]])
    for k, v in (("bos", 1), ("eos", 49279), ("unknown", 0), ("padding", 2)):
        t.put(f"tokenizer.ggml.{k}_token_id", "u32", v)
    t.put("tokenizer.ggml.add_bos_token", "bool", False)
    t.put("tokenizer.chat_template", "str", read_json(os.path.join(hf, "tokenizer_config.json"))["chat_template"])
    p = "model.text_model."
    t.tensor("token_embd.weight", get(p + "embed_tokens.weight"), True)
    for i in range(tl):
        a, g = f"{p}layers.{i}.", f"blk.{i}."
        t.tensor(g + "attn_norm.weight", get(a + "input_layernorm.weight"), False)
        t.tensor(g + "ffn_norm.weight", get(a + "post_attention_layernorm.weight"), False)
        t.tensor(g + "attn_q.weight", rope_permute(get(a + "self_attn.q_proj.weight"), th), True)
        t.tensor(g + "attn_k.weight", rope_permute(get(a + "self_attn.k_proj.weight"), tk), True)
        t.tensor(g + "attn_v.weight", get(a + "self_attn.v_proj.weight"), True)
        t.tensor(g + "attn_output.weight", get(a + "self_attn.o_proj.weight"), True)
        for n, m in (("ffn_gate", "gate_proj"), ("ffn_up", "up_proj"), ("ffn_down", "down_proj")):
            t.tensor(g + n + ".weight", get(a + f"mlp.{m}.weight"), True)
    t.tensor("output_norm.weight", get(p + "norm.weight"), False)
    t.tensor("output.weight", get("lm_head.weight"), True)
    t.write(os.path.join(out, "text-f16.gguf"))
    for kind in (True, "q8_0"):
        write_mmproj(preset, get, kind, os.path.join(out, f"mmproj-{'f16' if kind is True else kind}.gguf"))


def write_mmproj(preset, get, kind, path):
    (vd, vl, vh, vf, img, patch), scale, (td, *_) = PRESETS[preset]
    v = Gguf()
    v.put("general.architecture", "str", "clip")
    v.put("general.name", "str", "synthetic-mmproj")
    v.put("clip.has_vision_encoder", "bool", True)
    v.put("clip.projector_type", "str", "idefics3")
    v.put("clip.use_gelu", "bool", True)
    v.put("general.file_type", "u32", 1)
    for k, x in (
        ("image_size", img),
        ("patch_size", patch),
        ("embedding_length", vd),
        ("feed_forward_length", vf),
        ("projection_dim", td),
        ("block_count", vl),
        ("attention.head_count", vh),
        ("projector.scale_factor", scale),
        ("preproc_image_size", 2048 if img == 512 else (1536 if img == 384 else img * 4)),
    ):
        v.put("clip.vision." + k, "u32", x)
    v.put("clip.vision.attention.layer_norm_epsilon", "f32", 1e-6)
    v.put("clip.vision.image_mean", "arr:f32", [0.5] * 3)
    v.put("clip.vision.image_std", "arr:f32", [0.5] * 3)
    q = "model.vision_model."
    v.tensor("v.patch_embd.weight", get(q + "embeddings.patch_embedding.weight"), True)
    v.tensor("v.patch_embd.bias", get(q + "embeddings.patch_embedding.bias"), False)
    v.tensor("v.position_embd.weight", get(q + "embeddings.position_embedding.weight"), False)
    for i in range(vl):
        a, g = f"{q}encoder.layers.{i}.", f"v.blk.{i}."
        for n, m in (
            ("attn_q", "self_attn.q_proj"),
            ("attn_k", "self_attn.k_proj"),
            ("attn_v", "self_attn.v_proj"),
            ("attn_out", "self_attn.out_proj"),
            ("ffn_up", "mlp.fc1"),
            ("ffn_down", "mlp.fc2"),
        ):
            v.tensor(g + n + ".weight", get(a + m + ".weight"), kind)
            v.tensor(g + n + ".bias", get(a + m + ".bias"), False)
        for n, m in (("ln1", "layer_norm1"), ("ln2", "layer_norm2")):
            v.tensor(g + n + ".weight", get(a + m + ".weight"), False)
            v.tensor(g + n + ".bias", get(a + m + ".bias"), False)
    v.tensor("v.post_ln.weight", get(q + "post_layernorm.weight"), False)
    v.tensor("v.post_ln.bias", get(q + "post_layernorm.bias"), False)
    v.tensor("mm.model.fc.weight", get("model.connector.modality_projection.proj.weight"), kind)
    v.write(path)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("preset", choices=PRESETS)
    ap.add_argument("out")
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--no-gguf", action="store_true")
    ap.add_argument("--outliers", action="store_true")
    a = ap.parse_args()
    write_hf(a.preset, a.out, a.tokenizer, a.seed, a.outliers)
    if not a.no_gguf:
        write_gguf(a.preset, a.out, a.out)
