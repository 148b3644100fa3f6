import type { Conversation } from '../conversation';
import { brand, h, icon, iconButton, replace } from '../dom';

export interface SidebarActions {
  open(id: string): void;
  fresh(): void;
  rename(id: string, title: string): void;
  remove(id: string): void;
  clear(): void;
  close(): void;
}

function ageGroup(updated: number, now: number): string {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (updated >= midnight) return 'Today';
  if (updated >= midnight - 86400000) return 'Yesterday';
  return updated >= midnight - 6 * 86400000 ? 'This week' : 'Earlier';
}

/** The history: groups by age, each conversation with rename and delete. */
export class Sidebar {
  private readonly list = h('div', { class: 'history' });
  private readonly clearButton: HTMLButtonElement;
  readonly element: HTMLElement;
  private renaming = false;

  constructor(private readonly actions: SidebarActions) {
    this.clearButton = h('button', { type: 'button', class: 'text-button quiet', onclick: () => actions.clear() }, 'Delete all');
    this.element = h('nav', { class: 'sidebar', id: 'history', 'aria-label': 'Conversations' },
      h('div', { class: 'sidebar-head' }, brand(), iconButton('close', 'Close the list', () => actions.close(), 'drawer-only')),
      h('button', { type: 'button', class: 'button new', onclick: () => actions.fresh() }, icon('plus'), 'New conversation'),
      this.list,
      h('div', { class: 'sidebar-foot' }, h('p', { class: 'quiet' }, 'Kept in this browser only.'), this.clearButton));
  }

  render(conversations: readonly Conversation[], current: string, running: (id: string) => boolean): void {
    if (this.renaming) return; // the field is drawn over when it is done
    // Redrawing must not throw the keyboard out of the list.
    const focused = document.activeElement instanceof HTMLElement && this.list.contains(document.activeElement)
      ? document.activeElement.dataset['key'] : undefined;
    this.clearButton.hidden = conversations.length === 0;
    if (conversations.length === 0) {
      replace(this.list, h('p', { class: 'quiet history-empty' }, 'Your conversations will be listed here.'));
      return;
    }
    const groups: HTMLElement[] = [];
    let items: HTMLElement | undefined;
    let last = '';
    for (const conversation of conversations) {
      const group = ageGroup(conversation.updated, Date.now());
      if (items === undefined || group !== last) {
        last = group;
        items = h('ul', { 'aria-label': group });
        groups.push(h('div', { class: 'history-group', 'aria-hidden': 'true' }, group), items);
      }
      items.append(this.item(conversation, conversation.id === current, running(conversation.id)));
    }
    replace(this.list, ...groups);
    if (focused !== undefined) this.list.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus();
  }

  private item(conversation: Conversation, current: boolean, running: boolean): HTMLElement {
    const { id, title, about } = conversation;
    const open = h('button', {
      type: 'button', class: 'history-open', 'data-key': `open-${id}`, title, 'aria-current': current ? 'page' : undefined, onclick: () => this.actions.open(id),
    }, running && h('span', { class: 'dot running', role: 'img', 'aria-label': 'Answering' }), 
      h('span', { class: 'history-text' }, h('span', { class: 'history-title' }, title), about !== '' && h('span', { class: 'history-about' }, about)));
    const edit = iconButton('edit', `Rename “${title}”`, () => this.startRename(item, conversation), 'small');
    edit.dataset['key'] = `edit-${id}`;
    const remove = iconButton('trash', `Delete “${title}”`, () => this.actions.remove(id), 'small');
    const item = h('li', { class: current ? 'current' : '' }, open, h('span', { class: 'history-actions' }, edit, remove));
    return item;
  }

  private startRename(item: HTMLElement, conversation: Conversation): void {
    const field = h('input', { type: 'text', class: 'history-rename', 'aria-label': 'Name of the conversation', maxlength: 200, value: conversation.title });
    this.renaming = true;
    const end = (keep: boolean): void => {
      if (!this.renaming) return;
      this.renaming = false;
      this.actions.rename(conversation.id, keep ? field.value : conversation.title);
      this.list.querySelector<HTMLElement>(`[data-key="edit-${conversation.id}"]`)?.focus();
    };
    field.addEventListener('keydown', (event) => {
      if (event.isComposing) return;
      if (event.key === 'Enter') {
        event.preventDefault(); // or the button that gets the focus would be pressed too
        end(true);
      }
      if (event.key === 'Escape') {
        event.stopPropagation();
        end(false);
      }
    });
    field.addEventListener('blur', () => end(true));
    replace(item, field);
    field.focus();
    field.select();
  }
}
