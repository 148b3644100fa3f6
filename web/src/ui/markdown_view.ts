import { h } from '../dom';
import { parseMarkdown, type Block, type Inline } from '../markdown';

function inlines(parts: Inline[]): (HTMLElement | string)[] {
  return parts.map((part) => (part.kind === 'text' ? part.text : h(part.kind === 'bold' ? 'strong' : 'code', {}, part.text)));
}

function render(block: Block): HTMLElement {
  switch (block.kind) {
    case 'code':
      return h('pre', { tabindex: 0, role: 'region', 'aria-label': 'Code' }, h('code', {}, block.text));
    case 'list': {
      const items = block.items.map((item) => h('li', {}, ...inlines(item)));
      return block.ordered ? h('ol', { start: block.start }, ...items) : h('ul', {}, ...items);
    }
    case 'paragraph':
      return h('p', {}, ...block.lines.flatMap((line, i) => (i === 0 ? inlines(line) : ['\n', ...inlines(line)])));
  }
}

/** Shows an answer as it grows. Blocks that did not change keep their elements, so that a selection in them stays. */
export class MarkdownView {
  readonly element = h('div', { class: 'prose' });
  private shown: string[] = [];

  update(text: string, mode: 'markdown' | 'plain' | 'json'): void {
    let blocks: Block[];
    if (mode === 'markdown') blocks = parseMarkdown(text);
    else blocks = [mode === 'json' ? { kind: 'code', text } : { kind: 'paragraph', lines: [[{ kind: 'text', text }]] }];
    if (text === '') blocks = [];
    const keys = blocks.map((block) => JSON.stringify(block));
    let same = 0;
    while (same < keys.length && keys[same] === this.shown[same]) ++same;
    while (this.element.children.length > same) this.element.lastElementChild?.remove();
    for (const block of blocks.slice(same)) this.element.append(render(block));
    this.shown = keys;
  }
}
