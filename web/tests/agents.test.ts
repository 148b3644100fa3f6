// The parts of the agents' page that need no browser: runs out of events, diffs, words, and moving in time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError, type Api, type FeedListener, type Plan } from '../agents/api';
import { parseDiff } from '../agents/diff';
import type { Agent, LoggedEvent, Message, State } from '../agents/model';
import { foldRuns, layOut, node, type Task } from '../agents/plan';
import { count, doing, dollars, duration, sentence, tone } from '../agents/words';
import { World } from '../agents/world';

let next = 0;
const event = (kind: string, body: Record<string, unknown> = {}, agent = '', actor = 'orchestrator'): LoggedEvent => ({ seq: ++next, at_ms: 1000 * next, actor, agent, kind, body });
const planned = (name: string, after: string[] = []): Record<string, unknown> => ({ name, role: 'coder', prompt: `Do ${name}`, after, checks: [['make', 'test']] });

const story = (): LoggedEvent[] => [
  event('run.started', { run: 'r1', goal: 'Dark mode', branch: 'main', tasks: [planned('a'), planned('b', ['a'])], limits: { agents: 2, attempts: 3, micro_usd: 5e6 } }),
  event('task.state', { run: 'r1', task: 'a', state: 'working', attempt: 1, agent: 'ann' }),
  event('task.state', { run: 'r1', task: 'a', state: 'failed', attempt: 1, detail: 'make test: 2' }),
  event('task.state', { run: 'r1', task: 'a', state: 'working', attempt: 2, agent: 'bob' }),
  event('task.proposed', { tasks: [planned('c')] }, 'bob', 'bob'),
  event('task.added', { run: 'r1', task: planned('c', ['a']), by: 'bob' }),
  event('task.state', { run: 'r1', task: 'a', state: 'done', attempt: 2, commit: 'abc' }),
  event('run.ended', { run: 'r1', result: 'budget', detail: 'no money is left' }),
];

test('a run is what its events say, all at once or one after the other', () => {
  const events = story();
  const runs = foldRuns(events);
  const [run] = runs;
  assert.ok(run);
  assert.deepEqual(run.tasks.map(({ name, state, attempt, agent, by }) => [name, state, attempt, agent, by]), [
    ['a', 'done', 2, 'bob', 'plan'], ['b', 'waiting', 0, '', 'plan'], ['c', 'waiting', 0, '', 'bob']]);
  assert.deepEqual([run.result, run.detail, run.limits], ['budget', 'no money is left', { agents: 2, attempts: 3, micro_usd: 5e6 }]);
  assert.equal(run.tasks[0]?.detail, ''); // of the state before
  assert.equal(run.tasks[0]?.commit, 'abc');
  assert.deepEqual(run.tasks[0]?.checks, ['make test']);
  assert.deepEqual(events.reduce((before, one) => foldRuns([one], before), foldRuns([])), runs);
  const before = foldRuns(events.slice(0, 2));
  foldRuns(events.slice(2), before);
  assert.equal(before[0]?.tasks[0]?.state, 'working'); // what was folded is left as it is
});

test('a run that goes on is running, and another of its name is another', () => {
  const runs = foldRuns([...story(), event('run.resumed', { run: 'r1' }), event('run.started', { run: 'r1', goal: 'Again' }), event('run.ended', { run: 'r1', result: 'odd' })]);
  assert.deepEqual(runs.map(({ goal, result }) => [goal, result]), [['Dark mode', 'running'], ['Again', 'failed']]);
});

test('events that make no sense change nothing', () => {
  const runs = foldRuns([
    event('run.started', {}), event('run.started', { run: 'r', tasks: [1, null, { name: '' }, { name: 'a', after: 'b', checks: [1, [2, 'x']] }], limits: [] }),
    event('task.state', { run: 'r', task: 'nothing', state: 'done' }), event('task.state', { run: 'r', task: 'a', state: 'odd' }),
    event('task.state', { run: 'other', task: 'a', state: 'done' }), event('task.added', { run: 'r', task: { name: 'a' } }), event('task.added', { run: 'r' }),
  ]);
  assert.equal(runs.length, 1);
  assert.deepEqual(runs[0]?.tasks.map(({ name, state, after, checks }) => [name, state, after, checks]), [['a', 'waiting', [], [' x']]]);
});

const task = (name: string, ...after: string[]): Task => ({ name, role: '', prompt: '', after, checks: [], by: '', state: 'waiting', attempt: 0, agent: '', detail: '', commit: '' });

test('a task stands behind all that it waits for, and nothing lies on another', () => {
  const tasks = [task('d', 'b', 'c'), task('a'), task('b', 'a'), task('c', 'a', 'nobody'), task('e')];
  for (const downwards of [false, true]) {
    const { places, edges, width, height } = layOut(tasks, downwards);
    const at = new Map(places.map((place) => [place.task.name, place]));
    assert.equal(places.length, 5);
    assert.equal(edges.length, 4);
    for (const { from, to } of edges) assert.ok(downwards ? to.y >= from.y + node.height : to.x >= from.x + node.width);
    for (const one of places) {
      for (const other of places) {
        if (one === other) continue;
        assert.ok(Math.abs(one.x - other.x) >= node.width || Math.abs(one.y - other.y) >= node.height, `${one.task.name} on ${other.task.name}`);
      }
      assert.ok(one.x >= 0 && one.y >= 0 && one.x + node.width <= width && one.y + node.height <= height);
    }
    assert.equal(at.get('a')?.[downwards ? 'y' : 'x'], at.get('e')?.[downwards ? 'y' : 'x']);
  }
});

test('tasks that wait for each other are drawn all the same', () => {
  const { places } = layOut([task('a', 'b'), task('b', 'a'), task('c', 'c')], false);
  assert.deepEqual(places.map(({ task: { name } }) => name).sort(), ['a', 'b', 'c']);
  assert.deepEqual(layOut([], false).places, []);
});

const sample = `diff --git a/src/a.txt b/src/a.txt
index 1..2 100644
--- a/src/a.txt
+++ b/src/a.txt
@@ -1,4 +1,5 @@ int main()
 one
-two
--- three
+2
+++ 3
+extra

@@ -10 +11 @@
-ten
+TEN
\\ No newline at end of file
diff --git a/old name.txt b/new name.txt
similarity index 90%
rename from old name.txt
rename to new name.txt
diff --git "a/caf\\303\\251 \\"x\\".txt" "b/caf\\303\\251 \\"x\\".txt"
new file mode 100644
--- /dev/null
+++ "b/caf\\303\\251 \\"x\\".txt"
@@ -0,0 +1,2 @@
+diff --git a/x b/x
+@@ -1 +1 @@
diff --git a/p.png b/p.png
deleted file mode 100644
Binary files a/p.png and /dev/null differ
`;

test('a diff is files, hunks, and the old beside the new', () => {
  const files = parseDiff(sample);
  assert.deepEqual(files.map(({ path, from, note, added, removed }) => [path, from, note, added, removed]), [
    ['src/a.txt', '', '', 4, 3], ['new name.txt', 'old name.txt', '', 0, 0], ['café "x".txt', '', 'new file', 2, 0], ['p.png', '', 'deleted, binary', 0, 0]]);
  const [first] = files;
  assert.deepEqual(first?.hunks.map(({ title, rows }) => [title, rows.length]), [['int main()', 5], ['', 1]]);
  const sides = first?.hunks[0]?.rows.map(({ left, right }) => [left && `${left.number} ${left.text}`, right && `${right.number} ${right.text}`]);
  // A removed line "-- three" and an added "++ 3" look like heads of files.
  assert.deepEqual(sides, [['1 one', '1 one'], ['2 two', '2 2'], ['3 -- three', '3 ++ 3'], [undefined, '4 extra'], ['4 ', '5 ']]);
  assert.deepEqual(files[2]?.hunks[0]?.rows.map(({ right }) => right?.text), ['diff --git a/x b/x', '@@ -1 +1 @@']);
});

test('what is no diff is nothing', () => {
  for (const text of ['', '\n', 'hello', '@@ -1 +1 @@\n-a', 'diff --git ', 'diff --git a/x b/x\n@@ -1,3 +1,3 @@\n-a']) {
    for (const file of parseDiff(text)) assert.ok(file.hunks.length <= 1);
  }
  assert.deepEqual(parseDiff(''), []);
});

const spent = { micro_usd: 0, tokens_in: 0, tokens_out: 0, requests: 0, reserved_micro_usd: 0, reserved_tokens: 0 };
const agent = (name: string, more: Partial<Agent> = {}): Agent => ({
  name, role: 'coder', harness: 'generic', model: '', task: '', branch: '', base: '', wanted: 'running', phase: 'running', activity: 'idle', detail: '', generation: 1,
  result: '', work: 'none', commit: '', merged: '', created_ms: 0, started_ms: 0, stopped_ms: 0, unread: 0, spent, budget: {}, ...more,
});

test('figures and states are words', () => {
  assert.deepEqual([0, 4200, 1234567, 20e6].map(dollars), ['$0.00', '$0.0042', '$1.23', '$20.00']);
  assert.deepEqual([0, 9999, 12345, 123456, 999990, 4.5e6].map(count), ['0', '9999', '12.3k', '123k', '1.0M', '4.5M']);
  assert.deepEqual([0, 45e3, 720e3, 7.2e6, 12e6, 2 * 86400e3].map(duration), ['0 s', '45 s', '12 min', '2 h', '3 h 20 min', '2 d']);
  assert.deepEqual([doing(agent('a')), doing(agent('a', { activity: 'offline' })), doing(agent('a', { phase: 'stopped', activity: 'completed' })), doing(agent('a', { phase: 'error' }))],
    ['idle', 'running', 'completed', 'error']);
  assert.deepEqual([tone(agent('a', { activity: 'blocked' })), tone(agent('a', { phase: 'error' })), tone(agent('a', { phase: 'starting' }))], ['wait', 'bad', 'busy']);
});

test('every event has a sentence, whatever its body lacks', () => {
  const kinds = ['agent.created', 'agent.wanted', 'agent.phase', 'agent.activity', 'agent.removed', 'agent.done', 'work.collected', 'work.merged', 'work.backed_up', 'message.queued',
    'message.delivered', 'message.consumed', 'message.answered', 'spend.reserved', 'spend.settled', 'egress.refused', 'egress.sent', 'run.started', 'run.resumed', 'run.ended', 'task.proposed',
    'task.added', 'task.state', 'odd.kind'];
  for (const kind of kinds) {
    const words = sentence(event(kind, {}, 'ann', 'human'));
    assert.ok(words.length > 3 && !/undefined|null|NaN|\[object/.test(words), `${kind}: ${words}`);
  }
  assert.equal(sentence(event('message.queued', { text: '<b>Hi</b>' }, 'ann', 'human')), 'human writes to ann: <b>Hi</b>');
  assert.equal(sentence(event('egress.refused', { host: 'evil.example', path: '/x', reason: 'not_allowed' }, 'ann', 'broker')), 'ann is refused evil.example/x: not_allowed');
});

/** A log whose agents are those created up to a moment; it counts what it is asked. */
class Scripted implements Api {
  readonly asked: string[] = [];
  log_: LoggedEvent[] = [];
  listener: FeedListener | undefined;
  from = -1;
  fails = '';
  private until(at?: number): LoggedEvent[] {
    return this.log_.filter(({ seq }) => at === undefined || seq <= at);
  }
  async state(at?: number, signal?: AbortSignal): Promise<State> {
    this.asked.push(`state ${at ?? 'now'}`);
    if (this.fails !== '') throw new ApiError(401, this.fails);
    await Promise.resolve();
    signal?.throwIfAborted();
    const events = this.until(at);
    const agents = events.filter(({ kind }) => kind === 'agent.created').map((one) => agent(one.agent));
    return { seq: events.at(-1)?.seq ?? 0, last_seq: this.log_.at(-1)?.seq ?? 0, event: events.at(-1) ?? null, project: 'shop', problem: '', agents, spent, budget: {}, unread: 0, roles: [] };
  }
  messages(at?: number): Promise<Message[]> {
    this.asked.push(`messages ${at ?? 'now'}`);
    return Promise.resolve([]);
  }
  plan(at?: number): Promise<Plan> {
    const events = this.until(at);
    return Promise.resolve({ seq: events.at(-1)?.seq ?? 0, events: events.filter(({ kind }) => /^(run|task)\./.test(kind)) });
  }
  log(at?: number): Promise<LoggedEvent[]> {
    return Promise.resolve(this.until(at).slice(-300));
  }
  events(after: number, listener: FeedListener): () => void {
    this.from = after;
    this.listener = listener;
    return () => (this.listener = undefined);
  }
  happen(one: LoggedEvent): void {
    this.log_.push(one);
    this.listener?.event(one);
  }
}
const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
async function opened(): Promise<{ api: Scripted; world: World }> {
  next = 0;
  const api = new Scripted();
  api.log_ = [event('agent.created', {}, 'ann'), event('run.started', { run: 'r', tasks: [planned('a')] }), event('agent.created', {}, 'bob')];
  const world = new World(api, () => undefined, { refresh: 0, seek: 0 });
  await world.open();
  return { api, world };
}

test('what happens is shown, and folded once however often it comes', async () => {
  const { api, world } = await opened();
  assert.equal(api.from, 3);
  assert.equal(world.shown?.runs[0]?.tasks.length, 1);
  api.happen(event('task.added', { run: 'r', task: planned('b') }));
  api.listener?.event(api.log_[3] as LoggedEvent);
  api.listener?.event(api.log_[1] as LoggedEvent);
  api.happen(event('agent.created', {}, 'cleo'));
  await soon();
  await soon();
  assert.deepEqual(world.shown?.runs.map(({ tasks }) => tasks.length), [2]);
  assert.deepEqual(world.shown?.log.map(({ seq }) => seq), [1, 2, 3, 4, 5]);
  assert.deepEqual(world.shown?.state.agents.map(({ name }) => name), ['ann', 'bob', 'cleo']);
  assert.equal(world.last, 5);
  // Texts are asked for again when somebody wrote or read, and not for every event.
  const asked = (): number => api.asked.filter((one) => one === 'messages now').length;
  assert.equal(asked(), 1);
  api.happen(event('message.consumed', { numbers: [1] }, 'ann'));
  await soon();
  await soon();
  assert.equal(asked(), 2);
});

test('any moment of the past is shown as it was, and asked for once', async () => {
  const { api, world } = await opened();
  world.go(1);
  assert.equal(world.arriving, true);
  await soon();
  await soon();
  assert.equal(world.arriving, false);
  assert.deepEqual(world.shown?.state.agents.map(({ name }) => name), ['ann']);
  assert.deepEqual([world.shown?.past, world.shown?.runs.length, world.shown?.log.length], [true, 0, 1]);
  api.happen(event('agent.created', {}, 'cleo')); // meanwhile
  await soon();
  assert.deepEqual(world.shown?.state.agents.map(({ name }) => name), ['ann']);
  world.go(undefined);
  assert.equal(world.shown?.past, false);
  assert.equal(world.shown?.state.agents.length, 3);
  world.go(1);
  assert.equal(world.shown?.past, true);
  assert.equal(api.asked.filter((one) => one === 'state 1').length, 1);
  world.go(4); // the last: now
  assert.equal(world.moment, undefined);
  world.go(-5);
  assert.equal(world.moment, 0);
});

test('a slider that is drawn along asks for where it stops', async () => {
  const { api, world } = await opened();
  world.go(2);
  world.go(1);
  world.go(0);
  await soon();
  await soon();
  assert.deepEqual(api.asked.filter((one) => !one.endsWith('now')), ['state 0', 'messages 0']);
  assert.equal(world.shown?.state.agents.length, 0);
});

test('a server that has gone, or knows us no more, is said, and forgotten when it is back', async () => {
  const { api, world } = await opened();
  api.listener?.connected(true);
  api.fails = 'This page is locked.';
  api.listener?.connected(false);
  await soon();
  await soon();
  assert.equal(world.problem, 'This page is locked.');
  assert.equal(world.shown?.state.agents.length, 2); // what is known stays
  api.fails = '';
  api.listener?.behind();
  await soon();
  assert.equal(world.problem, '');
});

test('a server that goes before its feed was open is said as well, and forgotten when the feed is open', async () => {
  const { api, world } = await opened();
  api.fails = 'The server does not answer.';
  api.listener?.connected(false);
  await soon();
  await soon();
  assert.equal(world.problem, 'The server does not answer.');
  api.fails = '';
  api.listener?.connected(true);
  await soon();
  await soon();
  assert.equal(world.problem, '');
});
