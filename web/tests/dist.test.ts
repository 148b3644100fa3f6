import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'vite';

const committed = readFileSync('dist/index.html', 'utf8');

test('dist/ is what the sources build', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'onsight-web-'));
  try {
    await build({ build: { outDir: folder, emptyOutDir: true }, logLevel: 'error' });
    assert.deepEqual(readdirSync(folder), ['index.html']);
    assert.deepEqual(readdirSync('dist'), ['index.html']);
    assert.ok(readFileSync(join(folder, 'index.html'), 'utf8') === committed, 'dist/index.html is old: run "npm run build" and commit it');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('the page is one file below 100 KB, and names no other place', () => {
  assert.ok(Buffer.byteLength(committed) < 100_000, `${Buffer.byteLength(committed)} bytes`);
  const places = (committed.match(/https?:\/\/[^\s"'`<>)]+/g) ?? []).filter((place) => place !== 'http://www.w3.org/2000/svg');
  assert.deepEqual(places, []);
  const markup = committed.replace(/<script[^]*<\/script>/, '');
  assert.deepEqual(markup.match(/<script|<(link|img|iframe)\b[^>]*(src|href)="(?!data:)[^>]*|@import[^;]*|url\((?!["']?data:)[^)]*/g), null);
});

test('the page has its own policy, with the hashes of its script and style', () => {
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(committed)?.[1] ?? '';
  for (const tag of ['style', 'script']) {
    const text = new RegExp(`<${tag}[^>]*>([^]*?)</${tag}>`).exec(committed)?.[1] ?? '';
    assert.ok(policy.includes(`${tag}-src 'sha256-${createHash('sha256').update(text).digest('base64')}'`), tag);
  }
  assert.match(policy, /default-src 'none'.*connect-src 'self'/);
});

test('the lock file names no server: npm takes the one that the machine is set to', () => {
  assert.doesNotMatch(readFileSync('package-lock.json', 'utf8'), /"resolved": "[a-z+]*:/);
});
