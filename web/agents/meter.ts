import { h } from '../src/dom';
import type { Budget, Spent } from './model';
import { count, dollars, duration } from './words';

/** How much of a budget is used, as a bar with its words; without a budget the words alone. */
export function meter(label: string, used: number, reserved: number, most: number | undefined, show: (value: number) => string): HTMLElement {
  const words = most === undefined ? show(used) : `${show(used)} of ${show(most)}`;
  const part = (value: number): string => `${Math.min(100, (100 * value) / Math.max(1, most ?? 1)).toFixed(1)}%`;
  const full = most !== undefined && used + reserved >= most;
  const near = most !== undefined && !full && used + reserved >= most * 0.8;
  const bar = most === undefined ? null : h('span', { class: `meter-bar${full ? ' full' : near ? ' near' : ''}`, 'aria-hidden': 'true' });
  if (bar !== null) {
    const usedPart = h('span', { class: 'meter-used' });
    const reservedPart = h('span', { class: 'meter-reserved' });
    usedPart.style.width = part(used);
    reservedPart.style.width = part(reserved);
    bar.append(usedPart, reservedPart);
  }
  const title = reserved > 0 ? `${label}: ${words}, and ${show(reserved)} reserved for requests on their way` : `${label}: ${words}`;
  return h('span', { class: 'meter', title },
    h('span', { class: 'hidden' }, `${label}: `), h('span', { class: 'meter-words' }, words), bar);
}

export function moneyMeter(spent: Spent, budget: Budget): HTMLElement {
  return meter('Money', spent.micro_usd, spent.reserved_micro_usd, budget.micro_usd, dollars);
}

export function tokenMeter(spent: Spent, budget: Budget): HTMLElement {
  return meter('Tokens', spent.tokens_in + spent.tokens_out, spent.reserved_tokens, budget.tokens, count);
}

export function timeMeter(ms: number, budget: Budget): HTMLElement {
  return meter('Time', ms, 0, budget.ms, duration);
}
