// Begins with the list of prompts; the page's parts go on by themselves.

import { showTrouble } from './api.js'
import { showChoices } from './chooser.js'
import { showModels, startCompletion } from './completion.js'
import { $ } from './dom.js'
import { showCards } from './labels.js'
import { showTiles, startLive } from './live.js'
import { loadModels } from './models.js'
import { startRuns } from './runs.js'

async function showPrompts() {
  const models = await loadModels()
  $('backbone').textContent = models.backbone.id
  document.title = `${models.backbone.id} · lopt`
  showChoices(models.prompts, showCards)
  showModels(models)
}

async function start() {
  startCompletion()
  const tiles = showTiles()
  await showPrompts()
  startLive(tiles, () => showPrompts().catch(() => {}))
  if ('showsRuns' in document.body.dataset) startRuns()
}

start().catch(({ message }) => showTrouble(message))
