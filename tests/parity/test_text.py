"""src/text against the Python packages: ids and text of the `tokenizers` package, prompts of transformers and Jinja2.

    ONSIGHT_BUILD=build pytest tests/parity/test_text.py
    ONSIGHT_TEXT_CASES=100000 ONSIGHT_SMOLLM2_TOKENIZER=tokenizer.json pytest ...     (more strings; the real tokenizer too)
"""
import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(os.environ.get("ONSIGHT_BUILD", ROOT / "build")).resolve() / "text_probe"
SMALL = ROOT / "tests/data/text/tokenizer.json"
CASES = int(os.environ.get("ONSIGHT_TEXT_CASES", "20000"))
TOKENIZERS = [SMALL] + ([Path(os.environ["ONSIGHT_SMOLLM2_TOKENIZER"])] if os.environ.get("ONSIGHT_SMOLLM2_TOKENIZER") else [])

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def probe(mode, requests, file=None):
    """Answers of text_probe to the requests, in order."""
    lines = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([PROBE, mode, *([file] if file else [])], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(answers) == len(requests)
    return answers


class Strings:
    """Strings of every kind that a tokenizer may meet."""

    def __init__(self, seed, specials):
        self.rng = random.Random(seed)
        self.specials = specials
        self.kinds = [self.words, self.words, self.code, self.digits, self.planes, self.spaces, self.controls, self.emoji, self.marks, self.special, self.special, self.contractions, self.scripts]

    def make(self):
        return "".join(self.rng.choice(self.kinds)() for _ in range(self.rng.randint(1, 6)))

    def some(self, alphabet, low=1, high=12):
        return "".join(self.rng.choice(alphabet) for _ in range(self.rng.randint(low, high)))

    def words(self):
        return self.rng.choice(["", " "]) + " ".join(self.some("etaoinshrdlucmfwypvbgkjqxzETAOINS'", 1, 9) for _ in range(self.rng.randint(1, 6)))

    def code(self):
        return self.rng.choice(["for (int i = 0; i < n; ++i) {\r\n\t\tx[i] += 1;\r\n}", "def f(x):\n    return x**2  # yes\n\n\n", "<div class=\"a\">&nbsp;</div>", "SELECT * FROM t WHERE a!='b';", "a->b::c<T>(\"\\n\");", "{\"k\": [1, 2.5e-3, null]}"])

    def digits(self):
        return self.some("0123456789", 1, 40) + self.rng.choice(["", ".", ",", " ", "%"]) + self.some("0123456789٣४৫๔➀Ⅷ½²㊷𝟘𑁦", 0, 8)

    def planes(self):
        out = []
        for _ in range(self.rng.randint(1, 10)):
            code = self.rng.choice([self.rng.randrange(0x800), self.rng.randrange(0x10000), self.rng.randrange(0x110000)])
            out.append(chr(code) if not 0xD800 <= code <= 0xDFFF else " ")
        return "".join(out)

    def spaces(self):
        return self.some(" \t\n\r\v\f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff\x1c\x1f", 1, 10) if self.rng.random() < 0.4 else self.some("  \n", 1, 9)

    def controls(self):
        return self.some([chr(c) for c in [*range(32), *range(0x7F, 0xA0)]], 1, 6)

    def emoji(self):
        return self.rng.choice(["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "1️⃣", "🙂", "❤️", "🫠", "🧑🏿‍🚀"])

    def marks(self):
        return self.some("aeonu", 1, 4) + self.some([chr(c) for c in [*range(0x300, 0x370), 0x20DD, 0x0903, 0x093E, 0x1AB0]], 1, 5)

    def special(self):
        token = self.rng.choice(self.specials)
        if self.rng.random() < 0.2:
            token = token[:self.rng.randint(1, len(token))]
        return self.rng.choice(["", "", " ", "  ", "\n", "a", "\u3000"]) + token + self.rng.choice(["", "", " ", " \n", "b", "_"])

    def contractions(self):
        return self.rng.choice(["it's", "I'LL", "we've", "'tis", "you'Re", "'S", "don't", "he'd", "'ſ", "I'm", "''s", " 's", "'llama", "'VE"])

    def scripts(self):
        return self.rng.choice(["日本語のテスト", "русский текст", "العربية ١٢٣", "हिन्दी में", "ภาษาไทย", "한국어", "עברית", "Ελληνικά", "ﬁﬂ", "Ǆ ǅ", "ßẞ", "ಕನ್ನಡ"])


def specials_of(spec):
    return [t["content"] for t in spec["added_tokens"]] or ["<x>"]


def check_ids(spec, tmp_path, count, seed):
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(spec))
    reference = Tokenizer.from_str(json.dumps(spec))
    strings = Strings(seed, specials_of(spec))
    texts = ["", " ", "a"] + [strings.make() for _ in range(count)]
    for parse in (True, False):
        reference.encode_special_tokens = not parse
        want = [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)]
        got = probe("tokenizer", [{"text": t, "parse": parse} for t in texts], file)
        wrong = [(t, w, g) for t, w, g in zip(texts, want, got) if w != g]
        assert not wrong, f"{len(wrong)} of {len(texts)} differ, parse={parse}, first {wrong[0]!r}"


def variant(spec, pre_tokenizer=None, **model):
    out = json.loads(json.dumps(spec))
    if pre_tokenizer:
        out["pre_tokenizer"] = pre_tokenizer
    out["model"].update(model)
    return out


def byte_level(use_regex=True, add_prefix_space=False):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(*items):
    return {"type": "Sequence", "pretokenizers": list(items)}


PIPELINES = {
    "plain": byte_level(),
    "no regex": byte_level(use_regex=False),
    "prefix space": byte_level(add_prefix_space=True),
    "digits and prefix space": sequence({"type": "Digits", "individual_digits": True}, byte_level(add_prefix_space=True)),
    "digit runs": sequence({"type": "Digits", "individual_digits": False}, byte_level()),
    "gpt2 split": sequence(split(GPT2), byte_level(use_regex=False)),
    "llama3": sequence(split(LLAMA3), byte_level(use_regex=False)),
    "qwen2": sequence(split(QWEN2), byte_level(use_regex=False)),
    "inverted": sequence(split(LLAMA3, "Removed", True), byte_level(use_regex=False)),
    "string split": sequence({"type": "Split", "pattern": {"String": "th"}, "behavior": "Isolated", "invert": False}, byte_level()),
    "nested": sequence(sequence({"type": "Digits", "individual_digits": True}), sequence(split(GPT2), byte_level())),
}


@pytest.mark.parametrize("file", TOKENIZERS, ids=lambda f: f.parent.name)
def test_ids(file, tmp_path):
    check_ids(json.loads(file.read_text()), tmp_path, CASES, 1)


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines(name, tmp_path):
    check_ids(variant(json.loads(SMALL.read_text()), PIPELINES[name]), tmp_path, CASES // 10, 2)


def test_models(tmp_path):
    spec = json.loads(SMALL.read_text())
    check_ids(variant(spec, ignore_merges=True), tmp_path, CASES // 10, 3)
    check_ids(variant(spec, merges=[m.split(" ") for m in spec["model"]["merges"]]), tmp_path, CASES // 20, 4)
    # Bytes without a token: dropped, or unknown.
    holes = {k: v for k, v in spec["model"]["vocab"].items() if not set(k) & set("zqğĢŁ")}
    merges = [m for m in spec["model"]["merges"] if all(t in holes for t in (*m.split(" "), m.replace(" ", "")))]
    holes = {k: i for i, k in enumerate(holes)}
    spec["added_tokens"] = []
    check_ids(variant(spec, vocab=holes, merges=merges), tmp_path, CASES // 20, 5)
    for fuse in (False, True):
        check_ids(variant(spec, vocab=holes, merges=merges, unk_token="<|endoftext|>", fuse_unk=fuse), tmp_path, CASES // 20, 6)


def test_every_code_point(tmp_path):
    """Each code point between letters, digits, spaces and punctuation, under every regular expression."""
    spec = json.loads(SMALL.read_text())
    for pre_tokenizer in (spec["pre_tokenizer"], byte_level(), PIPELINES["llama3"]):
        one = variant(spec, pre_tokenizer)
        file = tmp_path / "tokenizer.json"
        file.write_text(json.dumps(one))
        points = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
        texts = ["".join(f"a{c} {c}1{c}.{c}\n" for c in points[i:i + 64]) for i in range(0, len(points), 64)]
        texts += ["".join(f"{c}word<left>{c}<right>{c}" for c in points[i:i + 64]) for i in range(0, len(points), 64)]
        want = [e.ids for e in Tokenizer.from_str(json.dumps(one)).encode_batch(texts, add_special_tokens=False)]
        got = probe("tokenizer", [{"text": t, "parse": True} for t in texts], file)
        assert [i for i, (w, g) in enumerate(zip(want, got)) if w != g] == []


@pytest.mark.parametrize("file", TOKENIZERS, ids=lambda f: f.parent.name)
def test_invalid_utf8_and_literals(file):
    reference = Tokenizer.from_file(str(file))
    rng = random.Random(8)
    blobs = [bytes(rng.choice([rng.randrange(256), 0x41, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0xED, 0xC3]) for _ in range(rng.randint(1, 30))) for _ in range(CASES // 4)]
    want = [reference.encode(b.decode("utf-8", "replace"), add_special_tokens=False).ids for b in blobs]
    assert probe("tokenizer", [{"hex": b.hex(), "parse": True} for b in blobs], file) == want
    # A literal range keeps its added tokens as text: the same ids as with tokens that nobody knows under those names.
    strings = Strings(9, [t["content"] for t in json.loads(file.read_text())["added_tokens"]])
    texts = [strings.make() for _ in range(CASES // 4)]
    everything = [{"text": t, "literal": [[0, len(t.encode())]]} for t in texts]
    none = json.loads(file.read_text())
    none["added_tokens"] = []
    plain = Tokenizer.from_str(json.dumps(none))
    assert probe("tokenizer", everything, file) == [plain.encode(t, add_special_tokens=False).ids for t in texts]
    nothing = [{"text": t, "literal": [[3, 3]]} for t in texts]
    assert probe("tokenizer", nothing, file) == [reference.encode(t, add_special_tokens=False).ids for t in texts]


@pytest.mark.parametrize("file", TOKENIZERS, ids=lambda f: f.parent.name)
def test_decode(file):
    reference = Tokenizer.from_file(str(file))
    rng = random.Random(10)
    size = reference.get_vocab_size()
    lists = [[rng.randrange(size + 5) if rng.random() < 0.7 else rng.randrange(260) for _ in range(rng.randint(0, 20))] for _ in range(CASES)]
    for skip in (True, False):
        got = probe("tokenizer", [{"ids": ids, "skip": skip} for ids in lists], file)
        assert got == reference.decode_batch(lists, skip_special_tokens=skip)
