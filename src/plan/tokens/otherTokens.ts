/**
 * Warns if a merge combines embeddings or heads row by row although the tokenizers have different tokens for the same
 * rows.
 */

import type { Checkpoint } from '../../checkpoints/types.js'
import { Fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { leavesOf } from '../../expr/cost.js'
import type { Faults } from '../../language/faults.js'
import { hasRows } from '../../networks/tied.js'
import type { Recipe } from '../../recipe/types.js'
import type { Tokenizers } from '../../tokenizers/opened.js'
import { VOCABULARY_FILES } from '../../tokenizers/read.js'
import type { TokenizerFiles } from '../../tokenizers/types.js'
import { mainStored } from '../../views/stored.js'
import { cutBy, donorsOf } from '../origins.js'
import type { PlanOutput } from '../types.js'

/** The number of rows that a warning shows. */
const SHOWN = 3

/** Files that decide the token ids of a vocabulary. */
const DECIDING = [...VOCABULARY_FILES, 'added_tokens.json', 'tokenizer_config.json', 'special_tokens_map.json']

/**
 * Models to compare if a recipe does not set `tokenizer`: those with a vocabulary and embeddings or heads. Empty if
 * there are fewer than two.
 */
function comparedModels(recipe: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): string[] {
  const found = [...checkpoints].flatMap(([name, { tensors, sidecars }]) =>
    recipe.models.get(name)?.companion === undefined &&
    VOCABULARY_FILES.some((file) => sidecars.includes(file)) &&
    [...tensors.keys()].some(hasRows)
      ? [name]
      : [],
  )
  return found.length > 1 ? found : []
}

/**
 * Warning `other-tokens`: the merge combines rows of two models that have different tokens. Rows for which one of the
 * tokenizers has no token do not count. Vocabularies that terge cannot read are not compared.
 */
export function warnOfOtherTokens(
  recipe: Recipe,
  outputs: readonly PlanOutput[],
  modelOf: (file: number) => string,
  originOf: (from: string) => string,
  tokenizers: Tokenizers,
  faults: Faults,
): void {
  const donors = new Set(donorsOf(recipe))
  const pairs = new Map<string, { base: string; other: string; tensor: string; rows: number }>()
  for (const { from, tensors } of outputs)
    for (const { name, expr, shape } of tensors) {
      if (!hasRows(name) || expr.kind === 'read') continue
      const names = leavesOf(expr).map(({ view }) => modelOf(mainStored(view).file))
      const models = [
        ...new Set(names.filter((name) => recipe.models.get(name)?.companion === undefined && !donors.has(name))),
      ]
      const origin = originOf(from)
      const base = models.includes(origin) ? origin : models[0]
      if (base === undefined) continue
      const [rows = 0] = (expr.kind === 'crop' ? expr.merge.shape : undefined) ?? shape
      for (const other of models)
        if (other !== base) pairs.set(JSON.stringify([base, other]), { base, other, tensor: name, rows })
    }
  const read = vocabularies(tokenizers)
  for (const { base, other, tensor, rows } of pairs.values()) {
    const [own, theirs] = [read(base), read(other)]
    if (!own || !theirs || own === theirs) continue
    const found = differing(own, theirs, rows)
    if (found.count === 0) continue
    const shown = found.first.map(([id, a, b]) => `row ${id} is ${quote(a)} in ${base} and ${quote(b)} in ${other}`)
    faults.warn(
      'other-tokens',
      `${base} and ${other} have different tokens in ${found.count} of the ${plural(rows, 'row')} of ${tensor}, which are merged row by row: ${shown.join('; ')}`,
      recipe.placeOf(recipe.models.get(other)?.at ?? [], 'key'),
      'write tokenizer: base or tokenizer: union to merge rows token by token',
      base,
    )
  }
}

/**
 * Looks up a model's token ids. Equal sets of files are read once. Undefined if the model has no vocabulary or it
 * cannot be read.
 */
function vocabularies({ files, of }: Tokenizers) {
  const known: { texts: TokenizerFiles; ids: ReadonlyMap<string, number> | undefined }[] = []
  return (model: string): ReadonlyMap<string, number> | undefined => {
    const texts = files.get(model)
    if (!texts) return undefined
    const before = known.find(({ texts: other }) => DECIDING.every((name) => texts[name] === other[name]))
    if (before) return before.ids
    let ids: ReadonlyMap<string, number> | undefined
    try {
      ids = of(model)?.ids
    } catch (error) {
      if (!(error instanceof Fault)) throw error
    }
    known.push({ texts, ids })
    return ids
  }
}

type Difference = readonly [id: number, own: string, theirs: string]

/** Rows for which both models have tokens, but no common token. */
function differing(
  own: ReadonlyMap<string, number>,
  theirs: ReadonlyMap<string, number>,
  rows: number,
): { count: number; first: readonly Difference[] } {
  const byId = new Map<number, string>()
  for (const [token, id] of own) if (id < rows && !byId.has(id)) byId.set(id, token)
  const other = new Map<number, string>()
  const same = new Set<number>()
  for (const [token, id] of theirs) {
    if (!byId.has(id)) continue
    if (own.get(token) === id) same.add(id)
    else if (!other.has(id)) other.set(id, token)
  }
  const found = [...other].filter(([id]) => !same.has(id)).sort(([a], [b]) => a - b)
  return { count: found.length, first: found.slice(0, SHOWN).map(([id, token]) => [id, byId.get(id)!, token]) }
}

/** The models whose tokenizer files planning reads. */
export function tokenizersNeeded(recipe: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): readonly string[] {
  const { tokenizer, chatTemplate } = recipe
  if (tokenizer !== undefined || chatTemplate !== undefined || donorsOf(recipe).length > 0)
    return [...checkpoints.keys()]
  const cut = cutBy(recipe).filter((name) => checkpoints.has(name))
  return [...new Set([...comparedModels(recipe, checkpoints), ...cut])]
}
