// Graphs that go when others need their memory. On a CPU the same objects run the work again, so that work that says that
// there is no memory shows what follows.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type CausalBackbone, loadBackbone } from '../../lib/backbone/index.js'
import { LoptError } from '../../lib/errors.js'
import { Decoding } from '../../lib/inference/decoding.js'
import { Inputs, StepGraphs, withRoom } from '../../lib/inference/index.js'
import { native } from '../../lib/native.js'
import { type Tensor, tidy, zeros } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { settledMemory } from '../live.js'

const open: StepGraphs[] = []
let before: { tensors: number }
beforeEach(async () => {
  before = await settledMemory()
})
afterEach(async () => {
  vi.restoreAllMocks()
  for (const one of open.splice(0)) await one.dispose()
  expect((await settledMemory()).tensors).toBe(before.tensors)
})

function graphsOn(device = 'cpu'): StepGraphs {
  const graphs = new StepGraphs(device)
  open.push(graphs)
  return graphs
}

const full = () => new LoptError('ERR_OUT_OF_MEMORY', 'no memory left')

type Options = NonNullable<Parameters<StepGraphs['run']>[2]>

/** The sum of `values`, once `meanwhile` is done; read before the step's tensors go. */
async function sumOf(
  graphs: StepGraphs,
  values: readonly number[],
  meanwhile: () => void | Promise<void> = () => {},
  options: Options & { device?: string } = {},
): Promise<number> {
  const { device = 'cpu', ...how } = options
  return await tidy(async () => {
    const inputs = new Inputs(device)
    const one = inputs.int64(values)
    const work = async () => {
      const sum = one.sum()
      await meanwhile()
      return [sum]
    }
    const [sum] = await graphs.run(inputs, work, how)
    return device === 'cpu' ? Number((sum as Tensor).item()) : 0
  })
}

/** Graphs for so many numbers, each captured. */
async function captured(count: number, device = 'cpu'): Promise<StepGraphs> {
  const graphs = graphsOn(device)
  for (let length = 1; length <= count; length += 1) {
    const values = Array.from({ length }, () => 1)
    for (let i = 0; i < 2; i += 1) await sumOf(graphs, values, undefined, { device })
  }
  expect(graphs.count).toBe(count)
  return graphs
}

/** Finds no memory the first `times`. */
function short(times: number) {
  let calls = 0
  return vi.fn(() => {
    calls += 1
    if (calls <= times) throw full()
  })
}

test('of all steps go where a step finds no memory, and it is done once more', async () => {
  const [first, second, own] = [await captured(3), await captured(1), graphsOn()]
  const release = vi.spyOn(native(), 'releaseMemory')
  const fails = short(1)
  expect(await sumOf(own, [1, 2], fails)).toBe(3)
  expect(fails).toHaveBeenCalledTimes(2)
  expect([first.count, second.count]).toEqual([0, 0])
  expect(release).toHaveBeenCalledOnce()
  // What was done once is captured now, and those that went come again.
  expect(await sumOf(own, [3, 4])).toBe(7)
  expect(await sumOf(first, [1, 1, 1])).toBe(3)
  expect([own.count, first.count]).toEqual([1, 1])
})

test('go once: where there is no memory without them either, the step fails', async () => {
  const [others, own] = [await captured(2), graphsOn()]
  const fails = short(2)
  await expect(sumOf(own, [1], fails)).rejects.toMatchObject({
    code: 'ERR_OUT_OF_MEMORY',
    message: 'no memory left',
  })
  expect(fails).toHaveBeenCalledTimes(2)
  expect(others.count).toBe(0)
})

test('are not there: nothing is done again', async () => {
  const fails = short(1)
  await expect(sumOf(graphsOn(), [1], fails)).rejects.toThrow('no memory left')
  expect(fails).toHaveBeenCalledOnce()
})

test('of another device stay', async () => {
  const elsewhere = await captured(2, 'meta')
  const fails = short(1)
  await expect(sumOf(graphsOn(), [1], fails)).rejects.toThrow('no memory left')
  expect(fails).toHaveBeenCalledOnce()
  expect(elsewhere.count).toBe(2)
})

test('stay where a step fails for another reason', async () => {
  const others = await captured(2)
  const fails = vi.fn(() => {
    throw new LoptError('ERR_TORCH', 'broken')
  })
  await expect(sumOf(graphsOn(), [1], fails)).rejects.toThrow('broken')
  expect(fails).toHaveBeenCalledOnce()
  expect(others.count).toBe(2)
})

test('go where a capture finds no memory, which says what takes less if there is none then', async () => {
  const own = await captured(2)
  const values = [1, 2, 3]
  await sumOf(own, values)
  const capturing = vi.spyOn(native(), 'graphCaptures').mockReturnValue(true)
  const end = vi.spyOn(native(), 'graphEnd')
  end.mockRejectedValueOnce(full())
  expect(await sumOf(own, values)).toBe(6)
  expect(end).toHaveBeenCalledTimes(2)
  expect(own.count).toBe(1)
  await sumOf(own, [1, 2, 3, 4])
  end.mockRejectedValueOnce(full()).mockRejectedValueOnce(full())
  await expect(sumOf(own, [1, 2, 3, 4])).rejects.toMatchObject({
    code: 'ERR_OUT_OF_MEMORY',
    message: expect.stringContaining('without graphs'),
  })
  expect(end).toHaveBeenCalledTimes(4)
  expect(own.count).toBe(0)
  capturing.mockRestore()
  expect(await sumOf(own, values)).toBe(6)
  expect(own.count).toBe(1)
})

test('go for a step that is captured, whose inputs are still there', async () => {
  const own = await captured(1)
  await sumOf(own, [1, 2])
  // On a CPU it is when the capture is run for the first time that it finds no memory.
  const fails = short(1)
  expect(await sumOf(own, [1, 2], fails)).toBe(3)
  expect(fails).toHaveBeenCalledTimes(2)
  expect(own.count).toBe(1)
  expect(await sumOf(own, [3, 4])).toBe(7)
})

test('are replayed once: what was done of it is not known', async () => {
  const own = graphsOn()
  let isShort = false
  const fails = vi.fn(() => {
    if (isShort) throw full()
  })
  for (let i = 0; i < 2; i += 1) await sumOf(own, [1, 2], fails)
  isShort = true
  fails.mockClear()
  await expect(sumOf(own, [3, 4])).rejects.toThrow('no memory left')
  expect(fails).toHaveBeenCalledOnce()
  expect(own.count).toBe(1)
})

test('leave what they gave last to whom they gave it', async () => {
  const [others, own] = [await captured(1), graphsOn()]
  await tidy(async () => {
    const inputs = new Inputs('cpu')
    const one = inputs.int64([5])
    const [sum] = await others.run(inputs, async () => [one.sum()])
    await sumOf(own, [1], short(1))
    expect(others.count).toBe(0)
    expect((sum as Tensor).item()).toBe(5)
  })
  const held = (await settledMemory()).tensors
  await others.dispose()
  expect((await settledMemory()).tensors).toBe(held - 1)
})

test('are not taken from under a step that replays one', async () => {
  const [others, own] = [graphsOn(), graphsOn()]
  let isSlow = false
  let goOn: (() => void) | undefined
  const wait = async () => {
    if (isSlow) {
      await new Promise<void>((resolve) => {
        goOn = resolve
      })
    }
  }
  for (let i = 0; i < 2; i += 1) await sumOf(others, [1, 2], wait)
  isSlow = true
  const replayed = sumOf(others, [3, 4])
  await vi.waitFor(() => expect(goOn).toBeDefined())
  const fails = short(1)
  const again = sumOf(own, [1], fails)
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(fails).toHaveBeenCalledOnce()
  expect(others.count).toBe(1)
  isSlow = false
  goOn?.()
  expect(await Promise.all([replayed, again])).toEqual([7, 1])
  expect(fails).toHaveBeenCalledTimes(2)
  expect(others.count).toBe(0)
})

test('stay where what a step has done cannot be taken back', async () => {
  const [others, own] = [await captured(2), graphsOn()]
  const restart = vi.fn(async () => false)
  const fails = short(1)
  await expect(sumOf(own, [1], fails, { restart })).rejects.toThrow('no memory left')
  expect(restart).toHaveBeenCalledExactlyOnceWith(true)
  expect(fails).toHaveBeenCalledOnce()
  expect(others.count).toBe(2)
})

test('go where other work finds no memory', async () => {
  const others = await captured(2)
  const fails = short(1)
  expect(await withRoom('cpu', async () => fails() ?? 'done')).toBe('done')
  expect(others.count).toBe(0)
})

test.each(['texts are read', 'keys and values need room'])(
  'go where %s, and what was to be done is done',
  async (where) => {
    const backbone = await loadBackbone(fixture('gpt2-plain'))
    // As many as there is room for at first.
    const text = { ids: Array.from({ length: 16 }, (_, i) => i), made: [], prompt: null }
    const logitsOf = async (beforeStep = () => {}) => {
      const size = { slots: 4, capacity: 32, textCapacity: 1, graphs: false }
      const decoding = new Decoding(backbone, size)
      const read = await tidy(async () => {
        const first = (await decoding.prefill([text, text])).toArray()
        beforeStep()
        return [first, (await decoding.step([8, 9])).toArray()]
      })
      await decoding.dispose()
      return read
    }
    const expected = await logitsOf()
    const others = await captured(2)
    if (where === 'texts are read') {
      vi.spyOn(backbone as CausalBackbone, 'run').mockRejectedValueOnce(full())
      expect(await logitsOf()).toEqual(expected)
    } else {
      const zeros = vi.spyOn(native().jobs, 'zeros')
      const spoil = () => void zeros.mockRejectedValueOnce(full())
      expect(await logitsOf(spoil)).toEqual(expected)
    }
    expect(others.count).toBe(0)
    vi.restoreAllMocks()
    backbone.dispose()
  },
)

test('are kept within bytes of their inputs, those that were used last', async () => {
  const graphs = new StepGraphs('cpu', { mostBytes: 8 * 7 })
  open.push(graphs)
  for (const length of [3, 4, 5, 100, 2]) {
    const values = Array.from({ length }, () => 1)
    for (let i = 0; i < 3; i += 1) expect(await sumOf(graphs, values)).toBe(length)
    // The last one stays, however large it is.
    expect(graphs.count).toBe({ 3: 1, 4: 2, 5: 1, 100: 1, 2: 1 }[length])
  }
})

test('are not kept where their weights go while they are captured', async () => {
  const weight = tidy(() => zeros([1]).clone())
  const graphs = new StepGraphs('cpu', { weight })
  open.push(graphs)
  expect(await sumOf(graphs, [1, 2])).toBe(3)
  const gone = () => weight.dispose()
  await expect(sumOf(graphs, [1, 2], gone)).rejects.toMatchObject({
    code: 'ERR_DISPOSED',
  })
  expect(graphs.count).toBe(0)
})

test('are not replayed once their weights are gone', async () => {
  const weight = tidy(() => zeros([1]).clone())
  const graphs = new StepGraphs('cpu', { weight })
  open.push(graphs)
  for (let i = 0; i < 3; i += 1) expect(await sumOf(graphs, [1, 2])).toBe(3)
  weight.dispose()
  await expect(sumOf(graphs, [1, 2])).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
})
