"""examples/agents: a planner and three others mend a small repository, in one command and without a network."""
import os
import re
import shutil
import subprocess
import sys

import engines
from model_server import Run, script_of_file
from test_life import BINARY, ROOT, engine, with_guest  # noqa: F401

EXAMPLE = ROOT / "examples" / "agents"


def test_the_scripted_model_mends_it(tmp_path):
    """Its commands by themselves: what the run brings about, without agents."""
    shop = tmp_path / "shop"
    shutil.copytree(EXAMPLE / "shop", shop)
    assert subprocess.run(["bash", "test.sh"], cwd=shop, capture_output=True).returncode == 1
    script = script_of_file(EXAMPLE / "model.toml")
    for part in ("price", "total", "money"):
        for turn in script[f"Mend {part}.sh"]:
            if isinstance(turn, Run) and turn.command.endswith(f"\nbash test.sh {part}"):
                done = subprocess.run(["bash", "-c", turn.command], cwd=shop, capture_output=True, text=True)
                assert done.stdout == f"all is well: {part}\n", done
    assert subprocess.run(["bash", "test.sh"], cwd=shop).returncode == 0


def test_one_command(engine, tmp_path):  # noqa: F811
    env = {**os.environ, "DOCKER_HOST": f"unix://{engine.socket}", "ONSIGHT_BINARY": str(BINARY), "TMPDIR": "/tmp"}
    # The image of the harness, which the command would make of Debian's packages.
    repo = tmp_path / "repo"
    (repo / ".onsight" / "harness").mkdir(parents=True)
    (repo / ".onsight" / "harness" / "scripted.toml").write_bytes((EXAMPLE / "harness" / "scripted.toml").read_bytes())
    subprocess.run(["git", "init", "-q", repo], check=True)
    listed = subprocess.run([BINARY, "agents", "image", "list", "--engine", "auto"], capture_output=True, text=True, cwd=repo, env=env, check=True)
    engine.import_image(with_guest(engines.base_tar()), re.search(r"onsight-agents/scripted:\S+", listed.stdout)[0])
    done = subprocess.run([sys.executable, EXAMPLE / "run.py"], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    before, _, after = done.stdout.partition("$ onsight agents run plan.toml")
    assert "expected '374'" in before and "all is well: price total money till" in after
    changes = after.partition("$ cat CHANGES.md")[2].partition("$ git log")[0]
    for line in ("- Prices such as", "- The total is", "- Money has"):
        assert changes.count(line) == 1
    assert "<<<<" not in changes and "read as octal numbers" in after.partition("$ onsight agents inbox")[2]
    assert engine.containers() == []
