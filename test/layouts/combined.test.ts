/** Layouts together with wrappers, heads that are missing, statistics, and models with fewer parts than the published ones. */
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Checkpoint, LogicalTensor } from '../../src/checkpoints/types.js'
import { evidenceOf } from '../../src/layouts/recognise.js'
import { bare, edited, laid, layoutOf, opened } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

const MERGE = 'base: base\nmerge: {method: linear, models: [base, own], weights: [0.5, 0.5]}\noutput: out'

const sidesOf = (name: string): Promise<Checkpoint[]> =>
  Promise.all(['released', 'v5'].map((side) => opened(path.join(fixture('layouts'), name, side))))

/** The same model with other names; without tensors whose new name is undefined. */
const renamed = (model: Checkpoint, to: (name: string) => string | undefined): Checkpoint =>
  edited(model, (tensors) => {
    for (const [name, tensor] of [...tensors]) {
      tensors.delete(name)
      const now = to(name)
      if (now !== undefined) tensors.set(now, { ...tensor, name: now })
    }
  })

const shapesOf = (tensors: ReadonlyMap<string, LogicalTensor>) =>
  [...tensors.values()].map(({ name, shape }) => `${name} ${shape}`).sort()

test('a wrapper around a model with several layouts', async () => {
  for (const name of ['gemma3_hub', 'kimi_k25']) {
    const [released, v5] = await sidesOf(name)
    const wrapped = (model: Checkpoint): Checkpoint => renamed(model, (tensor) => `module._orig_mod.${tensor}`)
    for (const [base, own] of [
      [v5!, released!],
      [released!, v5!],
    ] as const)
      for (const [one, other] of [
        [base, wrapped(own)],
        [wrapped(base), wrapped(own)],
      ] as const) {
        const { said, models } = laid({ base: one, own: other }, MERGE)
        assert.match(said.join('\n'), /^\S+ warning other-layout/)
        assert.equal(shapesOf(models.checkpoints.get('own')!.tensors), shapesOf(wrapped(base).tensors))
        assert.is(models.checkpoints.get('base'), one)
      }
  }
})

test('a multimodal model without its head, as AutoModel saves it', async () => {
  for (const name of ['gemma3_hub', 'qwen2_5_vl']) {
    const sides = await sidesOf(name)
    // Of both versions: transformers 5 removes a prefix.
    const alone = renamed(sides[1]!, (tensor) => /^model\.(.*)/.exec(tensor)?.[1])
    for (const side of sides) {
      const head = /lm_head/
      const body = shapesOf(renamed(side, (tensor) => (head.test(tensor) ? undefined : tensor)).tensors)
      const there = laid({ base: side, own: alone }, MERGE)
      assert.match(there.said.join('\n'), /^\S+ warning other-layout: .*\/base-model/)
      assert.equal(shapesOf(there.models.checkpoints.get('own')!.tensors), body)
      const back = laid({ base: alone, own: side }, MERGE)
      const own = [...back.models.checkpoints.get('own')!.tensors].filter(([tensor]) => !head.test(tensor))
      assert.equal(shapesOf(new Map(own)), shapesOf(alone.tensors))
    }
  }
})

test('statistics are those of the tensors that are merged, or refused', async () => {
  const [released, v5] = await sidesOf('mixtral')
  const statistics = (of: Checkpoint): Checkpoint => ({
    ...of,
    tensors: new Map([...of.tensors].filter(([name]) => name.includes('experts'))),
  })
  const said = (of: Checkpoint) =>
    laid(
      { base: v5!, own: released! },
      MERGE,
      { own: 'released, statistics: s.safetensors' },
      { 'own.statistics': of },
    ).said.join('\n')
  assert.match(
    said(statistics(released!)),
    /error layout-misfit: own is read in the layout of its base, but its statistics have model\./,
  )
  assert.not.match(said(statistics(v5!)), /error/)
})

test('LongCat-Flash is refused: in transformers 5 its tensors have places for experts that no checkpoint has', async () => {
  const [released, v5] = await sidesOf('qwen3_moe')
  const config = { model_type: 'longcat_flash', n_routed_experts: 3, zero_expert_num: 1 }
  const { said } = laid({ base: { ...released!, config }, own: { ...v5!, config } }, MERGE)
  assert.match(said.join('\n'), /error layout-unclear: /)
})

test('square experts are not in question where the configuration says which network it is', async () => {
  const [, v5] = await sidesOf('qwen3_moe')
  const square = edited(v5!, (tensors) => {
    for (const [name, tensor] of tensors)
      if (name.endsWith('gate_up_proj'))
        tensors.set(name, { ...tensor, shape: [tensor.shape[0]!, tensor.shape[2]!, tensor.shape[2]!] })
  })
  const own = edited(square, (tensors) => {
    for (const name of [...tensors.keys()]) if (name.endsWith('down_proj')) tensors.delete(name)
  })
  assert.equal(laid({ base: square, own }, MERGE).said, [])
  // Without one, it can be Qwen3-VL, whose tensors have another order.
  const { said } = laid({ base: bare(square), own: bare(own) }, MERGE)
  assert.match(said.join('\n'), /error layout-unclear: .* would have the same shape in qwen3-vl-moe/)
})

test('the vision encoder of GLM-4V is not a ChatGLM of the first generation', async () => {
  const old = await opened(path.join(fixture('layouts'), 'chatglm1/fused'))
  const seen = (model: Checkpoint) => [...laid({ base: model, own: model }, MERGE).models.layouts.keys()].length
  assert.is(seen(old), 2)
  assert.is(seen(renamed(old, (name) => name.replace('transformer.', 'transformer.vision.transformer.'))), 0)
})

test('a UNet without attention in the middle is not recognized', () => {
  const { family } = layoutOf('sdxl/unet')
  const names = [
    'time_embedding.linear_1',
    'conv_out',
    'down_blocks.0.downsamplers.0.conv',
    'up_blocks.0.resnets.2.norm1',
  ]
  const unet = (more: readonly string[]) =>
    new Map([...names, 'add_embedding.linear_1', ...more].map((name) => [`${name}.weight`, { shape: [4, 4] }]))
  const found = (more: readonly string[]) =>
    evidenceOf(family, { config: undefined, shapes: unet(more) }).possible.length
  assert.is(found(['mid_block.attentions.0.norm']), 1)
  assert.is(found([]), 0)
})

test.run()
