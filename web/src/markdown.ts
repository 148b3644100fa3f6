/** The little of Markdown that answers use: code blocks, lists, bold, code. Everything else stays the text that it is. */
export type Inline = { kind: 'text' | 'bold' | 'code'; text: string };
export type Block =
  | { kind: 'paragraph'; lines: Inline[][] }
  | { kind: 'code'; text: string }
  | { kind: 'list'; ordered: boolean; start: number; items: Inline[][] };

export function parseInline(text: string): Inline[] {
  const parts: Inline[] = [];
  const pattern = /`([^`\n]+)`|\*\*(?=\S)([^\n]*?\S)\*\*/g;
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > last) parts.push({ kind: 'text', text: text.slice(last, match.index) });
    parts.push(match[1] !== undefined ? { kind: 'code', text: match[1] } : { kind: 'bold', text: match[2] ?? '' });
    last = match.index + match[0].length;
  }
  if (last < text.length) parts.push({ kind: 'text', text: text.slice(last) });
  return parts;
}

const fence = /^\s{0,3}(`{3,}|~{3,})[^`]*$/;
// One line alone may be a price or a sum: "- 5.00", "3. 14". A list has two items or more.
const bullet = /^\s{0,3}[-*•]\s+(\S.*)$/;
const numbered = /^\s{0,3}(\d{1,4})[.)]\s+(\S.*)$/;

export function parseMarkdown(text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  let paragraph: Inline[][] = [];
  const flush = (): void => {
    if (paragraph.length > 0) blocks.push({ kind: 'paragraph', lines: paragraph });
    paragraph = [];
  };
  for (let i = 0; i < lines.length; ) {
    const line = lines[i] ?? '';
    const open = fence.exec(line);
    if (open) {
      flush();
      const mark = open[1] ?? '```';
      const code: string[] = [];
      for (++i; i < lines.length && !closes(lines[i] ?? '', mark); ++i) code.push(lines[i] ?? '');
      ++i; // an answer that still streams has no closing fence yet
      blocks.push({ kind: 'code', text: code.join('\n') });
      continue;
    }
    const list = listAt(lines, i);
    if (list) {
      flush();
      blocks.push(list.block);
      i = list.next;
      continue;
    }
    if (line.trim() === '') flush();
    else paragraph.push(parseInline(line));
    ++i;
  }
  flush();
  return blocks;
}

function closes(line: string, mark: string): boolean {
  const trimmed = line.trim();
  return trimmed.length >= mark.length && trimmed === (mark[0] ?? '').repeat(trimmed.length);
}

function listAt(lines: string[], from: number): { block: Block; next: number } | undefined {
  const first = lines[from] ?? '';
  const ordered = numbered.test(first);
  const items: Inline[][] = [];
  let next = from;
  for (; next < lines.length; ++next) {
    const line = lines[next] ?? '';
    const match = ordered ? numbered.exec(line) : bullet.exec(line);
    const text = match?.[ordered ? 2 : 1];
    if (text === undefined) break;
    // Numbers that do not count up are a reading of the picture, which a list would renumber.
    if (ordered && Number(match?.[1]) !== Number(numbered.exec(first)?.[1]) + items.length) return undefined;
    items.push(parseInline(text));
  }
  if (items.length < 2) return undefined;
  return { block: { kind: 'list', ordered, start: ordered ? Number(numbered.exec(first)?.[1]) : 1, items }, next };
}
