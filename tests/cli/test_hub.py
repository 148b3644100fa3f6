"""pull, list and rm against a hub that behaves, and one that does not."""
import fcntl
import hashlib
import http.server
import json
import os
import pty
import re
import resource
import shutil
import signal
import threading
import time

import pytest

from hub import COMMIT, ID, NANO, OLDER, TEMPLATE, UNWANTED, WEIGHTS, Hub, folder_of, git_sha1


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def pull(onsight, hub, home):
    def run(name=ID, **env):
        return onsight("pull", name, env=hub.variables(home, **env))

    return run


def expect_whole(done, home, hub, commit=COMMIT):
    assert done.returncode == 0, done.stderr
    snapshot = folder_of(home) / "snapshots" / commit
    assert done.stdout == f"{snapshot}\n"
    wanted = set(hub.files) - UNWANTED
    assert {str(f.relative_to(snapshot)) for f in snapshot.rglob("*") if not f.is_dir()} == wanted
    for name in wanted:
        data = (snapshot / name).read_bytes()
        sum_ = hashlib.sha256(data).hexdigest() if name in hub.large else git_sha1(data)
        assert data == hub.files[name] and os.readlink(snapshot / name) == f"{'../' * name.count('/')}../../blobs/{sum_}", name
        assert not (snapshot / name).stat().st_mode & 0o111, name
    assert not list(home.rglob("*.incomplete")) and not list(home.rglob("*.tmp*"))


def expect_nothing(done, home, code, *words):
    assert done.returncode == code and done.stdout == "", done.stderr
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words), done.stderr
    assert not (folder_of(home) / "refs").exists()


def test_a_model_comes_once_and_runs(onsight, hub, home, pull):
    expect_whole(pull(), home, hub)
    assert (folder_of(home) / "refs/main").read_text() == COMMIT
    assert {n for n, _ in hub.asked} == {"list", *hub.files} - UNWANTED
    assert hub.asked[1][0] == "config.json"
    # Again: only the list is asked for. Offline: nothing is.
    hub.asked.clear()
    expect_whole(pull(), home, hub)
    assert hub.asked == [("list", "main")]
    expect_whole(pull(HF_HUB_OFFLINE="1"), home, hub)
    assert len(hub.asked) == 1
    # It has a name now.
    env = hub.variables(home)
    info = json.loads(onsight("inspect", ID, "--json", env=env).stdout)
    assert info["name"] == "Vision-1.0"
    told = json.loads(onsight("inspect", "--json", env=env).stdout)
    assert info["parameters"] == told["parameters"]
    names = [json.loads(line) for line in onsight("list", "--json", env=env).stdout.splitlines()]
    assert [r["name"] for r in names if "commit" in r] == [ID] and any(r["name"] == "onsight-nano" for r in names)
    assert ID in onsight("list", env=env).stdout
    assert len(hub.asked) == 1
    # And leaves.
    assert onsight("rm", ID, env=env).returncode == 0
    assert not folder_of(home).exists()
    gone = onsight("ask", "--model", ID, "Hi", env=env)
    assert gone.returncode == 3 and f"onsight pull {ID}" in gone.stderr
    assert onsight("rm", ID, env=env).returncode == 3


def test_what_is_here_needs_no_token_and_no_hub(onsight, hub, home, pull):
    expect_whole(pull(), home, hub)
    for bad in ({"HF_TOKEN": "a b"}, {"HF_ENDPOINT": "nonsense"}):
        env = hub.variables(home, **bad)
        assert onsight("inspect", ID, env=env).returncode == 0
        assert ID in onsight("list", env=env).stdout
        assert onsight("pull", ID, env=env).returncode == 2
    assert onsight("rm", ID, env=hub.variables(home, HF_TOKEN="a b", HF_ENDPOINT="nonsense")).returncode == 0


def test_the_variables_of_huggingface_hub(onsight, hub, home, pull):
    expect_whole(pull(), home, hub)
    hub.asked.clear()
    for variables in (
        {"HOME": home.parent, "HF_HOME": "~/home"},
        {"HOME": home.parent, "HF_HOME": "/nowhere", "HF_HUB_CACHE": "~/home/hub"},
        {"HF_HOME": "/nowhere", "HUGGINGFACE_HUB_CACHE": home / "hub"},
        {"HF_HOME": "/nowhere", "HF_HUB_CACHE": home / "hub", "HUGGINGFACE_HUB_CACHE": "/nowhere"},
    ):
        assert onsight("inspect", ID, env=hub.variables(home, **variables)).returncode == 0, variables
    assert pull(TRANSFORMERS_OFFLINE="1").returncode == 0 and hub.asked == []
    assert pull(TRANSFORMERS_OFFLINE="1", HF_HUB_OFFLINE="0").returncode == 0 and hub.asked == [("list", "main")]


def test_revisions_share_what_is_equal(onsight, hub, home, pull):
    expect_whole(pull(), home, hub)
    hub.commits = {"main": OLDER, "v2": COMMIT, "refs/pr/1": COMMIT}
    hub.files["README.md"] += b"\nA newer card.\n"
    hub.asked.clear()
    expect_whole(pull(), home, hub, OLDER)
    assert sorted(n for n, _ in hub.asked) == ["README.md", "list"]
    hub.files["README.md"] = (NANO / "README.md").read_bytes()
    expect_whole(pull(f"{ID}@refs/pr/1"), home, hub)
    assert (folder_of(home) / "refs/refs/pr/1").read_text() == COMMIT
    expect_whole(pull(f"{ID}@v2"), home, hub)
    env = hub.variables(home)
    assert onsight("inspect", f"{ID}@{COMMIT}", env=env).returncode == 0
    weights = (folder_of(home) / "snapshots" / OLDER / WEIGHTS).resolve()
    # One goes; what the other needs stays.
    assert onsight("rm", f"{ID}@v2", env=env).returncode == 0
    assert not (folder_of(home) / "snapshots" / COMMIT).exists() and weights.exists()
    assert onsight("inspect", ID, env=env).returncode == 0
    assert onsight("rm", ID, env=env).returncode == 0 and not weights.exists()


def test_a_line_that_is_cut_is_gone_on_with(hub, home, pull):
    def cut(handler, name, data, begin):
        if name != WEIGHTS or begin > len(data) // 2:
            return False
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(data) - begin))
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[begin : begin + len(data) // 5])
        handler.connection.close()
        handler.close_connection = True
        return True

    hub.trouble = cut
    expect_whole(pull(), home, hub)
    begins = [b for n, b in hub.asked if n == WEIGHTS]
    assert len(begins) > 2 and begins == sorted(set(begins)) and begins[0] == 0


def test_a_server_that_knows_no_parts(hub, home, pull):
    lines = []

    def whole(handler, name, data, begin):
        if name != WEIGHTS:
            return False
        lines.append(begin)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data if len(lines) > 1 else data[: len(data) // 2])
        handler.close_connection = True
        return True

    hub.trouble = whole
    expect_whole(pull(), home, hub)
    assert len(lines) == 2 and lines[1] > 0


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_one_that_was_ended_is_gone_on_with(onsight, hub, home, pull, how, code):
    stop, half = threading.Event(), len(hub.files[WEIGHTS]) // 2

    def stall(handler, name, data, begin):
        if name != WEIGHTS:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:half])
        stop.wait(20)
        return True

    hub.trouble = stall
    process = onsight.start("pull", ID, env=hub.variables(home))
    end = time.monotonic() + 20
    begun = folder_of(home) / "blobs" / f"{hashlib.sha256(hub.files[WEIGHTS]).hexdigest()}.incomplete"
    while not begun.exists() or begun.stat().st_size < half:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    assert process.wait(5) == code and not (folder_of(home) / "refs").exists()
    # Nothing of it counts as a model yet.
    env = hub.variables(home, HF_HUB_OFFLINE="1")
    assert onsight("pull", f"{ID}@{COMMIT}", env=env).returncode == 3 and onsight("inspect", f"{ID}@{COMMIT}", env=env).returncode == 3
    stop.set()
    hub.trouble = None
    hub.asked.clear()
    expect_whole(pull(), home, hub)
    assert [b for n, b in hub.asked if n == WEIGHTS] == [half]


def test_what_a_pull_left_can_be_removed_but_not_while_it_runs(onsight, hub, home, pull):
    stop = threading.Event()
    hub.trouble = lambda handler, name, data, begin: name == WEIGHTS and (stop.wait(20) or True)
    process, env = onsight.start("pull", ID, env=hub.variables(home)), hub.variables(home)
    end = time.monotonic() + 20
    while WEIGHTS not in [n for n, _ in hub.asked]:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    busy = onsight("rm", ID, env=env)
    assert busy.returncode == 1 and "being pulled" in busy.stderr
    process.kill()
    process.wait()
    stop.set()
    assert onsight("rm", ID, env=env).returncode == 0 and not folder_of(home).exists()


@pytest.mark.parametrize("how", ["shorter", "longer"])
def test_lengths_that_are_lies(hub, home, pull, how):
    hub.sizes[WEIGHTS] = len(hub.files[WEIGHTS]) + (1000 if how == "shorter" else -1000)
    expect_nothing(pull(), home, 3, WEIGHTS, "longer than what comes" if how == "shorter" else "more comes than")


def test_bytes_that_are_wrong(hub, home, pull):
    # Left over by somebody else: thrown away, and all of it fetched.
    expect_whole(pull(), home, hub)
    weights = (folder_of(home) / "snapshots" / COMMIT / WEIGHTS).resolve()
    weights.rename(f"{weights}.incomplete")
    with open(f"{weights}.incomplete", "r+b") as f:
        f.truncate(10_000)
        f.write(b"\xff" * 8)
    hub.asked.clear()
    expect_whole(pull(), home, hub)
    assert [b for n, b in hub.asked if n == WEIGHTS] == [10_000, 0]
    # The hub itself sends others than it says.
    shutil.rmtree(home)
    hub.trouble = lambda handler, name, data, begin: name == WEIGHTS and (hub.send_file(handler, b"\xff" * 8 + data[8:], begin) or True)
    hub.asked.clear()
    expect_nothing(pull(), home, 3, WEIGHTS, "checksum")
    assert [b for n, b in hub.asked if n == WEIGHTS] == [0, 0]
    assert not list(home.rglob("*.incomplete")) and not folder_of(home).exists() and not list((home / "hub/.locks").glob("*"))


def test_a_busy_hub_is_waited_for(hub, home, pull):
    times = []

    def busy(handler, name, data, begin):
        if name not in ("list", WEIGHTS) or times.count(name) >= 2:
            return False
        times.append(name)
        hub.send(handler, 429 if len(times) % 2 else 503, b"", Retry_After=1 if len(times) % 2 else 0)
        return True

    hub.trouble = busy
    begun = time.monotonic()
    expect_whole(pull(), home, hub)
    assert times == ["list"] * 2 + [WEIGHTS] * 2 and time.monotonic() - begun > 1.9
    hub.trouble = lambda handler, name, data, begin: hub.send(handler, 429, b"", Retry_After=3600) or True if name == WEIGHTS else False
    shutil.rmtree(home)
    expect_nothing(pull(), home, 1, WEIGHTS, "pause of 3600 s")


def test_a_busy_list_is_asked_for_six_times(hub, home, pull):
    answers = [429] * 5
    hub.trouble = lambda handler, name, data, begin: hub.send(handler, answers.pop(), b"", Retry_After=0) or True if answers and name == "list" else False
    expect_whole(pull(), home, hub)
    assert [n for n, _ in hub.asked].count("list") == 6
    shutil.rmtree(home)
    hub.asked.clear()
    answers[:] = [503] * 9
    expect_nothing(pull(), home, 1, "cannot be asked (it answers 503)")
    assert len(hub.asked) == 6
    hub.trouble = lambda handler, name, data, begin: hub.send(handler, 429, b"", Retry_After=3600) or True
    expect_nothing(pull(), home, 1, "pause of 3600 s")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("at", ["list", WEIGHTS])
def test_terms_that_are_not_accepted(hub, home, pull, status, at):
    said = "Access to model acme/Vision-1.0 is restricted."
    hub.trouble = lambda handler, name, data, begin: hub.send(handler, status, b"{}", X_Error_Message=said) or True if name == at else False
    expect_nothing(pull(), home, 3, "HF_TOKEN", f"accepted the terms on {hub.url}/{ID}", f"(the hub says: {said})")
    assert not folder_of(home).exists() and not list(home.rglob("*.lock"))


def test_a_blob_that_was_there_is_compared(hub, home, pull):
    wrong = folder_of(home) / "blobs" / git_sha1(hub.files["config.json"])
    right = folder_of(home) / "blobs" / git_sha1(hub.files["README.md"])
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(hub.files["config.json"].replace(b"1", b"2"))
    right.write_bytes(hub.files["README.md"])
    expect_whole(pull(), home, hub)
    asked = {n for n, _ in hub.asked}
    assert "config.json" in asked and "README.md" not in asked


def test_what_is_not_fetched_may_be_listed_anyhow(hub, home, pull):
    whole = hub.listing

    def listing(commit):
        out = whole(commit)
        for entry in out["siblings"]:
            if entry["rfilename"] in UNWANTED:
                del entry["blobId"]
        return out

    hub.listing = listing
    expect_whole(pull(), home, hub)


def test_redirects_do_not_see_the_token(hub, home, pull):
    seen = []

    class Store(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            hub.send_file(self, hub.files[WEIGHTS], 0)

    store = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=store.serve_forever, daemon=True).start()
    hub.token = "hf_secret"
    hub.trouble = lambda handler, name, data, begin: name == WEIGHTS and (
        hub.send(handler, 302, b"", Location=f"http://localhost:{store.server_port}/blob") or True)
    expect_whole(pull(HF_TOKEN="hf_secret"), home, hub)
    assert seen == [None]
    store.shutdown()
    store.server_close()
    # From its file, as the hub's own tools keep it.
    shutil.rmtree(home)
    home.mkdir()
    (home / "token").write_text("hf_secret\n")
    hub.trouble = None
    expect_whole(pull(), home, hub)
    shutil.rmtree(home)
    expect_nothing(pull(), home, 3, ID, "HF_TOKEN")
    expect_nothing(pull(HF_TOKEN="a b"), home, 2, "HF_TOKEN")


def test_what_is_not_fetched(hub, home, pull):
    expect_nothing(pull("nobody"), home, 2, "OWNER/NAME")
    for name in ("../up/x", "a/..", "a/b/c", "a/b@../x", "a/b@", "/a", "a/-b"):
        expect_nothing(pull(name), home, 2, name)
    expect_nothing(pull(f"{ID}@v9"), home, 3, f"{ID}@v9", "no such model or revision")
    expect_nothing(pull("acme/other"), home, 3, "acme/other")
    expect_nothing(pull(HF_HUB_OFFLINE="1"), home, 3, "HF_HUB_OFFLINE")
    expect_nothing(pull(HF_ENDPOINT="ftp://x"), home, 2, "HF_ENDPOINT")
    weights = hub.files.pop(WEIGHTS)
    expect_nothing(pull(), home, 3, "safetensors")
    hub.files[WEIGHTS] = weights
    config = hub.files["config.json"]
    hub.files["config.json"] = b'{"architectures": ["LlamaForCausalLM"]}'
    hub.asked.clear()
    expect_nothing(pull(), home, 3, "LlamaForCausalLM", "not supported")
    assert [n for n, _ in hub.asked] == ["list", "config.json"]  # and no weights
    hub.files["config.json"] = b" " * (2 << 20)
    expect_nothing(pull(), home, 3, "config.json", "expected at most")
    hub.files["config.json"] = config
    hub.sizes[WEIGHTS] = 1 << 43
    expect_nothing(pull(), home, 1, "MB free")
    hub.sizes.clear()
    hub.trouble = lambda handler, name, data, begin: name == "list" and (hub.send(handler, 200, b'{"sha": "x"}') or True)
    expect_nothing(pull(), home, 3, "commit")


def test_a_hub_that_is_not_there(hub, home, pull):
    begun = time.monotonic()
    expect_nothing(pull(HF_ENDPOINT="http://127.0.0.1:9"), home, 1, "http://127.0.0.1:9", "cannot be asked")
    assert time.monotonic() - begun < 10


def test_weights_in_parts(hub, home, pull):
    whole = hub.files.pop(WEIGHTS)
    hub.files |= {"model-00001-of-00002.safetensors": whole[:1000], "model-00002-of-00002.safetensors": whole[1000:],
                  "model.safetensors.index.json": b"{}", "other.safetensors": b"never"}
    done = pull()
    assert done.returncode == 0
    names = {f.name for f in (folder_of(home) / "snapshots" / COMMIT).iterdir()}
    assert {n for n in names if "safetensors" in n} == {n for n in hub.files if n.startswith("model")}


def test_two_at_once_fetch_each_file_once(onsight, hub, home):
    go = threading.Event()

    def wait(handler, name, data, begin):
        if name == WEIGHTS:
            go.wait(10)
        return False

    hub.trouble = wait
    both = [onsight.start("pull", ID, env=hub.variables(home)) for _ in range(2)]
    time.sleep(0.5)
    go.set()
    assert [p.wait(20) for p in both] == [0, 0]
    assert [n for n, _ in hub.asked].count(WEIGHTS) == 1
    lock = next((home / "hub/.locks").rglob("*.lock"))
    with open(lock) as f:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_listing_cannot_lead_out_of_the_cache(hub, home, pull):
    folder = "additional_chat_templates"
    evil = ["../../evil.json", f"{folder}/../evil.jinja", f"{folder}/../../../evil.jinja", f"{folder}/evil/evil.jinja", f"{folder}/evil.py", f"/{folder}/evil.jinja"]
    hub.files |= {name: b"{}" for name in [*evil, "a\nb.json"]}
    done = pull()
    assert done.returncode == 0
    assert not list(home.rglob("evil*")) and "a\nb.json" not in os.listdir(done.stdout.strip())
    assert os.listdir(os.path.join(done.stdout.strip(), folder)) == ["tool_use.jinja"]


def test_templates_come_beside_the_default_one_which_counts(onsight, hub, home, pull):
    hub.files |= {TEMPLATE: b"{% bad %}", "additional_chat_templates/rag.jinja": b"{{ 'never' }}"}
    expect_whole(pull(), home, hub)
    picture = NANO.parents[1] / "examples/receipt.jpg"
    answers = [onsight("ask", *model, "--image", picture, "Read the text.", env=hub.variables(home)) for model in ([], ["--model", ID])]
    assert answers[0].returncode == 0 and answers[1].stdout == answers[0].stdout, answers[1].stderr
    # They leave with the model.
    assert onsight("rm", ID, env=hub.variables(home)).returncode == 0 and not folder_of(home).exists()


def test_how_it_runs_in_the_memory_that_there_is(onsight, hub, home, pull):
    expect_whole(pull(), home, hub)

    def advice(most_megabytes=None):
        """What a terminal shows after the model has come, with so much memory to be had."""

        def limit():
            if most_megabytes:
                resource.setrlimit(resource.RLIMIT_AS, (most_megabytes << 20, most_megabytes << 20))

        master, slave = pty.openpty()
        process = onsight.start("pull", ID, env=hub.variables(home), stderr=slave, preexec_fn=limit)
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the program has left
                break
        os.close(master)
        assert process.wait(20) == 0, shown
        return shown.decode().replace("\r", "")

    roomy = advice()
    needed, free = re.search(r"It takes up to ([\d.]+ \wB) of memory, and ([\d.]+ \wB) are free\.\n", roomy).groups()
    assert roomy.endswith(f"  onsight ask --model {ID} --image photo.jpg\n") and "4 bits" not in roomy
    assert needed in onsight("inspect", ID, env=hub.variables(home)).stdout
    # What the program needs for itself depends on the machine: the least that it runs in is little.
    tight = next(text for text in map(try_advice(advice), range(100, 4000, 20)) if text)
    assert f"It takes up to {needed} of memory, and " in tight and free not in tight
    assert re.search(rf"In 4 bits it takes [\d.]+ \wB.*:\n  onsight convert {re.escape(ID)} Vision-1\.0-q4\.onsight --quant q4\n$", tight)


def try_advice(advice):
    def run(megabytes):
        try:
            return advice(megabytes)
        except AssertionError:
            return None

    return run
