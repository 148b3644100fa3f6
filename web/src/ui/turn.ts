import { figuresOf, type Answer, type Turn } from '../conversation';
import { h, icon, iconButton, put, replace } from '../dom';
import type { Picture } from '../pictures';
import type { Previews } from '../previews';
import { pictureDialog } from './dialogs';
import { MarkdownView } from './markdown_view';
import { warning } from './notices';

export interface TurnActions {
  /** Asks the turn again, with another question if one is given. */
  again(turn: Turn, question?: string): void;
  copied(): void;
  enterKey(): void;
  picture(id: string): Promise<Picture | undefined>;
  formatted(): boolean;
}

/** One question and its answer. */
export class TurnView {
  readonly element: HTMLElement;
  private readonly question = h('div', { class: 'question' });
  private readonly answer = h('div', { class: 'answer' });
  private readonly text = new MarkdownView();
  private readonly progress = h('div', { class: 'progress' });
  private readonly elapsed = h('span', { class: 'elapsed', 'aria-hidden': 'true' });
  private readonly after = h('div', { class: 'after' });
  private readonly started = performance.now();
  private timer = 0;
  private shownState: Answer['state'] | undefined;

  constructor(readonly turn: Turn, number: number, private readonly previews: Previews, private readonly actions: TurnActions) {
    this.element = h('article', { class: 'turn', 'aria-label': `Question ${number}` }, this.question, this.answer);
    this.showQuestion();
    this.update();
  }

  /** Draws the answer as it is now. */
  update(): void {
    const answer = this.turn.answer;
    if (answer === undefined) return;
    if (!this.answer.hasChildNodes()) {
      replace(this.answer, h('h2', { class: 'hidden' }, 'Answer'), this.progress, this.text.element, this.after);
    }
    const running = answer.state === 'running';
    const waiting = running && answer.text === '';
    if (waiting === this.progress.hidden || !this.progress.hasChildNodes()) {
      const reading = this.turn.pictures.length === 0 ? 'Reading the question' : this.turn.pictures.length === 1 ? 'Reading the picture' : 'Reading the pictures';
      if (waiting) replace(this.progress, h('span', { class: 'progress-bar', 'aria-hidden': 'true' }), h('span', {}, `${reading}…`), this.elapsed);
      else replace(this.progress);
      this.progress.hidden = !waiting;
    }
    if (waiting && this.timer === 0) {
      this.timer = window.setInterval(() => this.tick(), 100);
      this.tick();
    } else if (!waiting) {
      this.dispose();
    }
    this.answer.classList.toggle('streaming', running && !waiting);
    this.answer.setAttribute('aria-busy', String(running));
    this.text.update(answer.text, answer.json ? 'json' : this.actions.formatted() ? 'markdown' : 'plain');
    if (this.shownState !== answer.state) this.showAfter(answer);
    this.shownState = answer.state;
  }

  /** Draws all of the answer anew, as after a change of the settings. */
  refresh(): void {
    this.shownState = undefined;
    this.update();
  }

  dispose(): void {
    clearInterval(this.timer);
    this.timer = 0;
  }

  private tick(): void {
    this.elapsed.textContent = `${((performance.now() - this.started) / 1000).toFixed(1)} s`;
  }

  private showQuestion(): void {
    const pictures = this.turn.pictures.map((id) => {
      const slot = h('li', {});
      void this.actions.picture(id).then((picture) => {
        if (picture === undefined) {
          slot.append(h('span', { class: 'preview unreadable' }, h('span', { class: 'preview-format' }, 'Gone')));
          return;
        }
        slot.append(h('button', {
          type: 'button', class: 'picture', 'aria-label': `Show ${picture.name}`, title: picture.name, onclick: () => pictureDialog(picture, this.previews),
        }, this.previews.image(picture)));
      });
      return slot;
    });
    replace(this.question,
      h('h2', { class: 'hidden' }, 'Question'),
      pictures.length > 0 && h('ul', { class: 'pictures', 'aria-label': 'Pictures' }, ...pictures),
      h('div', { class: 'question-row' },
        iconButton('edit', 'Edit the question', () => this.edit(), 'small edit'),
        h('div', { class: 'bubble' }, this.turn.question)));
  }

  private edit(): void {
    const row = this.question.querySelector('.question-row');
    if (row === null) return;
    const field = h('textarea', { rows: 2, 'aria-label': 'The question', 'aria-describedby': `edit-${this.turn.id}` });
    field.value = this.turn.question;
    const cancel = (): void => {
      this.showQuestion();
      this.question.querySelector<HTMLElement>('.edit')?.focus();
    };
    const send = (): void => {
      if (field.value.trim() !== '') this.actions.again(this.turn, field.value.trim());
    };
    field.addEventListener('keydown', (event) => {
      if (event.isComposing) return;
      if (event.key === 'Escape') {
        event.stopPropagation();
        cancel();
      } else if (event.key === 'Enter' && !event.shiftKey) {
        event.preventDefault();
        send();
      }
    });
    const form = h('form', { class: 'question-edit', onsubmit: (event: Event) => (event.preventDefault(), send()) },
      field,
      h('div', { class: 'edit-actions' },
        h('span', { class: 'quiet', id: `edit-${this.turn.id}` }, 'A new answer replaces this one and all below it.'),
        h('button', { type: 'button', class: 'button small', onclick: cancel }, 'Cancel'),
        h('button', { type: 'submit', class: 'button primary small' }, 'Ask again')));
    row.replaceWith(form);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  private showAfter(answer: Answer): void {
    replace(this.after);
    if (answer.state === 'running') return;
    const { failure } = answer;
    if (failure !== undefined) {
      const message = h('span', {}, failure.message);
      const box = warning(h('p', {}, message),
        h('div', { class: 'warning-actions' },
          h('button', { type: 'button', class: 'button small', onclick: () => this.actions.again(this.turn) }, 'Try again'),
          failure.kind === 'key' && h('button', { type: 'button', class: 'button primary small', onclick: () => this.actions.enterKey() }, 'Enter the key')));
      put(this.after, box);
      if (failure.retryAt !== undefined) this.countDown(message, failure.message, failure.retryAt);
    }
    if (answer.state === 'stopped') put(this.after, h('p', { class: 'note' }, answer.text === '' ? 'Stopped before the first word.' : 'Stopped.'));
    if (answer.finish === 'length') put(this.after, h('p', { class: 'note' }, 'Cut off: the longest answer was reached. The settings can allow more tokens.'));
    if (answer.state === 'done' && answer.text === '') put(this.after, h('p', { class: 'note' }, 'The answer is empty.'));
    const foot = h('div', { class: 'foot' });
    if (failure === undefined) {
      foot.append(h('div', { class: 'answer-actions' },
        ...(answer.text !== '' ? [this.copyButton(answer)] : []),
        iconButton('again', 'Regenerate', () => this.actions.again(this.turn), 'small regenerate')));
    }
    const figures = failure === undefined ? figuresOf(answer.stats) : [];
    if (figures.length > 0) {
      foot.append(h('dl', { class: 'figures' }, ...figures.map(({ label, value }) => h('div', {}, h('dt', {}, label), h('dd', {}, value)))));
    }
    if (foot.hasChildNodes()) this.after.append(foot);
  }

  private copyButton(answer: Answer): HTMLButtonElement {
    const button = iconButton('copy', 'Copy the answer', () => {
      void copy(answer.text).then((done) => {
        if (!done) return;
        button.replaceChildren(icon('check'));
        this.actions.copied();
        window.setTimeout(() => button.replaceChildren(icon('copy')), 1600);
      });
    }, 'small');
    return button;
  }

  private countDown(element: HTMLElement, message: string, at: number): void {
    const show = (): void => {
      const left = Math.ceil((at - Date.now()) / 1000);
      element.textContent = left > 0 ? `${message} Try again in ${left} s.` : `${message} You can try again now.`;
      if (left > 0 && (element.isConnected || this.shownState === undefined)) window.setTimeout(show, 1000);
    };
    show();
  }
}

/** navigator.clipboard exists on https and localhost only; the old way works over plain http too. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = document.activeElement;
    const field = h('textarea', { class: 'hidden', 'aria-hidden': 'true' });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    if (before instanceof HTMLElement) before.focus();
    return done;
  }
}
