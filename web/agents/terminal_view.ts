import { FitAddon } from '@xterm/addon-fit';
import { Terminal, type ITheme } from '@xterm/xterm';
import { h } from '../src/dom';
import type { ServerApi } from './api';
import type { Agent } from './model';
import { isDark } from './theme';

const ctrlBracket = '\x1d';

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

/** Colours of a terminal on the page's own ground, each with enough contrast to it. */
const light: ITheme = {
  background: '#ffffff', foreground: '#17201e', cursor: '#0d7065', cursorAccent: '#ffffff', selectionBackground: '#b8dcd6',
  black: '#17201e', red: '#b3261e', green: '#1b6e3c', yellow: '#7a5200', blue: '#1d5fae', magenta: '#8a3a9c', cyan: '#0d6b76', white: '#5c6663',
  brightBlack: '#56625e', brightRed: '#c4362d', brightGreen: '#1f7a45', brightYellow: '#856000', brightBlue: '#2a6bc0', brightMagenta: '#9a49ac', brightCyan: '#0f7581', brightWhite: '#3b4542',
};
const dark: ITheme = {
  background: '#0d0f10', foreground: '#e7ecea', cursor: '#5cd0bf', cursorAccent: '#0d0f10', selectionBackground: '#245049',
  black: '#2f3638', red: '#ff8d84', green: '#6fd39b', yellow: '#f2c169', blue: '#82b4ff', magenta: '#d9a0e8', cyan: '#5cd0bf', white: '#d3dad7',
  brightBlack: '#9ca8a5', brightRed: '#ffaaa3', brightGreen: '#8fe0b3', brightYellow: '#f7d391', brightBlue: '#a5caff', brightMagenta: '#e6bbf1', brightCyan: '#86e0d3', brightWhite: '#ffffff',
};

/** One agent's terminal: live while it runs, else what it showed last. */
export class TerminalView {
  readonly element: HTMLElement;
  private readonly screen = h('div', { class: 'terminal-screen' });
  private readonly note = h('p', { class: 'terminal-note quiet', role: 'status' });
  private terminal: Terminal | undefined;
  private readonly fit = new FitAddon();
  private source: EventSource | undefined;
  private shown = ''; // name and container of what is looked at
  private name = '';
  private running = false;
  private live = false;
  private tries = 0; // since it was live
  private typed = '';
  private typing = false;
  private sized = '';

  constructor(private readonly api: ServerApi, private readonly leave: () => void, private readonly failed: (sentence: string) => void) {
    this.element = h('section', { class: 'terminal-pane', 'aria-label': 'Terminal' }, this.screen, this.note);
    new ResizeObserver(() => this.resize()).observe(this.screen);
  }

  /** Shows this agent's terminal; undefined: none, as when another tab is open. */
  show(agent: Agent | undefined): void {
    const wanted = agent === undefined ? '' : `${agent.name} ${agent.created_ms} ${agent.generation} ${agent.phase === 'running'}`;
    if (wanted === this.shown) return;
    this.source?.close();
    this.source = undefined;
    this.shown = wanted;
    this.live = false;
    this.typed = '';
    if (agent === undefined) return;
    this.name = agent.name;
    this.running = agent.phase === 'running';
    this.tries = 0;
    this.open();
    this.terminal?.reset();
    this.watch();
  }

  focus(): void {
    this.terminal?.focus();
  }

  paint(): void {
    if (this.terminal !== undefined) this.terminal.options.theme = isDark() ? dark : light;
  }

  /** Looks no longer, while the tab of the browser is hidden: a browser has few connections to one server. */
  pause(): void {
    this.source?.close();
    this.source = undefined;
    this.shown = '';
  }

  private open(): void {
    if (this.terminal !== undefined) return;
    const terminal = new Terminal({
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'), fontSize: 13.5, lineHeight: 1.2, scrollback: 5000,
      theme: isDark() ? dark : light, cursorBlink: false, allowProposedApi: false, minimumContrastRatio: 4.5,
    });
    terminal.loadAddon(this.fit);
    terminal.open(this.screen);
    // Tab belongs to the agent: this key leads out, as it does from `onsight agents attach`.
    terminal.attachCustomKeyEventHandler((event) => {
      if (!event.ctrlKey || event.key !== ']') return true;
      event.preventDefault();
      if (event.type === 'keydown') this.leave();
      return false;
    });
    terminal.onData((text) => this.type(text === ctrlBracket ? '' : text));
    this.terminal = terminal;
    this.fit.fit();
  }

  private watch(): void {
    const { terminal } = this;
    if (terminal === undefined) return;
    this.fit.fit();
    this.sized = `${terminal.rows}x${terminal.cols}`;
    this.note.textContent = 'Connecting…';
    const source = this.api.terminal(this.name, terminal.rows, terminal.cols);
    this.source = source;
    source.addEventListener('begin', ({ data }: MessageEvent<string>) => {
      terminal.reset();
      this.live = (JSON.parse(data) as { live: boolean }).live;
      if (this.live) this.tries = 0;
      terminal.options.disableStdin = !this.live;
      terminal.options.cursorInactiveStyle = this.live ? 'outline' : 'none';
      this.note.textContent = this.live ? 'What you type goes to the agent. Ctrl-] leaves the terminal.' : '';
    });
    source.onmessage = ({ data }: MessageEvent<string>) => terminal.write(bytesOf(data));
    source.addEventListener('end', ({ data }: MessageEvent<string>) => {
      source.close();
      const { detail } = JSON.parse(data) as { detail: string };
      // Of an agent that runs it comes back: a supervisor that was killed is started again, and takes hold of it.
      if (this.running && this.tries++ < 5) window.setTimeout(() => (this.source === source ? this.watch() : undefined), 1500);
      this.note.textContent = this.live ? 'The terminal has ended.' : `${detail}. This is what its terminal showed last.`;
      this.live = false;
      terminal.options.disableStdin = true;
    });
    source.onerror = () => {
      this.live = false;
      if (source.readyState === EventSource.CLOSED) this.note.textContent = 'The terminal cannot be shown now.';
    };
  }

  private resize(): void {
    if (this.terminal === undefined || this.screen.clientWidth === 0) return;
    this.fit.fit();
    const { rows, cols } = this.terminal;
    const size = `${rows}x${cols}`;
    if (!this.live || size === this.sized) return;
    this.sized = size;
    this.api.size(this.name, rows, cols).catch(() => undefined); // it is drawn as wide as it was
  }

  /** One request after the other, so that no key overtakes another. */
  private type(text: string): void {
    if (!this.live || text === '') return;
    this.typed += text;
    if (!this.typing) void this.send();
  }

  private async send(): Promise<void> {
    this.typing = true;
    while (this.typed !== '') {
      const [text, name] = [this.typed, this.name];
      this.typed = '';
      try {
        await this.api.type(name, text);
      } catch (error) {
        this.typed = '';
        this.failed(error instanceof Error ? error.message : String(error));
      }
    }
    this.typing = false;
  }
}
