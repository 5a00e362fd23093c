// Public exports of `lopt/torch`.

export { Adafactor, type AdafactorOptions } from './adafactor.js'
export {
  clipGradNorm,
  enableGrad,
  grad,
  isGradEnabled,
  noGrad,
  parameter,
} from './autograd.js'
export {
  arange,
  type CreationOptions,
  eye,
  full,
  linspace,
  multinomial,
  ones,
  type RandomOptions,
  rand,
  randint,
  randn,
  randperm,
  tensor,
  zeros,
} from './creation.js'
export {
  allowTf32,
  availableDevices,
  type DeviceMemory,
  deviceMemory,
  emptyCache,
  getNumThreads,
  parseDevice,
  setNumThreads,
  synchronize,
} from './device.js'
export {
  type DataOf,
  DTYPES,
  type DType,
  type FloatDType,
  type IntegerDType,
  isFloatingPoint,
  itemSize,
  type TypedArray,
} from './dtype.js'
export type { NestedNumberArray, TensorData } from './from-data.js'
export {
  addmm,
  cat,
  crossEntropy,
  einsum,
  embedding,
  layerNorm,
  linear,
  lstsq,
  rmsNorm,
  scaledDotProductAttention,
  stack,
  svd,
  where,
} from './functional.js'
export { Generator, manualSeed } from './generator.js'
export { type CapturedGraph, captureGraph, capturesGraphs } from './graph.js'
export {
  Adam,
  type AdamOptions,
  AdamW,
  type OptimizerOptions,
  type OptimizerState,
  type ParameterGroup,
  type ParameterState,
  SGD,
  type SGDOptions,
} from './optim.js'
export { type RecordedOp, recordOps } from './recorder.js'
export {
  openSafetensors,
  SafetensorsFile,
  type SafetensorsTensorInfo,
  writeSafetensors,
} from './safetensors.js'
export { keep, memory, releaseMemory, tidy } from './scope.js'
export {
  type ModuleSpec,
  type ScriptAttribute,
  type ScriptMethod,
  ScriptModule,
  type ScriptValue,
} from './script-module.js'
export { type NestedNumbers, Tensor } from './tensor.js'
