import { drawnIcon, h, icon, iconButton, replace } from '../src/dom';
import { confirmDialog } from '../src/ui/dialogs';
import { Announcer, Toasts, warning } from '../src/ui/notices';
import { AboutView } from './about_view';
import type { ServerApi } from './api';
import { DiffView } from './diff_view';
import { mergedDialog, removeDialog, startDialog } from './dialogs';
import { agentIcon } from './icons';
import { LogView } from './log_view';
import { MessagesView } from './messages_view';
import { moneyMeter } from './meter';
import { isUp, type Agent } from './model';
import { Overview } from './overview';
import { ReplayBar } from './replay_bar';
import { Sidebar } from './sidebar';
import { TasksView } from './tasks_view';
import { TerminalView } from './terminal_view';
import { applyTheme, loadTheme, themeAfter } from './theme';
import { doing, tone } from './words';
import { World, type Snapshot } from './world';

const agentTabs = { terminal: 'Terminal', messages: 'Messages', changes: 'Changes', log: 'Log', about: 'About' };
const roomTabs = { overview: 'Overview', tasks: 'Tasks', messages: 'Messages', log: 'Log' };
type Tab = keyof typeof agentTabs | keyof typeof roomTabs;

/** The page: who there is on the left, one agent or all on the right, the log below. */
export class AgentsApp {
  private readonly world: World;
  private readonly toasts = new Toasts();
  private readonly announcer = new Announcer();
  private theme = loadTheme();
  private selected: string | undefined;
  private tab: Tab = 'overview';
  private tabsDrawn = '';
  private headDrawn = '';
  private readonly busy = new Set<string>();

  private readonly project = h('h1', { class: 'title' });
  private readonly money = h('span', { class: 'header-money' });
  private readonly connection = h('span', { class: 'connection', role: 'status' });
  private readonly themeButton = iconButton('screen', 'Appearance', () => this.nextTheme());
  private readonly startButton = h('button', { type: 'button', class: 'button primary small', onclick: () => this.startAgent() }, icon('plus'), h('span', {}, 'Start an agent'));
  private readonly menu = iconButton('menu', 'Agents', () => this.drawer(true), 'drawer-only');
  private readonly shade = h('div', { class: 'shade', hidden: true, onclick: () => this.drawer(false) });
  private readonly notes = h('div', { class: 'notes' });
  private readonly head = h('div', { class: 'agent-head' });
  private readonly tabs = h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Views' });
  private readonly stage = h('div', { class: 'stage', role: 'tabpanel', id: 'stage' });

  private readonly sidebar = new Sidebar((name) => this.open(name), () => this.drawer(false));
  private readonly terminal: TerminalView;
  private readonly messages = new MessagesView({
    send: (to, text, replyTo) => this.attempt(() => this.api.message(to, text, replyTo)),
    markRead: (numbers) => void this.attempt(() => this.api.markRead(numbers)),
  });
  private readonly diff = new DiffView((name) => this.api.diff(name));
  private readonly tasks = new TasksView((name) => this.open(name, 'about'));
  private readonly log = new LogView((seq) => this.world.go(seq));
  private readonly about = new AboutView();
  private readonly overview = new Overview((name) => this.open(name), () => this.startAgent());
  private readonly replay: ReplayBar;
  private readonly pastNote = h('p', { class: 'past-note quiet' }, 'The log holds no terminals: this one is shown as it is now, when you go back to now.');

  constructor(private readonly root: HTMLElement, private readonly api: ServerApi) {
    this.world = new World(api, () => this.draw());
    this.replay = new ReplayBar(this.world);
    const leave = (): void => this.tabs.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
    this.terminal = new TerminalView(api, leave, (sentence) => this.toasts.show(sentence));
  }

  start(): void {
    this.menu.setAttribute('aria-controls', 'agents');
    this.menu.setAttribute('aria-expanded', 'false');
    replace(this.root,
      h('a', { class: 'skip', href: '#stage', onclick: (event: Event) => (event.preventDefault(), this.stage.querySelector<HTMLElement>('[tabindex], textarea, button')?.focus()) }, 'Skip to the content'),
      this.sidebar.element,
      h('div', { class: 'page' },
        h('header', { class: 'header' }, this.menu, this.project, h('div', { class: 'header-tools' }, this.connection, this.money, this.themeButton, this.startButton)),
        h('main', { class: 'main' }, this.notes, this.head, this.tabs, this.stage),
        this.replay.element),
      this.shade, this.toasts.element, this.announcer.element);
    this.applyTheme();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.terminal.paint());
    window.addEventListener('hashchange', () => {
      this.readHash();
      this.draw();
    });
    window.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.drawer(false);
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) return void this.world.open();
      this.world.close();
      this.terminal.pause();
    });
    window.setInterval(() => this.draw(), 15000); // times go on
    this.readHash();
    void this.world.open();
  }

  private readHash(): void {
    const parts = location.hash.slice(1).split('/').map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return '';
      }
    });
    this.selected = parts[0] === 'agents' && parts[1] !== undefined && parts[1] !== '' ? parts[1] : undefined;
    const tab = this.selected === undefined ? parts[0] : parts[2];
    const known: Record<string, string> = this.selected === undefined ? roomTabs : agentTabs;
    this.tab = tab !== undefined && tab in known ? (tab as Tab) : this.selected === undefined ? 'overview' : 'terminal';
  }

  private open(name: string | undefined, tab?: Tab): void {
    this.drawer(false);
    const wanted = tab ?? (name === undefined ? 'overview' : 'terminal');
    location.hash = name === undefined ? wanted : `agents/${encodeURIComponent(name)}/${wanted}`;
  }

  private drawer(open: boolean): void {
    if (this.root.classList.contains('drawer-open') === open) return;
    this.root.classList.toggle('drawer-open', open);
    this.menu.setAttribute('aria-expanded', String(open));
    this.shade.hidden = !open;
    if (open) this.sidebar.element.querySelector('button')?.focus();
    else this.menu.focus();
  }

  private draw(): void {
    const snapshot = this.world.shown;
    this.drawNotes(snapshot);
    this.replay.update();
    this.root.classList.toggle('past', this.world.moment !== undefined);
    this.connection.textContent = this.world.connected ? '' : snapshot === undefined ? 'Connecting…' : 'Reconnecting…';
    this.startButton.disabled = snapshot === undefined || this.world.moment !== undefined;
    if (snapshot === undefined) return;
    const { state, past } = snapshot;
    const agent = state.agents.find(({ name }) => name === this.selected);
    document.title = `${state.unread > 0 ? `(${state.unread}) ` : ''}${state.project} · onsight agents`;
    this.project.textContent = state.project;
    replace(this.money, moneyMeter(state.spent, state.budget));
    this.sidebar.update(state, this.selected);
    this.drawHead(agent, past);
    this.drawTabs();
    this.drawStage(snapshot, agent);
  }

  private drawNotes(snapshot: Snapshot | undefined): void {
    const notes = [this.world.problem, snapshot?.state.problem ?? ''].filter((sentence) => sentence !== '');
    const key = JSON.stringify([notes, this.world.moment !== undefined]);
    if (this.notes.dataset['drawn'] === key) return;
    this.notes.dataset['drawn'] = key;
    replace(this.notes,
      ...notes.map((sentence) => warning(h('p', {}, sentence))),
      this.world.moment === undefined ? null : h('p', { class: 'past-banner', role: 'status' }, drawnIcon('M12 7v5l3.5 2M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z', 'clock'), h('span', {}, 'This is the past. Nothing can be changed here.')));
  }

  private drawHead(agent: Agent | undefined, past: boolean): void {
    const key = JSON.stringify([this.selected, agent, past, [...this.busy]]);
    if (key === this.headDrawn) return;
    const focused = this.head.contains(document.activeElement) ? document.activeElement?.textContent : null;
    this.headDrawn = key;
    this.head.hidden = this.selected === undefined;
    if (this.selected === undefined) return;
    if (agent === undefined) {
      replace(this.head, h('h2', {}, this.selected), h('p', { class: 'quiet' }, past ? 'There was no such agent at that moment.' : 'There is no such agent.'));
      return;
    }
    const action = (name: string, drawing: SVGSVGElement, can: boolean, run: () => void, look = ''): HTMLButtonElement =>
      h('button', { type: 'button', class: `button small ${look}`.trim(), disabled: past || !can || this.busy.has(`${name} ${agent.name}`), onclick: run }, drawing, h('span', {}, name));
    const stops = isUp(agent) && agent.wanted === 'running' && agent.phase !== 'stopping';
    replace(this.head,
      h('h2', {}, agent.name),
      h('p', { class: 'doing' }, h('span', { class: `dot tone-${tone(agent)}` }), agent.phase === 'running' ? `${agent.phase}, ${doing(agent)}`.replace('running, running', 'running') : doing(agent),
        agent.detail === '' ? null : h('span', { class: 'quiet agent-detail', title: agent.detail }, agent.detail)),
      h('div', { class: 'agent-actions' },
        stops ? action('Stop', icon('stop'), true, () => this.act('Stop', agent, () => this.api.stop(agent.name), `${agent.name} is told to stop.`))
          : action('Resume', agentIcon('play'), !isUp(agent), () => this.act('Resume', agent, () => this.api.resume(agent.name), `${agent.name} goes on.`)),
        action('Merge', agentIcon('merge'), agent.phase !== 'created' && agent.phase !== 'provisioning', () => void this.merge(agent), agent.work === 'unmerged' && !past ? 'primary' : ''),
        action('Remove', icon('trash'), agent.wanted !== 'removed', () => void this.remove(agent))));
    if (focused) [...this.head.querySelectorAll('button')].find((button) => button.textContent === focused)?.focus();
  }

  private drawTabs(): void {
    const known: Record<string, string> = this.selected === undefined ? roomTabs : agentTabs;
    const key = `${this.selected ?? ''} ${this.tab}`;
    if (key === this.tabsDrawn) return;
    const focused = this.tabs.contains(document.activeElement);
    this.tabsDrawn = key;
    const names = Object.keys(known);
    replace(this.tabs, ...names.map((name) => h('button', {
      type: 'button', role: 'tab', id: `tab-${name}`, class: 'tab', 'aria-selected': String(name === this.tab), 'aria-controls': 'stage', tabindex: name === this.tab ? 0 : -1,
      onclick: () => this.open(this.selected, name as Tab),
      onkeydown: (event: KeyboardEvent) => {
        const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
        if (step !== 0) this.open(this.selected, names[(names.indexOf(name) + step + names.length) % names.length] as Tab);
      },
    }, known[name] ?? '')));
    this.stage.setAttribute('aria-labelledby', `tab-${this.tab}`);
    if (focused) this.tabs.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
  }

  private drawStage(snapshot: Snapshot, agent: Agent | undefined): void {
    const { state, messages, runs, log, past } = snapshot;
    const at = past ? state.event?.at_ms ?? 0 : Date.now();
    const shows = (tab: Tab): boolean => this.tab === tab && (this.selected === undefined || agent !== undefined);
    const wanted = this.selected !== undefined && agent === undefined ? undefined
      : this.tab === 'terminal' ? (past ? this.pastNote : this.terminal.element)
      : { messages: this.messages, changes: this.diff, log: this.log, about: this.about, overview: this.overview, tasks: this.tasks }[this.tab].element;
    if (this.stage.firstElementChild !== (wanted ?? null)) replace(this.stage, wanted);
    if (shows('messages')) this.messages.update(messages, state.agents, this.selected, past);
    if (shows('log')) this.log.update(log, this.selected);
    if (shows('overview')) this.overview.update(state, past);
    if (shows('tasks')) this.tasks.update(runs);
    if (shows('about') && agent !== undefined) this.about.update(agent, at);
    this.terminal.show(shows('terminal') && !past && !document.hidden ? agent : undefined);
    this.diff.show(shows('changes') ? agent : undefined, past);
  }

  /** Whether it was done; if not, a note says why. */
  private async attempt(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.toasts.show(error instanceof Error ? error.message : String(error));
      return false;
    }
  }

  private act(name: string, agent: Agent, work: () => Promise<unknown>, done: string): void {
    const key = `${name} ${agent.name}`;
    this.busy.add(key);
    this.draw();
    void this.attempt(work).then((good) => {
      this.busy.delete(key);
      if (good) this.announcer.say(done);
      this.draw();
    });
  }

  private startAgent(): void {
    const roles = this.world.shown?.state.roles ?? [];
    void startDialog(roles, async (options) => {
      try {
        await this.api.start(options);
        this.open(options['name'], 'about');
        return '';
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    });
  }

  private async merge(agent: Agent): Promise<void> {
    const question = `What ${agent.name} committed goes into the branch that you have checked out. Nothing of it is run.`;
    if (!(await confirmDialog(`Merge ${agent.branch}?`, question, 'Merge', 'primary'))) return;
    this.act('Merge', agent, async () => {
      const merged = await this.api.merge(agent.name);
      void mergedDialog(agent.name, merged);
    }, `Asked to merge ${agent.name}.`);
  }

  private async remove(agent: Agent): Promise<void> {
    const how = await removeDialog(agent.name, agent.work === 'unmerged');
    if (how === undefined) return;
    this.act('Remove', agent, async () => {
      const { backup } = await this.api.remove(agent.name, how.force);
      this.toasts.show(backup === '' ? `${agent.name} is removed.` : `${agent.name} is removed; its work is kept as ${backup}.`);
    }, `${agent.name} is removed.`);
  }

  private nextTheme(): void {
    this.theme = themeAfter(this.theme);
    this.applyTheme();
    this.announcer.say(`Appearance: ${this.theme}.`);
  }

  private applyTheme(): void {
    applyTheme(this.theme);
    const names = { system: 'screen', light: 'sun', dark: 'moon' } as const;
    replace(this.themeButton, icon(names[this.theme]));
    this.themeButton.title = `Appearance: ${this.theme}`;
    this.themeButton.setAttribute('aria-label', `Appearance: ${this.theme}. Change it`);
    this.terminal.paint();
  }
}
