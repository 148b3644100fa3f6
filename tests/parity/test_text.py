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
CASES = int(os.environ.get("ONSIGHT_TEXT_CASES", "20000"))  # but never fewer than 100,000 for the main tokenizer
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
    check_ids(json.loads(file.read_text()), tmp_path, max(CASES, 100_000), 1)


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
    """Each code point between letters, digits, spaces, punctuation and added tokens, under every regular expression."""
    spec = json.loads(SMALL.read_text())
    file = tmp_path / "tokenizer.json"
    for pre_tokenizer, last in ((spec["pre_tokenizer"], 0x110000), (byte_level(), 0x33000), (PIPELINES["llama3"], 0x33000)):
        one = variant(spec, pre_tokenizer)
        file.write_text(json.dumps(one))
        points = [chr(c) for c in range(last) if not 0xD800 <= c <= 0xDFFF]
        texts = ["".join(f"a{c} {c}1{c}.{c}\n" for c in points[i:i + 64]) for i in range(0, len(points), 64)]
        assigned = points[:0x33000]
        texts += ["".join(f"{c}word<left>{c}<right>{c}" for c in assigned[i:i + 64]) for i in range(0, len(assigned), 64)]
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


# ---- chat templates


def jinja(template, messages, generation, **variables):
    """What transformers renders, or the exception."""
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        return render_jinja_template([messages], chat_template=template, add_generation_prompt=generation, **variables)[0][0]
    except Exception as error:  # noqa: BLE001 - templates raise what they like
        return error


# Letters that no template of these tests has in it, so that their place in a prompt tells who typed them.
USER_LETTERS = "日本語の漢字文章👍🏽😀"


def conversation(rng, letters=USER_LETTERS + " \n\t", roles=("user", "assistant", "system")):
    out = []
    for _ in range(rng.randint(0, 4)):
        content = []
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            kind = rng.choice(["text", "text", "image", "video"])
            content.append({"type": kind, **({"text": "".join(rng.choice(letters) for _ in range(rng.randint(0, 8)))} if kind == "text" else {})})
        out.append({"role": rng.choice(roles), "content": content})
    return out


def user_bytes(answer):
    return b"".join(answer["text"].encode()[begin:end] for begin, end in answer["user"]).decode()


TEMPLATES = sorted((ROOT / "tests/data/text/templates").glob("*.jinja"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_templates(path):
    rng = random.Random(11)
    template = path.read_text()
    cases = [(conversation(rng), rng.random() < 0.5) for _ in range(500)]
    got = probe("template", [{"template": template, "messages": m, "generation": g} for m, g in cases])
    rendered = 0
    for (messages, generation), answer in zip(cases, got):
        want = jinja(template, messages, generation)
        assert "refused" not in answer, answer
        if isinstance(want, Exception):
            assert "error" in answer, (want, messages, answer)
            continue
        rendered += 1
        assert answer.get("text") == want, (messages, answer)
        assert user_bytes(answer).strip() == "".join(c for c in want if c in USER_LETTERS) or not set(user_bytes(answer)) - set(USER_LETTERS + " \n\t")
        assert all(c in USER_LETTERS or c not in want.replace(user_bytes(answer), "") or c.isspace() for c in user_bytes(answer))
        outside = bytearray(want.encode())
        for begin, end in reversed(answer["user"]):
            del outside[begin:end]
        assert not set(outside.decode()) & set(USER_LETTERS)
    assert rendered > len(cases) // 20


class RandomTemplate:
    """Templates that are made up, of all that the interpreter knows."""

    FILTERS = ["capitalize", "upper", "lower", "trim", "title", "string", "first", "last", "default(1)", "replace('a', 'bb')", "d('e', true)", "trim('ab')"]
    METHODS = ["strip()", "lstrip()", "rstrip()", "upper()", "lower()", "capitalize()", "strip('a ')", "replace('a', '')", "split()[0]", "split('a')[-1]"]

    def __init__(self, rng):
        self.rng = rng
        self.loops = 0
        self.names = ["x", "y", "zz"]

    def pick(self, *options):
        return self.rng.choice(options)()

    def text(self, d):
        r = self.rng
        if d <= 0:
            return r.choice(["'a'", '"B c"', "''", "' \\n'", "'é日 '", "messages[0]['role']", "message.role", "'x' 'y'", "'<image>'", "bos_token", "x", "'it\\'s'"])
        t, n, b = self.text, self.number, self.truth
        return self.pick(
            lambda: t(0), lambda: f"{t(d-1)} + {t(d-1)}", lambda: f"{t(d-1)} ~ {self.any(d-1)}",
            lambda: f"({t(d-1)})|{r.choice(self.FILTERS)}",
            lambda: f"({t(d-1)}).{r.choice(self.METHODS)}",
            lambda: f"({t(d-1)})[{n(d-1)}]", lambda: f"({t(d-1)})[{self.bound(d-1)}:{self.bound(d-1)}]", lambda: f"({t(d-1)} if {b(d-1)} else {t(d-1)})",
            lambda: f"({t(d-1)} if {b(d-1)})", lambda: f"({t(d-1)}) * {r.randint(-1, 3)}", lambda: f"{self.list(d-1)}|join({t(0)})", lambda: f"{t(d-1)} or {t(d-1)}",
            lambda: "messages[0].content[0].text", lambda: f"({self.list(d-1)})|tojson", lambda: f"{{'k': {t(d-1)}}}['k']", lambda: f"{{'k': {t(d-1)}}}.get({t(0)}, {t(0)})")

    def bound(self, d):
        return self.rng.choice(["", str(self.rng.randint(-3, 4)), self.number(d)])

    def number(self, d):
        r = self.rng
        if d <= 0:
            return str(r.randint(0, 5)) if r.random() < 0.6 or not self.loops else "loop." + r.choice(["index", "index0", "revindex", "revindex0", "length"])
        n = self.number
        return self.pick(lambda: n(0), lambda: f"{n(d-1)} + {n(d-1)}", lambda: f"{n(d-1)} - {n(d-1)}", lambda: f"{n(d-1)} * {n(d-1)}", lambda: f"({n(d-1)}) // {n(d-1)}", lambda: f"({n(d-1)}) % {n(d-1)}",
                         lambda: f"-{n(0)}", lambda: f"({self.any(d-1)})|length", lambda: f"({self.list(d-1)})|count", lambda: f"({n(d-1)})")

    def truth(self, d):
        r = self.rng
        if d <= 0:
            return r.choice(["true", "false", "none", "add_generation_prompt", "nothing", "tools", "True"] + (["loop.first", "loop.last", "loop.previtem is defined"] if self.loops else []))
        b, a = self.truth, self.any
        tests = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "boolean", "true", "false", "number", "integer"]
        return self.pick(lambda: b(0), lambda: f"{b(d-1)} and {b(d-1)}", lambda: f"{b(d-1)} or {b(d-1)}", lambda: f"not {b(d-1)}", lambda: f"({b(d-1)})",
                         lambda: f"{a(d-1)} {r.choice(['==', '!='])} {a(d-1)}", lambda: f"{self.number(d-1)} {r.choice(['<', '<=', '>', '>=', '=='])} {self.number(d-1)}", lambda: f"{self.text(d-1)} {r.choice(['<', '>='])} {self.text(d-1)}",
                         lambda: f"{self.text(d-1)} {r.choice(['in', 'not in'])} {r.choice([self.text, self.list])(d-1)}", lambda: f"({a(d-1)}) is {r.choice(['', 'not '])}{r.choice(tests)}",
                         lambda: f"({self.number(d-1)}) is {r.choice(['odd', 'even', 'divisibleby 2', 'divisibleby(3)', 'eq 2', 'equalto(1)'])}", lambda: f"({self.text(d-1)}).{r.choice(['startswith', 'endswith'])}({self.text(0)})",
                         lambda: f"1 < {self.number(d-1)} <= 3", lambda: f"messages[0].{r.choice(['role', 'content', 'nope'])} is defined", lambda: f"{self.text(d-1)} in ('a', 'user')")

    def list(self, d):
        r = self.rng
        if d <= 0:
            return r.choice(["messages", "messages[0].content", "['a', 'b c']", "[]", "('u', 1)", "range(3)|list", "[1, 2, 3]", "message.content"])
        return self.pick(lambda: self.list(0), lambda: f"({self.list(d-1)})[{self.bound(d-1)}:{self.bound(d-1)}{r.choice(['', '', ':-1', ':2', ':'])}]", lambda: f"({self.text(d-1)}).split({r.choice(['', self.text(0), self.text(0) + ', 1'])})", lambda: f"({self.text(d-1)})|list",
                         lambda: f"[{self.any(d-1)}, {self.any(d-1)}]", lambda: f"range({self.number(d-1)}, {self.number(d-1)})|list", lambda: "{'a': 1, 'b': 'c'}|items|list", lambda: f"({self.list(d-1)} + {self.list(d-1)})", lambda: f"({self.list(d-1)} if {self.truth(d-1)} else [])")

    def any(self, d):
        return self.rng.choice([self.text, self.text, self.number, self.truth, self.list])(d)

    def tag(self, inside, kind="%"):
        r = self.rng
        begin, end = {"%": ("{%", "%}"), "{": ("{{", "}}"), "#": ("{#", "#}")}[kind]
        left, right = r.choice(["", "", "", "-", "+"]), r.choice(["", "", "", "-"] + (["+"] if kind != "{" else []))
        return f"{begin}{left} {inside} {right}{end}"

    def data(self):
        return self.rng.choice(["", " ", "\n", "  \n  ", "text", "\n\n", " a\n ", "\t", "{ x }", "é\n", "\r\n", "}}", "%", "\u2003\n"])

    def body(self, d):
        return "".join(self.data() + self.statement(d) for _ in range(self.rng.randint(1, 3))) + self.data()

    def statement(self, d):
        r = self.rng
        kind = r.random()
        if d <= 0 or kind < 0.4:
            return self.tag(r.choice([self.text, self.text, self.number, self.truth])(r.randint(0, 3)), "{")
        if kind < 0.55:
            out = self.tag(f"if {self.truth(2)}") + self.body(d - 1)
            for _ in range(r.choice([0, 0, 1])):
                out += self.tag(f"elif {self.truth(2)}") + self.body(d - 1)
            return out + (self.tag("else") + self.body(d - 1) if r.random() < 0.4 else "") + self.tag("endif")
        if kind < 0.75:
            name = r.choice(["message", "x", "i"])
            out = self.tag(f"for {name} in {self.list(1)}" + (f" if {self.without_loop(name)}" if r.random() < 0.3 else ""))
            self.loops += 1
            out += self.body(d - 1) + (self.tag(f"if {self.truth(1)}") + self.tag(r.choice(["break", "continue"])) + self.tag("endif") + self.data() if r.random() < 0.2 else "")
            self.loops -= 1
            return out + (self.tag("else") + self.body(d - 1) if r.random() < 0.2 else "") + self.tag("endfor")
        if kind < 0.9:
            return self.tag(f"set {r.choice(self.names)} = {self.any(2)}")
        if kind < 0.93:
            return self.tag(f"set {r.choice(self.names)}") + self.body(d - 1) + self.tag("endset")
        if kind < 0.96:
            return self.tag("set ns = namespace(a=1, b='')") + self.tag(f"set ns.a = {self.text(1)}") + self.tag("ns.a ~ ns.b ~ ns.c", "{")
        return self.tag(r.choice(["a comment", "", "{{ x }} {% if %}", "\n"]), "#")

    def without_loop(self, name):
        loops, self.loops = self.loops, 0
        out = self.truth(1)
        self.loops = loops
        return out


def test_random_templates():
    """Made-up templates: the same text as Jinja2, or an error where Jinja2 has one; a refusal only where something is refused on purpose."""
    rng = random.Random(12)
    count = min(CASES, 20000) // 4  # Jinja2 compiles each, which takes it milliseconds
    cases = []
    for _ in range(count):
        cases.append((RandomTemplate(rng).body(2) + rng.choice(["", "\n", "\n\n"]), conversation(rng, "ab éßA\n日İŉ"), rng.random() < 0.5))
    got = probe("template", [{"template": t, "messages": m, "generation": g} for t, m, g in cases])
    same = errors = refused = 0
    for (template, messages, generation), answer in zip(cases, got):
        want = jinja(template, messages, generation)
        if "text" in answer:
            assert answer["text"] == want, (template, messages, want, answer)
            same += 1
        elif isinstance(want, Exception):
            errors += 1
        else:
            message = answer.get("error", answer.get("refused"))
            assert any(m in message for m in ("cannot be written as text", "not supported", "expected the end of the test", "expected an expression")), (template, messages, want, message)
            refused += 1
    print(f"{same} the same, {errors} errors in both, {refused} refused")
    assert same > count // 3 and refused < count // 6


def test_case_of_every_letter():
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and c != 0x3A3]
    texts = ["".join(points[i:i + 512]) for i in range(0, len(points), 512)]
    for template in ("{{ messages[0].content[0].text | upper }}", "{{ messages[0].content[0].text | lower }}", "{% for c in messages[0].content[0].text %}{{ c | capitalize }}{{ c | title }}{% endfor %}",
                     "{% for c in messages[0].content[0].text %}{{ ('a' ~ c ~ 'b') | title }}{{ c | trim | length }}{% endfor %}"):
        messages = [[{"role": "user", "content": [{"type": "text", "text": t}]}] for t in texts]
        got = probe("template", [{"template": template, "messages": m} for m in messages])
        assert [a.get("text") for a in got] == [jinja(template, m, False) for m in messages]


def import_smolvlm():
    """A torchvision built for another torch finds its compiled operators only if they are declared before."""
    import torch

    if not hasattr(torch.ops.torchvision, "nms"):
        import_smolvlm.library = torch.library.Library("torchvision", "DEF")
        for op in ("nms", "qnms"):
            import_smolvlm.library.define(op + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from transformers.models.smolvlm import processing_smolvlm

    return processing_smolvlm


def test_built_in_video_template():
    DEFAULT_CHAT_TEMPLATE = import_smolvlm().DEFAULT_CHAT_TEMPLATE

    rng = random.Random(13)
    cases = [(conversation(rng), rng.random() < 0.5) for _ in range(500)]
    got = probe("template", [{"built_in": True, "messages": m, "generation": g} for m, g in cases])
    for (messages, generation), answer in zip(cases, got):
        want = jinja(DEFAULT_CHAT_TEMPLATE, messages, generation)
        assert answer.get("text") == (None if isinstance(want, Exception) else want)


FOLDERS = {
    "jinja": {"chat_template.jinja": "J{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}\n"},
    "json": {"chat_template.json": json.dumps({"chat_template": "L"})},
    "json before jinja": {"chat_template.jinja": "J", "chat_template.json": json.dumps({"chat_template": "L"})},
    "processor before all": {"processor_config.json": json.dumps({"processor_class": "SmolVLMProcessor", "chat_template": "P"}), "chat_template.json": json.dumps({"chat_template": "L"}), "chat_template.jinja": "J"},
    "processor without": {"processor_config.json": json.dumps({"processor_class": "SmolVLMProcessor", "chat_template": None}), "chat_template.jinja": "J"},
    "named": {"chat_template.jinja": "J", "additional_chat_templates/tool_use.jinja": "T"},
    "named default": {"additional_chat_templates/tool_use.jinja": "T", "additional_chat_templates/default.jinja": "D"},
    "conflict": {"chat_template.json": json.dumps({"chat_template": "L"}), "additional_chat_templates/tool_use.jinja": "T"},
    "only named": {"additional_chat_templates/tool_use.jinja": "T"},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(name, tmp_path):
    """The template and the variables that transformers' processor takes from a folder."""
    from transformers import AutoTokenizer

    config = {"tokenizer_class": "TokenizersBackend", "bos_token": "<|im_start|>", "eos_token": {"__type": "AddedToken", "content": "<end_of_utterance>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}, "pad_token": "<|im_end|>", "image_token": "<image>"}
    files = {"config.json": json.dumps({"model_type": "smolvlm"}), "tokenizer.json": SMALL.read_text(), "tokenizer_config.json": json.dumps(config), **FOLDERS[name]}
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content)
    variables = AutoTokenizer.from_pretrained(tmp_path).special_tokens_map
    try:
        template = import_smolvlm().SmolVLMProcessor.get_processor_dict(str(tmp_path))[0].get("chat_template")
        template = template["default"] if isinstance(template, dict) else template
    except (ValueError, KeyError):
        template = None
    answer = probe("template", [{"folder": str(tmp_path), "messages": [], "generation": True}])[0]
    if template is None:
        assert "refused" in answer
    else:
        assert answer["text"] == jinja(template, [], True, **variables)
    assert "unk" not in answer.get("text", "")
