// GET /health and /ready: whether the process lives, and whether it takes requests. Whoever restarts it, or sends it requests,
// has no key.

import { z } from 'zod'
import type { Call, Route } from '../site.js'

const open = { method: 'GET', isOpen: true, isAlways: true } as const

export const healthRoute: Route = {
  ...open,
  path: '/health',
  summary: 'Whether the server lives',
  answer: z.object({ status: z.literal('ok') }),
  handle: () => ({ status: 'ok' }),
}

export const readyRoute: Route = {
  ...open,
  path: '/ready',
  summary: 'Whether it takes requests; 503 once it is about to stop',
  answer: z.object({ status: z.enum(['ready', 'closing']) }),
  handle({ site, reply }: Call) {
    if (!site.live.isDraining) return { status: 'ready' }
    return reply.code(503).send({ status: 'closing' })
  },
}
