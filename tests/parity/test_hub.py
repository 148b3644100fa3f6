"""The cache that pull makes, beside huggingface_hub: each finds what the other fetched."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("ONSIGHT_BIN", ROOT / "build/onsight")
sys.path.append(str(ROOT / "tests" / "cli"))
from hub import COMMIT, ID, UNWANTED, Hub, folder_of  # noqa: E402


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield hub
    hub.close()


def onsight(hub, home, *arguments):
    done = subprocess.run([BINARY, *arguments], env=hub.variables(home), capture_output=True, text=True, check=True)
    return done.stdout


def theirs(hub, home, code):
    """Runs Python in which huggingface_hub knows this hub, whose address it reads when it is imported."""
    run = f"import json, huggingface_hub as hf\nprint(json.dumps({code}, default=str))"
    environment = {k: v for k, v in {**hub.variables(home), "HF_HUB_DISABLE_XET": "1"}.items() if v}
    done = subprocess.run([sys.executable, "-c", run], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_we_pull_is_found_by_huggingface_hub(hub, tmp_path):
    folder = onsight(hub, tmp_path, "pull", ID).strip()
    hub.asked.clear()
    assert theirs(hub, tmp_path, f"hf.snapshot_download({ID!r}, local_files_only=True)") == folder
    assert not hub.asked
    seen = theirs(hub, tmp_path, "[(r.repo_id, r.size_on_disk, [(v.commit_hash, sorted(v.refs), v.nb_files) for v in r.revisions], "
                  "len(hf.scan_cache_dir().warnings)) for r in hf.scan_cache_dir().repos]")
    wanted = {n: d for n, d in hub.files.items() if n not in UNWANTED}
    assert seen == [[ID, sum(map(len, wanted.values())), [[COMMIT, ["main"], len(wanted)]], 0]]


def test_what_huggingface_hub_fetched_is_not_fetched_again(hub, tmp_path):
    hub.queries.append({})
    patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "README.md", "LICENSE*"]
    theirs(hub, tmp_path, f"hf.snapshot_download({ID!r}, allow_patterns={patterns!r})")
    assert json.loads(onsight(hub, tmp_path, "inspect", ID, "--json"))["name"] == "Vision-1.0"
    hub.asked.clear()
    assert onsight(hub, tmp_path, "pull", ID).strip() == str(folder_of(tmp_path) / "snapshots" / COMMIT)
    assert hub.asked == [("list", "main")]
