// GET /metrics: what Prometheus reads.

import type { Call, Route } from '../site.js'

export const metricsRoute: Route = {
  method: 'GET',
  path: '/metrics',
  summary: 'Figures for Prometheus',
  isAlways: true,
  answer: 'text/plain',
  async handle({ site, reply }: Call) {
    const { registry } = site.metrics
    return reply.type(registry.contentType).send(await registry.metrics())
  },
}
