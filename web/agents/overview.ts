import { h, replace } from '../src/dom';
import { moneyMeter, timeMeter, tokenMeter } from './meter';
import { isUp, type Agent, type State } from './model';
import { doing, tone } from './words';

const workWords = { none: '', unmerged: 'to merge', merged: 'merged' };

/** How long it has run, in the container that it has or had last. */
export function ranFor(agent: Agent, now: number): number {
  if (agent.started_ms === 0) return 0;
  return (isUp(agent) ? now : Math.max(agent.stopped_ms, agent.started_ms)) - agent.started_ms;
}

/** All agents side by side, with what they spend. */
export class Overview {
  readonly element: HTMLElement;
  private readonly body = h('div', {});
  private drawn = '';

  constructor(private readonly openAgent: (name: string) => void, private readonly start: () => void) {
    this.element = h('section', { class: 'pane pane-scroll', 'aria-label': 'Overview', tabindex: 0 }, this.body);
  }

  update(state: State, past: boolean): void {
    const at = past ? state.event?.at_ms ?? 0 : Date.now();
    const drawn = JSON.stringify([state.agents, state.spent, state.budget, past, Math.round(at / 1000)]);
    if (drawn === this.drawn) return;
    const focused = this.drawn === '' ? null : document.activeElement?.getAttribute('data-agent');
    this.drawn = drawn;
    if (state.agents.length === 0) {
      replace(this.body, h('div', { class: 'empty-room' },
        h('h2', {}, past ? 'No agents at that moment' : 'No agents yet'),
        h('p', { class: 'quiet' }, past ? 'Go on in the log to see them come.' : 'Each gets a container of its own, a clone of the repository, and a budget.'),
        past ? null : h('button', { type: 'button', class: 'button primary', onclick: this.start }, 'Start an agent')));
      return;
    }
    const cards = h('div', { class: 'cards' },
      h('div', { class: 'card' }, h('h2', {}, 'Money, all agents'), moneyMeter(state.spent, state.budget)),
      h('div', { class: 'card' }, h('h2', {}, 'Tokens, all agents'), tokenMeter(state.spent, state.budget)),
      h('div', { class: 'card' }, h('h2', {}, 'Requests to models'), h('span', { class: 'meter-words' }, String(state.spent.requests))));
    const table = h('table', { class: 'agents-table' },
      h('caption', { class: 'hidden' }, 'Agents'),
      h('thead', {}, h('tr', {}, ...['Agent', 'Does', 'Work', 'Money', 'Tokens', 'Time', 'Unread'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, ...state.agents.map((agent) => this.row(agent, at))));
    replace(this.body, cards, h('div', { class: 'table-scroll' }, table));
    if (focused !== null && focused !== undefined) this.body.querySelector<HTMLElement>(`[data-agent="${CSS.escape(focused)}"]`)?.focus();
  }

  private row(agent: Agent, at: number): HTMLElement {
    return h('tr', {},
      h('th', { scope: 'row' },
        h('button', { type: 'button', class: 'text-button agent-link', 'data-agent': agent.name, onclick: () => this.openAgent(agent.name) }, agent.name),
        h('span', { class: 'quiet' }, agent.role)),
      h('td', { 'data-label': 'Does' }, h('span', { class: 'doing' }, h('span', { class: `dot tone-${tone(agent)}` }), doing(agent))),
      h('td', { 'data-label': 'Work' }, workWords[agent.work]),
      h('td', { 'data-label': 'Money' }, moneyMeter(agent.spent, agent.budget)),
      h('td', { 'data-label': 'Tokens' }, tokenMeter(agent.spent, agent.budget)),
      h('td', { 'data-label': 'Time' }, timeMeter(ranFor(agent, at), agent.budget)),
      h('td', { 'data-label': 'Unread' }, agent.unread === 0 ? '' : String(agent.unread)));
  }
}
