// The whole native contract as one TypeScript interface, and the one addon of this process that meets it. Knows the
// native half's names and nothing of what is built on them; where the addon comes from is lib/addon's.
//
// Handles are opaque: only the functions below can look inside. JavaScript validates what a caller
// may get wrong; the addon checks what could crash it. [sync] runs on the calling thread and is
// small and pure; [job] runs on the environment's executor thread, in order, and gives a promise.

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadAddon } from './addon/load.js'
import { LoptError } from './errors.js'

declare const brand: unique symbol
/** A tensor owned by the addon (`at::Tensor`). */
export type TensorHandle = { readonly [brand]: 'tensor' }
/** A TorchScript module (`torch::jit::Module`). */
export type ModuleHandle = { readonly [brand]: 'module' }
/** An optimizer (`lopt::Optimizer`). */
export type OptimizerHandle = { readonly [brand]: 'optimizer' }
/** A random number generator on the CPU (`at::Generator`). */
export type GeneratorHandle = { readonly [brand]: 'generator' }
/** A captured piece of work (`lopt::Graph`). */
export type GraphHandle = { readonly [brand]: 'graph' }
export type ReadingHandle = { readonly [brand]: 'reading' }
/** A memory-mapped file. */
export type MappedFileHandle = { readonly [brand]: 'mapped-file' }

/** Element types: PyTorch's names. */
export type DType =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float8_e4m3fn'
  | 'float8_e5m2'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint64'
  | 'uint32'
  | 'uint16'
  | 'uint8'
  | 'bool'

/** What bytes a tensor is made from and read into: 16- and 8-bit floats travel as float32. */
export type TypedArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | BigUint64Array
  | Uint32Array
  | Uint16Array
  | Uint8Array

type T = TensorHandle
/** A tensor, or a number that takes part in type promotion as PyTorch's Python numbers do. */
type Operand = TensorHandle | number
type Dims = readonly number[]

/**
 * Functions of tensors, named and ordered as PyTorch's. Every one exists twice: [sync] in
 * `binding.ops`, [job] in `binding.jobs` for when it may take milliseconds.
 */
export interface NativeOps {
  // creation
  zeros(shape: Dims, dtype: DType, device: string): T
  ones(shape: Dims, dtype: DType, device: string): T
  full(shape: Dims, value: number, dtype: DType, device: string): T
  arange(start: number, end: number, step: number, dtype: DType, device: string): T
  linspace(start: number, end: number, steps: number, dtype: DType, device: string): T
  eye(n: number, dtype: DType, device: string): T
  randn(shape: Dims, generator: GeneratorHandle, dtype: DType): T
  rand(shape: Dims, generator: GeneratorHandle, dtype: DType): T
  exponential(shape: Dims, generator: GeneratorHandle, dtype: DType): T
  randint(low: number, high: number, shape: Dims, generator: GeneratorHandle): T
  randperm(n: number, generator: GeneratorHandle): T
  multinomial(
    probabilities: T,
    count: number,
    replacement: boolean,
    generator: GeneratorHandle,
  ): T
  // arithmetic, with broadcasting
  add(a: T, b: Operand, alpha: number): T
  sub(a: T, b: Operand, alpha: number): T
  mul(a: T, b: Operand): T
  div(a: T, b: Operand): T
  pow(a: T, exponent: Operand): T
  remainder(a: T, b: Operand): T
  neg(a: T): T
  exp(a: T): T
  log(a: T): T
  sqrt(a: T): T
  rsqrt(a: T): T
  reciprocal(a: T): T
  square(a: T): T
  abs(a: T): T
  sign(a: T): T
  sin(a: T): T
  cos(a: T): T
  erf(a: T): T
  floor(a: T): T
  round(a: T): T
  clamp(a: T, min: number | null, max: number | null): T
  minimum(a: T, b: T): T
  maximum(a: T, b: T): T
  // products
  matmul(a: T, b: T): T
  addmm(bias: T, a: T, b: T, beta: number, alpha: number): T
  linear(input: T, weight: T, bias: T | null): T
  einsum(equation: string, operands: readonly T[]): T
  // reductions; no dimensions: over all of them
  sum(a: T, dims: Dims | null, keepdim: boolean): T
  mean(a: T, dims: Dims | null, keepdim: boolean): T
  std(a: T, dims: Dims | null, correction: number, keepdim: boolean): T
  variance(a: T, dims: Dims | null, correction: number, keepdim: boolean): T
  amax(a: T, dims: Dims, keepdim: boolean): T
  amin(a: T, dims: Dims, keepdim: boolean): T
  prod(a: T): T
  all(a: T): T
  any(a: T): T
  cumsum(a: T, dim: number): T
  logsumexp(a: T, dims: Dims, keepdim: boolean): T
  norm(a: T, p: number, dims: Dims, keepdim: boolean): T
  argmax(a: T, dim: number | null, keepdim: boolean): T
  argmin(a: T, dim: number | null, keepdim: boolean): T
  /** values, indices */
  topk(a: T, k: number, dim: number, largest: boolean, sorted: boolean): [T, T]
  /** values, indices */
  sort(a: T, dim: number, descending: boolean, stable: boolean): [T, T]
  /** int8 [N, K] and float32 scales [N] of float rows [N, K] */
  quantizeRows(rows: T): [T, T]
  // shape
  reshape(a: T, shape: Dims): T
  view(a: T, shape: Dims): T
  transpose(a: T, dim0: number, dim1: number): T
  permute(a: T, dims: Dims): T
  unsqueeze(a: T, dim: number): T
  squeeze(a: T, dim: number | null): T
  flatten(a: T, startDim: number, endDim: number): T
  expand(a: T, shape: Dims): T
  repeat(a: T, repeats: Dims): T
  slice(a: T, dim: number, start: number | null, end: number | null, step: number): T
  select(a: T, dim: number, index: number): T
  flip(a: T, dims: Dims): T
  tril(a: T, diagonal: number): T
  triu(a: T, diagonal: number): T
  cat(tensors: readonly T[], dim: number): T
  stack(tensors: readonly T[], dim: number): T
  split(a: T, sizes: Dims, dim: number): T[]
  contiguous(a: T): T
  clone(a: T): T
  detach(a: T): T
  /** A new leaf on the same storage that requires a gradient. */
  asParameter(a: T): T
  pinMemory(a: T): T
  isPinned(a: T): boolean
  to(a: T, dtype: DType | null, device: string | null, nonBlocking: boolean): T
  // indexing
  gather(a: T, dim: number, index: T): T
  scatter(a: T, dim: number, index: T, source: T): T
  indexSelect(a: T, dim: number, index: T): T
  /** One index tensor a leading dimension, null for a whole dimension. */
  index(a: T, indices: readonly (T | null)[]): T
  maskedFill(a: T, mask: T, value: number): T
  where(condition: T, a: Operand, b: Operand): T
  embedding(weight: T, ids: T): T
  nonzero(a: T): T
  // comparisons
  eq(a: T, b: Operand): T
  ne(a: T, b: Operand): T
  lt(a: T, b: Operand): T
  le(a: T, b: Operand): T
  gt(a: T, b: Operand): T
  ge(a: T, b: Operand): T
  logicalAnd(a: T, b: T): T
  logicalOr(a: T, b: T): T
  logicalNot(a: T): T
  isfinite(a: T): T
  isnan(a: T): T
  equal(a: T, b: T): boolean
  allclose(a: T, b: T, rtol: number, atol: number, equalNan: boolean): boolean
  // neural network functions
  relu(a: T): T
  gelu(a: T, approximate: 'none' | 'tanh'): T
  tanh(a: T): T
  sigmoid(a: T): T
  silu(a: T): T
  softshrink(a: T, lambda: number): T
  softmax(a: T, dim: number): T
  logSoftmax(a: T, dim: number): T
  layerNorm(a: T, shape: Dims, weight: T | null, bias: T | null, eps: number): T
  rmsNorm(a: T, shape: Dims, weight: T | null, eps: number): T
  scaledDotProductAttention(
    query: T,
    key: T,
    value: T,
    mask: T | null,
    isCausal: boolean,
    scale: number | null,
  ): T
  crossEntropy(
    logits: T,
    target: T,
    weight: T | null,
    reduction: 'none' | 'mean' | 'sum',
    ignoreIndex: number,
    labelSmoothing: number,
  ): T
  // linear algebra
  /** U, S, Vh */
  svd(a: T, fullMatrices: boolean): [T, T, T]
  /** Least-squares solution of a x = b. */
  lstsq(a: T, b: T): T
}

/** Changes of a tensor in place: jobs only, run without a graph. They resolve when done. */
export interface NativeInPlaceOps {
  copy_(a: TensorHandle, source: TensorHandle): Promise<void>
  fill_(a: TensorHandle, value: number): Promise<void>
  add_(a: TensorHandle, b: Operand, alpha: number): Promise<void>
  mul_(a: TensorHandle, b: Operand): Promise<void>
}

export type NativeJobs = {
  [K in keyof NativeOps]: (
    ...args: Parameters<NativeOps[K]>
  ) => Promise<ReturnType<NativeOps[K]>>
} & NativeInPlaceOps

/** A TorchScript value as it crosses the border; numbers become what the method's schema asks. */
export type NativeValue =
  | TensorHandle
  | number
  | boolean
  | string
  | null
  | undefined
  | NativeValue[]
  | { [key: string]: NativeValue }

/** A module to compile: children first, then parameters and attributes, then the source. */
export interface NativeModuleSpec {
  /** Class name, such as `GPT2Block`. */
  name: string
  /** TorchScript source: the methods' `def`s, indented by nothing. May be empty. */
  source: string
  /** name, tensor; registered as they are (a handle and the module share one tensor). */
  parameters: (readonly [name: string, tensor: TensorHandle])[]
  /** name, tensor: tensors that are never trained. */
  buffers: (readonly [name: string, tensor: TensorHandle])[]
  /** name, TorchScript type, value. */
  attributes: (readonly [
    name: string,
    type: 'int' | 'float' | 'bool' | 'str',
    value: number | boolean | string,
  ])[]
  modules: (readonly [name: string, module: NativeModuleSpec])[]
}

export interface NativeMethod {
  name: string
  /** As TorchScript prints it: `run(__torch__.GPT2 self, Tensor x, …) -> (Tensor, Tensor[])`. */
  schema: string
}

/** Options of a parameter group, PyTorch's names and meaning; not all apply to all kinds. */
export interface NativeOptimizerOptions {
  lr: number
  weightDecay: number
  beta1: number
  beta2: number
  eps: number
  amsgrad: boolean
  momentum: number
  dampening: number
  nesterov: boolean
}

/** An op that ran while ops were recorded. */
export interface NativeRecordedOp {
  /** PyTorch's name: `aten::addmm`, `AddmmBackward0`. */
  name: string
  /** libtorch's own number of the thread that it ran on. */
  thread: number
  /** Whether it is a node of the backward pass. */
  backward: boolean
  /** Microseconds since recording began. */
  startUs: number
  durationUs: number
  /** Its tensors, those in lists too; empty unless inputs are recorded. */
  inputs: { device: string; dtype: DType; shape: number[] }[]
}

/** State of one parameter: named tensors (`exp_avg`, …) and its step count. */
export interface NativeParameterState {
  step: number
  tensors: Record<string, TensorHandle>
}

export interface NativeBinding {
  /** libtorch's version that the addon runs with, such as `2.13.0`. */
  readonly torchVersion: string
  /** libtorch's version that the addon was compiled against. */
  readonly torchVersionBuilt: string
  /** Of the CUDA that libtorch is built for, such as `13.0`, with or without a GPU; else null. */
  readonly cudaVersion: string | null
  /** Whether it was compiled with what captures CUDA graphs. */
  readonly graphs: boolean
  /** What computes a CPU's float32 matrix products: oneDNN, or what libtorch chooses itself. */
  readonly products: 'onednn' | 'libtorch'
  /** In what a CPU computes attention of half precision. */
  readonly halfAttention: 'float32' | 'libtorch'
  /** What the CPU has, in libtorch's words, such as `avx512_bf16`. */
  readonly cpuFeatures: readonly string[]
  readonly ops: NativeOps
  readonly jobs: NativeJobs

  /** [sync] Gives memory back that is kept for later tensors of a CPU. */
  releaseMemory(): void
  /** [sync] Ends the executor; later jobs are refused. For the end of the process. */
  shutdown(): void
  /** [sync] The class that native failures are thrown as. Called once per environment. */
  setErrorClass(errorClass: typeof LoptError): void

  // tensors
  /** [sync] Copies `data`; 16- and 8-bit floats are converted from Float32Array. */
  fromData(data: TypedArray, shape: Dims, dtype: DType, device: string): TensorHandle
  /** [sync] A copy of the elements in row-major order; waits for the device. */
  toData(tensor: TensorHandle): TypedArray
  /** [job] The same, off the event loop. */
  readData(tensor: TensorHandle): Promise<TypedArray>
  /** [job] Begins to bring the values of now over: what is asked for next need not be done for them. */
  beginRead(tensor: TensorHandle): Promise<ReadingHandle>
  /** [job] What was begun, once. */
  finishRead(reading: ReadingHandle): Promise<TypedArray>
  /** [job] The raw little-endian bytes of the elements in row-major order, in their own dtype. */
  readBytes(tensor: TensorHandle): Promise<Uint8Array>
  shape(tensor: TensorHandle): number[]
  strides(tensor: TensorHandle): number[]
  dtype(tensor: TensorHandle): DType
  device(tensor: TensorHandle): string
  requiresGrad(tensor: TensorHandle): boolean
  /** Goes up with each op that writes to the tensor in place, as `torch.Tensor._version`. */
  version(tensor: TensorHandle): number
  isLeaf(tensor: TensorHandle): boolean
  isContiguous(tensor: TensorHandle): boolean
  /** [sync] Drops this handle's reference. Doing it twice is harmless. */
  dispose(tensor: TensorHandle): void
  isDisposed(tensor: TensorHandle): boolean
  /** [sync] Live handles, and bytes of the CPU storages that they own, each counted once. */
  memory(): { tensors: number; bytes: number }

  // autograd
  /** [sync] Grad mode of this thread's ops; a job runs in the mode that it was called in. */
  setGradEnabled(enabled: boolean): void
  /** [job] */
  setRequiresGrad(tensor: TensorHandle, requiresGrad: boolean): Promise<void>
  /** [job] */
  backward(
    tensor: TensorHandle,
    gradient: TensorHandle | null,
    retainGraph: boolean,
    createGraph: boolean,
  ): Promise<void>
  /** [job] null where an input is not reached and `allowUnused`. */
  gradients(
    outputs: readonly TensorHandle[],
    inputs: readonly TensorHandle[],
    gradOutputs: readonly (TensorHandle | null)[] | null,
    retainGraph: boolean,
    createGraph: boolean,
    allowUnused: boolean,
  ): Promise<(TensorHandle | null)[]>
  /** [job] The accumulated gradient, or null. */
  grad(tensor: TensorHandle): Promise<TensorHandle | null>
  /** [job] */
  setGrad(tensor: TensorHandle, gradient: TensorHandle | null): Promise<void>
  /** [job] Scales gradients so that their common norm is at most `maxNorm`; gives the norm before. */
  clipGradNorm(
    parameters: readonly TensorHandle[],
    maxNorm: number,
  ): Promise<TensorHandle>

  // generators
  generatorCreate(seed: number): GeneratorHandle
  generatorState(generator: GeneratorHandle): Uint8Array
  generatorSetState(generator: GeneratorHandle, state: Uint8Array): void

  // optimizers
  optimizerCreate(
    kind: 'adam' | 'adamw' | 'sgd',
    groups: readonly {
      parameters: readonly TensorHandle[]
      options: NativeOptimizerOptions
    }[],
  ): OptimizerHandle
  /** [job] */
  optimizerStep(optimizer: OptimizerHandle): Promise<void>
  /** [job] Drops the gradients. */
  optimizerZeroGrad(optimizer: OptimizerHandle): Promise<void>
  /** [job] */
  optimizerSetOptions(
    optimizer: OptimizerHandle,
    group: number,
    options: NativeOptimizerOptions,
  ): Promise<void>
  /** [job] One entry a parameter in the order of the groups; null before its first step. */
  optimizerState(optimizer: OptimizerHandle): Promise<(NativeParameterState | null)[]>
  /** [job] */
  optimizerLoadState(
    optimizer: OptimizerHandle,
    state: readonly (NativeParameterState | null)[],
  ): Promise<void>
  optimizerDispose(optimizer: OptimizerHandle): void

  // graphs
  graphCreate(device: string): GraphHandle
  /** Whether work on a device is captured; else it has to be done again. */
  graphCaptures(device: string): boolean
  /** Whose jobs, and ops on the spot, the calls that follow are. */
  setOwner(owner: number): void
  /** [job] From its end to `releaseExecutor` the executor takes jobs of the owner alone. */
  claimExecutor(): Promise<void>
  /** [sync] */
  releaseExecutor(): void
  /** [job] */
  graphBegin(graph: GraphHandle): Promise<void>
  /** [job] */
  graphEnd(graph: GraphHandle): Promise<void>
  /** [job] */
  graphReplay(graph: GraphHandle): Promise<void>
  /** [job] */
  graphDispose(graph: GraphHandle): Promise<void>

  // TorchScript
  /** [job] */
  moduleCompile(spec: NativeModuleSpec): Promise<ModuleHandle>
  /** [job] Runs a method; tensors in the result, or in a tuple's first value, are new handles. */
  moduleCall(
    module: ModuleHandle,
    method: string,
    args: readonly NativeValue[],
    isFirstWanted: boolean,
  ): Promise<NativeValue>
  /** [sync] */
  moduleMethods(module: ModuleHandle): NativeMethod[]
  /** [job] Floating-point parameters and buffers to another dtype, in place. */
  moduleConvert(module: ModuleHandle, dtype: DType): Promise<void>
  /** [sync] Parameters and buffers by their dotted names. */
  moduleParameters(module: ModuleHandle): [name: string, tensor: TensorHandle][]
  moduleBuffers(module: ModuleHandle): [name: string, tensor: TensorHandle][]
  /** [job] */
  moduleSave(
    module: ModuleHandle,
    path: string,
    extraFiles: Record<string, string>,
  ): Promise<void>
  /** [job] Every extra file that the archive holds comes back. */
  moduleLoad(
    path: string,
    device: string,
  ): Promise<{ module: ModuleHandle; extraFiles: Record<string, string> }>
  moduleDispose(module: ModuleHandle): void

  // files
  /** [sync] Maps a file private (copy on write). */
  mapFile(path: string): MappedFileHandle
  mappedSize(file: MappedFileHandle): number
  /** [sync] A copy of the bytes from `begin` to `end`. */
  mappedBytes(file: MappedFileHandle, begin: number, end: number): Uint8Array
  /**
   * [sync] A tensor on the file's own pages, which stay mapped while it lives; copied only when
   * `offset` is not a multiple of the dtype's size.
   */
  mappedTensor(
    file: MappedFileHandle,
    offset: number,
    shape: Dims,
    dtype: DType,
  ): TensorHandle
  /** [sync] Drops this handle's reference; tensors made from the file stay valid. */
  mappedDispose(file: MappedFileHandle): void

  // devices
  /** [sync] Such as `['cpu', 'cuda:0']`. */
  availableDevices(): string[]
  /** [job] Waits until the device has done all that was asked of it. */
  synchronize(device: string): Promise<void>
  /** [sync] Bytes in use by tensors, held by the allocator, and their peaks; zeros for a CPU. */
  deviceMemory(device: string): {
    allocated: number
    reserved: number
    peakAllocated: number
    peakReserved: number
  }
  emptyCache(device: string): void
  /** [sync] Threads that one op may use on a CPU. */
  getNumThreads(): number
  /** [job] */
  setNumThreads(threads: number): Promise<void>
  allowTf32(enabled: boolean): void
  /** [sync] What `allowTf32` said last, in any thread of the process. */
  isTf32Allowed(): boolean
  /** [sync] Records every op of the process from here on; one recording at a time. */
  recorderStart(inputs: boolean): void
  /** [sync] Ends it: what was recorded, in the order in which the ops ended. */
  recorderStop(): { ops: NativeRecordedOp[]; dropped: number }
  /** [sync] Jobs that wait or run now. */
  pendingJobs(): number
}

let loaded: NativeBinding | undefined

/**
 * The addon, loaded at the first call.
 *
 * @throws LoptError `ERR_ADDON_LOAD` with what to try, when it is missing or does not fit.
 */
export function native(): NativeBinding {
  loaded ??= load()
  return loaded
}

function load(): NativeBinding {
  const root = packageRoot(dirname(fileURLToPath(import.meta.url)))
  const binding = loadAddon(root) as NativeBinding
  binding.setErrorClass(LoptError)
  // `process.exit` runs no cleanup hook: an op must not run beside libtorch's static destructors.
  process.once('exit', () => binding.shutdown())
  return binding
}

/** The folder that holds this package's package.json: sources and bundles lie at other depths. */
export function packageRoot(start: string): string {
  const require = createRequire(import.meta.url)
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const { name } = require(join(folder, 'package.json')) as { name?: string }
      if (name === 'lopt') return folder
    } catch {
      // no package.json here: look one level up
    }
  }
  throw new LoptError('ERR_ADDON_LOAD', `No package.json of lopt above ${start}`)
}

/** This package's version, such as `0.1.0`. */
export function packageVersion(): string {
  const require = createRequire(import.meta.url)
  const root = packageRoot(dirname(fileURLToPath(import.meta.url)))
  return (require(join(root, 'package.json')) as { version: string }).version
}
