/** A plan as one of two sides. Pure: what is in files comes as marks. */
import { sha256 } from '../../core/digest.js'
import type { Json } from '../../core/json/shape.js'
import { computeOf } from '../../expr/cost.js'
import { partsOf } from '../../expr/walk.js'
import { howMade, type Making } from '../../lineage/making.js'
import { lookupMethod } from '../../methods/registry.js'
import { kindsOfAnalyses } from '../../plan/analysisCost.js'
import { writtenBytes } from '../../plan/placements.js'
import type { Plan, PlanOutput, PlanTensor } from '../../plan/types.js'
import type { Need } from '../../plan/unitForms.js'
import { type PlanUnits, planUnits, type Unit } from '../../plan/units.js'
import { facts, label, saidFacts } from '../facts.js'
import { makingFacts } from '../making.js'
import type { Fact, Facts, Renames, Side, SideModel, SideOutput, SideStep, SideTensor, SmallFile } from './types.js'

/** What a plan does not say itself. */
export interface PlanMarks {
  /** Equal marks mean equal bytes of a stored tensor, given by file (an index into `Plan.files`), offset and bytes. */
  readonly stored: (file: number, offset: number, bytes: number) => string
  /** Of a small file that is copied from a model, an index into `Plan.models`. */
  readonly small: (model: number, name: string) => Pick<SmallFile, 'mark' | 'text'>
  /** By step, the model or step that defines names and shapes of its result. */
  readonly bases?: Making['bases']
}

export function planSide(plan: Plan, marks: PlanMarks, names: Pick<Side, 'name' | 'commit'>): Side {
  const work = workOf(plan, marks)
  return {
    ...names,
    digest: plan.digest,
    models: new Map(plan.models.map(({ name }, index) => [name, modelOf(plan, index, marks)])),
    steps: new Map(plan.steps.map((step) => [step.name, stepOf(step)])),
    settings: facts([['compute', plan.compute], ['seed', plan.seed], ...tokenizerFacts(plan), ...checkFacts(plan)]),
    outputs: plan.outputs.map((output, index) => outputOf(plan, output, index, marks, work)),
  }
}

function modelOf(plan: Plan, index: number, { stored }: PlanMarks): SideModel {
  const { reference, revision, quantized, config, layouts, readAs } = plan.models[index]!
  const files = [...plan.files.entries()].filter(([, { model }]) => model === index)
  const marks = files.map(([file, { name, tensors }]) => [
    name,
    tensors.map(({ name, offset, bytes }) => [name, stored(file, offset, bytes)]),
  ])
  const content = sha256(JSON.stringify(marks))
  const own = facts([
    ['reference', reference],
    ['revision', revision],
    ['files', files.length],
    ['bytes', files.reduce((sum, [, { size }]) => sum + size, 0)],
    ['quantized', quantized],
    ['config', config?.map(({ sha256 }) => sha256)],
    ['layouts', layouts],
    ['read as', readAs],
  ])
  return { facts: own.set(label('content'), { mark: content }), same: `${content} ${JSON.stringify(config ?? [])}` }
}

function stepOf({ kind, patterns, says }: Plan['steps'][number]): SideStep {
  const counts = patterns.map(({ pattern, where, rule, matches, applies }) => {
    const place = where === 'rule' && rule !== undefined ? `rule ${rule + 1}` : where
    return [`${place} ${pattern}`, `matches ${matches}, applies to ${applies}`] as const
  })
  return { kind, facts: new Map([...facts([['kind', kind], ...counts]), ...(says ? saidFacts(says) : [])]) }
}

type Entry = readonly [what: string, value: Json | undefined, of?: string]

function tokenizerFacts({ tokenizer }: Plan): Entry[] {
  if (!tokenizer) return []
  const { source, first, tokens, rows, added, models } = tokenizer
  return [
    ['source', source, 'tokenizer'],
    ['first', first, 'tokenizer'],
    ['tokens', tokens, 'tokenizer'],
    ['rows', rows, 'tokenizer'],
    ['added', added, 'tokenizer'],
    ...Object.entries(models).map(([name, { found }]): Entry => ['tokens', found, name]),
  ]
}

const checkFacts = ({ checks = [] }: Plan): Entry[] =>
  checks.map(({ step, tolerance, outputs }) => [
    'check',
    { tolerance, command: [...(outputs[1]?.evaluate?.command ?? [])] },
    step,
  ])

/** Marks of units: their keys together with those of everything that they read. */
interface Work {
  readonly units: PlanUnits
  readonly mark: (unit: Unit) => string
  /** Of a stored tensor, by its number. */
  readonly storedMark: (number: number) => string
  readonly needed: (unit: Unit) => ReadonlyMap<string, Need>
}

function workOf(plan: Plan, marks: PlanMarks): Work {
  const units = planUnits(plan)
  const known = new Map<string, string>()
  const storedMark = (number: number): string => {
    const { file, offset, bytes } = units.stored.placeOf(number)
    return marks.stored(file, offset, bytes)
  }
  const needMark = (need: Need): string => {
    const unit = units.unit(need)
    const found = known.get(unit.id) ?? mark(unit)
    known.set(unit.id, found)
    return found
  }
  const mark = ({ key, reads, needs }: Unit): string =>
    sha256(JSON.stringify([key, reads.map(storedMark), needs.map(needMark)]))
  const needed = (unit: Unit): ReadonlyMap<string, Need> => {
    const found = new Map<string, Need>()
    const visit = (needs: readonly Need[]): void => {
      for (const need of needs) {
        const { id, needs: before } = units.unit(need)
        if (found.has(id)) continue
        found.set(id, need)
        visit(before)
      }
    }
    visit(unit.needs)
    return found
  }
  return { units, mark, storedMark, needed }
}

function outputOf(plan: Plan, output: PlanOutput, index: number, marks: PlanMarks, work: Work): SideOutput {
  const {
    path,
    from,
    files,
    indexes,
    sidecars,
    tensors,
    evaluate,
    permutations,
    point,
    check,
    spec: _,
    ...rest
  } = output
  // Whatever is left counts, also what is added later.
  const { layout, metadata, keep, single, checksums, ...others } = rest
  const making: Making = {
    ...{ plan, scopes: [], bases: marks.bases ?? new Map() },
    kinds: new Map([...kindsOfAnalyses(plan), ...plan.steps.map(({ name, kind }) => [name, kind] as const)]),
  }
  const small = new Map<string, SmallFile>()
  for (const { name, text } of indexes) small.set(name, textFile(name, text))
  for (const sidecar of sidecars) {
    const { name } = sidecar
    small.set(
      name,
      sidecar.kind === 'text'
        ? textFile(name, sidecar.text)
        : { kind: kindOfFile(name), ...marks.small(sidecar.model, name) },
    )
  }
  for (const { step, untouched } of permutations ?? []) {
    const place = plan.analyses.findIndex(({ steps }) => steps.includes(step))
    const found = place < 0 ? null : work.mark(work.units.unit({ kind: 'analysis', index: place }))
    // The file has names of steps and models.
    const mark = sha256(JSON.stringify([step, untouched, found, plan.models.map(({ name }) => name)]))
    small.set(`permutations of ${step}`, { kind: 'other', mark })
  }
  const own = facts([
    ['layout', layout],
    ['from', from],
    ['metadata', { ...metadata }],
    ['keep', keep],
    ['single', single],
    ['checksums', checksums],
    ['check', check],
    ['evaluate', evaluate && { ...evaluate, command: [...evaluate.command], env: [...(evaluate.env ?? [])] }],
    ['t', point?.t],
  ])
  return {
    path,
    facts: own.set(label('options'), { mark: JSON.stringify(others) }),
    size: files.reduce((sum, { size }) => sum + size, 0),
    files: new Map(
      files.map(({ name, size, header }) => [layout === 'file' ? '' : name, sha256(JSON.stringify([size, header]))]),
    ),
    small,
    tensors: new Map(
      tensors.map((tensor, place) => [
        tensor.name,
        tensorOf({ plan, making, work, tensor, unit: () => work.units.tensor(index, place) }),
      ]),
    ),
  }
}

const textFile = (name: string, text: string): SmallFile => ({ kind: kindOfFile(name), mark: sha256(text), text })

/** The part of an output that a small file belongs to. */
export function kindOfFile(name: string): SmallFile['kind'] {
  if (/chat_template/.test(name)) return 'template'
  if (/config\.json$/.test(name) && !/tokenizer/.test(name)) return 'config'
  if (/\.index(\.\w+)?\.json$/.test(name)) return 'weights'
  return /token|vocab|merges|spiece|sentencepiece|\.model$/.test(name) ? 'tokenizer' : 'other'
}

interface Planned {
  readonly plan: Plan
  readonly making: Making
  readonly work: Work
  readonly tensor: PlanTensor
  readonly unit: () => Unit
}

function tensorOf(planned: Planned): SideTensor {
  const { work, tensor, unit } = planned
  // Whatever else a tensor of a plan has counts, also what is added later.
  const { placements, expr: _, rule: __, reason: ___, absent: ____, ...rest } = tensor
  return {
    bytes: writtenBytes(tensor),
    // Where it lies in a file is part of that file.
    mark: sha256(
      JSON.stringify([
        work.mark(unit()),
        placements.map(({ name, dtype, shape, from, count }) => [name, dtype, shape, from, count]),
        rest,
      ]),
    ),
    facts: (named) => tensorFacts(planned, named),
  }
}

function tensorFacts({ plan, making, work, tensor, unit }: Planned, named: Renames): Facts {
  const { name, dtype, shape, expr, quantized } = tensor
  const found = makingFacts(howMade(making, tensor), name, named)
  const add = (what: string, fact: Fact, of?: string): void => void found.set(label(what, of), fact)
  add('dtype', { value: dtype })
  add('shape', { value: [...shape] })
  if (quantized) add('quantized', { value: quantized as unknown as Json })
  add('compute', { value: computeOf(plan.compute, expr) })
  const made = unit()
  for (const { index, kind } of work.needed(made).values()) {
    const mark = work.mark(work.units.unit({ kind, index }))
    if (kind !== 'analysis') add(LAST.others, { mark })
    else
      for (const step of plan.analyses[index]!.steps) add(kindsOf(plan, step), { mark }, named.steps.get(step) ?? step)
  }
  for (const [model, marks] of contents(plan, made, work))
    add('content', { mark: JSON.stringify(marks) }, named.models.get(model) ?? model)
  const parts = partsOf([expr])
  const views = parts.flatMap((part) => (part.kind === 'read' ? [part.view] : []))
  add(LAST.views, { mark: sha256(JSON.stringify(views, withoutPlaces)) })
  for (const part of parts) {
    if (part.kind !== 'merge') continue
    const step = named.steps.get(part.step) ?? part.step
    add(LAST.weights, { mark: JSON.stringify(part.weights) }, step)
    if (!lookupMethod(part.method)?.random) continue
    add('seed', { value: plan.seed })
    add(LAST.random, { mark: JSON.stringify(part.models) }, step)
  }
  return found
}

/**
 * Facts that count only if nothing else differs: weights whose effect is known only during the run, names in random numbers, rows and
 * other parts of source tensors, and what a step reads together.
 */
export const LAST = {
  weights: 'weights',
  random: 'random numbers',
  views: 'rows or parts of the sources',
  others: 'other tensors of the step',
} as const

/** Where stored tensors lie does not matter for which of their elements are read. */
const withoutPlaces = (key: string, value: unknown): unknown => (key === 'file' || key === 'offset' ? undefined : value)

/** By model, the marks of the stored tensors that a unit reads. */
function contents(plan: Plan, { reads }: Unit, { units, storedMark }: Work): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const number of reads) {
    const name = plan.models[plan.files[units.stored.placeOf(number).file]!.model]!.name
    found.set(name, [...(found.get(name) ?? []), storedMark(number)])
  }
  return found
}

const kindsOf = (plan: Plan, step: string): string => plan.steps.find(({ name }) => name === step)?.kind ?? 'analysis'
