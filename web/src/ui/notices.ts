import { h, icon, iconButton } from '../dom';

/** Says something to screen readers, once, when they are idle. */
export class Announcer {
  readonly element = h('div', { class: 'hidden', role: 'status', 'aria-live': 'polite', 'aria-atomic': 'true' });
  private timer = 0;

  say(text: string): void {
    // The same words twice are a change only if the region was empty in between.
    this.element.textContent = '';
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => (this.element.textContent = text), 60);
  }
}

/** Short notes at the lower edge, with something to do about them. */
export class Toasts {
  readonly element = h('div', { class: 'toasts', role: 'region', 'aria-label': 'Notes' });

  show(message: string, action?: { label: string; run: () => void }): void {
    this.element.replaceChildren();
    const toast = h('div', { class: 'toast', role: 'status' }, h('span', {}, message));
    const remove = (): void => toast.remove();
    if (action) {
      const run = (): void => {
        remove();
        action.run();
      };
      toast.append(h('button', { type: 'button', class: 'text-button', onclick: run }, action.label));
    }
    toast.append(iconButton('close', 'Close this note', remove, 'small'));
    this.element.append(toast);
    // It waits for as long as somebody is about to press its button.
    const later = (): void => {
      window.setTimeout(() => (toast.matches(':hover, :focus-within') ? later() : remove()), action ? 10000 : 5000);
    };
    later();
  }
}

export function warning(...content: (Node | string)[]): HTMLElement {
  return h('div', { class: 'warning' }, icon('alert'), h('div', { class: 'warning-text' }, ...content));
}
