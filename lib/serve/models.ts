// Which prompt a request's `model` names, and what is told of each. Knows no route.

import { z } from 'zod'
import type { Engine, PromptName, ServedPrompt } from '../engine/index.js'
import { modelNotFound } from './api-error.js'
import type { Call, Site } from './site.js'

export const modelAnswer = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.int().meta({ description: 'When it was loaded, in Unix seconds' }),
  owned_by: z.literal('lopt'),
  parent: z
    .string()
    .nullable()
    .meta({ description: 'The model that a prompt is for; null: it is that model' }),
  method: z.string().nullable(),
  length: z.int().nullable().meta({ description: 'Virtual tokens' }),
  rank: z.int().nullable(),
  trainable_parameters: z.int().nullable(),
  task: z.object({ template: z.string(), labels: z.array(z.string()) }).nullable(),
})

type Model = z.infer<typeof modelAnswer>

/**
 * The prompt that a request names; the model's own name stands for none.
 *
 * @throws ApiError 404
 */
export function promptOf(engine: Engine, model: string): PromptName {
  if (engine.prompts.has(model)) return model
  if (model === engine.backboneName) return null
  throw modelNotFound(model)
}

/** The prompt that a call names, noted for metrics and the log. */
export function promptOfCall({ live, site }: Call, model: string): PromptName {
  live.model = model
  return promptOf(site.engine, model)
}

export function modelOf({ engine, startedAt }: Site, name: PromptName): Model {
  const prompt = name === null ? undefined : engine.prompts.get(name)
  if (name !== null && prompt === undefined) throw modelNotFound(name)
  return prompt === undefined
    ? { ...common(engine.backboneName, startedAt), ...NO_PROMPT }
    : ofPrompt(prompt, engine.backboneName)
}

function common(id: string, created: number) {
  return { id, object: 'model', created, owned_by: 'lopt' } as const
}

const NO_PROMPT = {
  parent: null,
  method: null,
  length: null,
  rank: null,
  trainable_parameters: null,
  task: null,
}

function ofPrompt(prompt: ServedPrompt, parent: string): Model {
  const { name, method, length, rank, trainableParameters, task, addedAt } = prompt
  return {
    ...common(name, Math.floor(addedAt.getTime() / 1000)),
    parent,
    method,
    length,
    rank: rank ?? null,
    trainable_parameters: trainableParameters,
    task: task ? { template: task.template, labels: [...task.labels] } : null,
  }
}
