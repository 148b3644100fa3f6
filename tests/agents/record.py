#!/usr/bin/env python3
"""Writes down what a real engine says to the runtime's scenario, for src/agents/runtime/runtime_test.cc to say again:

  tests/agents/record.py docker build/agents_test     -> tests/agents/recorded/docker.json
  tests/agents/record.py podman build/agents_test     -> tests/agents/recorded/podman.json

An entry a connection: the request's first line, and what followed: text that the engine sent (a character a byte), and numbers: how many bytes
the client had sent by then, behind its request.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import engines


class Recorder:
    def __init__(self, engine_socket, path):
        self.engine_socket, self.connections, self.held, self.lock = str(engine_socket), [], set(), threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            entry = {"request": "", "events": []}
            with self.lock:
                self.connections.append(entry)
            threading.Thread(target=self.carry, args=(client, entry), daemon=True).start()

    def carry(self, client, entry):
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(self.engine_socket)
        back = threading.Thread(target=self.carry_back, args=(client, engine, entry), daemon=True)
        heard, rest, sent = b"", None, 0
        self.held.add(id(entry))
        while True:
            try:
                data = client.recv(65536)
            except OSError:
                data = b""
            if not data:
                with self.lock:
                    self.held.discard(id(entry))
                break
            if rest is None:
                heard += data
                head = heard.find(b"\r\n\r\n")
                if head >= 0:
                    fields = heard[:head].decode("latin-1").split("\r\n")
                    entry["request"] = fields[0].rsplit(" HTTP/", 1)[0]
                    length = sum(int(f.split(":")[1]) for f in fields if f.lower().startswith("content-length:"))
                    rest = head + 4 + length
                    back.start()
            if rest is not None and sent + len(data) > rest:
                with self.lock:
                    total = sent + len(data) - rest
                    if entry["events"] and isinstance(entry["events"][-1], int):
                        entry["events"][-1] = total
                    else:
                        entry["events"].append(total)
            sent += len(data)
            try:
                engine.sendall(data)
            except OSError:
                break
        try:
            engine.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def carry_back(self, client, engine, entry):
        while True:
            try:
                data = engine.recv(65536)
            except OSError:
                data = b""
            if not data:
                with self.lock:
                    if id(entry) in self.held:
                        entry["events"].append(None)
                break
            with self.lock:
                events, text = entry["events"], data.decode("latin-1")
                if id(entry) not in self.held:
                    break  # nobody hears it any more
                if events and isinstance(events[-1], str):
                    events[-1] += text
                else:
                    events.append(text)
            try:
                client.sendall(data)
            except OSError:
                break
        try:
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    name, test = sys.argv[1], Path(sys.argv[2]).resolve()
    with engines.start(name) as engine:
        path = engine.folder / "recorder.sock"
        recorder = Recorder(engine.socket, path)
        variables = {"ONSIGHT_ENGINE": name, "ONSIGHT_ENGINE_SOCKET": str(path), "ONSIGHT_ENGINE_IMAGE": engine.image}
        subprocess.run([test, "--gtest_filter=Engine.TheWholeScenario"], env={**os.environ, **variables}, check=True)
        kept = recorder.connections
    folder = Path(__file__).resolve().parent / "recorded"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"image": engines.IMAGE, "connections": kept}, indent=0) + "\n")
    print(f"{len(kept)} connections")


if __name__ == "__main__":
    main()
