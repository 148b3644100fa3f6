import { h } from '../src/dom';
import { agentIconButton } from './icons';
import { moment, sentence } from './words';
import type { World } from './world';

/** The log as a slider: at its right end is now, and any other place is a moment of the past. */
export class ReplayBar {
  readonly element: HTMLElement;
  private readonly slider = h('input', { type: 'range', min: 0, max: 0, step: 1, class: 'replay-slider', 'aria-label': 'Moment of the log' });
  private readonly words = h('span', { class: 'replay-words' });
  private readonly back = agentIconButton('back', 'One event back', () => this.world.go((this.world.moment ?? this.world.last) - 1));
  private readonly on = agentIconButton('forward', 'One event on', () => this.world.go((this.world.moment ?? this.world.last) + 1));
  private readonly now = h('button', { type: 'button', class: 'button small', onclick: () => this.world.go(undefined) }, 'Back to now');

  constructor(private readonly world: World) {
    this.slider.addEventListener('input', () => this.world.go(Number(this.slider.value)));
    this.element = h('footer', { class: 'replay', 'aria-label': 'Replay' }, this.back, this.slider, this.on, this.words, this.now);
  }

  update(): void {
    const { moment: at, last, shown, arriving } = this.world;
    this.slider.max = String(last);
    this.slider.value = String(at ?? last);
    this.back.disabled = (at ?? last) <= 0;
    this.on.disabled = at === undefined;
    this.now.hidden = at === undefined;
    this.slider.disabled = last === 0;
    const event = shown?.state.event;
    const text = at === undefined ? `Now, after ${last} ${last === 1 ? 'event' : 'events'}`
      : arriving ? `Event ${at} of ${last}…`
      : event === null || event === undefined ? 'Before the first event'
      : `${moment(event.at_ms)} · ${at} of ${last} · ${sentence(event)}`;
    this.words.textContent = text;
    this.words.title = text;
    this.slider.setAttribute('aria-valuetext', text);
  }
}
