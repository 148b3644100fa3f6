"""--json-schema: whatever the model says, and however soon it must end, what it writes parses and validates.

The model that ships knows no JSON, so that nothing but the schema leads it. ONSIGHT_SCHEMAS sets how many random schemas are tried alone,
ONSIGHT_SERVED_SCHEMAS how many together.
"""
import concurrent.futures
import json
import os
import random
import re
import urllib.error

import jsonschema
import pytest

from conftest import NANO, ROOT

RECEIPT = ROOT / "examples" / "receipt.jpg"
FORMATS = jsonschema.FormatChecker(("date", "uuid"))  # those that the package checks alone


def validate(text, schema):
    value = json.loads(text, object_pairs_hook=no_duplicates if schema.get("additionalProperties") is False else dict)
    jsonschema.Draft202012Validator(schema, format_checker=FORMATS).validate(value)
    return value


def no_duplicates(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


@pytest.fixture
def ask(onsight, tmp_path):
    def run(schema, *arguments, question="Read the text."):
        path = tmp_path / "answer.schema.json"
        path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
        return onsight("ask", "--model", NANO, "--json-schema", path, *arguments, question)

    return run


TOTAL = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def test_answer_about_a_picture(ask):
    done = ask(TOTAL, "--image", RECEIPT, "--json", "--stats")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^schema +[\d.]+ ms, [\d.]+ % of the time after the prompt$", done.stderr, re.M), done.stderr
    reply = json.loads(done.stdout)
    assert reply["finish_reason"] == "stop"
    assert isinstance(validate(reply["text"], TOTAL)["total"], (int, float))


def test_drafting_and_repetition_change_nothing(ask):
    schema = {"type": "array", "items": {"enum": ["one", "two"]}, "minItems": 12, "maxItems": 12}
    answers = {ask(schema, *more).stdout for more in [(), ("--no-draft",), ()]}
    assert len(answers) == 1 and len(validate(answers.pop(), schema)) == 12


def test_whole_at_every_length(ask, refused):
    message = refused(ask(TOTAL, "--max-tokens", 2), 3, "shortest value", "max_tokens")
    least = int(re.search(r"takes (\d+) tokens", message)[1])
    for tokens in range(least, least + 12):
        for schema in (TOTAL, {**TOTAL, "additionalProperties": True}):
            done = ask(schema, "--max-tokens", tokens, "--json", "--temperature", 2, "--seed", tokens)
            reply = json.loads(done.stdout)
            validate(reply["text"], schema)
            assert reply["finish_reason"] == "stop" and reply["completion_tokens"] <= tokens


def test_endless_schemas_end(ask):
    for schema in ({}, {"type": "string"}, {"items": {"$ref": "#"}, "type": "array"},
                   {"type": "object", "additionalProperties": {"$ref": "#"}}):  # fmt: skip
        for more in (("--max-tokens", 90), ("--max-tokens", 300, "--temperature", "1.5")):
            validate(ask(schema, *more).stdout, schema)


def test_refused_before_anything_runs(ask, refused, onsight, tmp_path):
    refused(ask({"type": "object", "patternProperties": {"a": {}}}), 3, "answer.schema.json#", "patternProperties")
    refused(ask({"properties": {"x": {"not": {}}}}), 3, "#/properties/x", "'not'")
    refused(ask("{"), 3, "answer.schema.json", "JSON")
    refused(ask(TOTAL, "--stop", "x"), 2, "--stop", "--json-schema")
    refused(onsight("ask", "--json-schema", tmp_path / "none.json", "x"), 3, "none.json")
    refused(onsight("ask", "--json-schema", "", "x"), 2, "--json-schema")


def test_large_numbers_validate_or_are_refused(ask, refused):
    for schema in ({"const": 2**53 + 1}, {"enum": [-(2**63) + 1]}, {"const": [1e15, 0.1]}, {"type": "integer", "minimum": 10**17 + 1},
                   {"type": "integer", "minimum": 5e17, "maximum": 2**80}):  # fmt: skip
        validate(ask(schema, "--max-tokens", 90).stdout, schema)
    for number in ("12345678901234567890123", "-9223372036854775808", "1e300"):
        refused(ask('{"const": %s}' % number), 3, "answer.schema.json#/const", "2^63")


def test_what_would_take_too_long_is_refused(ask, refused):
    def fan(depth):
        parts = {f"a{i}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/a{i + 1}"}] * 4, "minItems": 4} for i in range(depth)}
        return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{depth}": {"type": "integer"}}}

    validate(ask(fan(2)).stdout, fan(2))
    refused(ask(fan(6)), 3, "shortest value", "tokens")
    for depth in (9, 12, 40):
        refused(ask(fan(depth)), 3, "answer.schema.json#", "shortest value", "expected at most 65536")
    refused(ask({"allOf": [{"minLength": 1}] * 40_000}), 3, "answer.schema.json#", "steps to compile")
    names = [f"x{i}" for i in range(10_000)]
    assert validate(ask({"enum": names}).stdout, {"enum": names}) in names


def random_schema(r, depth=3, references=()):
    """A schema that is supported, and that some value of few tokens satisfies."""
    kinds = ["null", "boolean", "integer", "number", "string", "enum", "const", "pattern", "format"]
    kinds += (["array", "tuple", "object", "object", "anyOf", "oneOf", "allOf", "any"] if depth else [])
    kinds += ["$ref"] if references else []
    kind = r.choice(kinds)
    inner = lambda: random_schema(r, depth - 1, references)  # noqa: E731
    if kind in ("integer", "number"):
        schema, low, high = {"type": kind}, r.randint(-300, 300), r.choice([1, 9, 55, 400])
        scale = r.choice([1, 10, 1000]) if kind == "number" else 1
        if r.random() < 0.7:
            schema[r.choice(["minimum", "exclusiveMinimum"])] = low / scale if scale > 1 else low
        if r.random() < 0.7:
            schema[r.choice(["maximum", "exclusiveMaximum"])] = (low + 2 * high) / scale if scale > 1 else low + 2 * high
        if r.random() < 0.2 and "exclusiveMaximum" not in schema and "maximum" not in schema:
            schema["multipleOf"] = r.choice([1, 2, 7, 25])
        return schema
    if kind == "string":
        low = r.choice([0, 0, 1, 4])
        return {"type": "string", "minLength": low, "maxLength": low + r.choice([0, 3, 40, 200])}
    if kind == "enum":
        return {"enum": r.sample(["a", "ab", "é€😀", "\n\"\\\u0001", 0, 1, 10, -2.5, None, True, [1, []], {"a": {"b": 1}}], r.randint(1, 5))}
    if kind == "const":
        return {"const": r.choice(["x", 7, [None, 1.5], {"k": "v"}])}
    if kind == "pattern":
        return {"type": "string", "pattern": r.choice([r"^[A-Z]{2}-\d+$", "ab+c?", r"^\S+@\S+\.(com|org)$", r"^(\d{1,3},)*\d{1,3}$",
                                                       r"^[^\s\d]{1,5}$", r"^\w+( \w+)?$", "^$|x"])}  # fmt: skip
    if kind == "format":
        return {"type": "string", "format": r.choice(["date", "time", "date-time", "uuid"])}
    if kind == "array":
        low = r.choice([0, 0, 1, 2])
        return {"type": "array", "items": inner(), "minItems": low, **r.choice([{}, {"maxItems": low + 2}])}
    if kind == "tuple":
        return {"type": "array", "prefixItems": [inner(), inner()], "items": r.choice([False, True, {"type": "null"}]),
                "minItems": r.randint(0, 2)}  # fmt: skip
    if kind == "object":
        names = r.sample(["total", "name", "é", "a b", "x", "na\"me", ""], r.randint(0, 4))
        return {"type": "object", "properties": {name: inner() for name in names}, "required": r.sample(names, r.randint(0, len(names))),
                **r.choice([{}, {"additionalProperties": False}, {"additionalProperties": {"type": "boolean"}}])}  # fmt: skip
    if kind == "anyOf":
        return {"anyOf": [inner() for _ in range(r.randint(1, 3))]}
    if kind == "oneOf":
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": i}, "v": inner()}, "required": ["kind"]} for i in range(2)]}
    if kind == "allOf":
        return {"allOf": [{"type": "object", "properties": {"a": inner()}, "required": ["a"]}, {"properties": {"b": inner()}}]}
    if kind == "$ref":
        return {"anyOf": [{"$ref": r.choice(references)}, {"type": "null"}]}
    return {"any": {}, "null": {"type": "null"}, "boolean": {"type": "boolean"}}[kind]


def random_document(r):
    schema = random_schema(r, references=("#/$defs/tree", "#"))
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "value": random_schema(r, 1)}}
    schema = {"$defs": {"tree": tree}, "properties": {"it": schema}, "required": ["it"], "type": "object"}
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


@pytest.mark.parametrize("seed", range(int(os.environ.get("ONSIGHT_SCHEMAS", "25"))))
def test_random_schemas(ask, refused, seed):
    r = random.Random(seed)
    schema = random_document(r)
    message = refused(ask(schema, "--max-tokens", 1), 3, "shortest value")
    least = int(re.search(r"takes (\d+) tokens", message)[1])
    for tokens, temperature in ((least, 0), (least + r.randint(1, 60), 1), (400, 0), (300, r.choice([0.5, 3]))):
        done = ask(schema, "--max-tokens", max(tokens, least), "--temperature", temperature, "--seed", seed, "--json")
        assert done.returncode == 0, done.stderr
        reply = json.loads(done.stdout)
        assert reply["finish_reason"] == "stop"
        validate(reply["text"], schema)


def test_random_schemas_many_at_once(server):
    """Answers under schemas of their own, written in the same passes."""
    ask, count = server(), int(os.environ.get("ONSIGHT_SERVED_SCHEMAS", "200"))

    def one(seed):
        r = random.Random(10_000 + seed)
        schema = random_document(r)
        body = {"model": "nano", "messages": [{"role": "user", "content": "Tell all."}], "temperature": r.choice([0, 1, 2]), "seed": seed, "n": r.choice([1, 1, 3]),
                "response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}}  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as refusal:
            ask("/v1/chat/completions", {**body, "max_tokens": 1})
        least = int(re.search(r"takes (\d+) tokens", json.load(refusal.value)["error"]["message"])[1])
        for tokens in (least, least + r.randint(1, 150)):
            for choice in ask("/v1/chat/completions", {**body, "max_tokens": tokens})["choices"]:
                assert choice["finish_reason"] == "stop", (seed, choice)
                try:
                    validate(choice["message"]["content"], schema)
                except (ValueError, jsonschema.ValidationError) as error:
                    raise AssertionError(f"seed {seed}, {tokens} tokens: {schema} allows {choice['message']['content']!r}") from error

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(one, seed) for seed in range(count)]:
            done.result()
