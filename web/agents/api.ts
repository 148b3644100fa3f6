import type { LoggedEvent, Message, State } from './model';

/** What the page asks of the server, as src/agents/page/page.h lists it. */
export interface Api {
  state(at?: number, signal?: AbortSignal): Promise<State>;
  messages(at?: number, signal?: AbortSignal): Promise<Message[]>;
  plan(at?: number, signal?: AbortSignal): Promise<Plan>;
  log(at?: number, signal?: AbortSignal): Promise<LoggedEvent[]>;
  /** Events above `after` as they come. Returns what ends it. */
  events(after: number, listener: FeedListener): () => void;
}

/** All events of runs and tasks up to `seq`. */
export interface Plan {
  seq: number;
  events: LoggedEvent[];
}

export interface FeedListener {
  event(event: LoggedEvent): void;
  /** The server leaves out what was missed: all is to be asked for anew. */
  behind(): void;
  connected(yes: boolean): void;
}

export interface Merged {
  commit: string;
  conflicts: string[];
  nothing: boolean;
  notes: string[];
}

/** A sentence that may be shown. */
export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export const goneSentence = 'The server does not answer. See whether “onsight agents serve” still runs.';
export const lockedSentence = 'This page is locked. Open the address that “onsight agents serve” printed.';

async function ask<T>(method: string, path: string, body?: object, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new ApiError(0, goneSentence);
  }
  const answer = (await response.json().catch(() => ({}))) as { error?: { message?: string } };
  if (response.ok) return answer as T;
  if (response.status === 401) throw new ApiError(401, lockedSentence);
  throw new ApiError(response.status, answer.error?.message ?? `The server answers ${response.status}.`);
}

const query = (values: Record<string, number | undefined>): string => {
  const given = Object.entries(values).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${value}`);
  return given.length === 0 ? '' : `?${given.join('&')}`;
};
const of = (name: string): string => `/api/agents/${encodeURIComponent(name)}`;

export class ServerApi implements Api {
  state(at?: number, signal?: AbortSignal): Promise<State> {
    return ask('GET', `/api/state${query({ at })}`, undefined, signal);
  }
  async messages(at?: number, signal?: AbortSignal): Promise<Message[]> {
    return (await ask<{ messages: Message[] }>('GET', `/api/messages${query({ at, limit: 300 })}`, undefined, signal)).messages;
  }
  plan(at?: number, signal?: AbortSignal): Promise<Plan> {
    return ask('GET', `/api/plan${query({ at })}`, undefined, signal);
  }
  async log(at?: number, signal?: AbortSignal): Promise<LoggedEvent[]> {
    return (await ask<{ events: LoggedEvent[] }>('GET', `/api/log${query({ at, limit: 300 })}`, undefined, signal)).events;
  }
  events(after: number, listener: FeedListener): () => void {
    const source = new EventSource(`/api/events?after=${after}`);
    source.onopen = () => listener.connected(true);
    source.onerror = () => listener.connected(false);
    source.onmessage = ({ data }: MessageEvent<string>) => listener.event(JSON.parse(data) as LoggedEvent);
    source.addEventListener('behind', () => listener.behind());
    return () => source.close();
  }

  start(options: Record<string, string>): Promise<void> {
    return ask('POST', '/api/agents', options);
  }
  stop(name: string): Promise<void> {
    return ask('POST', `${of(name)}/stop`, {});
  }
  resume(name: string): Promise<void> {
    return ask('POST', `${of(name)}/resume`, {});
  }
  merge(name: string): Promise<Merged> {
    return ask('POST', `${of(name)}/merge`, {});
  }
  remove(name: string, force: boolean): Promise<{ backup: string }> {
    return ask('POST', `${of(name)}/rm`, { force });
  }
  message(name: string, text: string, replyTo?: number): Promise<void> {
    return ask('POST', `${of(name)}/message`, replyTo === undefined ? { text } : { text, reply_to: replyTo });
  }
  markRead(numbers: number[]): Promise<void> {
    return ask('POST', '/api/inbox/read', { numbers });
  }
  async diff(name: string): Promise<string> {
    return (await ask<{ diff: string }>('GET', `${of(name)}/diff`)).diff;
  }
  type(name: string, text: string): Promise<void> {
    return ask('POST', `${of(name)}/type`, { text });
  }
  size(name: string, rows: number, columns: number): Promise<void> {
    return ask('POST', `${of(name)}/size`, { rows, columns });
  }
  terminal(name: string, rows: number, columns: number): EventSource {
    return new EventSource(`${of(name)}/terminal?rows=${rows}&columns=${columns}`);
  }
}
