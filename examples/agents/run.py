#!/usr/bin/env python3
"""A run of agents to look at: a planner and three others mend a small till, with a scripted model in place of a provider's.

  examples/agents/run.py            # onsight of build/, or ONSIGHT_BINARY

Everything lies in a folder of its own that is removed at the end (--keep keeps it), also the keys. Docker or Podman has to answer. The image is
made when there is none yet, of Debian's packages, which takes a minute or two and the network; the run itself needs none.
"""
import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "agents"))
from model_server import ModelServer, script_of_file  # noqa: E402

BINARY = Path(os.environ.get("ONSIGHT_BINARY", ROOT / "build" / "onsight")).resolve()
CONFIG = """
[providers.scripted]
url = "{url}"
protocol = "openai"
key = "scripted"
prices = [{{ model = "", in = 3, out = 15 }}]
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the folder, and say where it is")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="onsight-example-"))
    shop = folder / "till"
    shutil.copytree(HERE / "shop", shop)
    shutil.copytree(HERE / "harness", shop / ".onsight" / "harness")
    (folder / "run").mkdir(mode=0o700)
    (folder / "passphrase").write_text(secrets.token_hex(16))
    (folder / "passphrase").chmod(0o600)
    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    own |= {"XDG_CONFIG_HOME": str(folder / "config"), "ONSIGHT_AGENTS_STATE": str(folder / "state"), "ONSIGHT_AGENTS_RUN": str(folder / "run"),
            "ONSIGHT_VAULT_PASSPHRASE_FILE": str(folder / "passphrase"), "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip

    def call(*command, **more):
        return subprocess.run([str(word) for word in command], cwd=shop, env=own, text=True, **more)

    def agents(*words, **more):
        return call(BINARY, "agents", *words, **more)

    def show(*command):
        print(f"\n$ {' '.join(command)}", flush=True)
        return call(*command).returncode

    try:
        with ModelServer(script_of_file(HERE / "model.toml")) as model:
            (shop / ".onsight" / "agents.toml").write_text(CONFIG.format(url=model.url))
            call("git", "init", "-q", "-b", "main", check=True)
            call("git", "config", "user.name", "You", check=True)
            call("git", "config", "user.email", "you@example.org", check=True)
            call("git", "add", "-A", check=True)
            call("git", "commit", "-q", "-m", "A till", check=True)
            agents("key", "set", "scripted", "--host", f"127.0.0.1:{model.port}", input=secrets.token_hex(16), check=True)
            agents("image", "build", "--harness", "scripted", check=True)
            show("bash", "test.sh")
            print("\n$ onsight agents run plan.toml", flush=True)
            code = agents("run", HERE / "plan.toml").returncode
            code = show("bash", "test.sh") or code
            show("cat", "CHANGES.md")
            show("git", "log", "--oneline", "--graph")
            print("\n$ onsight agents inbox", flush=True)
            agents("inbox")
            for trouble in model.trouble:
                print(trouble, file=sys.stderr)
            return code
    except (subprocess.CalledProcessError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for line in agents("list", "--json", capture_output=True).stdout.splitlines():
            agents("rm", "--force", json.loads(line)["name"], capture_output=True)
        if arguments.keep:
            print(f"\nThe repository is {shop}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
