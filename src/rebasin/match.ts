import type { Assignment } from '../kernels/linalg.js'
import { identity, type Permutations, rootGroups, unitsMoved } from './apply.js'
import { estimate } from './estimate.js'
import { createGrams, type Gram, gramLength, gramSide, updateGrams } from './gram.js'
import { createShelf } from './keptTensors.js'
import { shuffled } from './order.js'
import { type Products, products, scored, similarity, squares } from './score.js'
import { solveGroup } from './solve.js'
import { type AxisPart, counts, rootOf, type Spec } from './spec.js'
import type { ThreadTeam } from './team/team.js'
import { createWeights, type TensorSource, type Weights, type WeightsBudget } from './weights.js'

export interface MatchOptions {
  /** Integer seed for the orders of groups and the restarts. */
  readonly seed?: number
  /** Maximum number of sweeps over all groups. */
  readonly maxIterations?: number
  /** Number of starts from the identity, in different orders. The best is kept. Default: as many as are cheap, 1 to 8. */
  readonly restarts?: number
  readonly onProgress?: (progress: MatchProgress) => void
  /** Start from these permutations instead of the identity. */
  readonly start?: Permutations
  /** Memory for each of the two models. */
  readonly budget?: WeightsBudget
}

export interface MatchProgress extends Descent {
  readonly restarts: number
  /** The share of the whole matching that is done. Estimated: the number of sweeps is not known. It never falls. */
  readonly fraction: number
}

/** How far a coordinate descent is. */
export interface Descent {
  readonly restart: number
  /** Sweep, from 1. */
  readonly iteration: number
  readonly group: string
  /** Place of the group in this sweep, from 1, and groups of the sweep. */
  readonly step: number
  readonly steps: number
  /** Units that moved in this step. */
  readonly moved: number
  /** Σ ⟨A, B⟩ of the permutations so far. Absent in the first sweep, which matches groups by a part of their tensors. */
  readonly score?: number
  /** The same as a cosine, if the norms are known. */
  readonly similarity?: number
}

type Tell = (descent: Descent) => void

export interface MatchResult {
  readonly permutations: Permutations
  /** Σ over the spec's tensors of ⟨A, B⟩, each tensor once, in float64. */
  readonly scoreBefore: number
  readonly scoreAfter: number
  /** The same as cosines: divided by both models' norms over these tensors. */
  readonly similarityBefore: number
  readonly similarityAfter: number
  /** What these are made of, by tensor. */
  readonly compared: Compared
  /** Sweeps of the start that was kept. */
  readonly iterations: number
  readonly restart: number
  readonly unitsMoved: number
}

/** The products of two models, before and after, and of each with itself. */
export interface Compared {
  readonly before: Products
  readonly after: Products
  readonly squaresOfA: Products
  readonly squaresOfB: Products
}

/** Bytes of similarity matrices that are kept between visits of their groups. Affects the bits of sums, so it is part of the result. */
const KEPT = 2 ** 29
/** A relative gain below this is float32 noise. */
const GAIN = 1e-7

/**
 * Weight matching (Git Re-Basin, arXiv 2209.04836, algorithm 1): coordinate descent with one linear assignment per group, until
 * no group improves. The permutations align `b` to `a`. Both must have the spec's tensors in the same shapes.
 */
export async function weightMatching(
  spec: Spec,
  a: TensorSource,
  b: TensorSource,
  team: ThreadTeam,
  options: MatchOptions = {},
): Promise<MatchResult> {
  const [left, right] = [createWeights(a, options.budget), createWeights(b, options.budget)]
  const names = scored(spec)
  const productsOf = (perms: Permutations) => products(spec, left, right, perms, names, team)
  const [squaresOfA, squaresOfB] = [await squares(left, names, team), await squares(right, names, team)]
  const scale = Math.sqrt(squaresOfA.sum) * Math.sqrt(squaresOfB.sum) || 1
  const start = options.start ?? identity(spec)
  const before = await productsOf(identity(spec))
  const restarts = options.restarts ?? cheapRestarts(spec, a)
  let best: MatchResult | undefined
  const progress = estimate()
  for (let restart = 0; restart < restarts; restart++) {
    const { onProgress } = options
    const tell: Tell | undefined =
      onProgress &&
      ((descent) => {
        const cosine = descent.score === undefined ? {} : { similarity: descent.score / scale }
        const fraction = progress.at(sweepsOf(descent), (share) => (restart + share) / restarts)
        onProgress({ ...descent, ...cosine, restarts, fraction })
      })
    const { permutations, iterations } = await descend(spec, left, right, team, start, options, restart, tell)
    progress.ended(iterations)
    const after = await productsOf(permutations)
    if (best && after.sum <= best.scoreAfter) continue
    best = {
      permutations,
      scoreBefore: before.sum,
      scoreAfter: after.sum,
      similarityBefore: before.sum / scale,
      similarityAfter: after.sum / scale,
      compared: { before, after, squaresOfA, squaresOfB },
      iterations,
      restart,
      unitsMoved: unitsMoved(spec, permutations),
    }
  }
  return best!
}

/** Coordinate descent from permutations that stand, and what the similarity of both models gains by it. */
export async function improved(
  spec: Spec,
  a: Weights,
  b: Weights,
  team: ThreadTeam,
  start: Permutations,
  options: MatchOptions,
  tell?: Tell,
): Promise<{ permutations: Permutations; gain: number }> {
  const names = scored(spec)
  const before = await similarity(spec, a, b, start, names, team)
  const { permutations } = await descend(spec, a, b, team, start, { ...options, start }, 0, tell)
  return { permutations, gain: (await similarity(spec, a, b, permutations, names, team)) - before }
}

/** Sweeps that are done. */
export const sweepsOf = ({ iteration, step, steps }: Descent): number => iteration - 1 + step / steps

/** Multiplications of one sweep decide, so that the number of restarts is a function of the spec alone. */
function cheapRestarts(spec: Spec, { tensors }: TensorSource): number {
  let work = 0
  for (const part of spec.parts) {
    const elements = tensors.get(part.tensor)!.shape.reduce((product, n) => product * n, 1)
    work += elements * part.length
  }
  return Math.min(8, Math.max(1, Math.floor(4e9 / work)))
}

/** Groups that change each other's similarities, and groups that stand on two axes of one tensor. */
function neighbours(spec: Spec): { near: Map<string, Set<string>>; twice: Map<string, string[]> } {
  const near = new Map<string, Set<string>>()
  const twice = new Map<string, string[]>()
  for (const name of rootGroups(spec)) near.set(name, new Set())
  for (const one of spec.parts) {
    for (const other of spec.parts) {
      if (one.tensor !== other.tensor || one.axis === other.axis) continue
      near.get(rootOf(one))!.add(rootOf(other))
      if (rootOf(one) === rootOf(other)) {
        const tensors = twice.get(rootOf(one)) ?? []
        if (!tensors.includes(one.tensor)) twice.set(rootOf(one), [...tensors, one.tensor])
      }
    }
  }
  return { near, twice }
}

async function descend(
  spec: Spec,
  a: Weights,
  b: Weights,
  team: ThreadTeam,
  start: Permutations,
  options: MatchOptions,
  restart: number,
  tell?: Tell,
): Promise<{ permutations: Permutations; iterations: number }> {
  const groups = rootGroups(spec)
  const { near, twice } = neighbours(spec)
  let perms: Permutations = start
  const gramsOf = keeper(spec, a.source.tensors, team)
  const warm = new Map<string, Assignment>()
  const dirty = new Set(groups)
  const solved = new Set<string>(options.start ? groups : [])
  const others = (part: AxisPart) =>
    spec.parts.filter((other) => other.tensor === part.tensor && other.axis !== part.axis).map(rootOf)
  const ready = (part: AxisPart) => others(part).every((name) => solved.has(name))
  const anchored = (group: string) =>
    spec.parts.some(
      (part) =>
        rootOf(part) === group && counts(part) && ready(part) && a.source.tensors.get(part.tensor)!.shape.length > 1,
    )
  let iteration = 0
  let score: number | undefined
  while (dirty.size > 0 && iteration < (options.maxIterations ?? 100)) {
    const order = shuffled(groups, options.seed ?? 0, restart, iteration)
    iteration++
    // Gains of the first sweep are of parts of tensors.
    if (tell && iteration === 2) score = await similarity(spec, a, b, perms, scored(spec), team)
    for (let index = 0; index < groups.length; index++) {
      // At first a group is matched by what is settled already, outwards from the network's inputs and outputs.
      const at = iteration === 1 ? Math.max(0, order.findIndex(anchored)) : 0
      const group = order.splice(at, 1)[0]!
      if (!dirty.delete(group)) continue
      const grams = gramsOf(group)
      const first = !solved.has(group) && anchored(group)
      await updateGrams(spec, grams, a, b, perms, team, first ? ready : undefined)
      solved.add(group)
      const found = await solveGroup(spec, group, grams, perms, team, warm.get(group))
      if (spec.groups[group]!.size >= 256) warm.set(group, found.assignment)
      const next = { ...perms, ...found.perms }
      const tensors = twice.get(group)
      // If a group is on two axes of a tensor, the assignment only optimises a linear approximation: check the real gain.
      const over = (perms: Permutations) => similarity(spec, a, b, perms, touched(spec, group), team)
      const gain = tensors ? (await over(next)) - (await over(perms)) : found.after - found.before
      const accepted = gain > GAIN * Math.abs(found.before)
      const moved = accepted
        ? Object.keys(found.perms).reduce((sum, name) => sum + differ(perms[name]!, next[name]!), 0)
        : 0
      if (moved > 0) {
        perms = next
        if (score !== undefined) score += gain
        for (const other of near.get(group)!) dirty.add(other)
      }
      if (first) dirty.add(group)
      const known = score === undefined ? {} : { score }
      tell?.({ restart, iteration, group, step: index + 1, steps: groups.length, moved, ...known })
    }
  }
  return { permutations: perms, iterations: iteration }
}

const touched = (spec: Spec, group: string) => [
  ...new Set(spec.parts.filter((part) => rootOf(part) === group).map(({ tensor }) => tensor)),
]

function differ(one: Int32Array, other: Int32Array): number {
  let count = 0
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) count++
  return count
}

/** Numbers of matrices that a matching holds at once: those of the largest group at least. */
export function matricesLength(spec: Spec): number {
  const lengths = rootGroups(spec).map((group) => gramLength(spec, group))
  const all = lengths.reduce((sum, length) => sum + length, 0)
  return Math.max(Math.min(all, KEPT / 4), ...lengths)
}

/** The largest square of similarities. */
export const largestSquare = (spec: Spec): number =>
  rootGroups(spec).reduce((most, group) => Math.max(most, gramSide(spec, group)), 0)

/** Gives a group's matrices, kept since its last visit or empty; those visited longest ago make room. */
function keeper(spec: Spec, shapes: TensorSource['tensors'], team: ThreadTeam): (group: string) => readonly Gram[] {
  const shelf = createShelf(team.room(matricesLength(spec), largestSquare(spec)))
  const kept = new Map<string, { readonly grams: readonly Gram[]; readonly room: Float32Array }>()
  return (group) => {
    let own = kept.get(group)
    kept.delete(group)
    while (!own) {
      const room = shelf.take(gramLength(spec, group))
      if (room) own = { grams: createGrams(spec, group, shapes, room), room }
      else {
        const [oldest, { room }] = [...kept][0]!
        kept.delete(oldest)
        shelf.give(room)
      }
    }
    kept.set(group, own)
    return own.grams
  }
}
