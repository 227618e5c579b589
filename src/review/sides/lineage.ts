/** A lineage as one of two sides. */
import { isOutputFile } from '../../checkpoints/containers/index.js'
import { sha256 } from '../../core/digest.js'
import { elements } from '../../core/dtypes.js'
import type { Json } from '../../core/json/shape.js'
import { bytesOf } from '../../encodings/index.js'
import type {
  Lineage,
  LineageFile,
  LineageMerge,
  LineageModel,
  LineageSource,
  LineageStep,
  LineageTensor,
} from '../../lineage/types.js'
import { facts, label, saidFacts } from '../facts.js'
import { makingFacts } from '../making.js'
import { kindOfFile } from './plan.js'
import type { Fact, Facts, Renames, Side, SideModel, SideOutput, SideStep, SideTensor, SmallFile } from './types.js'

/** Which digests two lineages have in common. Only digests of one algorithm can be compared. */
export interface Common {
  /** Of files. */
  readonly files: 'digest' | 'sha256' | undefined
  /** Whether those of tensors are of one algorithm. */
  readonly tensors: boolean
}

/** What can be compared. */
export function commonDigests(a: Lineage, b: Lineage): Common {
  const files = [a, b].flatMap(({ models, output }) => [
    ...Object.values(models).flatMap((one) => one.files),
    ...output.files,
  ])
  const algorithms = new Set(files.map(({ digest }) => algorithmOf(digest)))
  const ofTensors = [a, b].flatMap(({ tensors }) => Object.values(tensors).map(({ digest }) => algorithmOf(digest)))
  const isOne = algorithms.size === 1 && !algorithms.has(undefined)
  return {
    files: isOne ? 'digest' : files.every(({ sha256 }) => sha256 !== undefined) ? 'sha256' : undefined,
    tensors: new Set(ofTensors.filter((one) => one !== undefined)).size <= 1,
  }
}

const algorithmOf = (digest: string | null | undefined): string | undefined => digest?.split(':')[0]

export function lineageSide(lineage: Lineage, names: Pick<Side, 'name' | 'digest'>, common: Common): Side {
  const { models, steps, seed, recipe, terge } = lineage
  return {
    ...names,
    models: new Map(Object.entries(models).map(([name, model]) => [name, modelOf(model, common)])),
    steps: new Map(Object.entries(steps).map(([name, step]) => [name, stepOf(step)])),
    settings: facts([
      ['terge', terge],
      ['seed', seed],
      ['set', recipe.set.length > 0 ? [...recipe.set] : undefined],
    ]),
    outputs: [outputOf(lineage, common)],
  }
}

/** What a lineage says about the content of a file; undefined if it has no digest of the other lineage's kind. */
const digestOf = (file: LineageFile, { files }: Common): string | undefined =>
  files === undefined ? undefined : (file[files] ?? undefined)

/** Undefined if the lineage does not say what was in the files. */
function contentOf({ files, config = [] }: LineageModel, common: Common): string | undefined {
  if (files.some((file) => digestOf(file, common) === undefined)) return undefined
  const marks = files.map((file) => [file.name, file.size, digestOf(file, common)!])
  return sha256(JSON.stringify([marks, config.map(({ sha256 }) => sha256)]))
}

function modelOf(model: LineageModel, common: Common): SideModel {
  const { reference, revision, quantized, files, layouts, readAs } = model
  const content = contentOf(model, common)
  const own = facts([
    ['reference', reference],
    ['revision', revision],
    ['files', files.length],
    ['bytes', files.reduce((sum, { size }) => sum + size, 0)],
    ['quantized', quantized],
    ['layouts', layouts],
    ['read as', readAs],
  ])
  if (content === undefined) return { facts: own, same: JSON.stringify([reference, revision]) }
  return { facts: own.set(label('content'), { mark: content }), same: content }
}

/** A step with what it found. Long values are only compared. */
function stepOf(step: LineageStep): SideStep {
  const { kind, ...rest } = step
  return { kind, facts: new Map<string, Fact>([[label('kind'), { value: kind }], ...saidFacts(rest)]) }
}

function outputOf(lineage: Lineage, common: Common): SideOutput {
  const { output } = lineage
  const small = new Map<string, SmallFile>()
  const files = new Map<string, string | undefined>()
  let size = 0
  const weights = output.files.filter(({ name }) => isOutputFile(name))
  for (const file of output.files)
    if (isOutputFile(file.name)) {
      files.set(weights.length === 1 ? '' : file.name, digestOf(file, common))
      size += file.size
    } else small.set(file.name, { kind: kindOfFile(file.name), mark: digestOf(file, common) })
  if (output.permutations) small.set('permutations', { kind: 'other', mark: output.permutations.sha256 })
  const steps = new Map(
    Object.entries(lineage.steps).map(([name, { kind, ...record }]) => [
      name,
      {
        kind,
        mark: sha256(
          JSON.stringify(record, (key, value) => (key === 'patterns' || key === 'models' ? undefined : value)),
        ),
      },
    ]),
  )
  const contents = new Map(Object.entries(lineage.models).map(([name, model]) => [name, contentOf(model, common)]))
  return {
    path: weights.length === 1 ? weights[0]!.name : output.from,
    facts: facts([
      ['from', output.from],
      ['t', output.point?.t],
      ['dropped', output.dropped],
    ]),
    ...{ size, files, small },
    tensors: new Map(
      Object.entries(lineage.tensors).map(([name, tensor]) => [
        name,
        tensorOf(name, tensor, { steps, contents, common }),
      ]),
    ),
  }
}

interface Records {
  readonly steps: ReadonlyMap<string, { readonly kind: string; readonly mark: string }>
  readonly contents: ReadonlyMap<string, string | undefined>
  readonly common: Common
}

function tensorOf(name: string, tensor: LineageTensor, records: Records): SideTensor {
  const { dtype, shape, digest } = tensor
  return {
    bytes: bytesOf(dtype, elements(shape)),
    mark: digest === null || !records.common.tensors ? undefined : sha256(JSON.stringify([digest, dtype, shape])),
    facts: (named) => tensorFacts(name, tensor, records, named),
  }
}

function tensorFacts(name: string, tensor: LineageTensor, { steps, contents }: Records, named: Renames): Facts {
  const { dtype, shape, quantized } = tensor
  const found = makingFacts(tensor, name, named)
  found.set(label('dtype'), { value: dtype })
  found.set(label('shape'), { value: [...shape] })
  if (quantized) found.set(label('quantized'), { value: quantized as unknown as Json })
  for (const used of namesIn(tensor)) {
    const content = contents.get(used)
    if (content !== undefined) found.set(label('content', named.models.get(used) ?? used), { mark: content })
    const step = steps.get(used)
    if (step && step.kind !== 'merge') found.set(label(step.kind, named.steps.get(used) ?? used), { mark: step.mark })
  }
  return found
}

/** Models and steps that a tensor comes from. */
function namesIn(tensor: LineageTensor): ReadonlySet<string> {
  const found = new Set<string>()
  const visit = ({ sources, base }: LineageMerge): void => {
    for (const source of [...sources, ...(base ? [base] : [])]) visitSource(source)
  }
  const visitSource = ({ model, of, statistics }: LineageSource): void => {
    found.add(model)
    if (of) visit(of)
    if (statistics) visitSource(statistics)
  }
  visit(tensor)
  for (const part of tensor.parts ?? []) visit(part)
  return found
}
