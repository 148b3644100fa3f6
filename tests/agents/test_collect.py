"""collect: a clone's work as a bundle, whatever the clone looks like, and without running anything of it."""
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

CLEAN = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C",
         "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@a"}


def git(folder, *arguments, check=True, **more):
    done = subprocess.run(["git", "-C", str(folder), *map(str, arguments)], capture_output=True, text=True, env=CLEAN, **more)
    assert not check or done.returncode == 0, (arguments, done.stderr)
    return done.stdout.strip()


@pytest.fixture
def mirror(tmp_path):
    """What the host has: two commits on main."""
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q", "-b", "main")
    (source / ".gitignore").write_text("*.log\n/build/\n")
    (source / "tracked.log").write_text("tracked although it is ignored\n")
    (source / "a.txt").write_text("one\n")
    (source / "folder").mkdir()
    (source / "folder/b.txt").write_text("two\n")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("a.txt")
    git(source, "add", "-Af", ".")
    git(source, "commit", "-qm", "first")
    (source / "a.txt").write_text("one\nmore\n")
    git(source, "commit", "-qam", "second")
    git(tmp_path, "clone", "-q", "--mirror", source, "mirror.git")
    return tmp_path / "mirror.git"


@pytest.fixture
def clone(mirror, tmp_path):
    """The agent's, on its branch."""
    git(tmp_path, "clone", "-q", "--no-hardlinks", mirror, "clone")
    git(tmp_path / "clone", "checkout", "-qb", "agents/one")
    return tmp_path / "clone"


class Collected:
    def __init__(self, mirror, refs, err):
        self.mirror, self.refs, self.err = mirror, refs, err
        self.work, self.wip = refs.get("refs/heads/work"), refs.get("refs/heads/wip")

    def files(self, commit=None):
        """{path: (mode, contents)} of a commit."""
        out = {}
        for line in git(self.mirror, "ls-tree", "-r", "-z", commit or self.wip).split("\0"):
            if line:
                mode, kind, name, path = line.replace("\t", " ", 1).split(" ", 3)
                out[path] = (mode, name if kind == "commit" else git(self.mirror, "cat-file", "blob", name))
        return out

    def parents(self, commit=None):
        return git(self.mirror, "rev-list", "--parents", "-n1", commit or self.wip).split()[1:]


@pytest.fixture
def collect(agent, clone, mirror, tmp_path):
    def run(*options, base=True, code=0, tree=clone, env=None):
        def state():  # git may touch objects that it finds to be there, where it can; in a container it cannot
            return {path: ".git/objects/" in str(path) or os.lstat(path).st_mtime_ns for path in [tree, *tree.rglob("*")]}

        before = state()
        arguments = ["collect", "--tree", tree, "--branch", "agents/one", *(["--base", git(mirror, "rev-parse", "main")] if base is True else ["--base", base] if base else []), *options]
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        done = subprocess.run([agent.path, *map(str, arguments)], capture_output=True, env=agent.environment(TMPDIR=str(scratch), **(env or {})), timeout=120)
        err = done.stderr.decode()
        assert done.returncode == code, err
        assert state() == before, "expected the clone to be left as it is"
        assert not list(scratch.iterdir()), "expected nothing to be left behind"
        if code:
            assert done.stdout == b""
            return err
        bundle = tmp_path / "work.bundle"
        bundle.write_bytes(done.stdout)
        git(mirror, "-c", "transfer.fsckObjects=true", "fetch", "-q", "--no-tags", bundle, "+refs/heads/*:refs/agents/one/*", "--prune")
        heads = dict(reversed(line.split(" ", 1)) for line in git(mirror, "bundle", "list-heads", bundle).splitlines())
        return Collected(mirror, heads, err)
    return run


def commit(clone, name, text="x\n"):
    (clone / name).write_text(text)
    git(clone, "add", name)
    git(clone, "commit", "-qm", name)
    return git(clone, "rev-parse", "HEAD")


def test_nothing_new(collect, clone):
    work = collect()
    assert work.work == git(clone, "rev-parse", "HEAD") and work.wip is None and work.err == ""


def test_nothing_new_on_the_first_commit(collect, clone, mirror):
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    first = git(clone, "rev-parse", "HEAD")
    assert collect(base=first).work == first
    assert collect().work == first  # and behind the base


def test_commits(collect, clone):
    commit(clone, "new.txt")
    head = commit(clone, "newer.txt")
    work = collect()
    assert (work.work, work.wip) == (head, None)
    assert collect(base=None).work == head
    assert collect(base="0" * 40).work == head


def test_what_was_not_committed(collect, clone):
    head = commit(clone, "new.txt")
    (clone / "a.txt").write_text("changed\n")
    (clone / "staged.txt").write_text("staged\n")
    git(clone, "add", "staged.txt")
    (clone / "staged.txt").write_text("and changed\n")
    (clone / "untracked ☃\n\"name").write_text("untracked\n")
    (clone / "noise.log").write_text("ignored\n")
    (clone / "forced.log").write_text("added with -f\n")
    git(clone, "add", "-f", "forced.log")
    (clone / "tracked.log").write_text("tracked and changed\n")
    (clone / "build").mkdir()
    (clone / "build/out").write_text("ignored\n")
    (clone / "folder/b.txt").unlink()
    (clone / "run.sh").chmod(0o644)
    (clone / "link").unlink()
    (clone / "link").symlink_to("/etc/passwd")
    (clone / "loop").symlink_to("loop")
    (clone / "empty").mkdir()
    work = collect()
    assert work.work == head and work.parents() == [head]
    assert work.files() == {
        ".gitignore": ("100644", "*.log\n/build/"), "a.txt": ("100644", "changed"), "staged.txt": ("100644", "and changed"), "new.txt": ("100644", "x"),
        "untracked ☃\n\"name": ("100644", "untracked"), "forced.log": ("100644", "added with -f"), "tracked.log": ("100644", "tracked and changed"),
        "run.sh": ("100644", "#!/bin/sh"), "link": ("120000", "/etc/passwd"), "loop": ("120000", "loop")}
    assert collect().wip == work.wip, "the same state gives the same commit"


@pytest.mark.parametrize("index", ["missing", "empty", "rubbish", "huge", "everything removed"])
def test_whatever_the_index_is(collect, clone, index):
    (clone / "new.txt").write_text("new\n")
    if index == "missing":
        (clone / ".git/index").unlink()
    elif index == "everything removed":
        git(clone, "rm", "-rq", "--cached", ".")
    else:
        (clone / ".git/index").write_bytes({"empty": b"", "rubbish": os.urandom(4096), "huge": b"DIRC\0\0\0\2\xff\xff\xff\xff"}[index])
    files = collect().files()
    assert files["new.txt"] == ("100644", "new") and "tracked.log" in files and "folder/b.txt" in files


def test_head_is_elsewhere(collect, clone):
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "checkout", "-qb", "mine")
    other = commit(clone, "mine.txt")
    work = collect()
    assert work.work == head and work.parents() == [head, other] and "mine.txt" in work.files()
    (clone / "more.txt").write_text("more\n")
    assert "more.txt" in collect().files()
    git(clone, "checkout", "-q", "--detach")
    assert collect().parents() == [head, other]
    git(clone, "stash", "-qu")
    git(clone, "checkout", "-q", "--detach", "agents/one~1")  # an old commit, looked at
    work = collect()
    assert (work.work, work.wip) == (head, None)


def test_a_rewritten_branch(collect, clone):
    first = commit(clone, "new.txt")
    collect()
    git(clone, "commit", "-q", "--amend", "-m", "otherwise", "--date", "2001-01-01T00:00:00")
    head = git(clone, "rev-parse", "HEAD")
    assert head != first and collect().work == head
    git(clone, "checkout", "-q", "--orphan", "none")
    git(clone, "commit", "-qm", "anew")
    git(clone, "branch", "-qf", "agents/one")
    git(clone, "checkout", "-q", "agents/one")
    git(clone, "branch", "-qD", "none", "main")
    git(clone, "for-each-ref")
    git(clone, "update-ref", "-d", "refs/remotes/origin/main")
    git(clone, "symbolic-ref", "-d", "refs/remotes/origin/HEAD", check=False)
    git(clone, "reflog", "expire", "--expire=now", "--all")
    git(clone, "gc", "-q", "--prune=now")
    assert collect().work == git(clone, "rev-parse", "HEAD")


def test_a_rebase_with_conflicts(collect, clone):
    base = git(clone, "rev-parse", "HEAD")
    head = commit(clone, "a.txt", "mine\n")
    git(clone, "checkout", "-q", "--detach", base)
    other = commit(clone, "a.txt", "theirs\n")
    git(clone, "checkout", "-q", "agents/one")
    git(clone, "rebase", "-q", other, check=False)
    assert (clone / ".git/rebase-merge").exists()
    work = collect()
    assert work.work == head and work.parents() == [head, other] and "<<<<<<<" in work.files()["a.txt"][1]


def test_a_branch_that_is_gone(collect, clone):
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "branch", "-qm", "renamed")
    new = commit(clone, "new.txt")
    work = collect()
    assert work.work == new and "HEAD stands for it" in work.err
    (clone / ".git/HEAD").write_text("ref: refs/heads/nowhere\n")
    work = collect()
    assert work.work == head and "its base stands for it" in work.err and "new.txt" in work.files()
    assert "expected a branch agents/one" in collect(base=None, code=3)


def test_packed_refs_and_objects(collect, clone):
    head = commit(clone, "new.txt")
    git(clone, "gc", "-q")
    git(clone, "pack-refs", "--all")
    assert not (clone / ".git/refs/heads/agents/one").exists()
    assert collect().work == head


def test_linked_worktrees(collect, clone, tmp_path):
    git(clone, "worktree", "add", "-q", "-b", "side", tmp_path / "side")
    commit(tmp_path / "side", "side.txt")
    work = collect(tree=tmp_path / "side")
    assert "side.txt" in work.files()


def test_nested_repositories(collect, clone):
    for name in ("inner", "deep/inner", "build/inner", "none"):
        (clone / name).mkdir(parents=True)
        git(clone / name, "init", "-q", "-b", "main")
        if name != "none":
            commit(clone / name, "inner.txt")
    (clone / "none/text").write_text("x")
    (clone / "after.txt").write_text("after\n")
    work = collect()
    files = work.files()
    assert files["inner"] == ("160000", git(clone / "inner", "rev-parse", "HEAD")) and files["deep/inner"][0] == "160000"
    assert "after.txt" in files and not any(path.startswith(("none", "build")) for path in files)
    assert "inner" in work.err and "none" in work.err


def test_submodules(collect, clone, mirror, tmp_path):
    (clone / "sub").mkdir()
    git(clone / "sub", "init", "-q", "-b", "main")
    inner = commit(clone / "sub", "inner.txt")
    git(clone, "-c", "advice.addEmbeddedRepo=false", "add", "sub")
    git(clone, "commit", "-qm", "a submodule")
    assert collect().wip is None
    newer = commit(clone / "sub", "newer.txt")
    assert collect().files()["sub"] == ("160000", newer)
    shutil.rmtree(clone / "sub")
    (clone / "sub").mkdir()
    assert collect().wip is None  # as in a clone whose submodules were not fetched
    (clone / "sub/file").write_text("instead\n")
    assert collect().files()["sub/file"] == ("100644", "instead")
    shutil.rmtree(clone / "sub")
    assert "sub" not in collect().files()
    (clone / "sub").write_text("a file\n")
    assert collect().files()["sub"] == ("100644", "a file")
    assert inner != newer


def test_nothing_of_the_clone_is_run(collect, clone, tmp_path):
    """Each place from which git runs a program, or another git, leads to one that tells."""
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\necho \"$0 $*\" >> {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    head = commit(clone, "new.txt")
    (clone / ".gitattributes").write_text("* filter=evil diff=evil merge=evil text\n*.x filter=lfs working-tree-encoding=UTF-16\n")
    (clone / "data.x").write_text("x")
    for nested in (clone / "inner",):
        nested.mkdir()
        git(nested, "init", "-q", "-b", "main")
        commit(nested, "inner.txt")
        git(clone, "add", "inner", check=False)
    for folder in (clone, clone / "inner"):
        config = folder / ".git/config"
        settings = {"core.fsmonitor": trap, "core.hooksPath": tmp_path / "hooks", "core.sshCommand": trap, "core.pager": trap, "core.editor": trap, "core.askPass": trap,
                    "core.alternateRefsCommand": trap, "filter.evil.clean": trap, "filter.evil.smudge": trap, "filter.evil.process": trap, "filter.evil.required": "true",
                    "filter.lfs.clean": trap, "filter.lfs.process": trap, "diff.evil.textconv": trap, "diff.evil.command": trap, "diff.external": trap, "merge.evil.driver": trap,
                    "gpg.program": trap, "commit.gpgSign": "true", "uploadpack.packObjectsHook": trap, "credential.helper": f"!{trap}", "alias.add": f"!{trap}",
                    "core.gitProxy": trap, "core.worktree": "/etc", "extensions.worktreeConfig": "true", "include.path": tmp_path / "more.config", "remote.origin.vcs": "evil",
                    "remote.origin.promisor": "true", "remote.origin.partialclonefilter": "blob:none", "submodule.inner.update": f"!{trap}"}
        for name, value in settings.items():
            subprocess.run(["git", "config", "--file", config, "--add", name, str(value)], check=True, env=CLEAN)
        for hook in ("pre-commit", "post-index-change", "reference-transaction", "post-commit", "fsmonitor-watchman", "pre-auto-gc", "post-checkout"):
            for place in (folder / ".git/hooks", tmp_path / "hooks"):
                place.mkdir(exist_ok=True)
                shutil.copy(trap, place / hook)
    (tmp_path / "more.config").write_text(f"[core]\n\tfsmonitor = {trap}\n")
    work = collect(env={"GIT_DIR": str(clone / ".git"), "GIT_EXTERNAL_DIFF": str(trap), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": str(trap), "HOME": str(tmp_path)})
    assert not (tmp_path / "sprung").exists(), (tmp_path / "sprung").read_text()
    assert work.work == head and "data.x" in work.files()


def test_lines_end_as_the_attributes_say(collect, clone):
    (clone / ".gitattributes").write_text("*.txt text eol=crlf\n")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "attributes")
    (clone / "a.txt").write_bytes(b"one\r\nmore\r\n")
    assert collect().wip is None
    (clone / "a.txt").write_bytes(b"other\r\n")
    assert collect().files()["a.txt"] == ("100644", "other")


def test_an_encoding_that_is_none(collect, clone):
    (clone / ".gitattributes").write_text("* working-tree-encoding=nonsense\n")
    (clone / "new.txt").write_text("new\n")
    work = collect()
    assert work.files()["new.txt"] == ("100644", "new")


def test_pipes_and_sockets_and_what_cannot_be_read(collect, clone):
    os.mkfifo(clone / "pipe")
    (clone / "new.txt").write_text("new\n")
    (clone / "a.txt").unlink()
    os.mkfifo(clone / "a.txt")
    files = collect().files()
    assert "pipe" not in files and "new.txt" in files
    head = commit(clone, "newer.txt")
    (clone / "folder/.gitignore").unlink(missing_ok=True)
    os.mkfifo(clone / "folder/.gitignore")
    work = collect()
    assert (work.work, work.wip) == (head, None) and "folder/.gitignore" in work.err
    (clone / "folder/.gitignore").unlink()
    for place in ("HEAD", "refs/heads/agents/one", "packed-refs", "info/exclude", "shallow", "index"):
        path = clone / ".git" / place
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        collect()
        path.unlink()
        if kept is not None:
            path.write_bytes(kept)


def test_deep_folders(collect, clone):
    path = clone
    for _ in range(120):
        path = path / "d"
        path.mkdir()
    (path / "deep.txt").write_text("deep\n")
    assert "d/" * 120 + "deep.txt" in collect().files()


@pytest.mark.parametrize("branch", ["", "-x", "a..b", "a b", "a\nb", "../../etc/passwd", "/x", "x/", "a.lock", "@{1}", "x" * 300, "a\\b", "a:b"])
def test_names_that_are_none(agent, clone, branch):
    done = agent("collect", "--tree", clone, f"--branch={branch}")
    assert done.returncode == 3 and "expected the name of a branch" in done.stderr
    assert agent("collect", "--tree", clone, "--branch", "main", "--base", "HEAD").returncode == 3


def test_no_repository(agent, tmp_path):
    for tree in (tmp_path / "nowhere", tmp_path):
        done = agent("collect", "--tree", tree, "--branch", "x")
        assert done.returncode == 3 and "expected a git repository" in done.stderr
    (tmp_path / ".git").symlink_to("/etc")
    assert agent("collect", "--tree", tmp_path, "--branch", "x").returncode == 3
    (tmp_path / ".git").unlink()
    (tmp_path / ".git").write_text("gitdir: /etc\n")
    assert agent("collect", "--tree", tmp_path, "--branch", "x").returncode == 3


def test_a_read_only_clone_and_little_room(agent, clone, mirror, tmp_path):
    """As in its container: what is as it was is not copied into /tmp."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("mounting takes root")
    for i in range(40):
        (clone / f"big{i}").write_bytes(os.urandom(1 << 20))
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "big")
    git(clone, "repack", "-adq")
    (clone / "new.txt").write_text("new\n")
    line = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && mkdir "$2" && mount -t tmpfs -o size=8m none "$2" && cd / && TMPDIR="$2" exec "$3" collect --tree "$1" --branch agents/one --base "$4"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", line, "sh", clone, tmp_path / "small", agent.path, git(clone, "rev-parse", "HEAD")], capture_output=True)
    assert done.returncode == 0, done.stderr
    (tmp_path / "x.bundle").write_bytes(done.stdout)
    assert len(done.stdout) < 1 << 20


def test_killed_in_the_middle(agent, clone):
    for i in range(60):
        (clone / f"file{i}").write_bytes(os.urandom(200_000))
    for wait in (0.02, 0.1, 0.3):
        process = agent.start("collect", "--tree", clone, "--branch", "agents/one")
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert git(clone, "status", "--porcelain").count("??") == 60
