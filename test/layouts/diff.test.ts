/** Comparisons of models in two layouts, where one can't be read as the other is stored. */
import { cpSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ModelDifference } from '../../src/execute/diff/figures.js'
import { diff } from '../../src/session/diff.js'
import { diffText } from '../../src/ui/diff.js'
import { inFolder, safetensors } from '../support/files.js'
import { opened, readTensors } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

const statesOf = ({ tensors }: ModelDifference) =>
  Object.fromEntries(tensors.filter(({ state }) => state !== 'equal').map(({ tensor, state }) => [tensor, state]))

test('a model with a missing expert: its other tensors are compared, and the rest has a reason', () =>
  inFolder(async (folder) => {
    const side = (name: string): string => path.join(fixture('layouts'), 'mixtral', name)
    const model = await opened(side('released'))
    const missing = 'model.layers.1.block_sparse_moe.experts.1.w2.weight'
    const tensors = new Map([...model.tensors].filter(([name]) => name !== missing))
    writeFileSync(path.join(folder, 'model.safetensors'), safetensors(await readTensors(model, tensors)))
    cpSync(path.join(side('released'), 'config.json'), path.join(folder, 'config.json'))
    const found = await diff(side('v5'), folder)
    assert.equal(statesOf(found), {
      'model.layers.1.mlp.experts.down_proj': 'only-a',
      'model.layers.1.block_sparse_moe.experts.0.w2.weight': 'only-b',
      'model.layers.1.block_sparse_moe.experts.2.w2.weight': 'only-b',
    })
    assert.equal(found.readAs, ['mixtral/transformers-5'])
    const why = `model.layers.1.mlp.experts.down_proj can be made only in part: there is no ${missing}`
    assert.equal(found.notRead, [{ layout: 'mixtral/released', as: 'mixtral/transformers-5', why }])
    const text = diffText(found, { all: false, width: 1000, unicode: true })
    assert.match(text, /B is read as mixtral\/transformers-5, as A is stored\n/)
    assert.ok(text.includes(`These tensors are compared as they are stored: ${why}`), text)
  }))

test('without a configuration, models are compared as they are stored, and the likely layouts are named', async () => {
  const side = (name: string): string => path.join(fixture('layouts'), 'qwen3_vl_moe', name, 'model.safetensors')
  const found = await diff(side('released'), side('v5'))
  assert.equal(found.readAs, undefined)
  assert.equal(found.notRead, [
    {
      ...{ layout: 'qwen3-vl-moe/transformers-5', as: 'qwen3-vl-moe/released' },
      why: 'no configuration says that the models have these layouts',
    },
  ])
  assert.ok(Object.values(statesOf(found)).every((state) => state === 'shape'))
})

test('tensors that the layout of the first model has no place for are only in the second', () =>
  inFolder(async (folder) => {
    const side = (name: string): string => path.join(fixture('layouts'), 'clip_text', name)
    const model = await opened(side('released'))
    const own = await readTensors(model, model.tensors)
    const projection = { dtype: 'F32', shape: [2], bytes: new Uint8Array(8) } as const
    const tensors = { ...own, 'text_projection.weight': { ...projection, shape: [...projection.shape] } }
    writeFileSync(path.join(folder, 'model.safetensors'), safetensors(tensors))
    cpSync(path.join(side('released'), 'config.json'), path.join(folder, 'config.json'))
    const found = await diff(side('v5'), folder)
    assert.equal(statesOf(found), { 'text_projection.weight': 'only-b' })
    assert.equal([found.readAs, found.notRead], [['clip-text/plain'], undefined])
  }))

test.run()
