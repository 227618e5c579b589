import { elements } from '../../core/dtypes.js'
import { bytesOf, isFloat } from '../../encodings/index.js'
import type { ReadExpr, RowMap } from '../../expr/types.js'
import type { Compute } from '../../kernels/types.js'
import type { Leaf, RowSource } from '../program.js'

/** Whether a tensor's rows are stored in one dtype, and none is computed: then bytes stay what they are. */
export const isUniform = ({ dtype, rows }: ReadExpr): boolean =>
  !rows ||
  (rows.means.length === 0 &&
    rows.others.every((other) => other.dtype === dtype) &&
    rows.runs.every((source, at) => at % 3 !== 1 || source !== -3))

/**
 * The leaf of a tensor that is put together from rows: in its own dtype, or decoded while it is gathered, where dtypes are
 * mixed or rows are averaged.
 */
export function rowsLeaf(of: ReadExpr, rows: RowMap, raw: boolean, compute: Compute): Leaf {
  const uniform = isUniform(of)
  const runs = rows.runs.length / 3
  const column = (offset: number) => Int32Array.from({ length: runs }, (_, run) => rows.runs[3 * run + offset]!)
  const starts = new Int32Array(runs + 1)
  for (const [run, count] of column(0).entries()) starts[run + 1] = starts[run]! + count
  const width = elements(rows.shape.slice(1))
  const source = (read: ReadExpr): RowSource => {
    const stored = bytesOf(read.dtype)
    if (raw) return { file: read.file, offset: read.offset, dtype: 'raw', elementBytes: 1, ...viewOf(read, stored) }
    if (!isFloat(read.dtype)) throw new Error(`internal: ${read.tensor} has dtype ${read.dtype} in a merge`)
    return { file: read.file, offset: read.offset, dtype: read.dtype, elementBytes: stored, ...viewOf(read) }
  }
  const own = source(of)
  const [direct, directBytes] = compute === 'f32' ? (['F32', 4] as const) : (['F64', 8] as const)
  const { dtype, elementBytes } = raw || uniform ? own : { dtype: direct, elementBytes: directBytes }
  return {
    file: of.file,
    offset: of.offset,
    bytes: elements(rows.shape) * (raw ? bytesOf(of.dtype) : elementBytes),
    dtype,
    elementBytes,
    rows: {
      rowLength: raw ? bytesOf(of.dtype, width) : width,
      sources: [own, ...rows.others.map(source)],
      starts,
      runSources: column(1),
      runRows: column(2),
      means: rows.means,
    },
    digestIn: -1,
  }
}

/** `bytes`: of an element, where elements are to be single bytes. */
function viewOf({ view }: ReadExpr, bytes?: number): Pick<RowSource, 'view'> {
  if (!view || bytes === undefined) return view ? { view } : {}
  const strides = [...view.strides.map((stride) => stride * bytes), 1]
  return { view: { shape: [...view.shape, bytes], strides } }
}
