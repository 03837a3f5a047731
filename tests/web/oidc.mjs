// Signs in at an OpenID provider in a real Chromium, makes a personal token, and signs out.
//
// Usage: node oidc.mjs BASE-URL CHROMIUM FOLDER-OF-MODULES
//
// The last line that is written is the token.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [base, executablePath, modules] = process.argv.slice(2);
const require = createRequire(join(modules, 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const profile = mkdtempSync(join(tmpdir(), 'web-oidc.'));
// The provider's pages ask for fonts of another host: what is not on this machine is not asked.
const ours = (url) => ['127.0.0.1'].includes(new URL(url).hostname);

async function accessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run({
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }));
  const grave = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  assert.deepEqual(grave.map(({ id, nodes }) => `${what}: ${id}: ${nodes[0].html}`), []);
}

async function main() {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    timeout: 60000,
  });
  context.setDefaultTimeout(60000);
  await context.route((url) => !ours(url), (route) => route.abort());
  const page = await context.newPage();
  await page.goto(`${base}/ui/tokens`);
  assert.equal(new URL(page.url()).pathname, '/ui/login');
  await accessible(page, 'login');
  await page.getByRole('link', { name: 'Sign in with Example' }).click();
  await page.fill('input[name=login]', 'dev');
  await page.fill('input[name=password]', 'x');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
  // It goes on where it was going.
  await page.waitForURL(`${base}/ui/tokens`);
  await page.getByText('idp:dev').first().waitFor();
  await accessible(page, 'tokens');
  await page.fill('#note', 'laptop');
  await page.getByRole('button', { name: 'Make token' }).click();
  const command = page.locator('pre.command').first();
  await command.waitFor();
  const token = (await command.innerText()).trim();
  assert.match(token, /^rrt_/);
  await page.getByRole('button', { name: 'Revoke laptop' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.goto(`${base}/ui/tokens`);
  assert.equal(new URL(page.url()).pathname, '/ui/login');
  await context.close();
  console.log(token);
}

try {
  await main();
} finally {
  rmSync(profile, { recursive: true, force: true });
}
