import { h, icon, replace } from '../src/dom';
import { parseDiff, type DiffFile, type Hunk, type Line } from './diff';
import type { Agent } from './model';

const manyRows = 400; // of a file: it is shown when it is asked for
const mostRows = 4000; // of a file, which a browser draws in good time

/** What an agent changed: the old beside the new, or below it where there is no room. */
export class DiffView {
  readonly element: HTMLElement;
  private readonly again = h('button', { type: 'button', class: 'button small', onclick: () => this.load() }, icon('again'), 'Fetch again');
  private readonly summary = h('p', { class: 'diff-summary', role: 'status' });
  private readonly files = h('div', { class: 'diff-files' });
  private readonly narrow = matchMedia('(max-width: 900px)');
  private shown = '';
  private name = '';
  private parsed: DiffFile[] = [];

  constructor(private readonly fetchDiff: (name: string) => Promise<string>) {
    this.element = h('section', { class: 'pane pane-scroll', 'aria-label': 'Changes', tabindex: 0 }, h('div', { class: 'diff-head' }, this.summary, this.again), this.files);
    this.narrow.addEventListener('change', () => this.draw());
  }

  /** Fetched when the tab is opened, and on demand: it is packed in a container for it. */
  show(agent: Agent | undefined, past: boolean): void {
    const wanted = agent === undefined ? '' : `${agent.name} ${agent.created_ms} ${past}`;
    if (wanted === this.shown) return;
    this.shown = wanted;
    if (agent === undefined) return;
    this.name = agent.name;
    this.again.hidden = past;
    if (past) {
      this.parsed = [];
      this.files.replaceChildren();
      this.summary.textContent = agent.commit === '' ? `Nothing of ${agent.name} had been collected.` : `The last commit of ${agent.name} was ${agent.commit.slice(0, 12)}. Changes are shown as they are now: go back to now.`;
      return;
    }
    this.load();
  }

  private load(): void {
    const wanted = this.shown;
    this.summary.textContent = `Fetching the work of ${this.name}…`;
    this.again.disabled = true;
    this.fetchDiff(this.name).then((diff) => {
      if (this.shown !== wanted) return;
      this.parsed = parseDiff(diff);
      const sum = (key: 'added' | 'removed'): number => this.parsed.reduce((all, file) => all + file[key], 0);
      this.summary.textContent = this.parsed.length === 0 ? `${this.name} has changed nothing.`
        : `${this.parsed.length} ${this.parsed.length === 1 ? 'file' : 'files'} changed, ${sum('added')} lines added, ${sum('removed')} removed`;
      this.draw();
    }, (error: unknown) => {
      if (this.shown === wanted) this.summary.textContent = error instanceof Error ? error.message : String(error);
    }).finally(() => (this.again.disabled = false));
  }

  private draw(): void {
    replace(this.files, ...this.parsed.map((file) => this.file(file)));
  }

  private file(file: DiffFile): HTMLElement {
    const rows = file.hunks.reduce((all, hunk) => all + hunk.rows.length, 0);
    const body = h('div', { class: 'diff-body' });
    const fill = (): void => {
      if (body.childElementCount > 0) return;
      let left = mostRows;
      for (const hunk of file.hunks) {
        if (left <= 0) break;
        body.append(this.hunk({ ...hunk, rows: hunk.rows.slice(0, left) }, file.path));
        left -= hunk.rows.length;
      }
      if (left < 0) body.append(h('p', { class: 'quiet diff-more' }, `${-left} more rows: onsight agents diff ${this.name}`));
      if (file.hunks.length === 0) body.append(h('p', { class: 'quiet diff-more' }, file.note === '' ? 'No lines changed.' : `No lines to show: ${file.note}.`));
    };
    const open = rows <= manyRows;
    const details = h('details', { class: 'diff-file', open },
      h('summary', {},
        h('span', { class: 'diff-path' }, file.from === '' ? file.path : `${file.from} → ${file.path}`),
        file.note === '' ? null : h('span', { class: 'tag' }, file.note),
        h('span', { class: 'diff-count' }, h('span', { class: 'plus' }, `+${file.added}`), ' ', h('span', { class: 'minus' }, `−${file.removed}`))),
      body);
    if (open) fill();
    details.addEventListener('toggle', fill);
    return details;
  }

  private hunk(hunk: Hunk, path: string): HTMLElement {
    const side = (line: Line | undefined, kind: 'same' | 'ins' | 'del'): HTMLElement[] => [
      h('td', { class: `no ${line === undefined ? 'none' : kind}` }, line === undefined ? '' : String(line.number)),
      h('td', { class: `code ${line === undefined ? 'none' : kind}` }, line === undefined ? '' : kind === 'same' ? line.text : h(kind, {}, line.text))];
    const first = hunk.rows[0];
    const title = hunk.title === '' ? `line ${first?.right?.number ?? first?.left?.number ?? 1}` : hunk.title;
    const body = h('tbody', {});
    if (this.narrow.matches) {
      let added: HTMLElement[] = [];
      const row = (line: Line, kind: 'same' | 'ins' | 'del'): HTMLElement => h('tr', {}, ...side(line, kind));
      for (const { kind, left, right } of hunk.rows) {
        if (kind === 'same' && right !== undefined) {
          body.append(...added, row(right, 'same'));
          added = [];
          continue;
        }
        if (left !== undefined) body.append(row(left, 'del'));
        if (right !== undefined) added.push(row(right, 'ins'));
      }
      body.append(...added);
    } else {
      for (const { kind, left, right } of hunk.rows) {
        body.append(h('tr', {}, ...side(left, kind === 'same' ? 'same' : 'del'), ...side(right, kind === 'same' ? 'same' : 'ins')));
      }
    }
    const columns = this.narrow.matches ? 2 : 4;
    const widths = h('colgroup', {}, ...Array.from({ length: columns }, (_, i) => h('col', { class: i % 2 === 0 ? 'numbers' : '' })));
    return h('table', { class: `diff-table columns-${columns}`, 'aria-label': `${path}, ${title}` }, widths,
      h('thead', {}, h('tr', {}, h('th', { colspan: columns, scope: 'colgroup' }, title))), body);
  }
}
