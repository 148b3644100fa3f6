import { h, replace } from '../src/dom';
import type { LoggedEvent } from './model';
import { clock, moment, sentence } from './words';

/** The log, the newest event first; each is a moment that can be gone to. */
export class LogView {
  readonly element: HTMLElement;
  private readonly list = h('ol', { class: 'log', reversed: true });
  private drawn = '';

  constructor(private readonly go: (seq: number) => void) {
    this.element = h('section', { class: 'pane pane-scroll', 'aria-label': 'Log', tabindex: 0 }, this.list);
  }

  /** `agent` undefined: of all. */
  update(log: LoggedEvent[], agent: string | undefined): void {
    const own = agent === undefined ? log : log.filter((event) => event.agent === agent || event.actor === agent);
    const drawn = `${agent ?? ''} ${own.at(0)?.seq ?? 0} ${own.at(-1)?.seq ?? 0} ${own.length}`;
    if (drawn === this.drawn) return;
    const focused = document.activeElement?.getAttribute('data-seq');
    this.drawn = drawn;
    replace(this.list, ...[...own].reverse().map((event) => h('li', { class: `log-line kind-${event.kind.split('.')[0] ?? ''}` },
      h('button', { type: 'button', class: 'log-open', 'data-seq': event.seq, title: `Show everything as it was then: event ${event.seq}, ${moment(event.at_ms)}, by ${event.actor}`, onclick: () => this.go(event.seq) },
        h('time', { class: 'quiet', datetime: new Date(event.at_ms).toISOString() }, clock(event.at_ms)),
        h('span', { class: 'log-sentence' }, sentence(event)),
        h('span', { class: 'quiet log-seq' }, String(event.seq))))));
    if (own.length === 0) this.list.append(h('li', { class: 'empty quiet' }, 'Nothing among the last events.'));
    if (focused !== null && focused !== undefined) this.list.querySelector<HTMLElement>(`[data-seq="${CSS.escape(focused)}"]`)?.focus();
  }
}
