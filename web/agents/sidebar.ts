import { brand, h, iconButton, replace } from '../src/dom';
import { agentIcon } from './icons';
import type { State } from './model';
import { doing, tone } from './words';

/** Who there is. Rows stay the elements they are, so that the focus stays where it is. */
export class Sidebar {
  readonly element: HTMLElement;
  private readonly list = h('ul', { class: 'people' });
  private readonly rows = new Map<string, HTMLLIElement>();

  constructor(private readonly open: (name: string | undefined) => void, close: () => void) {
    this.element = h('nav', { class: 'sidebar', id: 'agents', 'aria-label': 'Agents' },
      h('div', { class: 'sidebar-head' }, brand(), iconButton('close', 'Close the list of agents', close, 'drawer-only')), this.list);
  }

  update(state: State, selected: string | undefined): void {
    const keys = ['', ...state.agents.map(({ name }) => name)];
    for (const [key, row] of this.rows) {
      if (keys.includes(key)) continue;
      row.remove();
      this.rows.delete(key);
    }
    keys.forEach((key, index) => {
      let row = this.rows.get(key);
      if (row === undefined) {
        row = h('li', {}, h('button', { type: 'button', class: 'person', onclick: () => this.open(key === '' ? undefined : key) }));
        this.rows.set(key, row);
      }
      if (this.list.children[index] !== row) this.list.insertBefore(row, this.list.children[index] ?? null);
      this.draw(row, state, key, (selected ?? '') === key);
    });
  }

  private draw(row: HTMLLIElement, state: State, key: string, current: boolean): void {
    const button = row.firstElementChild;
    const agent = state.agents.find(({ name }) => name === key);
    const drawn = JSON.stringify([agent?.phase, agent?.activity, agent?.unread, agent?.role, agent?.work, current, key === '' ? [state.unread, state.agents.length] : 0]);
    if (button === null || row.dataset['drawn'] === drawn) return;
    row.dataset['drawn'] = drawn;
    row.classList.toggle('current', current);
    if (current) button.setAttribute('aria-current', 'page');
    else button.removeAttribute('aria-current');
    if (agent === undefined) {
      replace(button, agentIcon('people'),
        h('span', { class: 'person-text' }, h('span', { class: 'person-name' }, 'Everyone'), h('span', { class: 'person-about' }, state.agents.length === 1 ? '1 agent' : `${state.agents.length} agents`)),
        state.unread === 0 ? null : h('span', { class: 'badge', title: `${state.unread} messages to you` }, h('span', { class: 'hidden' }, 'unread messages to you: '), String(state.unread)));
      return;
    }
    replace(button, h('span', { class: `dot tone-${tone(agent)}` }),
      h('span', { class: 'person-text' }, h('span', { class: 'person-name' }, agent.name), h('span', { class: 'person-about' }, `${doing(agent)} · ${agent.role}`)),
      agent.work === 'unmerged' ? h('span', { class: 'tag' }, 'work') : null);
  }
}
