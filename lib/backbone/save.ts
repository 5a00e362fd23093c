// Writes a backbone as a Hugging Face checkpoint folder, which Python's transformers opens. Knows no
// module.

import { join } from 'node:path'
import { makeFolder, writeFileAtomic } from '../atomic-file.js'
import { checkMade, LoptError } from '../errors.js'
import { checkString } from '../torch/check.js'
import { binding } from '../torch/context.js'
import { type Tensor, tidy, writeSafetensors } from '../torch/index.js'
import { handleOf, wrap } from '../torch/tensor.js'
import { architectureOf } from './architectures.js'
import { type Backbone, type BackboneDType, checkBackboneDType } from './contract.js'
import { refuseInt8 } from './int8.js'
import { generationConfig, storedSpecialTokens } from './special-tokens.js'

/**
 * Writes config.json, generation_config.json, the tokenizer's files and model.safetensors, each
 * whole or not at all. In a new folder the weights come last, so that an interrupted save is no
 * checkpoint. A tied output matrix is not stored.
 *
 * @param folder made if it is not there
 * @param options `dtype` is what the weights are stored in: the backbone's own by default. A prompt
 *   belongs to the stored weights: in another dtype they are another backbone's.
 * @throws LoptError `ERR_IO` when the folder cannot be written.
 */
export async function saveBackbone(
  folder: string,
  backbone: Backbone,
  { dtype = backbone?.dtype }: { dtype?: BackboneDType | undefined } = {},
): Promise<void> {
  checkString(folder, 'folder')
  checkMade({ backbone })
  const kind = checkBackboneDType(dtype)
  refuseInt8(backbone, 'save it')
  await makeFolder(folder)
  const { config, tokenizer } = backbone
  const architecture = architectureOf(config)
  const parameters = namedAsStored(backbone)
  const special = storedSpecialTokens(backbone)
  // `torch_dtype` is the older spelling, which every version of transformers reads.
  const { dtype: _, ...stored } = architecture.storedConfig(config)
  const texts: Record<string, string> = {
    ...tokenizer.files,
    'config.json': configJson({ ...stored, ...special, torch_dtype: kind }),
    'generation_config.json': json(generationConfig(backbone)),
  }
  texts['tokenizer_config.json'] ??= tokenizerSettings(backbone)
  for (const [name, text] of Object.entries(texts)) {
    await writeFileAtomic(join(folder, name), Buffer.from(text))
  }
  await tidy(async () => {
    const tensors = new Map<string, Tensor>()
    for (const [name, parameter] of parameters) {
      const plain = parameter.detach()
      tensors.set(
        architecture.storedName(name),
        plain.dtype === kind
          ? plain
          : wrap(await binding().jobs.to(handleOf(plain), kind, 'cpu', false)),
      )
    }
    await writeSafetensors(join(folder, 'model.safetensors'), tensors, {
      metadata: { format: 'pt' },
    })
  })
}

/**
 * The parameters by the architecture's names.
 *
 * @throws LoptError `ERR_UNSUPPORTED` for a `.pt` made elsewhere, whose module has names of its own.
 */
function namedAsStored(backbone: Backbone): Map<string, Tensor> {
  const own = backbone.parameters()
  const names = architectureOf(backbone.config).parameters(backbone.config)
  return new Map(
    names.map(({ name }) => {
      const parameter = own.get(name)
      if (parameter !== undefined) return [name, parameter]
      throw new LoptError(
        'ERR_UNSUPPORTED',
        `${backbone.source}: its module has no parameter ${name}, so that it cannot be written as a ` +
          'Hugging Face folder: save the model that it was made from',
      )
    }),
  )
}

/** Names the special tokens for transformers, which cannot know them from tokenizer.json. */
function tokenizerSettings({ config, tokenizer }: Backbone): string {
  const name = (id: number | undefined) =>
    id === undefined ? undefined : tokenizer.decode([id], { skipSpecialTokens: false })
  return json({
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: name(tokenizer.bosTokenId),
    eos_token: name(tokenizer.eosTokenId),
    unk_token: name(tokenizer.eosTokenId),
    pad_token: name(tokenizer.padTokenId),
    ...(config.modelType === 'gpt2' && { model_max_length: config.positions }),
  })
}

function json(value: Record<string, unknown>): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/**
 * transformers refuses an integer where a float belongs, and JavaScript writes 1.0 as 1: what config.json
 * calls a factor, a range, an epsilon or a dropout gets its point back.
 */
function configJson(value: Record<string, unknown>): string {
  return json(value).replace(
    /^( *"\w*(?:factor|range|epsilon|pdrop|dropout|dropout_rate)": -?\d+)(,?)$/gm,
    '$1.0$2',
  )
}
