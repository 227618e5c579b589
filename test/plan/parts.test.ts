/** How a plan is cut into parts: each tensor once, in one piece, by about the same bytes, and the same on every machine. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type PlanPart, partsOf } from '../../src/plan/parts.js'
import type { Plan } from '../../src/plan/types.js'
import { numbers } from '../support/files.js'

/** A plan of copies of stored tensors with these bytes, in outputs of these files; every seventh tensor is only digested. */
function planOf(sizes: readonly number[], perFile: number): Plan {
  let offset = 100
  const stored = sizes.map((bytes, index) => {
    const place = { name: `t${index}`, offset, bytes }
    offset += bytes
    return place
  })
  const made = stored.filter((_, index) => index % 7 !== 6)
  const tensors = made.map(({ name, offset, bytes }, index) => {
    const view = { kind: 'stored', file: 0, offset, bytes, dtype: 'U8', shape: [bytes] }
    const place = { name, dtype: 'U8', shape: [bytes], from: 0, count: bytes, bytes, file: Math.floor(index / perFile) }
    return {
      name,
      dtype: 'U8',
      shape: [bytes],
      placements: [{ ...place, offset: index }],
      expr: { kind: 'read', view },
    }
  })
  // Not in the order of their places.
  const shuffled = [...tensors.filter((_, i) => i % 2 === 1), ...tensors.filter((_, i) => i % 2 === 0)]
  const half = Math.ceil(shuffled.length / 2)
  return {
    compute: 'float32',
    files: [{ model: 0, name: 'f', size: offset, headerBytes: 100, tensors: stored }],
    outputs: [{ tensors: shuffled.slice(0, half) }, { tensors: shuffled.slice(half) }],
    ...{ analyses: [], scopes: [], factorings: [] },
  } as unknown as Plan
}

const weightOf = ({ cost }: PlanPart): number => cost.read + cost.write

const ownOf = (plan: Plan, part: PlanPart): string[] => [
  ...plan.outputs.flatMap(({ tensors }, output) =>
    tensors.flatMap((_, tensor) => (part.owns(output, tensor) ? [`${output} ${tensor}`] : [])),
  ),
  ...plan.files[0]!.tensors.flatMap((_, stored) => (part.digests(stored) ? [`digest ${stored}`] : [])),
]

test('parts have each tensor once, and about the same bytes', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = [...numbers(200, seed)].map((value) => (value + 1) / 2)
    const count = 1 + Math.floor(random[0]! * 150)
    const sizes = random.slice(1, 1 + count).map((value) => 1 + Math.floor(value ** 3 * 10_000))
    const plan = planOf(sizes, 1 + Math.floor(random[199]! * 20))
    for (const of of [1, 2, 3, 5, 16, 200]) {
      const parts = partsOf(plan, of)
      const all = parts.map((part) => ownOf(plan, part))
      assert.is(parts.length, of)
      assert.is(new Set(all.flat()).size, count, `each once: seed ${seed}, ${of} parts`)
      assert.is(all.flat().length, count)
      const total = parts.reduce((sum, part) => sum + weightOf(part), 0)
      const most = Math.max(...sizes) * 2
      for (const part of parts)
        assert.ok(weightOf(part) <= (1.1 * total) / of + most, `balance: seed ${seed}, ${of} parts`)
      assert.equal(
        partsOf(plan, of).map((part) => ownOf(plan, part)),
        all,
      )
    }
  }
})

test('parts are contiguous in the files of outputs, and end with a file where that costs little', () => {
  const plan = planOf(
    Array.from({ length: 140 }, () => 1000),
    10,
  )
  for (const of of [2, 3, 4]) {
    const parts = partsOf(plan, of)
    for (const [output, { tensors }] of plan.outputs.entries()) {
      const order = [...tensors.keys()].sort((a, b) => {
        const [one, other] = [tensors[a]!.placements[0]!, tensors[b]!.placements[0]!]
        return one.file - other.file || one.offset - other.offset
      })
      const owners = order.map((tensor) => parts.findIndex((part) => part.owns(output, tensor)))
      assert.equal(
        owners,
        [...owners].sort((a, b) => a - b),
        'in one piece',
      )
    }
  }
  // Files of 10 KB, and shares of 130 KB: a border between files is always near enough.
  const written = partsOf(plan, 2).map((part) =>
    [...part.written].flatMap(([output, files]) => files.map((file) => `${output} ${file}`)),
  )
  assert.is(new Set(written.flat()).size, written.flat().length, 'no file of an output is in two parts')
})

test('whole files of outputs belong to one part, and spans say what a part writes of a file', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const sizes = [...numbers(60, seed)].map((value) => 1 + Math.floor(((value + 1) / 2) ** 3 * 10_000))
    const plan = planOf(sizes, 5)
    // A tensor with a second part in the next file joins both files.
    const [first] = plan.outputs[0]!.tensors
    const { file } = first!.placements[0]!
    Object.assign(first!, { placements: [...first!.placements, { ...first!.placements[0]!, file: file + 1 }] })
    for (const of of [1, 2, 4, 9]) {
      const parts = partsOf(plan, of, new Set([0]))
      const all = parts.flatMap((part) => ownOf(plan, part))
      assert.is(new Set(all).size, all.length)
      assert.is(all.length, sizes.length)
      const files = parts.flatMap(({ written }) => written.get(0) ?? [])
      assert.is(new Set(files).size, files.length, `seed ${seed}, ${of} parts`)
      for (const part of parts)
        for (const [output, own] of part.written)
          for (const one of own) {
            const places = plan.outputs[output]!.tensors.flatMap(({ placements }, tensor) =>
              part.owns(output, tensor) ? placements.filter(({ file }) => file === one) : [],
            )
            const from = Math.min(...places.map(({ offset }) => offset))
            const to = Math.max(...places.map(({ offset, bytes }) => offset + bytes))
            assert.equal(part.span(output, one), { offset: from, bytes: to - from })
          }
    }
  }
})

test.run()
