// The page, in a browser, over the real engine with a small model.

import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Script } from 'node:vm'
import { fastify } from 'fastify'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEngine, type Engine } from '../../lib/engine/index.js'
import { createPrompt } from '../../lib/prompt/index.js'
import { type ServerOptions, servePlugin } from '../../lib/serve/index.js'
import { loadSmall } from '../train/small-runs.js'
import { browserPath, complaintsOf, openBrowser } from './chromium.js'
import { fakeEngine } from './fake-engine.js'
import { closeLater, listening, until } from './listening.js'

test('the page is one text whose script parses, and whose policy names nothing but itself', async () => {
  const { url } = await listening(fakeEngine())
  const answer = await fetch(url)
  const page = await answer.text()
  const [, script = ''] = /<script type="module">([\s\S]*?)<\/script>/.exec(page) ?? []
  // files share one scope: in a block of strict code, too, a name may be declared once
  expect(() => new Script(`'use strict';{${script}}`)).not.toThrow()
  expect(script.length).toBeGreaterThan(10_000)
  expect(page).toContain('prefers-color-scheme: dark')
  const namespace = 'http://www.w3.org/2000/svg' // a name, which nobody loads
  expect(page.replace(namespace, '')).not.toMatch(
    /(src|href)="(?!data:)|\sstyle="|\son\w+="|https?:/,
  )
  expect(page).not.toMatch(/<body data/)
  const policy = answer.headers.get('content-security-policy')
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toMatch(/unsafe|\*|https?:/)
})

if (browserPath === undefined) {
  console.warn(
    'The playground is not tested in a browser: there is no Chromium here. Set LOPT_CHROMIUM to one.',
  )
}

describe.skipIf(browserPath === undefined)('in a browser', () => {
  let browser: Browser
  let engine: Engine
  beforeAll(async () => {
    const backbone = await loadSmall()
    const make = (template: string, labels: string[], seed: number) => {
      const prompt = createPrompt(backbone, { length: 4, rank: 2, seed })
      const words = Object.fromEntries(labels.map((label) => [label, label]))
      prompt.task = { template, labels: words }
      return prompt
    }
    const prompts = {
      mood: make('{text} It was', ['good', 'bad'], 1),
      kind: make('{words} It is a', ['film', 'plant', 'animal'], 2),
      pair: make('{premise} So {hypothesis}', ['yes', 'no'], 3),
      plain: createPrompt(backbone, { length: 2, rank: 1 }),
      answer: make('{premise} {{So}} {hypothesis}', [], 4),
    }
    engine = createEngine({ backbone, prompts })
    browser = await openBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await engine?.close()
    engine?.backbone.dispose()
  })

  async function opened(url: string): Promise<{ page: Page; complaints: string[] }> {
    const page = await browser.newPage()
    closeLater(() => page.close())
    page.setDefaultTimeout(15_000)
    const complaints = complaintsOf(page)
    await page.goto(url)
    return { page, complaints }
  }

  async function served(options: ServerOptions = {}) {
    const { url } = await listening(engine, options)
    return opened(url)
  }

  const card = (page: Page, name: string) =>
    page.getByRole('article').filter({ has: page.getByRole('heading', { name }) })
  const choice = (page: Page, name: string) =>
    page.getByRole('checkbox', { name, exact: true })

  test('labels of several prompts are seen beside each other while a text is typed', async () => {
    const { page, complaints } = await served()
    expect(await choice(page, 'mood').isChecked()).toBe(true)
    expect(await choice(page, 'plain').isDisabled()).toBe(true)
    await choice(page, 'kind').check()
    await page.getByLabel('Text').first().pressSequentially('the film was', { delay: 20 })
    for (const [name, labels] of [
      ['mood', 2],
      ['kind', 3],
    ] as const) {
      await card(page, name)
        .getByText(/^\d+ tokens, \d+ ms$/)
        .waitFor()
      const shares = await card(page, name).locator('.share').allTextContents()
      expect(shares).toHaveLength(labels)
      const sum = shares.reduce((all, share) => all + Number.parseFloat(share), 0)
      expect(sum).toBeCloseTo(100, 0)
      expect(await card(page, name).getByText('chosen:').count()).toBe(1)
    }
    await page
      .getByRole('status')
      .filter({ hasText: /mood: \w+, [\d.]+ %/ })
      .waitFor({
        state: 'attached',
      })
    await choice(page, 'kind').uncheck()
    await card(page, 'kind').waitFor({ state: 'detached' })
    expect(complaints).toEqual([])
  })

  test('a prompt of several fields has a box for each, and waits until all are filled', async () => {
    const { page, complaints } = await served()
    await choice(page, 'mood').uncheck()
    await choice(page, 'pair').check()
    await page.getByLabel('premise').fill('the dog')
    await page.getByLabel('hypothesis').fill('the cat '.repeat(60))
    // what is too long is cut, and said
    await card(page, 'pair')
      .getByText(/^\d+ tokens of the text were cut off/)
      .waitFor()
    await page.getByLabel('hypothesis').fill('')
    await card(page, 'pair').getByText('–').first().waitFor()
    expect(complaints).toEqual([])
  })

  test('a completion is seen as it comes, ends by itself, or is stopped', async () => {
    const { page, complaints } = await served()
    await page.getByRole('combobox', { name: 'Prompt' }).selectOption('plain')
    await page.getByRole('textbox', { name: 'Text' }).last().fill('the dog')
    await page.getByLabel('Max tokens').fill('8')
    await page.getByLabel('Seed').fill('7')
    await page.getByRole('button', { name: 'Complete' }).click()
    await page.getByText(/^\d tokens?, [\d.]+ tokens\/s · /).waitFor()
    const made = page.getByRole('region', { name: 'Completed text' })
    const first = await made.textContent()
    expect(first?.startsWith('the dog')).toBe(true)
    await page.getByRole('button', { name: 'Complete' }).click()
    await page.getByText(/ · /).waitFor()
    await expect.poll(() => made.textContent()).toBe(first)
    expect(complaints).toEqual([])
  })

  test('a prompt that texts answer has a box for each field, and its template is read', async () => {
    const { page, complaints } = await served()
    const form = page.getByRole('region', { name: 'Completion' })
    const prompts = page.getByRole('combobox', { name: 'Prompt' })
    const text = form.getByRole('textbox', { name: 'Text' })
    await prompts.selectOption('answer')
    expect(await text.isVisible()).toBe(false)
    await form.getByLabel('premise').fill('the dog')
    await form.getByLabel('hypothesis').fill('the cat')
    await page.getByLabel('Max tokens').fill('4')
    await form.getByLabel('hypothesis').press('Control+Enter')
    await page.getByText(/tokens\/s · /).waitFor()
    const made = page.getByRole('region', { name: 'Completed text' })
    expect((await made.textContent())?.startsWith('the dog {So} the cat')).toBe(true)
    await prompts.selectOption('plain')
    expect(await text.isVisible()).toBe(true)
    expect(await form.getByLabel('premise').count()).toBe(0)
    expect(complaints).toEqual([])
  })

  test('Stop gives up a completion, here and in the engine', async () => {
    const slow = fakeEngine({ tokenMs: 30, positions: 2000 })
    const { url } = await listening(slow)
    const { page, complaints } = await opened(url)
    await page.getByLabel('Max tokens').fill('1000')
    await page.getByRole('button', { name: 'Complete' }).click()
    await page.getByText(/^[2-9] tokens, /).waitFor()
    expect(slow.busy).toBe(1)
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.getByText(/tokens\/s · Stopped$/).waitFor()
    expect(await page.getByRole('button', { name: 'Stop' }).isDisabled()).toBe(true)
    await until(() => slow.busy === 0)
    expect(complaints).toEqual([])
  })

  test('the newest text wins, and what was asked before is given up', async () => {
    const slow = fakeEngine({ tokenMs: 400 })
    const { url } = await listening(slow)
    const { page, complaints } = await opened(url)
    await page.getByLabel('Text').first().fill('first')
    await until(() => slow.busy === 1)
    await page.getByLabel('Text').first().fill('second text')
    await card(page, 'review')
      .getByText(/^11 tokens/)
      .waitFor()
    expect(slow.stats().totals.aborted).toBe(1)
    expect(complaints).toEqual([])
  })

  test('figures of the server move', async () => {
    const fake = fakeEngine({ tokenMs: 20 })
    const stats = { ...fake.stats(), queuedRequests: 5, running: 3 }
    Object.assign(fake, { stats: () => stats })
    const { url } = await listening(fake)
    const { page, complaints } = await opened(url)
    const tile = (title: string) =>
      page.locator('.tiles > div').filter({ hasText: title }).locator('.value')
    let isSeen = false
    // Until there are figures, however slow the machine is: they compare two looks between which requests ended.
    const typing = (async () => {
      for (let i = 0; !isSeen; i += 1) {
        await page.getByLabel('Text').first().fill(`the dog ${i}`)
        await delay(200)
      }
    })()
    await tile('Mean latency')
      .getByText(/^\d+ ms$|^\d+\.\d s$/)
      .waitFor()
    await tile('Requests')
      .getByText(/^[1-9]\d*\.\d$/)
      .waitFor()
    isSeen = true
    await typing
    expect(await tile('Queue').textContent()).toBe('5')
    expect(await tile('Running').textContent()).toBe('3 of 16')
    expect(complaints).toEqual([])
  })

  test('prompts that come and go are seen', async () => {
    const fake = fakeEngine()
    const { url } = await listening(fake)
    const { page, complaints } = await opened(url)
    await page.getByLabel('Text').first().fill('typed before')
    await choice(page, 'pair').check()
    fake.removePrompt('review')
    await choice(page, 'review').waitFor({ state: 'detached' })
    expect(await choice(page, 'pair').isChecked()).toBe(true)
    await card(page, 'review').waitFor({ state: 'detached' })
    expect(complaints).toEqual([])
  })

  test('where the server asks for a key, the browser asks for it, and the page needs no other', async () => {
    const { url } = await listening(engine, { apiKeys: ['right'] })
    const answer = await fetch(url)
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      401,
      'Basic realm="lopt"',
    ])
    const context = await browser.newContext({
      httpCredentials: { username: '', password: 'right' },
    })
    closeLater(() => context.close())
    const page = await context.newPage()
    const complaints = complaintsOf(page)
    await page.goto(url)
    await choice(page, 'mood').waitFor()
    await page.getByLabel('Text').first().fill('the film was')
    await card(page, 'mood')
      .getByText(/^\d+ tokens, \d+ ms$/)
      .waitFor()
    expect(complaints).toEqual([])
  })

  test('curves of runs are seen, and grow', async () => {
    const runs = await mkdtemp(join(tmpdir(), 'lopt-runs-'))
    closeLater(() => rm(runs, { recursive: true }))
    const log = join(runs, 'one/metrics.jsonl')
    const line = (step: number) =>
      `${JSON.stringify({ type: 'step', step, loss: 3 / step, seconds: step })}\n`
    await mkdir(join(runs, 'one'))
    await writeFile(log, `{"type":"start","steps":9}\n${line(1)}${line(2)}`)
    const { page, complaints } = await served({ runs })
    const row = page.getByRole('row', { name: 'one' })
    await row.getByText('2 of 9').waitFor()
    const chart = page.getByRole('img', { name: 'Training loss of one' })
    const curve = () => chart.locator('.line').getAttribute('d')
    const before = await curve()
    await appendFile(
      log,
      `${line(3)}{"type":"eval","step":3,"accuracy":0.75,"best":true}\n`,
    )
    await row.getByText('3 of 9').waitFor()
    await row.getByText('75.0 %').waitFor()
    expect((await curve())?.length).toBeGreaterThan(before?.length ?? 0)
    await row.getByRole('checkbox').uncheck()
    expect(await page.locator('.chart .line').count()).toBe(0)
    expect(complaints).toEqual([])
  })

  test('it works under a prefix, with and without a slash behind it, and on 360 pixels', async () => {
    const app = fastify()
    app.register(servePlugin, { prefix: '/llm', engine })
    closeLater(() => app.close())
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    for (const path of ['/llm', '/llm/']) {
      const { page, complaints } = await opened(url + path)
      await page.setViewportSize({ width: 360, height: 700 })
      await page.getByLabel('Text').first().fill('the film was')
      await card(page, 'mood')
        .getByText(/^\d+ tokens/)
        .waitFor()
      expect(await page.getByRole('heading', { name: 'Training' }).count()).toBe(0)
      const over = 'document.documentElement.scrollWidth > innerWidth'
      expect(await page.evaluate(over)).toBe(false)
      expect(complaints).toEqual([])
    }
  })

  test('all of it can be reached by the keyboard', async () => {
    const { page } = await served()
    await choice(page, 'mood').waitFor()
    const reached: unknown[] = []
    for (let i = 0; i < 16; i += 1) {
      await page.keyboard.press('Tab')
      reached.push(
        await page.evaluate(
          '(({ dataset, name, id }) => dataset.prompt ?? (name || id))(document.activeElement)',
        ),
      )
    }
    expect(reached.slice(0, 13)).toEqual([
      ...['mood', 'kind', 'pair', 'text'],
      ...['model', 'max_tokens', 'temperature', 'top_p', 'seed', 'stop', 'start'],
      '', // Complete
      'made',
    ])
  })
})
