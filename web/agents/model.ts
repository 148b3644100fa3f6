/** What the server says, as src/agents/page/views.cc writes it. */
export interface Spent {
  micro_usd: number;
  tokens_in: number;
  tokens_out: number;
  requests: number;
  reserved_micro_usd: number;
  reserved_tokens: number;
}

export interface Budget {
  micro_usd?: number;
  tokens?: number;
  ms?: number;
}

export interface Agent {
  name: string;
  role: string;
  harness: string;
  model: string;
  task: string;
  branch: string;
  base: string;
  wanted: 'running' | 'stopped' | 'removed';
  phase: 'created' | 'provisioning' | 'starting' | 'running' | 'stopping' | 'stopped' | 'error';
  activity: string;
  detail: string;
  generation: number;
  result: string;
  work: 'none' | 'unmerged' | 'merged';
  commit: string;
  merged: string;
  created_ms: number;
  started_ms: number;
  stopped_ms: number;
  exit_code?: number;
  unread: number;
  spent: Spent;
  budget: Budget;
}

export interface LoggedEvent {
  seq: number;
  at_ms: number;
  actor: string;
  agent: string;
  kind: string;
  body: Record<string, unknown>;
}

export interface Role {
  name: string;
  harness: string;
  model: string;
  budget: Budget;
}

export interface State {
  seq: number;
  last_seq: number;
  event: LoggedEvent | null;
  project: string;
  problem: string;
  agents: Agent[];
  spent: Spent;
  budget: Budget;
  unread: number;
  roles: Role[];
}

export type Receipt = 'queued' | 'delivered' | 'consumed' | 'answered';

export interface Message {
  number: number;
  from: string;
  to: string;
  kind: string;
  text: string;
  receipt: Receipt;
  reply_to?: string;
  answered_by?: number;
  queued_ms: number;
  delivered_ms: number;
  consumed_ms: number;
  answered_ms: number;
}

/** Whether it goes on by itself: neither stopped nor in error. */
export function isUp(agent: Agent): boolean {
  return agent.phase !== 'stopped' && agent.phase !== 'error';
}
