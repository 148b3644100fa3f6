import { h, replace, shape } from '../src/dom';
import { layOut, node, type Run, type Task } from './plan';
import { count, dollars, duration, moment } from './words';

const shorten = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);

/** The tasks of a run as a graph, and what is known of the one that was chosen. */
export class TasksView {
  readonly element: HTMLElement;
  private readonly choice = h('select', { 'aria-label': 'Run', onchange: () => this.choose(this.choice.value) });
  private readonly head = h('div', { class: 'run-head' });
  private readonly graph = h('div', { class: 'graph', tabindex: 0, role: 'group', 'aria-label': 'Tasks, by what they wait for' });
  private readonly about = h('div', { class: 'task-about' });
  private readonly narrow = matchMedia('(max-width: 720px)');
  private runs: Run[] = [];
  private run: string | undefined; // undefined: the last one
  private task: string | undefined;
  private drawn = '';

  constructor(private readonly openAgent: (name: string) => void) {
    this.element = h('section', { class: 'pane pane-scroll', 'aria-label': 'Tasks', tabindex: 0 }, this.head, this.graph, this.about);
    this.narrow.addEventListener('change', () => this.draw());
  }

  update(runs: Run[]): void {
    const drawn = JSON.stringify(runs);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.runs = runs;
    this.draw();
  }

  private choose(run: string): void {
    this.run = run;
    this.task = undefined;
    this.draw();
  }

  private draw(): void {
    const run = this.runs.find((one) => one.run === this.run) ?? this.runs.at(-1);
    const focused = document.activeElement?.getAttribute('data-task');
    if (run === undefined) {
      replace(this.head, h('p', { class: 'empty quiet' }, 'No run yet: onsight agents run PLAN starts one, and its tasks are shown here.'));
      this.graph.hidden = true;
      this.about.replaceChildren();
      return;
    }
    this.graph.hidden = false;
    replace(this.choice, ...[...this.runs].reverse().map((one) => h('option', { value: one.run, selected: one === run }, `${shorten(one.goal || one.run, 60)}, ${moment(one.started_ms)}`)));
    const done = run.tasks.filter(({ state }) => state === 'done').length;
    const limits = [
      run.limits.agents === undefined ? '' : `${run.limits.agents} agents`, run.limits.attempts === undefined ? '' : `${run.limits.attempts} attempts a task`,
      run.limits.micro_usd === undefined ? '' : dollars(run.limits.micro_usd), run.limits.tokens === undefined ? '' : `${count(run.limits.tokens)} tokens`,
      run.limits.ms === undefined ? '' : duration(run.limits.ms)].filter((text) => text !== '');
    replace(this.head,
      this.runs.length > 1 ? h('label', { class: 'run-choice' }, h('span', { class: 'hidden' }, 'Run'), this.choice) : null,
      h('h2', {}, run.goal || run.run),
      h('p', { class: 'run-line' },
        h('span', { class: `state state-${run.result}` }, run.result === 'budget' ? 'out of budget' : run.result),
        h('span', {}, `${done} of ${run.tasks.length} tasks done`),
        run.branch === '' ? null : h('span', { class: 'quiet' }, `into ${run.branch}`),
        limits.length === 0 ? null : h('span', { class: 'quiet' }, `limits: ${limits.join(', ')}`),
        run.detail === '' ? null : h('span', {}, run.detail)));
    const layout = layOut(run.tasks, this.narrow.matches);
    const margin = 6;
    const drawing = shape('svg', {
      width: layout.width + 2 * margin, height: layout.height + 2 * margin, viewBox: `${-margin} ${-margin} ${layout.width + 2 * margin} ${layout.height + 2 * margin}`, class: 'graph-drawing',
    });
    for (const { from, to } of layout.edges) {
      const down = this.narrow.matches;
      const [x1, y1] = down ? [from.x + node.width / 2, from.y + node.height] : [from.x + node.width, from.y + node.height / 2];
      const [x2, y2] = down ? [to.x + node.width / 2, to.y] : [to.x, to.y + node.height / 2];
      const bend = down ? `C ${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${y2}` : `C ${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
      drawing.append(shape('path', { d: `M ${x1} ${y1} ${bend}`, class: `edge${from.task.state === 'done' ? ' met' : ''}`, 'aria-hidden': 'true' }));
    }
    for (const { task, x, y } of layout.places) drawing.append(this.node(task, x, y));
    replace(this.graph, drawing);
    if (focused !== null && focused !== undefined) this.graph.querySelector<SVGElement>(`[data-task="${CSS.escape(focused)}"]`)?.focus();
    this.describe(run.tasks.find(({ name }) => name === this.task));
  }

  private node(task: Task, x: number, y: number): SVGElement {
    const chosen = task.name === this.task;
    const line = [task.state, task.attempt > 1 ? `attempt ${task.attempt}` : '', task.agent].filter((text) => text !== '').join(' · ');
    const label = [`Task ${task.name}`, task.state, task.attempt > 1 ? `attempt ${task.attempt}` : '', task.agent === '' ? '' : `agent ${task.agent}`,
      task.after.length === 0 ? '' : `after ${task.after.join(', ')}`].filter((text) => text !== '').join(', ');
    const choose = (): void => {
      this.task = chosen ? undefined : task.name;
      this.draw();
    };
    const element = shape('g', { transform: `translate(${x} ${y})`, class: `node state-${task.state}${chosen ? ' chosen' : ''}`, tabindex: 0, role: 'button', 'aria-label': label, 'aria-pressed': String(chosen), 'data-task': task.name },
      shape('rect', { width: node.width, height: node.height, rx: 12, class: 'node-box' }),
      shape('rect', { x: 0, y: 12, width: 4, height: node.height - 24, rx: 2, class: 'node-mark' }),
      shape('text', { x: 16, y: 26, class: 'node-name' }, shorten(task.name, 21)),
      shape('text', { x: 16, y: 46, class: 'node-line' }, shorten(line, 27)));
    element.addEventListener('click', choose);
    element.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      choose();
    });
    return element;
  }

  private describe(task: Task | undefined): void {
    if (task === undefined) return this.about.replaceChildren();
    const row = (name: string, value: string | Node): HTMLElement | null => (value === '' ? null : h('div', {}, h('dt', {}, name), h('dd', {}, value)));
    replace(this.about, h('h3', {}, task.name), h('dl', { class: 'facts' },
      row('State', task.attempt > 1 ? `${task.state}, attempt ${task.attempt}` : task.state),
      row('Detail', task.detail),
      row('Role', task.role),
      row('Agent', task.agent === '' ? '' : h('button', { type: 'button', class: 'text-button', onclick: () => this.openAgent(task.agent) }, task.agent)),
      row('Waits for', task.after.join(', ')),
      row('Checks', task.checks.length === 0 ? '' : h('ul', {}, ...task.checks.map((line) => h('li', {}, h('code', {}, line))))),
      row('Commit', task.commit.slice(0, 12)),
      row('Added by', task.by),
      row('What it is to do', task.prompt === '' ? '' : h('p', { class: 'long-text' }, task.prompt))));
  }
}
