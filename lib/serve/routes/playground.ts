// GET /: a page to try prompts on.

import { PAGE_POLICY, pageOf } from '../playground/page.js'
import type { Call, Route } from '../site.js'

export const playgroundRoute: Route = {
  method: 'GET',
  path: '/',
  summary: 'A page to try prompts on',
  isPage: true,
  answer: 'text/html',
  handle: ({ reply, site: { settings } }: Call) =>
    reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', PAGE_POLICY)
      .header('cross-origin-opener-policy', 'same-origin')
      .send(pageOf({ showsRuns: settings.runs !== undefined })),
}
