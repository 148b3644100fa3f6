// Bundles the tests, which are TypeScript, and runs them with Node's own test runner: node tests/run.mjs unit|dist|e2e|agents_e2e...
// `--only mock` runs the mock server instead; NAME=… runs the tests whose names match.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const web = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(web);
const groups = process.argv.slice(2);
const only = groups[0] === '--only' ? groups[1] : undefined;
const tests = readdirSync('tests').filter((name) => name.endsWith('.test.ts')).map((name) => name.slice(0, -'.test.ts'.length));
const alone = ['dist', 'e2e', 'agents_e2e'];
const wanted = only ? [only] : tests.filter((name) => groups.includes(name) || (groups.includes('unit') && !alone.includes(name)));
if (wanted.length === 0) {
  console.error('usage: node tests/run.mjs unit|dist|e2e|agents_e2e|NAME...   or   --only mock');
  process.exit(2);
}

const out = join('node_modules', '.tests');
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await build({
  entryPoints: wanted.map((name) => join('tests', only ? `${name}_main.ts` : `${name}.test.ts`)),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node18',
  packages: 'external',
  sourcemap: 'inline',
  logLevel: 'warning',
});
const files = readdirSync(out).map((name) => join(out, name));
const flags = only ? [] : ['--test', ...(process.env.NAME ? [`--test-name-pattern=${process.env.NAME}`] : []), ...(Number(process.versions.node.split('.')[0]) >= 20 ? ['--test-reporter=spec'] : [])];
const result = spawnSync(process.execPath, ['--enable-source-maps', ...flags, ...files], { stdio: 'inherit' });
process.exit(result.status ?? 1);
