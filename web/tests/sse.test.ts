import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SseParser } from '../src/sse';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const whole = (text: string): string[] => new SseParser().push(bytes(text));

test('an event ends at an empty line', () => {
  assert.deepEqual(whole('data: one\n\ndata: two\n\n'), ['one', 'two']);
  assert.deepEqual(whole('data: one\n'), []);
  assert.deepEqual(whole('\n\n\n'), []);
});

test('the space behind the colon is no part of the data, a second one is', () => {
  assert.deepEqual(whole('data:one\n\ndata:  two\n\ndata\n\n'), ['one', ' two', '']);
});

test('several data lines are one event', () => {
  assert.deepEqual(whole('data: a\ndata: b\n\n'), ['a\nb']);
});

test('comments and other fields are passed over', () => {
  assert.deepEqual(whole(': ping\n\nevent: x\nid: 3\nretry: 10\ndata: a\nfoo\n\n'), ['a']);
});

test('lines end in LF, CRLF or CR', () => {
  assert.deepEqual(whole('data: a\r\n\r\ndata: b\r\rdata: c\n\n'), ['a', 'b', 'c']);
});

test('wherever the bytes are cut, the events are the same', () => {
  const text = ': hello\r\n\r\ndata: {"text":"€ 漢字 🙂"}\r\n\r\ndata: a\ndata: b\n\ndata: [DONE]\r\r';
  const all = bytes(text);
  const expected = ['{"text":"€ 漢字 🙂"}', 'a\nb', '[DONE]'];
  assert.deepEqual(whole(text), expected);
  for (let i = 0; i <= all.length; ++i) {
    const parser = new SseParser();
    assert.deepEqual([...parser.push(all.subarray(0, i)), ...parser.push(all.subarray(i))], expected, `cut at ${i}`);
  }
  const parser = new SseParser();
  assert.deepEqual([...all].flatMap((byte) => parser.push(Uint8Array.of(byte))), expected);
});
