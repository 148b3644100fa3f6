export type Theme = 'system' | 'light' | 'dark';

export interface Settings {
  theme: Theme;
  /** Empty: the first model that the server lists. */
  model: string;
  /** Numbers as they were typed, so that a wrong one can be shown and mended. Empty: the server's default. */
  temperature: string;
  maxTokens: string;
  seed: string;
  useSchema: boolean;
  schema: string;
  format: boolean;
}

export const defaultSettings: Settings = {
  theme: 'system',
  model: '',
  temperature: '0',
  maxTokens: '',
  seed: '',
  useSchema: false,
  schema: '',
  format: true,
};

type Text = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

const key = 'onsight.settings';
const keyOfApiKey = 'onsight.api-key';

/** What was kept, field by field: a field of another type, as of another version, is the default's. */
export function loadSettings(storage: Text): Settings {
  const settings: Record<string, unknown> = { ...defaultSettings };
  try {
    const kept: unknown = JSON.parse(storage.getItem(key) ?? '{}');
    for (const [name, value] of Object.entries(defaultSettings)) {
      const other = (kept as Record<string, unknown> | null)?.[name];
      if (typeof other === typeof value) settings[name] = other;
    }
  } catch {
    // Storage that is refused or broken leaves the defaults.
  }
  if (!['system', 'light', 'dark'].includes(String(settings['theme']))) settings['theme'] = 'system';
  return settings as unknown as Settings;
}

export function saveSettings(storage: Text, settings: Settings): void {
  try {
    storage.setItem(key, JSON.stringify(settings));
  } catch {
    // They hold until the page is closed.
  }
}

export function loadApiKey(storage: Text): string {
  try {
    return storage.getItem(keyOfApiKey) ?? '';
  } catch {
    return '';
  }
}

export function saveApiKey(storage: Text, value: string): void {
  try {
    if (value === '') storage.removeItem(keyOfApiKey);
    else storage.setItem(keyOfApiKey, value);
  } catch {
    // It holds until the page is closed.
  }
}

/** A field's value for the request, or the sentence that says what is wrong with it. */
export type Field<T> = { ok: true; value: T } | { ok: false; message: string };

function number(text: string, low: number, high: number, whole: boolean, message: string): Field<number | undefined> {
  const trimmed = text.trim();
  if (trimmed === '') return { ok: true, value: undefined };
  const value = Number(trimmed);
  const good = Number.isFinite(value) && value >= low && value <= high && (!whole || Number.isInteger(value));
  return good ? { ok: true, value } : { ok: false, message };
}

export const temperatureOf = (settings: Settings): Field<number | undefined> =>
  number(settings.temperature, 0, 2, false, 'The temperature is a number from 0 to 2.');
export const maxTokensOf = (settings: Settings): Field<number | undefined> =>
  number(settings.maxTokens, 1, 1e6, true, 'The longest answer is a whole number of tokens, 1 or more.');
export const seedOf = (settings: Settings): Field<number | undefined> =>
  number(settings.seed, 0, Number.MAX_SAFE_INTEGER, true, 'The seed is a whole number, 0 or more.');

/** The schema to keep to, undefined if none is wanted. */
export function schemaOf(settings: Settings): Field<unknown> {
  if (!settings.useSchema) return { ok: true, value: undefined };
  return parseSchema(settings.schema);
}

export function parseSchema(text: string): Field<unknown> {
  if (text.trim() === '') return { ok: false, message: 'Enter a JSON schema.' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const before = text.slice(0, jsonEnd(text)).split('\n');
    return { ok: false, message: `The schema is not JSON: see line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}.` };
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ok: true, value };
  return { ok: false, message: 'A JSON schema is an object: { … }.' };
}

/** Where text stops being JSON. Browsers know, but each words it differently, and some keep it to themselves. */
export function jsonEnd(text: string): number {
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.test(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const next = (character: string): boolean => {
    take(/[ \t\n\r]*/y);
    if (text[at] !== character) return false;
    ++at;
    return true;
  };
  const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
  const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
  const list = (end: string, item: () => boolean): boolean => {
    if (next(end)) return true;
    do {
      if (!item()) return false;
    } while (next(','));
    return next(end);
  };
  const value = (): boolean => {
    if (next('{')) return list('}', () => (next(''), take(string) && next(':') && value()));
    if (next('[')) return list(']', value);
    return take(string) || take(scalar);
  };
  if (value()) next('');
  return at;
}

/** The first thing in the settings that a request cannot be made with. */
export function problemOf(settings: Settings): string | undefined {
  for (const field of [temperatureOf(settings), maxTokensOf(settings), seedOf(settings), schemaOf(settings)]) {
    if (!field.ok) return field.message;
  }
  return undefined;
}
