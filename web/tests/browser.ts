import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Page } from 'playwright-core';

export function findChromium(): string {
  const wanted = process.env['CHROMIUM'];
  if (wanted) return wanted;
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    } catch {
      continue;
    }
  }
  throw new Error('Chromium is missing: install it, or set CHROMIUM to its path');
}

interface AxeResult {
  violations: { id: string; help: string; nodes: { html: string; failureSummary?: string }[] }[];
}
const axeSource = readFileSync(createRequire(join(process.cwd(), 'package.json')).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds wrong with the page, a text each. */
export async function axeFindings(page: Page): Promise<string[]> {
  await page.waitForTimeout(250); // transitions end: axe reads colours as they are at the moment
  await page.evaluate(axeSource);
  const result = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run(root: Document, options: object): Promise<unknown> } };
    return axe.run(document, { resultTypes: ['violations'] });
  }) as AxeResult;
  return result.violations.map((violation) => `${violation.id}: ${violation.help}\n    ${violation.nodes.map((node) => `${node.html}\n    ${node.failureSummary ?? ''}`).join('\n    ')}`);
}
