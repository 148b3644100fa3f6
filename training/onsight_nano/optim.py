"""Muon (orthogonalised momentum) for hidden matrices, Adam for the rest, f32 masters of bf16 parameters, and a running average."""
import torch

MUON_LR, ADAM_LR = 6e-3, 2e-3
SLOW = {"patch_embedding": 0.1}  # share of the rate for parameters with a good start


def orthogonal(g):
    """Newton-Schulz on a stack [n, a, b] with a <= b."""
    x = g.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = 3.4445, -4.775, 2.0315
    for _ in range(4):
        y = x @ x.mT
        x = a * x + (b * y + c * y @ y) @ x
    return x.float()


class Optimiser:
    def __init__(self, named, momentum=0.95, horizon=100):
        """named: (name, parameter) pairs. horizon: steps that the running average looks back."""
        self.params, self.groups, self.steps, self.counts = dict(named), {}, 0, {}
        self.momentum, self.horizon = momentum, horizon
        self.master = {k: p.detach().float().clone() for k, p in self.params.items()}
        self.ema = {k: v.clone() for k, v in self.master.items()}
        self.first = {k: torch.zeros_like(v) for k, v in self.master.items()}
        self.second = {}
        for k, p in self.params.items():
            if p.dim() == 2 and ".layers." in k or "connector" in k:
                self.groups.setdefault((min(p.shape), max(p.shape)), []).append(k)
            else:
                self.second[k] = torch.zeros_like(self.master[k])

    def load(self, weights):
        """Takes over {name: tensor} where names match."""
        for k, v in weights.items():
            if k in self.master:
                self.master[k].copy_(v)
                self.ema[k].copy_(v)
                self.params[k].data.copy_(v)

    @torch.no_grad()
    def step(self, rate, rates=None):
        """One update at `rate` times the base rates; rates: {substring of a name: factor}. Returns the gradient's norm."""
        self.steps += 1
        grads = {k: p.grad.float() for k, p in self.params.items() if p.grad is not None}
        for p in self.params.values():
            p.grad = None
        norm = torch.stack([g.norm() for g in grads.values()]).norm().item()
        if norm != norm:
            return norm
        clip = min(1.0, 2.0 / (norm + 1e-6))

        def scale(name):
            f = rate
            for part, factor in {**SLOW, **(rates or {})}.items():
                f *= factor if part in name else 1.0
            return f

        for (_, long), names in self.groups.items():
            names = [k for k in names if k in grads]
            if not names:
                continue
            updates = []
            for k in names:
                self.first[k].lerp_(grads[k], 1 - self.momentum)
                u = self.first[k].mul(self.momentum).add(grads[k], alpha=1 - self.momentum)
                updates.append(u if u.shape[0] <= u.shape[1] else u.T)
            for k, u in zip(names, orthogonal(torch.stack(updates))):
                u = u if u.shape == self.master[k].shape else u.T
                lr = MUON_LR * scale(k)
                self.master[k].mul_(1 - lr * 0.02).add_(u, alpha=-lr * 0.2 * long**0.5)
        for k, v in self.second.items():
            if k not in grads:
                continue
            n = self.counts[k] = self.counts.get(k, 0) + 1
            g = grads[k] * clip
            self.first[k].lerp_(g, 0.1)
            v.lerp_(g * g, 0.02)
            step = self.first[k] / (1 - 0.9**n) / ((v / (1 - 0.98**n)).sqrt() + 1e-8)
            self.master[k].sub_(step, alpha=ADAM_LR * scale(k))
        decay = min(1 - 1 / self.horizon, (1 + self.steps) / (20 + self.steps))
        for k in grads:
            self.params[k].copy_(self.master[k])
            self.ema[k].lerp_(self.master[k], 1 - decay)
        return norm
