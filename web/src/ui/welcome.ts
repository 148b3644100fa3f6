import { h, icon } from '../dom';
import { samples, type Sample } from '../samples';

/** What an empty conversation shows: what to do, and three pictures to do it with. */
export function welcome(choose: () => void, ask: (sample: Sample) => void): HTMLElement {
  return h('div', { class: 'welcome' },
    h('h2', {}, 'Ask a picture'),
    h('p', { class: 'lead' }, 'Add a picture and ask about it. It goes to your own onsight server and to nobody else.'),
    h('div', { class: 'drop-zone' },
      h('span', { class: 'drop-icon' }, icon('image')),
      h('p', {}, h('strong', {}, 'Drop a picture here'), h('span', { class: 'quiet' }, 'or paste one, or')),
      h('button', { type: 'button', class: 'button primary', onclick: choose }, 'Choose pictures')),
    h('h3', { id: 'samples-title' }, 'Or try one of these'),
    h('ul', { class: 'samples', 'aria-labelledby': 'samples-title' },
      ...samples.map((sample) =>
        h('li', {}, h('button', { type: 'button', class: 'sample', onclick: () => ask(sample) },
          h('span', { class: `sample-picture${sample.whole ? ' whole' : ''}` }, h('img', { src: sample.url, alt: `Example ${sample.name}`, draggable: 'false' })),
          h('span', { class: 'sample-question' }, sample.question))))));
}
