import { h, replace } from '../src/dom';
import { moneyMeter, timeMeter, tokenMeter } from './meter';
import type { Agent } from './model';
import { ranFor } from './overview';
import { count, doing, moment } from './words';

/** What is known of one agent: what it is to do, how far it is, what it costs. */
export class AboutView {
  readonly element = h('section', { class: 'pane pane-scroll', 'aria-label': 'About', tabindex: 0 });

  private drawn = '';

  update(agent: Agent, at: number): void {
    const drawn = JSON.stringify([agent, Math.round(at / 1000)]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const fact = (name: string, value: string | Node): HTMLElement | null => (value === '' ? null : h('div', {}, h('dt', {}, name), h('dd', {}, value)));
    const code = (text: string): Node | string => (text === '' ? '' : h('code', {}, text));
    replace(this.element,
      h('div', { class: 'cards' },
        h('div', { class: 'card' }, h('h3', {}, 'Money'), moneyMeter(agent.spent, agent.budget)),
        h('div', { class: 'card' }, h('h3', {}, 'Tokens'), tokenMeter(agent.spent, agent.budget)),
        h('div', { class: 'card' }, h('h3', {}, 'Time'), timeMeter(ranFor(agent, at), agent.budget))),
      h('dl', { class: 'facts' },
        fact('Task', agent.task === '' ? 'none: it waits for someone to type' : h('p', { class: 'long-text' }, agent.task)),
        fact('Does', agent.detail === '' ? doing(agent) : `${doing(agent)}: ${agent.detail}`),
        fact('Says', agent.result === '' ? '' : agent.result === 'failed' ? 'that it failed' : 'that it is done'),
        fact('Role', agent.role),
        fact('Harness', agent.model === '' ? agent.harness : `${agent.harness}, ${agent.model}`),
        fact('Branch', code(agent.branch)),
        fact('Began at', code(agent.base.slice(0, 12))),
        fact('Collected', agent.work === 'none' ? 'nothing yet' : h('span', {}, h('code', {}, agent.commit.slice(0, 12)), agent.work === 'merged' ? ', merged' : ', not merged')),
        fact('Tokens', agent.spent.requests === 0 ? '' : `${count(agent.spent.tokens_in)} in, ${count(agent.spent.tokens_out)} out, ${agent.spent.requests} requests`),
        fact('Containers', agent.generation === 0 ? 'none yet' : String(agent.generation)),
        fact('Created', moment(agent.created_ms)),
        fact('Started', agent.started_ms === 0 ? '' : moment(agent.started_ms)),
        fact('Stopped', agent.stopped_ms === 0 || agent.phase !== 'stopped' ? '' : moment(agent.stopped_ms)),
        fact('Exit code', agent.exit_code === undefined || agent.phase === 'running' ? '' : String(agent.exit_code))));
  }
}
