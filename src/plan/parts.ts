/** Cuts a plan's work into parts that machines can do independently: ranges of its tensors with about the same bytes. */
import { factoringBytes } from '../expr/cost.js'
import { factoringsOf } from '../expr/walk.js'
import { makingCost } from './limits.js'
import { type StoredTensors, storedTensors } from './stored.js'
import type { Plan } from './types.js'
import { readsOf, unreadTensors } from './units.js'

/** One of several parts of a plan's work. */
export interface PlanPart {
  /** From 0. */
  readonly index: number
  /** The number of parts. */
  readonly of: number
  /** Whether the part makes this tensor. Indexes into `Plan.outputs` and its tensors. */
  owns(output: number, tensor: number): boolean
  /** Whether the part digests this stored tensor, which no output reads. */
  digests(stored: number): boolean
  /** Indexes into `Plan.files`, sorted: what the part reads, except for what analyses and scopes read. */
  readonly files: readonly number[]
  /** Those of them with stored tensors that no output reads and that it digests. */
  readonly digested: readonly number[]
  /** The files that the part writes, by output: indexes into `PlanOutput.files`, sorted. */
  readonly written: ReadonlyMap<number, readonly number[]>
  /** What it writes of a file, from its first byte to its last. Bytes of other parts can lie between. */
  span(output: number, file: number): Span
  readonly cost: { readonly read: number; readonly write: number; readonly tensors: number }
}

/** Bytes of a file. */
export interface Span {
  readonly offset: number
  readonly bytes: number
}

/** A tensor of an output, or a stored tensor that is only digested. */
type Item =
  | { readonly output: number; readonly tensor: number; readonly read: number; readonly write: number }
  | { readonly stored: number; readonly read: number }

/** By so much of its share, a part can be larger or smaller to end with a file of an output. */
const SLACK = 0.05

/**
 * The same plan gives the same parts on every machine. The parts are contiguous in the order in which outputs store their tensors.
 * Together they have each tensor once. Some are empty if there are more parts than tensors. `whole`: outputs each of whose files is
 * written by one part only.
 */
export function partsOf(plan: Plan, of: number, whole: ReadonlySet<number> = new Set()): readonly PlanPart[] {
  const stored = storedTensors(plan)
  const items = itemsOf(plan, stored)
  const sums = new Float64Array(items.length + 1)
  for (const [index, item] of items.entries()) sums[index + 1] = sums[index]! + weightOf(item)
  const isBorder = (at: number) => fileOf(plan, items[at - 1]) !== fileOf(plan, items[at])
  const cuts = cutsOf(sums, isBorder, cutter(plan, items, whole), of)
  const places = placesOf(plan, items)
  return Array.from({ length: of }, (_, index): PlanPart => {
    const [from, to] = [cuts[index]!, cuts[index + 1]!]
    const own = items.slice(from, to)
    const isOwn = (place: number | undefined) => place !== undefined && place >= from && place < to
    return {
      ...{ index, of },
      owns: (output, tensor) => isOwn(places.tensors[output]![tensor]),
      digests: (number) => isOwn(places.stored.get(number)),
      get files() {
        return filesOf(plan, own, stored)
      },
      get digested() {
        return filesOf(
          plan,
          own.filter((item) => 'stored' in item),
          stored,
        )
      },
      get written() {
        return writtenOf(plan, own)
      },
      span: (output, file) => spanOf(plan, own, output, file),
      cost: {
        read: own.reduce((sum, { read }) => sum + read, 0),
        write: own.reduce((sum, item) => sum + ('write' in item ? item.write : 0), 0),
        tensors: own.filter((item) => 'tensor' in item).length,
      },
    }
  })
}

/** With more parts, some would be empty. */
export const mostParts = (plan: Plan): number =>
  plan.outputs.reduce((sum, { tensors }) => sum + tensors.length, unreadTensors(plan, storedTensors(plan)).length)

const weightOf = (item: Item): number => item.read + ('write' in item ? item.write : 0)

/** Borders between items, from 0 to their number: near equal sums, and between two files where that is near enough. */
function cutsOf(
  sums: Float64Array,
  isBorder: (at: number) => boolean,
  isFree: (at: number) => boolean,
  of: number,
): number[] {
  const last = sums.length - 1
  const total = sums[last]!
  const share = total / of
  const cuts = [0]
  for (let part = 1; part < of; part++) {
    const ideal = (total * part) / of
    const nearest = freeNear(sums, ideal, isFree)
    let best = nearest
    let distance = SLACK * share
    const consider = (at: number): boolean => {
      const own = Math.abs(sums[at]! - ideal)
      if (own > SLACK * share) return false
      if (own < distance && isBorder(at) && isFree(at)) [best, distance] = [at, own]
      return true
    }
    if (!isBorder(nearest)) {
      for (let at = nearest; at > 0 && consider(at); at--);
      for (let at = nearest + 1; at < last && consider(at); at++);
    }
    cuts.push(Math.max(best, cuts.at(-1)!))
  }
  return [...cuts, last]
}

/** The free place whose sum is nearest. The first and the last place are free. */
function freeNear(sums: Float64Array, ideal: number, isFree: (at: number) => boolean): number {
  const nearest = nearestIn(sums, ideal)
  let [before, after] = [nearest, nearest]
  while (!isFree(before)) before--
  while (!isFree(after)) after++
  return ideal - sums[before]! <= sums[after]! - ideal ? before : after
}

/** Whether no file of these outputs has tensors on both sides of a place. */
function cutter({ outputs }: Plan, items: readonly Item[], whole: ReadonlySet<number>): (at: number) => boolean {
  if (whole.size === 0) return () => true
  const free = new Uint8Array(items.length + 1).fill(1)
  const filesOf = (item: Item): readonly number[] =>
    'tensor' in item && whole.has(item.output)
      ? outputs[item.output]!.tensors[item.tensor]!.placements.map(({ file }) => file)
      : []
  const last = new Map<string, number>()
  for (const [at, item] of items.entries())
    if ('tensor' in item) for (const file of filesOf(item)) last.set(`${item.output} ${file}`, at)
  let until = 0
  for (const [at, item] of items.entries()) {
    if (at > 0 && at <= until) free[at] = 0
    if ('tensor' in item) for (const file of filesOf(item)) until = Math.max(until, last.get(`${item.output} ${file}`)!)
  }
  return (at) => free[at] === 1
}

/** The first index of the nearest sum. */
function nearestIn(sums: Float64Array, ideal: number): number {
  let [low, high] = [0, sums.length - 1]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sums[middle]! < ideal) low = middle + 1
    else high = middle
  }
  if (low === 0 || sums[low]! - ideal < ideal - sums[low - 1]!) return low
  // The first of those that are as near.
  let at = low - 1
  while (at > 0 && sums[at - 1] === sums[at]) at--
  return at
}

/** All tensors in the order of their places in the outputs' files, then the stored tensors that are only digested. */
function itemsOf(plan: Plan, stored: StoredTensors): Item[] {
  const items: Item[] = []
  for (const [output, { tensors }] of plan.outputs.entries()) {
    const placeOf = (tensor: number) => tensors[tensor]!.placements[0]
    const order = [...tensors.keys()].sort((a, b) => {
      const [one, other] = [placeOf(a), placeOf(b)]
      return (one?.file ?? 0) - (other?.file ?? 0) || (one?.offset ?? 0) - (other?.offset ?? 0) || a - b
    })
    for (const tensor of order) {
      const planned = tensors[tensor]!
      const { read, write } = makingCost([planned], plan.compute)
      const { expr } = planned
      const factored = expr.kind === 'factor' ? factoringsOf(expr).map((one) => plan.factorings[one]!) : []
      items.push({ output, tensor, read: factored.reduce((sum, one) => sum + factoringBytes(one), read), write })
    }
  }
  for (const number of unreadTensors(plan, stored)) items.push({ stored: number, read: stored.placeOf(number).bytes })
  return items
}

/** The file of an output, or of a model, that an item belongs to. */
function fileOf({ outputs }: Plan, item: Item | undefined): string {
  if (!item) return ''
  return 'stored' in item
    ? 'digests'
    : `${item.output} ${outputs[item.output]!.tensors[item.tensor]!.placements[0]?.file ?? 0}`
}

/** The positions of tensors among the items: by output and tensor, and by stored tensor. */
function placesOf({ outputs }: Plan, items: readonly Item[]) {
  const tensors = outputs.map((output) => new Uint32Array(output.tensors.length))
  const stored = new Map<number, number>()
  for (const [place, item] of items.entries())
    if ('stored' in item) stored.set(item.stored, place)
    else tensors[item.output]![item.tensor] = place
  return { tensors, stored }
}

function filesOf({ outputs }: Plan, items: readonly Item[], stored: StoredTensors): number[] {
  const files = new Set<number>()
  for (const item of items)
    for (const number of 'stored' in item
      ? [item.stored]
      : readsOf(outputs[item.output]!.tensors[item.tensor]!.expr, stored))
      files.add(stored.placeOf(number).file)
  return [...files].sort((a, b) => a - b)
}

function spanOf({ outputs }: Plan, items: readonly Item[], output: number, file: number): Span {
  let [from, to] = [Number.POSITIVE_INFINITY, 0]
  for (const item of items) {
    if ('stored' in item || item.output !== output) continue
    for (const place of outputs[output]!.tensors[item.tensor]!.placements) {
      if (place.file !== file) continue
      from = Math.min(from, place.offset)
      to = Math.max(to, place.offset + place.bytes)
    }
  }
  return to === 0 ? { offset: 0, bytes: 0 } : { offset: from, bytes: to - from }
}

function writtenOf({ outputs }: Plan, items: readonly Item[]): Map<number, readonly number[]> {
  const found = new Map<number, Set<number>>()
  for (const item of items) {
    if ('stored' in item) continue
    const own = found.get(item.output) ?? new Set()
    found.set(item.output, own)
    for (const { file } of outputs[item.output]!.tensors[item.tensor]!.placements) own.add(file)
  }
  return new Map([...found].map(([output, files]) => [output, [...files].sort((a, b) => a - b)]))
}
