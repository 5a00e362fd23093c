// A browser for tests of pages, where this machine has one: LOPT_CHROMIUM names it, or it lies in a usual place.

import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** Absent: there is none. */
export const browserPath = [process.env.LOPT_CHROMIUM, ...PLACES].find(
  (path) => path !== undefined && path !== '' && existsSync(path),
)

export function openBrowser(): Promise<Browser> {
  // a container's root has no sandbox
  return chromium.launch({
    ...(browserPath !== undefined && { executablePath: browserPath }),
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  })
}

/** What a page complains of: its console's errors, what its policy forbids among them, and errors that nothing caught. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() !== 'log') complaints.push(`${message.type()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  return complaints
}
