import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureOf, retrySeconds } from '../src/failure';
import { parseInline, parseMarkdown } from '../src/markdown';
import { checkPicture, formatBytes, maxPictureBytes, sniff } from '../src/pictures';
import { defaultSettings, jsonEnd, loadSettings, maxTokensOf, parseSchema, problemOf, saveSettings, schemaOf, seedOf, temperatureOf } from '../src/settings';

const latin = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (c) => c.charCodeAt(0));
const storage = (text: string | null): { text: string | null; getItem(): string | null; setItem(key: string, value: string): void; removeItem(): void } => ({
  text, getItem() { return this.text; }, setItem(_key, value) { this.text = value; }, removeItem() { this.text = null; },
});

test('a picture is known by its first bytes', () => {
  const known: [string, string][] = [
    ['\xff\xd8\xff\xe0', 'image/jpeg'], ['\x89PNG\r\n\x1a\n', 'image/png'], ['RIFF....WEBPVP8L', 'image/webp'], ['GIF89a', 'image/gif'],
    ['II*\0', 'image/tiff'], ['MM\0*', 'image/tiff'], ['....ftypheic', 'image/heic'], ['....ftypmif1', 'image/heic'], ['....ftypavif', 'image/avif'],
    ['BM............\x28', 'image/bmp'],
  ];
  for (const [bytes, type] of known) assert.equal(sniff(latin(bytes)), type);
  for (const bytes of ['', 'BMW is a car, no picture', '%PDF-1.7', '<svg xmlns=', '....ftypmp42', 'RIFF....WAVE', 'MZ']) assert.equal(sniff(latin(bytes)), undefined, bytes);
});

test('a file that cannot be sent is refused with a sentence', async () => {
  const good = await checkPicture(new Blob([latin('\xff\xd8\xff\xe0')], { type: 'image/png' }), 'a.png', '1');
  assert.ok(good.ok && good.picture.type === 'image/jpeg' && good.picture.bytes.type === 'image/jpeg');
  const text = await checkPicture(new Blob(['hello']), 'a.txt', '1');
  assert.ok(!text.ok && text.message.startsWith('“a.txt” is not a picture.'));
  const empty = await checkPicture(new Blob([]), 'a.png', '1');
  assert.ok(!empty.ok && empty.message === '“a.png” is empty.');
  const large = await checkPicture({ size: maxPictureBytes + 1 } as Blob, 'a.png', '1');
  assert.ok(!large.ok && large.message.includes('too large'));
  assert.deepEqual([999, 11725, 67108864].map(formatBytes), ['999 B', '12 KB', '67.1 MB']);
});

test('inline: bold and code, and nothing else', () => {
  assert.deepEqual(parseInline('a **b** `c*` **'), [
    { kind: 'text', text: 'a ' }, { kind: 'bold', text: 'b' }, { kind: 'text', text: ' ' }, { kind: 'code', text: 'c*' }, { kind: 'text', text: ' **' },
  ]);
  assert.deepEqual(parseInline('2 ** 3 ** 4 <b>'), [{ kind: 'text', text: '2 ** 3 ** 4 <b>' }]);
});

test('blocks: code, lists, paragraphs of lines', () => {
  const blocks = parseMarkdown('One\nTwo\n\n- a\n- b\n\n3. c\n4. d\n```js\nx = 1\n\n```\nend');
  assert.deepEqual(blocks.map((block) => block.kind), ['paragraph', 'list', 'list', 'code', 'paragraph']);
  assert.deepEqual(blocks[0], { kind: 'paragraph', lines: [[{ kind: 'text', text: 'One' }], [{ kind: 'text', text: 'Two' }]] });
  assert.deepEqual(blocks[3], { kind: 'code', text: 'x = 1\n' });
  assert.ok(blocks[2]?.kind === 'list' && blocks[2].ordered && blocks[2].start === 3);
});

test('blocks: what was read from a picture is not taken for a list', () => {
  for (const text of ['- 5.00', '3. 14', '7. Milk\n3. Bread', '# 12', 'a_b_c', '> 5']) {
    assert.deepEqual(parseMarkdown(text).map((block) => block.kind), ['paragraph'], text);
  }
});

test('blocks: an answer that still streams has an open fence', () => {
  assert.deepEqual(parseMarkdown('```\nx'), [{ kind: 'code', text: 'x' }]);
  assert.deepEqual(parseMarkdown(''), []);
});

test('each status of the server has its sentence', () => {
  const body = JSON.stringify({ error: { message: 'keyword \'not\' is not supported', type: 'invalid_request_error' } });
  assert.equal(failureOf(400, body, null, 0).message, 'Keyword \'not\' is not supported.');
  assert.equal(failureOf(401, body, null, 0).kind, 'key');
  assert.equal(failureOf(413, '', null, 0).kind, 'too-large');
  assert.deepEqual(failureOf(429, '', '7', 1000), { kind: 'busy', message: 'The server is busy with other questions.', retryAt: 8000 });
  assert.equal(failureOf(429, '', null, 0).retryAt, undefined);
  assert.equal(failureOf(503, '<html>', null, 0).kind, 'gone');
  assert.equal(failureOf(500, '<html>', null, 0).message, 'The server failed (HTTP 500).');
});

test('Retry-After is a number or a date', () => {
  assert.equal(retrySeconds('1.2', 0), 2);
  assert.equal(retrySeconds(new Date(90000).toUTCString(), 60000), 30);
  assert.equal(retrySeconds('soon', 0), undefined);
});

test('settings: wrong ones are named, kept ones come back, broken ones are the defaults', () => {
  const settings = { ...defaultSettings };
  assert.equal(problemOf(settings), undefined);
  assert.deepEqual(temperatureOf(settings), { ok: true, value: 0 });
  assert.deepEqual(maxTokensOf(settings), { ok: true, value: undefined });
  for (const temperature of ['x', '-1', '2.1', 'NaN', '0,5']) assert.equal(temperatureOf({ ...settings, temperature }).ok, false, temperature);
  for (const maxTokens of ['0', '1.5', '-3', 'many']) assert.equal(maxTokensOf({ ...settings, maxTokens }).ok, false, maxTokens);
  assert.equal(seedOf({ ...settings, seed: ' 7 ' }).ok, true);
  const place = storage(null);
  saveSettings(place, { ...settings, seed: '7', theme: 'dark' });
  assert.deepEqual(loadSettings(place), { ...settings, seed: '7', theme: 'dark' });
  for (const text of ['{', 'null', '[]', '{"theme":"pink","seed":3}', null]) assert.deepEqual(loadSettings(storage(text)), settings);
});

test('settings: the schema is JSON and an object, if one is wanted', () => {
  assert.deepEqual(schemaOf({ ...defaultSettings, schema: '{' }), { ok: true, value: undefined });
  assert.deepEqual(schemaOf({ ...defaultSettings, useSchema: true, schema: '{"type":"string"}' }), { ok: true, value: { type: 'string' } });
  for (const text of ['', '[]', '3', 'null', '{"a": }', '{']) assert.equal(parseSchema(text).ok, false, text);
  assert.deepEqual(parseSchema('{\n "a": x}'), { ok: false, message: 'The schema is not JSON: see line 2, column 7.' });
  const whole = '{"a": [1, -2.5e3, "\\u00e4\\n", {}, []], "b": null} ';
  const ends: [string, number][] = [[whole, whole.length], ['{"a": }', 6], ['{"a" 1}', 5], ['[1, ]', 4], ['{', 1], ['{} x', 3], ['{"a": "b', 6]];
  for (const [text, end] of ends) assert.equal(jsonEnd(text), end, text);
});
