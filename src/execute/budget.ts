import { availableParallelism } from 'node:os'
import { fault } from '../core/diagnostics.js'
import { formatSize } from '../core/sizes.js'
import { bytesOf } from '../encodings/index.js'
import { computeOf, EXTRACT, leavesOf, mergesOf, passesOf, settingsOf } from '../expr/cost.js'
import { bufferCount, updateBytes } from '../expr/scratch.js'
import { teamBytes } from '../kernels/dense/team.js'
import { CHUNK, TILE } from '../kernels/types.js'
import { isAdapted } from '../methods/adapted.js'
import { kindsOfTensors } from '../plan/kinds.js'
import type { Plan, PlanTensor } from '../plan/types.js'
import { defaultMode, type WindowMode } from '../storage/local/window.js'
import { decodeScratch } from '../views/decodeScratch.js'
import { storedBytes } from '../views/ranges.js'
import { dtypeOf } from '../views/shape.js'
import { isDecoded } from '../views/stored.js'
import { KEPT, keptOf, MOST_KEPT } from '../views/transposed.js'
import type { View } from '../views/types.js'

/** Node, the program and the plan's own data. Measured on Node 20, rounded up. */
const BASE_BYTES = 42e6
/** A worker's JavaScript heap, its module and its stacks. Measured on Node 20, rounded up. */
const WORKER_BYTES = 9e6
/** The same for a matching worker, with a tile of a product. */
const MATCHER_BYTES = 20e6
/** Memory comes in multiples of this number. */
const WASM_PAGE = 65536
/** Bytes per tensor of plan, headers and records. */
const TENSOR_BYTES = 4096

/** Starting so many threads takes no noticeable time, even for little work. */
const FEW_THREADS = 8
/** About the bytes of one task, of each of its inputs. */
const TASK_BYTES = 16e6

/** The default limit, in addition to the memory of the plan itself. */
const DEFAULT_BYTES = 1e9

const planBytes = ({ outputs }: Plan): number =>
  TENSOR_BYTES * outputs.reduce((sum, { tensors }) => sum + tensors.length, 0)

/** The default memory limit of a run. */
export const defaultMemory = (plan: Plan): number => DEFAULT_BYTES + planBytes(plan)

/** Peak anonymous memory of a run in bytes, without mapped files. `kept`: bytes that a thread may keep for rows of transposed matrices. */
export function estimateMemory(
  plan: Plan,
  threads: number,
  mode: WindowMode = defaultMode(),
  kept: number = KEPT,
): number {
  const { held } = plan.cost
  const matrices = held ? teamBytes(held.bytes, threads) : 0
  const analyses = plan.analyses.length > 0 ? analysesBytes(plan) + threads * MATCHER_BYTES : 0
  return Math.ceil(
    BASE_BYTES + planBytes(plan) + matrices + analyses + threads * (WORKER_BYTES + scratchBytes(plan, mode, kept)),
  )
}

/** Minimal memory of analyses in bytes. They run one after another and reuse memory. */
const analysesBytes = ({ cost }: Plan): number =>
  (cost.analyses ?? []).reduce((most, { bytes }) => Math.max(most, bytes), 0)

/** Bytes that a plan's analyses can use if the run has `memory` bytes in total. */
export const analysesBudget = (plan: Plan, threads: number, memory: number, mode: WindowMode): number =>
  analysesBytes(plan) + Math.max(0, memory - estimateMemory(plan, threads, mode))

/** A cache: plans never change. */
const scratches = new WeakMap<Plan, Map<string, number>>()

/** The widest program's scratch space in one worker. */
function scratchBytes(plan: Plan, mode: WindowMode, kept: number): number {
  const known = scratches.get(plan) ?? new Map<string, number>()
  scratches.set(plan, known)
  const key = `${mode} ${kept}`
  const bytes = known.get(key) ?? countScratch(plan, mode, kept)
  known.set(key, bytes)
  return bytes
}

const kinds = new WeakMap<Plan, readonly Kind[]>()

/** A tensor, and the largest tile of those that are made like it. */
type Kind = Pick<PlanTensor, 'expr' | 'shape'> & { readonly tile: number }

function kindsOf(plan: Plan): readonly Kind[] {
  const known = kinds.get(plan)
  if (known) return known
  const made = kindsOfTensors(plan.outputs).map((group): Kind => {
    const { expr, shape } = group[0]!
    const dtypes = new Set(group.map(({ dtype }) => dtype))
    return { expr, shape, tile: Math.max(...[...dtypes].map((dtype) => bytesOf(dtype, TILE))) }
  })
  kinds.set(plan, made)
  return made
}

function countScratch(plan: Plan, mode: WindowMode, kept: number): number {
  let most = 0
  for (const { expr, shape, tile } of kindsOf(plan)) {
    const compute = computeOf(plan.compute, expr)
    const leaves = leavesOf(expr)
    const buffers = bufferCount(expr, shape) * CHUNK * (compute === 'f64' ? 8 : 4)
    const reading =
      mode === 'read'
        ? leaves.reduce((sum, { view }) => sum + Math.min(storedBytes(view), bytesOf(dtypeOf(view) ?? 'F64', TILE)), 0)
        : 0
    const decoding = decodingBytes(leaves.map(({ view }) => view).filter(isDecoded))
    const rows = keptOf(
      leaves.map(({ view }) => view),
      kept,
    )
    most = Math.max(most, buffers + tile + reading + decoding + rows + updateBytes(expr, shape, compute, CHUNK))
  }
  return most
}

/** Memory for the decoded numbers of a tile, and for what they are made from. */
const decodingBytes = (views: readonly View[]): number => decodeScratch(views) + views.length * bytesOf('F32', TILE)

/** How many of `asked` threads are useful: not more than CPU cores, or a few, unless there are many bytes. */
export const usefulThreads = ({ cost }: Plan, asked: number): number =>
  Math.min(asked, Math.max(FEW_THREADS, availableParallelism(), Math.ceil((cost.read + cost.write) / TASK_BYTES)))

/** How many of `asked` threads fit into `memory`; 0 if not even one fits. */
export function threadsThatFit(plan: Plan, asked: number, memory: number, mode: WindowMode): number {
  let threads = asked
  while (threads >= 1 && estimateMemory(plan, threads, mode) > memory) threads--
  return threads
}

/** The same. Error: `memory-too-small` if not even one fits. */
export function threadsWithin(plan: Plan, asked: number, memory: number, mode: WindowMode): number {
  const fitting = threadsThatFit(plan, asked, memory, mode)
  if (fitting >= 1) return fitting
  const least = Math.ceil(estimateMemory(plan, 1, mode) / 1e6) * 1e6
  const { held, analyses = [] } = plan.cost
  const heaviest = analyses.find(({ bytes }) => bytes === analysesBytes(plan))
  if (heaviest && heaviest.bytes > least / 2)
    throw fault(
      'memory-too-small',
      `--memory ${formatSize(memory)} is not enough for step ${heaviest.steps[0]}`,
      `this run needs ${formatSize(least)}`,
    )
  const other = held?.method.startsWith(EXTRACT) ? 'method: randomised' : 'a rule with another method'
  const less = held && isAdapted(held.method) ? '' : `; ${other} for this tensor needs less memory`
  if (held)
    throw fault(
      'memory-too-small',
      `--memory ${formatSize(memory)} is not enough for ${held.tensor}: ${held.method} keeps its whole matrices in memory`,
      `this run needs ${formatSize(least)}${less}`,
    )
  throw fault(
    'memory-too-small',
    `--memory ${formatSize(memory)} is not enough for one thread`,
    `this run needs ${formatSize(least)}`,
  )
}

/**
 * Bytes that each of so many threads may keep for rows of transposed matrices: as many as pay where the run has memory for them. Analyses
 * use what is left otherwise.
 */
export function keptWithin(plan: Plan, threads: number, memory: number, mode: WindowMode): number {
  if (plan.analyses.length > 0) return KEPT
  const useful = scratchBytes(plan, mode, MOST_KEPT) - scratchBytes(plan, mode, KEPT)
  const spare = useful > 0 ? (memory - estimateMemory(plan, threads, mode)) / threads : 0
  return KEPT + Math.max(0, Math.floor(Math.min(useful, spare) / WASM_PAGE) * WASM_PAGE)
}

/** More of what a thread remembers than its share of a tensor: the shares of threads differ by a task and more. */
const UNEVEN = 1.25

/**
 * Bytes in which each of so many threads may remember inputs that several passes read: as many as the largest such tensor needs, where
 * the run has memory for them.
 */
export function recallWithin(plan: Plan, threads: number, memory: number, mode: WindowMode): number {
  if (mode === 'map' || plan.analyses.length > 0) return 0
  const spare = memory - estimateMemory(plan, threads, mode, keptWithin(plan, threads, memory, mode))
  const { all, leaves } = widestRecalled(plan)
  const useful = all === 0 ? 0 : Math.ceil((UNEVEN * all) / threads) + leaves * TASK_BYTES
  return Math.max(
    0,
    Math.floor(Math.min(Math.min(useful, all + leaves * WASM_PAGE), spare / threads) / WASM_PAGE) * WASM_PAGE,
  )
}

/** Of all tensors that are read several times, the most bytes of one's inputs, and how many inputs it has. */
function widestRecalled(plan: Plan): { readonly all: number; readonly leaves: number } {
  let widest = { all: 0, leaves: 0 }
  for (const { name, expr, shape } of plan.outputs.flatMap((output) => output.tensors)) {
    const leaves = leavesOf(expr)
    const all = leaves.reduce((sum, { view }) => sum + storedBytes(view), 0)
    if (all <= widest.all) continue
    const passes = mergesOf(expr, shape).map(({ merge, shape }) => passesOf(merge, settingsOf(merge, name, shape, 0)))
    const again = passes.some(({ reduces, held }) => !held && reduces.some(({ rows, tile }) => !rows && !tile))
    if (again) widest = { all, leaves: leaves.length }
  }
  return widest
}
