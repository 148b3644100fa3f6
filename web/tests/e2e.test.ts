// The page in a browser, against the mock server; with ONSIGHT_URL=http://… against that one, and with ONSIGHT_BUILD=folder against the
// programs that are built there, both without what only the mock can do.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium, type Browser, type BrowserContext, type Locator, type Page, type Response } from 'playwright-core';
import { axeFindings, findChromium } from './browser';
import { longAnswer, Mock } from './mock';
import { Program } from './program';

const build = process.env['ONSIGHT_BUILD'];
const given = process.env['ONSIGHT_URL']?.replace(/\/$/, '');
const real = build ?? given;
const mockOnly = { skip: real !== undefined && 'only the mock can do this' };
const slowOnly = { skip: build === undefined && given !== undefined && 'only the mock and a scripted model are slow enough' };
const shots = process.env['ONSIGHT_SCREENSHOTS'] ?? join('tests', 'screenshots');
const example = (name: string): Buffer => readFileSync(join('..', 'examples', name));
const answerLimit = 120000;

const mock = new Mock(join('dist', 'index.html'));
// The model that ships, and one that takes its time.
const shipped = new Program();
const scripted = new Program();
let browser: Browser;
let context: BrowserContext;
let page: Page;
let base = '';
const problems: string[] = [];

/** A fresh browser profile; everything that leaves the server's origin, and everything that the console calls an error, is a failure. */
async function open(options: Parameters<Browser['newContext']>[0] = {}, at = base): Promise<Response> {
  await context?.close();
  context = await browser.newContext({ viewport: { width: 1280, height: 840 }, colorScheme: 'light', ...options });
  context.setDefaultTimeout(90000); // a busy machine is slow, and right all the same
  await context.route('**/*', (route) => {
    const url = route.request().url();
    if (url.startsWith(`${at}/`)) return route.continue();
    problems.push(`a request to ${url}`);
    return route.abort();
  });
  page = await context.newPage();
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    // The browser itself reports each failed fetch; those are provoked here.
    if (message.type() === 'error' && !/^Failed to load resource/.test(message.text())) problems.push(message.text());
  });
  const response = await page.goto(`${at}/`);
  await page.getByLabel('Your question').waitFor();
  await page.locator('.dot.ready, dialog[open]').first().waitFor();
  assert.ok(response);
  return response;
}

const field = (): Locator => page.getByLabel('Your question');
const button = (name: string | RegExp): Locator => page.getByRole('button', { name, exact: typeof name === 'string' });
const lastTurn = (): Locator => page.locator('.turn').last();
const prose = (): Locator => lastTurn().locator('.prose');
const tray = (): Locator => page.getByRole('list', { name: 'Pictures to send' }).getByRole('listitem');

async function shot(name: string): Promise<void> {
  await page.mouse.move(0, 0);
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `web-${name}.png`), animations: 'disabled', caret: 'hide' });
}

interface GivenFile {
  name: string;
  type: string;
  bytes: Buffer;
}
/** What a drop or a paste of files is to a page. */
async function give(kind: 'drop' | 'paste', ...files: GivenFile[]): Promise<void> {
  await page.evaluate(({ kind: what, list }) => {
    const transfer = new DataTransfer();
    for (const { name, type, base64 } of list) {
      transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { type }));
    }
    if (what === 'paste') {
      document.activeElement?.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true }));
      return;
    }
    for (const name of ['dragover', 'drop']) document.body.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, { kind, list: files.map(({ name, type, bytes }) => ({ name, type, base64: bytes.toString('base64') })) });
}
const receipt = (): GivenFile => ({ name: 'receipt.jpg', type: 'image/jpeg', bytes: example('receipt.jpg') });
const screenshot = (): GivenFile => ({ name: 'screenshot.png', type: 'image/png', bytes: example('screenshot.png') });

async function ask(question: string): Promise<void> {
  await field().fill(question);
  await field().press('Enter');
}
async function answered(): Promise<void> {
  await page.locator('.turn').last().locator('.answer[aria-busy="false"]').waitFor({ timeout: answerLimit });
}
async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1200; ++i) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(what);
}

async function accessible(where: string): Promise<void> {
  assert.deepEqual(await axeFindings(page), [], where);
}

before(async () => {
  if (build !== undefined) {
    await shipped.start(join(build, 'onsight'));
    // Two seconds before the first word, then ten lines in each, for longer than a test waits.
    await scripted.start(join(build, 'onsight_scripted'), ['--model', '.'], {
      ONSIGHT_SCRIPT: JSON.stringify({ pieces: longAnswer.split(/(?<=\n)/), repeat: 20, delay_ms: 100, tiles: 20 }),
    });
  } else if (given === undefined) {
    await mock.start(0);
  }
  base = build !== undefined ? shipped.url : given ?? mock.url;
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox', '--headless=new', '--disable-gpu'] });
});
after(async () => {
  await browser?.close();
  await mock.stop();
  shipped.stop();
  scripted.stop();
});
beforeEach(() => {
  mock.troubles.length = 0;
  mock.asked.length = 0;
  mock.holdAt = undefined;
  problems.length = 0;
});

// No request to another origin, no error in the page, no violation of the policy: in any test.
afterEach(() => assert.deepEqual(problems, []));

test('a picture is dropped, the answer streams, it is asked again', async () => {
  await open();
  await give('drop', receipt());
  await tray().first().waitFor();
  assert.equal(await tray().count(), 1);
  mock.holdAt = 0;
  await ask('Read the text.');
  if (real === undefined) {
    await lastTurn().getByText('Reading the picture…').waitFor();
    mock.holdAt = 4;
    await prose().getByText('Milk').waitFor();
    assert.doesNotMatch(await prose().innerText(), /Total/);
    mock.holdAt = undefined;
  }
  await answered();
  assert.notEqual(await prose().innerText(), '');
  assert.equal(await tray().count(), 0);
  const figures = await lastTurn().locator('.figures').innerText();
  for (const label of ['First token', 'Answer', 'Prompt', 'Total']) assert.ok(figures.includes(label), figures);
  if (real === undefined) {
    assert.equal(await prose().innerText(), 'Bread 2.45\nMilk 1.29\nCoffee 6.80\nTotal 10.54');
    assert.match(figures, /Prompt\s*170 tokens/);
    assert.match(figures, /Speed\s*\d+ tokens\/s/);
    const [asked] = mock.asked;
    assert.equal(asked?.stream, true);
    assert.deepEqual(asked?.stream_options, { include_usage: true });
    assert.equal(asked?.temperature, 0);
    const content = asked?.messages[0]?.content;
    assert.ok(Array.isArray(content) && content[1]?.text === 'Read the text.');
    // The very bytes that were given, in base64.
    assert.equal(content[0]?.image_url?.url, `data:image/jpeg;base64,${example('receipt.jpg').toString('base64')}`);
  }
  const first = await prose().innerText();
  await button('Regenerate').click();
  await answered();
  assert.equal(await prose().innerText(), first); // temperature 0
  assert.equal(await page.locator('.turn').count(), 1);
});

test('the conversation goes on with what was said', async () => {
  await ask('Which line is the most expensive?');
  await answered();
  assert.equal(await page.locator('.turn').count(), 2);
  if (real === undefined) assert.deepEqual(mock.asked.at(-1)?.messages.map(({ role }) => role), ['user', 'assistant', 'user']);
});

test('the question is edited, and what followed it goes', async () => {
  await page.locator('.turn').first().hover();
  await page.locator('.turn').first().getByRole('button', { name: 'Edit the question' }).click();
  await page.getByLabel('The question', { exact: true }).fill('What is the total?');
  await page.getByLabel('The question', { exact: true }).press('Enter');
  await answered();
  assert.equal(await page.locator('.turn').count(), 1);
  assert.equal(await page.locator('.bubble').innerText(), 'What is the total?');
  if (real === undefined) assert.equal(await prose().innerText(), '10.54');
});

test('history survives a reload, is renamed, deleted, and comes back', async () => {
  await page.reload();
  const nav = page.getByRole('navigation', { name: 'Conversations' });
  await nav.locator('.history-open').first().click();
  await lastTurn().locator('.question img').waitFor();
  assert.equal(await page.locator('.question img').evaluate((image) => (image as HTMLImageElement).naturalWidth > 0), true);
  assert.notEqual(await prose().innerText(), '');
  assert.ok((await lastTurn().locator('.figures').innerText()).includes('First token'));
  await nav.getByRole('button', { name: /^Rename/ }).click();
  await page.getByLabel('Name of the conversation').fill('My receipt');
  await page.getByLabel('Name of the conversation').press('Enter');
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'My receipt');
  await page.reload();
  await nav.getByText('My receipt').waitFor();
  await nav.locator('li').first().hover();
  await nav.getByRole('button', { name: /^Delete “/ }).click();
  await page.locator('.toast').hover(); // so that it stays
  assert.ok((await page.locator('.toast').innerText()).includes('“My receipt” is deleted.'));
  assert.equal(await nav.locator('.history-open').count(), 0);
  await button('Undo').click();
  await nav.getByText('My receipt').waitFor();
  await lastTurn().locator('.question img').waitFor();
  await button('New conversation').click();
  await page.getByRole('heading', { name: 'Ask a picture' }).waitFor();
  await button('Delete all').first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete all' }).click();
  await nav.getByText('Your conversations will be listed here.').waitFor();
  await page.reload();
  await nav.getByText('Your conversations will be listed here.').waitFor();
});

test('the stop button and Esc end the answer, and the server sees it', slowOnly, async () => {
  await open({}, build !== undefined ? scripted.url : base);
  mock.abandoned = 0;
  mock.holdAt = 30;
  await ask('A long answer');
  await prose().getByText('Line 2 of').waitFor();
  await button('Stop').click();
  await answered();
  assert.equal(await lastTurn().locator('.note').innerText(), 'Stopped.');
  assert.doesNotMatch(await prose().innerText(), /Line 60/);
  await eventually('the server saw nobody leave', async () => (build !== undefined ? (await scripted.active()) === 0 : mock.abandoned === 1));
  await eventually('the focus is lost', () => field().evaluate((element) => element === document.activeElement));
  mock.holdAt = 0;
  await ask('A long answer again');
  await page.getByText('Reading the question…').waitFor();
  await page.keyboard.press('Escape');
  await page.getByText('Stopped before the first word.').waitFor();
  mock.holdAt = 30;
  await button('Regenerate').last().click();
  await prose().getByText('Line 2 of').waitFor();
  await button('Stop').click();
  await answered();
});

test('an earlier question is asked again while a later answer runs', mockOnly, async () => {
  await open();
  await ask('What is the total?');
  await answered();
  mock.holdAt = 30;
  await ask('A long answer');
  await prose().getByText('Line 1 of').waitFor();
  mock.holdAt = 0;
  await page.locator('.turn').first().getByRole('button', { name: 'Regenerate' }).click();
  await eventually('only one turn is left', async () => (await page.locator('.turn').count()) === 1);
  await button('Stop').waitFor();
  mock.holdAt = undefined;
  await answered();
  assert.equal(await prose().innerText(), '10.54');
  await button('Send').waitFor();
});

test('an answer goes on while another conversation is read', mockOnly, async () => {
  await open();
  mock.holdAt = 30;
  await ask('Another long answer');
  await prose().getByText('Line 1 of').waitFor();
  await button('New conversation').click();
  await page.getByRole('heading', { name: 'Ask a picture' }).waitFor();
  await page.getByRole('img', { name: 'Answering' }).waitFor();
  mock.holdAt = undefined;
  await page.getByRole('img', { name: 'Answering' }).waitFor({ state: 'detached' });
  await page.locator('.history-open').first().click();
  assert.match(await prose().innerText(), /Line 60/);
});

test('a picture is pasted and removed, and several are sent in order', async () => {
  await open();
  await field().focus();
  await give('paste', { ...screenshot(), name: 'image.png' });
  await tray().first().waitFor();
  await button('Remove image.png').click();
  assert.equal(await tray().count(), 0);
  await give('paste', screenshot());
  await give('drop', receipt());
  await eventually('two pictures', async () => (await tray().count()) === 2);
  await shot('compose');
  await tray().first().getByRole('button', { name: 'Show screenshot.png' }).click();
  await page.getByRole('dialog', { name: 'Picture screenshot.png' }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.suggestion', { hasText: 'Read the text.' }).click();
  await answered();
  if (real === undefined) {
    const content = mock.asked.at(-1)?.messages[0]?.content;
    assert.ok(Array.isArray(content));
    assert.deepEqual(content.map((part) => part.image_url?.url.slice(0, 15) ?? part.text), ['data:image/png;', 'data:image/jpeg', 'Read the text.']);
  }
});

test('pictures are chosen with the file dialog', async () => {
  await open();
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'), button('Add pictures').click()]);
  await chooser.setFiles([{ name: 'receipt.jpg', mimeType: 'image/jpeg', buffer: example('receipt.jpg') }]);
  await tray().first().waitFor();
});

test('files that are no picture, empty or too large get a sentence', async () => {
  await open();
  await give('drop', { name: 'notes.txt', type: 'image/png', bytes: Buffer.from('hello') }, { name: 'none.png', type: 'image/png', bytes: Buffer.alloc(0) });
  await page.getByText('“notes.txt” is not a picture.').waitFor();
  await page.getByText('“none.png” is empty.').waitFor();
  assert.equal(await tray().count(), 0);
  await page.evaluate(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(64 * 1024 * 1024 + 1)], 'huge.jpg', { type: 'image/jpeg' }));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
  });
  await page.getByText('“huge.jpg” is too large').waitFor();
});

test('a picture that is broken gets the sentence of the server', async () => {
  await open();
  mock.troubles.push({ kind: 'status', status: 400, message: 'messages[0].content[0].image_url.url: not a readable JPEG' });
  await give('drop', { ...receipt(), bytes: receipt().bytes.subarray(0, 300) });
  await tray().first().waitFor();
  await ask('What is the total?');
  await lastTurn().locator('.warning').getByText(/image_url.url: .*JPEG.*\.$/).waitFor();
});

test('a HEIC picture that the browser cannot show is sent as it is', mockOnly, async () => {
  await open();
  const heic = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from('ftypheic\0\0\0\0mif1heic'), Buffer.alloc(200, 7)]);
  await give('drop', { name: 'IMG_0001.HEIC', type: '', bytes: heic });
  await page.getByText('This browser cannot show HEIC pictures, so “IMG_0001.HEIC” has no preview. It is sent as it is.').waitFor();
  await ask('Read the text.');
  await answered();
  const content = mock.asked[0]?.messages[0]?.content;
  assert.ok(Array.isArray(content));
  assert.equal(content[0]?.image_url?.url, `data:image/heic;base64,${heic.toString('base64')}`);
});

test('busy, too large, refused, broken: each has its sentence, and can be tried again', mockOnly, async () => {
  await open();
  mock.troubles.push({ kind: 'status', status: 429, message: 'busy', headers: { 'Retry-After': '600' } });
  await ask('What is the total?');
  await lastTurn().getByText(/The server is busy with other questions\. Try again in \d+ s\./).waitFor();
  const seconds = async (): Promise<number> => Number(/in (\d+) s/.exec(await lastTurn().locator('.warning').innerText())?.[1]);
  const first = await seconds();
  await eventually('the seconds count down', async () => (await seconds()) < first);
  await shot('busy');
  mock.troubles.push({ kind: 'status', status: 429, message: 'busy', headers: { 'Retry-After': '0' } });
  await button('Try again').click();
  await lastTurn().getByText('You can try again now.').waitFor();
  await button('Try again').click();
  await answered();
  assert.equal(await prose().innerText(), '10.54');
  mock.troubles.push({ kind: 'status', status: 413, message: 'the body is larger than 32 MB' });
  await ask('What is the total?');
  await lastTurn().getByText('The pictures are larger than the server takes. Remove one, or use a smaller file. The body is larger than 32 MB.').waitFor();
  mock.troubles.push({ kind: 'status', status: 400, message: 'the context of 2048 tokens is full' });
  await ask('What is the total?');
  await lastTurn().getByText('The context of 2048 tokens is full.').waitFor();
  mock.troubles.push({ kind: 'cut', after: 3 });
  await ask('A long answer');
  await lastTurn().getByText('The connection ended before the answer was whole.').waitFor();
  assert.match(await prose().innerText(), /^Line 1/);
  mock.troubles.push({ kind: 'error-event', after: 3, message: 'out of memory' });
  await ask('A long answer');
  await lastTurn().getByText('Out of memory.').waitFor();
});

test('a server that is gone is said to be gone, and found again', mockOnly, async () => {
  await open();
  await mock.stop();
  await ask('What is the total?');
  await lastTurn().getByText('The server does not answer.').waitFor();
  await page.locator('.banner').getByText('The server does not answer.').waitFor();
  await mock.start();
  await lastTurn().getByRole('button', { name: 'Try again' }).click();
  await answered();
  assert.equal(await prose().innerText(), '10.54');
  await page.locator('.banner .warning').waitFor({ state: 'detached' });
});

test('a server with a key asks for it, and it is forgotten with the tab', mockOnly, async () => {
  mock.apiKey = 'secret';
  try {
    await open();
    await page.getByRole('dialog', { name: 'This server asks for an API key' }).waitFor();
    await accessible('the key dialog');
    await page.getByLabel('API key', { exact: true }).fill('wrong');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'This server asks for an API key' }).waitFor();
    await page.getByLabel('API key', { exact: true }).fill('secret');
    await page.keyboard.press('Enter');
    await page.locator('.dot.ready').waitFor();
    await ask('What is the total?');
    await answered();
    assert.equal(await prose().innerText(), '10.54');
    mock.apiKey = 'changed';
    await ask('What is the total?');
    await page.getByRole('dialog', { name: 'This server asks for an API key' }).waitFor();
    await page.getByLabel('API key', { exact: true }).fill('changed');
    await page.keyboard.press('Enter');
    await answered();
    await eventually('asked again with the new key', async () => (await prose().innerText()) === '10.54');
    assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage }).includes('changed')), false);
    await page.reload();
    await page.locator('.dot.ready').waitFor();
  } finally {
    mock.apiKey = '';
  }
});

test('settings reach the request, and a wrong one is named', async () => {
  await open();
  await button('Settings').click();
  const dialog = page.getByRole('dialog', { name: 'Settings' });
  if (real === undefined) await dialog.getByLabel('Model').selectOption('smolvlm-256m-instruct');
  await dialog.getByLabel('Temperature').fill('5');
  await dialog.getByText('The temperature is a number from 0 to 2.').waitFor();
  await page.keyboard.press('Escape');
  await ask('What is the total?');
  await page.getByRole('alert').getByText('The temperature is a number from 0 to 2.').waitFor();
  assert.equal(await page.locator('.turn').count(), 0);
  await button('Open the settings').click();
  await dialog.getByLabel('Temperature').fill('0.5');
  await dialog.getByLabel('Longest answer').fill('2');
  await dialog.getByLabel('Seed').fill('7');
  await page.keyboard.press('Escape');
  await ask('Read the text.');
  await answered();
  await page.getByText('Cut off: the longest answer was reached.').waitFor();
  if (real === undefined) {
    const asked = mock.asked.at(-1);
    assert.deepEqual([asked?.model, asked?.temperature, asked?.max_tokens, asked?.seed], ['smolvlm-256m-instruct', 0.5, 2, 7]);
  }
  await page.reload();
  await button('Settings').click();
  assert.equal(await dialog.getByLabel('Seed').inputValue(), '7');
});

test('a JSON schema is checked, sent, and kept to', async () => {
  await open();
  await button('Settings').click();
  const dialog = page.getByRole('dialog', { name: 'Settings' });
  await dialog.getByLabel('Answer in JSON').check();
  await dialog.getByLabel('JSON schema').fill('{\n  "type": }');
  await dialog.getByText(/^The schema is not JSON: see line 2/).waitFor();
  await accessible('the settings with something wrong');
  await shot('settings');
  await page.keyboard.press('Escape');
  await ask('What is the total?');
  await page.getByRole('alert').getByText('The schema is not JSON').waitFor();
  await button('Open the settings').click();
  await button('Use an example').click();
  await page.keyboard.press('Escape');
  await button('JSON').waitFor();
  await give('drop', receipt());
  await ask('What is the total?');
  await answered();
  const value: unknown = JSON.parse(await prose().innerText());
  assert.ok(typeof value === 'object' && value !== null && 'total' in value && typeof value.total === 'number');
  if (real === undefined) {
    const format = mock.asked.at(-1)?.response_format;
    assert.equal(format?.type, 'json_schema');
    assert.equal(format?.json_schema.strict, true);
    assert.deepEqual(Object.keys((format?.json_schema.schema as { properties: object }).properties), ['text', 'total']);
  }
});

test('an answer is text: lists, bold and code are shown, HTML is not', mockOnly, async () => {
  await open();
  await ask('Make a list.');
  await answered();
  assert.deepEqual(await prose().locator('li').allInnerTexts(), ['Bread 2.45', 'Milk 1.29', 'Coffee 6.80']);
  // Screen readers hear the answer once, when it is whole.
  await eventually('the answer is announced', async () => (await page.locator('[aria-live="polite"][role="status"].hidden').textContent())?.startsWith('Answer: What the receipt says') === true);
  assert.equal(await prose().locator('strong').innerText(), 'in euros, €');
  assert.equal(await prose().locator('pre').innerText(), 'total = 10.54');
  assert.equal(await prose().locator('img, b').count(), 0);
  assert.ok((await prose().innerText()).includes('<b>not HTML</b> <img src=x'));
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await button('Copy the answer').click();
  await eventually('the copy is announced', async () => (await page.locator('[aria-live="polite"][role="status"].hidden').textContent()) === 'Copied.');
  assert.ok((await page.evaluate(() => navigator.clipboard.readText())).startsWith('What the receipt says — **in euros, €**:\n\n1. Bread'));
});

test('the samples are the pictures of examples/', async () => {
  await open();
  const pixels = (url: string): Promise<string> => page.evaluate(async (source) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const drawing = canvas.getContext('2d');
    drawing?.drawImage(image, 0, 0);
    const hash = await crypto.subtle.digest('SHA-256', drawing?.getImageData(0, 0, canvas.width, canvas.height).data ?? new Uint8Array());
    return `${canvas.width} x ${canvas.height} ${Array.from(new Uint8Array(hash)).join(' ')}`;
  }, url);
  const shown = await page.locator('.sample img').evaluateAll((images) => images.map((image) => (image as HTMLImageElement).src));
  const files = ['receipt.jpg', 'screenshot.png', 'scene.png'];
  assert.equal(shown.length, files.length);
  for (const [i, name] of files.entries()) {
    const type = name.endsWith('.jpg') ? 'image/jpeg' : 'image/png';
    assert.equal(await pixels(shown[i] ?? ''), await pixels(`data:${type};base64,${example(name).toString('base64')}`), name);
  }
  await page.locator('.sample').first().click();
  await answered();
  assert.equal(await page.locator('.bubble').innerText(), 'What is the total?');
  assert.notEqual(await prose().innerText(), '');
});

test('everything is reached with the keyboard, in order, and the focus is seen', async () => {
  await open();
  const toStart = (): Promise<void> => page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute('tabindex');
  });
  await toStart();
  const names: string[] = [];
  for (let i = 0; i < 14; ++i) {
    await page.keyboard.press('Tab');
    const { name, seen } = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const own = getComputedStyle(element);
      const box = element.closest('.composer-box');
      const ring = (own.outlineStyle !== 'none' && parseFloat(own.outlineWidth) >= 2) || (element.matches('textarea') && box !== null && getComputedStyle(box).boxShadow.includes('1px'));
      return { name: element.getAttribute('aria-label') ?? (element.textContent?.trim() || element.outerHTML), seen: ring };
    });
    assert.ok(seen, `the focus on “${name}” cannot be seen`);
    names.push(name);
    if (name === 'Add pictures') break;
  }
  const model = names[2] ?? '';
  assert.match(model, /^Model .*Open the settings$/);
  assert.deepEqual(names, [
    'Skip to the question', 'New conversation', model, 'Appearance: system. Change it', 'Settings', 'Choose pictures',
    'What is the total?', 'Read the text.', 'What colour is the square?', 'Your question', 'Add pictures',
  ]);
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.type('One');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('Two');
  assert.equal(await field().inputValue(), 'One\nTwo');
  await field().fill('What is the total?');
  await page.keyboard.press('Enter');
  await answered();
  // Skip link, settings and back, the list, the theme: no mouse.
  await toStart();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await field().evaluate((element) => element === document.activeElement), true);
  await button('Settings').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Settings' }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await button('Settings').evaluate((element) => element === document.activeElement), true);
  await page.getByRole('button', { name: /^Rename/ }).focus();
  await page.keyboard.press('Enter');
  await page.keyboard.type('Named by keyboard');
  await page.keyboard.press('Enter');
  await eventually('the focus stays in the list', () => page.evaluate(() => (document.activeElement?.getAttribute('aria-label') ?? '') === 'Rename “Named by keyboard”'));
});

for (const scheme of ['light', 'dark'] as const) {
  test(`axe finds nothing: ${scheme}`, async () => {
    await open({ colorScheme: scheme });
    await accessible('empty');
    await give('drop', receipt());
    await tray().first().waitFor();
    await accessible('a picture to send');
    await ask('Read the text.');
    await answered();
    await accessible('an answer');
    await page.locator('.turn').hover();
    await button('Edit the question').click();
    await accessible('editing');
    await page.getByLabel('The question', { exact: true }).press('Escape');
    await give('drop', { name: 'a.txt', type: 'text/plain', bytes: Buffer.from('a') });
    await page.getByText('“a.txt” is not a picture.').waitFor();
    await accessible('a problem');
    await page.locator('.question .picture').click();
    await page.getByRole('dialog', { name: 'Picture receipt.jpg' }).waitFor();
    await accessible('the viewer');
    await page.keyboard.press('Escape');
    await button('Settings').click();
    await accessible('the settings');
    await page.keyboard.press('Escape');
    await button('Delete all').first().click();
    await accessible('the question whether to delete all');
    await page.keyboard.press('Escape');
    if (real === undefined) {
      mock.troubles.push({ kind: 'status', status: 429, message: 'busy', headers: { 'Retry-After': '9' } });
      await ask('Make a list.');
      await answered();
      await accessible('a failure');
      await ask('Make a list.');
      await answered();
      await accessible('lists and code');
    }
  });
}

test('the switch changes the colours, and they stay after a reload', async () => {
  await open();
  const paper = (): Promise<string> => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await paper();
  await button('Appearance: system. Change it').click();
  const dark = await paper();
  assert.notEqual(dark, light);
  await page.reload();
  await field().waitFor();
  assert.equal(await paper(), dark);
});

test('a phone: nothing is wider than the screen, and the list is a drawer', async () => {
  await open({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 1 });
  const wide = (): Promise<string[]> => page.evaluate(() => {
    const over = [...document.querySelectorAll<HTMLElement>('body *')].filter((element) => {
      const box = element.getBoundingClientRect();
      const shown = element.checkVisibility({ visibilityProperty: true }) && box.width > 1 && !element.closest('[inert], .hidden, .title, svg');
      return shown && (box.right > innerWidth + 0.5 || box.left < -0.5);
    });
    const scrolls = [...document.querySelectorAll<HTMLElement>('html, body, .scroller, .sheet-body')].filter((element) => element.scrollWidth > element.clientWidth + 1);
    return [...over, ...scrolls].map((element) => `${element.tagName}.${element.className}`);
  });
  assert.equal(await page.evaluate(() => innerWidth), 360);
  assert.deepEqual(await wide(), []);
  await accessible('a phone, empty');
  await give('drop', receipt());
  await tray().first().waitFor();
  assert.deepEqual(await wide(), []);
  await ask('Read the text.');
  await answered();
  await ask(`What is the price of ${'Donaudampfschifffahrtselektrizitaetenhauptbetriebswerk'.repeat(2)}?`);
  await answered();
  assert.deepEqual(await wide(), []);
  if (real === undefined) {
    await button('Edit the question').last().click();
    assert.deepEqual(await wide(), []);
    await page.getByLabel('The question', { exact: true }).fill('Which line is the most expensive?');
    await button('Ask again').last().click();
    await answered();
  }
  await accessible('a phone, an answer');
  await button('Settings').click();
  assert.deepEqual(await wide(), []);
  await page.keyboard.press('Escape');
  await button('Show the list of conversations').click();
  await button('Close the list').waitFor();
  await page.waitForTimeout(250);
  assert.deepEqual(await wide(), []);
  await accessible('a phone, the list');
  await page.keyboard.press('Escape');
  await eventually('the focus goes back to the menu', () => button('Show the list of conversations').evaluate((element) => element === document.activeElement));
});

test('three conversations, as a reader of the documentation sees them', async () => {
  await open({ viewport: { width: 1180, height: 760 } });
  for (const i of [2, 1]) {
    await page.locator('.sample').nth(i).click();
    await answered();
    await button('New conversation').click();
  }
  await shot('start');
  await give('drop', receipt());
  await tray().first().waitFor();
  await ask('Read the text.');
  await answered();
  await lastTurn().locator('.question img').waitFor();
  assert.equal(await page.locator('.history-open').count(), 3);
  await shot('desktop-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot('desktop-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 390, height: 780 });
  await shot('phone');
});

test('less motion: nothing moves', mockOnly, async () => {
  await open({ reducedMotion: 'reduce' });
  mock.holdAt = 0;
  await give('drop', receipt());
  await tray().first().waitFor();
  await ask('Read the text.');
  await page.locator('.progress-bar').waitFor();
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  await eventually('the time passes', async () => parseFloat(await page.locator('.elapsed').innerText()) >= 0.3);
  await shot('reading');
  mock.holdAt = undefined;
  await answered();
});

test('the program sends the page as it was built, with a policy for it', { skip: build === undefined && 'of the program alone' }, async () => {
  const response = await open();
  assert.ok((await response.body()).equals(readFileSync(join('dist', 'index.html'))), 'the page is not that of dist/: build the program again');
  const headers = response.headers();
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['referrer-policy'], 'no-referrer');
  const policy = headers['content-security-policy'] ?? '';
  for (const part of ["default-src 'none'", "script-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'"]) assert.ok(policy.includes(part), policy);
});

test('the policy stops every request to another place', async () => {
  await open();
  const outcome = await page.evaluate(() => fetch('http://127.0.0.2:9/').then(() => 'went out', () => 'stopped'));
  assert.equal(outcome, 'stopped');
  await eventually('the browser says why', () => problems.some((problem) => problem.includes('Content Security Policy')));
  assert.deepEqual(problems.filter((problem) => problem.startsWith('a request to')), []);
  problems.length = 0; // what was provoked here
});
