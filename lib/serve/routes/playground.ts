// GET /: a page to try prompts on. It is one file, which nothing may be added to: its policy names the hashes of its own script
// and style.

import { createHash } from 'node:crypto'
import page from '../playground/page.html'
import type { Call, Route } from '../site.js'

function hashesOf(element: string): string {
  const inside = new RegExp(`<${element}>([^]*?)</${element}>`, 'g')
  return [...page.matchAll(inside)]
    .map(([, text = '']) => createHash('sha256').update(text).digest('base64'))
    .map((hash) => `'sha256-${hash}'`)
    .join(' ')
}

const POLICY = [
  "default-src 'none'",
  `script-src ${hashesOf('script')}`,
  `style-src ${hashesOf('style')}`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export const playgroundRoute: Route = {
  method: 'GET',
  path: '/',
  summary: 'A page to try prompts on',
  isPage: true,
  answer: 'text/html',
  handle: ({ reply }: Call) =>
    reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', POLICY)
      .header('cross-origin-opener-policy', 'same-origin')
      .send(page),
}
