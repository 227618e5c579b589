/** Plans a transplant: matches tokens, and says how each tensor with one row per token is made. */
import { quote } from '../../core/suggest.js'
import { isFloat } from '../../encodings/index.js'
import type { AnalysisTensor, ComputedExpr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { reportFault } from '../../language/faults.js'
import { EMBEDDING, HEAD, headOf, saysTied, tiesHead } from '../../networks/tied.js'
import { tokenRowsOf } from '../../networks/tokenRows.js'
import { noTokenizer } from '../../tokenizers/problems.js'
import { simplify } from '../../views/compose.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { warnOfFloat32 } from '../shared/float32.js'
import type { PlanContext } from '../types.js'
import { matchTokens, type Tokens } from './match.js'
import { piecesOf } from './pieces.js'
import { refuseRows, refusesRows, reportMatches, warnOfOthers, warnOfSame } from './report.js'
import type { DonorRows, GrownTensor, Role, TransplantAnalysis, TransplantStep } from './types.js'

export function planTransplant(step: TransplantStep, context: PlanContext): Value | undefined {
  const { values, analyses, faults, recipe } = context
  const model = values.get(step.model)
  if (!model) return refuseRows(step, context, `${quote(step.model)} makes several models`, 'write one of them first')
  const [own, given] = [sideOf(step, context, model), sideOf(step, context, values.get(step.donor)!)]
  if (!own || !given || refusesRows(step, context, own, given)) return undefined
  const approximates = step.missing === 'omp' || step.missing === 'nearest'
  const matched = matchTokens(own, given, step.padTo, approximates)
  const { shared, made, rows, runs } = matched
  if (own.name === given.name) warnOfSame(step, context, own)
  reportMatches(step, context, matched, given)
  warnOfOthers(step, context, own)
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

/** Errors: `no-tokenizer`, `bad-tokenizer`, `no-token-rows`, `tensor-mismatch`. */
function sideOf(step: TransplantStep, context: PlanContext, value: Value): Tokens | undefined {
  const { recipe, tokenizers, tokenizerOf, configOf, ownHead, faults } = context
  const place = recipe.placeOf(step.at)
  const { origin, name } = value
  const config = configOf(origin)
  const found = value.adapter ? undefined : tokenRowsOf(value, config)
  if (!found) {
    const what = value.adapter ? 'an adapter, which has no embedding of all tokens' : 'without a token embedding'
    const hint = 'name a model with an embedding, such as model.embed_tokens.weight; rename can give it that name'
    return refuseRows(step, context, `${quote(name)} is ${what}: its vocabulary can't be exchanged`, hint)
  }
  const other = [...found.tensors].find((tensor) => !isFloat(value.tensors.get(tensor)!.dtype))
  if (other !== undefined) {
    const message = `${name}: ${other} is ${value.tensors.get(other)!.dtype}: terge can't combine its rows`
    faults.error('tensor-mismatch', message, place, 'convert the model to a floating-point dtype first')
    return undefined
  }
  try {
    const source = tokenizerOf(origin)
    const tokenizer = tokenizers.of(source)
    const own = { name: origin, value, config, head: ownHead(value.tensors) }
    if (tokenizer) return { ...found, ...own, special: tokenizers.special(source), tokenizer }
    return reportFault(faults, noTokenizer(origin), place)
  } catch (error) {
    return reportFault(faults, error, place)
  }
}

/** Whether a stored head is only a copy of the embedding. Without a word of the configuration, it may have rows of its own. */
const isTied = ({ config, head }: Tokens, name: string): boolean =>
  HEAD.test(name) && name !== head && saysTied(config, name)

/** Whether a model has a head with rows of its own. */
const hasOwnHead = (own: Tokens): boolean => [...own.tensors].some((name) => HEAD.test(name) && !isTied(own, name))

/** Biases belong to the head, or to the embedding that is the head. */
const roleOf = (own: Tokens, tensor: string): Role =>
  !EMBEDDING.test(tensor) && hasOwnHead(own) ? 'head' : 'embedding'

/** The tensors of the donor that tensors of the model need. Error: `no-token-rows`. */
function donorRows(step: TransplantStep, context: PlanContext, own: Tokens, given: Tokens): DonorRows[] | undefined {
  const { value, config } = given
  const within = [...given.tensors].filter((name) => value.tensors.get(name)!.shape.length === 2)
  const stored = headOf(within.map((name) => [name, value.tensors.get(name)!] as const))
  const embedding = within.find((name) => EMBEDDING.test(name)) ?? stored
  const head = stored !== undefined && !isTied(given, stored) ? stored : embedding
  const needed = hasOwnHead(own)
  const lacks = stored === undefined && config !== undefined && !tiesHead(config)
  if (embedding === undefined || (needed && lacks)) {
    const what = embedding === undefined ? 'a token embedding' : 'a head, and does not tie it to its embedding'
    const message = `the model ${quote(step.donor)} has no stored tensor for ${what}`
    return refuseRows(step, context, message, 'name the complete model as source')
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
  return [...own.tensors, ...own.columns].flatMap((name): GrownTensor[] => {
    if (isTied(own, name) && [...own.tensors].some((other) => EMBEDDING.test(other))) return []
    const role = roleOf(own, name)
    const part = parts.findIndex((one) => one.role === role)
    const tensor = analysisTensor(name, own.value.tensors.get(name)!)
    return [{ tensor: own.columns.has(name) ? asRows(tensor) : tensor, role, part: Math.max(0, part) }]
  })
}

/** A matrix of one row as a matrix of one column. */
function asRows(tensor: AnalysisTensor): AnalysisTensor {
  const shape = [...tensor.shape].reverse()
  const { expr } = tensor
  if (expr.kind !== 'read') return { ...tensor, shape }
  return { ...tensor, shape, expr: { kind: 'read', view: simplify({ kind: 'reshape', of: expr.view, shape }) } }
}

/** The model's tensors, those with one row per token as the analysis makes them. */
function grownValues(
  step: TransplantStep,
  own: Tokens,
  donor: Value,
  { grown, parts, rows }: TransplantAnalysis,
): ReadonlyMap<string, ValueTensor> {
  const tensors = new Map(own.value.tensors)
  const shapeOf = (name: string): number[] =>
    own.columns.has(name) ? [1, rows] : [rows, ...tensors.get(name)!.shape.slice(1)]
  const exprOf = ({ tensor: { name }, part }: GrownTensor): ComputedExpr => {
    const from = parts[part] && donor.tensors.get(parts[part].tensor.name)!.expr
    const inputs = [tensors.get(name)!.expr, ...(from ? [from] : [])]
    return { kind: 'computed', step: step.name, tensor: name, shape: shapeOf(name), inputs }
  }
  const made = new Map(grown.map((one) => [one.tensor.name, exprOf(one)]))
  const embedding = grown.find(({ tensor }) => EMBEDDING.test(tensor.name))
  for (const name of [...own.tensors, ...own.columns]) {
    const { dtype } = own.value.tensors.get(name)!
    const expr = made.get(name) ?? made.get(embedding!.tensor.name)!
    tensors.set(name, { dtype, shape: shapeOf(name), expr, reason: 'transplanted' })
  }
  return tensors
}
