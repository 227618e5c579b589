/** Results within the width of a narrow terminal. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { listMethods } from '../../src/session/methods.js'
import { diffText } from '../../src/ui/diff.js'
import { drawTree, fitted, wrappedLines } from '../../src/ui/fit.js'
import { methodsText, methodText } from '../../src/ui/methods.js'

const within = (text: string, width: number): void => {
  for (const line of text.split('\n')) assert.ok(line.length <= width, `${line.length}: ${line}`)
}

test('a table that does not fit becomes blocks: names broken after dots, and figures with their titles', () => {
  const columns = [{ title: 'tensor' }, { title: 'state' }, { title: 'cosine', align: 'right' as const }]
  const rows = [['model.layers.10.mlp.gate.weight', 'differs', '0.5']]
  assert.is(
    fitted(columns, rows, 60),
    'tensor                           state    cosine\nmodel.layers.10.mlp.gate.weight  differs     0.5',
  )
  assert.is(fitted(columns, rows, 20), 'model.layers.10.mlp.\n  gate.weight\n  state differs,\n  cosine 0.5')
  within(fitted(columns, [['x'.repeat(99), 'differs', '1']], 20), 20)
  assert.is(wrappedLines('  one two three', 11, '  '), '  one two\n    three')
})

test('a tree, whose texts continue beside its lines', () => {
  const leaf = (text: string) => ({ text })
  const root = {
    text: 'r',
    branches: [
      { text: 'one two', branches: [leaf('three four'), leaf('c')] },
      { text: 'd', branches: [leaf('e')] },
    ],
  }
  assert.is(drawTree(root, 80), 'r\n├─ one two\n│  ├─ three four\n│  └─ c\n└─ d\n   └─ e')
  assert.is(drawTree(root, 11), 'r\n├─ one two\n│  ├─ three\n│  │    four\n│  └─ c\n└─ d\n   └─ e')
  assert.is(drawTree(root, 8), 'r\n├─ one\n│  │ two\n│  ├─ three\n│  │    four\n│  └─ c\n└─ d\n   └─ e')
})

test('diff and methods on 40 and 80 columns', () => {
  const tensors = Array.from({ length: 12 }, (_, layer) => ({
    ...{ tensor: `model.layers.${layer}.block_sparse_moe.experts.7.gate_projection.weight`, state: 'differs' as const },
    ...{ cosine: 0.5, l2: 1, relativeL2: layer / 12, largest: 1e-7 },
  }))
  const states = { equal: 0, differs: 12, 'only-a': 0, 'only-b': 0, shape: 0, dtype: 0 }
  const figures = { tensors: 12, states, cosine: -0.000123456, l2: 1.23456e-7, relativeL2: 0.25 }
  const layers = tensors.map(({ relativeL2 }, layer) => ({ ...figures, stack: 'model.layers', layer, relativeL2 }))
  for (const width of [40, 80]) {
    const text = diffText({ overall: figures, layers, tensors }, { all: false, width, unicode: true })
    within(text.replaceAll(/\(model\S+\)/g, ''), width)
    assert.match(text, /relative L2 by layer\nlayer 0 .*\n[\s\S]*layer 11 +━+ +0\.916667$/)
    within(methodsText(listMethods(), width), width)
    for (const method of listMethods()) within(methodText(method, width), width)
  }
})

test.run()
