/**
 * Joint alignment of several models, onto the first: every model gets permutations into a common order, so that those from any
 * model to any other agree along every way round (cycle-consistent).
 *
 * merge-many: Git Re-Basin (arXiv 2209.04836), algorithm 3: each model in turn is matched to the sum of the others, until no
 * model gains. c2m3: Frank-Wolfe on all models' permutations at once (arXiv 2405.17897): the gradient's assignments are
 * averaged in by a line search, the end is rounded to permutations, and merge-many goes on from there.
 * Both climb Σ_{p<q} ⟨P_p W_p, P_q W_q⟩, so c2m3 keeps the better of its own and merge-many's end.
 */
import { axisMaps, compose, gather, identity, invert, type Permutations, rootGroups } from './apply.js'
import { type MatchOptions, weightMatching } from './match.js'
import { shuffled } from './order.js'
import type { Pool } from './pool.js'
import { matchingScore } from './score.js'
import { gradient, mix, type Soft } from './soft.js'
import { counts, type Spec } from './spec.js'
import type { TensorSource } from './weights.js'

export interface JointResult {
  /** By model, onto the first: the first's are the identity. */
  readonly permutations: readonly Permutations[]
  /** Σ over pairs of models of ⟨A, B⟩ over the spec's tensors. */
  readonly scoreBefore: number
  readonly scoreAfter: number
  readonly rounds: number
}

export interface JointOptions extends MatchOptions {
  readonly onRound?: (progress: { readonly round: number; readonly model: number; readonly score: number }) => void
}

/** Σ wᵢ · (model i, permuted), as a model. */
function combined(
  spec: Spec,
  models: readonly TensorSource[],
  perms: readonly Permutations[],
  weights: readonly number[],
): TensorSource {
  const read = async (name: string) => {
    const { shape } = models[0]!.tensors.get(name)!
    const sum = new Float64Array(shape.reduce((product, n) => product * n, 1))
    for (const [k, model] of models.entries()) {
      const weight = weights[k]!
      if (weight === 0) continue
      const values = gather(Float32Array.from(await model.read(name)), shape, axisMaps(spec, perms[k]!, name, shape))
      for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + weight * values[i]!
    }
    return Float32Array.from(sum)
  }
  return { tensors: models[0]!.tensors, read }
}

/** Σ over pairs, from the square of the sum of all models: no pair is read twice. */
async function jointScore(
  spec: Spec,
  models: readonly TensorSource[],
  perms: readonly Permutations[],
): Promise<number> {
  const sum = combined(
    spec,
    models,
    perms,
    models.map(() => 1),
  )
  let squares = await matchingScore(spec, sum, sum, identity(spec))
  for (const model of models) squares -= await matchingScore(spec, model, model, identity(spec))
  return squares / 2
}

export async function mergeMany(
  spec: Spec,
  models: readonly TensorSource[],
  pool: Pool,
  options: JointOptions = {},
): Promise<JointResult> {
  const start = models.map(() => identity(spec))
  // A chain of pairwise matchings, each to the sum of those before it, is where the loop starts from.
  const perms: Permutations[] = [start[0]!]
  for (let k = 1; k < models.length; k++) {
    const before = combined(
      spec,
      models.slice(0, k),
      perms,
      perms.map(() => 1),
    )
    perms.push((await weightMatching(spec, before, models[k]!, pool, options)).permutations)
  }
  const scoreBefore = await jointScore(spec, models, start)
  return { ...(await climb(spec, models, perms, pool, options)), scoreBefore }
}

/** A relative gain below this is float32 noise. */
const GAIN = 1e-7

/** Matches each model to the sum of the others, from permutations that stand, until a whole round gains nothing. */
async function climb(
  spec: Spec,
  models: readonly TensorSource[],
  start: readonly Permutations[],
  pool: Pool,
  options: JointOptions,
): Promise<Omit<JointResult, 'scoreBefore'>> {
  const perms = [...start]
  let score = await jointScore(spec, models, perms)
  let rounds = 0
  for (let gained = true; gained && rounds < (options.maxIterations ?? 100); rounds++) {
    gained = false
    const order = shuffled(
      models.map((_, k) => k),
      options.seed ?? 0,
      1 << 20,
      rounds,
    )
    for (const k of order) {
      const rest = combined(
        spec,
        models,
        perms,
        models.map((_, other) => (other === k ? 0 : 1)),
      )
      const found = await weightMatching(spec, rest, models[k]!, pool, { ...options, start: perms[k]!, restarts: 1 })
      const before = perms[k]!
      perms[k] = found.permutations
      const next = await jointScore(spec, models, perms)
      if (next > score + GAIN * Math.abs(score)) {
        gained = true
        score = next
      } else perms[k] = before
      options.onRound?.({ round: rounds + 1, model: k, score })
    }
  }
  const home = invert(spec, perms[0]!)
  return { permutations: perms.map((perm) => compose(spec, perm, home)), scoreAfter: score, rounds }
}

/** Frank-Wolfe steps at most, and the relative gain below which they end. */
const STEPS = 30
const STEP_GAIN = 1e-3

/**
 * Starts from the identity, as the paper does; in merge-many's end it would stay.
 * Groups with others inside keep merge-many's permutations while the rest moves.
 */
export async function cycleConsistent(
  spec: Spec,
  models: readonly TensorSource[],
  pool: Pool,
  options: JointOptions = {},
): Promise<JointResult> {
  const many = await mergeMany(spec, models, pool, options)
  const groups = rootGroups(spec).filter((name) => !Object.values(spec.groups).some(({ inside }) => inside === name))
  let soft: Soft[] = models.map(() => Object.fromEntries(groups.map((name) => [name, matrixOf(identity(spec)[name]!)])))
  const names = [...new Set(spec.parts.filter(counts).map(({ tensor }) => tensor))]
  const mixed = async (state: readonly Soft[]): Promise<Map<string, Float32Array>[]> =>
    Promise.all(
      models.map(async (model, k) => {
        const tensors = new Map<string, Float32Array>()
        for (const name of names)
          tensors.set(
            name,
            mix(spec, await model.read(name), model.tensors.get(name)!.shape, name, state[k]!, many.permutations[k]!),
          )
        return tensors
      }),
    )
  const value = (state: readonly Map<string, Float32Array>[]): number => {
    let total = 0
    for (const name of names)
      for (let p = 0; p < state.length; p++)
        for (let q = 0; q < p; q++) {
          const [x, y] = [state[p]!.get(name)!, state[q]!.get(name)!]
          for (let i = 0; i < x.length; i++) total += x[i]! * y[i]!
        }
    return total
  }
  let now = await mixed(soft)
  let score = value(now)
  for (let step = 0; step < STEPS; step++) {
    const corner: Soft[] = []
    for (const [k, model] of models.entries()) {
      const rest: TensorSource = {
        tensors: model.tensors,
        read: (name) =>
          now[0]!
            .get(name)!
            .map((_, i) => now.reduce((sum, tensors, q) => sum + (q === k ? 0 : tensors.get(name)![i]!), 0)),
      }
      const ends: Record<string, Float64Array> = {}
      for (const name of groups) {
        const slope = await gradient(spec, name, rest, model, soft[k]!, many.permutations[k]!, pool)
        ends[name] = matrixOf((await pool.assign(slope, spec.groups[name]!.size)).columns)
      }
      corner.push(ends)
    }
    const between = (t: number): Soft[] =>
      soft.map((state, k) =>
        Object.fromEntries(
          groups.map((name) => [name, state[name]!.map((x, i) => x + t * (corner[k]![name]![i]! - x))]),
        ),
      )
    let best = { t: 0, score, state: now }
    for (const t of [0.125, 0.25, 0.5, 0.75, 1]) {
      const state = await mixed(between(t))
      const reached = value(state)
      if (reached > best.score) best = { t, score: reached, state }
    }
    const gained = best.score - score
    if (best.t > 0) {
      soft = between(best.t)
      now = best.state
      score = best.score
    }
    if (gained <= STEP_GAIN * Math.abs(score)) break
  }
  const perms: Permutations[] = []
  for (const [k, state] of soft.entries()) {
    const rounded: Record<string, Int32Array> = { ...many.permutations[k]! }
    for (const name of groups)
      rounded[name] = pool.linalg.assign(Float32Array.from(state[name]!), spec.groups[name]!.size).columns
    perms.push(rounded)
  }
  const own = await climb(spec, models, perms, pool, options)
  return own.scoreAfter > many.scoreAfter ? { ...own, scoreBefore: many.scoreBefore } : many
}

function matrixOf(perm: Int32Array): Float64Array {
  const matrix = new Float64Array(perm.length ** 2)
  perm.forEach((from, i) => {
    matrix[i * perm.length + from] = 1
  })
  return matrix
}
