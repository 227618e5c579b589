/** Tensors that are made alike are counted together: the same numbers as one by one. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Dtype } from '../../src/core/dtypes.js'
import { alike } from '../../src/expr/alike.js'
import type { Expr, MergeExpr, ReadExpr } from '../../src/expr/types.js'
import { makingCost } from '../../src/plan/limits.js'
import type { PlanTensor } from '../../src/plan/types.js'

let stored = 0
function read(shape: readonly number[], dtype: Dtype = 'BF16', strides?: readonly number[]): ReadExpr {
  const bytes = shape.reduce((product, size) => product * size, dtype === 'F32' ? 4 : 2)
  const name = `t${stored++}`
  const view = { kind: 'stored', file: 0, tensor: name, dtype, shape, offset: 0, bytes } as const
  return { kind: 'read', view: strides ? { ...view, strides } : view }
}

const MODELS = ['a', 'b']
const WEIGHTS = [0.5, 0.5]
const PARAMETERS = { density: 0.5 }
const merge = (inputs: readonly Expr[], more: Partial<MergeExpr> = {}): MergeExpr => ({
  ...{ kind: 'merge', step: 'm', method: 'ties', models: MODELS, weights: WEIGHTS, parameters: PARAMETERS, inputs },
  ...more,
})

function tensor(shape: readonly number[], expr: Expr): PlanTensor {
  const count = shape.reduce((product, size) => product * size, 1)
  const name = `n${stored++}`
  const placement = { name, dtype: 'BF16', shape, file: 0, offset: 0, bytes: 2 * count, from: 0, count } as const
  return { name, dtype: 'BF16', shape, placements: [placement], expr }
}

const S = [8, 4]
const pair = (shape: readonly number[] = S, dtype: Dtype = 'BF16') => [read(shape, dtype), read(shape, dtype)]
const same = read(S)
const base = read(S)

/** Each is another kind. */
const KINDS: readonly (readonly PlanTensor[])[] = [
  [tensor(S, merge(pair())), tensor([8, 4], merge(pair([8, 4])))],
  [tensor(S, merge(pair(), { base: read(S) })), tensor(S, merge(pair(), { base: read(S) }))],
  [tensor([4, 8], merge(pair([4, 8])))],
  [tensor(S, merge(pair(S, 'F32')))],
  [tensor(S, merge(pair(), { method: 'linear' }))],
  [tensor(S, merge(pair(), { weights: [0.25, 0.75] }))],
  [tensor(S, merge(pair(), { rounded: 'BF16' }))],
  [tensor(S, read(S)), tensor(S, read(S))],
  // Not simple: an input that is there twice, or is a view or a merge, and scopes.
  [tensor(S, merge([same, same]))],
  [tensor(S, merge([base, read(S)], { base }))],
  [tensor(S, merge([base, read(S)], { base }))],
  [tensor(S, merge([read(S, 'BF16', [1, 8]), read(S)]))],
  [tensor(S, merge([merge(pair()), read(S)]))],
  [tensor(S, merge(pair(), { scopeIndex: 0 }))],
  [tensor(S, merge(pair(), { scopeIndex: 0 }))],
]

test('tensors of a kind differ only in names and places', () => {
  // In turns, so that no kind is together from the start.
  const mixed = [0, 1].flatMap((turn) => KINDS.flatMap((kind) => kind[turn] ?? []))
  const groups = alike(mixed)
  assert.equal(
    groups.map((group) => group.map(({ name }) => name)),
    KINDS.map((kind) => kind.map(({ name }) => name)),
  )
  const whole = makingCost(mixed, 'float32')
  const single = mixed.map((one) => makingCost([one], 'float32'))
  assert.is(
    whole.read,
    single.reduce((sum, { read }) => sum + read, 0),
  )
  assert.is(
    whole.write,
    single.reduce((sum, { write }) => sum + write, 0),
  )
})

test.run()
