// One run's settings from a file: a list of them, a sweep's configuration whose axes leave one value
// each, or a run folder's config.json. Runs nothing.

import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { readConfigFile } from './config-file.js'
import {
  hasMeaning,
  meaningful,
  type RunSettings,
  SETTING_NAMES,
  type SettingName,
} from './settings.js'
import { type Axes, parseSweepConfig, withAbsolutePaths } from './sweep-config.js'

/**
 * The settings that a file has for one run, paths made absolute.
 *
 * @param given settings that are known already: they choose the method and the task, and an axis of
 *   several values is no matter where they have one
 * @throws RangeError naming the wrong field by its path; LoptError `ERR_IO`.
 */
export function readTrainConfig(file: string, given: RunSettings = {}): RunSettings {
  const value = readConfigFile(file)
  const run = runConfig.safeParse(value)
  if (run.success) return meaningful(ofRunFolder(run.data))
  const folder = dirname(resolve(file))
  const config = parseSweepConfig(value, { where: file, folder })
  const one = <Name extends SettingName>(name: Name, axes: Axes, path: string) => {
    const values = axes[name] as readonly RunSettings[Name][] | undefined
    if (given[name] !== undefined || values === undefined || values.length === 1) {
      return given[name] ?? values?.[0]
    }
    throw new RangeError(
      `${file}: ${path}: Expected one value but received ${values.length}: choose one by its option, ` +
        'or run all with `lopt sweep`',
    )
  }
  const { base, grid } = config
  const task = given.task ?? base.task ?? one('task', grid, 'grid.task')
  const method = given.method ?? base.method ?? one('method', grid, 'grid.method')
  const overrides = [
    { axes: grid, path: 'grid' },
    { axes: (task && config.tasks[task]) || {}, path: `tasks.${task}` },
    { axes: (method && config.methods[method]) || {}, path: `methods.${method}` },
  ]
  const settings: Record<string, unknown> = { ...base, task, method }
  for (const name of SETTING_NAMES) {
    if (name === 'task' || name === 'method') continue
    if (!hasMeaning(name, method ?? 'lopt-1', base)) continue
    const last = overrides.findLast(({ axes }) => axes[name] !== undefined)
    if (last) settings[name] = one(name, last.axes, `${last.path}.${name}`)
  }
  const whole = withAbsolutePaths(settings as RunSettings, folder)
  return meaningful({ ...whole, ...given })
}

// Of what a run folder's config.json holds (docs/file-formats.md), what another run can be given.
const text = z.string()
const runConfig = z.object({
  versions: z.object({ lopt: text }),
  backbone: z.object({ source: text, dtype: text, device: text }),
  prompt: z.object({
    method: text,
    length: z.number(),
    rank: z.number(),
    placement: text,
    activation: text,
    activationThreshold: z.number(),
    bottleneck: z.number().optional(),
    textTokens: z.number().optional(),
    alpha: z.number().optional(),
    start: z.object({ init: text.optional(), file: text.optional() }).nullable(),
  }),
  task: z.object({
    template: text,
    source: z.object({
      task: text.optional(),
      data: text.optional(),
      evalData: text.optional(),
      testData: text.optional(),
      folder: text.optional(),
      revision: text.optional(),
      templates: text.optional(),
      splits: text.optional(),
    }),
  }),
  training: z.record(z.string(), z.unknown()),
})

function ofRunFolder(config: z.infer<typeof runConfig>): RunSettings {
  const { backbone, prompt, task, training } = config
  const { start, rank, ...shape } = prompt
  const { out: _out, resume: _resume, ...trained } = training
  const init = start?.init ?? start?.file
  const { folder: dataDir, revision: _revision, ...source } = task.source
  const settings = {
    backbone: backbone.source,
    dtype: backbone.dtype,
    device: backbone.device,
    template: task.template,
    ...source,
    ...(dataDir === undefined ? {} : { dataDir }),
    ...shape,
    ...(rank > 0 ? { rank } : {}),
    ...(init === undefined ? {} : { init }),
    ...trained,
  }
  return settings as RunSettings
}
