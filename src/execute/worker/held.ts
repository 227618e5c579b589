/** A worker's part of work on whole matrices: fills them from tiles, runs stages with the team, and returns results. */
import { joinTeam } from '../../kernels/dense/team.js'
import { heldLayout, solveHeld } from '../../kernels/held/index.js'
import { CHUNK } from '../../kernels/types.js'
import type { Pass, Program } from '../program.js'
import type { WorkerContext } from './context.js'

const teamOf = ({ team }: WorkerContext): NonNullable<WorkerContext['team']> => {
  if (!team) throw new Error('internal: held work without a memory to hold it')
  return team
}

/** Work with fewer operations is faster on one thread: it takes some hundredths of a second, and a team synchronizes often. */
export const ALONE = 1e8

/**
 * Runs one stage together with all other workers, or small work on the first worker alone. The result is the same.
 * If the method's formula is not defined for these matrices, returns what it did instead.
 */
export function solve(
  program: Program,
  { work, stage }: Pass & { kind: 'solve' },
  worker: WorkerContext,
): string | undefined {
  const held = program.held!.works[work]!
  const { instance, memory, thread } = teamOf(worker)
  const alone = heldLayout(held.work).operations < ALONE
  if (alone && thread > 0) return undefined
  const team = joinTeam(instance, alone ? { ...memory, threads: 1 } : memory, thread, held.own)
  return solveHeld(team, held.work, stage, held.origin)
}

type Floats = Float32Array | Float64Array

/** n numbers at an address of any alignment. */
function floatsAt(buffer: ArrayBuffer, address: number, n: number, narrow: boolean): Floats {
  const size = narrow ? 4 : 8
  if (address % size !== 0) {
    const copy = buffer.slice(address, address + n * size)
    return narrow ? new Float32Array(copy) : new Float64Array(copy)
  }
  return narrow ? new Float32Array(buffer, address, n) : new Float64Array(buffer, address, n)
}

/** Fills n elements of a matrix, from element `first` on; `evaluate` says where a node's values for some of them lie. */
export function fill(
  program: Program,
  pass: Pass & { kind: 'fill' },
  worker: WorkerContext,
  first: number,
  n: number,
  evaluate: (node: number, from: number, n: number) => number,
): void {
  const { buffer } = teamOf(worker).memory.memory
  const size = pass.narrow ? 4 : 8
  const single = program.compute === 'f32'
  const sum = new Float64Array(CHUNK)
  for (let from = 0; from < n; from += CHUNK) {
    const count = Math.min(CHUNK, n - from)
    const values = (node: number) => floatsAt(worker.memory.buffer, evaluate(node, from, count), count, single)
    sum.fill(0)
    const base = pass.base < 0 ? undefined : values(pass.base).slice()
    for (const { node, factor } of pass.terms) add(sum, values(node), base, factor, count, single)
    const at = pass.at + (first - (pass.first ?? 0) + from) * size
    const out = pass.narrow ? new Float32Array(buffer, at, count) : new Float64Array(buffer, at, count)
    out.set(sum.subarray(0, count))
  }
}

/** sum += factor · (x − base), the difference in the compute type; what is not finite and the same in both is no difference. */
function add(sum: Float64Array, x: Floats, base: Floats | undefined, factor: number, n: number, single: boolean): void {
  if (!base) for (let i = 0; i < n; i++) sum[i]! += factor * x[i]!
  else if (single) for (let i = 0; i < n; i++) sum[i]! += factor * Math.fround(minus(x[i]!, base[i]!))
  else for (let i = 0; i < n; i++) sum[i]! += factor * minus(x[i]!, base[i]!)
}

const minus = (x: number, b: number): number => (Object.is(x, b) ? 0 : x - b)
