"""The model of this machine that sees, asked from within a container: the shipped model, served here, about pictures of examples/."""
import json
import os
import shutil
import subprocess
import sys

import pytest
from test_escapes import events
from test_life import BINARY, ROOT, engine, shop  # noqa: F401

sys.path.append(str(ROOT / "tests" / "server"))
from serving import Server  # noqa: E402

ANSWERS = {one["picture"]: one for one in json.loads((ROOT / "examples" / "answers.json").read_text())}
MCP = [
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}}},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
     "params": {"name": "look_at_picture", "arguments": {"path": "scene.png", "question": ANSWERS["scene.png"]["question"]}}},
]  # fmt: skip


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONSIGHT_")} | {"TMPDIR": str(tmp_path_factory.mktemp("serve"))}
    process = subprocess.Popen([BINARY, "serve", "--model", ROOT / "models" / "onsight-nano", "--port", "0"], env=environment,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip
    try:
        yield Server(process)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def roles(shop, line):  # noqa: F811
    shop.configure(f'{line}\n[roles.seeing]\nharness = "generic"\ncommand = ["sh"]\nvision = true\n'
                   '[roles.blind]\nharness = "generic"\ncommand = ["sh"]\n')  # fmt: skip


def raw(shop, agent, method, path, body=""):  # noqa: F811
    """As a program that knows of nothing but HTTP_PROXY."""
    return shop.agents("exec", agent, "--", "bash", "-c", f"""
        exec 3<>/dev/tcp/127.0.0.1/8080
        printf '{method} http://vision{path} HTTP/1.1\\r\\nHost: vision\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n{body}' >&3
        timeout 60 cat <&3""")  # fmt: skip


def test_a_role_that_may_see(shop, vision):  # noqa: F811
    for name in ANSWERS:
        shutil.copy(ROOT / "examples" / name, shop.repo)
    shop.commit("pictures")
    roles(shop, f'vision = "http://127.0.0.1:{vision.port}"')
    shop.agents("start", "tester", "--role", "seeing", "--wait")
    for one in ANSWERS.values():
        said = shop.agents("exec", "tester", "--", "onsight-agent", "look", one["picture"], one["question"])
        assert said == one["answer"] + "\n"
    lines = "".join(json.dumps(line) + "\n" for line in MCP)
    answers = shop.agents("exec", "tester", "--", "bash", "-c", f"printf '%s' '{lines}' | onsight-agent mcp")
    assert json.loads(answers.splitlines()[1])["result"]["content"] == [{"type": "text", "text": ANSWERS["scene.png"]["answer"]}]
    assert raw(shop, "tester", "GET", "/v1/models").startswith("HTTP/1.1 200")
    assert {json.loads(event["body"])["host"] for event in events(shop, "egress.sent")} == {"vision"}
    # Nothing of the server but its answers; what costs nothing is not counted.
    for method, path in (("POST", "/v1/files"), ("GET", "/metrics"), ("GET", "/"), ("DELETE", "/v1/models")):
        assert raw(shop, "tester", method, path).startswith("HTTP/1.1 403")
    assert shop.row("tester")["usd"] == 0 and events(shop, "spend.settled") == []
    wrong = shop.agents("exec", "tester", "--", "onsight-agent", "look", "a.txt", "What is it?", code=5)
    assert wrong.startswith("onsight-agent: ") and wrong.count("\n") == 1
    assert "expected a picture" in shop.agents("exec", "tester", "--", "onsight-agent", "look", "none.png", "What is it?", code=3)


def test_a_role_that_may_not(shop, vision):  # noqa: F811
    shutil.copy(ROOT / "examples" / "scene.png", shop.repo)
    shop.commit("a picture")
    roles(shop, f'vision = "http://127.0.0.1:{vision.port}"')
    shop.agents("start", "tester", "--role", "blind", "--wait")
    look = ["exec", "tester", "--", "onsight-agent", "look", "scene.png", "What is it?"]
    assert "may not ask the vision model" in shop.agents(*look, code=5)
    assert raw(shop, "tester", "GET", "/v1/models").startswith("HTTP/1.1 403")
    refused = [json.loads(event["body"]) for event in events(shop, "egress.refused")]
    assert [(one["host"], one["reason"]) for one in refused] == [("vision", "not_allowed")] * 2
    assert events(shop, "egress.sent") == []


def test_nobody_is_there_to_ask(shop):  # noqa: F811
    roles(shop, "")
    shutil.copy(ROOT / "examples" / "scene.png", shop.repo)
    shop.commit("a picture")
    shop.agents("start", "tester", "--role", "seeing", "--wait")
    look = ["exec", "tester", "--", "onsight-agent", "look", "scene.png", "What is it?", "--timeout", "2"]
    assert "none is configured" in shop.agents(*look, code=5)
