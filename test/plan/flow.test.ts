/** The order of work when files come and go: what must hold for every plan, and how near it is to the best order. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Expr } from '../../src/expr/types.js'
import { aheadOf } from '../../src/plan/flow/ahead.js'
import { flowOf } from '../../src/plan/flow/flow.js'
import { orderOf } from '../../src/plan/flow/order.js'
import { remaining } from '../../src/plan/flow/remaining.js'
import type { Flow, FlowOptions, Stage } from '../../src/plan/flow/types.js'
import type { Plan } from '../../src/plan/types.js'
import { generator } from '../checkpoints/pytorchFiles.js'

const OVERHEAD = 2 ** 14

/** Numbers in [0, 1) that are the same on every run. */
function random(seed: number): () => number {
  const next = generator(seed)
  return () => next() / 2 ** 32
}

interface Shape {
  readonly models: number
  readonly tensors: number
  /** Most tensors of a file, of inputs and of outputs. */
  readonly most: number
  readonly points: number
  readonly outputs: number
}

/** A plan with only what a flow looks at. Each model has every tensor, in files of its own sizes. */
function planFor(next: () => number, { models, tensors, most, points, outputs }: Shape): Plan {
  const files: { model: number; size: number; headerBytes: number; tensors: object[] }[] = []
  const places: { file: number; offset: number; bytes: number; tensor: string }[][] = []
  for (let model = 0; model < models; model++) {
    const own: (typeof places)[number] = []
    for (let tensor = 0; tensor < tensors; ) {
      const count = 1 + Math.floor(next() * most)
      const held: { offset: number; bytes: number }[] = []
      for (let end = Math.min(tensors, tensor + count); tensor < end; tensor++) {
        const place = { offset: 8 + 100 * held.length, bytes: 100 }
        held.push(place)
        own.push({ file: files.length, tensor: `t${tensor}`, ...place })
      }
      files.push({ model, size: 8 + 100 * held.length, headerBytes: 8, tensors: held })
    }
    places.push(own)
  }
  const output = (point: number | undefined) => {
    const made: object[] = []
    const written: { name: string; size: number }[] = []
    for (let tensor = 0; tensor < tensors; tensor++) {
      if (written.length === 0 || next() < 1 / most) written.push({ name: `f${written.length}`, size: 0 })
      // Some tensors skip some models.
      const inputs = places.flatMap((own): Expr[] =>
        next() < 0.85 ? [{ kind: 'read', view: { kind: 'stored', dtype: 'U8', shape: [100], ...own[tensor]! } }] : [],
      )
      const expr = { kind: 'merge', method: 'linear', step: 'merge', inputs, weights: [], parameters: {}, models: [] }
      const last = written.length - 1
      written[last]!.size += 100
      made.push({ name: `t${tensor}`, expr, placements: [{ file: last, offset: 0, bytes: 100 }] })
    }
    return { tensors: made, files: written, ...(point === undefined ? {} : { point: { name: `${point}` } }) }
  }
  const all = [
    ...Array.from({ length: outputs }, () => output(undefined)),
    ...Array.from({ length: points }, (_, point) => output(point)),
  ]
  return { files, outputs: all, analyses: [], scopes: [], factorings: [] } as unknown as Plan
}

const filesOf = (plan: Plan, { output, tensor }: { output: number; tensor: number }): number[] => {
  const { expr } = plan.outputs[output]!.tensors[tensor]!
  return expr.kind === 'merge'
    ? expr.inputs.flatMap((input) => (input.kind === 'read' && input.view.kind === 'stored' ? [input.view.file] : []))
    : []
}

/** Goes through stages as a run does, and checks all that a run relies on. */
function follow(
  plan: Plan,
  flow: Pick<Flow, 'again'>,
  stages: readonly Stage[],
  { away, uploaded = new Set(), digests = true }: FlowOptions,
  done?: ReadonlySet<string>,
) {
  const there = new Set<number>()
  const digested = new Set<number>()
  const made = new Set(done ?? [])
  const complete = new Set<string>()
  const begun = new Set<string>()
  const fetched = new Map<string, number>()
  const contents = () => new Set([...there].map((file) => away.get(file)!))
  let [peak, transfer] = [0, 0]
  for (const { pieces, needs, last, digests: all, complete: finished, beside } of stages) {
    for (const content of new Set(needs.map((file) => away.get(file)!))) {
      fetched.set(content, (fetched.get(content) ?? 0) + 1)
      transfer += plan.files[needs.find((file) => away.get(file) === content)!]!.size
    }
    for (const file of needs) {
      assert.not.ok(there.has(file), `${file} is there already`)
      there.add(file)
    }
    for (const place of pieces.flatMap(({ tensors }) => tensors)) {
      const key = `${place.output} ${place.tensor}`
      assert.not.ok(made.has(key), `${key} is made twice`)
      made.add(key)
      for (const file of filesOf(plan, place)) assert.ok(!away.has(file) || there.has(file), `${file} is not there`)
      for (const { file } of plan.outputs[place.output]!.tensors[place.tensor]!.placements)
        if (uploaded.has(place.output)) begun.add(`${place.output} ${file}`)
    }
    for (const file of all) {
      assert.ok(there.has(file), `${file} is not there to be digested`)
      digested.add(file)
    }
    const written = [...begun].reduce((sum, key) => {
      const [output, file] = key.split(' ').map(Number)
      return sum + plan.outputs[output!]!.files[file!]!.size + OVERHEAD
    }, 0)
    if (done === undefined) assert.is(beside, written)
    const names = contents()
    const sizes = [...names].map((name) => plan.files[[...away].find(([, content]) => content === name)![0]]!.size)
    peak = Math.max(
      peak,
      sizes.reduce((sum, size) => sum + size + OVERHEAD, written),
    )
    for (const { output, file } of finished) {
      const key = `${output} ${file}`
      assert.not.ok(complete.has(key), `${key} is complete twice`)
      complete.add(key)
      begun.delete(key)
      for (const [tensor, { placements }] of plan.outputs[output]!.tensors.entries())
        if (placements.some((placement) => placement.file === file)) assert.ok(made.has(`${output} ${tensor}`), key)
    }
    for (const file of last) assert.ok(there.delete(file), `${file} goes but is not there`)
  }
  assert.is(there.size, 0, 'nothing is left')
  assert.is(begun.size, 0)
  for (const [output, { tensors, files }] of plan.outputs.entries()) {
    for (const tensor of tensors.keys()) assert.ok(made.has(`${output} ${tensor}`), `${output} ${tensor} is not made`)
    if (uploaded.has(output)) for (const file of files.keys()) assert.ok(complete.has(`${output} ${file}`))
  }
  if (!flow.again) for (const [content, times] of fetched) assert.is(times, 1, content)
  if (digests && done === undefined)
    for (const file of away.keys()) assert.ok(digested.has(file), `${file} is not digested`)
  return { peak, transfer }
}

/** Brings files early wherever there is room, and checks that no stage lacks any. Returns how many came early. */
function followAhead(plan: Plan, { stages, contents }: Flow, disk: number, next: () => number): number {
  const firsts = new Set(contents.map(([file]) => file!))
  const sizeOf = (file: number): number => (firsts.has(file) ? plan.files[file]!.size + OVERHEAD : 0)
  const held = new Set<number>()
  let early = 0
  for (const [place, { needs, last, beside }] of stages.entries()) {
    for (const file of needs) held.add(file)
    const bytes = () => [...held].reduce((sum, file) => sum + sizeOf(file), beside)
    assert.ok(bytes() <= disk, 'a stage has no room')
    const pending = Math.floor(next() * (disk - bytes()))
    for (const file of aheadOf(stages, place, { disk, pending, held, sizeOf })) {
      assert.not.ok(held.has(file))
      held.add(file)
      early++
    }
    assert.ok(bytes() + pending <= disk, 'too much comes early')
    for (const file of last) held.delete(file)
  }
  assert.is(held.size, 0)
  return early
}

test('every tensor is made once, when its files are there; files come once; the peak is the least disk', () => {
  const next = random(17)
  for (let turn = 0; turn < 150; turn++) {
    const shape = {
      models: 1 + Math.floor(next() * 3),
      tensors: 1 + Math.floor(next() * 25),
      most: 1 + Math.floor(next() * 6),
      points: turn % 4 === 0 ? 3 : 0,
      outputs: turn % 3 === 0 ? 2 : 1,
    }
    const plan = planFor(next, shape)
    // Some files are here, and some have the content of another one.
    const away = new Map<number, string>()
    for (const file of plan.files.keys()) {
      const twin = [...away].find(([other]) => plan.files[other]!.size === plan.files[file]!.size && next() < 0.1)
      if (next() < 0.8) away.set(file, twin?.[1] ?? `content ${file}`)
    }
    const uploaded = new Set([...plan.outputs.keys()].filter(() => turn % 2 === 0 && next() < 0.7))
    const options: FlowOptions = { away, uploaded, digests: turn % 5 !== 0 }
    for (const flow of [flowOf(plan, options), flowOf(plan, { ...options, disk: 0 })]) {
      const { peak, transfer } = follow(plan, flow, flow.stages, options)
      assert.is(flow.leastDisk, peak)
      assert.is(flow.transfer, transfer)
      followAhead(plan, flow, Math.ceil(peak * (1 + 2 * next())), next)
      // A resumed run has some of the work, and never needs more.
      const done = new Set<string>()
      for (const { output, tensor } of flow.stages.flatMap(({ pieces }) => pieces.flatMap(({ tensors }) => tensors)))
        if (next() < 0.5) done.add(`${output} ${tensor}`)
      const left = remaining(flow, {
        isMade: ({ output, tensor }) => done.has(`${output} ${tensor}`),
        isPast: () => false,
        isDigested: () => next() < 0.5,
        there: new Set(),
      })
      assert.ok(follow(plan, flow, left, options, done).peak <= flow.leastDisk)
    }
  }
})

test('without files elsewhere everything is one stage', () => {
  const plan = planFor(random(3), { models: 2, tensors: 9, most: 3, points: 0, outputs: 2 })
  const { stages, leastDisk, transfer } = flowOf(plan, { away: new Map() })
  assert.is(stages.length, 1)
  assert.equal([leastDisk, transfer], [0, 0])
})

test('with room for everything, the files of all stages come before they are needed', () => {
  const plan = planFor(random(5), { models: 2, tensors: 40, most: 2, points: 0, outputs: 1 })
  const away = new Map(plan.files.map((_, file) => [file, `${file}`] as const))
  const flow = flowOf(plan, { away })
  const [first] = flow.stages
  assert.is(
    followAhead(plan, flow, 1e9, () => 0),
    away.size - first!.needs.length,
  )
  assert.is(
    followAhead(plan, flow, flow.leastDisk, () => 1),
    0,
    'what is uploaded takes all of the room',
  )
})

/** The least peak of all orders. */
function best(pieces: readonly (readonly number[])[], sizes: readonly number[]): number {
  const seen = new Map<number, number>()
  const all = (1 << pieces.length) - 1
  const uses = (set: number) => new Set(pieces.flatMap((things, piece) => ((set >> piece) & 1 ? things : [])))
  const peakFrom = (done: number): number => {
    if (done === all) return 0
    const known = seen.get(done)
    if (known !== undefined) return known
    const [before, after] = [uses(done), uses(all & ~done)]
    const open = [...before].filter((thing) => after.has(thing))
    let least = Number.POSITIVE_INFINITY
    for (const piece of pieces.keys()) {
      if ((done >> piece) & 1) continue
      const there = new Set([...open, ...pieces[piece]!])
      const bytes = [...there].reduce((sum, thing) => sum + sizes[thing]!, 0)
      least = Math.min(least, Math.max(bytes, peakFrom(done | (1 << piece))))
    }
    seen.set(done, least)
    return least
  }
  return peakFrom(0)
}

test('the greedy order is near the best one', () => {
  const next = random(5)
  let [equal, worst, ratios] = [0, 1, 0]
  const turns = 300
  for (let turn = 0; turn < turns; turn++) {
    const things = 2 + Math.floor(next() * 7)
    const sizes = Array.from({ length: things }, () => 1 + Math.floor(next() * 20))
    const pieces = Array.from({ length: 2 + Math.floor(next() * 7) }, () =>
      [...sizes.keys()].filter(() => next() < 0.35),
    )
    const greedy = Math.max(...orderOf(pieces, sizes).map(({ bytes }) => bytes))
    const optimum = best(pieces, sizes)
    assert.ok(greedy >= optimum)
    const ratio = optimum === 0 ? 1 : greedy / optimum
    if (ratio === 1) equal++
    worst = Math.max(worst, ratio)
    ratios += ratio
  }
  if (process.env.SHOW) console.log({ equal: equal / turns, worst, mean: ratios / turns })
  assert.ok(ratios / turns < 1.03, `${ratios / turns} times the best on average`)
})

test.run()
