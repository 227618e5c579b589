/** `NAME.trials.jsonl` (schemas/trials.v1.schema.json): a line about the search, then one line per trial. */

import { recordOf } from '../../core/collections/ownValue.js'
import { fault } from '../../core/diagnostics.js'
import { sha256 } from '../../core/digest.js'
import { Bad, bad, type Json, natural, number, type Read, record, text } from '../../core/json/shape.js'
import { isObject } from '../../core/json/text.js'
import type { Dimension, SearchValue } from '../../recipe/search/types.js'
import type { Trial } from '../../search/types.js'

/** What a search is. A resumed search must have the same. */
export interface SearchIdentity {
  /** The recipe without its search, with null for the values that vary. */
  readonly recipe: Json
  /** Digests of the models by name, and of the small files that outputs copy. */
  readonly inputs: Json
  /** Parameters, objective, method and seed. */
  readonly search: Json
}

export interface TrialsHead extends SearchIdentity {
  readonly trials: 1
  /** The version of terge that began the search. */
  readonly terge: string
  /** `sha256:…` of the identity as JSON. */
  readonly digest: string
}

export const identityDigest = ({ recipe, inputs, search }: SearchIdentity): string =>
  sha256(JSON.stringify({ recipe, inputs, search }))

export const headLine = (head: TrialsHead): string => `${JSON.stringify(head)}\n`

/** A trial as one line: its values by their paths. */
export const trialLine = (trial: Trial, dimensions: readonly Dimension[]): string =>
  `${JSON.stringify(trialData(trial, dimensions))}\n`

/** A trial as plain data. */
export interface TrialData {
  readonly trial: number
  readonly batch: number
  readonly state: Trial['state']
  readonly score?: number
  readonly parameters: Readonly<Record<string, SearchValue>>
  readonly metrics: Readonly<Record<string, number>>
  readonly seconds: number
  readonly digest?: string
  readonly reason?: string
}

/** The values of a point by their paths. */
export const parametersOf = (point: Trial['point'], dimensions: readonly Dimension[]): TrialData['parameters'] =>
  recordOf(dimensions.map(({ path }, at) => [path, point[at]!]))

export function trialData(
  { index, batch, point, state, score, values, seconds, digest, reason }: Trial,
  dimensions: readonly Dimension[],
): TrialData {
  return {
    ...{ trial: index, batch, state },
    ...(score === undefined ? {} : { score }),
    parameters: parametersOf(point, dimensions),
    metrics: values,
    seconds: Math.round(seconds * 1000) / 1000,
    ...(digest === undefined ? {} : { digest }),
    ...(reason === undefined ? {} : { reason }),
  }
}

const scalar: Read<SearchValue> = (value, at) =>
  typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
    ? value
    : bad(at, 'a number, a string, true or false')
const state: Read<Trial['state']> = (value, at) =>
  value === 'done' || value === 'failed' ? value : bad(at, 'done or failed')

const required = {
  ...{ trial: natural, batch: natural, state, parameters: record(scalar), metrics: record(number), seconds: number },
}

function readTrial(value: unknown, dimensions: readonly Dimension[]): Trial {
  if (!isObject(value)) return bad('', 'an object')
  const field = <T>(key: string, read: Read<T>): T => read(value[key], `.${key}`, 0)
  const maybe = <T>(key: string, read: Read<T>): T | undefined =>
    value[key] === undefined ? undefined : field(key, read)
  const parameters = field('parameters', required.parameters)
  const [score, digest, reason] = [maybe('score', number), maybe('digest', text), maybe('reason', text)]
  const outcome = field('state', required.state)
  if ((outcome === 'done') !== (score !== undefined))
    return bad('.score', 'there for trials that are done, and only for them')
  return {
    index: field('trial', required.trial),
    batch: field('batch', required.batch),
    point: dimensions.map(({ path }) =>
      Object.hasOwn(parameters, path) ? parameters[path]! : bad('.parameters', `an object with ${path}`),
    ),
    state: outcome,
    values: field('metrics', required.metrics),
    seconds: field('seconds', required.seconds),
    ...(score === undefined ? {} : { score }),
    ...(digest === undefined ? {} : { digest }),
    ...(reason === undefined ? {} : { reason }),
  }
}

/** What a file has: its first line, its trials, and how many of its bytes are whole lines. */
export interface FoundTrials {
  readonly head: TrialsHead
  readonly trials: (dimensions: readonly Dimension[]) => readonly Trial[]
  readonly whole: number
}

/**
 * Reads a file of trials. A last line without its end was cut off by a kill and does not count. Undefined: not even the first line is
 * whole. Error: `bad-trials`.
 */
export function parseTrials(name: string, content: string): FoundTrials | undefined {
  const end = content.lastIndexOf('\n') + 1
  const lines = content.slice(0, end).split('\n').slice(0, -1)
  const [first, ...rest] = lines
  if (first === undefined) return undefined
  const damaged = (line: number, what: string) =>
    fault('bad-trials', `${name}:${line}: ${what}`, 'remove the file, or the line, or begin again with --force')
  const parse = <T>(line: string, number: number, read: (value: unknown) => T): T => {
    try {
      return read(JSON.parse(line))
    } catch (error) {
      if (error instanceof Bad) throw damaged(number, error.describe('the line'))
      if (error instanceof SyntaxError) throw damaged(number, 'the line is not JSON')
      throw error
    }
  }
  const head = parse(first, 1, readHead)
  if (head.digest !== identityDigest(head)) throw damaged(1, 'the digest of the search is not that of the line')
  const trials = (dimensions: readonly Dimension[]): readonly Trial[] => {
    const found = rest.map((line, at) => parse(line, at + 2, (value) => readTrial(value, dimensions)))
    const seen = new Set<number>()
    for (const [at, { index }] of found.entries()) {
      if (seen.has(index)) throw damaged(at + 2, `trial ${index} is there twice`)
      seen.add(index)
    }
    return found.sort((a, b) => a.index - b.index)
  }
  return { head, trials, whole: Buffer.byteLength(content.slice(0, end)) }
}

function readHead(value: unknown): TrialsHead {
  if (!isObject(value)) return bad('', 'an object')
  if (value.trials !== 1) return bad('.trials', '1, the version of this format')
  const json = (key: string): Json => (isObject(value[key]) ? (value[key] as Json) : bad(`.${key}`, 'an object'))
  return {
    trials: 1,
    terge: text(value.terge, '.terge', 0),
    digest: text(value.digest, '.digest', 0),
    ...{ recipe: json('recipe'), inputs: json('inputs'), search: json('search') },
  }
}
