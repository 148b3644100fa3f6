/** Unified text, as git prints it, as files, and rows with the old beside the new. */
export interface Line {
  number: number;
  text: string;
}
export interface Row {
  kind: 'same' | 'change';
  left?: Line;
  right?: Line;
}
export interface Hunk {
  title: string; // what git says it is in
  rows: Row[];
}
export interface DiffFile {
  path: string;
  from: string; // the former path of one that was moved; else empty
  note: string; // "new file", "binary", …; else empty
  added: number;
  removed: number;
  hunks: Hunk[];
}

/** Names with special characters come quoted, with octal bytes. */
function unquoted(name: string): string {
  if (!name.startsWith('"') || !name.endsWith('"')) return name;
  const bytes: number[] = [];
  const letters: Record<string, number> = { a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '"': 34, '\\': 92 };
  const encoder = new TextEncoder();
  for (let i = 1; i < name.length - 1; ++i) {
    if (name[i] !== '\\') {
      const char = String.fromCodePoint(name.codePointAt(i) ?? 0);
      bytes.push(...encoder.encode(char));
      i += char.length - 1;
      continue;
    }
    const octal = /^[0-3][0-7]{2}/.exec(name.slice(i + 1))?.[0];
    if (octal !== undefined) bytes.push(parseInt(octal, 8));
    else bytes.push(letters[name[i + 1] ?? ''] ?? 63);
    i += octal === undefined ? 1 : 3;
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

function pathOf(field: string, prefix: string): string {
  const name = unquoted(field.replace(/\t$/, ''));
  return name === '/dev/null' ? '' : name.startsWith(prefix) ? name.slice(prefix.length) : name;
}

/** The path of "diff --git a/x b/x", where both sides are the same. */
function pathOfHead(head: string): string {
  const quoted = /^"a\/.*" ("b\/.*")$/.exec(head)?.[1];
  if (quoted !== undefined) return pathOf(quoted, 'b/');
  const half = head.slice((head.length + 1) / 2);
  return half.startsWith('b/') ? half.slice(2) : head;
}

export function parseDiff(diff: string): DiffFile[] {
  const files: DiffFile[] = [];
  const lines = diff.split('\n');
  if (lines.at(-1) === '') lines.pop();
  let file: DiffFile | undefined;
  let hunk: Hunk | undefined;
  let left = 0, right = 0, leftLeft = 0, rightLeft = 0;
  let removed: Line[] = [], added: Line[] = [];
  const flush = (): void => {
    for (let i = 0; i < Math.max(removed.length, added.length); ++i) {
      const row: Row = { kind: 'change' };
      const [before, after] = [removed[i], added[i]];
      if (before !== undefined) row.left = before;
      if (after !== undefined) row.right = after;
      hunk?.rows.push(row);
    }
    removed = [];
    added = [];
  };
  for (const line of lines) {
    // Inside a hunk a line is counted: what it holds may look like anything.
    if (file !== undefined && hunk !== undefined && (leftLeft > 0 || rightLeft > 0 || line.startsWith('\\'))) {
      const rest = line.slice(1);
      if (line.startsWith('\\')) continue;
      if (line.startsWith('-')) {
        removed.push({ number: left++, text: rest });
        --leftLeft;
        ++file.removed;
      } else if (line.startsWith('+')) {
        added.push({ number: right++, text: rest });
        --rightLeft;
        ++file.added;
      } else {
        flush();
        hunk.rows.push({ kind: 'same', left: { number: left++, text: rest }, right: { number: right++, text: rest } });
        --leftLeft;
        --rightLeft;
      }
      if (leftLeft <= 0 && rightLeft <= 0) flush();
      continue;
    }
    if (line.startsWith('diff --git ')) {
      file = { path: pathOfHead(line.slice('diff --git '.length)), from: '', note: '', added: 0, removed: 0, hunks: [] };
      hunk = undefined;
      files.push(file);
      continue;
    }
    if (file === undefined) continue;
    const head = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)$/.exec(line);
    if (head !== null) {
      left = Number(head[1]);
      leftLeft = head[2] === undefined ? 1 : Number(head[2]);
      right = Number(head[3]);
      rightLeft = head[4] === undefined ? 1 : Number(head[4]);
      hunk = { title: head[5] ?? '', rows: [] };
      file.hunks.push(hunk);
    } else if (line.startsWith('+++ ')) file.path = pathOf(line.slice(4), 'b/') || file.path;
    else if (line.startsWith('--- ')) file.path = pathOf(line.slice(4), 'a/') || file.path;
    else if (line.startsWith('rename from ')) file.from = unquoted(line.slice('rename from '.length));
    else if (line.startsWith('rename to ')) file.path = unquoted(line.slice('rename to '.length));
    else if (line.startsWith('new file')) file.note = 'new file';
    else if (line.startsWith('deleted file')) file.note = 'deleted';
    else if (line.startsWith('Binary files') || line.startsWith('GIT binary patch')) file.note = file.note === '' ? 'binary' : `${file.note}, binary`;
    else if (line.startsWith('old mode ')) file.note = 'mode changed';
    else if (line.startsWith('index ') && line.endsWith(' 160000')) file.note = 'submodule';
  }
  return files;
}
