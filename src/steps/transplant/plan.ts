/** Plans a transplant: matches tokens, and says how each tensor with one row per token is made. */
import { Fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { ComputedExpr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Config } from '../../networks/layerCounts.js'
import { EMBEDDING, HEAD, headOf, tiesHead } from '../../networks/tied.js'
import { type TokenRows, tokenRowsOf } from '../../networks/tokenRows.js'
import type { Tokenizer } from '../../tokenizers/types.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { warnOfFloat32 } from '../shared/float32.js'
import type { PlanContext } from '../types.js'
import { type Matched, matchTokens, type Side } from './match.js'
import { piecesOf } from './pieces.js'
import type { DonorRows, GrownTensor, Role, TransplantAnalysis, TransplantStep } from './types.js'

export function planTransplant(step: TransplantStep, context: PlanContext): Value | undefined {
  const { values, analyses, faults, recipe } = context
  const model = values.get(step.model)!
  const [own, given] = [sideOf(step, context, model), sideOf(step, context, values.get(step.donor)!)]
  if (!own || !given) return undefined
  const approximates = step.missing === 'omp' || step.missing === 'nearest'
  const matched = matchTokens(own, given, step.padTo, approximates)
  const { shared, made, rows, runs } = matched
  reportMatches(step, context, matched, given)
  const needsDonor = approximates && made.length > 0
  if (needsDonor && shared.donor.length === 0) {
    faults.error(
      'no-shared-tokens',
      `${step.model} and ${step.donor} have no token in common: ${step.missing} combines rows of tokens that both have`,
      recipe.placeOf(step.at),
      'write missing: subword, which needs no common tokens',
    )
    return undefined
  }
  const parts = needsDonor ? donorRows(step, context, own, given) : []
  const pieces = step.missing === 'subword' ? piecesOf(step, context, own, made) : undefined
  if (!parts || (step.missing === 'subword' && !pieces)) return undefined
  const analysis: TransplantAnalysis = {
    ...{ kind: 'transplant', steps: [step.name], missing: step.missing, k: step.k, shared, runs, rows, parts },
    ...(step.missing === 'nearest' ? { nearestWeights: step.nearestWeights } : {}),
    ...(step.missing === 'subword' ? { subwordWeights: step.subwordWeights } : {}),
    made: made.map(({ id }) => id),
    ...(pieces ? { pieces } : {}),
    grown: grownTensors(own, parts),
    tokens: made.map(({ token }) => token),
  }
  analyses.push(analysis)
  const tensors = grownValues(step, own, values.get(step.donor)!, analysis)
  warnOfFloat32(recipe, step, tensors, faults)
  return {
    ...model,
    name: step.name,
    tensors,
    vocabulary: {
      ...{ first: step.donor, tokenizer: given.tokenizer, rows },
      models: new Map([given, own].map(({ value, tokenizer, rows }) => [value.origin, { tokenizer, rows }])),
    },
  }
}

/** A model with its vocabulary and its tensors with one row per token. */
interface Tokens extends Side, TokenRows {
  readonly value: Value
  readonly config: Config | undefined
  readonly tokenizer: Tokenizer
}

/** Errors: `no-tokenizer`, `bad-tokenizer`, `no-token-rows`, `tensor-mismatch`. */
function sideOf(step: TransplantStep, context: PlanContext, value: Value): Tokens | undefined {
  const { recipe, tokenizers, configOf, faults } = context
  const place = recipe.placeOf(step.at)
  const { origin, name } = value
  const config = configOf(origin)
  const found = value.adapter ? undefined : tokenRowsOf(value, config)
  if (!found) {
    const what = value.adapter ? 'an adapter, which has no embedding of all tokens' : 'without a token embedding'
    const hint = 'name a model with an embedding, such as model.embed_tokens.weight; rename can give it that name'
    faults.error('no-token-rows', `${quote(name)} is ${what}: its vocabulary can't be exchanged`, place, hint)
    return undefined
  }
  const other = [...found.tensors].find((tensor) => !isFloat(value.tensors.get(tensor)!.dtype))
  if (other !== undefined) {
    const message = `${name}: ${other} is ${value.tensors.get(other)!.dtype}: terge can't combine its rows`
    faults.error('tensor-mismatch', message, place, 'convert the model to a floating-point dtype first')
    return undefined
  }
  try {
    const tokenizer = tokenizers.of(origin)
    if (tokenizer) return { ...found, name: origin, value, config, special: tokenizers.special(origin), tokenizer }
    const hint = 'put tokenizer.json, vocab.txt, tokenizer.model, or vocab.json with merges.txt into the model folder'
    faults.error('no-tokenizer', `the model ${quote(origin)} has no tokenizer`, place, hint)
    return undefined
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    for (const { code, message, hint } of error.diagnostics) faults.error(code, message, place, hint)
    return undefined
  }
}

const roleOf = (tensor: string): Role => (EMBEDDING.test(tensor) ? 'embedding' : 'head')

/** Whether a stored head is only a copy of the embedding. */
const isTied = ({ config }: Tokens, name: string): boolean => HEAD.test(name) && tiesHead(config, name)

/** The tensors of the donor that tensors of the model need. Error: `no-token-rows`. */
function donorRows(
  step: TransplantStep,
  { recipe, faults }: PlanContext,
  own: Tokens,
  given: Tokens,
): DonorRows[] | undefined {
  const { value, config } = given
  const within = [...given.tensors].filter((name) => value.tensors.get(name)!.shape.length === 2)
  const stored = headOf(within.map((name) => [name, value.tensors.get(name)!] as const))
  const embedding = within.find((name) => EMBEDDING.test(name)) ?? stored
  const head = stored !== undefined && !isTied(given, stored) ? stored : embedding
  const needed = [...own.tensors].some((name) => roleOf(name) === 'head' && !isTied(own, name))
  const lacks = stored === undefined && config !== undefined && !tiesHead(config)
  if (embedding === undefined || (needed && lacks)) {
    const what = embedding === undefined ? 'a token embedding' : 'a head, and does not tie it to its embedding'
    faults.error(
      'no-token-rows',
      `the model ${quote(step.donor)} has no stored tensor for ${what}`,
      recipe.placeOf(step.at),
      'name the complete model as source',
    )
    return undefined
  }
  const rowsOf = (role: Role, name: string): DonorRows => ({
    role,
    tensor: analysisTensor(name, value.tensors.get(name)!),
  })
  const same = !needed || head === embedding
  return [rowsOf('embedding', embedding), ...(same ? [] : [rowsOf('head', head!)])]
}

/** The model's tensors with one row per token; a head that is tied to the embedding is made like it. */
function grownTensors(own: Tokens, parts: readonly DonorRows[]): GrownTensor[] {
  return [...own.tensors].flatMap((name): GrownTensor[] => {
    if (isTied(own, name) && [...own.tensors].some((other) => EMBEDDING.test(other))) return []
    const head = roleOf(name) === 'head' && !isTied(own, name)
    const part = head ? parts.findIndex(({ role }) => role === 'head') : 0
    return [
      {
        tensor: analysisTensor(name, own.value.tensors.get(name)!),
        role: head ? 'head' : 'embedding',
        part: Math.max(0, part),
      },
    ]
  })
}

/** The model's tensors, those with one row per token as the analysis makes them. */
function grownValues(
  step: TransplantStep,
  own: Tokens,
  donor: Value,
  { grown, parts, rows }: TransplantAnalysis,
): ReadonlyMap<string, ValueTensor> {
  const tensors = new Map(own.value.tensors)
  const exprOf = ({ tensor, part }: GrownTensor): ComputedExpr => {
    const from = parts[part] && donor.tensors.get(parts[part].tensor.name)!.expr
    return {
      ...{ kind: 'computed', step: step.name, tensor: tensor.name, shape: [rows, ...tensor.shape.slice(1)] },
      inputs: [tensor.expr, ...(from ? [from] : [])],
    }
  }
  const made = new Map(grown.map((one) => [one.tensor.name, exprOf(one)]))
  const embedding = grown.find(({ tensor }) => EMBEDDING.test(tensor.name))
  for (const name of own.tensors) {
    const { dtype, shape } = tensors.get(name)!
    const expr = made.get(name) ?? made.get(embedding!.tensor.name)!
    tensors.set(name, { dtype, shape: [rows, ...shape.slice(1)], expr, reason: 'transplanted' })
  }
  return tensors
}

/** Warnings: `dropped-rows`, `tokens-without-rows`, `token-ids`. */
function reportMatches(
  step: TransplantStep,
  { recipe, faults }: PlanContext,
  { dropped, rowless, unnamed }: Matched,
  { tokenizer, name }: Tokens,
): void {
  const place = recipe.placeOf(step.at)
  if (dropped > 0)
    faults.warn(
      'dropped-rows',
      `${name} has ${plural(dropped, 'embedding row')} behind its last token: the result has no ${agree(dropped, 'row for it', 'rows for them')}`,
      place,
      'write pad_to_multiple_of: 64 for another number of rows',
      name,
    )
  const [first] = rowless
  if (first !== undefined)
    faults.warn(
      'tokens-without-rows',
      `${plural(rowless.length, 'token')} of ${name} ${agree(rowless.length, 'has', 'have')} no embedding row to approximate, such as ${quote(first)}: ${agree(rowless.length, 'it gets', 'they get')} the mean of all rows`,
      place,
      undefined,
      name,
    )
  if (unnamed > 0)
    faults.warn(
      'filled-rows',
      `${plural(unnamed, 'row')} of the result ${agree(unnamed, 'has', 'have')} no token: ${agree(unnamed, 'it is', 'they are')} the mean of all rows`,
      place,
      undefined,
      name,
    )
  const [one] = tokenizer.renumbered
  if (one)
    faults.warn(
      'token-ids',
      `${name}: the tokenizers library changes the ids of ${plural(tokenizer.renumbered.length, 'added token')}, such as ${quote(one.content)} from ${one.stated} to ${tokenizer.ids.get(one.content)}; terge uses the ids of the library`,
      place,
      undefined,
      name,
    )
}
