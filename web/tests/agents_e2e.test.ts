// The agents' page in a browser, as the program sends it: with a log that was written for it, and, where a container engine can run,
// with an agent. ONSIGHT_BUILD is the folder of the programs.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { chromium, type Browser, type BrowserContext, type Locator, type Page } from 'playwright-core';
import { EngineProcess, Room, type StoryEvent } from './agents_room';
import { axeFindings, findChromium } from './browser';

const build = process.env['ONSIGHT_BUILD'] ?? '../build';
const shots = process.env['ONSIGHT_SCREENSHOTS'] ?? join('tests', 'screenshots');
const attack = '<img src=x onerror="document.title=\'owned\'"><b>bold</b>';

// No engine is asked what became of agents that are in the log alone.
const config = `
[runtime]
engine = "docker"
socket = "/nowhere/engine.sock"

[budget.fleet]
usd = 20.0

[roles.coder]
harness = "generic"
command = ["sh"]
may_message = ["human", "coder", "reviewer"]
budget = { usd = 5.0, tokens = 400000, time = "2h" }

[roles.reviewer]
harness = "generic"
command = ["sh"]
`;

const made = (agent: string, role: string, task: string): StoryEvent => ({ actor: 'human', agent, kind: 'agent.created', body: { role, harness: 'generic', branch: `agents/${agent}`, task, base: '1'.repeat(40), image: 'i', placeholder: 'onsight-hidden' } });
const phase = (agent: string, to: string, more: Record<string, unknown> = {}): StoryEvent => ({ actor: 'supervisor', agent, kind: 'agent.phase', body: { phase: to, ...more } });
const up = (agent: string): StoryEvent[] => [phase(agent, 'provisioning'), phase(agent, 'starting', { generation: 1 }), phase(agent, 'running', { container: 'c' })];
const active = (agent: string, activity: string, detail?: string): StoryEvent => ({ actor: agent, agent, kind: 'agent.activity', body: detail === undefined ? { activity } : { activity, detail } });
let messages = 0;
const says = (from: string, to: string, text: string, kind = 'message'): StoryEvent => ({ actor: from, agent: to, kind: 'message.queued', body: { id: `m${++messages}`, to, kind, text, hops: 0 } });
const spends = (agent: string, request: string, microUsd: number, tokens: number): StoryEvent[] => [
  { actor: 'broker', agent, kind: 'spend.reserved', body: { request, provider: 'anthropic', model: 'm', micro_usd: microUsd * 2, tokens: tokens * 2 } },
  { actor: 'broker', agent, kind: 'spend.settled', body: { request, micro_usd: microUsd, tokens_in: tokens, tokens_out: Math.round(tokens / 8), status: 200 } }];
const planned = (name: string, role: string, prompt: string, ...waits: string[]): Record<string, unknown> => ({ name, role, prompt, after: waits, checks: [['make', 'test']] });
const task = (name: string, state: string, attempt: number, agent = ''): StoryEvent => ({ actor: 'orchestrator', kind: 'task.state', body: { run: 'r1', task: name, state, attempt, ...(agent === '' ? {} : { agent }) } });

const story: StoryEvent[] = [
  { actor: 'orchestrator', kind: 'run.started', body: { run: 'r1', goal: 'Add dark mode to the shop', branch: 'main', base: '1'.repeat(40), limits: { agents: 3, attempts: 2, micro_usd: 20e6 }, tasks: [
    planned('tokens', 'coder', 'Put every colour of the shop into variables.'),
    planned('switch', 'coder', 'A switch in the header that remembers its place.', 'tokens'),
    planned('pictures', 'coder', 'Pictures that can be seen on dark ground.', 'tokens'),
    planned('review', 'reviewer', 'Look at all of it in both modes.', 'switch', 'pictures'),
    planned('notes', 'coder', 'Tell of it in the release notes.')] } },
  made('ann', 'coder', 'Put every colour of the shop into variables.\nThen look at the header.'), ...up('ann'), task('tokens', 'working', 1, 'ann'), active('ann', 'thinking'),
  ...spends('ann', 'q1', 840000, 120000),
  made('bob', 'coder', 'Pictures that can be seen on dark ground.'), ...up('bob'),
  says('ann', 'bob', 'The colours are in src/theme.css now.'),
  { actor: 'supervisor', agent: 'bob', kind: 'message.delivered', body: { numbers: [1] } },
  { actor: 'bob', agent: 'bob', kind: 'message.consumed', body: { numbers: [1] } },
  task('tokens', 'checking', 1, 'ann'), task('tokens', 'merging', 1, 'ann'), task('tokens', 'done', 1, 'ann'),
  { actor: 'ann', agent: 'ann', kind: 'task.proposed', body: { tasks: [planned('fonts', 'coder', 'Thin letters are hard to read on dark ground.', 'tokens')] } },
  { actor: 'orchestrator', kind: 'task.added', body: { run: 'r1', task: planned('fonts', 'coder', 'Thin letters are hard to read on dark ground.', 'tokens'), by: 'ann' } },
  task('switch', 'working', 2, 'ann'), task('pictures', 'working', 1, 'bob'), active('bob', 'blocked', 'asks about the logo'),
  says('bob', 'human', `May I change the logo? ${attack}`, 'question'),
  { actor: 'broker', agent: 'bob', kind: 'egress.refused', body: { host: 'pictures.example.org', method: 'GET', path: '/logo.svg', reason: 'not_allowed' } },
  ...spends('bob', 'q2', 4300000, 90000), ...spends('ann', 'q3', 1250000, 150000),
  made('cleo', 'reviewer', ''), ...up('cleo'),
  { actor: 'human', agent: 'cleo', kind: 'agent.wanted', body: { wanted: 'stopped' } },
  { actor: 'supervisor', agent: 'cleo', kind: 'work.collected', body: { commit: '2'.repeat(40), ahead: 1 } },
  phase('cleo', 'stopping'), phase('cleo', 'stopped', { exit_code: 0 }),
  { actor: 'human', kind: 'note', body: { text: attack } },
];

let browser: Browser;
let context: BrowserContext | undefined;
let page: Page;
let room: Room;
const problems: string[] = [];

/** A fresh browser profile at the room's page; all that leaves its origin, and each error of the console, is a failure. */
async function open(at: Room, hash = '', options: Parameters<Browser['newContext']>[0] = {}): Promise<void> {
  await context?.close();
  const origin = new URL(at.url).origin;
  context = await browser.newContext({ viewport: { width: 1280, height: 840 }, colorScheme: 'light', ...options });
  context.setDefaultTimeout(90000); // a busy machine is slow, and right all the same
  await context.route('**/*', (route) => {
    if (route.request().url().startsWith(`${origin}/`)) return route.continue();
    problems.push(`a request to ${route.request().url()}`);
    return route.abort();
  });
  page = await context.newPage();
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    // The browser itself reports each failed fetch; those are provoked here.
    if (message.type() === 'error' && !/^Failed to load resource/.test(message.text())) problems.push(message.text());
  });
  await page.goto(`${at.url}${hash}`);
  await page.locator('.people').getByText('Everyone').waitFor({ state: 'attached' });
}

const button = (name: string | RegExp): Locator => page.getByRole('button', { name, exact: typeof name === 'string' });
const tab = (name: string): Locator => page.getByRole('tab', { name });
const person = (name: string): Locator => page.getByRole('navigation', { name: 'Agents' }).getByRole('button', { name: new RegExp(`^${name}`) });
const slider = (): Locator => page.getByRole('slider', { name: 'Moment of the log' });
async function moveTo(seq: number): Promise<void> {
  await slider().fill(String(seq));
  await page.getByText('This is the past.').waitFor();
}

async function shot(name: string): Promise<void> {
  await page.mouse.move(0, 0);
  mkdirSync(shots, { recursive: true });
  await page.waitForTimeout(200);
  await page.screenshot({ path: join(shots, `agents-${name}.png`), animations: 'disabled', caret: 'hide' });
}
async function isNoWiderThanItsWindow(where: string): Promise<void> {
  const [width, most] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(width !== undefined && most !== undefined && width <= most, `${where}: ${width} of ${most} pixels`);
}

before(async () => {
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] });
  room = new Room(build, config);
  room.happen(...story);
  room.terminal('cleo', 1, 'Reviewing \x1b[1;32msrc/theme.css\x1b[0m\r\n\r\n  3 colours are not in variables\r\n  \x1b[31m#ff0000\x1b[0m in header.css\r\n$ ');
  await room.serve();
});
after(async () => {
  await browser?.close();
  await room?.end();
});
afterEach(() => assert.deepEqual(problems.splice(0), []));

test('the page opens to its address with the token, and to nothing else', async () => {
  const { origin } = new URL(room.url);
  const locked = await (await fetch(`${origin}/`)).text();
  assert.equal(locked, 'expected the address that `onsight agents serve` printed, with its token\n');
  assert.equal((await fetch(`${origin}/api/state`)).status, 401);
  await open(room);
  assert.equal(page.url(), `${origin}/`); // the token is in no address bar
  const cookies = await context?.cookies();
  assert.deepEqual(cookies?.map(({ httpOnly, sameSite }) => [httpOnly, sameSite]), [[true, 'Strict']]);
  await page.reload();
  await page.getByRole('cell', { name: /5\.00/ }).first().waitFor();
  assert.equal(await page.title(), '(1) shop · onsight agents');
});

test('everyone is shown with what they do and spend, in light and dark, wide and narrow', async () => {
  await open(room);
  const ann = page.getByRole('row', { name: /^ann/ });
  await ann.getByText('$2.09 of $5.00').waitFor();
  await ann.getByText('thinking').waitFor();
  await page.getByRole('row', { name: /^bob/ }).getByText('$4.30 of $5.00').waitFor();
  await page.getByRole('row', { name: /^cleo/ }).getByText('to merge').waitFor();
  await page.locator('.header').getByText('$6.39 of $20.00').waitFor();
  await shot('overview');
  assert.deepEqual(await axeFindings(page), [], 'overview');
  await button(/^Appearance: system/).click();
  await button(/^Appearance: light/).click();
  await shot('overview-dark');
  assert.deepEqual(await axeFindings(page), [], 'overview, dark');
  await open(room, '', { viewport: { width: 360, height: 780 } });
  await page.getByRole('row', { name: /^cleo/ }).waitFor();
  await isNoWiderThanItsWindow('overview');
  await shot('overview-phone');
  assert.deepEqual(await axeFindings(page), [], 'overview, phone');
  await button('Agents').click();
  await person('bob').waitFor();
  await shot('drawer-phone');
  await person('bob').click();
  await page.getByRole('heading', { name: 'bob' }).waitFor();
  await tab('About').click();
  await isNoWiderThanItsWindow('about');
  await shot('about-phone');
});

test('what an agent wrote is text', async () => {
  await open(room, '#messages');
  await page.getByRole('listitem').filter({ hasText: 'May I change the logo?' }).getByText(attack).waitFor();
  await tab('Log').click();
  await page.getByRole('button', { name: new RegExp('bold') }).first().waitFor();
  assert.equal(await page.locator('#stage img, #stage b').count(), 0);
  assert.notEqual(await page.title(), 'owned');
  assert.ok(!(await page.content()).includes('onsight-hidden'));
});

test('a task is chosen in the graph by keyboard, and leads to its agent', async () => {
  await open(room, '#tasks');
  await page.getByRole('heading', { name: 'Add dark mode to the shop' }).waitFor();
  await page.getByText('1 of 6 tasks done').waitFor();
  const node = page.getByRole('button', { name: 'Task switch, working, attempt 2, agent ann, after tokens' });
  await node.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'switch' }).waitFor();
  await page.getByText('A switch in the header that remembers its place.').waitFor();
  assert.equal(await node.getAttribute('aria-pressed'), 'true');
  assert.equal(await node.evaluate((element) => element === document.activeElement), true);
  await shot('tasks');
  assert.deepEqual(await axeFindings(page), [], 'tasks');
  await page.setViewportSize({ width: 390, height: 844 });
  await isNoWiderThanItsWindow('tasks');
  await shot('tasks-phone');
  await page.locator('.task-about').getByRole('button', { name: 'ann' }).click();
  await page.getByRole('heading', { name: 'ann' }).waitFor();
});

test('messages are written and answered, with their receipts', async () => {
  await open(room, '#messages');
  const first = page.getByRole('listitem').filter({ hasText: 'The colours are in src/theme.css now.' });
  await first.getByLabel('Receipt: consumed').waitFor();
  await shot('messages');
  assert.deepEqual(await axeFindings(page), [], 'messages');
  await button('Answer message 2').click();
  await page.getByText('Answers #2 of bob').waitFor();
  await page.getByRole('textbox', { name: 'Message' }).fill('Yes, as long as it stays <green>.');
  await page.keyboard.press('Enter');
  await page.getByRole('listitem').filter({ hasText: 'Yes, as long as it stays <green>.' }).getByLabel('Receipt: queued').waitFor();
  await page.getByRole('listitem').filter({ hasText: 'May I change the logo?' }).getByLabel('Receipt: answered').waitFor();
  room.happen(says('bob', 'human', 'Thank you.'));
  await page.getByText('Thank you.').waitFor();
  await button('Mark all as read').click();
  await page.getByRole('listitem').filter({ hasText: 'Thank you.' }).getByLabel('Receipt: consumed').waitFor();
  // One agent's own.
  await person('cleo').click();
  await tab('Messages').click();
  await page.getByText('No messages to or from cleo yet.').waitFor();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(`${new URL(room.url).origin}/#agents/bob/messages`);
  await page.getByText('Thank you.').waitFor();
  await isNoWiderThanItsWindow('messages');
  await shot('messages-phone');
});

test('what happens is shown as it happens, and the focus stays where it is', async () => {
  await open(room);
  await person('bob').focus();
  room.happen(active('bob', 'waiting'), made('dora', 'coder', 'x'), task('fonts', 'working', 1, 'dora'));
  await person('dora').waitFor();
  await person('bob').getByText('waiting').waitFor();
  assert.equal(await person('bob').evaluate((element) => element === document.activeElement), true);
  await tab('Tasks').click();
  await page.getByRole('button', { name: /^Task fonts, working/ }).waitFor();
});

test('any moment can be gone back to, and nothing is done there', async () => {
  await open(room);
  await person('cleo').waitFor();
  await moveTo(8); // ann thinks, and nobody else is there
  await person('bob').waitFor({ state: 'detached' });
  await page.getByRole('row', { name: /^ann/ }).getByText('$0.00 of $5.00').waitFor();
  assert.equal(await button('Start an agent').isDisabled(), true);
  await shot('past');
  assert.deepEqual(await axeFindings(page), [], 'past');
  await person('ann').click();
  await page.getByText('The log holds no terminals').waitFor();
  for (const name of ['Stop', 'Merge', 'Remove']) assert.equal(await button(name).isDisabled(), true, name);
  await tab('Messages').click();
  await page.getByText('Nobody had written yet.').waitFor();
  assert.equal(await page.getByRole('textbox', { name: 'Message' }).isVisible(), false);
  await person('Everyone').click();
  await tab('Tasks').click();
  await page.getByText('0 of 5 tasks done').waitFor();
  await page.getByRole('button', { name: /^Task tokens, working/ }).waitFor();
  await moveTo(6);
  await button('One event back').click();
  await page.getByRole('button', { name: /^Task tokens, waiting/ }).waitFor();
  await button('Back to now').click();
  await page.getByText('1 of 6 tasks done').waitFor();
  // From the log, and by keys.
  await tab('Log').click();
  await shot('log');
  await page.getByRole('button', { name: /bob is created as coder/ }).click();
  await page.getByText('This is the past.').waitFor();
  await person('cleo').waitFor({ state: 'detached' });
  await slider().press('End');
  await person('cleo').waitFor();
});

test('a terminal that has ended shows what it showed last', async () => {
  await open(room, '#agents/cleo/terminal');
  await page.getByText('3 colours are not in variables').waitFor();
  await page.getByText('cleo is stopped.').waitFor();
  await shot('terminal-ended');
  assert.deepEqual(await axeFindings(page), [], 'terminal');
  await tab('Changes').click();
  await page.getByRole('status').filter({ hasText: /cleo/i }).waitFor();
  await shot('changes-none');
});

test('what the server refuses is said', async () => {
  await open(room);
  await button('Start an agent').click();
  await page.getByLabel('Name').fill('ann');
  await button('Start').click();
  await page.getByRole('alert').filter({ hasText: /\S/ }).waitFor();
  await shot('start');
  assert.deepEqual(await axeFindings(page), [], 'start');
  await page.keyboard.press('Escape');
  room.configure('[roles.coder');
  room.happen({ actor: 'human', kind: 'note', body: { text: 'the configuration has changed' } });
  await page.locator('.warning').filter({ hasText: 'agents.toml' }).waitFor();
  room.configure(config);
  room.happen({ actor: 'human', kind: 'note', body: { text: 'the configuration is right again' } });
  await page.locator('.warning').waitFor({ state: 'detached' });
});

test('an agent is started, typed to, looked at, merged, stopped and removed', async (t) => {
  const engine = new EngineProcess();
  await engine.start(process.env['ONSIGHT_ENGINE'] ?? 'docker', build); // or podman
  if (engine.missing !== '' && process.env['ONSIGHT_REQUIRE_ENGINE'] !== '1') return t.skip(engine.missing);
  assert.equal(engine.missing, '');
  const real = new Room(build, `[runtime]\nsocket = "${engine.socket}"\n[roles.shell]\nharness = "generic"\ncommand = ["sh"]\nlimits = { memory = "256MiB", pids = 64, tmp = "32MiB" }\n`);
  try {
    await real.serve();
    await open(real);
    await page.getByRole('heading', { name: 'No agents yet' }).waitFor();
    await button('Start an agent').first().click();
    await page.getByLabel('Name').fill('box');
    await button('Start').click();
    await page.locator('.agent-head .doing').filter({ hasText: 'running' }).waitFor();
    await tab('Terminal').click();
    await page.getByText('What you type goes to the agent.').waitFor();
    await page.locator('.terminal-screen').click();
    await page.keyboard.type('printf "ONE\\ntwo\\nthree\\nfour\\n" > a.txt; echo caf\u00e9 > b.txt; git add -A; git commit -qm "Change it"; echo done=$((6*7))\n');
    await page.getByText('done=42').waitFor();
    await shot('terminal');
    assert.deepEqual(await axeFindings(page), [], 'terminal');
    await page.keyboard.press('Control+]');
    assert.equal(await tab('Terminal').evaluate((element) => element === document.activeElement), true);
    // Whoever kills the supervisor costs nobody a terminal.
    real.kill('supervise');
    await page.getByText('What you type goes to the agent.').waitFor({ state: 'detached' });
    await page.getByText('What you type goes to the agent.').waitFor();
    await page.locator('.terminal-screen').click();
    await page.keyboard.type('echo again=$((6*8))\n');
    await page.getByText('again=48').waitFor();
    // It is as wide as its window.
    await page.setViewportSize({ width: 390, height: 844 });
    await page.locator('.terminal-screen').click();
    await page.keyboard.type('clear; stty size | tr " " x; echo sized\n');
    await page.getByText('sized', { exact: true }).waitFor();
    await isNoWiderThanItsWindow('terminal');
    await shot('terminal-phone');
    await page.setViewportSize({ width: 1280, height: 840 });
    await tab('Changes').click();
    await page.getByText('2 files changed, 3 lines added, 1 removed').waitFor();
    await page.getByRole('cell', { name: 'café' }).waitFor();
    await shot('changes');
    assert.deepEqual(await axeFindings(page), [], 'changes');
    await page.setViewportSize({ width: 390, height: 844 });
    await isNoWiderThanItsWindow('changes');
    await shot('changes-phone');
    await page.setViewportSize({ width: 1280, height: 840 });
    await button('Merge').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Merge' }).click();
    await page.getByRole('heading', { name: 'box is merged' }).waitFor();
    await button('Close').click();
    assert.equal(readFileSync(join(real.repository, 'b.txt'), 'utf8'), 'café\n');
    await button('Stop').click();
    await button('Resume').waitFor();
    await tab('Terminal').click();
    await page.getByText('This is what its terminal showed last.').waitFor();
    await button('Resume').click();
    await page.locator('.agent-head .doing').filter({ hasText: 'running' }).waitFor();
    await button('Remove').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await person('box').waitFor({ state: 'detached' });
    // It was here, and can be gone back to.
    await slider().press('ArrowLeft');
    await person('box').waitFor();
    assert.equal(await real.stop(), 0);
  } finally {
    await context?.close();
    context = undefined;
    await real.end();
    await engine.stop();
  }
});

test('the server ends when it is told to, while a page is open', async () => {
  await open(room);
  assert.equal(await room.stop(), 0);
  await page.getByText('The server does not answer.').waitFor();
  problems.splice(0); // of the streams that ended
});
