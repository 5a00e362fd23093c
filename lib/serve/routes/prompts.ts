// POST /v1/prompts and DELETE /v1/prompts/NAME: prompts that come and go while the server runs. A prompt is a safetensors file's
// bytes or a name in the server's folder, never a path and never a pickle.

import { z } from 'zod'
import { ApiError, checkBody, ofRequest } from '../api-error.js'
import { modelAnswer, modelOf } from '../models.js'
import { PROMPT_NAME } from '../prompts-folder.js'
import type { Call, Route } from '../site.js'

const nameField = z
  .string()
  .regex(
    PROMPT_NAME,
    'Expected 1 to 64 letters, digits, _, - and ., the first a letter or digit',
  )
const byName = z.strictObject({ name: nameField })

export const addPromptRoute: Route = {
  method: 'POST',
  path: '/v1/prompts',
  summary:
    "Serves a prompt: the body is a prompt file's bytes, with ?name=, or the name of one in the server's folder",
  isAdmin: true,
  takesBytes: true,
  body: byName,
  query: z.object({ name: nameField.optional() }),
  answer: modelAnswer,
  async handle(call: Call) {
    const { site, request, live } = call
    const { body } = request
    const { name } = checkBody(byName, Buffer.isBuffer(body) ? request.query : body)
    await ofRequest({ param: 'name' }, async () => {
      if (Buffer.isBuffer(body)) await site.prompts.loadBytes(name, body)
      else await site.prompts.load(name)
    })
    live.model = name
    request.log.info({ prompt: name }, 'a prompt was added')
    return modelOf(site, name)
  },
}

export const removePromptRoute: Route = {
  method: 'DELETE',
  path: '/v1/prompts/:name',
  isAdmin: true,
  summary: 'Serves a prompt no longer; requests that have begun end with it',
  answer: z.object({
    id: z.string(),
    object: z.literal('model'),
    deleted: z.literal(true),
  }),
  async handle({ site, request, live }: Call) {
    const { name } = request.params as { name: string }
    live.model = name
    if (!(await site.prompts.remove(name))) {
      throw new ApiError(
        404,
        `There is no prompt ${JSON.stringify(name.slice(0, 100))}`,
        {
          param: 'name',
          code: 'model_not_found',
        },
      )
    }
    request.log.info({ prompt: name }, 'a prompt was removed')
    return { id: name, object: 'model', deleted: true }
  },
}
