/**
 * Joint alignment of several models onto the first. Every model gets permutations into a common order, so that the permutations
 * between models are cycle-consistent.
 *
 * merge-many: Git Re-Basin (arXiv 2209.04836), algorithm 3: each model in turn is matched to the sum of the others, until no
 * model gains. c2m3: Frank-Wolfe on all models' permutations at once (arXiv 2405.17897): the gradient's assignments are
 * averaged in by a line search, the end is rounded to permutations, and merge-many goes on from there.
 * Both maximise Σ_{p<q} ⟨P_p W_p, P_q W_q⟩, so c2m3 keeps the better of its own result and that of merge-many.
 */
import { sharedFloats } from '../core/collections/sharedArrays.js'
import { axisMaps, compose, gather, identity, invert, type Permutations, rootGroups } from './apply.js'
import { estimate } from './estimate.js'
import { improved, type MatchOptions, sweepsOf, weightMatching } from './match.js'
import { shuffled } from './order.js'
import { matchingScore, type ScoreOptions } from './score.js'
import { gradients, mix, permuted, type Soft, type SoftTensor, softTensors } from './soft.js'
import type { Spec } from './spec.js'
import type { ThreadTeam } from './team/team.js'
import { createWeights, type TensorSource, type WeightsBudget } from './weights.js'

export interface JointResult {
  /** By model, onto the first model. Those of the first are the identity. */
  readonly permutations: readonly Permutations[]
  /** Σ over pairs of models of ⟨A, B⟩ over the spec's tensors. */
  readonly scoreBefore: number
  readonly scoreAfter: number
  readonly rounds: number
}

export interface JointOptions extends Omit<MatchOptions, 'onProgress'> {
  readonly onProgress?: (progress: JointProgress) => void
}

export interface JointProgress {
  readonly text: string
  /** The share of the whole matching that is done. Estimated: the number of rounds is not known. It never falls. */
  readonly fraction: number
  /** Cosine over all pairs of models. Absent before the first round. */
  readonly similarity?: number
}

type Tell = (progress: JointProgress) => void

/** A stage of the work tells its own fractions. `from` and `to`: its place in the whole. */
const stage = (tell: Tell | undefined, from: number, to: number): Tell | undefined =>
  tell && ((progress) => tell({ ...progress, fraction: from + (to - from) * progress.fraction }))

/** Where the stages of the joint matchings end, as shares of their usual work. */
const CHAIN_ENDS = 0.35
const [MANY_ENDS, SOFT_ENDS] = [0.4, 0.8]
/** So many rounds of merge-many are usual, and so many steps of Frank-Wolfe. */
const [USUAL_ROUNDS, USUAL_STEPS] = [3, 12]

/** Options without those that are undefined. */
const given = <T extends { readonly onProgress?: unknown }>({ onProgress, ...rest }: T) =>
  (onProgress === undefined ? rest : { ...rest, onProgress }) as { [K in keyof T]: Exclude<T[K], undefined> }

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

interface Scorer {
  /** Σ over pairs. */
  readonly scoreOf: (perms: readonly Permutations[]) => Promise<number>
  /** The largest possible score: Σ over pairs of the products of norms. */
  readonly most: number
}

/** Computes Σ over pairs for permutations from the square of the sum of all models, so that no pair is read twice. */
async function jointScorer(spec: Spec, models: readonly TensorSource[], how: ScoreOptions): Promise<Scorer> {
  const squares: number[] = []
  for (const model of models) squares.push(await matchingScore(spec, model, model, identity(spec), how))
  const own = squares.reduce((sum, square) => sum + square, 0)
  const scoreOf = async (perms: readonly Permutations[]) => {
    const sum = combined(
      spec,
      models,
      perms,
      models.map(() => 1),
    )
    return ((await matchingScore(spec, sum, sum, identity(spec), how)) - own) / 2
  }
  return { scoreOf, most: productsOfNorms(squares) }
}

/** Σ over pairs of the products of norms, from their squares. */
function productsOfNorms(squares: readonly number[]): number {
  const norms = squares.map(Math.sqrt)
  return norms.reduce((sum, norm, p) => sum + norm * norms.slice(0, p).reduce((rest, other) => rest + other, 0), 0)
}

/** For people. */
const cosine = (score: number, most: number) => (most > 0 ? { similarity: score / most } : {})

const scoring = (team: ThreadTeam, { budget }: JointOptions): ScoreOptions => ({ team, ...(budget ? { budget } : {}) })

export async function mergeMany(
  spec: Spec,
  models: readonly TensorSource[],
  team: ThreadTeam,
  options: JointOptions = {},
): Promise<JointResult> {
  const { onProgress: tell, ...matching } = options
  const start = models.map(() => identity(spec))
  // The loop starts from a chain of matchings, each to the sum of the models before it.
  const perms: Permutations[] = [start[0]!]
  for (let k = 1; k < models.length; k++) {
    const before = combined(
      spec,
      models.slice(0, k),
      perms,
      perms.map(() => 1),
    )
    const [from, to] = [k - 1, k].map((place) => (CHAIN_ENDS * place) / (models.length - 1)) as [number, number]
    const own = stage(tell, from, to)
    const onProgress = own && chainProgress(own, `model ${k + 1} of ${models.length}`)
    const found = await weightMatching(spec, before, models[k]!, team, given({ ...matching, onProgress }))
    perms.push(found.permutations)
  }
  const scorer = await jointScorer(spec, models, scoring(team, options))
  const scoreBefore = await scorer.scoreOf(start)
  const own = stage(tell, CHAIN_ENDS, 1)
  return { ...(await climb(spec, models, perms, team, given({ ...matching, onProgress: own }), scorer)), scoreBefore }
}

const chainProgress =
  (tell: Tell, text: string): NonNullable<MatchOptions['onProgress']> =>
  ({ iteration, fraction }) =>
    tell({ text: `first order, ${text}, sweep ${iteration}`, fraction })

/** A relative gain below this is float32 noise. */
const GAIN = 1e-7

/** Of what one model may keep, what each of several may. */
const shareOf = (budget: WeightsBudget | undefined, count: number): WeightsBudget | undefined =>
  budget && { ...budget, kept: budget.kept / count }

/** Matches each model to the sum of the others, from permutations that stand, until a whole round gains nothing. */
async function climb(
  spec: Spec,
  models: readonly TensorSource[],
  start: readonly Permutations[],
  team: ThreadTeam,
  { onProgress: tell, ...options }: JointOptions,
  { scoreOf, most }: Scorer,
): Promise<Omit<JointResult, 'scoreBefore'>> {
  const perms = [...start]
  const own = models.map((model) => createWeights(model, shareOf(options.budget, models.length)))
  let score = await scoreOf(perms)
  let rounds = 0
  const progress = estimate(USUAL_ROUNDS)
  for (let gained = true; gained && rounds < (options.maxIterations ?? 100); rounds++) {
    gained = false
    const order = shuffled(
      models.map((_, k) => k),
      options.seed ?? 0,
      1 << 20,
      rounds,
    )
    for (const [turn, k] of order.entries()) {
      const told = (done: number, more = '') => {
        const text = `round ${rounds + 1}, model ${k + 1} of ${models.length}${more}`
        tell?.({ text, fraction: progress.at(rounds + (turn + done) / models.length), ...cosine(score, most) })
      }
      const rest = combined(
        spec,
        models,
        perms,
        models.map((_, other) => (other === k ? 0 : 1)),
      )
      const left = createWeights(rest, options.budget)
      const sweeps = estimate(USUAL_ROUNDS)
      const { permutations, gain } = await improved(spec, left, own[k]!, team, perms[k]!, options, (descent) =>
        told(sweeps.at(sweepsOf(descent)), `, sweep ${descent.iteration}`),
      )
      if (gain > GAIN * Math.abs(score)) {
        gained = true
        perms[k] = permutations
        score += gain
      }
      told(1)
    }
  }
  const home = invert(spec, perms[0]!)
  return { permutations: perms.map((perm) => compose(spec, perm, home)), scoreAfter: await scoreOf(perms), rounds }
}

/** Frank-Wolfe steps at most, and the relative gain below which they end. */
const STEPS = 30
const STEP_GAIN = 5e-3
/** Places that a line search tries. */
const PLACES = 64

/**
 * Starts from the identity, as the paper does; in merge-many's end it would stay.
 * Groups with others inside keep merge-many's permutations while the rest moves.
 */
export async function cycleConsistent(
  spec: Spec,
  models: readonly TensorSource[],
  team: ThreadTeam,
  options: JointOptions = {},
): Promise<JointResult> {
  const { onProgress: tell, ...matching } = options
  const many = await mergeMany(spec, models, team, given({ ...matching, onProgress: stage(tell, 0, MANY_ENDS) }))
  const groups = rootGroups(spec).filter((name) => !Object.values(spec.groups).some(({ inside }) => inside === name))
  const tensors = softTensors(spec, groups, models[0]!.tensors)
  const shapes = models[0]!.tensors
  const soft = (group: string) => groups.includes(group)
  // Groups with others inside are permuted once and for all.
  const own = await Promise.all(
    models.map(({ read }, k) => permuted(spec, (group) => !soft(group), many.permutations[k]!, tensors, shapes, read)),
  )
  /** Every tensor as it is told, or through its matrices. */
  const mixed = async (
    states: readonly Soft[],
    told: (tensor: SoftTensor, k: number) => Float32Array | undefined = () => undefined,
  ): Promise<State> => {
    const all: Map<string, Float32Array>[] = []
    for (const [k, state] of states.entries()) {
      const through = new Map<string, Float32Array>()
      for (const tensor of tensors)
        through.set(tensor.name, told(tensor, k) ?? (await mix(tensor, own[k]!.get(tensor.name)!, state, team)))
      all.push(through)
    }
    return all
  }
  let states: Soft[] = models.map(() =>
    Object.fromEntries(groups.map((name) => [name, matrixOf(identity(spec)[name]!)])),
  )
  let now: State = own
  let score = pairs(now, now)
  const soften = stage(tell, MANY_ENDS, SOFT_ENDS)
  const progress = estimate(USUAL_STEPS)
  const most = productsOfNorms(own.map((tensors) => [...tensors.values()].reduce((sum, x) => sum + dot(x, x), 0)))
  for (let step = 0; step < STEPS; step++) {
    const corners: Permutations[] = []
    for (const k of models.keys()) {
      const slopes = await gradients(tensors, (name) => others(now, name, k), own[k]!, states[k]!, team)
      const ends: Record<string, Int32Array> = {}
      for (const name of groups) ends[name] = (await team.assign(slopes[name]!, spec.groups[name]!.size)).columns
      corners.push(ends)
    }
    const end = await Promise.all(
      corners.map((perms, k) => permuted(spec, soft, perms, tensors, shapes, (name) => own[k]!.get(name)!)),
    )
    const middle = await mixed(states.map((state, k) => between(state, corners[k]!, 0.5)))
    const t = bestPlace(now, middle, end)
    if (t === 0) break
    const moved = states.map((state, k) => between(state, corners[k]!, t))
    const next = await mixed(moved, ({ name, axes }, k) =>
      axes > 2 ? undefined : parabola(t, now[k]!.get(name)!, middle[k]!.get(name)!, end[k]!.get(name)!),
    )
    const reached = pairs(next, next)
    const gained = reached - score
    if (!(gained > 0)) break
    states = moved
    now = next
    score = reached
    soften?.({ text: `step ${step + 1}`, fraction: progress.at(step + 1), ...cosine(score, most) })
    await team.pause()
    if (gained <= STEP_GAIN * Math.abs(score)) break
  }
  const perms: Permutations[] = []
  for (const [k, state] of states.entries()) {
    const rounded: Record<string, Int32Array> = { ...many.permutations[k]! }
    for (const name of groups) rounded[name] = (await team.assign(state[name]!, spec.groups[name]!.size)).columns
    perms.push(rounded)
  }
  const scorer = await jointScorer(spec, models, scoring(team, options))
  const end = given({ ...matching, onProgress: stage(tell, SOFT_ENDS, 1) })
  const climbed = await climb(spec, models, perms, team, end, scorer)
  return climbed.scoreAfter > many.scoreAfter ? { ...climbed, scoreBefore: many.scoreBefore } : many
}

/** Tensors by model, as they are mixed. */
type State = readonly ReadonlyMap<string, Float32Array>[]

/** The sum of all models' tensor but one's. */
function others(state: State, name: string, but: number): Float32Array {
  const sum = sharedFloats(state[0]!.get(name)!.length)
  for (const [k, tensors] of state.entries()) {
    if (k === but) continue
    const values = tensors.get(name)!
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + values[i]!
  }
  return sum
}

/** Σ over pairs of models p < q of ⟨p in one state, q in another⟩, both ways round halved. */
function pairs(one: State, other: State): number {
  let total = 0
  for (const name of one[0]!.keys())
    for (let p = 0; p < one.length; p++)
      for (let q = 0; q < p; q++) {
        total += dot(one[p]!.get(name)!, other[q]!.get(name)!)
        if (one !== other) total += dot(one[q]!.get(name)!, other[p]!.get(name)!)
      }
  return one === other ? total : total / 2
}

function dot(x: Float32Array, y: Float32Array): number {
  let sum = 0
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!
  return sum
}

/** A state on the way to permutations. */
const between = (state: Soft, corner: Permutations, t: number): Soft =>
  Object.fromEntries(
    Object.entries(state).map(([name, matrix]) => {
      const mixture = sharedFloats(matrix.length)
      for (let i = 0; i < matrix.length; i++) mixture[i] = (1 - t) * matrix[i]!
      const { length } = corner[name]!
      for (const [i, from] of corner[name]!.entries()) mixture[i * length + from]! += t
      return [name, mixture]
    }),
  )

/** Lagrange's weights of the places 0, ½ and 1. */
const lagrange = (t: number): [number, number, number] => [(1 - 2 * t) * (1 - t), 4 * t * (1 - t), t * (2 * t - 1)]

/** Where a parabola through three points is at t. */
function parabola(t: number, start: Float32Array, middle: Float32Array, end: Float32Array): Float32Array {
  const [a, b, c] = lagrange(t)
  const out = sharedFloats(start.length)
  for (let i = 0; i < out.length; i++) out[i] = a * start[i]! + b * middle[i]! + c * end[i]!
  return out
}

/** The best place in [0, 1] on the way through three states, at 0, ½ and 1, along which a tensor with matrices on two axes is a parabola. */
function bestPlace(start: State, middle: State, end: State): number {
  const states = [start, middle, end]
  const products = states.map((one, i) => states.map((other, j) => (j < i ? 0 : pairs(one, other))))
  const value = (t: number) => {
    const weights = lagrange(t)
    let sum = 0
    for (let i = 0; i < 3; i++)
      for (let j = i; j < 3; j++) sum += (i === j ? 1 : 2) * weights[i]! * weights[j]! * products[i]![j]!
    return sum
  }
  let best = 0
  for (let place = 1; place <= PLACES; place++) if (value(place / PLACES) > value(best)) best = place / PLACES
  return best
}

function matrixOf(perm: Int32Array): Float32Array {
  const matrix = sharedFloats(perm.length ** 2)
  perm.forEach((from, i) => {
    matrix[i * perm.length + from] = 1
  })
  return matrix
}
