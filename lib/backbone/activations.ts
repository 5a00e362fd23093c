// The MLP's activations, as TorchScript expressions of `hidden`. Names and formulas are those of
// transformers (`ACT2FN` in activations.py).

import type { Quantization } from './contract.js'

/** transformers' name to expression. */
export const ACTIVATIONS: ReadonlyMap<string, string> = new Map([
  // GPT-2's own and its spellings: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  ['gelu_new', 'torch.gelu(hidden, approximate="tanh")'],
  ['gelu_pytorch_tanh', 'torch.gelu(hidden, approximate="tanh")'],
  ['gelu_fast', 'torch.gelu(hidden, approximate="tanh")'],
  ['gelu_accurate', 'torch.gelu(hidden, approximate="tanh")'],
  ['gelu_python_tanh', 'torch.gelu(hidden, approximate="tanh")'],
  ['gelu', 'torch.gelu(hidden)'],
  ['gelu_python', 'torch.gelu(hidden)'],
  ['quick_gelu', 'hidden * torch.sigmoid(1.702 * hidden)'],
  ['relu', 'torch.relu_(hidden)'],
  ['relu2', 'torch.square(torch.relu(hidden))'],
  ['relu6', 'torch.clamp(hidden, 0.0, 6.0)'],
  ['leaky_relu', 'torch.leaky_relu(hidden, 0.01)'],
  ['silu', 'torch.silu(hidden)'],
  ['swish', 'torch.silu(hidden)'],
  ['mish', 'torch.mish(hidden)'],
  ['tanh', 'torch.tanh(hidden)'],
  ['sigmoid', 'torch.sigmoid(hidden)'],
  ['linear', 'hidden'],
])

/** Those that an MLP of 8-bit weights computes on its way from one product to the next (native/rows.h), by its names. */
const ON_THE_WAY: ReadonlyMap<string, string> = new Map([
  ['torch.gelu(hidden, approximate="tanh")', 'gelu_tanh'],
  ['torch.relu_(hidden)', 'relu'],
  ['torch.silu(hidden)', 'silu'],
])

/** The name of transformers' activation in `lopt.int8_mlp`; undefined where the layer computes it by its expression. */
export function activationOnTheWay(
  name: string,
  quantization: Quantization | null,
): string | undefined {
  return quantization === null
    ? undefined
    : ON_THE_WAY.get(ACTIVATIONS.get(name) as string)
}
