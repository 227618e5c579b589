/**
 * Nuslerp: slerp with weights, per tensor, row or column; on task vectors if there is a base.
 *
 *   t = w_2/(w_1 + w_2), 0.5 where |w_1 + w_2| < 1e-6
 *   θ = acos(a·c / (‖a‖ ‖c‖));  (sin((1−t)θ)·a + sin(tθ)·c) / sin θ;  (1−t)·a + t·c where |sin θ| < 1e-6
 *
 * a: the first model's vector, c: the second's (their differences from a base that the recipe names and that is not
 * merged). A vector is the whole tensor (`flatten`), a row along the last axis (`row_wise: true`) or a column along
 * axis 0 (`row_wise: false`); a 1-D tensor is one row and one column. A vector of norm 0 has cosine 0 to every vector.
 * Antiparallel vectors are interpolated linearly, since the arc between them is not unique.
 * Deviation: mergekit's `nuslerp_row_wise: true` means columns; terge reads mergekit configurations that way.
 * Source: Shoemake 1985; weights and variants follow mergekit.
 */

import { fault } from '../../core/diagnostics.js'
import { ANY_BASIS } from '../shared/adapters.js'
import { clampUnit, type Gram, gramFrom, gramOf, gramPasses, resultOf, rowsOf } from '../shared/gram.js'
import { shares } from '../shared/weights.js'
import type { Method, Passes, PassInput, TensorSettings } from '../types.js'

const NO_WEIGHT = 1e-6
const PARALLEL = 1e-6
/** The limit exists because sums and coefficients of all columns are in memory at once. */
const MOST_COLUMNS = 2 ** 18

function place(weights: readonly number[]): number {
  const [first = 1, second = 1] = weights
  if (Math.abs(first + second) < NO_WEIGHT) return 0.5
  return shares([first, second])[1]!
}

function arc(gram: Gram, t: number, { math, note }: PassInput): [number, number] {
  const [aa, cc, ac] = [gram[0]![0]!, gram[1]![1]!, gram[0]![1]!]
  const norms = Math.sqrt(aa) * Math.sqrt(cc)
  const theta = math.acos(norms === 0 ? 0 : clampUnit(ac / norms))
  const sine = math.sin(theta)
  if (Math.abs(sine) < PARALLEL && ac < 0)
    note?.('nuslerp interpolated linearly: the models point in opposite directions, so the arc is undefined')
  if (Math.abs(sine) < PARALLEL) return [1 - t, t]
  return [math.sin((1 - t) * theta) / sine, math.sin(t * theta) / sine]
}

/** Coefficients of `vectors` vectors in order, from the results of the reduce pass. */
function arcs(input: PassInput, vectors: number, into: Float64Array, from: number): Float64Array {
  const t = place(input.weights)
  // There is no second pass for columns, since they are too many.
  const gramAt = (vector: number) =>
    input.results.length > 1 ? gramFrom(input, 2, vector) : gramOf(resultOf(input), 2, vector)
  for (let vector = 0; vector < vectors; vector++) into.set(arc(gramAt(vector), t, input), from + 2 * vector)
  return into
}

const flat = (settings: TensorSettings): Passes => ({
  reduces: gramPasses(settings, 2),
  map: {
    kernel: settings.onBase ? 'task' : 'linear',
    coefficients: (input) => arc(gramFrom(input, 2), place(input.weights), input),
  },
})

const byRow = (settings: TensorSettings, rows: number): Passes => ({
  reduces: gramPasses(settings, 2, 'rows'),
  map: {
    kernel: 'byRow',
    rows: true,
    coefficients: () => [],
    table: (input) => ({ per: 'row', slots: 2, values: arcs(input, rows, new Float64Array(2 * rows), 0) }),
  },
})

const byColumn = (columns: number): Passes => ({
  reduces: [{ kernel: 'columnDots', slots: 3 * columns, combine: 'sums', coefficients: () => [columns] }],
  map: {
    kernel: 'byColumn',
    coefficients: () => [],
    table: (input) => {
      const values = arcs(input, columns, new Float64Array(1 + 2 * columns), 1)
      values[0] = columns
      return { per: 'tensor', slots: values.length, values }
    },
  },
})

function passes(settings: TensorSettings): Passes {
  const { shape, parameters, tensor } = settings
  const rows = rowsOf(shape)
  const columns = shape.slice(1).reduce((product, size) => product * size, 1)
  // A 1-D tensor is one row and one column: the whole tensor.
  if (parameters.flatten === true || shape.length < 2) return flat(settings)
  if (parameters.row_wise === true) return rows === 1 ? flat(settings) : byRow(settings, rows)
  if (columns === 1) return flat(settings)
  if (columns > MOST_COLUMNS)
    throw fault(
      'too-many-columns',
      `nuslerp per column: ${tensor} has ${columns} columns, and terge supports at most ${MOST_COLUMNS}`,
      'write row_wise: true or flatten: true for this tensor in a rule',
    )
  return byColumn(columns)
}

export const nuslerp: Method = {
  name: 'nuslerp',
  aliases: [],
  summary: 'slerp with weights: per tensor, row or column; on task vectors if the recipe names a base',
  formula: '(sin((1−t)θ)·a + sin(tθ)·c)/sin θ, t = w_2/(w_1 + w_2); (1−t)a + t·c where |sin θ| < 1e-6',
  base: 'optional',
  weights: true,
  divides: () => false,
  models: { least: 2, most: 2, needed: 'all' },
  parameters: [
    { name: 'flatten', type: 'boolean', default: true, describe: 'Treat each tensor as one vector.' },
    {
      name: 'row_wise',
      type: 'boolean',
      default: true,
      describe: 'If flatten is false: true works per row (last axis), false per column (axis 0).',
    },
  ],
  adapters: ANY_BASIS,
  effective: ({ weights }) => [1 - place(weights), place(weights)],
  refuse: ({ parameters }, written) =>
    parameters.flatten === true && written.has('row_wise')
      ? {
          parameter: 'row_wise',
          message: "'row_wise' has no effect if 'flatten' is true",
          hint: 'write flatten: false, or remove row_wise',
        }
      : undefined,
  passes,
}
