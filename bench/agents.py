#!/usr/bin/env python3
"""What agents cost: how soon one runs, beside a plain container with all the same limits; what a hundred idle ones take; messages through the bus.

    bench/agents.py NAME [--engine docker|podman] [--rounds 7] [--idle 100]      writes bench/results/agents-NAME.json, and .svg

1. Start: `onsight agents start`, by the log's times: its clone, and from the end of that until it runs and the first byte of its terminal is
   there; beside it a container with the configuration that the engine says the agent's has, made, attached to, started, until its first byte.
   In turns, medians.
2. Idle: so many agents that do nothing; the processor time and the resident memory of the supervisor and the broker over half a minute.
3. Bus: messages queued, delivered and consumed by 20 agents on disk, as agents_test counts them.

It starts an engine of its own (tests/agents/engines.py), without a registry, and ends it.
"""
import argparse
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
sys.path.insert(0, str(ROOT / "tests" / "agents"))

import engines  # noqa: E402
import test_life  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def events(shop, kind, agent):
    (file,) = shop.folder.glob("s/*/state.db")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as base:
        rows = base.execute("SELECT at_ms, body FROM events WHERE kind = ? AND agent = ? ORDER BY seq", (kind, agent)).fetchall()
    return [(at, json.loads(body)) for at, body in rows]


def first_time(shop, agent, phase):
    return next(at for at, body in events(shop, "agent.phase", agent) if body["phase"] == phase)


def started(shop, name):
    """Seconds: until the prompt is back, of the clone, and from there until it runs and has printed."""
    begun = time.monotonic()
    shop.agents("start", name, "--role", "says")
    prompt = time.monotonic() - begun
    until = time.monotonic() + 60
    while not any(log.stat().st_size for log in shop.folder.glob(f"s/*/logs/{name}/*.log")):
        assert time.monotonic() < until, shop.logs()
        time.sleep(0.002)
    printed = time.time() * 1000
    shop.until(lambda: shop.row(name)["phase"] == "running")
    created = events(shop, "agent.created", name)[0][0]
    starting = first_time(shop, name, "starting")
    return {"prompt": prompt, "before": (starting - created) / 1000, "container": (printed - starting) / 1000}


def plain(engine, agent):
    """Seconds until a container of the same configuration has printed."""
    shown = json.loads(engines.call(engine.socket, "GET", f"/v1.40/containers/{agent}/json")[1])
    config, host = shown["Config"], shown["HostConfig"]
    wanted = {key: config[key] for key in ("Image", "Env", "User", "WorkingDir", "Tty", "OpenStdin") if key in config}
    wanted |= {"Cmd": ["sh", "-c", "echo here; exec sleep 60"], "AttachStdout": True, "AttachStderr": True}
    kept = ("NetworkMode", "CapDrop", "SecurityOpt", "ReadonlyRootfs", "Tmpfs", "Memory", "MemorySwap", "NanoCpus", "PidsLimit", "Binds", "Mounts", "IpcMode", "CgroupnsMode", "Init")
    wanted["HostConfig"] = {key: host[key] for key in kept if host.get(key) not in (None, [], {})}
    wanted["HostConfig"].pop("Mounts" if wanted["HostConfig"].get("Binds") else "Binds", None)
    # Podman tells of limits by other names than it takes.
    wanted["HostConfig"]["Ulimits"] = [limit | {"Name": limit["Name"].lower().removeprefix("rlimit_")} for limit in host.get("Ulimits") or []]
    headers = {"Content-Type": "application/json"}
    begun = time.monotonic()
    status, body = engines.call(engine.socket, "POST", "/v1.40/containers/create", json.dumps(wanted), headers)
    assert status == 201, body
    made = json.loads(body)["Id"]
    connection = engines.Connection(engine.socket)
    connection.connect()
    connection.sock.sendall(f"POST /v1.40/containers/{made}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += connection.sock.recv(4096)
    status, body = engines.call(engine.socket, "POST", f"/v1.40/containers/{made}/start")
    assert status in (204, 304), body
    while b"here" not in heard:
        more = connection.sock.recv(4096)
        assert more, heard
        heard += more
    took = time.monotonic() - begun
    connection.close()
    engines.call(engine.socket, "DELETE", f"/v1.40/containers/{made}?force=1")
    return took


def usage(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    resident = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024
    return (int(fields[11]) + int(fields[12])) / TICKS, resident


def idle(shop, count, seconds=30):
    for i in range(count):
        shop.agents("start", f"idle-{i}", "--role", "idle")
    deadline = time.monotonic() + 60 + 5 * count
    while True:
        phases = [json.loads(line)["phase"] for line in shop.agents("list", "--json").splitlines() if '"idle-' in line]
        if phases.count("running") == count:
            break
        assert time.monotonic() < deadline, phases
        time.sleep(0.5)
    time.sleep(10)  # what a start leaves to be done
    out = {"agents": count, "seconds": seconds}
    pids = {word: shop.processes(word)[0] for word in ("supervise", "broker")}
    before = {word: usage(pid)[0] for word, pid in pids.items()}
    begun = time.monotonic()
    time.sleep(seconds)
    for word, pid in pids.items():
        processor, resident = usage(pid)
        out[word] = {"cpu_percent": round(100 * (processor - before[word]) / (time.monotonic() - begun), 2), "resident_mb": round(resident / 1e6, 1)}
    return out


def bus():
    program = ROOT / "build" / "agents_test"
    told = subprocess.run([program, "--gtest_filter=*Thousand*:*AtOnce*:Bus*"], capture_output=True, text=True, cwd=ROOT).stdout
    found = re.search(r"queued, delivered and consumed in [\d.]+ s: (\d+)/s", told)
    return int(found[1]) if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--engine", choices=("docker", "podman"), default="docker")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--idle", type=int, default=100)
    options = parser.parse_args()
    result = {"machine": common.machine(), "engine": options.engine}
    with test_life.running(options.engine) as engine, tempfile.TemporaryDirectory(prefix="onsight-shop-", dir="/tmp") as folder:
        shop = test_life.Shop(Path(folder), engine)
        shop.configure('[roles.says]\nharness = "generic"\ncommand = ["sh", "-c", "echo here; exec sleep 600"]\nlimits = { memory = "256MiB", pids = 64, tmp = "32MiB" }\n'
                       '[roles.idle]\nharness = "generic"\ncommand = ["sleep", "100000"]\nlimits = { memory = "64MiB", pids = 16, tmp = "1MiB" }\n')  # fmt: skip
        shop.commit("agents")
        try:
            shop.agents("start", "warm", "--role", "says", "--wait")
            model = next(one["Id"] for one in engine.containers())
            starts, plains = [], []
            for i in range(options.rounds):
                starts.append(started(shop, f"box-{i}"))
                plains.append(plain(engine, model))
            for i in range(options.rounds):
                shop.agents("rm", f"box-{i}", "--force")
            middle = {key: round(statistics.median(one[key] for one in starts), 3) for key in starts[0]}
            result["start"] = middle | {"plain": round(statistics.median(plains), 3)}
            result["start"]["ratio"] = round(result["start"]["container"] / result["start"]["plain"], 2)
            print(f"{options.engine}: prompt after {middle['prompt']:.2f} s; clone and the like {middle['before']:.2f} s; container {middle['container']:.2f} s, "
                  f"plain {result['start']['plain']:.2f} s ({result['start']['ratio']:.2f} x)", flush=True)  # fmt: skip
            if options.idle:
                result["idle"] = idle(shop, options.idle)
                for word in ("supervise", "broker"):
                    print(f"{options.idle} idle agents: {word} {result['idle'][word]['cpu_percent']} % of a core, {result['idle'][word]['resident_mb']} MB", flush=True)
        finally:
            shop.end()
    result["messages_per_second"] = bus()
    print(f"bus: {result['messages_per_second']} messages a second")
    target = RESULTS / f"agents-{options.name}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    figure, axis = common.axes()
    axis.barh(["plain container", "agent: container", "agent: clone and the like"], [result["start"]["plain"], result["start"]["container"], result["start"]["before"]])
    axis.set_xlabel("seconds")
    axis.invert_yaxis()
    common.save(figure, target.with_suffix(".svg"))


if __name__ == "__main__":
    main()
