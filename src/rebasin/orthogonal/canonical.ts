/**
 * A tensor's matrix between the stream and its units as matching looks at it: [units, hidden] for what reads the stream and for
 * rows that are added to it, [hidden, units] for what layers add. Norms and factors are folded in; with LayerNorm, nothing is left
 * that changes only the mean of the stream, which every reader subtracts.
 */
import type { Weights } from '../weights.js'
import { type Layout, type Matrix, writes } from './layout.js'

const isUpright = ({ place }: Matrix): boolean => writes(place?.key)

export const canonicalShape = (matrix: Matrix, { hidden }: Layout): readonly [number, number] =>
  isUpright(matrix) ? [hidden, matrix.units] : [matrix.units, hidden]

/** Whether the mean of each vector of the stream is of no account: every reader subtracts it. */
export const isCentred = ({ basis, kind }: Layout): boolean => basis === 'rotated' && kind === 'layer'

/** Whether the tensor as stored is the matrix, row by row. */
export function isPlain(matrix: Matrix, layout: Layout, shape: readonly number[]): boolean {
  const [rows, columns] = canonicalShape(matrix, layout)
  const centred = isCentred(layout) && isUpright(matrix)
  const folded = matrix.factor !== undefined && layout.basis === 'rotated'
  return (
    shape.length === 2 &&
    shape[0] === rows &&
    shape[1] === columns &&
    !centred &&
    !folded &&
    matrix.stream === (isUpright(matrix) ? 0 : 1)
  )
}

/** The weights that are multiplied along the stream, where the basis changes. */
export function foldedBy(matrix: Matrix, { norms, basis }: Layout): string | undefined {
  if (basis !== 'rotated') return undefined
  return matrix.writes ? matrix.factor : matrix.norm === undefined ? undefined : norms.get(matrix.norm)?.weight
}

/** Writes a whole matrix into `out`. */
export async function readCanonical(
  out: Float32Array,
  weights: Weights,
  matrix: Matrix,
  layout: Layout,
  scale: Float32Array | undefined,
): Promise<void> {
  const { hidden } = layout
  const data = await weights.get(matrix.tensor)
  const place = placeIn(matrix, layout, weights.source.tensors.get(matrix.tensor)!.shape)
  const upright = isUpright(matrix)
  const centred = isCentred(layout)
  for (let unit = 0; unit < matrix.units; unit++) {
    const { start, step } = place(unit)
    let mean = 0
    for (let s = 0; centred && s < hidden; s++) mean += data[start + s * step]! * (scale ? scale[s]! : 1)
    mean /= hidden
    for (let s = 0; s < hidden; s++)
      out[upright ? s * matrix.units + unit : unit * hidden + s] =
        data[start + s * step]! * (scale ? scale[s]! : 1) - mean
  }
}

/** Where the stream's places of a unit lie in a tensor. */
export function placeIn({ stream, from }: Matrix, { hidden }: Layout, shape: readonly number[]) {
  const step = shape.slice(stream + 1).reduce((product, n) => product * n, 1)
  return (unit: number): { readonly start: number; readonly step: number } => {
    const [outer, inner] = [Math.floor((from + unit) / step), (from + unit) % step]
    return { start: outer * hidden * step + inner, step }
  }
}
