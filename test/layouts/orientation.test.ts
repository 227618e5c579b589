/** Matrices whose names are the same in two layouts: read as the base's, or refused where nothing shows which they have. */
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Checkpoint } from '../../src/checkpoints/types.js'
import { bare, edited, laid, opened } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

const MERGE = 'base: base\nmerge: {method: linear, models: [base, own], weights: [0.5, 0.5]}\noutput: out'

const sidesOf = (name: string, ...sides: readonly string[]): Promise<Checkpoint[]> =>
  Promise.all(sides.map((side) => opened(path.join(fixture('layouts'), name, side))))

/** The sides that have a configuration, of the base and of the other model. */
const CONFIGURED = [
  [true, true],
  [true, false],
  [false, true],
  [false, false],
] as const

/** By fixture: its sides, and whether it is certain without a configuration. */
const FIXTURES: Readonly<Record<string, readonly [sides: readonly string[], byNames: boolean]>> = {
  gpt2_conv1d: [['fused', 'parts'], true],
  gpt_oss_experts: [['fused', 'parts'], false],
  llama4_experts: [['fused', 'parts'], false],
  qwen3_vl_moe: [['released', 'v5', 'parts'], false],
  qwen3_vl_moe_square: [['released', 'v5'], false],
}

for (const [name, [sides, byNames]] of Object.entries(FIXTURES))
  test(`${name}: with a configuration on one side, and on none`, async () => {
    const models = await sidesOf(name, ...sides)
    const config = models.find((one) => one.config)?.config
    for (const base of models)
      for (const own of models.filter((one) => one !== base))
        for (const known of CONFIGURED) {
          const [first, second] = [base, own].map((one, at) => (known[at] ? { ...one, config: config! } : bare(one)))
          const { said, models: read } = laid({ base: first!, own: second! }, MERGE)
          const certain = byNames || known.some((one) => one)
          assert.match(said.join('\n'), certain ? /^\S+ warning other-layout/ : /^\S+ error layout-unclear/)
          if (!certain) continue
          assert.is(said.length, 1)
          const shapes = ({ tensors }: Checkpoint) => [...tensors.values()].map(({ name, shape }) => [name, shape])
          assert.equal(shapes(read.checkpoints.get('own')!), shapes(base), `${known}`)
        }
  })

test('square matrices alone do not show how they are stored', async () => {
  for (const [name, square, sides] of [
    ['gpt2_conv1d', /attn\.c_proj\.weight$/, ['fused', 'parts']],
    ['qwen3_vl_moe_square', /gate_up_proj$/, ['released', 'v5']],
  ] as const) {
    const [one, other] = await sidesOf(name, ...sides)
    const part = edited(other!, (tensors) => {
      for (const tensor of [...tensors.keys()]) if (!square.test(tensor)) tensors.delete(tensor)
    })
    for (const [base, own] of [
      [one!, part],
      [part, one!],
    ] as const) {
      const { said } = laid({ base, own }, MERGE)
      assert.match(
        said.join('\n'),
        /error layout-unclear: \w+ has the layout .*, but nothing shows whether \w+ has it: \S+ and 1 more tensor would have the same shape in/,
      )
      assert.match(said.join('\n'), /hint: write the layout: (own|base): \{path: …, layout: /)
    }
    const layout = name === 'gpt2_conv1d' ? 'gpt2/linear' : 'qwen3-vl-moe/transformers-5'
    const { said, models } = laid({ base: one!, own: part }, MERGE, { own: layout })
    assert.not.match(said.join('\n'), /error/)
    // It is read in the layout of the base.
    for (const [tensor, { view }] of models.checkpoints.get('own')!.tensors)
      assert.not.equal(view, part.tensors.get(tensor)!.view)
    assert.equal(laid({ base: part, own: part }, MERGE).said, [])
  }
})

test.run()
