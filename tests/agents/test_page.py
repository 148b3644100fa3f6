"""onsight agents serve as a program: what it prints, what it refuses, and how it ends. The page itself: web/tests/agents_e2e.test.ts."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import until

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("ONSIGHT_BINARY", ROOT / "build" / "onsight"))
URL = re.compile(r"^http://127\.0\.0\.1:(\d+)/\?token=([0-9a-f]{64})\n$")


@pytest.fixture
def shop(tmp_path):
    repo = tmp_path / "shop"
    (repo / ".onsight").mkdir(parents=True)
    (repo / ".onsight" / "agents.toml").write_text('[roles.shell]\nharness = "generic"\n')
    subprocess.run(["git", "init", "-q", repo], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"})
    run = Path(f"/tmp/onsight-page-{os.getpid()}")  # the path of a socket is short
    run.mkdir(mode=0o700)
    environment = {**os.environ, "HOME": str(tmp_path), "ONSIGHT_AGENTS_STATE": str(tmp_path / "s"), "ONSIGHT_AGENTS_RUN": str(run)}
    yield repo, environment
    subprocess.run(["rm", "-rf", run], check=True)


def serve(shop, *options, **more):
    repo, environment = shop
    return subprocess.Popen([BINARY, "agents", "serve", *options], cwd=repo, env={**environment, **more}, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip


def end(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_it_prints_its_address_answers_and_ends(shop):
    process = serve(shop)
    port, token = URL.match(process.stdout.readline()).groups()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/state", headers={"Authorization": f"Bearer {token}"})
    state = json.load(urllib.request.urlopen(request, timeout=60))
    assert (state["project"], state["agents"], [role["name"] for role in state["roles"]]) == ("shop", [], ["shell"])
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60)
    assert refused.value.code == 401
    with open(f"/proc/{process.pid}/net/tcp") as table:  # on the loopback alone
        listening = [line.split()[1] for line in table if line.split()[3] == "0A" and line.split()[1].endswith(f":{int(port):04X}")]
    assert listening == [f"0100007F:{int(port):04X}"]
    other = serve(shop)  # another one of the same repository has another port and token
    assert URL.match(other.stdout.readline())[2] != token
    assert end(other)[0] == 0
    assert end(process) == (0, "", "")


def test_a_browser_is_shown_the_way_and_nobody_else(shop, tmp_path):
    # Arguments of programs can be read by all users: the token is in a file of this user's alone.
    browser = tmp_path / "bin" / "xdg-open"
    browser.parent.mkdir()
    browser.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments.new\ncp "$1" {tmp_path}/shown\nmv {tmp_path}/arguments.new {tmp_path}/arguments\n')
    browser.chmod(0o755)
    process = serve(shop, "--open", PATH=f"{browser.parent}:{os.environ['PATH']}")
    address = process.stdout.readline()
    token = URL.match(address)[2]
    until(lambda: (tmp_path / "arguments").exists())
    way = Path((tmp_path / "arguments").read_text().strip())
    assert token not in str(way) and address.strip() in (tmp_path / "shown").read_text()
    assert stat.S_IMODE(way.parent.stat().st_mode) == 0o700
    assert end(process)[0] == 0
    assert not way.exists()


def test_where_no_browser_can_be_shown_it_says_so_and_goes_on(shop, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to("/usr/bin/git")
    process = serve(shop, "--open", PATH=str(tmp_path / "bin"))
    assert URL.match(process.stdout.readline())
    assert process.stderr.readline() == "onsight: --open: xdg-open does not show a page here: open the address in a browser\n"
    assert end(process)[0] == 0


def test_what_cannot_be_served_is_one_sentence(shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = serve(shop, "--port", str(port))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"onsight: 127.0.0.1:{port}: cannot listen there (") and err.count("\n") == 1
    (shop[0] / ".onsight" / "agents.toml").unlink()
    process = serve(shop)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert err.endswith("expected .onsight/agents.toml: onsight agents init writes one\n")
