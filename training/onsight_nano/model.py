"""The model in plain PyTorch. Parameter names equal those of transformers' SmolVLMForConditionalGeneration, so that a state
dict moves over unchanged; `DenseHeads` and `Symbols` (heads.py) exist in training only."""
import math

import torch
from torch import nn
from torch.nn import functional as F

from .attention import attention
from .config import EOU, GRID, IMAGE, IMAGE_TOKENS, PAD, PATCH, SHUFFLE, SIDE, TEXT, VISION, VOCAB


class VisionBlock(nn.Module):
    """Pre-norm SigLIP block on [B, N, width]."""

    def __init__(self):
        super().__init__()
        d, self.heads = VISION["width"], VISION["heads"]
        self.self_attn = nn.ModuleDict({k: nn.Linear(d, d) for k in ("q_proj", "k_proj", "v_proj", "out_proj")})
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(d, VISION["eps"]), nn.LayerNorm(d, VISION["eps"])
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(d, VISION["ffn"]), "fc2": nn.Linear(VISION["ffn"], d)})

    def forward(self, x):
        y = self.layer_norm1(x)
        q, k, v = (self.self_attn[p](y) for p in ("q_proj", "k_proj", "v_proj"))
        x = x + self.self_attn["out_proj"](attention(q, k, v, self.heads))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.layer_norm2(x)), approximate="tanh"))


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, TEXT["eps"])


def rotate(x, cos, sin):
    """Rotary embedding with the halves apart: x [..., n, head], cos and sin [n, head]."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class TextBlock(nn.Module):
    """Llama block on [B, T, width]."""

    def __init__(self):
        super().__init__()
        d, self.heads, self.kv = TEXT["width"], TEXT["heads"], TEXT["kv"]
        head = d // self.heads

        def lin(i, o):
            return nn.Linear(i, o, bias=False)

        self.self_attn = nn.ModuleDict({"q_proj": lin(d, d), "k_proj": lin(d, head * self.kv), "v_proj": lin(d, head * self.kv), "o_proj": lin(d, d)})
        self.mlp = nn.ModuleDict({"gate_proj": lin(d, TEXT["ffn"]), "up_proj": lin(d, TEXT["ffn"]), "down_proj": lin(TEXT["ffn"], d)})
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(d), RMSNorm(d)

    def qkv(self, x, cos, sin):
        b, t, _ = x.shape
        a, y = self.self_attn, self.input_layernorm(x)
        q = rotate(a["q_proj"](y).view(b, t, self.heads, -1).transpose(1, 2), cos, sin)
        k = rotate(a["k_proj"](y).view(b, t, self.kv, -1).transpose(1, 2), cos, sin)
        return q, k, a["v_proj"](y).view(b, t, self.kv, -1).transpose(1, 2)

    def rest(self, x, o):
        x = x + self.self_attn["o_proj"](o.transpose(1, 2).reshape(x.shape))
        m, y = self.mlp, self.post_attention_layernorm(x)
        return x + m["down_proj"](F.silu(m["gate_proj"](y)) * m["up_proj"](y))

    def forward(self, x, cos, sin):
        q, k, v = (wide(z, self.heads) for z in self.qkv(x, cos, sin))
        return self.rest(x, narrow(attention(q, k, v, self.heads, 0), self.heads))


def wide(x, heads):
    """[B, kv heads, T, size] -> [B, T, heads * size], key/value heads repeated for their groups."""
    return x.repeat_interleave(heads // x.shape[1], 1).transpose(1, 2).flatten(2)


def narrow(x, heads):
    """[B, T, heads * size] -> [B, heads, T, size]"""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


class NanoVLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        v = self.model.vision_model = nn.Module()
        d = VISION["width"]
        v.embeddings = nn.ModuleDict({"patch_embedding": nn.Conv2d(3, d, PATCH, PATCH), "position_embedding": nn.Embedding(GRID * GRID, d)})
        v.encoder = nn.Module()
        v.encoder.layers = nn.ModuleList(VisionBlock() for _ in range(VISION["layers"]))
        v.post_layernorm = nn.LayerNorm(d, VISION["eps"])
        proj = nn.Linear(d * SHUFFLE**2, TEXT["width"], bias=False)
        self.model.connector = nn.ModuleDict({"modality_projection": nn.ModuleDict({"proj": proj})})
        t = self.model.text_model = nn.Module()
        t.embed_tokens = nn.Embedding(VOCAB, TEXT["width"])
        t.layers = nn.ModuleList(TextBlock() for _ in range(TEXT["layers"]))
        t.norm = RMSNorm(TEXT["width"])
        self.lm_head = nn.Linear(TEXT["width"], VOCAB, bias=False)
        head = TEXT["width"] // TEXT["heads"]
        f = torch.arange(TEXT["positions"])[:, None] * (TEXT["theta"] ** (-torch.arange(0, head, 2) / head))[None]
        self.cos, self.sin = torch.cat((f, f), -1).cos(), torch.cat((f, f), -1).sin()  # plain attributes: they stay in f32

    def vision(self, image):
        """uint8 [B, 192, 192, 3] -> features after the last norm [B, 576, width]."""
        v, n = self.model.vision_model, GRID
        w = v.embeddings["patch_embedding"].weight
        x = ((image.float() - 127.5) / 127.5).to(w.dtype)
        x = x.view(len(image), n, PATCH, n, PATCH, 3).permute(0, 1, 3, 5, 2, 4).reshape(len(image), n * n, -1)
        x = F.linear(x, w.flatten(1), v.embeddings["patch_embedding"].bias) + v.embeddings["position_embedding"].weight
        for block in v.encoder.layers:
            x = block(x)
        return v.post_layernorm(x)

    @staticmethod
    def shuffle(x):
        """Pixel shuffle in the reference's order: [B, 576, d] -> [B, 144, 4 d]."""
        b, _, d = x.shape
        return x.view(b, SIDE, SHUFFLE, SIDE, SHUFFLE, d).permute(0, 1, 3, 2, 4, 5).reshape(b, IMAGE_TOKENS, -1)

    def connect(self, x):
        """[B, 576, d] -> image tokens [B, 144, width of the text model]."""
        return self.model.connector["modality_projection"]["proj"](self.shuffle(x))

    def embed(self, ids, tokens):
        """ids [B, T] with the image tokens at the same place in every row; tokens [B, 144, d] -> [B, T, d]."""
        i = int((ids[0] == IMAGE).nonzero()[0])
        e = self.model.text_model.embed_tokens(ids)
        return torch.cat((e[:, :i], tokens.to(e.dtype), e[:, i + IMAGE_TOKENS :]), 1)

    def text(self, x):
        """[B, T, d] -> normed states of the same shape."""
        cos, sin = self.cos[: x.shape[1]].to(x), self.sin[: x.shape[1]].to(x)
        for block in self.model.text_model.layers:
            x = block(x, cos, sin)
        return self.model.text_model.norm(x)

    def prompts(self, prefix, suffixes, guided=()):
        """The decoder on rows that begin alike: prefix [B, P, d] once a picture, suffixes a list of (x [n, T, d], picture [n]). The same
        numbers as text() on whole rows. Returns the normed states of the suffixes, and for each layer in `guided` a list of (queries
        [n, T, size] of the first head there, its keys [n, P, size] over the prefix, the layer's states [n, T, d])."""
        start, layers, heads = prefix.shape[1], self.model.text_model.layers, TEXT["heads"]
        cos, sin = self.cos.to(prefix), self.sin.to(prefix)
        states, pictures, probes = [x for x, _ in suffixes], [p for _, p in suffixes], []
        for n, block in enumerate(layers):
            pq, pk, pv = (wide(z, heads) for z in block.qkv(prefix, cos[:start], sin[:start]))
            seen = []
            for i, (x, picture) in enumerate(zip(states, pictures)):
                end = start + x.shape[1]
                q, k, v = (wide(z, heads) for z in block.qkv(x, cos[start:end], sin[start:end]))
                keys, values = torch.cat((pk[picture], k), 1), torch.cat((pv[picture], v), 1)
                states[i] = block.rest(x, narrow(attention(q, keys, values, heads, start), heads))
                size = q.shape[-1] // heads
                seen.append((q[..., :size], pk[picture][..., :size], states[i]))
            if n in guided:
                probes.append(seen)
            if n < len(layers) - 1:
                prefix = block.rest(prefix, narrow(attention(pq, pk, pv, heads, 0), heads))
        return [self.model.text_model.norm(x) for x in states], probes

    @torch.no_grad()
    def generate(self, image, prompts, max_new=96, tokens=None):
        """Greedy answers of a batch, with a key/value cache. prompts: id lists of any length. Returns id lists without the end."""
        b, lens = len(prompts), torch.tensor([len(p) for p in prompts])
        ids = torch.full((b, int(lens.max())), PAD)
        for i, p in enumerate(prompts):
            ids[i, : len(p)] = torch.tensor(p)
        x = self.embed(ids, self.connect(self.vision(image)) if tokens is None else tokens)
        n, t = ids.shape[1], self.model.text_model
        size, r, cache = n + max_new, TEXT["heads"] // TEXT["kv"], []
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        for block in t.layers:
            q, k, v = block.qkv(x, cos[:n], sin[:n])
            o = F.scaled_dot_product_attention(q, k.repeat_interleave(r, 1), v.repeat_interleave(r, 1), is_causal=True)
            cache.append(tuple(F.pad(z, (0, 0, 0, max_new)) for z in (k, v)))
            x = block.rest(x, o)
        rows, pos, out = torch.arange(b), lens.clone(), []
        x, done = x[rows, lens - 1][:, None], torch.zeros(b, dtype=torch.bool)
        while True:
            new = self.lm_head(t.norm(x))[:, 0].argmax(-1)
            out.append(new.masked_fill(done, EOU))
            done |= new == EOU
            if done.all() or len(out) == max_new:
                break
            x = t.embed_tokens(new)[:, None]
            mask = (torch.arange(size)[None] <= pos[:, None])[:, None, None]
            for block, (keys, values) in zip(t.layers, cache):
                q, k, v = block.qkv(x, cos[pos][:, None, None], sin[pos][:, None, None])
                keys[rows, :, pos], values[rows, :, pos] = k[:, :, 0], v[:, :, 0]
                o = F.scaled_dot_product_attention(q, keys.repeat_interleave(r, 1), values.repeat_interleave(r, 1), attn_mask=mask)
                x = block.rest(x, o)
            pos = pos + 1
        out = torch.stack(out, 1).tolist()
        return [o[: o.index(EOU)] if EOU in o else o for o in out]


def sincos(n, d):
    """Position table [n * n, d] and its frequencies; channels: x cos, x sin, y cos, y sin."""
    f = torch.tensor([2 * math.pi / p for p in torch.logspace(math.log10(2.2), math.log10(2.5 * n), d // 4).tolist()])
    a = torch.arange(n)[:, None] * f
    x = torch.cat((a.cos(), a.sin()), -1)
    return torch.cat((x[None].expand(n, n, -1), x[:, None].expand(n, n, -1)), -1).reshape(n * n, d), f


@torch.no_grad()
def initialise(m):
    """Random weights with three helps that leave the checkpoint plain: DCT patch filters (first half of the channels), sine and
    cosine positions (second half), and vision heads of the first layers that start out looking at a fixed neighbour."""
    for name, p in m.named_parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=0.6 / math.sqrt(p.flatten(1).shape[1]) if p.dim() == 2 and "embed" not in name else 0.02)
            if name.endswith(("out_proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight")):
                p *= 0.3
        elif name.endswith("bias"):
            nn.init.zeros_(p)
    m.model.text_model.embed_tokens.weight.normal_(std=0.5)
    emb, d, p = m.model.vision_model.embeddings, VISION["width"], PATCH
    i = torch.arange(p) + 0.5
    dct = torch.stack([(math.pi * k * i / p).cos() * (1 if k else 0.5**0.5) for k in range(p)]) / math.sqrt(p / 2)
    order = sorted(((u, v) for u in range(p) for v in range(p)), key=lambda t: t[0] ** 2 + t[1] ** 2)
    w = emb["patch_embedding"].weight
    nc, nl = d // 16, min(p * p, d // 2 - d // 8)  # colour and luma filters

    def wave(u, v):  # evens out the fall of energy with frequency
        return torch.outer(dct[u], dct[v])[None] * 0.35 * (1 + 0.5 * math.hypot(u, v))

    for k, (u, v) in enumerate(order[:nl]):
        w[k] = wave(u, v) * torch.full((3, 1, 1), 3**-0.5)
    for k, (u, v) in enumerate(order[:nc]):
        w[nl + k] = wave(u, v) * 4 * torch.tensor([0.7, -0.7, 0.0]).view(3, 1, 1)
        w[nl + nc + k] = wave(u, v) * 4 * torch.tensor([0.4, 0.4, -0.8]).view(3, 1, 1)
    mix = torch.linalg.qr(torch.randn(d // 2, d // 2))[0][:, : nl + 2 * nc]
    w[: d // 2] = (mix @ w[: nl + 2 * nc].flatten(1)).view(-1, 3, p, p)
    w[d // 2 :] = 0
    table, f = sincos(GRID, d // 2)
    emb["position_embedding"].weight.copy_(torch.cat((torch.zeros(GRID * GRID, d // 2), table), 1))
    h, nf = VISION["heads"], d // 8
    hd = d // h
    near = [(-1, 0), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (1, 1), (1, -1), (-1, 1)]
    for n, layer in enumerate(m.model.vision_model.encoder.layers):
        gain = 1.2 if n < 4 else 0.7
        for k in range(h):
            shift = near[(n * h + k) % len(near)] if n < 4 else (0, 0)
            q, key = (layer.self_attn[z].weight[k * hd : (k + 1) * hd] for z in ("q_proj", "k_proj"))
            for a, (off, delta) in enumerate(((d // 2, shift[0]), (d // 2 + 2 * nf, shift[1]))):
                for j, fi in enumerate(torch.linspace(0, nf - 1, hd // 4).round().long().tolist()):
                    row, co, si = a * hd // 2 + 2 * j, math.cos(f[fi] * delta), math.sin(f[fi] * delta)
                    ic, is_ = off + fi, off + nf + fi
                    key[row, ic] += gain
                    key[row + 1, is_] += gain
                    q[row, ic] += gain * co
                    q[row, is_] -= gain * si
                    q[row + 1, is_] += gain * co
                    q[row + 1, ic] += gain * si
    return m
