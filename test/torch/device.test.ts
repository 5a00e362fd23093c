// Devices: names, what is refused, threads. Runs the same with and without a GPU.

import { describe, expect, test } from 'vitest'
import { native } from '../../lib/native.js'
import {
  availableDevices,
  deviceMemory,
  emptyCache,
  getNumThreads,
  ones,
  parseDevice,
  setNumThreads,
  synchronize,
  zeros,
} from '../../lib/torch/index.js'

describe('devices', () => {
  test('the CPU is always there', () => {
    expect(availableDevices()).toContain('cpu')
    expect(parseDevice('cpu')).toBe('cpu')
    expect(parseDevice('cpu:0')).toBe('cpu')
    expect(parseDevice('meta')).toBe('meta')
  })

  test('one that is not there is ERR_DEVICE naming those that are', () => {
    const missing = availableDevices().includes('mps') ? 'cuda:7' : 'mps'
    for (const use of [
      () => parseDevice(missing),
      () => zeros([1], { device: missing }),
      () => zeros([1]).to(missing),
      () => zeros([1]).to({ device: missing }),
      () => deviceMemory(missing),
    ]) {
      expect(use).toThrow(
        expect.objectContaining({
          code: 'ERR_DEVICE',
          message: expect.stringContaining(availableDevices().join(', ')),
        }),
      )
    }
    expect(() => parseDevice('cuda:999')).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE' }),
    )
  })

  test('a CUDA device that is not there: why there is none', () => {
    const { cudaVersion } = native()
    const some = availableDevices().some((name) => name.startsWith('cuda'))
    const why = cudaVersion === null ? /is for the CPU alone/ : /finds no NVIDIA GPU/
    expect(() => parseDevice('cuda:999')).toThrow(some ? /cuda:0.*\.$/ : why)
  })

  test('a name that is none is a RangeError', () => {
    for (const name of [
      'gpu',
      '',
      'cuda:',
      'cuda:-1',
      'cuda:01',
      'CPU',
      'cpu:1',
      ' cpu',
      'cuda:0x',
    ]) {
      expect(() => parseDevice(name), name).toThrow(RangeError)
    }
    expect(() => parseDevice(0 as never)).toThrow(TypeError)
    expect(() => parseDevice(undefined as never)).toThrow(TypeError)
  })

  test('answer for their memory and their work', async () => {
    expect(deviceMemory('cpu')).toEqual({
      allocated: 0,
      reserved: 0,
      peakAllocated: 0,
      peakReserved: 0,
    })
    emptyCache('cpu')
    await synchronize('cpu')
  })

  test('give the same draws and results on every device that is there', () => {
    for (const device of availableDevices()) {
      const t = ones([2, 3], { device })
      expect(t.device).toBe(device)
      expect(t.matmul(t.transpose(0, 1)).to('cpu').toArray()).toEqual([
        [3, 3],
        [3, 3],
      ])
    }
  })
})

describe('threads', () => {
  test('are set and read', async () => {
    const before = getNumThreads()
    await setNumThreads(1)
    expect(getNumThreads()).toBe(1)
    await setNumThreads(before)
    expect(getNumThreads()).toBe(before)
  })

  test('of a number that makes no sense are refused', async () => {
    for (const threads of [0, -1, 1025])
      await expect(setNumThreads(threads)).rejects.toThrow(RangeError)
    for (const threads of [1.5, Number.NaN, '2']) {
      await expect(setNumThreads(threads as number)).rejects.toThrow(TypeError)
    }
  })
})
