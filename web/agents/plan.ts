import type { LoggedEvent } from './model';

/** Runs and their tasks, folded out of the log's events run.* and task.*; whatever a body lacks or has wrong is left out. */
export type TaskState = 'waiting' | 'working' | 'checking' | 'merging' | 'done' | 'failed' | 'skipped';
const states: TaskState[] = ['waiting', 'working', 'checking', 'merging', 'done', 'failed', 'skipped'];

export interface Task {
  name: string;
  role: string;
  prompt: string;
  after: string[];
  checks: string[];
  by: string;
  state: TaskState;
  attempt: number;
  agent: string;
  detail: string;
  commit: string;
}

export interface Run {
  run: string;
  goal: string;
  branch: string;
  limits: { agents?: number; attempts?: number; micro_usd?: number; tokens?: number; ms?: number };
  result: 'running' | 'done' | 'failed' | 'stopped' | 'budget';
  detail: string;
  commit: string;
  started_ms: number;
  ended_ms: number;
  tasks: Task[];
}

type Body = Record<string, unknown>;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const isBody = (value: unknown): value is Body => typeof value === 'object' && value !== null && !Array.isArray(value);
const positive = (value: unknown): number | undefined => (typeof value === 'number' && value > 0 ? value : undefined);

function taskOf(value: unknown, by: string): Task | undefined {
  if (!isBody(value) || text(value['name']) === '') return undefined;
  return {
    name: text(value['name']), role: text(value['role']), prompt: text(value['prompt']),
    after: list(value['after']).map(text).filter((name) => name !== ''),
    checks: list(value['checks']).map((argv) => list(argv).map(text).join(' ')).filter((line) => line !== ''),
    by, state: 'waiting', attempt: 0, agent: '', detail: '', commit: '',
  };
}

/** In the order in which they started. Folding more events onto an earlier result gives the same as folding all at once. */
export function foldRuns(events: LoggedEvent[], before: Run[] = []): Run[] {
  const runs = before.map((run) => ({ ...run, tasks: run.tasks.map((task) => ({ ...task })) }));
  for (const { kind, body, at_ms, actor } of events) {
    const name = text(body['run']);
    if (kind === 'run.started' && name !== '') {
      const limits = isBody(body['limits']) ? body['limits'] : {};
      const run: Run = {
        run: name, goal: text(body['goal']), branch: text(body['branch']), limits: {}, result: 'running', detail: '', commit: '',
        started_ms: at_ms, ended_ms: 0,
        tasks: list(body['tasks']).map((task) => taskOf(task, 'plan')).filter((task) => task !== undefined),
      };
      for (const key of ['agents', 'attempts', 'micro_usd', 'tokens', 'ms'] as const) {
        const limit = positive(limits[key]);
        if (limit !== undefined) run.limits[key] = limit;
      }
      runs.push(run);
      continue;
    }
    const run = [...runs].reverse().find((one) => one.run === name);
    if (run === undefined) continue;
    if (kind === 'run.resumed') Object.assign(run, { result: 'running', detail: '', ended_ms: 0 });
    if (kind === 'run.ended') {
      const result = text(body['result']);
      run.result = result === 'done' || result === 'stopped' || result === 'budget' ? result : 'failed';
      Object.assign(run, { detail: text(body['detail']), commit: text(body['commit']), ended_ms: at_ms });
    }
    if (kind === 'task.added') {
      const task = taskOf(body['task'], text(body['by']) || actor);
      if (task !== undefined && !run.tasks.some((one) => one.name === task.name)) run.tasks.push(task);
    }
    if (kind === 'task.state') {
      const task = run.tasks.find((one) => one.name === body['task']);
      const state = states.find((one) => one === body['state']);
      if (task === undefined || state === undefined) continue;
      task.state = state;
      task.attempt = positive(body['attempt']) ?? task.attempt;
      task.agent = text(body['agent']) || task.agent;
      task.commit = text(body['commit']) || task.commit;
      task.detail = text(body['detail']);
    }
  }
  return runs;
}

export interface Place {
  task: Task;
  x: number;
  y: number;
}
export interface Layout {
  places: Place[];
  edges: { from: Place; to: Place }[];
  width: number;
  height: number;
}
export const node = { width: 184, height: 62, along: 56, across: 18 };

/** Layers by dependency, from left to right or, where there is no room, downwards; a task stands near those that it waits for. */
export function layOut(tasks: Task[], downwards: boolean): Layout {
  const byName = new Map(tasks.map((task) => [task.name, task]));
  const layers = new Map<string, number>();
  const layerOf = (task: Task, above: Set<string>): number => {
    const known = layers.get(task.name);
    if (known !== undefined) return known;
    let layer = 0;
    for (const name of task.after) {
      const before = byName.get(name);
      // A cycle, which no orchestrator accepts, is drawn as far as it goes.
      if (before !== undefined && !above.has(name)) layer = Math.max(layer, layerOf(before, new Set([...above, task.name])) + 1);
    }
    layers.set(task.name, layer);
    return layer;
  };
  const columns: Task[][] = [];
  for (const task of tasks) (columns[layerOf(task, new Set([task.name]))] ??= []).push(task);
  const rank = new Map<string, number>();
  for (const column of columns) {
    const wanted = (task: Task): number => {
      const before = task.after.map((name) => rank.get(name)).filter((one) => one !== undefined);
      return before.length === 0 ? Number.MAX_SAFE_INTEGER : before.reduce((sum, one) => sum + one, 0) / before.length;
    };
    const order = column.map((task, index) => ({ task, index, at: wanted(task) })).sort((a, b) => a.at - b.at || a.index - b.index);
    column.splice(0, column.length, ...order.map(({ task }) => task));
    column.forEach((task, index) => rank.set(task.name, index - (column.length - 1) / 2));
  }
  const along = downwards ? node.height + node.along * 0.7 : node.width + node.along;
  const across = downwards ? node.width + node.across : node.height + node.across;
  const widest = Math.max(1, ...columns.map((column) => column.length));
  const places = columns.flatMap((column, layer) => column.map((task, index): Place => {
    const main = layer * along;
    const cross = (index + (widest - column.length) / 2) * across;
    return downwards ? { task, x: cross, y: main } : { task, x: main, y: cross };
  }));
  const at = new Map(places.map((place) => [place.task.name, place]));
  const edges = places.flatMap((to) => to.task.after.flatMap((name) => {
    const from = at.get(name);
    return from === undefined ? [] : [{ from, to }];
  }));
  return {
    places, edges,
    width: Math.max(0, ...places.map(({ x }) => x)) + node.width,
    height: Math.max(0, ...places.map(({ y }) => y)) + node.height,
  };
}
