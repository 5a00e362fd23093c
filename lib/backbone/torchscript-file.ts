// A backbone as one TorchScript file, `.pt`: module, config.json and tokenizer together. Knows what such
// a file must offer (docs/backbone-contract.md), not who made it.

import { LoptError } from '../errors.js'
import { packageVersion } from '../native.js'
import { ScriptModule, type Tensor } from '../torch/index.js'
import { architectureOf } from './architectures.js'
import { backboneOf } from './compile.js'
import { parseConfig } from './config.js'
import {
  BACKBONE_DTYPES,
  type Backbone,
  type BackboneConfig,
  type BackboneDType,
  type Quantization,
} from './contract.js'
import { refuseInt8 } from './int8.js'
import { parseJson } from './json-file.js'
import { fingerprintInMemory, ScriptedBackbone } from './scripted.js'
import { endTokenIds, generationConfig, storedSpecialTokens } from './special-tokens.js'
import { tokenizerFromFiles } from './tokenizer.js'
import { checkVocabulary } from './vocabulary.js'

const CONFIG = 'config.json'
const GENERATION = 'generation_config.json'
const TOKENIZER = 'tokenizer.json'
const TOKENIZER_SETTINGS = 'tokenizer_config.json'
/** What only a file of this library's own has. */
const OWN = 'lopt.json'

/** Argument and result types of each method, as TorchScript prints them. */
const METHODS: Readonly<Record<Backbone['kind'], Readonly<Record<string, string>>>> = {
  causal: {
    embed: '(Tensor) -> Tensor',
    run: '(Tensor, Tensor, Tensor?, Tensor[], int, int, Tensor?) -> (Tensor, Tensor[])',
    head: '(Tensor, Tensor?) -> Tensor',
  },
  'encoder-decoder': {
    embed: '(Tensor) -> Tensor',
    encode: '(Tensor, Tensor?, int, int) -> Tensor',
    cross_key_values: '(Tensor) -> Tensor[]',
    decode: '(Tensor, Tensor[], Tensor[], Tensor?, int, int) -> (Tensor, Tensor[])',
    head: '(Tensor, Tensor?) -> Tensor',
  },
}

/** Those that a file may be without. */
const OPTIONAL_METHODS: typeof METHODS = {
  causal: {
    run_behind:
      '(Tensor, Tensor, Tensor?, Tensor?, Tensor[], Tensor?) -> (Tensor, Tensor[])',
    run_with_prefixes: '(Tensor, Tensor, Tensor, Tensor?, Tensor?, Tensor?) -> Tensor',
    decode_step: '(Tensor, Tensor[], Tensor, int) -> Tensor',
  },
  'encoder-decoder': {
    decode_encoded: '(Tensor, Tensor[], Tensor, Tensor?) -> Tensor',
    decode_step: '(Tensor, Tensor[], Tensor, int, Tensor[], Tensor, int) -> Tensor',
  },
}

/**
 * Writes a backbone as one `.pt` file, which `loadBackbone` and Python's `torch.jit.load` open. The
 * weights are in the backbone's own dtype; prompts of this backbone fit the file's as well.
 *
 * @throws LoptError `ERR_IO` when the file cannot be written, `ERR_UNSUPPORTED` for weights of 8 bits.
 */
export async function exportBackbone(path: string, backbone: Backbone): Promise<void> {
  if (!(backbone instanceof ScriptedBackbone)) {
    throw new TypeError('Expected a backbone of loadBackbone or createBackbone')
  }
  refuseInt8(backbone, 'export it')
  const { config, tokenizer, fingerprint, dtype } = backbone
  const stored = architectureOf(config).storedConfig(config)
  const special = storedSpecialTokens(backbone)
  await backbone.module.save(path, {
    extraFiles: {
      ...tokenizer.files,
      [CONFIG]: JSON.stringify({ ...stored, ...special, torch_dtype: dtype }),
      [GENERATION]: JSON.stringify(generationConfig(backbone)),
      [OWN]: JSON.stringify({ fingerprint, created_with: `lopt ${packageVersion()}` }),
    },
  })
}

/**
 * Opens a `.pt` file. It holds code: loading one is as trusted as running a program.
 *
 * @param options.source what the backbone says it came from
 */
export async function loadTorchScriptFile(
  path: string,
  options: {
    source: string
    device: string
    dtype: BackboneDType | undefined
    quantization: Quantization | null
  },
): Promise<Backbone> {
  const { source, device, quantization } = options
  if (quantization !== null) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${path} holds its products as they are: open the folder that it was made from with dtype ${quantization}`,
    )
  }
  const { module, extraFiles } = await ScriptModule.load(path, { device })
  // On `meta` no weight can be read, and some are compared and hashed.
  const readable =
    device === 'meta' ? (await ScriptModule.load(path, { device: 'cpu' })).module : module
  try {
    const raw = parseExtra(extraFiles, CONFIG, path)
    const stated = parseConfig(raw, `${path}: ${CONFIG}`)
    checkMethods(module, stated, path)
    const parameters = module.parameters()
    const { tokenEmbedding } = architectureOf(stated)
    const stored = checkEmbedding(parameters, tokenEmbedding, stated, path)
    const weights = readable.parameters()
    const config = { ...stated, tiedHead: await isTied(weights, stated) }
    const tokenizer = await readTokenizer(extraFiles, config, path)
    checkVocabulary(tokenizer, config, path)
    const generation =
      extraFiles[GENERATION] === undefined
        ? undefined
        : parseExtra(extraFiles, GENERATION, path)
    const contents = { [GENERATION]: generation, [CONFIG]: config.raw }
    const ends = endTokenIds(tokenizer, config.vocabSize, contents, (message) => {
      throw new LoptError('ERR_MODEL_FILE', `${path}: ${message}`)
    })
    for (const parameter of parameters.values()) await parameter.requiresGrad_(false)
    const fingerprint =
      ownFingerprint(extraFiles, path) ??
      (await fingerprintInMemory(config, weights.get(tokenEmbedding) as Tensor))
    const dtype = options.dtype ?? (device === 'cpu' ? 'float32' : stored)
    if (dtype !== stored) {
      checkConversion(config, dtype, path)
      await module.convert(dtype)
    }
    return backboneOf({
      module,
      config,
      tokenizer,
      endTokenIds: ends,
      // Once more: a handle knows the dtype that it was made with.
      parameters: module.parameters(),
      tokenEmbedding,
      device,
      dtype,
      quantization: null,
      fingerprint,
      source,
    })
  } catch (error) {
    module.dispose()
    throw error
  } finally {
    if (readable !== module) readable.dispose()
  }
}

function parseExtra(
  extraFiles: Readonly<Record<string, string>>,
  name: string,
  path: string,
): Record<string, unknown> {
  const text = extraFiles[name]
  if (text !== undefined) return parseJson(text, `${path}: ${name}`)
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${path}: the file holds no ${name}. A backbone's .pt carries config.json and tokenizer.json as ` +
      'extra files (docs/backbone-contract.md); `lopt export backbone` writes one',
  )
}

function checkMethods(module: ScriptModule, config: BackboneConfig, path: string): void {
  const kind = config.modelType === 'gpt2' ? 'causal' : 'encoder-decoder'
  const offered = new Map(module.methods().map(({ name, schema }) => [name, schema]))
  const known = { ...METHODS[kind], ...OPTIONAL_METHODS[kind] }
  const wrong = Object.entries(known).flatMap(([name, wanted]) => {
    const schema = offered.get(name)
    if (schema === undefined) {
      return name in METHODS[kind] ? [`${name}${wanted} is missing`] : []
    }
    const types = typesOf(schema)
    return types === wanted ? [] : [`${name} is ${types} and not ${wanted}`]
  })
  if (wrong.length === 0) return
  throw new LoptError(
    'ERR_MODEL_FILE',
    `${path} is no ${kind} backbone (docs/backbone-contract.md): ${wrong.join('; ')}`,
  )
}

/** `run(__torch__.GPT2 self, Tensor x, int first) -> Tensor`: `(Tensor, int) -> Tensor`. */
function typesOf(schema: string): string {
  const match = /^[^(]*\((.*)\) -> (.*)$/.exec(schema)
  const [, given = '', result = ''] = match ?? []
  const types = given
    .split(', ')
    .slice(1) // self
    .map((argument) => argument.replace(/ \w+(=.*)?$/, ''))
  // One result that is a tuple is printed with one pair of brackets more than two results.
  return `(${types.join(', ')}) -> ${result.replace(/^\(\((.*)\)\)$/, '($1)')}`
}

function checkEmbedding(
  parameters: ReadonlyMap<string, Tensor>,
  name: string,
  { vocabSize, hiddenSize }: BackboneConfig,
  path: string,
): BackboneDType {
  const embedding = parameters.get(name)
  if (embedding === undefined) {
    throw new LoptError('ERR_MODEL_FILE', `${path}: the parameter ${name} is missing`)
  }
  const { shape, dtype } = embedding
  if (shape.length !== 2 || shape[0] !== vocabSize || shape[1] !== hiddenSize) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${path}: ${name} is [${shape.join(', ')}], but config.json makes it [${vocabSize}, ${hiddenSize}]`,
    )
  }
  const known = BACKBONE_DTYPES.find((one) => one === dtype)
  if (known !== undefined) return known
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `${path}: ${name} is ${dtype}; these are read: ${BACKBONE_DTYPES.join(', ')}`,
  )
}

/** As for a folder, the tensors decide: a tied output matrix may be there under both names. */
async function isTied(
  parameters: ReadonlyMap<string, Tensor>,
  config: BackboneConfig,
): Promise<boolean> {
  const { tokenEmbedding, outputMatrix } = architectureOf(config)
  const output = parameters.get(outputMatrix)
  if (output === undefined) return true
  const embedding = parameters.get(tokenEmbedding) as Tensor
  if (output.shape.join() !== embedding.shape.join()) return false
  const tables = [output, embedding]
  const [a, b] = await Promise.all(
    tables.map((table) => fingerprintInMemory(config, table)),
  )
  return a === b
}

async function readTokenizer(
  extraFiles: Readonly<Record<string, string>>,
  config: BackboneConfig,
  path: string,
) {
  parseExtra(extraFiles, TOKENIZER, path)
  const files: Record<string, string> = {}
  for (const name of [TOKENIZER, TOKENIZER_SETTINGS]) {
    const text = extraFiles[name]
    if (text !== undefined) files[name] = text
  }
  return await tokenizerFromFiles(files, { origin: path, config: config.raw })
}

function ownFingerprint(
  extraFiles: Readonly<Record<string, string>>,
  path: string,
): string | undefined {
  if (extraFiles[OWN] === undefined) return undefined
  const { fingerprint } = parseExtra(extraFiles, OWN, path)
  if (typeof fingerprint === 'string' && /^[0-9a-f]{64}$/.test(fingerprint))
    return fingerprint
  throw new LoptError('ERR_MODEL_FILE', `${path}: ${OWN} holds no fingerprint`)
}

/** A T5's float16 needs some weights in float32, which only a folder's own loading knows. */
function checkConversion(
  config: BackboneConfig,
  dtype: BackboneDType,
  path: string,
): void {
  if (config.modelType === 'gpt2' || dtype !== 'float16') return
  throw new LoptError(
    'ERR_UNSUPPORTED',
    `${path}: a T5 overflows in float16 unless the output of its MLP stays float32, and a .pt is ` +
      'converted as a whole: use bfloat16, or export the folder loaded with dtype float16',
  )
}
