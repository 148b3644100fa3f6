import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { test } from 'node:test';
import {
  addTurn, figuresOf, messagesOf, newConversation, rename, reopenTurn, settle, startAnswer, titleOf, type Conversation,
} from '../src/conversation';
import type { FailureKind } from '../src/failure';
import { MemoryBackend, Store } from '../src/store';

// Node 18 has it, but not in its place.
globalThis.crypto ??= webcrypto as Crypto;

const url = async (id: string): Promise<string> => `data:${id}`;
const answered = (conversation: Conversation, question: string, pictures: string[], text: string): void => {
  const answer = startAnswer(addTurn(conversation, question, pictures, 1), false);
  answer.text = text;
  answer.state = 'done';
};
const failed = (conversation: Conversation, question: string, pictures: string[], kind: FailureKind): void => {
  const answer = startAnswer(addTurn(conversation, question, pictures, 1), false);
  answer.state = 'failed';
  answer.failure = { kind, message: '' };
};
const picture = (id: string): { id: string; name: string; type: string; bytes: Blob } => ({ id, name: `${id}.png`, type: 'image/png', bytes: new Blob([id]) });

test('the title is the first question, shortened by whole characters', () => {
  const conversation = newConversation(1);
  addTurn(conversation, '  What is\nthe total? ', ['a', 'b'], 2, ['receipt.jpg', 'bill.png']);
  addTurn(conversation, 'And the date?', ['c'], 3, ['other.jpg']);
  assert.equal(conversation.title, 'What is the total?');
  assert.equal(conversation.about, 'receipt.jpg and 1 more');
  assert.equal(conversation.updated, 3);
  assert.equal(Array.from(titleOf('🙂'.repeat(80))).length, 60);
});

test('a title that the user gave stays', () => {
  const conversation = newConversation(1);
  const turn = addTurn(conversation, 'One', [], 2);
  rename(conversation, '   ');
  assert.equal(conversation.title, 'One');
  rename(conversation, ' Receipts ');
  reopenTurn(conversation, turn.id, 3, 'Two');
  assert.equal(conversation.title, 'Receipts');
});

test('asking a turn again drops its answer and what came after', () => {
  const conversation = newConversation(1);
  answered(conversation, 'One', ['a'], '1');
  answered(conversation, 'Two', [], '2');
  answered(conversation, 'Three', [], '3');
  const turn = reopenTurn(conversation, conversation.turns[1]?.id ?? '', 9, 'Zwei');
  assert.deepEqual(conversation.turns.map((each) => each.question), ['One', 'Zwei']);
  assert.equal(turn?.answer, undefined);
  assert.equal(reopenTurn(conversation, 'nobody', 10), undefined);
  assert.equal(conversation.turns.length, 2);
});

test('messages: pictures before the text, answers between', async () => {
  const conversation = newConversation(1);
  answered(conversation, 'One', ['a', 'b'], '1');
  addTurn(conversation, 'Two', [], 2);
  assert.deepEqual(await messagesOf(conversation, url), [
    { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:a' } }, { type: 'image_url', image_url: { url: 'data:b' } }, { type: 'text', text: 'One' }] },
    { role: 'assistant', content: '1' },
    { role: 'user', content: 'Two' },
  ]);
});

test('messages: a question that met a busy server joins the next one, one that was refused does not', async () => {
  const busy = newConversation(1);
  failed(busy, 'One', ['a'], 'busy');
  addTurn(busy, 'Two', [], 2);
  assert.deepEqual(await messagesOf(busy, url), [
    { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:a' } }, { type: 'text', text: 'One' }, { type: 'text', text: 'Two' }] },
  ]);
  const refused = newConversation(1);
  failed(refused, 'One', ['a'], 'too-large');
  addTurn(refused, 'Two', [], 2);
  assert.deepEqual(await messagesOf(refused, url), [{ role: 'user', content: 'Two' }]);
});

test('messages: a refused question that is asked again is sent', async () => {
  const conversation = newConversation(1);
  failed(conversation, 'One', [], 'refused');
  reopenTurn(conversation, conversation.turns[0]?.id ?? '', 2);
  assert.deepEqual(await messagesOf(conversation, url), [{ role: 'user', content: 'One' }]);
});

test('an answer that ran when the page was closed is stopped', () => {
  const conversation = newConversation(1);
  startAnswer(addTurn(conversation, 'One', [], 1), false).text = 'so far';
  settle(conversation);
  assert.equal(conversation.turns[0]?.answer?.state, 'stopped');
  assert.equal(conversation.turns[0]?.answer?.text, 'so far');
});

test('the store lists the newest first and reads back what it kept', async () => {
  const backend = new MemoryBackend();
  const store = new Store(backend);
  const [one, two] = [newConversation(1), newConversation(2)];
  addTurn(one, 'One', ['p'], 5);
  addTurn(two, 'Two', [], 4);
  await store.addPictures(one, [picture('p')]);
  await store.save(one);
  await store.save(two);
  assert.deepEqual(store.conversations().map(({ title }) => title), ['One', 'Two']);
  const again = new Store(backend);
  await again.load();
  assert.deepEqual(again.conversations(), store.conversations());
  assert.equal((await again.picture('p'))?.name, 'p.png');
});

test('deleting takes the pictures too, and undo brings both back', async () => {
  const backend = new MemoryBackend();
  const store = new Store(backend);
  const conversation = newConversation(1);
  addTurn(conversation, 'One', ['p'], 1);
  await store.addPictures(conversation, [picture('p')]);
  await store.save(conversation);
  const deleted = await store.remove(conversation.id);
  assert.equal(store.conversations().length, 0);
  assert.equal(await store.picture('p'), undefined);
  assert.ok(deleted);
  await store.restore(deleted);
  assert.equal(store.conversations().length, 1);
  assert.equal((await store.picture('p'))?.id, 'p');
  assert.equal(await store.remove('nobody'), undefined);
});

test('pictures that no turn shows any more are deleted, those of others are not', async () => {
  const store = new Store(new MemoryBackend());
  const [one, two] = [newConversation(1), newConversation(2)];
  addTurn(one, 'One', ['a'], 1);
  addTurn(two, 'Two', ['c'], 1);
  await store.addPictures(one, [picture('a'), picture('b')]);
  await store.addPictures(two, [picture('c')]);
  await store.prune(one);
  assert.ok(await store.picture('a'));
  assert.equal(await store.picture('b'), undefined);
  assert.ok(await store.picture('c'));
  await store.clear();
  assert.equal(await store.picture('a'), undefined);
});

test('figures: the rate leaves the wait for the first token out', () => {
  const figures = Object.fromEntries(figuresOf({ firstTokenMs: 1500, totalMs: 2500, promptTokens: 163, completionTokens: 21 }).map(({ label, value }) => [label, value]));
  assert.deepEqual(figures, { 'First token': '1.5 s', Speed: '20 tokens/s', Answer: '21 tokens', Prompt: '163 tokens', Total: '2.5 s' });
  assert.deepEqual(figuresOf({ firstTokenMs: 20, totalMs: 20, completionTokens: 1, estimated: true }).map(({ value }) => value), ['0.02 s', 'about 1 token', '0.02 s']);
  assert.deepEqual(figuresOf({}), []);
});
