"""The checkpoint is all a run needs: weights come back, and the next run takes up the sample counter."""
import os
import subprocess
import sys

import torch

from onsight_nano import checkpoint
from onsight_nano.attention import attention

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def test_checkpoint_round_trip(tmp_path):
    weights, state = checkpoint.load(str(tmp_path))
    assert weights is None and state == checkpoint.FRESH
    state["batches"]["see"] = 7
    saved = {"lm_head.weight": torch.randn(3, 4).bfloat16(), "heads.cells.bias": torch.zeros(2).bfloat16()}
    checkpoint.save(str(tmp_path), saved, state)
    weights, again = checkpoint.load(str(tmp_path))
    assert again == state and torch.equal(weights["lm_head.weight"], saved["lm_head.weight"])
    assert list(checkpoint.shipped(weights)) == ["lm_head.weight"]


def test_resume_continues_the_counter(generator, tmp_path):
    def run():
        subprocess.run(
            [sys.executable, f"{HERE}/train.py", "--minutes", "0.01", "--stage", "talk", "--checkpoint", str(tmp_path), "--out", str(tmp_path), "--ema",
             str(tmp_path / "ema"), "--log", str(tmp_path / "log.jsonl")], check=True, capture_output=True)
        return checkpoint.load(str(tmp_path))[1]["batches"]["talk"]

    from train import Nano

    checkpoint.save(str(tmp_path), dict(Nano(1).names()), checkpoint.FRESH)
    first = run()
    assert first > 0 and run() > first


def test_fast_attention_is_attention():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 576, 192).bfloat16().requires_grad_() for _ in range(3))
    weight = torch.randn(2, 576, 192)
    grads = []
    for fast in (True, False):
        q.grad = k.grad = v.grad = None
        out = attention(q, k, v, 3) if fast else attention(q.float(), k.float(), v.float(), 3)
        (out.float() * weight).sum().backward()
        grads.append([x.float() for x in (out, q.grad, k.grad, v.grad)])
    for a, b in zip(*grads):
        assert ((a - b).norm() / b.norm()).item() < 0.02


def test_average_of_runs(tmp_path):
    state = dict(checkpoint.FRESH, minutes=3.0)
    runs = [{"a.weight": torch.tensor([[1.0, 2.0]]).bfloat16()}, {"a.weight": torch.tensor([[3.0, -2.0]]).bfloat16()}]
    for i, run in enumerate(runs):
        checkpoint.save(str(tmp_path / str(i)), run, dict(state, minutes=float(i)))

    def averaged(*names):
        command = [sys.executable, os.path.join(HERE, "average.py"), "--out", str(tmp_path / "mean"), *(str(tmp_path / name) for name in names)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert averaged("0", "1").returncode == 0
    weights, again = checkpoint.load(str(tmp_path / "mean"))
    assert again["minutes"] == 1.0 and torch.equal(weights["a.weight"], torch.tensor([[2.0, 0.0]]).bfloat16())
    checkpoint.save(str(tmp_path / "2"), {"b.weight": torch.zeros(1)}, state)
    odd = averaged("0", "2")
    assert odd.returncode == 1 and odd.stderr == "average: expected runs of one model: the same tensors of the same shapes\n"
