#!/usr/bin/env python3
"""A model of three providers that says what a script tells it: Anthropic's Messages, Gemini's generateContent and OpenAI's Responses,
as one answer or as the stream of events that each of them documents.

  with ModelServer({"Greet everybody": [Edit("a.txt", "one", "two"), Run("git commit -am two"), Say("Done")]}) as server:
      server.url            # http://127.0.0.1:PORT, on loopback alone
      server.requests       # what came, with its fields
      server.trouble        # what a script wanted and no tool of the request could do

A script has a list of turns for each cue. The cue that stands in the last words of the user counts; which of its turns comes next, the results
of tools behind those words say. So an answer depends on the request alone: who asks twice is answered twice the same. What a turn does is
put to whichever tool the request offers for it: each program names its shell and its editor otherwise.
"""

import argparse
import itertools
import json
import shlex
import sys
import threading
import tomllib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INPUT_TOKENS, OUTPUT_TOKENS = 1200, 34


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Run:
    """A command line for the shell."""

    command: str


@dataclass(frozen=True)
class Edit:
    """`old`, which stands once in the file, becomes `new`; in a file that is not there yet, all of it is `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Read:
    path: str


@dataclass(frozen=True)
class Tool:
    """A tool of the MCP server "onsight", in whatever way the program names it."""

    name: str
    arguments: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """How a turn is put to a program: one of its tools with arguments, or, of a tool without a schema, with text."""

    tool: str
    arguments: dict = field(default_factory=dict)
    text: str | None = None


def first(offered, *names):
    return next((name for name in names if name in offered), None)


def known(schema, arguments):
    """Those of the arguments that the tool's schema has."""
    properties = (schema or {}).get("properties")
    return {k: v for k, v in arguments.items() if properties is None or k in properties}


def call_for(turn, offered):
    """offered: name -> schema of its arguments. None: no tool does this."""
    if isinstance(turn, Run):
        name = first(offered, "Bash", "bash", "run_shell_command", "shell_command", "exec_command", "shell", "local_shell")
        if name is None:
            return None
        command = ["bash", "-c", turn.command] if name in ("shell", "local_shell") else turn.command
        return Call(name, known(offered[name], {"command": command, "cmd": command, "description": "as asked"}))
    if isinstance(turn, Read):
        name = first(offered, "Read", "read", "read_file")
        if name is None:
            return call_for(Run(f"cat {turn.path}"), offered)
        return Call(name, known(offered[name], {"file_path": turn.path, "filePath": turn.path, "absolute_path": turn.path}))
    if isinstance(turn, Edit) and turn.old:
        name = first(offered, "Edit", "edit", "replace")
        if name is not None:
            arguments = {"file_path": turn.path, "filePath": turn.path, "old_string": turn.old, "oldString": turn.old,
                         "new_string": turn.new, "newString": turn.new, "instruction": "as asked"}  # fmt: skip
            return Call(name, known(offered[name], arguments))
    if isinstance(turn, Edit) and not turn.old:
        name = first(offered, "Write", "write", "write_file")
        if name is not None:
            return Call(name, known(offered[name], {"file_path": turn.path, "filePath": turn.path, "content": turn.new}))
    if isinstance(turn, Edit):
        lines = [f"*** Update File: {turn.path}", "@@"] if turn.old else [f"*** Add File: {turn.path}"]
        lines += ["-" + line for line in turn.old.splitlines()] + ["+" + line for line in turn.new.splitlines()]
        patch = "\n".join(["*** Begin Patch", *lines, "*** End Patch", ""])
        if "apply_patch" not in offered:
            return call_for(Run(f"apply_patch <<'END'\n{patch}END"), offered)
        return Call("apply_patch", known(offered["apply_patch"], {"input": patch, "patchText": patch}) if offered["apply_patch"] else {}, patch)
    if isinstance(turn, Tool):
        name = next((name for name in offered if name == turn.name or name.endswith(("_" + turn.name, "/" + turn.name))), None)
        # Some programs show tools of others only to a model that searches for them; the same is a program in the container.
        if name is None and turn.name == "send_message":
            return call_for(Run(shlex.join(["onsight-agent", "send", turn.arguments["to"], turn.arguments["text"]])), offered)
        return None if name is None else Call(name, turn.arguments)
    return None


@dataclass
class Asked:
    """What a request comes to, whatever its protocol."""

    model: str
    stream: bool
    items: list  # in order: ("user", text) or ("result", text)
    offered: dict
    wants_json: bool = False


def text_of(content):
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def number_id(prefix, counter=itertools.count(1)):
    return f"{prefix}{next(counter):08d}"


class Anthropic:
    @staticmethod
    def matches(path):
        return path.endswith("/v1/messages")

    @staticmethod
    def read(_, body):
        items = []
        for message in body.get("messages", []):
            content = message.get("content")
            for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
                if message.get("role") == "user" and part.get("type") == "text":
                    items.append(("user", part["text"]))
                if part.get("type") == "tool_result":
                    items.append(("result", text_of(part.get("content"))))
        offered = {tool["name"]: tool.get("input_schema") for tool in body.get("tools", [])}
        return Asked(body["model"], body.get("stream", False), items, offered, "output_config" in body or "output_format" in body)

    @staticmethod
    def message(asked, content, stop):
        return {"id": number_id("msg_"), "type": "message", "role": "assistant", "model": asked.model, "content": content,
                "stop_reason": stop, "stop_sequence": None,
                "usage": {"input_tokens": INPUT_TOKENS, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                          "output_tokens": OUTPUT_TOKENS}}  # fmt: skip

    @classmethod
    def whole(cls, asked, text, call):
        block = {"type": "text", "text": text}
        if call:
            block = {"type": "tool_use", "id": number_id("toolu_"), "name": call.tool, "input": call.arguments}
        return cls.message(asked, [block], "tool_use" if call else "end_turn")

    @classmethod
    def events(cls, asked, text, call):
        begun = cls.message(asked, [], None)
        begun["usage"] = {**begun["usage"], "output_tokens": 1}
        yield "message_start", {"message": begun}
        if call:
            block = {"type": "tool_use", "id": number_id("toolu_"), "name": call.tool, "input": {}}
            pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in halves(json.dumps(call.arguments))]
        else:
            block = {"type": "text", "text": ""}
            pieces = [{"type": "text_delta", "text": piece} for piece in halves(text)]
        yield "content_block_start", {"index": 0, "content_block": block}
        yield "ping", {}
        for piece in pieces:
            yield "content_block_delta", {"index": 0, "delta": piece}
        yield "content_block_stop", {"index": 0}
        delta = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        yield "message_delta", {"delta": delta, "usage": {"output_tokens": OUTPUT_TOKENS}}
        yield "message_stop", {}

    @classmethod
    def stream(cls, asked, text, call):
        for name, data in cls.events(asked, text, call):
            yield f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"


class Gemini:
    @staticmethod
    def matches(path):
        return path.endswith((":generateContent", ":streamGenerateContent"))

    @staticmethod
    def read(path, body):
        items = []
        for content in body.get("contents", []):
            for part in content.get("parts", []):
                if "functionResponse" in part:
                    items.append(("result", json.dumps(part["functionResponse"].get("response"))))
                elif content.get("role", "user") == "user" and "text" in part:
                    items.append(("user", part["text"]))
        offered = {
            one["name"]: one.get("parametersJsonSchema") or one.get("parameters")
            for tool in body.get("tools", [])
            for one in tool.get("functionDeclarations", [])
        }
        config = body.get("generationConfig", {})
        model = path.rsplit("/", 1)[-1].split(":")[0]
        return Asked(model, path.endswith(":streamGenerateContent"), items, offered, config.get("responseMimeType") == "application/json")

    @staticmethod
    def part(asked, part, last):
        candidate = {"content": {"role": "model", "parts": [part]}, "index": 0}
        out = {"candidates": [candidate], "modelVersion": asked.model, "responseId": number_id("r")}
        if last:
            candidate["finishReason"] = "STOP"
        out["usageMetadata"] = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS if last else 1,
                                "totalTokenCount": INPUT_TOKENS + (OUTPUT_TOKENS if last else 1)}  # fmt: skip
        return out

    @classmethod
    def whole(cls, asked, text, call):
        return cls.part(asked, {"functionCall": {"name": call.tool, "args": call.arguments}} if call else {"text": text}, True)

    @classmethod
    def stream(cls, asked, text, call):
        parts = [{"functionCall": {"name": call.tool, "args": call.arguments}}] if call else [{"text": piece} for piece in halves(text)]
        for i, part in enumerate(parts):
            yield f"data: {json.dumps(cls.part(asked, part, i + 1 == len(parts)))}\r\n\r\n"


class OpenAi:
    @staticmethod
    def matches(path):
        return path.endswith("/responses")

    @staticmethod
    def read(_, body):
        given = body.get("input")
        items = []
        for item in given if isinstance(given, list) else [{"role": "user", "content": given}]:
            if item.get("type", "message") == "message" and item.get("role") == "user":
                items.append(("user", text_of(item.get("content"))))
            if item.get("type", "").endswith("_call_output"):
                output = item.get("output")
                items.append(("result", text_of(output) if isinstance(output, (str, list)) else json.dumps(output)))
        offered = {}
        for tool in body.get("tools", []):
            if tool.get("type") == "namespace":
                offered |= {f"{tool['name']}/{inner['name']}": inner.get("parameters") for inner in tool.get("tools", [])}
            else:
                offered[tool.get("name", tool.get("type"))] = tool.get("parameters")
        return Asked(body["model"], body.get("stream", False), items, offered, "json" in json.dumps(body.get("text", {}).get("format", {})))

    @staticmethod
    def item(asked, text, call):
        if call and call.text is not None and not call.arguments:
            return {"id": number_id("ctc_"), "type": "custom_tool_call", "status": "completed", "call_id": number_id("call_"),
                    "name": call.tool, "input": call.text}  # fmt: skip
        if call:
            namespace, _, name = call.tool.rpartition("/")
            return {"id": number_id("fc_"), "type": "function_call", "status": "completed", "call_id": number_id("call_"),
                    "name": name, **({"namespace": namespace} if namespace else {}), "arguments": json.dumps(call.arguments)}  # fmt: skip
        return {"id": number_id("msg_"), "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]}  # fmt: skip

    @staticmethod
    def response(asked, output, status="completed"):
        out = {"id": number_id("resp_"), "object": "response", "created_at": 1700000000, "status": status, "error": None,
               "incomplete_details": None, "model": asked.model, "output": output, "parallel_tool_calls": False, "usage": None}  # fmt: skip
        if status == "completed":
            out["usage"] = {"input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": OUTPUT_TOKENS,
                            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}  # fmt: skip
        return out

    @classmethod
    def whole(cls, asked, text, call):
        return cls.response(asked, [cls.item(asked, text, call)])

    @classmethod
    def events(cls, asked, text, call):
        item = cls.item(asked, text, call)
        done = cls.response(asked, [item])
        begun = {**done, "status": "in_progress", "output": [], "usage": None}
        at = {"item_id": item["id"], "output_index": 0}
        yield "response.created", {"response": begun}
        yield "response.in_progress", {"response": begun}
        empty = {k: v for k, v in item.items() if k not in ("arguments", "input", "content")}
        hollow = {"message": {"content": []}, "function_call": {"arguments": ""}, "custom_tool_call": {"input": ""}}[item["type"]]
        yield "response.output_item.added", {"output_index": 0, "item": {**empty, **hollow, "status": "in_progress"}}
        if item["type"] == "message":
            place = {**at, "content_index": 0}
            yield "response.content_part.added", {**place, "part": {**item["content"][0], "text": ""}}
            for piece in halves(text):
                yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
            yield "response.output_text.done", {**place, "text": text, "logprobs": []}
            yield "response.content_part.done", {**place, "part": item["content"][0]}
        else:
            kind, name = ("function_call_arguments", "arguments") if item["type"] == "function_call" else ("custom_tool_call_input", "input")
            for piece in halves(item[name]):
                yield f"response.{kind}.delta", {**at, "delta": piece}
            yield f"response.{kind}.done", {**at, name: item[name]}
        yield "response.output_item.done", {"output_index": 0, "item": item}
        yield "response.completed", {"response": done}

    @classmethod
    def stream(cls, asked, text, call):
        for number, (name, data) in enumerate(cls.events(asked, text, call)):
            yield f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **data})}\n\n"


def halves(text):
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]


PROTOCOLS = (Anthropic, Gemini, OpenAi)


class ModelServer:
    def __init__(self, script, port=0):
        self.script, self.port = script, port
        self.requests, self.trouble = [], []
        self.lock = threading.Lock()

    def turn(self, asked):
        """The text to say, or the call to make."""
        if asked.wants_json:
            return "{}", None
        cued = [(at, cue) for at, (kind, text) in enumerate(asked.items) if kind == "user" for cue in self.script if cue in text]
        if not cued or not asked.offered:
            return "Very well.", None
        last = cued[-1][0]
        # Programs repeat the task in what they wrap around it: the last cue of the last words that have one.
        cue = max((cue for at, cue in cued if at == last), key=lambda cue: asked.items[last][1].rindex(cue))
        done = sum(kind == "result" for kind, _ in asked.items[last:])
        turns = self.script[cue]
        turn = turns[done] if done < len(turns) else Say("There is nothing more to do.")
        if isinstance(turn, Say):
            return turn.text, None
        call = call_for(turn, asked.offered)
        if call is None:
            self.trouble.append(f"no tool for {turn}: {sorted(asked.offered)}")
            return "There is no tool for that.", None
        return "", call

    def __enter__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, value):
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                server.keep(self, b"")
                if self.path.split("?")[0].endswith("/models"):
                    return self.answer(200, {"object": "list", "data": [], "models": [], "has_more": False})
                return self.answer(404, {"error": {"message": "there is no such page"}})

            def do_POST(self):
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.keep(self, raw)
                path = self.path.split("?")[0]
                if path.endswith(("/count_tokens", ":countTokens")):
                    return self.answer(200, {"input_tokens": INPUT_TOKENS, "totalTokens": INPUT_TOKENS})
                protocol = next((one for one in PROTOCOLS if one.matches(path)), None)
                if protocol is None:
                    return self.answer(404, {"error": {"message": "there is no such page"}})
                asked = protocol.read(path, json.loads(raw))
                text, call = server.turn(asked)
                if not asked.stream:
                    return self.answer(200, protocol.whole(asked, text, call))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                for event in protocol.stream(asked, text, call):
                    self.wfile.write(event.encode())
                    self.wfile.flush()
                self.close_connection = True

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                if not isinstance(sys.exc_info()[1], OSError):  # a client that goes away is none
                    server.trouble.append(repr(sys.exc_info()[1]))

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def keep(self, handler, body):
        with self.lock:
            self.requests.append({"method": handler.command, "path": handler.path, "fields": dict(handler.headers.items()), "body": body.decode()})

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


KINDS = {"say": Say, "run": Run, "edit": Edit, "read": Read, "tool": Tool}


def script_of_file(path):
    """TOML, of each turn: [["cue"]] and run = "make", edit = ["a.txt", "one", "two"], tool = ["finish", {summary = "Done"}], say = "Done"."""
    with open(path, "rb") as file:
        value = tomllib.load(file)
    return {
        cue: [KINDS[kind](*(given if isinstance(given, list) else [given])) for turn in turns for kind, given in turn.items()]
        for cue, turns in value.items()
    }


def main():
    parser = argparse.ArgumentParser(description="a model that says what a script tells it")
    parser.add_argument("script", type=Path, help="TOML: for each cue a list of turns")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with ModelServer(script_of_file(arguments.script), arguments.port) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
