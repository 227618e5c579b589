/** Which units become one: from a matrix of similarities of all units of a group, those of one model after another. */
import type { ThreadTeam } from '../team/team.js'
import { firstUnit, unitsOf, type ZipGroup } from './network.js'

export interface ZipItSettings {
  /** α: after each merge, the similarities of the merged unit are multiplied by it. */
  readonly penalty: number
  /** β: the share of a model's merges that may be within the model. */
  readonly within: number
}

/**
 * ZipIt (arXiv 2305.03053, §4.3): the two most similar units are merged until `width` are left. The similarity of a merged
 * unit with another one is the lower one of its two units' times α. Of equal pairs, the first is merged. `similarities`
 * is changed.
 */
export function zipUnits(similarities: Float32Array, group: ZipGroup, { penalty, within }: ZipItSettings): Int32Array {
  const n = unitsOf(group)
  const models = group.sizes.length
  /** The only model of a merged unit's units, or -1. */
  const owner = Int32Array.from({ length: n }, (_, i) => modelOf(group, i))
  const into = Int32Array.from({ length: n }, (_, i) => i)
  const alive = new Uint8Array(n).fill(1)
  const [best, partner] = [new Float64Array(n), new Int32Array(n)]
  const budget = new Int32Array(models).fill(Math.floor(((n - group.width) / models) * within + 1e-4))
  const allowed = (i: number, j: number) => owner[i] === -1 || owner[i] !== owner[j] || budget[owner[i]!]! > 0
  let free = false
  const search = (i: number) => {
    best[i] = Number.NEGATIVE_INFINITY
    partner[i] = -1
    for (let j = i + 1; j < n; j++)
      if (alive[j] && similarities[i * n + j]! > best[i]! && (free || allowed(i, j))) {
        best[i] = similarities[i * n + j]!
        partner[i] = j
      }
  }
  const searchAll = () => {
    for (let i = 0; i < n; i++) if (alive[i]) search(i)
  }
  searchAll()
  for (let left = n; left > group.width; ) {
    let i = -1
    for (let row = 0; row < n; row++) if (alive[row] && partner[row]! >= 0 && (i < 0 || best[row]! > best[i]!)) i = row
    if (i < 0) {
      if (free) throw new Error('internal: no pair of units is left')
      // Only pairs within models are left: the width decides.
      free = true
      searchAll()
      continue
    }
    const j = partner[i]!
    left--
    alive[j] = 0
    into[j] = i
    for (let q = 0; q < n; q++) {
      if (!alive[q] || q === i) continue
      const value = Math.min(similarities[i * n + q]!, similarities[j * n + q]!) * penalty
      similarities[i * n + q] = value
      similarities[q * n + i] = value
    }
    const own = owner[i] === owner[j] ? owner[i]! : -1
    owner[i] = own
    if (own >= 0) budget[own] = budget[own]! - 1
    if (own >= 0 && budget[own] === 0) searchAll()
    else for (let q = 0; q <= j; q++) if (alive[q]) update(q, i, j)
  }
  function update(q: number, i: number, j: number): void {
    const value = similarities[q * n + i]!
    if (q === i || partner[q] === i || partner[q] === j) search(q)
    else if (q < i && (value > best[q]! || (value === best[q] && i < partner[q]!)) && (free || allowed(q, i))) {
      best[q] = value
      partner[q] = i
    }
  }
  return numbered(into)
}

/** PLeaS (arXiv 2407.02447): pairs units of two models one to one, and merges the most similar pairs. The others stay. */
export async function matchUnits(similarities: Float32Array, group: ZipGroup, team: ThreadTeam): Promise<Int32Array> {
  const [first, second] = group.sizes as [number, number]
  const n = first + second
  const partners = await partnersOf(similarities, group, 1, team)
  const pairs = [...partners].flatMap((j, i) => (j < 0 ? [] : [{ i, j, value: similarities[i * n + first + j]! }]))
  pairs.sort((x, y) => y.value - x.value || x.i - y.i)
  const into = Int32Array.from({ length: n }, (_, i) => i)
  for (const { i, j } of pairs.slice(0, n - group.width)) into[first + j] = i
  return numbered(into)
}

/** Pairs the units of each model one to one with those of the first. */
export async function pairUnits(similarities: Float32Array, group: ZipGroup, team: ThreadTeam): Promise<Int32Array> {
  const into = Int32Array.from({ length: unitsOf(group) }, (_, i) => i)
  for (let model = 1; model < group.sizes.length; model++) {
    const partners = await partnersOf(similarities, group, model, team)
    for (const [i, j] of partners.entries()) into[firstUnit(group, model) + j] = i
  }
  return numbered(into)
}

/** Below every cosine: an assignment pairs as many units as there are. */
const NOTHING = -4

/** For each unit of the first model the unit of another one, or -1. */
async function partnersOf(
  similarities: Float32Array,
  group: ZipGroup,
  model: number,
  team: ThreadTeam,
): Promise<Int32Array> {
  const n = unitsOf(group)
  const [first, other] = [group.sizes[0]!, group.sizes[model]!]
  const start = firstUnit(group, model)
  const side = Math.max(first, other)
  const scores = new Float32Array(side * side).fill(NOTHING)
  for (let i = 0; i < first; i++)
    for (let j = 0; j < other; j++) scores[i * side + j] = similarities[i * n + start + j]!
  const { columns } = await team.assign(scores, side)
  return columns.slice(0, first).map((j) => (j < other ? j : -1))
}

function modelOf(group: ZipGroup, unit: number): number {
  let model = 0
  while (unit >= firstUnit(group, model + 1)) model++
  return model
}

/** `into`: the unit that each was merged into. New units are in the order of their first units. */
function numbered(into: Int32Array): Int32Array {
  const numbers = new Int32Array(into.length)
  let next = 0
  for (const [i, other] of into.entries()) numbers[i] = other === i ? next++ : numbers[other]!
  return numbers
}

/** The mean similarity of the pairs of units that became one; 1 if there are none. */
export function likeness(similarities: Float32Array, assigned: Int32Array): number {
  const n = assigned.length
  let [sum, pairs] = [0, 0]
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++)
      if (assigned[i] === assigned[j]) {
        sum += similarities[i * n + j]!
        pairs++
      }
  return pairs === 0 ? 1 : sum / pairs
}
