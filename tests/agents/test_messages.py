"""send, inbox, status, propose, done, me."""
import base64
import json
import os
import signal
import subprocess
import threading
import time

from conftest import until


def sent(broker):
    return broker.bodies("/onsight/messages")


def test_send(agent, broker):
    broker.answers["POST /onsight/messages"] = (201, {"number": 7})
    done = agent("send", "planner", "`rm -rf /` \"quoted\" $HOME\nsecond line ☃")
    assert (done.returncode, done.stdout) == (0, "sent as #7\n")
    assert len(sent(broker)) == 1
    body = sent(broker)[0]
    assert len(body.pop("id")) == 26
    assert body == {"to": "planner", "text": "`rm -rf /` \"quoted\" $HOME\nsecond line ☃", "kind": "message"}


def test_send_reads_standard_input_and_options(agent, broker):
    broker.answers["POST /onsight/messages"] = (200, {"number": 3})
    assert agent("send", "human", "-", "--question", "--id", "one", input=b"text\xff\n").returncode == 0
    assert agent("send", "human", "--reply-to=12", "--", "--yes").returncode == 0
    assert sent(broker) == [{"id": "one", "to": "human", "text": "text\ufffd\n", "kind": "question"},
                            {"id": sent(broker)[1]["id"], "to": "human", "text": "--yes", "kind": "answer", "reply_to": 12}]


def test_what_the_broker_refuses_is_said(agent, broker):
    broker.answers["POST /onsight/messages"] = (403, {"error": {"message": "you may not write to 'ceo'\x1b[2J", "reason": "not_allowed"}})
    done = agent("send", "ceo", "Hi")
    assert done.returncode == 5
    assert done.stderr == "onsight-agent: you may not write to 'ceo'\ufffd[2J (not_allowed)\n"
    for odd in (b"", b"[1, {", b'{"error": 3}', b'{"error": {"message": []}}', b"[" * 100000):
        broker.answers["POST /onsight/messages"] = (429, odd)
        done = agent("send", "ceo", "Hi")
        assert (done.returncode, done.stderr) == (5, "onsight-agent: it answered 429\n")


def test_a_broker_that_dies_half_way_gets_the_same_id_again(agent, broker):
    ids = []

    def answer(body):
        ids.append(body["id"])
        return [None, (503, {}), None, (200, {"number": 1})][min(len(ids) - 1, 3)]

    broker.answers["POST /onsight/messages"] = answer
    done = agent("send", "human", "Hi")
    assert done.returncode == 0 and len(ids) == 4 and len(set(ids)) == 1
    assert done.stderr.count("\n") == 1 and ids[0] in done.stderr


def test_a_broker_that_is_started_again(agent, broker):
    broker.stop()
    process = agent.start("send", "human", "Hi")
    time.sleep(0.5)
    assert process.poll() is None
    broker.answers["POST /onsight/messages"] = (200, {"number": 4})
    broker.start()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"sent as #4\n"), err
    assert len(sent(broker)) == 1


def test_without_a_broker_it_ends_in_time(agent, broker):
    broker.stop()
    begun = time.monotonic()
    done = agent("send", "human", "Hi", "--timeout", "1")
    assert done.returncode == 6 and time.monotonic() - begun < 5
    assert agent("status", "idle").returncode == 6
    assert agent("send", "human", "Hi", "--timeout", "1", env={"ONSIGHT_BROKER": "/" + "x" * 200}).returncode == 6


MESSAGES = [{"number": 3, "from": "planner", "kind": "question", "text": "Is it\tdone?\x1b]0;owned\x07\n\u009b2J", "reply_to": 2},
            {"number": 5, "from": "human", "kind": "message", "text": "Stop ☃"}]


def test_inbox_prints_then_acknowledges(agent, broker):
    broker.answers["GET /onsight/inbox"] = (200, {"messages": MESSAGES})
    done = agent("inbox")
    assert done.returncode == 0
    assert done.stdout == ("#3 from planner (question), in reply to #2:\nIs it\tdone?\ufffd]0;owned\ufffd\n\ufffd2J\n"
                           "(answer with: onsight-agent send planner TEXT --reply-to 3)\n\n#5 from human:\nStop ☃\n\n")
    assert broker.bodies("/onsight/inbox/consumed") == [{"numbers": [3, 5]}]
    done = agent("inbox", "--json")
    assert json.loads(done.stdout) == {"messages": MESSAGES}


def test_what_could_not_be_printed_is_not_acknowledged(agent, broker):
    broker.answers["GET /onsight/inbox"] = (200, {"messages": MESSAGES})
    with open("/dev/full", "w") as full:
        process = agent.start("inbox", stdout=full)
        process.communicate(timeout=20)
    assert process.returncode == 1
    read, write = os.pipe()
    os.close(read)
    process = agent.start("inbox", stdout=write)
    os.close(write)
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert not broker.bodies("/onsight/inbox/consumed")


def test_the_acknowledgement_is_said_until_it_is_heard(agent, broker):
    answers = iter([None, (503, {}), (200, {})])
    broker.answers["GET /onsight/inbox"] = (200, {"messages": MESSAGES})
    broker.answers["POST /onsight/inbox/consumed"] = lambda _: next(answers)
    done = agent("inbox")
    assert done.returncode == 0 and done.stdout.count("#3") == 1
    assert len(broker.bodies("/onsight/inbox/consumed")) == 3


def test_killed_before_it_acknowledged(agent, broker):
    """Nothing is lost: they come again."""
    broker.answers["GET /onsight/inbox"] = (200, {"messages": MESSAGES})
    held = threading.Event()
    broker.answers["POST /onsight/inbox/consumed"] = lambda _: held.wait(20) and None
    process = agent.start("inbox")
    until(lambda: broker.bodies("/onsight/inbox/consumed"))
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    held.set()
    assert b"#5 from human" in out


def test_inbox_waits(agent, broker):
    asked = []

    def answer(_):
        asked.append(1)
        time.sleep(1)
        return 200, {"messages": MESSAGES if len(asked) == 2 else []}

    broker.answers["GET /onsight/inbox"] = answer
    done = agent("inbox", "--wait", "10")
    assert done.returncode == 0 and "#5" in done.stdout and len(asked) == 2
    assert broker.requests[0][1] == "/onsight/inbox?wait=10&after=0"
    broker.answers["GET /onsight/inbox"] = (200, {"messages": []})
    done = agent("inbox")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "onsight-agent: no messages\n")


def test_a_broken_answer_is_an_error(agent, broker):
    for odd in (b"", b"{}", b"[]", b'{"messages": 3}', b'{"messages": [{}]}', b'{"messages": [{"number": -1}]}', b"\xff"):
        broker.answers["GET /onsight/inbox"] = (200, odd)
        done = agent("inbox")
        assert done.returncode == 3 and done.stdout == "" and done.stderr.startswith("onsight-agent: broker: "), (odd, done)
    assert not broker.bodies("/onsight/inbox/consumed")


def test_status_done_me(agent, broker):
    assert agent("status", "thinking").returncode == 0
    assert agent("status", "blocked", "waits for the key").returncode == 0
    assert broker.bodies("/onsight/status") == [{"activity": "thinking"}, {"activity": "blocked", "detail": "waits for the key"}]
    assert agent("done", "All of it").returncode == 0
    assert agent("done", "Cannot be", "--failed").returncode == 0
    assert broker.bodies("/onsight/done") == [{"summary": "All of it", "result": "done"}, {"summary": "Cannot be", "result": "failed"}]
    broker.answers["GET /onsight/me"] = (200, {"agent": "reviewer"})
    assert json.loads(agent("me").stdout) == {"agent": "reviewer"}


def test_propose(agent, broker, tmp_path):
    broker.answers["POST /onsight/propose"] = (201, {"accepted": ["parser"]})
    plan = tmp_path / "plan.toml"
    plan.write_text('[[tasks]]\nname = "parser"\nafter = ["a", "b"]\nweight = 1.5\n[tasks.limits]\nminutes = 3\n')
    assert agent("propose", plan).returncode == 0
    assert agent("propose", "-", input=b'[{"name": "x"}]').returncode == 0
    assert agent("propose", "-", input=b' {"tasks": [{"name": "y"}]}').returncode == 0
    assert agent("propose", "-", input=b'# as it is in a plan\n[[task]]\nname = "z"\n').returncode == 0
    assert [body["tasks"] for body in broker.bodies("/onsight/propose")] == [
        [{"name": "parser", "after": ["a", "b"], "weight": 1.5, "limits": {"minutes": 3}}], [{"name": "x"}], [{"name": "y"}], [{"name": "z"}]]
    before = len(broker.requests)
    for wrong in (b"", b"[", b"{}", b"[]", b"[3]", b'x = "', b"tasks = 3", b"{" * 1000, b'{"tasks": {"a": 1}}'):
        done = agent("propose", "-", input=wrong)
        assert done.returncode == 3 and done.stderr.startswith("onsight-agent: standard input"), (wrong, done)
    assert "line 2" in agent("propose", "-", input=b'a = 1\nb = = 2').stderr
    assert agent("propose", tmp_path).returncode == 3
    assert len(broker.requests) == before


def test_many_at_once(agent, broker):
    broker.answers["POST /onsight/messages"] = (200, {"number": 1})
    running = [agent.start("send", "human", f"message {i}", stdout=subprocess.DEVNULL) for i in range(40)]
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert sorted(body["text"] for body in sent(broker)) == sorted(f"message {i}" for i in range(40))
    assert len({body["id"] for body in sent(broker)}) == 40


MODELS, CHAT = "GET http://vision/v1/models", "POST http://vision/v1/chat/completions"


def test_look(agent, broker, tmp_path):
    broker.answers[MODELS] = (200, {"data": [{"id": "nano"}, {"id": "other"}]})
    broker.answers[CHAT] = (200, {"choices": [{"message": {"content": "A \x1b[31mred\nbutton"}}]})
    for length in (1, 2, 3, 4, 70000):
        picture = os.urandom(length)
        (tmp_path / "page.png").write_bytes(picture)
        done = agent("look", "page.png", "`which` \"button\"?", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "A \ufffd[31mred\nbutton\n"), done.stderr
        (message,) = (asked := broker.bodies("http://vision/v1/chat/completions")[-1])["messages"]
        assert asked["model"] == "nano" and message["role"] == "user"
        image, text = message["content"]
        assert text == {"type": "text", "text": "`which` \"button\"?"}
        head, _, data = image["image_url"]["url"].partition(",")
        assert head == "data:image/png;base64" and base64.b64decode(data, validate=True) == picture


def test_look_says_what_is_wrong(agent, broker, tmp_path):
    (tmp_path / "page.png").write_bytes(b"x")
    (tmp_path / "empty.png").touch()
    for name in ("none.png", "empty.png", "."):
        done = agent("look", name, "What?", cwd=tmp_path)
        assert done.returncode == 3 and "expected a picture" in done.stderr
    assert agent("look", "page.png", cwd=tmp_path).returncode == 2
    assert broker.requests == []
    broker.answers[MODELS] = (403, {"error": {"message": "the role may not", "reason": "not_allowed"}})
    done = agent("look", "page.png", "What?", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (5, "onsight-agent: the role may not (not_allowed)\n")
    broker.answers[MODELS] = (200, {"data": [{"id": "nano"}]})
    for odd in ({}, {"choices": []}, {"choices": [3]}, {"choices": {"0": 1}}, [], "x"):
        broker.answers[CHAT] = (200, odd)
        assert agent("look", "page.png", "What?", cwd=tmp_path).returncode == 3
    # Nobody serves there at the moment.
    broker.answers[MODELS] = (502, {"error": {"message": "it does not answer", "reason": "unreachable"}})
    assert agent("look", "page.png", "What?", "--timeout", "1", cwd=tmp_path).returncode == 6
