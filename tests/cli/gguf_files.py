"""A checkpoint folder as the GGUF pair that llama.cpp's converter would make of it, with the standard library alone.

    text, projector = convert(folder)          # each {"metadata": {...}, "tensors": {name: (type, shape, bytes)}}, to be changed
    write_gguf(path, **text)

Bytes are copied, so both hold the same numbers.
"""
import json
import struct

from checkpoints import read_safetensors

TYPES = {"F32": 0, "F16": 1, "BF16": 30}
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


def string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(v):
    """bool, whole number (u32), float (f32), string, or a list of whole numbers (i32), floats (f32) or strings (as an empty one)."""
    if isinstance(v, bool):
        return struct.pack("<I?", BOOL, v)
    if isinstance(v, int):
        return struct.pack("<II", U32, v)
    if isinstance(v, float):
        return struct.pack("<If", F32, v)
    if isinstance(v, (str, bytes)):
        return struct.pack("<I", STRING) + string(v)
    kind = STRING if not v or isinstance(v[0], (str, bytes)) else F32 if isinstance(v[0], float) else I32
    body = b"".join(string(x) if kind == STRING else struct.pack("<f" if kind == F32 else "<i", x) for x in v)
    return struct.pack("<IIQ", ARRAY, kind, len(v)) + body


def write_gguf(path, metadata, tensors):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(string(k) + value(v) for k, v in metadata.items())
    data = bytearray()
    for name, (kind, shape, raw) in tensors.items():
        head += string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += struct.pack("<IQ", kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + data)


def read_json(folder, name):
    return json.loads((folder / name).read_text()) if (folder / name).exists() else {}


def read_weights(folder):
    out = {}
    for path in sorted(folder.glob("*.safetensors")):
        header, data = read_safetensors(path)
        for name, row in header.items():
            if name != "__metadata__":
                begin, end = row["data_offsets"]
                out[name] = (TYPES[row["dtype"]], row["shape"], data[begin:end])
    return out


def interleaved(tensor, heads):
    """Rows of q and k: Hugging Face keeps the halves of a head apart, llama.cpp wants them in turns."""
    kind, shape, raw = tensor
    rows = shape[0]
    size, half = len(raw) // rows, rows // heads // 2
    order = [h * 2 * half + part * half + i for h in range(heads) for i in range(half) for part in range(2)]
    return kind, shape, b"".join(raw[r * size : (r + 1) * size] for r in order)


def convert(folder, exchanged_ffn=False):
    """exchanged_ffn: the names of the tower's FFN layers as files of before May 2025 have them."""
    config, weights = read_json(folder, "config.json"), read_weights(folder)
    text, vision, tokenizer = config["text_config"], config["vision_config"], read_json(folder, "tokenizer.json")
    processor = read_json(folder, "processor_config.json")
    image = processor.get("image_processor") or read_json(folder, "preprocessor_config.json")
    generation = read_json(folder, "generation_config.json")
    heads = text["num_attention_heads"]
    theta = text.get("rope_theta") or text["rope_parameters"]["rope_theta"]

    tokens = {i: t for t, i in tokenizer["model"]["vocab"].items()}
    kinds = {i: 1 for i in tokens}
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], 3 if added["special"] else 4
    for i in range(text["vocab_size"]):  # the converter fills up a smaller tokenizer
        if i not in tokens:
            tokens[i], kinds[i] = f"[PAD{i}]", 5
    ids = sorted(tokens)
    ends = generation["eos_token_id"]
    metadata = {
        "general.architecture": "llama",
        "llama.context_length": text["max_position_embeddings"],
        "llama.embedding_length": text["hidden_size"],
        "llama.block_count": text["num_hidden_layers"],
        "llama.feed_forward_length": text["intermediate_size"],
        "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": text["num_key_value_heads"],
        "llama.attention.layer_norm_rms_epsilon": text["rms_norm_eps"],
        "llama.rope.freq_base": float(theta),
        "llama.vocab_size": text["vocab_size"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": [tokens[i] for i in ids],
        "tokenizer.ggml.token_type": [kinds[i] for i in ids],
        "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": ends if isinstance(ends, int) else ends[0],
        "tokenizer.chat_template": (folder / "chat_template.jinja").read_text() if (folder / "chat_template.jinja").exists()
        else read_json(folder, "chat_template.json")["chat_template"],
    }  # fmt: skip
    if text.get("head_dim", text["hidden_size"] // heads) * heads != text["hidden_size"]:
        metadata["llama.attention.key_length"] = metadata["llama.attention.value_length"] = text["head_dim"]
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) == "linear":
        metadata |= {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": rope["factor"]}
    projector = {
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "idefics3",
        "clip.use_gelu": True,
        "clip.vision.image_size": vision["image_size"],
        "clip.vision.patch_size": vision["patch_size"],
        "clip.vision.embedding_length": vision["hidden_size"],
        "clip.vision.feed_forward_length": vision["intermediate_size"],
        "clip.vision.block_count": vision["num_hidden_layers"],
        "clip.vision.attention.head_count": vision["num_attention_heads"],
        "clip.vision.attention.layer_norm_epsilon": vision.get("layer_norm_eps", 1e-6),
        "clip.vision.projection_dim": text["hidden_size"],
        "clip.vision.projector.scale_factor": config["scale_factor"],
        "clip.vision.preproc_image_size": image["size"]["longest_edge"],
        "clip.vision.image_mean": image["image_mean"],
        "clip.vision.image_std": image["image_std"],
    }

    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "layer_norm1": "ln1", "layer_norm2": "ln2", "self_attn.out_proj": "attn_out",
             "mlp.fc1": "ffn_down" if exchanged_ffn else "ffn_up", "mlp.fc2": "ffn_up" if exchanged_ffn else "ffn_down"}  # fmt: skip
    single = {"lm_head": "output", "model.text_model.embed_tokens": "token_embd", "model.text_model.norm": "output_norm",
              "model.connector.modality_projection.proj": "mm.model.fc", "model.vision_model.post_layernorm": "v.post_ln",
              "model.vision_model.embeddings.patch_embedding": "v.patch_embd", "model.vision_model.embeddings.position_embedding": "v.position_embd"}  # fmt: skip
    text_tensors, projector_tensors = {}, {}
    for name, tensor in weights.items():
        base, kind = name.rsplit(".", 1)
        if base in single:
            new = f"{single[base]}.{kind}"
        else:
            head, rest = base.split(".layers.")
            layer, part = rest.split(".", 1)
            new = f"{'v.' if 'vision' in head else ''}blk.{layer}.{names[part]}.{kind}"
            if "vision" not in head and part in ("self_attn.q_proj", "self_attn.k_proj"):
                tensor = interleaved(tensor, heads if part == "self_attn.q_proj" else text["num_key_value_heads"])
        (projector_tensors if new.startswith(("v.", "mm.")) else text_tensors)[new] = tensor
    return {"metadata": metadata, "tensors": text_tensors}, {"metadata": projector, "tensors": projector_tensors}


def write_pair(folder, source, **options):
    """-> the text model's path; the projector lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    text, projector = convert(source, **options)
    write_gguf(folder / "model.gguf", **text)
    write_gguf(folder / "mmproj-model.gguf", **projector)
    return folder / "model.gguf"
