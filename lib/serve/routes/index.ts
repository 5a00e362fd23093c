// All routes of a server.

import type { ServeSettings } from '../options.js'
import type { Route } from '../site.js'
import { classifyRoute } from './classify.js'
import { completionsRoute } from './completions.js'
import { healthRoute, readyRoute } from './health.js'
import { metricsRoute } from './metrics.js'
import { modelRoute, modelsRoute } from './models.js'
import { openapiRoute } from './openapi.js'
import { playgroundRoute } from './playground.js'
import { predictRoute } from './predict.js'
import { addPromptRoute, removePromptRoute } from './prompts.js'
import { runsRoutes } from './runs.js'

export function routesOf(settings: ServeSettings): Route[] {
  return [
    completionsRoute(settings),
    classifyRoute(settings),
    predictRoute(settings),
    modelsRoute,
    modelRoute,
    addPromptRoute,
    removePromptRoute,
    ...(settings.runs === undefined ? [] : runsRoutes(settings.runs)),
    healthRoute,
    readyRoute,
    metricsRoute,
    openapiRoute,
    playgroundRoute,
  ]
}
