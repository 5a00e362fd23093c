// What a run folder's config.json says: docs/file-formats.md, "Run folder". Everything that is needed
// to run it again; writes nothing.

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Backbone } from '../backbone/index.js'
import { native, packageVersion } from '../native.js'
import type { Prompt } from '../prompt/index.js'
import type { Task } from '../task/index.js'
import type { TrainSettings } from './fields.js'
import { rowsHash } from './same-run.js'
import type { Weights } from './weights.js'

/** What a run works on. */
export interface RunSubjects {
  readonly backbone: Backbone
  readonly task: Task
  /** What it learns: a prompt, or weights of the backbone. */
  readonly prompt?: Prompt | undefined
  readonly weights?: Weights | undefined
}

/** @param settings all of them, with the limit of the texts that the defaults gave */
export function runConfig(
  { backbone, prompt, weights, task }: RunSubjects,
  settings: TrainSettings,
): object {
  const { resume, profile, ...training } = settings
  return {
    versions: {
      lopt: packageVersion(),
      torch: native().torchVersion,
      node: process.versions.node,
    },
    backbone: {
      source: sourceOf(backbone),
      fingerprint: weights?.fingerprint ?? backbone.fingerprint,
      dtype: backbone.dtype,
      device: backbone.device,
    },
    prompt: prompt
      ? {
          ...prompt.config,
          start: prompt.start ?? null,
          trainableParameters: prompt.trainableParameters,
        }
      : null,
    weights: weights
      ? {
          pattern: weights.pattern.source,
          flags: weights.pattern.flags,
          trainableParameters: weights.trainableParameters,
        }
      : null,
    task: {
      name: task.name,
      source: task.source ?? null,
      template: task.template,
      labels: task.verbalizer,
      ...(task.target && { target: task.target }),
      metric: task.metric,
      rows: {
        train: task.train.length,
        dev: task.dev.length,
        test: task.test.length,
        heldOut: task.heldOut,
        sha256: rowsHash(task),
      },
    },
    training,
  }
}

/** A folder or file as an absolute path: the run may be read from elsewhere. A model id as it is. */
function sourceOf({ source }: Backbone): string {
  return existsSync(source) ? resolve(source) : source
}
