// GET /openapi.json: what can be asked for, from the schemas that check it.

import { z } from 'zod'
import type { Call, Route } from '../site.js'

export const openapiRoute: Route = {
  method: 'GET',
  path: '/openapi.json',
  summary: 'This description',
  answer: z.object({ openapi: z.string() }).loose(),
  handle: ({ site }: Call) => site.openapi(),
}
