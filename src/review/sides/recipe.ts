/** A recipe as one of two sides, where its models cannot be opened. It has no outputs, so nothing is said about bytes. */
import type { Recipe } from '../../recipe/types.js'
import { facts } from '../facts.js'
import type { Side } from './types.js'

export function recipeSide({ models, steps, compute, seed }: Recipe, names: Pick<Side, 'name' | 'commit'>): Side {
  return {
    ...names,
    models: new Map(
      [...models].map(([name, source]) => {
        const { reference, revision, subfolder, sha256, lora, loraScale, config } = source
        const own = facts([
          ['reference', reference],
          ['revision', revision],
          ['subfolder', subfolder],
          ['sha256', sha256],
          ['lora', lora],
          ['lora scale', loraScale],
          ['config', config],
        ])
        return [name, { facts: own, same: JSON.stringify([...own]) }]
      }),
    ),
    steps: new Map(steps.map(({ name, kind }) => [name, { kind, facts: facts([['kind', kind]]) }])),
    settings: facts([
      ['compute', compute],
      ['seed', seed],
    ]),
    outputs: [],
  }
}
