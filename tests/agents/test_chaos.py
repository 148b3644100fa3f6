"""Whatever is killed at whatever moment, no message is lost or doubled, no work is lost, and nothing is left behind.

Agents commit, write to each other and read their inboxes without rest, while the supervisor, the broker, commands and containers are killed.
ONSIGHT_CHAOS=ROUNDSxAGENTS says how much of it (12x4); ONSIGHT_SEED fixes what is killed when.
"""
import json
import os
import random
import signal
import sqlite3
import subprocess
import time

import engines
import pytest
from test_life import BINARY, engine, shop  # noqa: F401

ROUNDS, AGENTS = map(int, os.environ.get("ONSIGHT_CHAOS", "12x4").split("x"))
SEED = int(os.environ.get("ONSIGHT_SEED", "1"))

AGENT = r"""
n=$(cat ~/n 2> /dev/null || echo 0)
(while :; do onsight-agent inbox --wait 5 --json >> ~/got 2> /dev/null || sleep 0.2; done) &
set -- $1
while :; do
  n=$((n + 1))
  find .git -name '*.lock' -delete  # of a git that was killed
  git reset -q 2> /dev/null
  echo $n >> "log-$ONSIGHT_AGENT.txt"
  git add -A && git commit -q -m "$n" && git rev-parse HEAD >> ~/commits
  eval "to=\${$((n % $# + 1))}"
  onsight-agent send "$to" "$ONSIGHT_AGENT-$n" --id "$ONSIGHT_AGENT-$n" > /dev/null && echo "$ONSIGHT_AGENT-$n" >> ~/sent
  echo $n > ~/n.new && mv ~/n.new ~/n
  sleep PAUSE
done
""".replace("PAUSE", str(max(0.2, AGENTS / 20)))  # so that many leave the machine to those who kill


class Chaos:
    def __init__(self, shop, names):  # noqa: F811
        self.shop, self.names, self.random, self.kills = shop, names, random.Random(SEED), 0

    def command(self, *arguments):
        """One that is killed, mostly in the middle."""
        process = subprocess.Popen([BINARY, "agents", *arguments], cwd=self.shop.repo, env=self.shop.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            process.wait(self.random.uniform(0, 0.6))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.kills += 1

    def processes(self, word):
        for pid in self.shop.processes(word):
            try:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
            except ProcessLookupError:
                pass

    def container(self):
        running = [one for one in self.shop.engine.containers() if one["State"] == "running"]
        if running:
            engines.call(self.shop.engine.socket, "POST", f"/v1.40/containers/{self.random.choice(running)['Id']}/kill?signal=KILL")
            self.kills += 1

    def round(self, n):
        name = self.random.choice(self.names)
        what = self.random.choice(["supervisor", "broker", "both", "container", "container", "message", "list", "exec", "diff"])
        if what in ("supervisor", "both"):
            self.processes("supervise")
        if what in ("broker", "both"):
            self.processes("broker")
        if what == "container":
            self.container()
        if what == "message":
            self.command("message", name, f"human-{n}")
        if what == "list":
            self.command("list")
        if what == "exec":
            self.command("exec", name, "--", "git", "status")
        if what == "diff":
            self.command("diff", name)
        self.mend()
        time.sleep(self.random.uniform(0, 0.5))

    def rows(self):
        done = subprocess.run([BINARY, "agents", "list", "--json"], cwd=self.shop.repo, env=self.shop.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}

    def all_run(self):
        end = time.monotonic() + 60 + 10 * AGENTS
        while rest := [(row["name"], row["phase"], row["detail"]) for row in self.rows().values() if row["phase"] != "running"]:
            assert time.monotonic() < end, (rest, self.shop.logs())
            self.mend()
            time.sleep(0.2)

    def mend(self):
        """Those whose containers were killed go on."""
        for name, row in self.rows().items():
            if row["phase"] in ("stopped", "error"):
                subprocess.run([BINARY, "agents", "resume", name], cwd=self.shop.repo, env=self.shop.env, capture_output=True, timeout=120)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
def test_whatever_is_killed_nothing_is_lost(shop):  # noqa: F811
    names = [f"a{i}" for i in range(AGENTS)]
    (shop.repo / "chaos.sh").write_text(AGENT)
    shop.configure('[roles.chaos]\nharness = "generic"\ncommand = ["sh", "chaos.sh", "{task}"]\nmay_message = ["chaos", "human"]\n'
                   'limits = { memory = "128MiB", pids = 64, tmp = "16MiB" }\n')  # fmt: skip
    shop.commit("chaos")
    for name in names:
        shop.agents("start", name, "--role", "chaos", "--task", " ".join(other for other in names if other != name))
    chaos = Chaos(shop, names)
    chaos.all_run()
    for n in range(ROUNDS):
        chaos.round(n)
    chaos.all_run()
    time.sleep(2)
    for name in names:
        shop.agents("stop", name)
    (state,) = shop.folder.glob("s/*")
    homes = {name: state / "clones" / name / "home" for name in names}
    with sqlite3.connect(f"file:{state / 'state.db'}?mode=ro", uri=True) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        base.row_factory = sqlite3.Row
        messages = [dict(row) for row in base.execute("SELECT * FROM messages")]
    # Messages: one for each id, all that a sender was told are kept, all that count as consumed were given, each to its recipient.
    ids = [(m["sender"], m["id"]) for m in messages]
    assert len(ids) == len(set(ids))
    doubled = 0
    for name in names:
        kept = {m["id"] for m in messages if m["sender"] == name}
        sent = lines(homes[name] / "sent")
        assert not [one for one in sent if one not in kept], name
        given = [message["number"] for line in lines(homes[name] / "got") if line.endswith("}") for message in json.loads(line)["messages"]]
        consumed = {m["number"] for m in messages if m["recipient"] == name and m["consumed_ms"]}
        assert consumed <= set(given), (name, sorted(consumed - set(given)))
        assert not set(given) - {m["number"] for m in messages if m["recipient"] == name}
        doubled += len(given) - len(set(given))
    assert doubled <= chaos.kills  # killed between being given a message and saying so
    assert any(m["consumed_ms"] for m in messages)
    # Work: every commit that was made is in what was collected.
    for name in names:
        collected = set(subprocess.run(["git", "-C", state / "mirror.git", "rev-list", f"refs/agents/{name}"], capture_output=True, text=True, check=True).stdout.split())
        made = lines(homes[name] / "commits")
        assert not [commit for commit in made if len(commit) == 40 and commit not in collected], name
    print(f"{ROUNDS} rounds, {AGENTS} agents: {chaos.kills} kills, {len(messages)} messages, {sum(len(lines(homes[n] / 'commits')) for n in names)} commits, {doubled} given again")
    for name in names:
        shop.agents("rm", name, "--force")
    shop.until(lambda: shop.engine.containers() == [])
    assert list((state / "clones").glob("a*")) == [] and list((shop.folder / "r").glob("*/agents/*")) == []
    volumes = json.loads(engines.call(shop.engine.socket, "GET", "/v1.40/volumes")[1])["Volumes"]
    assert not volumes
