import { quote } from '../../core/suggest.js'
import { type Cursor, get, has, isMapping, itemsOf, numberOf, textOf } from '../../language/cursor.js'
import type { MergeStep } from '../merge/types.js'
import type { Part, Reading, StepDraft } from '../types.js'
import { readCheck } from './check.js'
import { readGiven } from './given/read.js'
import { readActivations } from './measured/read.js'
import { readRestarts } from './restarts/read.js'
import { readSpec } from './spec/read.js'
import type { GivenPermutations, RebasinStep } from './types.js'

/**
 * A joint alignment has a step NAME.MODEL for each model that moves. The first model does not change. NAME itself is
 * their mean.
 */
export function partsOfAlignment(name: string, at: Cursor): readonly Part[] | undefined {
  if (!has(at, 'models')) return undefined
  return itemsOf(get(at, 'models')).flatMap((item, place) => {
    const model = textOf(item)
    return model === undefined || place === 0 ? [] : [{ name: `${name}.${model}`, place, at: item.path, model }]
  })
}

export function readRebasin(
  { name, at, part }: StepDraft,
  { root, scope, use, uses }: Reading,
): RebasinStep | MergeStep {
  const { report } = scope
  const given = readGiven(at, report)
  const check = readCheck(get(at, 'check'), root, report)
  if (given) return { ...givenStep(name, at, use(get(at, 'model')), given), ...(check ? { check } : {}) }
  const joint = get(at, 'models')
  const method = (textOf(get(at, 'method')) ?? 'weight-matching') as RebasinStep['method']
  for (const key of ['model', 'onto'])
    if (joint && has(at, key)) {
      const hint = 'the models are aligned jointly, onto the first one'
      report.error('contradiction', `rebasin can’t have both models and ${key}`, [...at.path, key], {
        part: 'key',
        hint,
      })
    } else if (!joint && !has(at, key) && isMapping(at))
      report.error('missing-key', `rebasin needs the key ${quote(key)}`, at.path, {
        part: 'key',
        hint: key === 'onto' ? 'write onto: NAME, or permutations: FILE' : `write ${key}: NAME`,
      })
  if (isMapping(at) && joint && method !== 'merge-many' && method !== 'c2m3') {
    const where = get(at, 'method')?.path ?? joint.path
    const hint = 'use method: merge-many or c2m3'
    report.error('contradiction', `${method} can’t align several models jointly`, where, { hint })
  } else if (!joint && (method === 'merge-many' || method === 'c2m3')) {
    const hint = 'write models: [a, b, c]'
    report.error('contradiction', `${method} aligns several models jointly`, [...at.path, 'method'], { hint })
  }
  const statistics = readActivations(at, method, scope)
  const symmetry = textOf(get(at, 'symmetry')) === 'orthogonal' ? 'orthogonal' : 'permutation'
  const models = joint ? itemsOf(joint).map(use) : [use(get(at, 'model'))]
  const onto = joint ? (models[0] ?? '') : use(get(at, 'onto'))
  if (!joint && onto !== '' && models[0] === onto)
    report.error('contradiction', `rebasin aligns ${quote(onto)} onto itself`, [...at.path, 'onto'], {
      hint: 'name two different models',
    })
  const twice = joint ? models.findIndex((name, index) => name !== '' && models.indexOf(name) < index) : -1
  if (joint && twice >= 0)
    report.error('contradiction', `rebasin aligns ${quote(models[twice]!)} with itself`, [...joint.path, twice], {
      hint: 'list each model once',
    })
  if (joint && part?.place === 0) {
    const names = [
      onto,
      ...itemsOf(joint)
        .slice(1)
        .map((item) => `${name}.${textOf(item)}`),
    ]
    for (const each of names) if (each !== '') uses(each, at)
    return meanOf(name, at, names)
  }
  return {
    kind: 'rebasin',
    name,
    at: at.path,
    method,
    model: models[part?.place ?? 0] ?? '',
    ...(joint && part ? { joint: { name: part.of, models } } : {}),
    onto,
    spec: readSpec(get(at, 'spec'), report),
    symmetry,
    seed: numberOf(get(at, 'seed')) ?? 0,
    maxIterations: numberOf(get(at, 'max_iterations')) ?? 100,
    ...(statistics ? { statistics } : {}),
    ...readRestarts(at, { method, symmetry }, report),
    ...(check ? { check } : {}),
  }
}

/** A step that applies permutations. Nothing is matched. */
const givenStep = (name: string, at: Cursor, model: string, given: GivenPermutations): RebasinStep => ({
  ...{ kind: 'rebasin', name, at: at.path, method: 'weight-matching', symmetry: 'permutation', spec: 'auto' },
  ...{ model, onto: model, seed: 0, maxIterations: 0, given },
})

/** The result of a joint alignment as one model: the plain average of the aligned models. */
const meanOf = (name: string, at: Cursor, models: readonly string[]): MergeStep => ({
  kind: 'merge',
  name,
  at: at.path,
  base: models[0] ?? '',
  baseWritten: false,
  filters: { include: [], exclude: [] },
  settings: {
    method: 'linear',
    at: at.path,
    models,
    weights: models.map(() => [1]),
    weightsAt: at.path,
    parameters: new Map(),
  },
  rules: [],
  onMissing: 'copy',
  onMismatch: 'copy',
})
