// Ollama's client: node ollama.mjs URL PICTURE KEY
import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import { Ollama } from 'ollama';

const [host, receipt, key] = process.argv.slice(2);
const client = new Ollama({ host, headers: { Authorization: `Bearer ${key}` } });
const model = 'onsight-nano';
const messages = [{ role: 'user', content: 'Read the text.', images: [readFileSync(receipt).toString('base64')] }];

const whole = await client.chat({ model, messages });
assert.match(whole.message.content, /10\.54/);
let streamed = '';
for await (const part of await client.chat({ model, messages, stream: true })) streamed += part.message.content;
assert.strictEqual(streamed, whole.message.content);
const { models } = await client.list();
assert.ok(models.some((found) => found.name.startsWith(model)));
await assert.rejects(client.chat({ model: 'other', messages }), (e) => e.status_code === 404);
