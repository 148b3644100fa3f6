import { h, icon, iconButton, put, replace } from '../dom';
import { acceptedTypes, formatName, type Picture } from '../pictures';
import type { Previews } from '../previews';
import { pictureDialog } from './dialogs';
import { warning } from './notices';

export interface ComposerActions {
  send(question: string): void;
  stop(): void;
  files(files: File[]): void;
  removePicture(id: string): void;
  openSettings(): void;
}

const suggestions = ['Read the text.', 'Describe this image.', 'How many objects are there?'];

/** Where the question is written, below the conversation. */
export class Composer {
  readonly field = h('textarea', {
    id: 'question', rows: 1, 'aria-label': 'Your question', placeholder: 'Ask about a picture', autocomplete: 'off', 'aria-describedby': 'keys', enterkeyhint: 'send',
  });
  private readonly chooser = h('input', { type: 'file', multiple: true, accept: acceptedTypes, class: 'hidden', tabindex: -1, 'aria-hidden': 'true' });
  private readonly problems = h('div', { class: 'problems', role: 'alert' });
  private readonly tray = h('ul', { class: 'tray', 'aria-label': 'Pictures to send' });
  private readonly suggestions = h('div', { class: 'suggestions', role: 'group', 'aria-label': 'Questions to start with' });
  private readonly chips = h('div', { class: 'chips' });
  private readonly sendButton = h('button', { type: 'submit', class: 'send', 'aria-label': 'Send', title: 'Send (Enter)' }, icon('send'));
  private readonly stopButton: HTMLButtonElement;
  private readonly unreadable = new Set<string>();
  private pictures: readonly Picture[] = [];
  private running = false;
  private fresh = true;
  readonly element: HTMLElement;

  constructor(private readonly actions: ComposerActions, private readonly previews: Previews) {
    this.stopButton = h('button', { type: 'button', class: 'send stop', 'aria-label': 'Stop', title: 'Stop (Esc)', onclick: () => actions.stop() }, icon('stop'));
    const form = h('form', { class: 'composer', 'aria-label': 'Ask a question', onsubmit: (event: Event) => (event.preventDefault(), this.submit()) },
      this.problems,
      this.suggestions,
      h('div', { class: 'composer-box' },
        this.tray,
        this.field,
        h('div', { class: 'composer-row' },
          iconButton('image', 'Add pictures', () => this.choose(), 'attach'),
          this.chips,
          h('span', { class: 'keys quiet', id: 'keys' }, 'Enter sends, Shift + Enter makes a new line, Esc stops'),
          this.sendButton, this.stopButton)),
      this.chooser);
    this.element = form;
    this.chooser.addEventListener('change', () => {
      actions.files([...(this.chooser.files ?? [])]);
      this.chooser.value = ''; // so that the same file can be chosen again
    });
    this.field.addEventListener('input', () => this.fit());
    this.field.addEventListener('keydown', (event) => {
      // While an input method composes, Enter accepts its word.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.fit();
  }

  choose(): void {
    this.chooser.click();
  }

  clear(): void {
    this.field.value = '';
    this.fit();
  }

  /** Says what is wrong; nothing if all is well. */
  showProblems(messages: string[], action?: { label: string; run: () => void }): void {
    replace(this.problems);
    if (messages.length === 0) return;
    const box = warning(...messages.map((message) => h('p', {}, message)));
    if (action) put(box, h('button', { type: 'button', class: 'button small', onclick: action.run }, action.label));
    put(box, iconButton('close', 'Close this message', () => replace(this.problems), 'small'));
    put(this.problems, box);
  }

  render(pictures: readonly Picture[], running: boolean, json: boolean, fresh: boolean): void {
    const changed = pictures.length !== this.pictures.length || pictures.some((picture, i) => picture.id !== this.pictures[i]?.id);
    this.pictures = [...pictures];
    this.running = running;
    this.fresh = fresh;
    if (changed) this.renderTray();
    this.sendButton.hidden = running;
    this.stopButton.hidden = !running;
    replace(this.chips, json && h('button', {
      type: 'button', class: 'chip', title: 'The answer will be JSON of your schema. Open the settings', onclick: () => this.actions.openSettings(),
    }, icon('braces'), 'JSON'));
    this.field.placeholder = pictures.length === 0 ? 'Ask a question' : pictures.length === 1 ? 'Ask about the picture' : 'Ask about the pictures';
    this.fit();
  }

  private renderTray(): void {
    replace(this.tray, ...this.pictures.map((picture, i) => h('li', {},
      h('button', { type: 'button', class: 'picture', 'aria-label': `Show ${picture.name}`, title: picture.name, onclick: () => pictureDialog(picture, this.previews) },
        this.previews.image(picture, () => this.noteUnreadable(picture))),
      iconButton('close', `Remove ${picture.name}`, () => {
        this.actions.removePicture(picture.id);
        const others = this.tray.querySelectorAll<HTMLElement>('.remove');
        (others[Math.min(i, others.length - 1)] ?? this.field).focus();
      }, 'remove'))));
  }

  private noteUnreadable(picture: Picture): void {
    if (this.unreadable.has(picture.id)) return;
    this.unreadable.add(picture.id);
    const name = formatName(picture.type);
    this.showProblems([
      ['HEIC', 'TIFF', 'AVIF'].includes(name)
        ? `This browser cannot show ${name} pictures, so “${picture.name}” has no preview. It is sent as it is.`
        : `This browser cannot show “${picture.name}”. It is sent as it is; the server may refuse it.`,
    ]);
  }

  private submit(): void {
    if (this.running || this.sendButton.disabled) return;
    this.actions.send(this.field.value.trim());
  }

  /** As tall as the text, and a send button that does something. */
  private fit(): void {
    const text = this.field.value.trim();
    this.field.style.height = 'auto';
    this.field.style.height = `${Math.min(this.field.scrollHeight, 220)}px`;
    this.sendButton.disabled = text === '' && this.pictures.length === 0;
    const suggest = this.fresh && text === '' && this.pictures.length > 0 && !this.running;
    if (suggest === this.suggestions.hasChildNodes()) return;
    replace(this.suggestions, ...(suggest
      ? suggestions.map((question) => h('button', { type: 'button', class: 'suggestion', onclick: () => this.actions.send(question) }, question))
      : []));
  }
}
