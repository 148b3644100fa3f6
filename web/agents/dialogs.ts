import { h } from '../src/dom';
import { openDialog } from '../src/ui/dialogs';
import type { Merged } from './api';
import type { Role } from './model';

const namePattern = '[a-z][a-z0-9\\-]{0,29}';

/** What to start, as the server's options; undefined: nothing. `start` says why not, and the dialog stays. */
export async function startDialog(roles: Role[], start: (options: Record<string, string>) => Promise<string>): Promise<void> {
  const name = h('input', { id: 'start-name', required: true, pattern: namePattern, autocomplete: 'off', spellcheck: 'false', autofocus: true, 'aria-describedby': 'start-name-help' });
  const role = h('select', { id: 'start-role' }, ...roles.map((one) => h('option', { value: one.name }, `${one.name} (${one.harness})`)));
  const model = h('input', { id: 'start-model', autocomplete: 'off', spellcheck: 'false', placeholder: 'the role’s own' });
  const task = h('textarea', { id: 'start-task', rows: 4 });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const submit = h('button', { type: 'submit', class: 'button primary' }, 'Start');
  const dialog = h('dialog', { class: 'dialog wide', 'aria-labelledby': 'start-title' });
  const form = h('form', { class: 'dialog-form' },
    h('h2', { id: 'start-title' }, 'Start an agent'),
    h('div', { class: 'field' }, h('label', { for: 'start-name' }, 'Name'), name, h('span', { class: 'help', id: 'start-name-help' }, 'A letter, then letters, digits and dashes, all lower case.')),
    h('div', { class: 'field' }, h('label', { for: 'start-role' }, 'Role'), role),
    h('div', { class: 'field' }, h('label', { for: 'start-task' }, 'Task'), task, h('span', { class: 'help' }, 'Without one it waits for someone to type.')),
    h('div', { class: 'field' }, h('label', { for: 'start-model' }, 'Model'), model),
    problem,
    h('div', { class: 'dialog-actions' }, h('button', { type: 'button', class: 'button', onclick: () => dialog.close('') }, 'Cancel'), submit));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit.disabled = true;
    problem.textContent = '';
    void start({ name: name.value, role: role.value, task: task.value, model: model.value.trim() }).then((sentence) => {
      submit.disabled = false;
      if (sentence === '') dialog.close('');
      else problem.textContent = sentence;
    });
  });
  dialog.append(form);
  await openDialog(dialog);
}

/** Whether to remove it, and whether also with work that is not merged. */
export async function removeDialog(name: string, unmerged: boolean): Promise<{ force: boolean } | undefined> {
  const force = h('input', { type: 'checkbox', id: 'remove-force' });
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'remove-title' },
    h('form', { method: 'dialog' },
      h('h2', { id: 'remove-title' }, `Remove ${name}?`),
      h('p', {}, unmerged ? 'It has work that is not merged.' : 'Its container and its clone go. What it logged stays.'),
      h('label', { class: 'check' }, force, h('span', {}, 'Also with work that is not merged: it is kept under a ref of your repository')),
      h('div', { class: 'dialog-actions' },
        h('button', { type: 'submit', value: '', class: 'button' }, 'Cancel'),
        h('button', { type: 'submit', value: 'yes', class: 'button danger' }, 'Remove'))));
  return (await openDialog(dialog)) === 'yes' ? { force: force.checked } : undefined;
}

export async function mergedDialog(name: string, merged: Merged): Promise<void> {
  const conflicts = merged.conflicts.length > 0;
  const title = conflicts ? 'Nothing was merged' : merged.nothing ? 'There was nothing to merge' : `${name} is merged`;
  const sentence = conflicts ? 'You and the agent changed the same lines of these files:' : merged.nothing ? 'Your branch has all of it.' : `Your branch is at ${merged.commit.slice(0, 12)} now.`;
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'merged-title' },
    h('form', { method: 'dialog' },
      h('h2', { id: 'merged-title' }, title), h('p', {}, sentence),
      conflicts ? h('ul', { class: 'paths' }, ...merged.conflicts.map((path) => h('li', {}, h('code', {}, path)))) : null,
      ...merged.notes.map((note) => h('p', {}, note)),
      h('div', { class: 'dialog-actions' }, h('button', { type: 'submit', value: '', class: 'button primary', autofocus: true }, 'Close'))));
  await openDialog(dialog);
}
