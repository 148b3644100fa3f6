import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'vite';

// In the notices of @xterm/xterm's licence.
const thanked = ['https://github.com/xtermjs/xterm.js', 'https://www.sourcelair.com', 'https://github.com/chjj/', 'https://github.com/chjj/term.js', 'http://bellard.org/jslinux/'];
const pages = [
  { mode: 'production', name: 'index.html', bytes: 100_000, places: ['http://www.w3.org/2000/svg'], style: 'hash' },
  { mode: 'agents', name: 'agents.html', bytes: 480_000, places: ['http://www.w3.org/2000/svg', ...thanked], style: 'inline' },
];
const committed = (name: string): string => readFileSync(join('dist', name), 'utf8');

test('dist/ is what the sources build', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'onsight-web-'));
  try {
    for (const { mode } of pages) await build({ mode, build: { outDir: folder }, logLevel: 'error' });
    const names = pages.map(({ name }) => name).sort();
    assert.deepEqual(readdirSync(folder).sort(), names);
    assert.deepEqual(readdirSync('dist').sort(), names);
    for (const name of names) {
      assert.ok(readFileSync(join(folder, name), 'utf8') === committed(name), `dist/${name} is old: run "npm run build" and commit it`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

for (const { name, bytes, places, style } of pages) {
  test(`${name} is one file below ${bytes} bytes, and names no other place`, () => {
    const page = committed(name);
    assert.ok(Buffer.byteLength(page) < bytes, `${Buffer.byteLength(page)} bytes`);
    const found = (page.match(/https?:\/\/[^\s"'`<>)]+/g) ?? []).filter((place) => !places.includes(place));
    assert.deepEqual(found, []);
    const markup = page.replace(/<script[^]*<\/script>/, '');
    assert.deepEqual(markup.match(/<script|<(link|img|iframe)\b[^>]*(src|href)="(?!data:)[^>]*|@import[^;]*|url\((?!["']?data:)[^)]*/g), null);
  });

  test(`${name} has its own policy, with the hash of its script`, () => {
    const page = committed(name);
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? '';
    for (const tag of ['style', 'script']) {
      const text = new RegExp(`<${tag}[^>]*>([^]*?)</${tag}>`).exec(page)?.[1] ?? '';
      const source = tag === 'style' && style === 'inline' ? "'unsafe-inline'" : `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
      assert.ok(policy.includes(`${tag}-src ${source}`), tag);
    }
    assert.match(policy, /default-src 'none'.*connect-src 'self'/);
    if (name === 'agents.html') assert.match(policy, /require-trusted-types-for 'script'; trusted-types 'none'/); // no text becomes HTML
  });
}

test('the lock file names no server: npm takes the one that the machine is set to', () => {
  assert.doesNotMatch(readFileSync('package-lock.json', 'utf8'), /"resolved": "[a-z+]*:/);
});
