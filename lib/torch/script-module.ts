// TorchScript modules: compiled from source here, or loaded from a file. Knows no model.

import { types } from 'node:util'
import { replaceFile } from '../atomic-file.js'
import {
  type DType,
  type ModuleHandle,
  type NativeModuleSpec,
  type NativeValue,
  native,
  type TensorHandle,
} from '../native.js'
import {
  checkObject,
  checkOneOf,
  checkReceiver,
  checkString,
  kindOf,
  shownChoice,
} from './check.js'
import { binding } from './context.js'
import { parseDevice } from './device.js'
import { checkDType } from './dtype.js'
import { handleOf, isTensor, type Tensor, wrap } from './tensor.js'

/** What a method takes and gives. Numbers become what its schema asks for. */
export type ScriptValue =
  | Tensor
  | number
  | boolean
  | string
  | null
  | undefined
  | ScriptValue[]
  | { [key: string]: ScriptValue }

/** A constant of a module, as `self.NAME` in its source. */
export type ScriptAttribute =
  | { type: 'int' | 'float'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'str'; value: string }

/** A module to compile. Names become TorchScript attributes, such as `self.weight`. */
export interface ModuleSpec {
  /** Class name, such as `GPT2Block`. */
  name: string
  /** The methods' `def`s, not indented; may be empty. */
  source: string
  /** Shared with the module, not copied. */
  parameters?: Record<string, Tensor>
  /** Tensors that are never trained. */
  buffers?: Record<string, Tensor>
  attributes?: Record<string, ScriptAttribute>
  /** Children. A numbered one is reached by `getattr(self.h, "0")`. */
  modules?: Record<string, ModuleSpec>
}

/** A method that a compiled module has. */
export interface ScriptMethod {
  name: string
  /** As TorchScript prints it: `forward(__torch__.Model self, Tensor x) -> Tensor`. */
  schema: string
}

/**
 * A TorchScript module. Its methods run as jobs, in the order of the calls.
 *
 * @example
 * const source = `
 * def forward(self, x: Tensor) -> Tensor:
 *     return x * self.scale
 * `
 * const module = await ScriptModule.compile({ name: 'Scale', source, buffers: { scale: tensor(2) } })
 * const doubled = await module.call('forward', ones([2, 3]))
 */
export class ScriptModule {
  readonly #handle: ModuleHandle

  private constructor(handle: ModuleHandle) {
    this.#handle = handle
  }

  static #own(value: ScriptModule): ScriptModule {
    return checkReceiver(value, (object) => #handle in object, 'a ScriptModule')
  }

  /**
   * Compiles a module and its children.
   *
   * @throws LoptError `ERR_TORCH` with TorchScript's message for source that does not compile.
   */
  static async compile(spec: ModuleSpec): Promise<ScriptModule> {
    return new ScriptModule(await binding().moduleCompile(nativeSpec(spec)))
  }

  /**
   * Reads a `.pt` file, also one that Python saved. It holds code: loading one is as trusted as
   * running a program.
   *
   * @throws LoptError `ERR_MODEL_FILE` for a file that is missing, cut short or no TorchScript.
   */
  static async load(
    path: string,
    options: { device?: string } = {},
  ): Promise<{ module: ScriptModule; extraFiles: Record<string, string> }> {
    const { device = 'cpu' } = checkObject(options)
    const place = parseDevice(device)
    const { module, extraFiles } = await binding().moduleLoad(
      checkString(path, 'path'),
      place,
    )
    return { module: new ScriptModule(module), extraFiles }
  }

  /**
   * Runs a method. Tensors in its result, at any depth, are new.
   *
   * @throws TypeError or RangeError for arguments that the method's schema does not take;
   *   LoptError `ERR_TORCH` for what fails inside.
   */
  async call(method: string, ...args: ScriptValue[]): Promise<ScriptValue> {
    return await ScriptModule.#own(this).#call(method, args, false)
  }

  /**
   * As `call`, of a method that returns a tuple: its first value. No tensor is made of the others.
   *
   * @throws LoptError `ERR_TORCH` for a result that is no tuple.
   */
  async callFirst(method: string, ...args: ScriptValue[]): Promise<ScriptValue> {
    return await ScriptModule.#own(this).#call(method, args, true)
  }

  async #call(method: string, args: readonly ScriptValue[], isFirstWanted: boolean) {
    const values = args.map((arg, i) => toNative(arg, `argument ${i + 1}`))
    const name = checkString(method, 'method')
    const result = binding().moduleCall(this.#handle, name, values, isFirstWanted)
    return fromNative(await result)
  }

  /** Its methods, with their schemas. */
  methods(): ScriptMethod[] {
    return native().moduleMethods(ScriptModule.#own(this).#handle)
  }

  /** Converts its floating-point parameters and buffers, one at a time, in place. */
  async convert(dtype: DType): Promise<void> {
    await binding().moduleConvert(ScriptModule.#own(this).#handle, checkDType(dtype))
  }

  /** By dotted name, such as `h.0.attn.weight`; the module's own tensors, not copies. */
  parameters(): Map<string, Tensor> {
    return wrapAll(native().moduleParameters(ScriptModule.#own(this).#handle))
  }

  /** As `parameters()`. */
  buffers(): Map<string, Tensor> {
    return wrapAll(native().moduleBuffers(ScriptModule.#own(this).#handle))
  }

  /** Writes a `.pt` file that `torch.jit.load` reads, with text files beside the module in it. */
  async save(
    path: string,
    options: { extraFiles?: Record<string, string> } = {},
  ): Promise<void> {
    const module = ScriptModule.#own(this).#handle
    const { extraFiles = {} } = checkObject(options)
    for (const [name, text] of Object.entries(checkObject(extraFiles, 'extraFiles')))
      checkString(text, `extraFiles ${name}`)
    await replaceFile(checkString(path, 'path'), (temporary) =>
      binding().moduleSave(module, temporary, extraFiles),
    )
  }

  /** Drops this reference. Its tensors live on where a `Tensor` holds them. */
  dispose(): void {
    native().moduleDispose(ScriptModule.#own(this).#handle)
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    ScriptModule.prototype.dispose.call(this)
  }
}

const ATTRIBUTE_TYPES = ['int', 'float', 'bool', 'str'] as const

function nativeSpec(spec: ModuleSpec): NativeModuleSpec {
  const {
    name,
    source,
    parameters = {},
    buffers = {},
    attributes = {},
    modules = {},
  } = checkObject(spec, 'spec')
  checkString(name, 'name')
  const parts = { parameters, buffers, attributes, modules }
  for (const [part, members] of Object.entries(parts)) {
    checkObject(members, `${part} of ${name}`)
  }
  const members = [parameters, buffers, attributes, modules].flatMap(Object.keys)
  for (const [i, member] of members.entries()) {
    if (member === '' || member.includes('.')) {
      throw new RangeError(
        `Expected names without a dot in ${name} but received '${member}'`,
      )
    }
    if (members.indexOf(member) !== i)
      throw new RangeError(`${name} has two of ${member}`)
  }
  return {
    name,
    // TorchScript's parser wants the last line ended, too.
    source: `${checkString(source, `source of ${name}`)}\n`,
    parameters: namedHandles(parameters, name),
    buffers: namedHandles(buffers, name),
    attributes: Object.entries(attributes).map(([key, attribute]) => {
      const { type, value } = checkAttribute(attribute, `${name}.${key}`)
      return [key, type, value] as const
    }),
    modules: Object.entries(modules).map(
      ([key, child]) =>
        [key, nativeSpec(checkObject(child, `module ${key} of ${name}`))] as const,
    ),
  }
}

function checkAttribute(attribute: ScriptAttribute, name: string): ScriptAttribute {
  const { type, value } = checkObject(attribute, name)
  checkOneOf(type, ATTRIBUTE_TYPES, `type of ${name}`)
  const expected = { int: 'number', float: 'number', bool: 'boolean', str: 'string' }[
    type
  ]
  const fits = type === 'int' ? Number.isSafeInteger(value) : typeof value === expected
  if (fits) return attribute
  throw new TypeError(`Expected ${name} to be ${type} but received ${shownChoice(value)}`)
}

function namedHandles(tensors: Record<string, Tensor>, owner: string) {
  return Object.entries(tensors).map(
    ([name, tensor]) => [name, handleOf(tensor, `${owner}.${name}`)] as const,
  )
}

function wrapAll(pairs: [name: string, tensor: TensorHandle][]): Map<string, Tensor> {
  return new Map(pairs.map(([name, handle]) => [name, wrap(handle)]))
}

function toNative(value: unknown, name: string): NativeValue {
  if (isTensor(value)) return handleOf(value)
  if (value === null || value === undefined) return value
  if (
    typeof value === 'number' ||
    typeof value === 'boolean' ||
    typeof value === 'string'
  ) {
    return value
  }
  if (Array.isArray(value)) return value.map((item, i) => toNative(item, `${name}[${i}]`))
  const prototype: unknown =
    typeof value === 'object' ? Object.getPrototypeOf(value) : undefined
  if (prototype === Object.prototype || prototype === null) {
    const entries = Object.entries(value as Record<string, unknown>)
    return Object.fromEntries(
      entries.map(([key, item]) => [key, toNative(item, `${name}.${key}`)]),
    )
  }
  throw new TypeError(
    `Expected a value that TorchScript knows for ${name} but received ${kindOf(value)}`,
  )
}

function fromNative(value: NativeValue): ScriptValue {
  if (typeof value !== 'object' || value === null) return value
  if (types.isExternal(value)) return wrap(value as TensorHandle)
  if (Array.isArray(value)) return value.map(fromNative)
  const entries = Object.entries(value as Record<string, NativeValue>)
  return Object.fromEntries(entries.map(([key, item]) => [key, fromNative(item)]))
}
