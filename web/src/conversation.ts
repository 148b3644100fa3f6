import type { ChatMessage, ContentPart } from './api';
import { isTransient, type Failure } from './failure';

/** What an answer cost, as the reader of the stream sees it. */
export interface Stats {
  firstTokenMs?: number;
  totalMs?: number;
  promptTokens?: number;
  completionTokens?: number;
  /** No usage came, as when the answer was stopped: tokens are the pieces that arrived. */
  estimated?: boolean;
}

export interface Answer {
  state: 'running' | 'done' | 'stopped' | 'failed';
  text: string;
  /** The answer was asked for as JSON. */
  json: boolean;
  finish?: string;
  failure?: Failure;
  stats: Stats;
}

export interface Turn {
  id: string;
  question: string;
  /** Ids of pictures, in order. */
  pictures: string[];
  answer?: Answer;
}

export interface Conversation {
  id: string;
  title: string;
  /** The pictures that it began with, by name: many questions are worded the same. */
  about: string;
  /** A title that the user gave is not made from the question again. */
  named: boolean;
  created: number;
  updated: number;
  turns: Turn[];
}

export const defaultQuestion = 'Describe this image.';

// randomUUID() exists on https and localhost only; the page may be opened over plain http in a home network.
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function newConversation(now: number): Conversation {
  return { id: newId(), title: 'New conversation', about: '', named: false, created: now, updated: now, turns: [] };
}

export function titleOf(question: string): string {
  const line = question.trim().replace(/\s+/g, ' ');
  const characters = Array.from(line);
  return characters.length <= 60 ? line : `${characters.slice(0, 59).join('').trimEnd()}…`;
}

export function addTurn(conversation: Conversation, question: string, pictures: string[], now: number, names: string[] = []): Turn {
  const turn: Turn = { id: newId(), question, pictures };
  conversation.turns.push(turn);
  conversation.updated = now;
  if (conversation.turns.length === 1) {
    if (!conversation.named) conversation.title = titleOf(question);
    conversation.about = names.length <= 1 ? (names[0] ?? '') : `${names[0] ?? ''} and ${names.length - 1} more`;
  }
  return turn;
}

export function rename(conversation: Conversation, title: string): void {
  const trimmed = titleOf(title);
  if (trimmed === '') return;
  conversation.title = trimmed;
  conversation.named = true;
}

/** Asks a turn anew, with another question if one is given. What was said after it rested on the old answer and goes. */
export function reopenTurn(conversation: Conversation, turnId: string, now: number, question?: string): Turn | undefined {
  const index = conversation.turns.findIndex((turn) => turn.id === turnId);
  const turn = conversation.turns[index];
  if (turn === undefined) return undefined;
  conversation.turns.length = index + 1;
  conversation.updated = now;
  delete turn.answer;
  if (question !== undefined) {
    turn.question = question;
    if (index === 0 && !conversation.named) conversation.title = titleOf(question);
  }
  return turn;
}

export function startAnswer(turn: Turn, json: boolean): Answer {
  const answer: Answer = { state: 'running', text: '', json, stats: {} };
  turn.answer = answer;
  return answer;
}

/** Ids of the pictures that a conversation shows. */
export function picturesOf(conversation: Conversation): Set<string> {
  return new Set(conversation.turns.flatMap((turn) => turn.pictures));
}

/** Answers that ran when the page was closed end there. */
export function settle(conversation: Conversation): void {
  for (const { answer } of conversation.turns) {
    if (answer?.state !== 'running') continue;
    answer.state = 'stopped';
  }
}

/**
 * The messages of a request whose question is the last turn's. A turn that was stopped before its first word, or met a server that was away,
 * joins the next message of the user, so that roles alternate; one that the server refused is left out, or each later question would be refused with it.
 */
export async function messagesOf(conversation: Conversation, url: (pictureId: string) => Promise<string>): Promise<ChatMessage[]> {
  const messages: ChatMessage[] = [];
  let parts: ContentPart[] = [];
  const last = conversation.turns.at(-1);
  for (const turn of conversation.turns) {
    const text = turn.answer?.text ?? '';
    const failure = turn.answer?.failure;
    if (turn !== last && text === '' && failure !== undefined && !isTransient(failure.kind)) continue;
    for (const id of turn.pictures) parts.push({ type: 'image_url', image_url: { url: await url(id) } });
    parts.push({ type: 'text', text: turn.question });
    if (turn !== last && text === '') continue;
    const only = parts.length === 1 ? parts[0] : undefined;
    messages.push({ role: 'user', content: only?.type === 'text' ? only.text : parts });
    parts = [];
    if (turn !== last) messages.push({ role: 'assistant', content: text });
  }
  return messages;
}

function seconds(ms: number): string {
  return ms < 9950 ? `${(ms / 1000).toFixed(ms < 995 ? 2 : 1)} s` : `${Math.round(ms / 1000)} s`;
}

export interface Figure {
  label: string;
  value: string;
}

/** What stands under an answer. The first token is not in the rate: it waits for the picture. */
export function figuresOf(stats: Stats): Figure[] {
  const figures: Figure[] = [];
  const about = stats.estimated ? 'about ' : '';
  const { completionTokens, firstTokenMs, totalMs, promptTokens } = stats;
  if (firstTokenMs !== undefined) figures.push({ label: 'First token', value: seconds(firstTokenMs) });
  if (completionTokens !== undefined && firstTokenMs !== undefined && totalMs !== undefined) {
    const ms = totalMs - firstTokenMs;
    if (completionTokens >= 2 && ms >= 1) {
      const rate = ((completionTokens - 1) * 1000) / ms;
      figures.push({ label: 'Speed', value: `${about}${rate < 10 ? rate.toFixed(1) : Math.round(rate)} tokens/s` });
    }
  }
  if (completionTokens !== undefined) figures.push({ label: 'Answer', value: `${about}${completionTokens} ${completionTokens === 1 ? 'token' : 'tokens'}` });
  if (promptTokens !== undefined) figures.push({ label: 'Prompt', value: `${promptTokens} tokens` });
  if (totalMs !== undefined) figures.push({ label: 'Total', value: seconds(totalMs) });
  return figures;
}
