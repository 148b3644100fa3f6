// Google's client: node gemini.mjs URL PICTURE KEY
import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import { GoogleGenAI } from '@google/genai';

const [baseUrl, receipt, apiKey] = process.argv.slice(2);
const model = 'onsight-nano', config = { maxOutputTokens: 16 };
const ai = new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });
const data = readFileSync(receipt).toString('base64');
const contents = [{ inlineData: { mimeType: 'image/jpeg', data } }, { text: 'Read the text.' }];
const whole = await ai.models.generateContent({ model, contents, config });
let streamed = '';
for await (const chunk of await ai.models.generateContentStream({ model, contents, config })) streamed += chunk.text ?? '';
assert.ok(whole.text);
assert.strictEqual(streamed, whole.text);
const file = await ai.files.upload({ file: receipt, config: { mimeType: 'image/jpeg' } });
const part = { fileData: { fileUri: file.uri, mimeType: file.mimeType } };
const answer = await ai.models.generateContent({ model, contents: [part, contents[1]], config });
assert.strictEqual(answer.text, whole.text);
await ai.files.delete({ name: file.name });
const counted = await ai.models.countTokens({ model, contents });
assert.strictEqual(counted.totalTokens, whole.usageMetadata.promptTokenCount);
const names = [];
for await (const found of await ai.models.list()) names.push(found.name);
assert.deepStrictEqual(names, ['models/' + model]);
await assert.rejects(ai.models.generateContent({ model: 'other', contents: 'Hi' }),
                     (error) => error.status === 404 && error.message.includes('models/other'));
