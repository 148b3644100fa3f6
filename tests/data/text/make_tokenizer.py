"""Writes tokenizer.json beside this file: a small tokenizer with the pipeline of the SmolVLM family (digits one by one, byte-level BPE,
added tokens of every kind), trained on text made up here. python make_tokenizer.py   (needs: pip install tokenizers)"""
import json
import random
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

rng = random.Random(7)
SYLLABLES = "an en in on un ar er or al el il ol st tr th sh ch pr gr ing ion ed ly ment able ra re ri ro ta te ti to na ne ni no ma me mi mo la le li lo".split()
WORDS = "the a of and to in is it you that he was for on are with as his they at be this from have or by one had not but what all were when we there can an your which said if do will each about how up out them then she many some so these would other into has more two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know".split()


def word():
    return rng.choice(WORDS) if rng.random() < 0.6 else "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))


def line():
    kind = rng.random()
    if kind < 0.6:
        words = [word() for _ in range(rng.randint(3, 14))]
        words[0] = words[0].capitalize()
        return " ".join(words) + rng.choice([".", "!", "?", "...", ", it's what they've said.", ' "now".'])
    if kind < 0.8:
        return "    " * rng.randint(0, 3) + rng.choice([f"def {word()}(self, {word()}):", f"if ({word()} == {rng.randint(0, 999)}) {{", f"return {word()}[{rng.randint(0, 99)}];  // {word()}", f"\t{word()} += 1"])
    if kind < 0.95:
        return rng.choice(["Größe über Straße", "où êtes-vous déjà", "это простой текст", "日本語の文章です", "🙂👍🏽 done", "naïve café", "١٢٣ نص عربي"]) + " " + word()
    return f"{rng.randint(1, 31)}/{rng.randint(1, 12)}/20{rng.randint(10, 30)}  {rng.randint(0, 100000)}.{rng.randint(0, 99):02d} EUR"


tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
tokenizer.decoder = decoders.ByteLevel()
specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
trainer = trainers.BpeTrainer(vocab_size=3000, min_frequency=2, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
tokenizer.train_from_iterator(("\n".join(line() for _ in range(20)) for _ in range(3000)), trainer)
rows = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in ["<global-img>", *rows, "<fake_token_around_image>", "<image>", "<end_of_utterance>"]])
# The properties that the published files do not use, so that tests can.
tokenizer.add_tokens([AddedToken("<image", normalized=False), AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True),
                      AddedToken("word", single_word=True, normalized=False), AddedToken("<both>", lstrip=True, rstrip=True, normalized=True, special=True),
                      AddedToken("straße", normalized=False), AddedToken("  x", normalized=True)])
out = json.loads(tokenizer.to_str())
out["model"]["merges"] = [" ".join(m) for m in out["model"]["merges"]]
(Path(__file__).parent / "tokenizer.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
