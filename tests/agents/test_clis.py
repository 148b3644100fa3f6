"""The agents' own programs, unmodified, in their containers: each is asked by a scripted model (model_server.py) to edit a file, run a
command, commit, write to the human and say that it is done; then a message reaches it, which it answers.

Images are made first, of Debian's packages and npm's, which takes minutes and the network: `make agents-clis`, or
ONSIGHT_AGENT_CLIS="claude codex" for some of them. Skipped by name otherwise.
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import engines
import pytest
from model_server import Edit, ModelServer, Read, Run, Say, Tool
from test_escapes import events
from test_life import BINARY, Shop

WANTED = os.environ.get("ONSIGHT_AGENT_CLIS", "").split()
KEY = "sk-real-0123456789abcdef0123456789abcdef"
TASK, MESSAGE, LATER = "change `one` to \"two\" in a.txt; commit $(it)", "Now tell me: which colour?", "And after a rest: which shape?"
SCRIPT = {
    TASK: [
        Read("/agent/repo/a.txt"),
        Edit("/agent/repo/a.txt", "one", "two"),
        Edit("/agent/repo/b.txt", "", "new\n"),
        Run("cat a.txt b.txt | tr a-z A-Z > c.txt"),
        Run("git add -A && git commit -q -m 'One is two' && git status --porcelain | wc -l"),
        Tool("send_message", {"to": "human", "text": "One is two now"}),
        Run("onsight-agent done 'One is two'"),
        Say("I have done it."),
    ],
    MESSAGE: [Run("onsight-agent inbox && onsight-agent send human 'It is blue' --reply-to 2"), Say("I have said it.")],
    LATER: [Run("onsight-agent inbox && onsight-agent send human 'It is round'"), Say("I have said that too.")],
}


@dataclass
class Cli:
    model: str
    provider: str
    protocol: str
    header: str
    field: str  # of a request, that has the key
    value: str = KEY


CLIS = {
    "claude": Cli("claude-sonnet-4-5", "anthropic", "anthropic", "x-api-key", "x-api-key"),
    "gemini": Cli("gemini-2.5-flash", "gemini", "gemini", "x-goog-api-key", "x-goog-api-key"),
    "codex": Cli("gpt-5.5", "openai", "openai", "authorization", "authorization", f"Bearer {KEY}"),
    "opencode": Cli("anthropic/claude-sonnet-4-5", "anthropic", "anthropic", "x-api-key", "x-api-key"),
}


@pytest.fixture(scope="module")
def engine():
    name = os.environ.get("ONSIGHT_AGENT_CLIS_ENGINE", "docker")
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(engines.start(name, image=False))
        except engines.Missing as why:
            if os.environ.get("ONSIGHT_REQUIRE_ENGINE") == "1":
                pytest.fail(str(why))
            pytest.skip(str(why))
        yield running


@pytest.fixture(params=CLIS)
def harness(request):
    if request.param not in WANTED:
        pytest.skip(f"{request.param}: its image takes minutes and the network, `make agents-clis` makes and tries it")
    return request.param


@pytest.fixture
def model():
    with ModelServer(SCRIPT) as server:
        yield server


@pytest.fixture
def shop(engine, harness, model):
    folder = Path(tempfile.mkdtemp(prefix="onsight-shop-", dir="/tmp"))
    shop = Shop(folder, engine)
    cli = CLIS[harness]
    shop.configure(f"""
[providers.{cli.provider}]
url = "{model.url}"
protocol = "{cli.protocol}"
key = "{cli.provider}"
header = "{cli.header}"
max_output_tokens = 64000
prices = [{{ model = "", in = 3, out = 15 }}]

[limits]
memory = "3GiB"

[roles.coder]
harness = "{harness}"
model = "{cli.model}"
may_message = ["human"]
budget = {{ usd = 20 }}
""")
    shop.commit("agents")
    (folder / "pass").write_text("a passphrase")
    (folder / "pass").chmod(0o600)
    shop.env["ONSIGHT_VAULT_PASSPHRASE_FILE"] = str(folder / "pass")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        # What was downloaded for one image serves the next one, and the next run.
        built = subprocess.run([BINARY, "agents", "image", "build", "--harness", harness], cwd=shop.repo, capture_output=True, text=True,
                               env={**shop.env, "HOME": os.environ["HOME"], "XDG_CACHE_HOME": str(cache)}, timeout=1500)  # fmt: skip
        assert built.returncode == 0, built.stderr
        shop.agents("key", "set", cli.provider, "--host", f"127.0.0.1:{model.port}", stdin=KEY)
        yield shop
    finally:
        shop.end()
        for one in engine.containers():
            engines.call(engine.socket, "DELETE", f"/v1.40/containers/{one['Id']}?force=1")
        shutil.rmtree(folder, ignore_errors=True)


def body(event):
    return json.loads(event["body"])


def test_a_program_as_it_is(shop, harness, model):
    def until(what, seconds=120):
        try:
            return shop.until(what, seconds)
        except AssertionError:
            print(shop.screen("coder"))
            print(model.trouble, [(one["path"], len(one["body"])) for one in model.requests])
            raise

    cli = CLIS[harness]
    shop.agents("start", "coder", "--task", TASK, "--wait")
    inbox = until(lambda: shop.agents("inbox", "--all"))
    assert "One is two now" in inbox and "coder -> human" in inbox
    (done,) = until(lambda: events(shop, "agent.done"))
    assert body(done) == {"summary": "One is two", "result": "done"}

    # A message is typed into its terminal when it has time, and it is answered.
    until(lambda: shop.row("coder")["activity"] != "thinking")
    shop.agents("message", "coder", MESSAGE)
    assert "It is blue" in until(lambda: (text := shop.agents("inbox", "--all")).count("->") == 2 and text)
    assert "answered" in shop.agents("inbox", "coder")

    # It goes on with what it was at after it was stopped: the model hears of the task again.
    shop.agents("stop", "coder")
    shop.agents("resume", "coder")
    until(lambda: (row := shop.row("coder"))["phase"] == "running" and row["activity"] not in ("thinking", "offline"))
    shop.agents("message", "coder", LATER)
    assert "It is round" in until(lambda: (text := shop.agents("inbox", "--all")).count("->") == 3 and text)
    assert "commit $(it)" in model.requests[-1]["body"] and "It is round" in model.requests[-1]["body"]

    # What it knows of the key is worth nothing; the model has seen the real one, and nothing of the other.
    known = shop.agents("exec", "coder", "--", "sh", "-c", "cat /proc/*/environ || true")
    assert "onsight-coder-" in known and KEY not in known
    (home,) = shop.folder.glob("s/*/clones/coder/home")
    assert all(KEY.encode() not in file.read_bytes() for file in home.rglob("*") if file.is_file())
    asked = [one for one in model.requests if one["method"] == "POST"]
    assert len(asked) >= len(SCRIPT[TASK])
    for one in asked:
        assert {k.lower(): v for k, v in one["fields"].items()}[cli.field] == cli.value
        assert "onsight-coder-" not in json.dumps(one["fields"]) + one["path"] + one["body"]
    assert model.trouble == []

    # All of them were counted.
    row = shop.row("coder")
    settled = [body(event) for event in events(shop, "spend.settled")]
    assert len(settled) == len([one for one in asked if not re.search("count_?tokens", one["path"], re.I)])
    assert row["tokens_in"] == sum(one["tokens_in"] for one in settled) == 1200 * len(settled)
    assert row["tokens_out"] == 34 * len(settled)
    assert row["usd"] == pytest.approx(sum(one["micro_usd"] for one in settled) / 1e6) and row["usd"] > 0

    shop.agents("stop", "coder")
    assert shop.agents("merge", "coder").startswith("coder: merged as ")
    assert (shop.repo / "a.txt").read_text() == "two\n"
    assert (shop.repo / "c.txt").read_text() == "TWO\nNEW\n"
