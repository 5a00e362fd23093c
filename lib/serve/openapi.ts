// The routes as an OpenAPI 3.1 document, which takes JSON Schema as zod writes it. Knows no route.

import { z } from 'zod'
import { packageVersion } from '../native.js'
import type { Route } from './site.js'

const errorAnswer = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
})

/** @param prefix where the routes are mounted */
export function openapiOf(
  routes: readonly Route[],
  { prefix, hasKeys }: { prefix: string; hasKeys: boolean },
): unknown {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    const path = prefix + route.path.replace('*', '{name}').replace(/:(\w+)/g, '{$1}')
    paths[path] ??= {}
    paths[path][route.method.toLowerCase()] = operationOf(route, hasKeys)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'lopt', version: packageVersion() },
    paths,
    components: {
      schemas: { Error: schemaOf(errorAnswer) },
      ...(hasKeys && { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } }),
    },
  }
}

function operationOf(route: Route, hasKeys: boolean) {
  const { summary, body, query, path, answer, isOpen, takesBytes } = route
  const names = /[:*]/.test(path) ? ['name'] : []
  const parameters = [
    ...names.map((name) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    })),
    ...(query ? [{ name: 'name', in: 'query', schema: { type: 'string' } }] : []),
  ]
  const content = {
    ...(body && { 'application/json': { schema: schemaOf(body) } }),
    ...(takesBytes && { 'application/octet-stream': {} }),
  }
  const answered =
    typeof answer === 'string'
      ? { [answer]: { schema: { type: 'string' } } }
      : { 'application/json': { schema: schemaOf(answer) } }
  return {
    summary,
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: true, content } }),
    responses: {
      200: { description: 'As asked', content: answered },
      default: {
        description: 'Refused or failed',
        content: {
          'application/json': { schema: { $ref: '#/components/schemas/Error' } },
        },
      },
    },
    ...(hasKeys && !isOpen && { security: [{ key: [] }] }),
  }
}

function schemaOf(schema: z.ZodType): unknown {
  // fields that are checked by hand say their shapes themselves
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    unrepresentable: 'any',
    io: 'input',
  })
  return rest
}
