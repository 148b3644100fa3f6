"""onsight agents run: plans brought about by agents that are shell scripts, in real containers."""
import json
import re
import signal
import subprocess
import textwrap

import pytest
from test_life import BINARY, engine, shop  # noqa: F401

# What an agent of these tests does is the first line of its prompt.
AGENT = r"""
set -- $(printf '%s\n' "$1" | head -n 1)
commit() { git add -A && git commit -q -m "$1"; }
next() { while ! onsight-agent inbox --wait 20 > ~/inbox || ! [ -s ~/inbox ]; do :; done; cat ~/inbox; }
case $1 in
write) echo "$3" > "$2"; commit "Write $2"; onsight-agent done "wrote $2" ;;
append) cat "$2" && echo "$3" >> "$2"; commit "Append to $2"; onsight-agent done "appended $3" ;;
first-line)  # others change it too
  sleep "$3"; sed -i "1s/.*/& $2/" a.txt; commit "$2"; onsight-agent done "$2"
  next; git fetch -q 2> /dev/null; git rebase -q "$(git for-each-ref --format='%(refname)' refs/remotes/origin/onsight)" ||
    { git checkout -q --theirs a.txt; sed -i "1s/.*/one both/" a.txt; git add -A; GIT_EDITOR=true git rebase --continue > /dev/null; }
  onsight-agent done "$2 again" ;;
mend) echo bad > state.txt; commit bad; onsight-agent done bad; next; echo good > state.txt; commit good; onsight-agent done good ;;
bad) echo bad > state.txt; commit bad; onsight-agent done bad ;;
second) case $ONSIGHT_AGENT in *-2) echo two > second.txt; commit second; onsight-agent done "second did" ;; *) exit 9 ;; esac ;;
dirty) echo x > x.txt; onsight-agent done "forgot"; next; commit x; onsight-agent done "thought of it" ;;
idle) onsight-agent status idle; next; echo asked > asked.txt; commit asked; onsight-agent done "was asked" ;;
wait) touch ~/waits; while ! [ -e "/agent/home/go" ]; do sleep 0.1; done; echo waited > waited.txt; commit waited; onsight-agent done waited ;;
look) onsight-agent done "looked" ;;
plan)
  cat > ~/tasks.json << 'END'
[{"name": "one", "prompt": "write one.txt 1"}, {"name": "two", "role": "worker", "prompt": "append one.txt 2", "after": ["one"]},
 {"name": "evil", "role": "planner", "prompt": "plan"}]
END
  onsight-agent propose ~/tasks.json; next > ~/answer; cp ~/answer answer.txt; commit plan; onsight-agent done planned ;;
ask) onsight-agent send supervisor "How do things stand?"; next > status.txt; commit status; onsight-agent done asked ;;
*) onsight-agent done --failed "cannot $1"; sleep 100 ;;
esac
"""
ROLES = """
[roles.worker]
harness = "generic"
command = ["sh", "agent.sh", "{task}"]
may_message = ["human", "supervisor", "worker"]
limits = { memory = "256MiB", pids = 64, tmp = "32MiB" }
[roles.planner]
harness = "generic"
command = ["sh", "agent.sh", "{task}"]
may_propose = true
limits = { memory = "256MiB", pids = 64, tmp = "32MiB" }
"""


@pytest.fixture
def house(shop):  # noqa: F811
    (shop.repo / "agent.sh").write_text(AGENT)
    shop.configure(ROLES)
    shop.commit("house")

    def plan(*tasks, top="", **limits):
        text = textwrap.dedent(top) + "\n[limits]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in limits.items())
        for name, prompt, *more in tasks:
            text += f'[[tasks]]\nname = "{name}"\nprompt = "{prompt}"\n' + "".join(f"{line}\n" for line in more)
            if not any(line.startswith("role") for line in more):
                text += 'role = "worker"\n'
        path = shop.folder / "plan.toml"
        # The tables of the plan's top come last, where they end no other.
        path.write_text(text)
        return str(path)

    def run(*arguments, code=0):
        done = subprocess.run([BINARY, "agents", "run", "--json", *arguments], cwd=shop.repo, env=shop.env, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr, shop.logs())
        shop.said = done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    shop.plan, shop.run = plan, run
    return shop


def states(report):
    return {task["name"]: task["state"] for task in report["tasks"]}


def test_tasks_in_order_are_merged(house):
    before = house.git("rev-parse", "HEAD").strip()
    report = house.run(
        house.plan(("a", "write b.txt two"), ("b", "append b.txt three", 'after = ["a"]'), ("see", "look", 'after = ["b"]'),
                   top='checks = [["sh", "-c", "test -e b.txt && test ! -e /agent/home/waits"]]'),
        "Write numbers",
    )  # fmt: skip
    assert report["result"] == "done" and states(report) == {"a": "done", "b": "done", "see": "done"}
    assert (house.repo / "b.txt").read_text() == "two\nthree\n"
    assert house.git("status", "--porcelain") == ""
    assert house.git("rev-parse", "HEAD").strip() == report["merged"] == house.git("rev-parse", report["branch"]).strip()
    assert house.git("log", "--format=%s", f"{before}..").split("\n")[:-1] == ["Append to b.txt", "Write b.txt"]
    assert [task["summary"] for task in report["tasks"]] == ["wrote b.txt", "appended three", "looked"]
    assert house.agents("list") == "no agents yet: onsight agents start NAME --task TEXT\n"
    assert "a: working, a\n" in house.said and "b: done" in house.said


def test_both_change_a_line(house):
    report = house.run(house.plan(("left", "first-line left 0"), ("right", "first-line right 0")), "Both")
    assert report["result"] == "done", report
    assert (house.repo / "a.txt").read_text() == "one both\n"
    assert "Others have changed the same lines" in house.said and "a.txt" in house.git("show", "--stat", report["branch"])
    assert not any(line.startswith("<<<<<<<") for line in (house.repo / "a.txt").read_text().splitlines())


def test_a_failed_check_goes_back_to_its_author(house):
    report = house.run(
        house.plan(("m", "mend", 'checks = [["sh", "-c", "cat state.txt; ! grep -q bad state.txt"]]'), ("d", "dirty"), ("i", "idle"), quiet="1s"), "Mend"
    )
    assert report["result"] == "done" and [task["attempts"] for task in report["tasks"]] == [1, 1, 1]
    assert (house.repo / "state.txt").read_text() == "good\n" and (house.repo / "x.txt").exists() and (house.repo / "asked.txt").exists()
    assert "m: working, m, round 1: A check of your work failed" in house.said


def test_a_fresh_agent_tries_what_one_could_not(house):
    report = house.run(house.plan(("s", "second")), "Second", "--keep")
    (task,) = report["tasks"]
    assert task["state"] == "done" and task["attempts"] == 2 and task["agents"] == ["s", "s-2"]
    assert "s ended with exit code 9" in house.said
    assert house.row("s")["phase"] == "stopped" and "Another agent tried before you" in house.row("s-2")["task"]


def test_what_cannot_be_done_is_said_and_resumed(house):
    tasks = (("b", "bad"), ("after", "look", 'after = ["b"]'), ("u", "unknown"), ("ok", "write ok.txt ok"))
    report = house.run(house.plan(*tasks, top='checks = [["sh", "-c", "! grep bad state.txt"]]', attempts=1, agents=4), "Cannot", code=3)
    assert report["result"] == "failed" and states(report) == {"b": "failed", "after": "skipped", "u": "failed", "ok": "done"}
    detail = {task["name"]: task["detail"] for task in report["tasks"]}
    assert "grep bad state.txt" in detail["b"] and detail["u"] == "cannot unknown" and detail["after"] == "'b' is not done"
    assert report["merged"] == "" and not (house.repo / "ok.txt").exists()
    assert house.git("show", f"{report['branch']}:ok.txt") == "ok\n"
    # With a plan that checks nothing.
    again = house.run("--resume", house.plan(*tasks, attempts=1, agents=4), code=3)
    assert states(again) == {"b": "done", "after": "done", "u": "failed", "ok": "done"} and again["branch"] == report["branch"]


def test_a_planner_proposes(house):
    report = house.run(house.plan(("p", "plan", 'role = "planner"'), top='proposals = { roles = ["worker"] }'), "Planned")
    assert report["result"] == "done" and states(report) == {"p": "done", "one": "done", "two": "done"}
    assert report["tasks"][1]["proposed_by"] == "p" and (house.repo / "one.txt").read_text() == "1\n2\n"
    answer = (house.repo / "answer.txt").read_text()
    assert "'one' was taken for a worker" in answer and "'evil' was refused: role: expected one of worker" in answer


def test_who_asks_the_supervisor_is_answered(house):
    assert house.run(house.plan(("q", "ask")), "Ask")["result"] == "done"
    assert re.search(r"q \(worker\): working, by q", (house.repo / "status.txt").read_text())


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_run_goes_on(house, how):
    plan = house.plan(("w", "wait"), ("after", "append waited.txt more", 'after = ["w"]'))
    run = subprocess.Popen([BINARY, "agents", "run", plan, "Wait"], cwd=house.repo, env=house.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    house.until(lambda: (row := house.row("w")) and row["phase"] == "running")
    house.until(lambda: house.agents("exec", "w", "--", "ls", "/agent/home").count("waits"))
    run.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
    out, err = run.communicate(timeout=60)
    if how == "interrupt":
        assert run.returncode == 130 and out.startswith("Wait: stopped: by its user; onsight agents run --resume goes on\n")
        house.until(lambda: house.row("w")["phase"] == "stopped")
    else:
        assert "did not end" in house.run(plan, "Another", code=3)
    again = subprocess.Popen([BINARY, "agents", "run", "--resume", "--json"], cwd=house.repo, env=house.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    house.until(lambda: house.row("w")["phase"] == "running", 60)
    house.agents("exec", "w", "--", "touch", "/agent/home/go")
    out, err = again.communicate(timeout=100)
    assert again.returncode == 0, err
    report = json.loads(out)
    assert report["result"] == "done" and (house.repo / "waited.txt").read_text() == "waited\nmore\n"
    assert report["tasks"][0]["agents"] == ["w"]


def test_two_runs_at_once_and_what_is_wrong(house):
    plan = house.plan(("w", "wait"))
    run = subprocess.Popen([BINARY, "agents", "run", plan, "Wait"], cwd=house.repo, env=house.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    house.until(lambda: house.row("w"))
    assert "another run of a plan" in house.run(plan, "Too", code=1)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    for arguments, code, words in (
        (lambda: (house.plan(("a", "look", 'after = ["b"]'), ("b", "look", 'after = ["a"]')), "x"), 3, "a after b after a"),
        (lambda: (house.plan(("a", "look")),), 2, "expected a GOAL"),
        (lambda: (str(house.folder / "none.toml"), "x"), 3, "none.toml"),
        (lambda: (), 2, "expected a PLAN"),
    ):
        said = house.run(*arguments(), code=code)
        assert words in said and said.startswith("onsight: ") and said.count("\n") == 1, said
    assert house.git("branch", "--list", "onsight/x*") == ""


def test_the_users_tree_is_left_where_it_is_in_the_way(house):
    plan = house.plan(("a", "write b.txt two"))
    (house.repo / "a.txt").write_text("mine\n")
    report = house.run(plan, "Dirty")
    assert report["result"] == "done" and report["merged"] == "" and "git merge onsight/dirty-" in report["not_merged"]
    assert (house.repo / "a.txt").read_text() == "mine\n" and not (house.repo / "b.txt").exists()
    assert house.git("show", f"{report['branch']}:b.txt") == "two\n"
    text = house.agents("run", house.plan(("b", "write c.txt three")), "Report", "--no-merge", "--report", str(house.folder / "report.md"))
    assert "c.txt | 1 +" in text and "| b | worker | done |" in (house.folder / "report.md").read_text()
