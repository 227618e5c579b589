import type { Assignment } from '../kernels/linalg.js'
import type { Permutations } from './apply.js'
import type { Gram } from './gram.js'
import type { Spec } from './spec.js'
import type { ThreadTeam } from './team/team.js'

export interface Solution {
  /** New permutations of the outer group and of those inside it. */
  readonly perms: Permutations
  /** Similarity of these groups after and before. */
  readonly after: number
  readonly before: number
  /** Where the next assignment of this group starts from. */
  readonly assignment: Assignment
}

/** Rounds between the groups inside one pair of outer units; each round improves or ends. */
const INNER_ROUNDS = 10

/** The best permutation of an outer group for its similarities, the groups inside matched for every pair of its units. */
export async function solveGroup(
  spec: Spec,
  group: string,
  grams: readonly Gram[],
  perms: Permutations,
  team: ThreadTeam,
  warm: Assignment | undefined,
): Promise<Solution> {
  const size = spec.groups[group]!.size
  const children = Object.keys(spec.groups).filter((name) => spec.groups[name]!.inside === group)
  const current = perms[group]!
  if (children.length === 0) {
    const { values } = grams[0]!
    const assignment = await team.assign(values, size, warm && { columns: current, prices: warm.prices })
    const sum = (columns: Int32Array) => columns.reduce((total, j, i) => total + values[i * size + j]!, 0)
    return { perms: { [group]: assignment.columns }, after: sum(assignment.columns), before: sum(current), assignment }
  }
  const scores = new Float32Array(size * size)
  const exact = new Float64Array(size * size)
  const inner: Permutations[] = []
  let before = 0
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const start: Record<string, Int32Array> = {}
      for (const child of children) {
        const n = spec.groups[child]!.size
        start[child] =
          current[i] === j ? perms[child]!.slice(i * n, (i + 1) * n) : Int32Array.from({ length: n }, (_, k) => k)
      }
      if (current[i] === j) before += pairScore(grams, i, j, start)
      const found = matchPair(spec, grams, children, i, j, start, team)
      inner.push(found.perms)
      exact[i * size + j] = found.score
      scores[i * size + j] = found.score
    }
  }
  const assignment = team.linalg.assign(scores, size)
  const result: Record<string, Int32Array> = { [group]: assignment.columns }
  for (const child of children) {
    const n = spec.groups[child]!.size
    const all = new Int32Array(size * n)
    assignment.columns.forEach((j, i) => {
      all.set(inner[i * size + j]![child]!, i * n)
    })
    result[child] = all
  }
  const after = assignment.columns.reduce((total, j, i) => total + exact[i * size + j]!, 0)
  return { perms: result, after, before, assignment }
}

/** Matches the inside of outer unit i of A with that of unit j of B, one group after another until none gains. */
function matchPair(
  spec: Spec,
  grams: readonly Gram[],
  children: readonly string[],
  i: number,
  j: number,
  start: Permutations,
  team: ThreadTeam,
): { score: number; perms: Permutations } {
  const perms: Record<string, Int32Array> = { ...start }
  // Groups with a matrix of their own first: what they find does not depend on where the others start.
  const alone = (child: string) => grams.some(({ names }) => names.length === 2 && names[1] === child)
  const order = [...children.filter(alone), ...children.filter((child) => !alone(child))].filter(
    (child) => spec.groups[child]!.size > 1,
  )
  let score = pairScore(grams, i, j, perms)
  for (let round = 0; round < INNER_ROUNDS; round++) {
    const last = score
    for (const child of order) {
      const n = spec.groups[child]!.size
      const costs = innerScores(grams, child, n, i, j, perms)
      const found = team.linalg.assign(costs, n).columns
      const old = perms[child]!
      perms[child] = found
      const next = pairScore(grams, i, j, perms)
      if (next > score) score = next
      else perms[child] = old
    }
    if (!(score > last) || order.length < 2) break
  }
  return { score, perms }
}

/** Places of A and of B inside a pair of outer units, for the groups of a matrix except `skip`. */
function insidePlaces(gram: Gram, perms: Permutations, skip?: string): { left: number[]; right: number[] } {
  let left = [0]
  let right = [0]
  let stride = gram.size / gram.sizes[0]!
  for (let k = 1; k < gram.names.length; k++) {
    stride /= gram.sizes[k]!
    if (gram.names[k] === skip) continue
    const perm = perms[gram.names[k]!]!
    left = left.flatMap((at) => Array.from(perm, (_, x) => at + x * stride))
    right = right.flatMap((at) => Array.from(perm, (from) => at + from * stride))
  }
  return { left, right }
}

function pairScore(grams: readonly Gram[], i: number, j: number, perms: Permutations): number {
  let sum = 0
  for (const gram of grams) {
    const width = gram.size / gram.sizes[0]!
    const { left, right } = insidePlaces(gram, perms)
    left.forEach((at, k) => {
      sum += gram.values[(i * width + at) * gram.size + j * width + right[k]!]!
    })
  }
  return sum
}

function innerScores(
  grams: readonly Gram[],
  child: string,
  n: number,
  i: number,
  j: number,
  perms: Permutations,
): Float32Array {
  const sums = new Float64Array(n * n)
  for (const gram of grams) {
    const at = gram.names.indexOf(child)
    if (at < 0) continue
    const width = gram.size / gram.sizes[0]!
    const stride = gram.sizes.slice(at + 1).reduce((product, size) => product * size, 1)
    const { left, right } = insidePlaces(gram, perms, child)
    for (let k = 0; k < left.length; k++) {
      for (let x = 0; x < n; x++) {
        const row = (i * width + left[k]! + x * stride) * gram.size + j * width + right[k]!
        for (let y = 0; y < n; y++) sums[x * n + y] = sums[x * n + y]! + gram.values[row + y * stride]!
      }
    }
  }
  return Float32Array.from(sums)
}
