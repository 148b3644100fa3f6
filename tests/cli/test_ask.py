"""What ask asks of the engine, and what it prints of the answer."""
import json
import os
import subprocess

import pytest

from pictures import png


def asked(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def ask(scripted, model, tmp_path):
    """ask(arguments...) -> (CompletedProcess, the request that the engine got)"""

    def run(*arguments, script=None, **more):
        log = tmp_path / "requests"
        done = scripted("ask", "--model", model, *arguments, script={**(script or {}), "log": str(log)}, **more)
        assert done.returncode == 0, done.stderr
        return done, asked(log)[-1]

    return run


def user(request):
    return request["messages"][-1]["parts"]


def test_prompt_alone(ask):
    done, request = ask("Hello?")
    assert user(request) == ["Hello?"] and len(request["messages"]) == 1
    assert done.stdout == "Seen.\n" and done.stderr == ""


def test_pictures_come_first_and_in_order(ask, tmp_path):
    (tmp_path / "a.png").write_bytes(png(3, 2))
    (tmp_path / "b.png").write_bytes(png(5, 4))
    _, request = ask("--image", tmp_path / "a.png", "--image", tmp_path / "b.png", "What changed?")
    assert user(request) == ["<3x2>", "<5x4>", "What changed?"]
    _, request = ask("-i", tmp_path / "b.png", "The {image} and {image}.", f"--image={tmp_path / 'a.png'}")
    assert user(request) == ["The ", "<5x4>", " and ", "<3x2>", "."]


def test_without_a_prompt_the_picture_is_described(ask, picture):
    _, request = ask("--image", picture)
    assert user(request) == ["<6x4>", "Describe this image."]


@pytest.mark.parametrize("prompt", ["{image}", " {image}\n", "", " "])
def test_a_prompt_that_asks_nothing_is_none(ask, picture, prompt):
    described = ["<6x4>", "Describe this image."]
    assert user(ask("--image", picture, prompt)[1]) == described
    assert user(ask("--image", picture, "-", input=prompt.encode())[1]) == described


def test_a_prompt_of_places_alone(ask, scripted, model, picture, refused, tmp_path):
    (tmp_path / "b.png").write_bytes(png(5, 4))
    _, request = ask("-i", picture, "-i", tmp_path / "b.png", "{image} {image}")
    assert user(request) == ["<6x4>", "<5x4>", "Describe this image."]
    for nothing in ("{image}", "{video}"):
        refused(scripted("ask", "--model", model, nothing), 2, "expected a question")
    refused(scripted("ask", "--model", model, "-", input=b"{image}\n"), 3, "standard input: expected a question, found nothing")


def test_picture_from_standard_input(ask):
    _, request = ask("--image", "-", "What is it?", input=png(7, 5))
    assert user(request) == ["<7x5>", "What is it?"]


def test_prompt_from_standard_input(ask, picture):
    _, request = ask("-", input="Wie spät?\nJetzt.\n".encode())
    assert user(request) == ["Wie spät?\nJetzt."]


def test_a_prompt_may_begin_with_a_dash(ask):
    _, request = ask("--", "--json")
    assert user(request) == ["--json"]


def test_wrong_number_of_places_for_pictures(scripted, model, picture, refused):
    refused(scripted("ask", "--model", model, "--image", picture, "{image} {image}"), 2, "{image}")


def test_defaults_are_the_references(ask):
    _, request = ask("x")
    del request["messages"]
    assert request == {"temperature": 0, "top_k": 0, "top_p": 1, "min_p": 0, "repetition_penalty": 1, "seed": 0,
                       "max_tiles": 0, "allow_upscale": True, "max_tokens": 1024, "draft": True, "stop": []}  # fmt: skip


def test_every_flag_arrives(ask):
    _, request = ask("--temperature", "0.5", "--top-k", "40", "--top-p", ".25", "--min-p", "0.125", "--repetition-penalty",
                     "1.5", "--seed", str(2**64 - 1), "--max-tokens", "9", "--stop", "[END]", "--stop", "a,b", "--max-tiles",
                     "5", "--no-upscale", "--no-draft", "--threads", "2", "--system", "Be brief.", "x")  # fmt: skip
    messages = request.pop("messages")
    assert request == {"temperature": 0.5, "top_k": 40, "top_p": 0.25, "min_p": 0.125, "repetition_penalty": 1.5,
                       "seed": 2**64 - 1, "max_tiles": 5, "allow_upscale": False, "max_tokens": 9, "draft": False,
                       "stop": ["[END]", "a,b"]}  # fmt: skip
    assert messages == [{"role": "system", "parts": ["Be brief."]}, {"role": "user", "parts": ["x"]}]


@pytest.mark.parametrize("pieces", [["a", "b"], ["a", "b\n"], ["a", "b", "\n", "\n\n"], ["a", "b\n", "\n"]])
def test_the_answer_ends_in_one_newline(ask, pieces):
    done, _ = ask("x", script={"pieces": pieces})
    assert done.stdout == "ab\n"


def test_inner_newlines_stay(ask):
    done, _ = ask("x", script={"pieces": ["\n", "a", "\n\n", "é\n", "c"]})
    assert done.stdout == "\na\n\né\nc\n"


def test_an_empty_answer_is_an_empty_line(ask):
    done, _ = ask("x", script={"pieces": []})
    assert done.stdout == "\n"


def test_the_answer_is_streamed(scripted, model):
    process = scripted.start("ask", "--model", model, "x", script={"pieces": ["first ", "second"], "delay_ms": 1000})
    assert os.read(process.stdout.fileno(), 100) == b"first "
    assert process.poll() is None
    assert process.communicate(timeout=20)[0] == b"second\n"


def test_json_is_one_object(ask):
    done, _ = ask("--json", "x", script={"pieces": ["Grüße\n", '"']})
    assert done.stderr == "" and done.stdout.count("\n") == 1
    value = json.loads(done.stdout)
    assert list(value) == ["text", "prompt_tokens", "prompt_tokens_details", "cached_tiles", "completion_tokens", "drafted_tokens", "accepted_tokens",
                           "finish_reason", "timings_ms", "peak_memory_bytes"]  # fmt: skip
    assert list(value["timings_ms"]) == ["load", "preprocess", "vision", "prefill", "decode", "first_token"]
    assert value["text"] == 'Grüße\n"' and value["finish_reason"] == "stop" and value["completion_tokens"] == 2
    assert value["peak_memory_bytes"] > 0


def test_json_is_valid_whatever_the_engine_says(scripted, model):
    # A surrogate in the script's JSON cannot be written there, so the broken byte comes from a bad folder name instead.
    done = subprocess.run(scripted.command("inspect", "--json", os.fsencode(model) + b"/\xff"), capture_output=True,
                          env=scripted.environment())  # fmt: skip
    assert done.returncode == 3
    os.mkdir(os.fsencode(model) + b"/\xff")
    done = subprocess.run([os.fsencode(scripted.path), b"inspect", b"--json", os.fsencode(model) + b"/\xff"],
                          capture_output=True, env=scripted.environment())  # fmt: skip
    assert json.loads(done.stdout.decode())["name"] == "\ufffd"


def test_stats_come_after_the_answer_on_standard_error(ask, picture):
    done, _ = ask("--stats", "--image", picture, script={"tiles": 3})
    assert done.stdout == "Seen.\n"
    for word in ["prompt       7 tokens, 192 of them image (3 tiles)", "answer       2 tokens (stop)", "first token", "tokens/s", "peak memory"]:
        assert word in done.stderr


def test_no_progress_bar_without_a_terminal(ask, picture):
    done, _ = ask("--image", picture, script={"tiles": 5})
    assert done.stderr == ""


@pytest.mark.parametrize("code, exit_code", [(0, 2), (1, 3), (2, 4), (4, 1)])
def test_an_error_of_the_engine_is_one_sentence(scripted, model, refused, code, exit_code):
    refused(scripted("ask", "--model", model, "x", script={"fail": "what, where, expected", "code": code}), exit_code, "what, where")


@pytest.mark.parametrize("thrown", ["bad_alloc", "system_error"])
def test_not_enough_memory_is_exit_code_4(scripted, model, refused, thrown):
    refused(scripted("ask", "--model", model, "x", script={"throw": thrown}), 4, "memory")


def test_models_are_found_by_name(scripted, tmp_path):
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    done = scripted("inspect", "tiny", env={"ONSIGHT_MODELS": tmp_path / "models"})
    assert done.returncode == 0 and "tiny" in done.stdout


def test_models_beside_the_program_are_found(scripted, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "share/onsight/models/tiny").mkdir(parents=True)
    program = tmp_path / "bin" / "onsight"
    program.write_bytes(scripted.path.read_bytes())
    program.chmod(0o755)
    done = subprocess.run([program, "inspect", "tiny"], capture_output=True, env=scripted.environment())
    assert done.returncode == 0 and b"tiny" in done.stdout


def test_a_model_that_is_not_found(scripted, refused, tmp_path):
    refused(scripted("ask", "--model", "nothing-of-that-name", "x", env={"ONSIGHT_MODELS": tmp_path}), 3,
            "nothing-of-that-name", str(tmp_path), "share/onsight/models")  # fmt: skip
    refused(scripted("ask", "--model", tmp_path / "no", "x"), 3, str(tmp_path / "no"), "expected")
    (tmp_path / "file").touch()
    refused(scripted("ask", "--model", tmp_path / "file", "x"), 3, "folder", "found a file")
