import { ApiError, type Api } from './api';
import type { LoggedEvent, Message, State } from './model';
import { foldRuns, type Run } from './plan';

/** All that the page shows, of now or of one moment. */
export interface Snapshot {
  state: State;
  messages: Message[];
  runs: Run[];
  log: LoggedEvent[]; // the last of them, in order
  past: boolean;
}

const logLength = 300;
const keptPasts = 40;

/** What the server knows: now, as it changes, and any moment before, which does not change and is kept. */
export class World {
  /** Of the log's last event. */
  last = 0;
  /** The moment that is shown; undefined: now. */
  moment: number | undefined;
  connected = false;
  /** A sentence; empty: nothing is wrong. */
  problem = '';
  private live: Snapshot | undefined;
  private past: Snapshot | undefined;
  private readonly pasts = new Map<number, Snapshot>();
  private folded = 0; // of the plan: the events up to this one are in the runs
  private closeFeed: (() => void) | undefined;
  private mailChanged = false;
  private refreshing = false;
  private refreshAgain = false;
  private refreshTimer: ReturnType<typeof setTimeout> | undefined;
  private seekTimer: ReturnType<typeof setTimeout> | undefined;
  private seeking: AbortController | undefined;

  constructor(private readonly api: Api, private readonly changed: () => void, private readonly delays = { refresh: 120, seek: 140 }) {}

  /** What is to be shown; while a moment is on its way, what was shown before. */
  get shown(): Snapshot | undefined {
    return this.moment === undefined ? this.live : this.past ?? this.live;
  }
  get arriving(): boolean {
    return this.moment !== undefined && this.past?.state.seq !== this.moment;
  }

  async open(): Promise<void> {
    this.close();
    await this.attempt(async () => {
      const [state, messages, plan, log] = await Promise.all([this.api.state(), this.api.messages(), this.api.plan(), this.api.log()]);
      this.live = { state, messages, runs: foldRuns(plan.events), log: [], past: false };
      // The four answers are of moments close to each other: an event that comes twice counts once.
      this.folded = plan.seq;
      for (const event of log) this.append(event);
      this.last = Math.max(state.last_seq, log.at(-1)?.seq ?? 0);
      this.close();
      this.closeFeed = this.api.events(state.seq, {
        event: (event) => this.take(event),
        behind: () => void this.open(),
        connected: (yes) => this.setConnected(yes),
      });
    });
    this.changed();
  }

  close(): void {
    this.closeFeed?.();
    this.closeFeed = undefined;
  }

  /** Shows the moment after the event `seq`; undefined, or the last one of all: now. */
  go(seq: number | undefined): void {
    clearTimeout(this.seekTimer);
    this.seeking?.abort();
    this.seeking = undefined;
    if (seq === undefined || seq >= this.last) {
      this.moment = undefined;
      this.past = undefined;
      this.changed();
      return;
    }
    this.moment = Math.max(0, seq);
    const kept = this.pasts.get(this.moment);
    if (kept !== undefined) this.past = kept;
    else this.seekTimer = setTimeout(() => void this.seek(this.moment ?? 0), this.delays.seek);
    this.changed();
  }

  private async seek(at: number): Promise<void> {
    const seeking = new AbortController();
    this.seeking = seeking;
    const signal = seeking.signal;
    await this.attempt(async () => {
      const state = await this.api.state(at, signal); // the first makes that moment, the others find it made
      const [messages, plan, log] = await Promise.all([this.api.messages(at, signal), this.api.plan(at, signal), this.api.log(at, signal)]);
      const snapshot: Snapshot = { state, messages, runs: foldRuns(plan.events), log, past: true };
      this.pasts.set(at, snapshot);
      if (this.pasts.size > keptPasts) this.pasts.delete(this.pasts.keys().next().value ?? at);
      if (this.moment === at) this.past = snapshot;
    }, signal);
    if (!signal.aborted) this.changed();
  }

  private take(event: LoggedEvent): void {
    this.append(event);
    if (/^(message|agent\.removed)/.test(event.kind)) this.mailChanged = true;
    this.last = Math.max(this.last, event.seq);
    this.refreshSoon();
    this.changed();
  }

  private append(event: LoggedEvent): void {
    const live = this.live;
    if (live === undefined || event.seq <= (live.log.at(-1)?.seq ?? 0)) return;
    live.log.push(event);
    if (live.log.length > logLength) live.log.shift();
    if (event.seq > this.folded && /^(run|task)\./.test(event.kind)) live.runs = foldRuns([event], live.runs);
  }

  /** Agents, spending and receipts are what the server makes of the events: it is asked again, but not for each of many. */
  private refreshSoon(): void {
    if (this.refreshTimer !== undefined) return;
    this.refreshTimer = setTimeout(() => {
      this.refreshTimer = undefined;
      void this.refresh();
    }, this.delays.refresh);
  }

  async refresh(): Promise<void> {
    if (this.refreshing) {
      this.refreshAgain = true;
      return;
    }
    this.refreshing = true;
    await this.attempt(async () => {
      const mail = this.mailChanged;
      this.mailChanged = false;
      const [state, messages] = await Promise.all([this.api.state(), mail ? this.api.messages() : undefined]);
      if (this.live !== undefined) Object.assign(this.live, { state, ...(messages === undefined ? {} : { messages }) });
      this.last = Math.max(this.last, state.last_seq);
    });
    this.refreshing = false;
    this.changed();
    if (this.refreshAgain) {
      this.refreshAgain = false;
      void this.refresh();
    }
  }

  private setConnected(yes: boolean): void {
    // A server that was started again knows another token: what it says of that is what the user needs to hear. One may end
    // before the feed was ever open.
    if (!yes || this.problem !== '') this.refreshSoon();
    this.connected = yes;
    this.changed();
  }

  private async attempt(work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    try {
      await work();
      this.problem = '';
    } catch (error) {
      if (signal?.aborted === true) return;
      this.problem = error instanceof ApiError ? error.message : String(error);
    }
  }
}
