import { printable } from '../../core/printable.js'
import { type NamedModel, yamlText } from './oneLine.js'

/** Facts about the first model for the examples in a starter recipe. */
export interface StarterFacts {
  /** The name of a tensor in a layer; if there is none, of any tensor. */
  readonly tensor: string
  readonly layers: number
}

/** A valid recipe with comments about common changes. */
export function starterRecipe(models: readonly NamedModel[], output: string, { tensor, layers }: StarterFacts): string {
  const names = models.map(({ name }) => yamlText(name))
  // Of all layers, since one is rarely meant.
  const example = yamlText(layers > 1 ? tensor.replace(/(^|\.)\d+(?=\.)/, '$1*') : tensor)
  const one = models.length === 1
  const pair = models.length === 2
  const comment = (line: string): string => `# ${printable(line)}`
  return `${[
    '# A terge recipe. `terge validate` checks it, `terge plan` shows what it would do, `terge run` runs it.',
    'terge: 1',
    '',
    '# Model names for the rest of the recipe. Paths are relative to this file.',
    'models:',
    ...models.map(({ name, entry }) => `  ${yamlText(name)}: ${entry}`),
    '',
    '# The base model defines names and shapes, and provides tensors that are not merged.',
    `base: ${names[0]}`,
    '',
    '# Which tensors to merge. All others are copied from the base. * matches anything within a part of a name,',
    '# ** matches across parts, and /…/ is a regular expression.',
    '# filters:',
    comment(`  include: [${example}]`),
    '#   exclude: ["/norm/"]',
    '',
    'merge:',
    '  # `terge methods` lists the methods and their parameters.',
    ...(one
      ? ['  method: passthrough']
      : [
          '  method: linear',
          '  # Relative weights: terge divides them by their sum.',
          `  weights: {${names.map((name) => `${name}: 1`).join(', ')}}`,
        ]),
    '  # For each tensor, the first rule that matches applies.',
    '  # rules:',
    `  ${comment(`  - match: ${example}`)}`,
    ...(pair
      ? [
          '  #     method: slerp',
          ...(layers > 1 ? ['  #     # A list is interpolated over the layers.'] : []),
          `  #     parameters: {t: ${layers > 1 ? '[0, 0.5, 1]' : '0.5'}}`,
        ]
      : [one ? '  #     parameters: {scale: 0.5}' : `  #     weights: {${names[0]}: 2}`]),
    '',
    '# A path that ends in .safetensors is one file. Any other path is a folder with config and tokenizer.',
    `output: {path: ${yamlText(output)}}`,
    '# Next to path, dtype: bfloat16 casts the tensors, and shard_size: 5GB splits the output into shards.',
  ].join('\n')}\n`
}
