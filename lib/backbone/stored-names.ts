// Which stored tensor is which of a model's parameters, and what to do with those that are none. Knows
// no model.

import { LoptError } from '../errors.js'
import type { Architecture } from './architecture.js'
import type { Checkpoint } from './checkpoint.js'
import { BACKBONE_DTYPES, type BackboneConfig, type BackboneDType } from './contract.js'
import { fingerprintRows } from './fingerprint.js'

// Names in a warning: a head has one or two tensors, attention to an encoder many in each layer.
const MOST_NAMED = 8

/**
 * Parameter name to stored name, and the configuration as the tensors have it: some files say that
 * the output matrix is tied and hold another. What the model has no place for, a head for classes or
 * marks of another program, is named in a warning and left out.
 *
 * @throws LoptError `ERR_MODEL_FILE` naming the tensor that is missing, of a layer that config.json does
 *   not count, stored twice, or of another shape or kind.
 */
export function matchNames(
  checkpoint: Checkpoint,
  architecture: Architecture,
  stated: BackboneConfig,
): { stored: Map<string, string>; config: BackboneConfig } {
  const { folder } = checkpoint
  const { stored, copies, others } = sortNames(checkpoint, architecture, stated)
  const config = configOf(checkpoint, architecture, stated, { stored, copies })
  for (const { name, shape } of architecture.parameters(config)) {
    const found = stored.get(name)
    if (found === undefined) {
      throw new LoptError('ERR_MODEL_FILE', `${folder}: the tensor ${name} is missing`)
    }
    checkStored(checkpoint, found, shape)
  }
  if (others.length > 0) {
    const named = others.slice(0, MOST_NAMED).join(', ')
    const more = others.length - MOST_NAMED
    process.emitWarning(
      `${folder}: left out what is not part of a ${config.layers}-layer ${architecture.title} ` +
        `language model: ${named}${more > 0 ? ` and ${more} more` : ''}`,
      'LoptWarning',
    )
  }
  return { stored, config }
}

interface SortedNames {
  /** Parameter name to stored name. */
  stored: Map<string, string>
  /** Stored names of copies of the token embedding. */
  copies: string[]
  /** Stored names that are no parameter's. */
  others: string[]
}

function sortNames(
  { folder, names }: Checkpoint,
  architecture: Architecture,
  stated: BackboneConfig,
): SortedNames {
  // with the output matrix, which a file may hold although it is tied
  const separate = architecture.parameters({ ...stated, tiedHead: false })
  const parameters = new Set(separate.map(({ name }) => name))
  const places = new Set([...parameters].map(place))
  const sorted: SortedNames = { stored: new Map(), copies: [], others: [] }
  const { stored, copies, others } = sorted
  for (const name of names) {
    const plain = architecture.plainName(name)
    if (plain === undefined) continue
    if (!parameters.has(plain)) {
      // Layers beyond those of config.json would make another model.
      if (places.has(place(plain))) {
        throw new LoptError(
          'ERR_MODEL_FILE',
          `${folder}: the tensor ${name} is not part of a ${stated.layers}-layer ` +
            `${architecture.title} language model`,
        )
      }
      others.push(name)
      continue
    }
    // A copy of the embedding counts where the file has nothing else, and must equal it elsewhere.
    const isCopy =
      plain === architecture.tokenEmbedding && name !== architecture.storedName(plain)
    const twin = stored.get(plain)
    if (twin === undefined) {
      stored.set(plain, name)
    } else if (isCopy || copies.includes(twin)) {
      stored.set(plain, isCopy ? twin : name)
    } else {
      throw new LoptError(
        'ERR_MODEL_FILE',
        `${folder}: ${twin} and ${name} are the same tensor`,
      )
    }
    if (isCopy) copies.push(name)
  }
  return sorted
}

/** A parameter's name without its layer's number. */
function place(name: string): string {
  return name.replace(/(?<=\.)\d+(?=\.)/g, 'N')
}

/** The configuration with the output matrix that the file has. */
function configOf(
  checkpoint: Checkpoint,
  { tokenEmbedding, outputMatrix, otherOutputMatrix }: Architecture,
  stated: BackboneConfig,
  { stored, copies }: Pick<SortedNames, 'stored' | 'copies'>,
): BackboneConfig {
  const { folder } = checkpoint
  const embedding = stored.get(tokenEmbedding)
  const output = stored.get(outputMatrix)
  const table = [stated.vocabSize, stated.hiddenSize]
  if (embedding === undefined) return stated
  for (const copy of [embedding, ...copies]) checkStored(checkpoint, copy, table)
  const differing = copies.find((copy) => !isSame(checkpoint, copy, embedding, stated))
  if (differing !== undefined) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${folder}: ${differing} should be a copy of ${embedding} and is not`,
    )
  }
  if (!stated.tiedHead || output === undefined) return stated
  checkStored(checkpoint, output, table)
  const same = isSame(checkpoint, output, embedding, stated)
  if (!same && otherOutputMatrix === 'refuse') throw otherOutput(folder, output)
  return { ...stated, tiedHead: same }
}

function checkStored(
  checkpoint: Checkpoint,
  name: string,
  shape: readonly number[],
): void {
  const info = checkpoint.info(name)
  const same =
    info.shape.length === shape.length && shape.every((size, i) => info.shape[i] === size)
  if (!same) {
    throw new LoptError(
      'ERR_MODEL_FILE',
      `${checkpoint.folder}: the tensor ${name} is [${info.shape.join(', ')}], but config.json ` +
        `makes it [${shape.join(', ')}]`,
    )
  }
  if (!BACKBONE_DTYPES.includes(info.dtype as BackboneDType)) {
    throw new LoptError(
      'ERR_UNSUPPORTED',
      `${checkpoint.folder}: the tensor ${name} is ${info.dtype}; these are read: ` +
        `${BACKBONE_DTYPES.join(', ')}`,
    )
  }
}

/** Whether two stored tables are of one dtype and equal in the rows that the fingerprint reads. */
function isSame(
  checkpoint: Checkpoint,
  a: string,
  b: string,
  { vocabSize }: BackboneConfig,
): boolean {
  if (checkpoint.info(a).dtype !== checkpoint.info(b).dtype) return false
  const rowBytes = checkpoint.info(a).sizeBytes / vocabSize
  return fingerprintRows(vocabSize).every((row) => {
    const [begin, end] = [row * rowBytes, (row + 1) * rowBytes]
    const bytes = Buffer.from(checkpoint.bytes(a, begin, end))
    return bytes.equals(checkpoint.bytes(b, begin, end))
  })
}

function otherOutput(folder: string, output: string): LoptError {
  return new LoptError(
    'ERR_MODEL_FILE',
    `${folder}: config.json ties the output matrix to the token embedding, but the ` +
      `file holds another ${output}. Set tie_word_embeddings to false if the model has its own.`,
  )
}
