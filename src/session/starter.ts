import { printable } from '../core/printable.js'
import { type NamedModel, yamlText } from './oneLine.js'

/** What of the first model's names the starter's examples may show. */
export interface StarterFacts {
  /** A tensor inside a layer, if there is one; else any. */
  readonly tensor: string
  readonly layers: number
}

/** A recipe with a comment for each thing that one would change first. Valid as it stands. */
export function starterRecipe(models: readonly NamedModel[], output: string, { tensor, layers }: StarterFacts): string {
  const names = models.map(({ name }) => yamlText(name))
  const one = models.length === 1
  const pair = models.length === 2
  const comment = (line: string): string => `# ${printable(line)}`
  return `${[
    '# A recipe for terge. Check it with `terge validate`, look at its plan with `terge plan`, run it with `terge run`.',
    'terge: 1',
    '',
    '# Names for the rest of the recipe. Paths are relative to this file.',
    'models:',
    ...models.map(({ name, entry }) => `  ${yamlText(name)}: ${entry}`),
    '',
    '# Whose tensors are kept where nothing is merged, and whose names and shapes the result has.',
    `base: ${names[0]}`,
    '',
    '# Which tensors take part; all others are copied from the base. * stands for anything within a part of a name,',
    '# ** across parts, /…/ is a regular expression.',
    '# filters:',
    comment(`  include: [${yamlText(tensor)}]`),
    '#   exclude: ["/norm/"]',
    '',
    'merge:',
    '  # `terge methods` lists the methods and their parameters.',
    ...(one
      ? ['  method: passthrough']
      : [
          '  method: linear',
          '  # Relative: divided by their sum.',
          `  weights: {${names.map((name) => `${name}: 1`).join(', ')}}`,
        ]),
    '  # The first rule that matches a tensor applies to it.',
    '  # rules:',
    `  ${comment(`  - match: ${yamlText(tensor)}`)}`,
    ...(pair
      ? [
          '  #     method: slerp',
          ...(layers > 1 ? ['  #     # A list is spread over the layers.'] : []),
          `  #     parameters: {t: ${layers > 1 ? '[0, 0.5, 1]' : '0.5'}}`,
        ]
      : [one ? '  #     parameters: {scale: 0.5}' : `  #     weights: {${names[0]}: 2}`]),
    '',
    '# A name that ends in .safetensors is one file; any other is a folder with config and tokenizer.',
    `output: {path: ${yamlText(output)}}`,
    '# dtype: bfloat16 beside path casts, shard_size: 5GB splits.',
  ].join('\n')}\n`
}
