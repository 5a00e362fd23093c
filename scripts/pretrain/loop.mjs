// The loop of pretraining: steps, learning rate, log, checkpoints that a later run goes on from. Knows
// a backbone's parameters, no architecture and no text.

import { existsSync } from 'node:fs'
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { saveBackbone } from '../../dist/index.js'
import {
  AdamW,
  clipGradNorm,
  Generator,
  noGrad,
  openSafetensors,
  tidy,
  writeSafetensors,
} from '../../dist/torch.js'

const WARMUP_STEPS = 200
const DECAY_SHARE = 0.2
const LOG_EVERY = 50
const HELD_OUT_EVERY = 500

/**
 * Trains until `steps` are done and writes the model, or until the time is up and writes a
 * checkpoint. Run again, it goes on from there.
 *
 * @param options what `pretrainingOptions` gives
 * @param stepLoss (step, generator) → the loss of one batch, with its graph
 * @param heldOutLoss () → nats a token on text not trained on, called without a graph
 * @param groups `{ params, weightDecay, rate }`: parameters, and what the highest learning rate of the
 *   options is multiplied by for them
 */
export async function pretrain({ options, backbone, groups, stepLoss, heldOutLoss }) {
  const { work, out, steps, peak, stopAfterMinutes, checkpointMinutes } = options
  const parameters = backbone.parameters()
  const count = [...parameters.values()].reduce((sum, p) => sum + p.numel, 0)
  log(`${(count / 1e6).toFixed(2)}M parameters`)
  const optimizer = new AdamW(
    groups.map(({ params, weightDecay }) => ({ params, weightDecay })),
    { lr: peak, betas: [0.9, 0.95] },
  )
  const generator = new Generator({ seed: 1 })
  const state = { parameters, optimizer, generator, work }
  let { step, seconds } = await resume(state)

  const startedAt = performance.now()
  const deadline = startedAt + stopAfterMinutes * 60_000
  let savedAt = startedAt
  const secondsBefore = seconds
  let running = []
  const measured = async () => round(await noGrad(() => tidy(heldOutLoss)))

  while (step < steps && performance.now() < deadline) {
    const learningRate = peak * scheduleFactor(step, steps)
    for (const [i, { rate }] of groups.entries()) {
      await optimizer.setLearningRate(learningRate * rate, i)
    }
    running.push(
      await tidy(async () => {
        const loss = await stepLoss(step, generator)
        await loss.backward()
        await clipGradNorm([...parameters.values()], 1)
        await optimizer.step()
        await optimizer.zeroGrad()
        return (await loss.read())[0]
      }),
    )
    step += 1
    seconds = secondsBefore + (performance.now() - startedAt) / 1000
    if (!Number.isFinite(running.at(-1)))
      throw new Error(`The loss of step ${step} is not finite`)
    if (step % LOG_EVERY === 0) {
      const loss = running.reduce((a, b) => a + b) / running.length
      running = []
      const line = {
        step,
        loss: round(loss),
        lr: learningRate,
        seconds: Math.round(seconds),
      }
      if (step % HELD_OUT_EVERY === 0) line.heldOutLoss = await measured()
      await appendFile(join(work, 'metrics.jsonl'), `${JSON.stringify(line)}\n`)
      log(JSON.stringify(line))
    }
    if (performance.now() - savedAt > checkpointMinutes * 60_000) {
      await checkpoint(state, { step, seconds })
      savedAt = performance.now()
    }
  }
  await checkpoint(state, { step, seconds })
  if (step >= steps) {
    await backbone.setTrainable(false)
    await saveBackbone(out, backbone, { dtype: 'float16' })
    log(`finished: ${out}, held-out loss ${await measured()}`)
  } else {
    log(`stopped at step ${step} of ${steps}; run again to go on`)
  }
}

// Warm-up, then constant, then down to zero: `steps` may be raised or lowered between runs until
// the descent begins.
function scheduleFactor(step, steps) {
  const decayFrom = Math.floor(steps * (1 - DECAY_SHARE))
  if (step < WARMUP_STEPS) return (step + 1) / WARMUP_STEPS
  if (step < decayFrom) return 1
  return 1 - (step - decayFrom) / (steps - decayFrom)
}

// One file: the numbers lie in its metadata, so that they are of the tensors' moment.
async function checkpoint({ parameters, optimizer, generator, work }, { step, seconds }) {
  const state = await optimizer.state()
  const tensors = Object.fromEntries(parameters)
  state.parameters.forEach((parameter, i) => {
    for (const [name, value] of Object.entries(parameter?.tensors ?? {})) {
      tensors[`optimizer.${i}.${name}`] = value
    }
  })
  const numbers = {
    step,
    seconds,
    generator: Buffer.from(generator.state()).toString('base64'),
    optimizer: {
      ...state,
      parameters: state.parameters.map(
        (parameter) => parameter && { step: parameter.step },
      ),
    },
  }
  const file = join(work, 'checkpoint.safetensors')
  await writeSafetensors(file, tensors, {
    metadata: { numbers: JSON.stringify(numbers) },
  })
  for (const parameter of state.parameters) {
    for (const value of Object.values(parameter?.tensors ?? {})) value.dispose()
  }
}

async function resume({ parameters, optimizer, generator, work }) {
  const path = join(work, 'checkpoint.safetensors')
  if (!existsSync(path)) return { step: 0, seconds: 0 }
  const file = openSafetensors(path)
  const { optimizer: saved, ...numbers } = JSON.parse(file.metadata.numbers)
  await tidy(async () => {
    for (const [name, parameter] of parameters) await parameter.copy_(file.tensor(name))
    saved.parameters.forEach((parameter, i) => {
      if (!parameter) return
      const prefix = `optimizer.${i}.`
      parameter.tensors = Object.fromEntries(
        file.names
          .filter((name) => name.startsWith(prefix))
          .map((name) => [name.slice(prefix.length), file.tensor(name)]),
      )
    })
    await optimizer.loadState(saved)
  })
  file.dispose()
  generator.setState(Buffer.from(numbers.generator, 'base64'))
  // Lines of steps after the checkpoint come again.
  const metrics = join(work, 'metrics.jsonl')
  const lines = (await readFile(metrics, 'utf8')).split('\n').filter(Boolean)
  const kept = lines.filter((line) => JSON.parse(line).step <= numbers.step)
  await writeFile(metrics, kept.map((line) => `${line}\n`).join(''))
  log(`going on from step ${numbers.step}`)
  return numbers
}

function round(value) {
  return Math.round(value * 1e4) / 1e4
}

export function log(line) {
  console.error(`${new Date().toISOString().slice(11, 19)} ${line}`)
}
