/** The work of a plan in phases, and in each phase the pieces of work that read the same files. */
import { factoringInputs } from '../../expr/cost.js'
import type { Expr } from '../../expr/types.js'
import { partsOf } from '../../expr/walk.js'
import { storedOf } from '../../views/stored.js'
import { tensorsOf } from '../analysisCost.js'
import { scopeReduces } from '../scopePasses.js'
import type { Plan } from '../types.js'
import type { Need } from '../unitForms.js'
import { planUnits } from '../units.js'
import { batchesOf } from './batches.js'
import type { FlowOptions, Phase, TensorPlace } from './types.js'

/** What comes before work and goes after it: contents of files that are elsewhere, and files of uploaded outputs. */
export interface Things {
  /** In bytes. */
  readonly sizes: readonly number[]
  /** By thing, the `Plan.files` with this content; none for a file of an output. */
  readonly files: readonly (readonly number[])[]
  /** By thing: the file of an uploaded output. */
  readonly written: readonly ({ readonly output: number; readonly file: number } | undefined)[]
  /** The content of a file, if it is elsewhere. */
  readonly contentOf: (file: number) => number | undefined
  readonly writtenOf: (output: number, file: number) => number | undefined
}

/** Room for the locks and blocks of a file's folder, in bytes. */
export const BESIDE_FILE = 2 ** 14

export function thingsOf(plan: Plan, { away, uploaded = new Set(), finished = () => false }: FlowOptions): Things {
  const sizes: number[] = []
  const files: number[][] = []
  const written: Things['written'][number][] = []
  const contents = new Map<string, number>()
  const byFile = new Map<number, number>()
  for (const [file, content] of [...away].sort(([a], [b]) => a - b)) {
    const thing = contents.get(content) ?? sizes.push(plan.files[file]!.size + BESIDE_FILE) - 1
    contents.set(content, thing)
    files[thing] = [...(files[thing] ?? []), file]
    byFile.set(file, thing)
  }
  const byOutput = new Map<string, number>()
  for (const [output, { files: own }] of plan.outputs.entries()) {
    if (!uploaded.has(output) || finished(output)) continue
    for (const [file, { size }] of own.entries()) {
      const thing = sizes.push(size + BESIDE_FILE) - 1
      files[thing] = []
      written[thing] = { output, file }
      byOutput.set(`${output} ${file}`, thing)
    }
  }
  return {
    ...{ sizes, files, written },
    contentOf: (file) => byFile.get(file),
    writtenOf: (output, file) => byOutput.get(`${output} ${file}`),
  }
}

/** Tensors, or other work, that need the same things. */
export interface Piece {
  readonly things: readonly number[]
  readonly tensors: readonly TensorPlace[]
  readonly factorings?: readonly number[]
  readonly scoped?: readonly number[]
}

export interface PhasePieces {
  readonly phase: Phase
  readonly pieces: readonly Piece[]
}

/** The phases of a run, in its order: what many tensors need, then the outputs. */
export function phasesOf(plan: Plan, things: Things, options: FlowOptions): PhasePieces[] {
  const { finished = () => false, digests = true, survey, part } = options
  const reads = readerOf(plan, things)
  const all = [...things.sizes.keys()].filter((thing) => things.files[thing]!.length > 0)
  const open = [...plan.outputs.keys()].filter((output) => !finished(output))
  const batches = batchesOf(plan, open)
  const whole = (phase: Phase, needed: readonly number[]): PhasePieces => ({
    phase,
    pieces: [{ things: needed, tensors: [] }],
  })
  const phases: PhasePieces[] = []
  const statistics = union(
    (survey ? [] : open).flatMap((output) =>
      plan.outputs[output]!.tensors.flatMap(({ expr }, tensor) =>
        part && !part.finds && !part.owns(output, tensor)
          ? []
          : partsOf([expr]).flatMap((one) => (one.kind === 'merge' ? (one.statistics ?? []).map(reads) : [])),
      ),
    ),
  )
  if (statistics.length > 0) phases.push(whole({ kind: 'statistics' }, statistics))
  if (plan.analyses.length + plan.scopes.length > 0 && part?.finds !== false)
    for (const { id } of planUnits(plan).shared()) {
      const need = needOf(id)
      if (need.kind === 'scope') {
        phases.push(...scopePhases(plan, need, reads))
        continue
      }
      // The output is made with each of the candidates, and every file is digested then.
      const analysis = plan.analyses[need.index]!
      const read = analysis.select ? all : union(tensorsOf(analysis).map(({ expr }) => reads(expr)))
      phases.push(whole({ kind: 'shared', need }, read))
    }
  if (survey) {
    const pieces = survey.map((index): Piece => {
      const things = union(factoringInputs(plan.factorings[index]!).map(({ part }) => reads(part)))
      return { things, tensors: [], factorings: [index] }
    })
    return [...phases, { phase: { kind: 'survey' }, pieces }]
  }
  if (part?.finds) return phases
  const owned = batches.map((outputs) => piecesOf(plan, things, outputs, reads, options))
  const first = part
    ? Math.max(
        0,
        owned.findLastIndex(({ length }) => length > 0),
      )
    : batches.findIndex(([output]) => !plan.outputs[output!]!.check)
  const digested = part && new Set([...part.digested].flatMap((file) => things.contentOf(file) ?? []))
  for (const [batch, outputs] of batches.entries()) {
    const pieces = owned[batch]!
    // The lineage of the first output that is published has the digests of all files.
    const seen = new Set([...phases.flatMap((phase) => phase.pieces), ...pieces].flatMap((piece) => piece.things))
    const unread =
      digests && batch === first ? all.filter((thing) => !seen.has(thing) && digested?.has(thing) !== false) : []
    phases.push({
      phase: { kind: 'batch', outputs, first: batch === first },
      pieces: [...pieces, ...unread.map((thing) => ({ things: [thing], tensors: [] }))],
    })
  }
  return phases
}

/** Passes over the tensors of a scope, which add numbers up. Tensors that need the same files are one piece. */
function scopePhases(plan: Plan, need: Need, reads: (expr: Expr) => readonly number[]): PhasePieces[] {
  const scope = plan.scopes[need.index]!
  const pieces = new Map<string, { things: readonly number[]; tensors: TensorPlace[]; scoped: number[] }>()
  for (const [index, { expr }] of scope.tensors.entries()) {
    const things = reads(expr)
    const piece = pieces.get(things.join()) ?? { things, tensors: [], scoped: [] }
    pieces.set(things.join(), piece)
    piece.scoped.push(index)
  }
  return scopeReduces(plan, scope).map((_, pass) => ({
    phase: { kind: 'shared', need, pass },
    pieces: [...pieces.values()],
  }))
}

const needOf = (id: string): Need => {
  const [kind, index] = id.split(' ') as [Need['kind'], string]
  return { kind, index: Number(index) }
}

function piecesOf(
  plan: Plan,
  things: Things,
  outputs: readonly number[],
  reads: (expr: Expr) => readonly number[],
  { part }: FlowOptions,
): Piece[] {
  const pieces = new Map<string, { things: readonly number[]; tensors: TensorPlace[] }>()
  for (const output of outputs)
    for (const [tensor, { expr, placements }] of plan.outputs[output]!.tensors.entries()) {
      if (part && !part.owns(output, tensor)) continue
      const written = placements.flatMap(({ file }) => things.writtenOf(output, file) ?? [])
      const needed = written.length === 0 ? reads(expr) : union([reads(expr), written])
      const key = needed.join()
      const piece = pieces.get(key) ?? { things: needed, tensors: [] }
      pieces.set(key, piece)
      piece.tensors.push({ output, tensor })
    }
  return [...pieces.values()]
}

/** A function that lists the contents that an expression reads, ascending. Parts that several expressions share are visited once. */
function readerOf(plan: Plan, { contentOf }: Things): (expr: Expr) => readonly number[] {
  const known = new WeakMap<Expr, readonly number[]>()
  const byStep = new Map<string, () => readonly number[]>()
  const own = (part: Expr): readonly number[] => {
    if (part.kind === 'read') return storedOf(part.view).flatMap(({ file }) => contentOf(file) ?? [])
    // It may read what its analysis read.
    return part.kind === 'computed' ? byStep.get(part.step)!() : []
  }
  const reads = (expr: Expr): readonly number[] => {
    const found = known.get(expr) ?? union(partsOf([expr]).map(own))
    known.set(expr, found)
    return found
  }
  for (const analysis of plan.analyses) {
    let found: readonly number[] | undefined
    const all = () => (found ??= union(tensorsOf(analysis).map(({ expr }) => reads(expr))))
    for (const step of analysis.steps) byStep.set(step, all)
  }
  return reads
}

const union = (lists: readonly (readonly number[])[]): number[] => [...new Set(lists.flat())].sort((a, b) => a - b)
