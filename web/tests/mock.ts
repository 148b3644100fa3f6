import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** What the next request meets instead of an answer. */
export type Trouble =
  | { kind: 'status'; status: number; message: string; headers?: Record<string, string> }
  | { kind: 'cut'; after: number }
  | { kind: 'error-event'; after: number; message: string };

export interface Asked {
  model: string;
  messages: { role: string; content: string | { type: string; text?: string; image_url?: { url: string } }[] }[];
  temperature?: number;
  max_tokens?: number;
  seed?: number;
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
  response_format?: { type: string; json_schema: { name: string; strict: boolean; schema: unknown } };
}

export const policy =
  "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";

const answers: Record<string, string> = {
  'What is the total?': '10.54',
  'Read the text.': 'Bread 2.45\nMilk 1.29\nCoffee 6.80\nTotal 10.54',
  'What colour is the square?': 'blue',
  'Which line is the most expensive?': 'Coffee 6.80',
  'Make a list.': 'What the receipt says — **in euros, €**:\n\n1. Bread `2.45`\n2. Milk `1.29`\n3. Coffee `6.80`\n\n```\ntotal = 10.54\n```\n<b>not HTML</b> <img src=x onerror=alert(1)>',
};
export const longAnswer = Array.from({ length: 60 }, (_, i) => `Line ${i + 1} of a long answer.`).join('\n');

/** A server that speaks OpenAI's API with canned answers, slowly enough to be stopped. It keeps what it was asked. */
export class Mock {
  readonly asked: Asked[] = [];
  readonly troubles: Trouble[] = [];
  /** Requests whose reader went away before the end. */
  abandoned = 0;
  /** An answer waits before this token until it is undefined again: tests then do not race with it. */
  holdAt: number | undefined;
  firstTokenMs = 150;
  tokenMs = 12;
  apiKey = '';
  models = ['onsight-nano', 'smolvlm-256m-instruct'];
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();
  private port = 0;

  constructor(private readonly page: string) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Listens, on the port of the last time if there was one. */
  async start(port = this.port): Promise<void> {
    const server = createServer((request, response) => void this.handle(request, response));
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
  }

  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    for (const socket of this.sockets) socket.destroy();
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  private error(response: ServerResponse, status: number, message: string, headers: Record<string, string> = {}): void {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    response.end(JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code: null } }));
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?')[0];
    if (request.method === 'GET' && path === '/') {
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': policy });
      response.end(readFileSync(this.page));
      return;
    }
    if (this.apiKey !== '' && request.headers.authorization !== `Bearer ${this.apiKey}`) {
      this.error(response, 401, 'the API key is missing or wrong');
      return;
    }
    if (request.method === 'GET' && path === '/v1/models') {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ object: 'list', data: this.models.map((id) => ({ id, object: 'model', created: 0, owned_by: 'onsight' })) }));
      return;
    }
    if (request.method === 'POST' && path === '/v1/chat/completions') {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      await this.chat(JSON.parse(Buffer.concat(pieces).toString('utf8')) as Asked, response);
      return;
    }
    this.error(response, 404, `there is nothing at ${path ?? ''}`);
  }

  private async chat(asked: Asked, response: ServerResponse): Promise<void> {
    this.asked.push(asked);
    const trouble = this.troubles.shift();
    if (trouble?.kind === 'status') {
      this.error(response, trouble.status, trouble.message, trouble.headers);
      return;
    }
    const last = asked.messages.at(-1);
    const parts = typeof last?.content === 'string' ? [{ type: 'text', text: last.content }] : (last?.content ?? []);
    const question = parts.map((part) => part.text ?? '').join('');
    const pictures = asked.messages.flatMap((message) => (typeof message.content === 'string' ? [] : message.content)).filter((part) => part.type === 'image_url');
    let answer = answers[question] ?? (question.includes('long') ? longAnswer : `You asked: ${question}`);
    if (asked.response_format) answer = JSON.stringify({ text: 'Bread, Milk, Coffee', total: 10.54 });
    const tokens = answer.match(/\s?[^\s]+|\s/g) ?? [];

    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.on('close', () => {
      if (!response.writableFinished) ++this.abandoned;
    });
    const send = (data: object | string): void => {
      const bytes = Buffer.from(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
      // Cut where no event, line or character ends, as networks do.
      const cut = Math.max(1, bytes.length - 7);
      response.write(bytes.subarray(0, cut));
      response.write(bytes.subarray(cut));
    };
    const chunk = (delta: object, finish: string | null = null): object => ({
      id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 0, model: asked.model, choices: [{ index: 0, delta, finish_reason: finish }],
    });
    const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    response.write(': a comment\n\n');
    await wait(this.firstTokenMs);
    send(chunk({ role: 'assistant', content: '' }));
    for (const [i, token] of tokens.entries()) {
      while (this.holdAt !== undefined && i >= this.holdAt && !response.destroyed) await wait(10);
      if (response.destroyed) return;
      if (trouble?.after === i) {
        if (trouble.kind === 'cut') {
          response.socket?.end(); // what was written still arrives, and the end of the body never does
          return;
        }
        send({ error: { message: trouble.message, type: 'server_error', param: null, code: null } });
        response.end();
        return;
      }
      if (asked.max_tokens !== undefined && i >= asked.max_tokens) break;
      send(chunk({ content: token }));
      await wait(this.tokenMs);
    }
    const count = Math.min(tokens.length, asked.max_tokens ?? Infinity);
    send(chunk({}, count < tokens.length ? 'length' : 'stop'));
    const prompt = 12 + question.length + 144 * pictures.length;
    send({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 0, model: asked.model, choices: [], usage: { prompt_tokens: prompt, completion_tokens: count, total_tokens: prompt + count } });
    send('[DONE]');
    response.end();
  }
}
