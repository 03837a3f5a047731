// Looks at the page in a real Chromium, as a user does: logs in, looks around, deletes, with and
// without scripts, in the dark, on a narrow screen, by keyboard, and asks axe what is wrong.
//
// Usage: node page.mjs BASE-URL CHROMIUM FOLDER-OF-MODULES [FOLDER-FOR-SCREENSHOTS]

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { fill, Registry } from './images.mjs';

const [base, executablePath, modules, shots] = process.argv.slice(2);
const require = createRequire(join(modules, 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
if (shots) mkdirSync(shots, { recursive: true });

const PATIENCE = 60000;
const profile = mkdtempSync(join(tmpdir(), 'web-page.'));
const launch = (options) => chromium.launchPersistentContext(mkdtempSync(join(profile, 'p.')), {
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  timeout: PATIENCE,
  ...options,
});

// Whatever a page asks for, it asks of this registry, and no page has scripts to complain.
function watch(context) {
  const problems = [];
  context.on('request', (request) => {
    if (!request.url().startsWith(base)) problems.push(`asked for ${request.url()}`);
  });
  context.on('console', (message) => {
    // A page that is not there is told of here as well.
    if (message.type() === 'error' && !/status of (403|404)/.test(message.text())) {
      problems.push(message.text());
    }
  });
  context.setDefaultTimeout(PATIENCE);
  return problems;
}

// A page that is not ready asks for itself again.
const ready = (page) => page.locator('h1:not(:text("Reading layers"))').first().waitFor();

async function shown(page) {
  await ready(page);
  return page.locator('main').innerText();
}

async function login(page, user) {
  await page.goto(`${base}/ui/login`);
  await page.fill('#user', user);
  await page.fill('#password', user);
  await page.click('main button[type=submit]');
  await page.waitForURL(`${base}/ui/`);
}

// No page may be wider than its window.
async function fits(page, what) {
  const [wide, window] = await page.evaluate(() => [
    document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= window, `${what}: ${wide} pixels in a window of ${window}`);
}

// What axe found, told of all pages at once.
const found = [];

async function accessible(page, what) {
  // Not as a script of the page: its policy lets none in.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run({
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  const grave = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  for (const { id, nodes } of grave) {
    found.push(`${what}: ${id}: ${nodes.map((node) => node.html).join(' ')}`);
  }
}

async function main() {
  const registry = new Registry(base, 'root');
  const { first } = await fill(registry);
  const app = 'team/app';
  const pages = {
    repositories: '/ui/',
    search: '/ui/?q=app',
    'nothing-found': '/ui/?q=nowhere',
    tags: `/ui/tags/${app}`,
    image: `/ui/image/${app}:1.0`,
    index: `/ui/image/${app}:multi`,
    files: `/ui/files/${app}:1.0`,
    layer: `/ui/files/${app}:1.0?layer=3`,
    file: `/ui/file/${app}:1.0?layer=2&path=srv%2Fapp.conf`,
    compare: `/ui/compare/${app}?from=1.0&to=1.1`,
    past: `/ui/past/${app}:latest`,
    remove: `/ui/remove/${app}@${first}`,
    rules: '/ui/rules/ci/builds',
    storage: '/ui/storage?garbage=show',
    activity: '/ui/activity',
    mirrors: '/ui/mirrors',
    replication: '/ui/replication',
    tokens: '/ui/tokens',
    missing: '/ui/image/team/app:none',
  };

  // Each page, in the light, in the dark, and narrow; without scripts, and looked at by axe.
  for (const [mode, options] of Object.entries({
    light: { viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
    dark: { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' },
    narrow: { viewport: { width: 360, height: 740 }, colorScheme: 'light' },
  })) {
    const context = await launch({ ...options, javaScriptEnabled: true });
    const problems = watch(context);
    const page = await context.newPage();
    // A browser that comes to the registry lands on the page, which asks who it is.
    await page.goto(`${base}/`);
    assert.equal(new URL(page.url()).pathname, '/ui/login');
    const grounds = {};
    for (const [name, path] of [['login', '/ui/login'], ...Object.entries(pages)]) {
      if (name === 'repositories') await login(page, 'root');
      await page.goto(base + path);
      await ready(page);
      await fits(page, `${name}, ${mode}`);
      await accessible(page, `${name}, ${mode}`);
      grounds[name] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      if (shots) await page.screenshot({ path: join(shots, `${name}-${mode}.png`), fullPage: true });
      if (name === 'image') {
        const href = await page.locator('a[href*="/ui/document/"]').last().getAttribute('href');
        await page.goto(base + href);
        assert.match(await shown(page), /openssl\s+3\.0\.11-1/);
        await accessible(page, `document, ${mode}`);
        if (shots) await page.screenshot({ path: join(shots, `document-${mode}.png`), fullPage: true });
      }
    }
    const expected = mode === 'dark' ? 'rgb(17, 22, 29)' : 'rgb(246, 247, 249)';
    for (const [name, ground] of Object.entries(grounds)) assert.equal(ground, expected, name);
    assert.deepEqual(problems, [], mode);
    await context.close();
  }

  // All of it without scripts, and by keyboard alone.
  const context = await launch({ javaScriptEnabled: false, viewport: { width: 1280, height: 800 } });
  const problems = watch(context);
  const page = await context.newPage();
  await page.goto(`${base}/ui/`);
  const focused = () => page.locator(':focus');
  await page.goto(`${base}/ui/tags/${app}`);
  assert.equal(new URL(page.url()).pathname, '/ui/login');
  await page.keyboard.press('Tab');
  assert.equal(await focused().innerText(), 'Skip to content');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.type('root');
  await page.keyboard.press('Tab');
  await page.keyboard.type('wrong');
  await page.keyboard.press('Enter');
  await page.getByText('User or password is wrong.').waitFor();
  await page.locator('#password').focus();
  await page.keyboard.type('root');
  await page.keyboard.press('Enter');
  // It goes on where it was going.
  await page.waitForURL(`${base}/ui/tags/${app}`);
  await page.getByRole('link', { name: '1.0', exact: true }).focus();
  await page.keyboard.press('Enter');
  await page.waitForURL(`${base}/ui/image/${app}:1.0`);
  await page.getByRole('link', { name: 'Browse files' }).click();
  assert.match(await shown(page), /Wasted/);
  await page.getByRole('link', { name: 'srv/' }).click();
  await page.getByRole('link', { name: 'app.conf' }).click();
  assert.match(await shown(page), /listen = 8080/);

  // A tag goes back, and another goes.
  await page.goto(`${base}/ui/past/${app}:latest`);
  await page.getByRole('button', { name: /^Restore/ }).click();
  await page.waitForURL(`${base}/ui/image/${app}:latest`);
  assert.ok((await shown(page)).includes(first), 'latest is what it was first');
  await page.getByRole('link', { name: 'Delete tag' }).click();
  assert.match(await shown(page), /Only the tag goes/);
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.waitForURL(`${base}/ui/tags/${app}`);
  assert.doesNotMatch(await shown(page), /latest/);

  // Who did that is told; a token is made, told of, and revoked.
  await page.getByRole('link', { name: 'Mirrors' }).click();
  assert.match(await shown(page), /mirrored\.example/);
  await page.goto(`${base}/ui/tokens`);
  await page.getByLabel('What for').fill('laptop');
  await page.getByLabel('Good for').selectOption('30d');
  await page.getByRole('button', { name: 'Make token' }).click();
  await page.getByRole('heading', { name: 'Your new token' }).waitFor();
  const token = (await shown(page)).match(/rrt_\S+/)[0];
  const catalog = await fetch(`${base}/v2/_catalog`, { headers: {
    authorization: 'Basic ' + Buffer.from(`root:${token}`).toString('base64') } });
  assert.equal(catalog.status, 200);
  await page.getByRole('link', { name: 'Activity' }).click();
  const lately = await shown(page);
  assert.match(lately, /token\.make/);
  assert.match(lately, /delete/);
  assert.ok(!lately.includes(token), 'no token is told');
  await page.getByLabel('User').fill('nobody');
  await page.keyboard.press('Enter');
  await page.waitForURL(/user=nobody/);
  assert.doesNotMatch(await shown(page), /token\.make/);
  await page.goto(`${base}/ui/tokens`);
  await page.getByRole('button', { name: 'Revoke laptop' }).click();
  await page.getByText('You have no tokens.').waitFor();
  const refused = await fetch(`${base}/v2/_catalog`, { headers: {
    authorization: 'Basic ' + Buffer.from(`root:${token}`).toString('base64') } });
  assert.equal(refused.status, 401);

  // Out again.
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.goto(`${base}/ui/tags/${app}`);
  assert.equal(new URL(page.url()).pathname, '/ui/login');
  assert.deepEqual(problems, []);
  await context.close();
  assert.deepEqual(found, []);
  console.log('all is well');
}

try {
  await main();
} finally {
  rmSync(profile, { recursive: true, force: true });
}
