/** Reads the parameters of a method and checks each against its declaration. */

import { didYouMean, nearest, quote, quotedNumberHint } from '../../core/suggest.js'
import { eitherOf } from '../../core/words.js'
import { type Cursor, entriesOf, get, isMapping, itemsOf, numberOf } from '../../language/cursor.js'
import type { Participant } from '../../language/names.js'
import type { Report } from '../../language/report.js'
import type { Gradient, ParameterValue, Path } from '../../language/types.js'
import { parameterOf } from '../../methods/registry.js'
import type { Method, ParameterSchema } from '../../methods/types.js'
import { isBlocks, numbersIn, readGradient } from './blocks.js'

export type Parameters = ReadonlyMap<string, { readonly value: ParameterValue; readonly at: Path }>

/** Keeps wrong values as known but without a value, so that they are not reported as missing too. */
export function readParameters(
  at: Cursor | undefined,
  method: Method,
  participants: readonly Participant[] | undefined,
  report: Report,
): { readonly parameters: Parameters; readonly wrong: ReadonlySet<string> } {
  const parameters = new Map<string, { value: ParameterValue; at: Path }>()
  const wrong = new Set<string>()
  const known = [...method.parameters.map(({ name }) => name), ...(takesLines(method) ? ['lines'] : [])]
  for (const [written, item] of entriesOf(at)) {
    const name = known.includes(written) ? written : unknownParameter(written, item, method, known, report)
    if (name === undefined) continue
    const schema = parameterOf(method, name)
    const value = schema ? readParameter(item, schema, method, participants, report) : readLines(item, report)
    if (value === undefined) wrong.add(name)
    else if (!parameters.has(name)) parameters.set(name, { value, at: item.path })
  }
  return { parameters, wrong }
}

/** Reports an unknown parameter (`unknown-parameter`), and returns the one that was probably meant. */
function unknownParameter(
  name: string,
  at: Cursor,
  method: Method,
  known: readonly string[],
  report: Report,
): string | undefined {
  const why = method.open?.refusesName(name)
  if (why !== undefined) {
    const hint = 'choose another name'
    report.error('unknown-parameter', `${why}, so no parameter can have it`, at.path, { part: 'key', hint })
    return undefined
  }
  if (name === 'weight' || name === 'weights') {
    const message = `${quote(name)} is not a parameter of ${method.name}`
    const hint = method.weights ? 'write weights next to parameters: weights: {MODEL: 0.5}' : undefined
    report.error('unknown-parameter', message, at.path, { part: 'key', hint })
    return undefined
  }
  const hint = known.length === 0 ? `${method.name} has no parameters` : didYouMean(name, known, 'parameters')
  report.error('unknown-parameter', `${method.name} has no parameter ${quote(name)}`, at.path, { part: 'key', hint })
  return nearest(name, known, 1)[0]
}

function readLines(at: Cursor, report: Report): ParameterValue | undefined {
  const alpha = numberOf(get(at, 'alpha'))
  const beta = numberOf(get(at, 'beta'))
  const extra = entriesOf(at).find(([key]) => key !== 'alpha' && key !== 'beta')
  if (alpha !== undefined && beta !== undefined && !extra) return { kind: 'mapping', value: { alpha, beta } }
  report.error('bad-parameter', "'lines' must be a mapping {alpha: NUMBER, beta: NUMBER}", at.path)
  return undefined
}

function expectedForm({ type, choices, perModel }: ParameterSchema): string {
  const words = choices?.map(String) ?? []
  if (type === 'choice') return eitherOf(words)
  if (type === 'integer') return 'an integer'
  if (type === 'formula') return 'a string such as "mean(x)"'
  if (type === 'boolean') return eitherOf([...new Set(['true', 'false', ...words])])
  const forms = ['a number', 'a gradient (a list of numbers)', ...(perModel ? ['a mapping model → number'] : [])]
  return eitherOf([...forms, ...words])
}

function readParameter(
  at: Cursor,
  schema: ParameterSchema,
  method: Method,
  participants: readonly Participant[] | undefined,
  report: Report,
): ParameterValue | undefined {
  const { name, type, choices } = schema
  const content = at.node.kind === 'scalar' ? at.node.value : undefined
  if ((typeof content === 'string' || typeof content === 'boolean') && choices?.includes(content))
    return { kind: 'scalar', value: content }
  if (type === 'formula' && typeof content === 'string') return { kind: 'scalar', value: content }
  if (type === 'boolean' && typeof content === 'boolean') return { kind: 'scalar', value: content }
  if (type === 'number' && isMapping(at) && schema.perModel && !isBlocks(at))
    return readPerModel(at, schema, method, participants, report)
  const gradient =
    type === 'number' || (type === 'integer' && Number.isSafeInteger(content)) ? readGradient(at, report) : undefined
  if (gradient) return inBounds(at, schema, report) ? { kind: 'gradient', value: gradient } : undefined
  if (type === 'number' && isBlocks(at)) return undefined

  const known = (choices ?? []).filter((choice) => typeof choice === 'string')
  const words = typeof content === 'string' && known.length > 0 ? didYouMean(content, known, 'words') : undefined
  const message = `${quote(name)} of ${method.name} must be ${expectedForm(schema)}`
  const culprit = type === 'number' ? itemsOf(at).find((item) => numberOf(item) === undefined) : undefined
  const quoted = type === 'number' || type === 'integer' ? hintOf(culprit ?? at) : undefined
  report.error('bad-parameter', message, culprit?.path ?? at.path, { hint: quoted ?? words })
  return undefined
}

const hintOf = ({ node }: Cursor): string | undefined =>
  node.kind === 'scalar' ? quotedNumberHint(node.value) : undefined

function inBounds(at: Cursor, { name, minimum, maximum }: ParameterSchema, report: Report): boolean {
  const all = at.node.kind === 'list' ? itemsOf(at) : isBlocks(at) ? numbersIn(at) : [at]
  const outside = all.find((item) => {
    const value = numberOf(item) ?? 0
    return value < (minimum ?? -Infinity) || value > (maximum ?? Infinity)
  })
  if (!outside) return true
  const [low, high] = [minimum !== undefined, maximum !== undefined]
  const range = low && high ? `from ${minimum} to ${maximum}` : low ? `at least ${minimum}` : `at most ${maximum}`
  report.error('bad-parameter', `${quote(name)} must be ${range}`, outside.path)
  return false
}

function readPerModel(
  at: Cursor,
  schema: ParameterSchema,
  method: Method,
  participants: readonly Participant[] | undefined,
  report: Report,
): ParameterValue | undefined {
  const values = new Map<string, Gradient>()
  let sound = true
  for (const [key, item] of entriesOf(at)) {
    const participant = participants && findParticipant(key, item, participants, report)
    const gradient = readGradient(item, report)
    if (!gradient && !isBlocks(item)) {
      const message = `${quote(schema.name)} of ${quote(key)} must be a number or a gradient (a list of numbers)`
      report.error('bad-parameter', message, item.path, { hint: hintOf(item) })
    }
    if (!gradient || !inBounds(item, schema, report)) sound = false
    else if (participant) values.set(participant.name, gradient)
  }
  if (sound && schema.default === undefined && participants) {
    const lacking = participants.filter(({ name }) => !values.has(name)).map(({ written }) => quote(written))
    if (lacking.length > 0) {
      const message = `${quote(schema.name)} of ${method.name} has no default, so every model needs a value: add ${lacking.join(', ')}`
      report.error('missing-parameter', message, at.path, { hint: `add ${lacking[0]}: NUMBER` })
    }
  }
  return sound ? { kind: 'per-model', values } : undefined
}

/** The merged model that a key of a mapping refers to. Error: `not-a-participant`. */
export function findParticipant(
  key: string,
  at: Cursor,
  participants: readonly Participant[],
  report: Report,
): Participant | undefined {
  const found = participants.find(({ written }) => written === key)
  if (found) return found
  const names = participants.map(({ written }) => written)
  const [meant] = nearest(key, names, 1)
  const hint = didYouMean(key, names, 'merged models')
  report.error('not-a-participant', `no merged model is named ${quote(key)}`, at.path, { part: 'key', hint })
  return participants.find(({ written }) => written === meant)
}

/** Task-vector methods accept `lines` in addition to their own parameters. */
export const takesLines = (method: Method): boolean => method.base === 'required' && !method.open
