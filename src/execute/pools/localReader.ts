import { makeGate } from '../../core/collections/gate.js'
import { elements } from '../../core/dtypes.js'
import { shareFiles } from '../../core/resources.js'
import type { WebAssembly } from '../../core/webassembly.js'
import { leafCount } from '../../expr/cost.js'
import type { AnalysisTensor } from '../../expr/types.js'
import type { Plan } from '../../plan/types.js'
import type { TensorReader } from '../../steps/analysis.js'
import { shapeOf } from '../../views/shape.js'
import { hasOtherRows, pickedRows } from '../../views/stored.js'
import { KEPT } from '../../views/transposed.js'
import { compileValues } from '../compile/tensor.js'
import { type Findings, leafValues } from '../findings.js'
import { schedule } from '../schedule/schedule.js'
import { windowMode } from '../windowMode.js'
import { openRunner, taskBytes } from '../worker/runner.js'
import { inlinePool } from './inline.js'
import type { Pool } from './types.js'

/** Reads tensors on the calling thread, for analyses, and for tensors that their steps compute while others are written. */
export interface LocalReader extends TensorReader {
  /** The same from inside a read, without waiting for the turn: otherwise it would wait for itself. */
  readonly inner: TensorReader
  /** Closes files until they are read again. */
  release(files: readonly number[]): void
  close(): void
}

/** A reader for a plan's tensors. `tensors`: those that it must be able to read. */
export function openLocal(
  plan: Plan,
  inputs: readonly string[],
  module: WebAssembly.Module,
  tensors: readonly AnalysisTensor[],
  findings: () => Findings,
): LocalReader {
  const mode = windowMode()
  const leaves = tensors.reduce((most, { name, shape, expr }) => Math.max(most, leafCount(expr, name, shape)), 1)
  const reach = tensors.reduce((most, { shape }) => Math.max(most, shape.at(-1) ?? 1), 1)
  const runner = openRunner({
    ...{ module, mode, leaves, reach, kept: KEPT },
    inputs: inputs.map((path, index) => ({ path, size: plan.files[index]!.size })),
    openFiles: shareFiles(1).files,
  })
  const { math } = runner.kernels
  /** One tensor at a time, with what it depends on: each can use as much memory as the plan allows. */
  const inTurn = makeGate(1)
  async function readOne(tensor: Omit<AnalysisTensor, 'dtype'>, values: Float32Array): Promise<void> {
    const target = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    const job = compileValues(plan, tensor, findings())
    await schedule([job], localPool(target), {
      ...{ math, finished: () => {}, progress: () => {} },
      values: leafValues(findings()),
    })
  }
  function localPool(target: Uint8Array): Pool {
    return inlinePool(
      runner,
      (_, address, bytes, offset) => target.set(runner.bytes.subarray(address, address + bytes), offset),
      taskBytes({ mode, leaves, reach, kept: KEPT }),
      { release: ({ inputs }) => runner.release(inputs), close: () => {} },
    )
  }
  const inner: TensorReader = {
    async read(tensor) {
      const values = new Float32Array(new SharedArrayBuffer(4 * elements(tensor.shape)))
      await readOne(tensor, values)
      return values
    },
    async readRows(tensor, rows, into) {
      const part = rowsOf(tensor, rows)
      if (part) await readOne(part, into)
      return part !== undefined
    },
  }

  return {
    inner,
    read: (tensor) => inTurn(() => inner.read(tensor)),
    readRows: (tensor, rows, into) => inTurn(() => inner.readRows(tensor, rows, into)),
    release: runner.release,
    close: runner.close,
  }
}

/** Some rows of a stored tensor, as a tensor; undefined if it has no rows. */
function rowsOf({ name, shape, expr }: AnalysisTensor, rows: Int32Array): Omit<AnalysisTensor, 'dtype'> | undefined {
  if (expr.kind !== 'read' || shape.length === 0 || hasOtherRows(expr.view)) return undefined
  const view = pickedRows(expr.view, rows)
  return { name, shape: shapeOf(view), expr: { kind: 'read', view } }
}
