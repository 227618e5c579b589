/** The passes of a formula over one tensor: those of its functions of whole tensors, level by level, and the map. */
import { formulaScratch, formulaTable, type Measure } from '../../kernels/formula.js'
import { numberOf } from '../shared/keys.js'
import { elementsOf, select } from '../shared/selection.js'
import type { MapPass, Passes, PassInput, ReducePass, TensorSettings } from '../types.js'
import { type Compiled, compile, type NumberOf } from './compile.js'
import { applied, type Graph, type Reduction } from './graph.js'
import { asWeightedSum } from './weightedSum.js'

/** Registers of a program: 4 KiB each. */
export const MOST_REGISTERS = 1024

/** What a formula needs of a tensor, without the tensor. */
export interface Program {
  readonly graph: Graph
  readonly result: Compiled
  /** By level: what is measured there, each with a program. */
  readonly levels: readonly Level[]
}

interface Level {
  /** Reductions that are sums or maxima, by their numbers. */
  readonly sums: readonly number[]
  readonly summed?: Compiled
  /** Quantiles whose key is enough, and those whose place counts. */
  readonly quantiles: readonly {
    readonly of: readonly number[]
    readonly ranked: boolean
    readonly program: Compiled
  }[]
}

/** Reductions that the result needs, and whether a quantile's place counts. */
function reductionsOf(graph: Graph): ReadonlyMap<number, boolean> {
  const { values, reductions, root } = graph
  const found = new Map<number, boolean>()
  const seen = new Set<number>()
  const open = [root]
  const note = (reduction: number, ranked: boolean): void => {
    if (!found.has(reduction)) {
      const { of, share } = reductions[reduction]!
      open.push(of, ...(share === undefined ? [] : [share]))
    }
    found.set(reduction, ranked || found.get(reduction) === true)
  }
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (seen.has(id)) continue
    seen.add(id)
    const value = values[id]!
    if (value.kind === 'measured') note(value.reduction, false)
    if (value.kind === 'ranked') note(value.reduction, true)
    if ('args' in value) open.push(...value.args)
  }
  return found
}

/** Compiles a graph without faults. */
export function programOf(graph: Graph): Program {
  const needed = reductionsOf(graph)
  const levels: Level[] = []
  const order = [...needed.keys()].sort((a, b) => a - b)
  const depth = Math.max(-1, ...order.map((one) => graph.reductions[one]!.level))
  for (let level = 0; level <= depth; level++) {
    const own = order.filter((one) => graph.reductions[one]!.level === level)
    const sums = own.filter((one) => graph.reductions[one]!.name !== 'tensor_quantile')
    const quantiles = [false, true].flatMap((ranked) => {
      const of = own.filter((one) => !sums.includes(one) && needed.get(one) === ranked)
      const values = of.map((one) => ({ value: graph.reductions[one]!.of, measure: 'sum' as const }))
      return of.length > 0 ? [{ of, ranked, program: compile(graph, { kind: 'measures', of: values }) }] : []
    })
    const measures = sums.flatMap((one) => measuresOf(graph.reductions[one]!))
    levels.push({
      ...{ sums, quantiles },
      ...(sums.length > 0 ? { summed: compile(graph, { kind: 'measures', of: measures }) } : {}),
    })
  }
  return { graph, result: compile(graph, { kind: 'result', value: graph.root }), levels }
}

/** The most registers of its programs. */
export const registersOf = (program: Program): number =>
  Math.max(...programsOf(program).map(({ registers }) => registers))

const programsOf = ({ result, levels }: Program): readonly Compiled[] => [
  result,
  ...levels.flatMap(({ summed, quantiles }) => [
    ...(summed ? [summed] : []),
    ...quantiles.map(({ program }) => program),
  ]),
]

/** Two numbers for a norm: the second one is for squares that float64 has no room for. */
function measuresOf({ name, of }: Reduction): { readonly value: number; readonly measure: Measure }[] {
  const measures: Measure[] =
    name === 'tensor_mean' ? ['sum'] : name === 'tensor_max' ? ['largest'] : ['squares', 'smallSquares']
  return measures.map((measure) => ({ value: of, measure }))
}

/** 2^537: what `smallSquares` divides by. */
const LARGE = 2 ** 537

/** A reduction from its sums over the tensor. */
function measured(
  { name }: Reduction,
  [first = Number.NaN, second = Number.NaN]: readonly number[],
  elements: number,
): number {
  if (name === 'tensor_mean') return first / elements
  if (name === 'tensor_max') return first
  return first === Number.POSITIVE_INFINITY ? Math.sqrt(second) * LARGE : Math.sqrt(first)
}

/** What a pass over a tensor knows. */
interface State {
  readonly program: Program
  readonly elements: number
  /** By reduction: where its number comes from. */
  readonly found: Map<number, (input: PassInput) => number>
  /** By ranked quantile: its key and its cut. */
  readonly cuts: Map<number, (input: PassInput) => { readonly key: number; readonly cut: number }>
}

/** The numbers of a program, once the passes before it are done. */
function tableFor(
  state: State,
  compiled: Compiled,
): (input: PassInput) => { per: 'tensor'; slots: number; values: Float64Array } {
  return (input) => {
    const known = new Map<number, number>()
    const fill = (of: NumberOf): number => {
      if (of.kind === 'value') return evaluate(state, of.value, input, known)
      const { key, cut } = state.cuts.get(of.reduction)!(input)
      return of.kind === 'key' ? key : cut
    }
    const values = formulaTable(compiled, compiled.filled.map(fill))
    return { per: 'tensor', slots: 1, values }
  }
}

/** A value that is the same for all elements, in float64. */
function evaluate(state: State, id: number, input: PassInput, known: Map<number, number>): number {
  const done = known.get(id)
  if (done !== undefined) return done
  const value = state.program.graph.values[id]!
  const result =
    value.kind === 'constant'
      ? value.value
      : value.kind === 'measured'
        ? state.found.get(value.reduction)!(input)
        : value.kind === 'apply' || value.kind === 'where'
          ? applied(
              value.operation,
              value.args.map((arg) => evaluate(state, arg, input, known)),
              input.math,
            )
          : Number.NaN
  known.set(id, result)
  return result
}

/** Sums and maxima of a level in one pass. Tiles are combined in their order. */
function sumPass(state: State, sums: readonly number[], compiled: Compiled, at: number): ReducePass {
  const { graph } = state.program
  const slots = compiled.outputs.length
  const kinds = compiled.outputs.map(({ measure }) => measure)
  let slot = 0
  for (const one of sums) {
    const reduction = graph.reductions[one]!
    const [from, count] = [slot, measuresOf(reduction).length]
    slot += count
    state.found.set(one, ({ results }) =>
      measured(reduction, [...results[at]!.subarray(from, from + count)], state.elements),
    )
  }
  return {
    kernel: 'formula_sums',
    ...{ slots, combine: 'tiles', table: tableFor(state, compiled) },
    conclude(tiles) {
      const total = new Float64Array(slots).map((_, i) => (kinds[i] === 'largest' ? Number.NEGATIVE_INFINITY : 0))
      for (let tile = 0; tile < tiles.length; tile += slots)
        for (const [i, kind] of kinds.entries())
          total[i] = kind === 'largest' ? Math.max(total[i]!, tiles[tile + i]!) : total[i]! + tiles[tile + i]!
      return total
    },
  }
}

function quantilePasses(
  state: State,
  settings: TensorSettings,
  { of, ranked, program }: Level['quantiles'][number],
  after: number,
) {
  const { graph } = state.program
  const positions = of.map((one, model) => ({
    model,
    // k − 1: the ranking begins at 0.
    position: (input: PassInput) =>
      Math.max(1, Math.trunc(evaluate(state, graph.reductions[one]!.share!, input, new Map()) * state.elements)) - 1,
  }))
  const options = { source: 'formula_', after, indexes: ranked, table: tableFor(state, program) } as const
  const { passes, thresholds } = select(settings, positions, options)
  for (const [index, one] of of.entries()) {
    state.found.set(one, (input) => numberOf(thresholds(input)[index]!.key))
    if (ranked) state.cuts.set(one, (input) => thresholds(input)[index]!)
  }
  return passes
}

/** Passes where there is nothing to compute. */
export const NOTHING_TO_COMPUTE: Passes = {
  reduces: [],
  map: { kernel: 'linear', coefficients: ({ models }) => models.map(() => 1) },
}

/** The passes of a compiled formula over a tensor. */
export function formulaPasses(program: Program, settings: TensorSettings): Passes {
  const { graph, result, levels } = program
  const elements = elementsOf(settings)
  // There is nothing to measure.
  if (elements === 0) return NOTHING_TO_COMPUTE
  const sum = asWeightedSum(graph, settings.models.length)
  if (sum) return { reduces: [], map: { kernel: sum.kernel, coefficients: () => sum.coefficients } }
  const state: State = { program, elements, found: new Map(), cuts: new Map() }
  const reduces: ReducePass[] = []
  for (const { sums, summed, quantiles } of levels) {
    if (summed) reduces.push(sumPass(state, sums, summed, reduces.length))
    for (const one of quantiles) reduces.push(...quantilePasses(state, settings, one, reduces.length))
  }
  const inputs = settings.models.length
  const map: MapPass = {
    kernel: 'formula',
    coefficients: () => [],
    table: tableFor(state, result),
    scratch: Math.max(...programsOf(program).map((one) => formulaScratch(one, inputs))),
  }
  return { reduces, map }
}
