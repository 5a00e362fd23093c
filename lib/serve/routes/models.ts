// GET /v1/models and /v1/models/NAME: the model and its prompts, as OpenAI's clients list them.

import { z } from 'zod'
import { modelAnswer, modelOf, promptOf } from '../models.js'
import type { Call, Route } from '../site.js'

export const modelsRoute: Route = {
  method: 'GET',
  path: '/v1/models',
  summary: 'The model, and the prompts that are served',
  answer: z.object({ object: z.literal('list'), data: z.array(modelAnswer) }),
  handle({ site }: Call) {
    const names = [null, ...site.engine.prompts.keys()]
    return { object: 'list', data: names.map((name) => modelOf(site, name)) }
  },
}

export const modelRoute: Route = {
  method: 'GET',
  // a model's name may have slashes, written so or as %2F
  path: '/v1/models/*',
  summary: 'One of them, by its name',
  answer: modelAnswer,
  handle({ site, request }: Call) {
    const { '*': name = '' } = request.params as { '*'?: string }
    return modelOf(site, promptOf(site.engine, name))
  },
}
