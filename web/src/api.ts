import { brokenFailure, errorMessage, FailureError, failureOf, goneFailure } from './failure';
import { SseParser } from './sse';

export type ContentPart = { type: 'text'; text: string } | { type: 'image_url'; image_url: { url: string } };

export interface ChatMessage {
  role: 'user' | 'assistant';
  content: string | ContentPart[];
}

export interface ChatRequest {
  model: string;
  messages: ChatMessage[];
  temperature?: number;
  max_tokens?: number;
  seed?: number;
  response_format?: { type: 'json_schema'; json_schema: { name: string; strict: boolean; schema: unknown } };
}

export interface ChatHandlers {
  onText(text: string): void;
  onFinish(reason: string): void;
  onUsage(promptTokens: number, completionTokens: number): void;
}

interface Chunk {
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
  error?: unknown;
}

function headers(apiKey: string): Record<string, string> {
  return apiKey === '' ? {} : { Authorization: `Bearer ${apiKey}` };
}

/** fetch, whose every failure is one that a sentence exists for. An abort stays an abort. */
async function request(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new FailureError(goneFailure);
  }
  if (response.ok) return response;
  const body = await response.text().catch(() => '');
  throw new FailureError(failureOf(response.status, body, response.headers.get('Retry-After'), Date.now()));
}

/** The names of the models that the server offers. */
export async function listModels(apiKey: string): Promise<string[]> {
  const response = await request('/v1/models', { headers: headers(apiKey), signal: AbortSignal.timeout(20000) }).catch((error: unknown) => {
    throw error instanceof FailureError ? error : new FailureError(goneFailure);
  });
  const body = (await response.json().catch(() => null)) as { data?: { id?: unknown }[] } | null;
  if (!Array.isArray(body?.data)) {
    throw new FailureError({ kind: 'server', message: 'What answers here is not an onsight server: it lists no models.' });
  }
  return body.data.map((model) => model.id).filter((id): id is string => typeof id === 'string');
}

/** Asks, and calls the handlers as the answer comes. Returns when it is whole; throws FailureError, or the signal's abort. */
export async function streamChat(body: ChatRequest, apiKey: string, signal: AbortSignal, handlers: ChatHandlers): Promise<void> {
  const response = await request('/v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream', ...headers(apiKey) },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (response.body === null) throw new FailureError(brokenFailure);
  const reader = response.body.getReader();
  const parser = new SseParser();
  let finished = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const data of parser.push(value)) {
        if (data === '[DONE]') return;
        finished = take(data, handlers) || finished;
      }
    }
  } catch (error) {
    if (signal.aborted || error instanceof FailureError) throw error;
    throw new FailureError(brokenFailure);
  } finally {
    // Also after [DONE] or an error: the server then sees that nobody reads on.
    reader.cancel().catch(() => undefined);
  }
  if (!finished) throw new FailureError(brokenFailure);
}

/** Handles one event; true if it says why the answer ended. */
function take(data: string, handlers: ChatHandlers): boolean {
  let chunk: Chunk;
  try {
    chunk = JSON.parse(data) as Chunk;
  } catch {
    throw new FailureError({ kind: 'server', message: 'The server sent something that is not JSON.' });
  }
  if (chunk.error !== undefined) {
    throw new FailureError({ kind: 'server', message: errorMessage(data) || 'The server failed in the middle of the answer.' });
  }
  const choice = chunk.choices?.[0];
  const text = choice?.delta?.content;
  if (typeof text === 'string' && text !== '') handlers.onText(text);
  if (chunk.usage) handlers.onUsage(chunk.usage.prompt_tokens ?? 0, chunk.usage.completion_tokens ?? 0);
  if (typeof choice?.finish_reason !== 'string') return false;
  handlers.onFinish(choice.finish_reason);
  return true;
}
