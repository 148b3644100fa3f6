import { h, iconButton } from '../dom';
import { formatBytes, formatName, type Picture } from '../pictures';
import type { Previews } from '../previews';

/** Shows a modal dialog until it is closed, and gives the focus back to where it was. */
export function openDialog(dialog: HTMLDialogElement): Promise<string> {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close('');
  });
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(dialog.returnValue);
    });
    dialog.showModal();
  });
}

export async function confirmDialog(title: string, text: string, action: string, look: 'danger' | 'primary' = 'danger'): Promise<boolean> {
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'confirm-title' },
    h('form', { method: 'dialog' },
      h('h2', { id: 'confirm-title' }, title),
      h('p', {}, text),
      h('div', { class: 'dialog-actions' },
        h('button', { type: 'submit', value: '', class: 'button' }, 'Cancel'),
        h('button', { type: 'submit', value: 'yes', class: `button ${look}` }, action))));
  return (await openDialog(dialog)) === 'yes';
}

/** Asks for the API key; undefined if the user would rather not. */
export async function keyDialog(current: string): Promise<string | undefined> {
  const field = h('input', { id: 'key-field', type: 'password', autocomplete: 'off', spellcheck: 'false', value: current, autofocus: true });
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'key-title' },
    h('form', { method: 'dialog' },
      h('h2', { id: 'key-title' }, 'This server asks for an API key'),
      h('p', {}, 'It is what the server was started with. The key stays in this tab, and is forgotten when you close it.'),
      h('label', { class: 'field', for: 'key-field' }, h('span', {}, 'API key'), field),
      h('div', { class: 'dialog-actions' },
        h('button', { type: 'button', class: 'button', onclick: () => dialog.close('') }, 'Cancel'),
        h('button', { type: 'submit', value: 'yes', class: 'button primary' }, 'Use this key'))));
  return (await openDialog(dialog)) === 'yes' ? field.value.trim() : undefined;
}

export function pictureDialog(picture: Picture, previews: Previews): void {
  const caption = `${formatName(picture.type)}, ${formatBytes(picture.bytes.size)}`;
  const dialog = h('dialog', { class: 'viewer', 'aria-label': `Picture ${picture.name}` },
    h('div', { class: 'viewer-head' },
      h('span', { class: 'viewer-name' }, picture.name), h('span', { class: 'quiet' }, caption),
      iconButton('close', 'Close the picture', () => dialog.close(''))),
    previews.image(picture));
  void openDialog(dialog);
}
