/** What can go wrong between this page and the server, and the sentence that says so. */
export type FailureKind = 'gone' | 'broken' | 'busy' | 'key' | 'too-large' | 'refused' | 'server';

export interface Failure {
  kind: FailureKind;
  message: string;
  /** When the server may be asked again, in milliseconds since 1970. */
  retryAt?: number;
}

export class FailureError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** Whether the same request may succeed later, so that a failed question still belongs to the conversation. */
export function isTransient(kind: FailureKind): boolean {
  return kind === 'gone' || kind === 'broken' || kind === 'busy' || kind === 'key';
}

export const goneFailure: Failure = {
  kind: 'gone',
  message: 'The server does not answer. See whether “onsight serve” still runs, then try again.',
};

export const brokenFailure: Failure = {
  kind: 'broken',
  message: 'The connection ended before the answer was whole.',
};

/** Seconds of a Retry-After header, which may also be a date. */
export function retrySeconds(header: string | null, now: number): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, Math.ceil(seconds));
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}

function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  const whole = /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return whole.charAt(0).toUpperCase() + whole.slice(1);
}

/** The message of OpenAI's error object, or nothing. */
export function errorMessage(body: string): string {
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === 'object' && parsed !== null && 'error' in parsed) {
      const error = parsed.error;
      if (typeof error === 'string') return sentence(error);
      if (typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string') {
        return sentence(error.message);
      }
    }
  } catch {
    // A proxy's page of HTML says nothing that a reader needs.
  }
  return '';
}

export function failureOf(status: number, body: string, retryAfter: string | null, now: number): Failure {
  const said = errorMessage(body);
  switch (status) {
    case 401:
    case 403:
      return { kind: 'key', message: 'This server asks for an API key, or the key is wrong.' };
    case 413:
      return { kind: 'too-large', message: `The pictures are larger than the server takes. Remove one, or use a smaller file. ${said}`.trim() };
    case 429: {
      const seconds = retrySeconds(retryAfter, now);
      const failure: Failure = { kind: 'busy', message: 'The server is busy with other questions.' };
      if (seconds !== undefined) failure.retryAt = now + seconds * 1000;
      return failure;
    }
    case 502:
    case 503:
    case 504:
      return { kind: 'gone', message: `The server is not ready. ${said || 'Try again in a moment.'}` };
    default:
      if (status >= 500) return { kind: 'server', message: said || `The server failed (HTTP ${status}).` };
      return { kind: 'refused', message: said || `The server refused the question (HTTP ${status}).` };
  }
}
