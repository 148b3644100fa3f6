import type { Agent, LoggedEvent } from './model';

/** Micro-dollars as dollars: cents, and finer where there is less than one. */
export function dollars(microUsd: number): string {
  return `$${(microUsd / 1e6).toFixed(microUsd !== 0 && Math.abs(microUsd) < 10000 ? 4 : 2)}`;
}

/** 950, 12.3k, 4.5M. */
export function count(value: number): string {
  if (value < 10000) return String(value);
  if (value < 999950) return `${(value / 1000).toFixed(value < 99950 ? 1 : 0)}k`;
  return `${(value / 1e6).toFixed(1)}M`;
}

/** 45 s, 12 min, 3 h 20 min, 2 d. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 36) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.round(hours / 24)} d`;
}

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
}

export function moment(ms: number): string {
  return new Date(ms).toLocaleString([], { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' });
}

/** What an agent is at, in a word or two. */
export function doing(agent: Agent): string {
  if (agent.phase === 'running') return agent.activity === 'offline' ? 'running' : agent.activity;
  if (agent.phase === 'stopped' && (agent.activity === 'completed' || agent.activity === 'limit')) return agent.activity;
  return agent.phase;
}

/** The colour of its dot: what goes on, what needs somebody, what has ended. */
export function tone(agent: Agent): 'busy' | 'good' | 'wait' | 'bad' | 'off' {
  if (agent.phase === 'error') return 'bad';
  if (agent.phase === 'stopped') return agent.activity === 'completed' ? 'good' : agent.activity === 'limit' ? 'wait' : 'off';
  if (agent.phase !== 'running') return 'busy';
  if (agent.activity === 'thinking') return 'busy';
  if (agent.activity === 'completed') return 'good';
  if (['waiting', 'blocked', 'limit', 'stalled'].includes(agent.activity)) return 'wait';
  return 'off';
}

const text = (value: unknown): string => (typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '');
const number = (value: unknown): number => (typeof value === 'number' ? value : 0);
const numbers = (value: unknown): string => (Array.isArray(value) ? value.map((one) => `#${text(one)}`).join(', ') : '');
const short = (value: unknown): string => text(value).slice(0, 10);
const withDetail = (sentence: string, detail: unknown): string => (text(detail) === '' ? sentence : `${sentence}: ${text(detail)}`);

/** An event of the log in a sentence, which begins with who it is about. */
export function sentence(event: LoggedEvent): string {
  const { agent, body, actor } = event;
  switch (event.kind) {
    case 'agent.created': return `${agent} is created as ${text(body['role'])} on ${text(body['branch'])}`;
    case 'agent.wanted': return `${agent} is to be ${text(body['wanted'])}`;
    case 'agent.phase': return withDetail(`${agent} is ${text(body['phase'])}`, body['detail']);
    case 'agent.activity': return withDetail(`${agent} is ${text(body['activity'])}`, body['detail']);
    case 'agent.removed': return `${agent} is removed`;
    case 'agent.done': return withDetail(`${agent} says that it ${body['result'] === 'failed' ? 'failed' : 'is done'}`, body['summary']);
    case 'work.collected': return `work of ${agent} is collected at ${short(body['commit'])}`;
    case 'work.merged': return `work of ${agent} is merged at ${short(body['commit'])}`;
    case 'work.backed_up': return `work of ${agent} is kept as ${text(body['ref'])}`;
    case 'message.queued': return `${actor} writes to ${agent}: ${text(body['text'])}`;
    case 'message.delivered': return `${agent} is given message ${numbers(body['numbers'])}`;
    case 'message.consumed': return `${agent} has read message ${numbers(body['numbers'])}`;
    case 'message.answered': return `message #${text(body['number'])} is answered by #${text(body['by'])}`;
    case 'spend.reserved': return `${agent} asks ${text(body['provider'])}, at most ${dollars(number(body['micro_usd']))}`;
    case 'spend.settled': return `${agent} spent ${dollars(number(body['micro_usd']))}, ${count(number(body['tokens_in']) + number(body['tokens_out']))} tokens`;
    case 'egress.refused': return `${agent || actor} is refused ${text(body['method'])} ${text(body['host'])}${text(body['path'])}: ${text(body['reason'])}`.replace('  ', ' ');
    case 'egress.sent': return `${agent || actor} reaches ${text(body['method'])} ${text(body['host'])}${text(body['path'])}`.replace('  ', ' ');
    case 'run.started': return `run ${text(body['run'])} starts: ${text(body['goal'])}`;
    case 'run.resumed': return `run ${text(body['run'])} goes on`;
    case 'run.ended': return withDetail(`run ${text(body['run'])} ends: ${text(body['result'])}`, body['detail']);
    case 'task.proposed': return `${agent || actor} proposes ${Array.isArray(body['tasks']) ? body['tasks'].length : 0} tasks`;
    case 'task.added': return `${text(body['by']) || actor} adds task ${text((body['task'] as Record<string, unknown> | undefined)?.['name'])}`;
    case 'task.state': return withDetail(`task ${text(body['task'])} is ${text(body['state'])}`, body['detail']);
    case 'note': return text(body['text']);
    default: return `${agent} ${event.kind}`.trim();
  }
}
