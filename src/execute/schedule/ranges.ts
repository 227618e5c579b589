/** Ranges of tiles: what is finished of a pass can be recorded while the job runs, and what an earlier run did is not done again. */
import { createHash } from 'node:crypto'
import { VERSION } from '../../core/version.js'
import { DIGEST_BYTES, LEAF, TILE } from '../../kernels/types.js'
import type { Table } from '../../methods/types.js'
import { type Pass, type Program, passElements, type TaskResult } from '../program.js'

/** The results of some tiles of a pass. */
export interface TileRange {
  readonly pass: number
  readonly firstTile: number
  readonly tiles: number
  /** See `givenDigest`. */
  readonly given: string
  /** By leaf that the pass digests, and by -1 for the output: the leaf digests of `spanOf` the range. */
  readonly digests: ReadonlyMap<number, Uint8Array>
  /** See `TaskResult`. */
  readonly sums?: Float64Array
  readonly counts?: Uint32Array
  readonly nonFinite: number
  /** Bytes that its tasks read. */
  readonly read: number
}

/** Ranges of a job are recorded after so many bytes, read and written. */
export const EVERY = 64 * 2 ** 20

/** The most tiles of a range that is recorded: if something in it is damaged, so many are done again. Their counts fit 32 bits. */
const MOST_TILES = 4096

/** Tiles from the first number to before the second. */
export type Span = readonly [first: number, end: number]

/** What a pass digests: a leaf, or the output as -1. */
interface Digested {
  readonly key: number
  readonly elementBytes: number
  /** Of all of its leaf digests. */
  readonly size: number
}

/** The size of the leaf digests of so many bytes. */
export const digestsSize = (bytes: number): number => Math.ceil(bytes / LEAF) * DIGEST_BYTES

/** In the order of a task's digests. */
export function digestedIn(program: Program, pass: number): readonly Digested[] {
  const { leaves, output, elements } = program
  const found: Digested[] = []
  for (const [key, { digestIn, reader, elementBytes }] of leaves.entries()) {
    const bytes = reader.kind === 'contiguous' ? reader.bytes : elements * elementBytes
    if (digestIn === pass) found.push({ key, elementBytes, size: digestsSize(bytes) })
  }
  if (output?.digest && program.passes[pass]!.kind === 'write')
    found.push({ key: -1, elementBytes: output.elementBytes, size: digestsSize(elements * output.elementBytes) })
  return found
}

/** Where the leaf digests of some tiles are among all of them. A tile has as many leaves as its elements have bytes. */
export const digestsAt = ({ elementBytes, size }: Digested, [first, end]: Span): Span => [
  first * elementBytes * DIGEST_BYTES,
  Math.min(size, end * elementBytes * DIGEST_BYTES),
]

/**
 * The digest of what a pass is given beside its inputs, and of how it is done: sums of another version of terge could mean something
 * else.
 */
export function givenDigest(
  { passes, nodes, compute, rowLength }: Program,
  pass: number,
  coefficients: readonly (readonly number[])[],
  tables: readonly (Table | undefined)[],
): string {
  const kernels = nodes.map((node) => (node.kind === 'merge' ? [node.kernel, node.rows] : node.kind))
  const how = [VERSION, compute, rowLength, kernels, passes.slice(0, pass + 1)]
  const hash = createHash('sha256').update(JSON.stringify(how))
  const add = (numbers: ArrayLike<number>): void => {
    const bits = Float64Array.from(numbers)
    hash.update(`${bits.length} `).update(new Uint8Array(bits.buffer))
  }
  for (const list of coefficients) add(list)
  for (const table of tables) {
    hash.update(table ? `${table.per} ${table.slots} ` : 'none ')
    if (table) add(table.values)
  }
  return hash.digest('hex')
}

/** The tiles with the elements that a pass reads for some of its tiles: those of whole rows, if the program works by rows. */
export function seenBy(program: Program, pass: number, [first, end]: Span): Span {
  const { rowLength, nodes, elements } = program
  if (rowLength === 0) return [first, end]
  const all = passElements(program.passes[pass]!, nodes, elements)
  const from = Math.floor((first * TILE) / rowLength) * rowLength
  const to = Math.min(all, Math.ceil((end * TILE) / rowLength) * rowLength)
  return [Math.floor(from / TILE), Math.max(end, Math.ceil(to / TILE))]
}

/** What is finished of a pass: leaf digests by leaf, and by -1 for the output. */
export interface Finished {
  readonly program: Program
  readonly given: string
  readonly digests: (key: number) => Uint8Array
}

/** Results of tasks of a pass as ranges. */
export function rangesOf(finished: Finished, results: readonly TaskResult[]): TileRange[] {
  const sorted = [...results].sort((a, b) => a.firstTile - b.firstTile)
  const runs: TaskResult[][] = []
  for (const result of sorted) {
    const run = runs.at(-1)
    const before = run?.at(-1)
    const follows = before && before.firstTile + before.tiles === result.firstTile
    if (run && follows && result.firstTile + result.tiles - run[0]!.firstTile <= MOST_TILES) run.push(result)
    else runs.push([result])
  }
  return runs.map((run) => joined(finished, run))
}

function joined({ program, given, digests }: Finished, run: readonly TaskResult[]): TileRange {
  const { pass, firstTile, sums, counts } = run[0]!
  const tiles = run.reduce((sum, { tiles }) => sum + tiles, 0)
  const own = digestedIn(program, pass).map((one) => {
    const [start, end] = digestsAt(one, spanOf(program, one.key, { pass, firstTile, tiles }))
    return [one.key, digests(one.key).slice(start, end)] as const
  })
  const total = counts && new Uint32Array(counts.length)
  if (total) for (const { counts: own } of run) for (const [slot, count] of own!.entries()) total[slot]! += count
  return {
    ...{ pass, firstTile, tiles, given, digests: new Map(own) },
    nonFinite: run.reduce((sum, { nonFinite = 0 }) => sum + nonFinite, 0),
    read: run.reduce((sum, { read }) => sum + read, 0),
    ...(sums ? { sums: Float64Array.from(run.flatMap(({ sums }) => [...sums!])) } : {}),
    ...(total ? { counts: total } : {}),
  }
}

/** The tiles of which a range has leaf digests: of what was written, its own; of a leaf, all that it was made from. */
export function spanOf(
  program: Program,
  key: number,
  { pass, firstTile, tiles }: Pick<TileRange, 'pass' | 'firstTile' | 'tiles'>,
): Span {
  const own: Span = [firstTile, firstTile + tiles]
  return key < 0 ? own : seenBy(program, pass, own)
}

/** A range as the result of one task; undefined if it does not fit the pass. */
export function resultOf(program: Program, range: TileRange): TaskResult | undefined {
  const { pass, firstTile, tiles, sums, counts, nonFinite } = range
  const declared = program.passes[pass]
  if (!declared || tiles < 1 || firstTile < 0) return undefined
  const all = Math.ceil(passElements(declared, program.nodes, program.elements) / TILE)
  if (firstTile + tiles > all || !fits(program, declared, range)) return undefined
  const parts: Uint8Array[] = []
  for (const one of digestedIn(program, pass)) {
    const [from, to] = digestsAt(one, spanOf(program, one.key, range))
    const [start, end] = digestsAt(one, [firstTile, firstTile + tiles])
    const own = range.digests.get(one.key)
    if (own?.length !== to - from) return undefined
    parts.push(own.subarray(start - from, end - from))
  }
  return {
    ...{ job: 0, pass, firstTile, tiles, nonFinite, read: 0, written: 0 },
    digests: new Uint8Array(Buffer.concat(parts)),
    ...(sums ? { sums } : {}),
    ...(counts ? { counts } : {}),
  }
}

/** Whether a range has the numbers that tasks of the pass give. */
function fits(program: Program, pass: Pass, { firstTile, tiles, sums, counts }: TileRange): boolean {
  if (pass.kind !== 'reduce') return (pass.kind === 'write' || pass.kind === 'digest') && !sums && !counts
  if (pass.combine === 'counts') return counts?.length === pass.slots && !sums
  const { rowLength, nodes, elements } = program
  const end = Math.min(passElements(pass, nodes, elements), (firstTile + tiles) * TILE)
  const rows = () => Math.ceil(end / rowLength) - Math.ceil((firstTile * TILE) / rowLength)
  return sums?.length === pass.slots * (pass.combine === 'rows' ? rows() : tiles) && !counts
}

/** What of some spans is not in another one. */
export const without = (spans: readonly Span[], [first, end]: Span): Span[] =>
  spans.flatMap(([from, to]): Span[] => {
    const [before, after]: [Span, Span] = [
      [from, Math.min(to, first)],
      [Math.max(from, end), to],
    ]
    return [before, after].filter(([from, to]) => from < to)
  })

/** Whether all tiles of a span are in some spans. */
export const contains = (spans: readonly Span[], [first, end]: Span): boolean =>
  spans.some(([from, to]) => from <= first && end <= to)
