// OpenAI's client: node openai.mjs URL PICTURE KEY
import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';

const [url, receipt, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const model = 'onsight-nano';
const picture = `data:image/jpeg;base64,${readFileSync(receipt).toString('base64')}`;
const messages = [{ role: 'user', content: [{ type: 'image_url', image_url: { url: picture } }, { type: 'text', text: 'Read the text.' }] }];

const whole = await client.chat.completions.create({ model, messages });
assert.match(whole.choices[0].message.content, /10\.54/);
let streamed = '', usage = null;
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } })) {
  streamed += chunk.choices[0]?.delta.content ?? '';
  usage = chunk.usage ?? usage;
}
assert.strictEqual(streamed, whole.choices[0].message.content);
assert.strictEqual(usage.completion_tokens, whole.usage.completion_tokens);

const schema = { type: 'object', properties: { total: { type: 'number' } }, required: ['total'], additionalProperties: false };
const formed = await client.chat.completions.parse({ model, messages, response_format: { type: 'json_schema', json_schema: { name: 'bill', strict: true, schema } } });
assert.strictEqual(typeof JSON.parse(formed.choices[0].message.content).total, 'number');

const input = [{ role: 'user', content: [{ type: 'input_image', image_url: picture, detail: 'auto' }, { type: 'input_text', text: 'Read the text.' }] }];
const response = await client.responses.create({ model, input });
assert.strictEqual(response.output_text, streamed);
let deltas = '';
for await (const event of await client.responses.create({ model, input, stream: true }))
  if (event.type === 'response.output_text.delta') deltas += event.delta;
assert.strictEqual(deltas, streamed);

const names = [];
for await (const found of client.models.list()) names.push(found.id);
assert.deepStrictEqual(names, [model]);
await assert.rejects(client.chat.completions.create({ model: 'other', messages }), (e) => e instanceof OpenAI.NotFoundError && e.code === 'model_not_found');
await assert.rejects(client.chat.completions.create({ model, messages: [] }), OpenAI.BadRequestError);
await assert.rejects(new OpenAI({ baseURL: `${url}/v1`, apiKey: 'wrong', maxRetries: 0 }).models.list(), OpenAI.AuthenticationError);
