"""Attention for training on one CPU thread: about twice as fast as PyTorch's fused kernel there, because one picture's (or row's)
probabilities stay in the cache."""
import torch
from torch.nn import functional as F


def attention(q, k, v, heads, causal_from=None):
    """Softmax attention. q [B, m, heads * size], k and v [B, n, heads * size] -> [B, m, heads * size].
    causal_from: position of the first query; a query then sees the keys up to its own position."""
    if torch.is_grad_enabled() and q.dtype == torch.bfloat16 and q.device.type == "cpu":
        return Cached.apply(q, k, v, heads, causal_from)
    b, m, d = q.shape
    mask = None if causal_from is None else future(m, k.shape[1], causal_from, q.device) == 0
    q, k, v = (x.view(b, -1, heads, d // heads).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).reshape(b, m, d)


def future(m, n, start, device=None, dtype=torch.float32):
    """[m, n]: 0 where query start + i sees key j, minus infinity where not."""
    return torch.full((m, n), float("-inf"), device=device, dtype=dtype).triu(start + 1)


class Cached(torch.autograd.Function):
    """One element of the batch at a time, probabilities kept for the way back."""

    @staticmethod
    def split(x, heads):
        b, n, d = x.shape
        return x.view(b, n, heads, d // heads).transpose(1, 2).reshape(b * heads, n, d // heads)

    @staticmethod
    def merge(x, heads):
        bh, n, size = x.shape
        return x.view(bh // heads, heads, n, size).transpose(1, 2).reshape(bh // heads, n, heads * size)

    @staticmethod
    def forward(ctx, q, k, v, heads, causal_from):
        scale = (q.shape[-1] // heads) ** -0.5
        q, k, v = Cached.split(q, heads) * scale, Cached.split(k, heads), Cached.split(v, heads)
        mask = None if causal_from is None else future(q.shape[1], k.shape[1], causal_from, dtype=q.dtype)
        out, probs = torch.empty_like(q), []
        for i in range(0, len(q), heads):
            s = slice(i, i + heads)
            scores = torch.bmm(q[s], k[s].transpose(1, 2))
            probs.append(torch.softmax(scores if mask is None else scores.add_(mask), -1))
            torch.bmm(probs[-1], v[s], out=out[s])
        ctx.save_for_backward(q, k, v, *probs)
        ctx.heads, ctx.scale = heads, scale
        return Cached.merge(out, heads)

    @staticmethod
    def backward(ctx, grad):
        q, k, v, *probs = ctx.saved_tensors
        heads = ctx.heads
        grad = Cached.split(grad, heads)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for i, p in enumerate(probs):
            s = slice(i * heads, (i + 1) * heads)
            torch.bmm(p.transpose(1, 2), grad[s], out=dv[s])
            ds = torch._softmax_backward_data(torch.bmm(grad[s], v[s].transpose(1, 2)), p, -1, p.dtype)
            torch.bmm(ds, k[s], out=dq[s])
            torch.bmm(ds.transpose(1, 2), q[s], out=dk[s])
        return Cached.merge(dq, heads) * ctx.scale, Cached.merge(dk, heads), Cached.merge(dv, heads), None, None
