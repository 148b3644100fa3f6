import { drawnIcon, h } from '../src/dom';

const paths = {
  merge: 'M7 4v16M7 9c0 5 10 1 10 7v4M4.5 17.5L7 20l2.5-2.5M14.5 17.5L17 20l2.5-2.5',
  play: 'M8 5.5v13l10.5-6.5z',
  back: 'M15 6l-6 6 6 6',
  forward: 'M9 6l6 6-6 6',
  people: 'M9 11a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 9 11zM3 19c.6-3.3 3-5 6-5s5.4 1.7 6 5M16 11a2.7 2.7 0 1 0-1-5.2M17 14.2c2.1.5 3.5 2.1 4 4.8',
  reply: 'M10 6l-5.5 5.5L10 17M5 11.5h8c4 0 6 2.2 6.5 6',
};
export type AgentIcon = keyof typeof paths;

export function agentIcon(name: AgentIcon): SVGSVGElement {
  return drawnIcon(paths[name], name);
}

export function agentIconButton(name: AgentIcon, label: string, onclick: () => void): HTMLButtonElement {
  return h('button', { type: 'button', class: 'icon-button small', 'aria-label': label, title: label, onclick }, agentIcon(name));
}
