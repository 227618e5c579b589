/** The record of an alignment in the lineage. */
import { sha256 } from '../../core/digest.js'
import { boolean, digest, list, natural, number, object, oneOf, record, text } from '../../core/json/shape.js'
import type { AnalysisModel } from '../../expr/types.js'
import { orderOf, type Permutations, rootGroups, unitsMoved } from '../../rebasin/apply.js'
import type { Compared } from '../../rebasin/match.js'
import type { Products } from '../../rebasin/score.js'
import { counts, type Spec } from '../../rebasin/spec.js'
import type {
  BeforeAndAfter,
  GivenRead,
  GivenRecord,
  GroupRecord,
  RebasinAnalysis,
  RebasinRecord,
  RebasinStep,
  RestartsRecord,
} from './types.js'

export const recordHead = (
  { onto, method, symmetry, family, seed }: RebasinAnalysis,
  { name }: AnalysisModel,
): Pick<RebasinRecord, 'model' | 'onto' | 'method' | 'symmetry' | 'family' | 'seed'> => ({
  model: name,
  onto: onto.name,
  method,
  symmetry,
  family,
  seed,
})

/** The lineage lists the order of groups with up to so many units, over all outer units. */
const MOST_LISTED = 512

export function permutationRecord(
  spec: Spec,
  permutations: Permutations,
  compared?: Compared,
): Pick<RebasinRecord, 'moved' | 'groups' | 'kept'> {
  const inner = Object.keys(spec.groups).filter((name) => spec.groups[name]!.inside !== undefined)
  const groups = [...rootGroups(spec), ...inner].map((group) => {
    const similarity = compared && groupSimilarity(spec, group, compared)
    const units = permutations[group]!.length
    return [
      group,
      {
        ...spec.groups[group]!,
        moved: unitsMoved(spec, permutations, group),
        permutation: digestOf(permutations[group]!),
        ...(similarity ? { similarity } : {}),
        ...(units <= MOST_LISTED ? { order: [...orderOf(spec, permutations, group)] } : {}),
      },
    ]
  })
  return {
    moved: unitsMoved(spec, permutations),
    groups: Object.fromEntries(groups),
    ...(Object.keys(spec.kept).length > 0 ? { kept: spec.kept } : {}),
  }
}

/** The cosines over the tensors that have units of a group. */
function groupSimilarity(
  { parts }: Spec,
  group: string,
  { before, after, squaresOfA, squaresOfB }: Compared,
): BeforeAndAfter | undefined {
  const own = parts.filter((part) => counts(part) && part.units.includes(group))
  const tensors = [...new Set(own.map(({ tensor }) => tensor))]
  const sum = ({ byTensor }: Products) => tensors.reduce((total, tensor) => total + byTensor.get(tensor)!, 0)
  const scale = Math.sqrt(sum(squaresOfA)) * Math.sqrt(sum(squaresOfB))
  const cosines = { before: sum(before) / scale, after: sum(after) / scale }
  return Number.isFinite(cosines.before) && Number.isFinite(cosines.after) ? cosines : undefined
}

const beforeAndAfter = object<BeforeAndAfter>({ before: number, after: number })
const group = object<GroupRecord>(
  {
    size: natural,
    inside: text,
    moved: natural,
    permutation: digest,
    similarity: beforeAndAfter,
    order: list(natural),
  },
  'inside',
  'similarity',
  'order',
)

const givenFile = object<GivenRead>(
  {
    file: text,
    inverse: boolean,
    step: text,
    sha256: digest,
  },
  'step',
)

/** What the lineage says of a step in addition to its findings. */
export function givenRecord({ model, joint, onto, given }: RebasinStep): GivenRecord {
  if (!given?.content) return { models: [...new Set([...(joint?.models ?? [model]), onto])] }
  const { names, content } = given
  return { models: [model], permutations: { files: content.files, names, model: content.model, onto: content.onto } }
}

export const readRebasinRecord = object<RebasinRecord & GivenRecord>(
  {
    models: list(text),
    model: text,
    onto: text,
    method: oneOf<RebasinRecord['method']>({
      'weight-matching': true,
      'activation-matching': true,
      mixed: true,
      'merge-many': true,
      c2m3: true,
      given: true,
    }),
    symmetry: oneOf<RebasinRecord['symmetry']>({ permutation: true, orthogonal: true }),
    family: text,
    seed: natural,
    iterations: natural,
    similarity: beforeAndAfter,
    restarts: object<RestartsRecord>({
      seed: natural,
      by: text,
      candidates: list(object({ seed: natural, score: number, value: number }, 'value')),
    }),
    correlation: beforeAndAfter,
    score: beforeAndAfter,
    moved: natural,
    groups: record(group),
    kept: record(text),
    rotation: object<NonNullable<RebasinRecord['rotation']>>({ size: natural, digest, permuted: boolean }, 'permuted'),
    permutations: object({ files: list(givenFile), names: list(text), model: text, onto: text }),
    check: object({ tolerance: number, before: record(number), after: record(number) }),
  },
  'restarts',
  'correlation',
  'onto',
  'iterations',
  'similarity',
  'permutations',
  'score',
  'moved',
  'groups',
  'kept',
  'rotation',
  'check',
)

/** SHA-256 of the numbers in little-endian order, so that it is the same on every machine. */
export function digestOf(values: Int32Array | Float64Array): string {
  const bytes = new DataView(new ArrayBuffer(values.byteLength))
  if (values instanceof Int32Array) for (const [i, value] of values.entries()) bytes.setInt32(4 * i, value, true)
  else for (const [i, value] of values.entries()) bytes.setFloat64(8 * i, value, true)
  return sha256(new Uint8Array(bytes.buffer))
}
