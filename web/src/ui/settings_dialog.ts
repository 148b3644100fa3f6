import { h, icon, iconButton, replace } from '../dom';
import { maxTokensOf, parseSchema, seedOf, temperatureOf, type Field, type Settings, type Theme } from '../settings';
import { openDialog } from './dialogs';

export interface SettingsModel {
  settings: Settings;
  models: readonly string[];
  apiKey: string;
  changed(): void;
  keyChanged(key: string): void;
}

const exampleSchema = `{
  "type": "object",
  "properties": {
    "text": { "type": "string" },
    "total": { "type": "number" }
  },
  "required": ["text", "total"],
  "additionalProperties": false
}`;

let fields = 0;

/** A label, a control, a help line and the place for what is wrong. */
function field(label: string, control: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement, help: string, check?: () => Field<unknown>): HTMLElement {
  const id = `setting-${++fields}`;
  control.id = id;
  const problem = h('span', { class: 'problem', id: `${id}-problem`, 'aria-live': 'polite' });
  control.setAttribute('aria-describedby', `${id}-problem ${id}-help`);
  const show = (): void => {
    const result = check?.() ?? { ok: true, value: undefined };
    control.setAttribute('aria-invalid', String(!result.ok));
    replace(problem, ...(result.ok ? [] : [icon('alert'), result.message]));
  };
  control.addEventListener('input', show);
  control.addEventListener('check', show);
  show();
  return h('div', { class: 'field' }, h('label', { for: id }, label), control, problem, h('span', { class: 'help', id: `${id}-help` }, help));
}

function toggle(label: string, help: string, checked: boolean, onchange: (on: boolean) => void): HTMLElement {
  const id = `setting-${++fields}`;
  const box = h('input', { type: 'checkbox', id, checked, 'aria-describedby': `${id}-help`, onchange: () => onchange(box.checked) });
  return h('div', { class: 'toggle' }, box, h('div', {}, h('label', { for: id }, label), h('span', { class: 'help', id: `${id}-help` }, help)));
}

/** The settings, at once in force as they are changed. */
export function settingsDialog(model: SettingsModel): Promise<string> {
  const { settings } = model;
  const input = (name: 'temperature' | 'maxTokens' | 'seed', placeholder: string): HTMLInputElement => {
    const element = h('input', {
      type: 'text', inputmode: name === 'temperature' ? 'decimal' : 'numeric', autocomplete: 'off', placeholder,
      oninput: () => {
        settings[name] = element.value;
        model.changed();
      },
    });
    element.value = settings[name];
    return element;
  };

  const models = h('select', {
    onchange: () => {
      settings.model = models.value;
      model.changed();
    },
  }, ...model.models.map((name) => h('option', { value: name, selected: name === settings.model }, name)));
  if (model.models.length === 0) {
    models.append(h('option', { value: '' }, 'The server has not said yet'));
    models.disabled = true;
  }

  const schema = h('textarea', { class: 'code', rows: 9, spellcheck: 'false', autocomplete: 'off', placeholder: '{ "type": "object", … }' });
  schema.value = settings.schema;
  schema.addEventListener('input', () => {
    settings.schema = schema.value;
    model.changed();
  });
  const schemaField = h('div', { class: 'sub' },
    field('JSON schema', schema, 'Keywords that the server does not support are refused by name.',
      () => (settings.useSchema ? parseSchema(settings.schema) : { ok: true, value: undefined })),
    h('button', {
      type: 'button', class: 'button small',
      onclick: () => {
        schema.value = settings.schema = exampleSchema;
        model.changed();
        schema.dispatchEvent(new Event('check'));
      },
    }, 'Use an example'));
  schemaField.hidden = !settings.useSchema;

  const key = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', placeholder: 'None' });
  key.value = model.apiKey;
  key.addEventListener('change', () => model.keyChanged(key.value.trim()));

  const themes: [Theme, string, 'screen' | 'sun' | 'moon'][] = [['system', 'System', 'screen'], ['light', 'Light', 'sun'], ['dark', 'Dark', 'moon']];
  const appearance = h('fieldset', { class: 'segments' }, h('legend', {}, 'Appearance'),
    h('div', { class: 'segment-row' }, ...themes.map(([value, label, name]) => {
      const radio = h('input', {
        type: 'radio', name: 'theme', value, checked: settings.theme === value,
        onchange: () => {
          settings.theme = value;
          model.changed();
        },
      });
      return h('label', { class: 'segment' }, radio, h('span', {}, icon(name), label));
    })));

  const dialog = h('dialog', { class: 'sheet', 'aria-labelledby': 'settings-title' },
    h('div', { class: 'sheet-head' }, h('h2', { id: 'settings-title' }, 'Settings'), iconButton('close', 'Close the settings', () => dialog.close(''))),
    h('div', { class: 'sheet-body', tabindex: -1 },
      field('Model', models, 'What the server has loaded.'),
      field('Temperature', input('temperature', 'Server’s default'), '0 gives the same answer each time. More is more varied.', () => temperatureOf(settings)),
      field('Longest answer, in tokens', input('maxTokens', 'Server’s default'), 'The answer ends there, if it has not ended before.', () => maxTokensOf(settings)),
      field('Seed', input('seed', 'Server’s default'), 'The same seed gives the same answer. It matters where the temperature is above 0.', () => seedOf(settings)),
      toggle('Answer in JSON', 'The answer is one value that your schema allows.', settings.useSchema, (on) => {
        settings.useSchema = on;
        schemaField.hidden = !on;
        model.changed();
        schema.dispatchEvent(new Event('check'));
      }),
      schemaField,
      toggle('Format answers', 'Shows lists, bold words and code. Off: every character as the model wrote it.', settings.format, (on) => {
        settings.format = on;
        model.changed();
      }),
      appearance,
      field('API key', key, 'Only if the server asks for one. It stays in this tab, and is forgotten when you close it.')));
  return openDialog(dialog);
}
