// What transformers.js makes of the working folder: node ask.mjs PICTURE QUESTION PIXELS → the ids and the answer as JSON; the pixels as f32 in the file PIXELS
import { writeFileSync } from 'node:fs';
import { AutoModelForImageTextToText, AutoProcessor, env, load_image } from '@huggingface/transformers';

const [picture, question, file] = process.argv.slice(2);
env.allowRemoteModels = false;
const processor = await AutoProcessor.from_pretrained('.');
const model = await AutoModelForImageTextToText.from_pretrained('.');
const messages = [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: question }] }];
const inputs = await processor(processor.apply_chat_template(messages, { add_generation_prompt: true }), [await load_image(picture)], { add_special_tokens: false });
const { data } = inputs.pixel_values;
writeFileSync(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
const ids = await model.generate({ ...inputs, max_new_tokens: 64 });
const answer = ids.slice(null, [inputs.input_ids.dims.at(-1), null]);
console.log(JSON.stringify({ ids: Array.from(inputs.input_ids.data, Number), text: processor.batch_decode(answer, { skip_special_tokens: true })[0] }));
