import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

/** `onsight serve` on a port of its own, or the same with a scripted engine. */
export class Program {
  url = '';
  private child: ChildProcess | undefined;

  async start(binary: string, options: string[] = [], environment: Record<string, string> = {}): Promise<void> {
    const child = spawn(binary, ['serve', '--port', '0', ...options], { env: { ...process.env, ...environment }, stdio: ['ignore', 'ignore', 'pipe'] });
    this.child = child;
    this.url = await new Promise((resolve, reject) => {
      const said: string[] = [];
      const lines = createInterface({ input: child.stderr });
      lines.on('line', (line) => {
        said.push(line);
        const address = / at (http:\/\/\S+)$/.exec(line)?.[1];
        if (address !== undefined) resolve(address);
      });
      lines.once('close', () => reject(new Error(`${binary} ended: ${said.join(' ')}`)));
      child.once('error', reject);
    });
  }

  /** How many answers it is writing. */
  async active(): Promise<number> {
    const health = (await (await fetch(`${this.url}/health`)).json()) as { active: number };
    return health.active;
  }

  stop(): void {
    this.child?.kill();
  }
}
