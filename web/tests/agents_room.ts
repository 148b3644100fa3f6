import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';

export interface StoryEvent {
  actor: string;
  agent?: string;
  kind: string;
  body?: Record<string, unknown>;
}

/** A repository with agents, everything of theirs below one folder, and `onsight agents serve` for it. */
export class Room {
  readonly folder = mkdtempSync(join(tmpdir(), 'onsight-page-'));
  readonly repository = join(this.folder, 'shop');
  url = '';
  private state = '';
  private child: ChildProcess | undefined;
  private readonly environment: Record<string, string | undefined> = {
    ...process.env, HOME: this.folder, ONSIGHT_AGENTS_STATE: join(this.folder, 's'), ONSIGHT_AGENTS_RUN: join(this.folder, 'r'), GIT_CONFIG_GLOBAL: '/dev/null',
  };

  constructor(private readonly build: string, config: string) {
    mkdirSync(join(this.folder, 'r'), { mode: 0o700 });
    mkdirSync(join(this.repository, '.onsight'), { recursive: true });
    this.git('init', '-q', '-b', 'main');
    this.git('config', 'user.name', 'T');
    this.git('config', 'user.email', 't@example.org');
    writeFileSync(join(this.repository, 'a.txt'), 'one\ntwo\nthree\n');
    this.configure(config);
    this.git('add', '-A');
    this.git('commit', '-q', '-m', 'first');
  }

  configure(text: string): void {
    writeFileSync(join(this.repository, '.onsight', 'agents.toml'), text);
  }

  git(...args: string[]): string {
    return execFileSync('git', args, { cwd: this.repository, env: this.environment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Into the log, as if it happened now. */
  happen(...events: StoryEvent[]): void {
    const input = events.map((event) => `${JSON.stringify(event)}\n`).join('');
    this.state = execFileSync(join(this.build, 'agents_story'), [this.repository], { input, env: this.environment, encoding: 'utf8' }).trim();
  }

  /** What a container of an agent wrote to its terminal. */
  terminal(agent: string, generation: number, bytes: string): void {
    mkdirSync(join(this.state, 'logs', agent), { recursive: true });
    writeFileSync(join(this.state, 'logs', agent, `${generation}.log`), bytes);
  }

  async serve(): Promise<void> {
    const child = spawn(join(this.build, 'onsight'), ['agents', 'serve', '--project', this.repository], { env: this.environment, stdio: ['ignore', 'pipe', 'inherit'] });
    this.child = child;
    this.url = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', resolve).once('close', () => reject(new Error('onsight agents serve ended')));
      child.once('error', reject);
    });
  }

  /** kill -9 of what works for this repository's agents: "supervise", "broker". */
  kill(...verbs: string[]): void {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        if (verbs.some((verb) => command.includes(`agents\0${verb}`)) && command.includes(this.repository)) process.kill(Number(pid), 'SIGKILL');
      } catch {
        continue; // it has ended
      }
    }
  }

  /** As Ctrl-C. Returns its exit code. */
  async stop(): Promise<number | null> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined) return null;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    return ended;
  }

  async end(): Promise<void> {
    await this.stop();
    this.kill('supervise', 'broker');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A container engine of its own with an image that agents can run in; undefined: it cannot run here, and `missing` says why. */
export class EngineProcess {
  socket = '';
  missing = '';
  private child: ChildProcess | undefined;
  private lines: Interface | undefined;

  async start(name: string, build: string): Promise<void> {
    const child = spawn('python3', [join('..', 'tests', 'agents', 'engine_with_image.py'), name], {
      env: { ...process.env, ONSIGHT_BINARY: join(process.cwd(), build, 'onsight'), ONSIGHT_AGENT_BINARY: join(process.cwd(), build, 'onsight-agent') }, stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.child = child;
    this.lines = createInterface({ input: child.stdout });
    const line = await new Promise<string>((resolve) => {
      this.lines?.once('line', resolve);
      child.once('exit', () => resolve('{"missing": "the engine ended"}'));
    });
    const told = JSON.parse(line) as { socket?: string; missing?: string };
    this.socket = told.socket ?? '';
    this.missing = told.missing ?? '';
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.stdin?.end();
    await ended;
  }
}
