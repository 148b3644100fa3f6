"""mcp: the bus as a server of the Model Context Protocol, by hand and with the protocol's own client where it is installed."""
import asyncio
import json
import os
import random
import subprocess
import time

import pytest

MESSAGE = {"number": 3, "from": "planner", "kind": "question", "text": "Is it done?"}


class Client:
    def __init__(self, agent):
        self.process = agent.start("mcp", stdin=subprocess.PIPE, stderr=None)
        self.last = 0

    def write(self, line):
        self.process.stdin.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def read(self):
        line = self.process.stdout.readline()
        assert line.endswith(b"\n"), "expected an answer"
        return json.loads(line)

    def ask(self, method, params=None):
        self.last += 1
        self.write({"jsonrpc": "2.0", "id": self.last, "method": method, **({} if params is None else {"params": params})})
        answer = self.read()
        assert answer["jsonrpc"] == "2.0" and answer["id"] == self.last
        return answer

    def call(self, name, **arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments})["result"]

    def end(self):
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out


@pytest.fixture
def client(agent):
    client = Client(agent)
    yield client
    client.process.kill()
    client.process.communicate()


@pytest.mark.parametrize("wanted, given", [("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2025-06-18", "2025-06-18"),
                                           ("2031-01-01", "2025-06-18"), (3, "2025-06-18"), (None, "2025-06-18")])
def test_versions(client, wanted, given):
    result = client.ask("initialize", {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}})["result"]
    assert result["protocolVersion"] == given and result["capabilities"] == {"tools": {}}
    assert result["serverInfo"]["name"] == "onsight-agent" and result["instructions"]
    client.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert client.ask("ping")["result"] == {}
    assert client.end() == (0, b"")


def test_tools_have_schemas(client):
    jsonschema = pytest.importorskip("jsonschema")
    tools = client.ask("tools/list")["result"]["tools"]
    assert [tool["name"] for tool in tools] == ["send_message", "read_inbox", "set_status", "propose_tasks", "look_at_picture", "finish"]
    for tool in tools:
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        assert tool["description"] and tool["inputSchema"]["type"] == "object"


def test_calls(client, broker):
    broker.answers["POST /onsight/messages"] = (201, {"number": 7})
    broker.answers["POST /onsight/propose"] = (201, {"accepted": ["x"]})
    assert client.call("send_message", to="human", text="Hi ☃", question=True) == {"content": [{"type": "text", "text": "Sent as #7"}]}
    client.call("send_message", to="human", text="Hi", reply_to=3, id="mine")
    first, second = broker.bodies("/onsight/messages")
    assert (first["kind"], second) == ("question", {"id": "mine", "to": "human", "text": "Hi", "kind": "answer", "reply_to": 3})
    client.call("set_status", activity="blocked", detail="d")
    client.call("finish", summary="s", result="failed")
    assert "accepted" in client.call("propose_tasks", tasks=[{"name": "x"}])["content"][0]["text"]
    assert broker.bodies("/onsight/status") == [{"activity": "blocked", "detail": "d"}]
    assert broker.bodies("/onsight/done") == [{"summary": "s", "result": "failed"}]
    assert broker.bodies("/onsight/propose")[0]["tasks"] == [{"name": "x"}]


def test_inbox_is_acknowledged_when_it_was_written(client, broker):
    broker.answers["GET /onsight/inbox"] = (200, {"messages": [MESSAGE]})
    assert "#3 from planner (question):\nIs it done?" in client.call("read_inbox")["content"][0]["text"]
    client.ask("ping")
    assert broker.bodies("/onsight/inbox/consumed") == [{"numbers": [3]}]
    broker.answers["GET /onsight/inbox"] = (200, {"messages": []})
    assert client.call("read_inbox")["content"][0]["text"] == "No messages"


def test_inbox_of_a_client_that_went(agent, broker):
    broker.answers["GET /onsight/inbox"] = (200, {"messages": [MESSAGE]})
    read, write = os.pipe()
    process = agent.start("mcp", stdin=subprocess.PIPE, stdout=write)
    os.close(write)
    os.close(read)
    process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_inbox"}}\n')
    process.communicate(timeout=20)
    assert process.returncode == 0 and not broker.bodies("/onsight/inbox/consumed")


def test_who_waits_still_answers(client, broker):
    broker.answers["GET /onsight/inbox"] = lambda _: time.sleep(1) or (200, {"messages": []})
    begun = time.monotonic()
    client.write({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_inbox", "arguments": {"wait_seconds": 50}}})
    client.write({"jsonrpc": "2.0", "id": 2, "method": "ping"})
    assert client.read()["id"] == 1 and client.read()["id"] == 2
    assert time.monotonic() - begun < 6


@pytest.mark.parametrize("name, arguments, word", [
    ("send_message", {}, "missing"), ("send_message", {"to": "x"}, "text: missing"), ("send_message", {"to": 3, "text": "x"}, "to: expected a string"),
    ("send_message", {"to": "x", "text": "x", "reply_to": "3"}, "reply_to: expected an integer"), ("send_message", {"to": "x", "text": "x", "reply_to": -1}, "reply_to"),
    ("send_message", {"to": "x", "text": "x", "cc": "y"}, "cc: there is no such argument"), ("send_message", [], "object"), ("send_message", "x", "object"),
    ("read_inbox", {"wait_seconds": "long"}, "number"), ("set_status", {"activity": "sleeping"}, "one of"), ("finish", {"summary": "s", "result": "maybe"}, "one of"),
    ("propose_tasks", {"tasks": []}, None), ("propose_tasks", {"tasks": [3]}, "expected objects"), ("propose_tasks", {"tasks": {}}, "array"),
])
def test_wrong_arguments_are_for_the_model_to_see(client, broker, name, arguments, word):
    broker.answers["POST /onsight/propose"] = (400, {"error": {"message": "expected a task"}})
    result = client.ask("tools/call", {"name": name, "arguments": arguments})["result"]
    assert result["isError"] is True and (word or "expected a task") in result["content"][0]["text"]


def test_what_the_broker_refuses(client, broker):
    broker.answers["POST /onsight/messages"] = (403, {"error": {"message": "not to the human", "reason": "not_allowed"}})
    assert client.call("send_message", to="human", text="x") == {"content": [{"type": "text", "text": "not to the human (not_allowed)"}], "isError": True}


@pytest.mark.parametrize("line, code", [
    (b"rubbish\n", -32700), (b"[\n", -32700), (b"\xff\xfe\n", -32700), (b"[" * 5000 + b"\n", -32700), (b'{"a":' * 5000 + b"\n", -32700), (b"x" * (3 << 20) + b"\n", -32700),
    (b"3\n", -32600), (b"[]\n", -32600), (b"{}\n", -32600), (b'{"jsonrpc":"1.0","id":1,"method":"ping"}\n', -32600), (b'{"jsonrpc":"2.0","id":1}\n', -32600),
    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}\n', -32600), (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}\n', -32600), (b'{"jsonrpc":"2.0","id":1,"method":3}\n', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"resources/list"}\n', -32601), (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}\n', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}\n', -32602), (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}\n', -32602),
    (b"[" + b",".join([b"3"] * 100) + b"]\n", -32600),
], ids=lambda value: repr(value)[:40])
def test_hostile_lines(client, line, code):
    client.write(line)
    assert client.read()["error"]["code"] == code
    assert client.ask("ping")["result"] == {}


def test_what_is_not_answered(client):
    for line in (b"\n", b"  \r\n", b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}\n', b'{"jsonrpc":"2.0","method":"tools/call"}\n',
                 b'{"jsonrpc":"2.0","id":4,"result":{}}\n', b'[{"jsonrpc":"2.0","method":"x"}]\n'):
        client.write(line)
    assert client.ask("ping")["result"] == {}
    assert client.end() == (0, b"")


def test_batches_and_ids(client):
    client.write([{"jsonrpc": "2.0", "id": "a", "method": "ping"}, {"jsonrpc": "2.0", "method": "x"}, 3])
    assert client.read() == [{"jsonrpc": "2.0", "id": "a", "result": {}}, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "expected a request of JSON-RPC 2.0"}}]


def test_random_bytes(agent):
    """Whatever comes, it ends by itself, with a line of JSON for each answer."""
    chance = random.Random(7)
    good = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"set_status","arguments":{"activity":"idle"}}}'
    for _ in range(30):
        lines = []
        for _ in range(50):
            line = bytearray(good)
            for _ in range(chance.randrange(6)):
                line[chance.randrange(len(line))] = chance.randrange(256)
            lines.append(bytes(line))
        done = agent("mcp", input=b"\n".join(lines))
        assert done.returncode == 0
        for line in done.stdout.splitlines():
            json.loads(line)


def test_a_line_without_an_end(agent):
    done = agent("mcp", input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert (done.returncode, done.stdout) == (0, "")


def test_the_protocols_own_client(agent, broker):
    mcp = pytest.importorskip("mcp", reason="the package mcp of PyPI is not installed")
    from mcp.client.stdio import stdio_client

    broker.answers["POST /onsight/messages"] = (201, {"number": 7})
    broker.answers["GET /onsight/inbox"] = (200, {"messages": [MESSAGE]})

    async def talk():
        parameters = mcp.StdioServerParameters(command=agent.path, args=["mcp"], env=agent.environment())
        async with stdio_client(parameters) as (read, write), mcp.ClientSession(read, write) as session:
            begun = await session.initialize()
            tools = await session.list_tools()
            sent = await session.call_tool("send_message", {"to": "human", "text": "Hi"})
            got = await session.call_tool("read_inbox", {})
            wrong = await session.call_tool("set_status", {"activity": "sleeping"})
            await session.send_ping()
            return begun, tools, sent, got, wrong

    begun, tools, sent, got, wrong = asyncio.run(talk())
    server = getattr(begun, "serverInfo", None) or begun.server_info  # it has changed its names
    assert server.name == "onsight-agent" and len(tools.tools) == 5
    assert sent.content[0].text == "Sent as #7" and "Is it done?" in got.content[0].text
    assert wrong.isError if hasattr(wrong, "isError") else wrong.is_error
    assert broker.bodies("/onsight/inbox/consumed") == [{"numbers": [3]}]
