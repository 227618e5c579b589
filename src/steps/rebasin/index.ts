/** `rebasin`: permutes or rotates a model so that it is close to another one. */
import { LARGEST_SQUARE } from '../../kernels/linalg.js'
import { get, textOf } from '../../language/cursor.js'
import { specSchema } from '../../rebasin/spec.js'
import type { AnalysisKind } from '../analysis.js'
import type { MergeStep } from '../merge/types.js'
import { staysNotes } from '../shared/stays.js'
import type { StepKind } from '../types.js'
import { alignedMaps, alignedTensor, orderedTensors, storedOf } from './aligned.js'
import { findAlignment } from './analyse.js'
import { largestGroup, rebasinCost } from './cost.js'
import { readGivenFiles } from './given/read.js'
import { alignedLine, alignmentLines } from './lines.js'
import { planRebasin } from './plan.js'
import { partsOfAlignment, readRebasin } from './read.js'
import { givenRecord, readRebasinRecord } from './record.js'
import { rebasin as schema } from './schema.js'
import { readSpecFile } from './spec/read.js'
import type { GivenRecord, RebasinAnalysis, RebasinRecord, RebasinStep } from './types.js'

const analysis: AnalysisKind<RebasinAnalysis, RebasinRecord> = {
  tensors: ({ onto, models, activations, given }) =>
    (given ? models : [onto, ...models, ...(activations ? [activations.onto, activations.model] : [])]).flatMap(
      ({ tensors }) => tensors,
    ),
  cost: rebasinCost,
  refuse(analysis) {
    if (analysis.given) return undefined
    // The similarities of all pairs of units in a group are in one buffer.
    const units = largestGroup(analysis)
    if (units <= LARGEST_SQUARE) return undefined
    return {
      code: 'group-too-large',
      message: `${analysis.models[0]!.name} has a group of ${units} units to match; the limit is ${LARGEST_SQUARE}`,
      hint: 'write a spec that leaves this group out',
    }
  },
  lines: alignmentLines,
  run: findAlignment,
  named: ({ onto, models, steps, given }, step, record) => ({
    ...record,
    model: models[steps.indexOf(step)]!.name,
    ...(given ? {} : { onto: onto.name }),
  }),
  permutations: {
    refuse: ({ symmetry }) => (symmetry === 'orthogonal' ? 'rotates a model' : undefined),
    tensors: orderedTensors,
    of: storedOf,
  },
  maps: alignedMaps,
  computed: alignedTensor,
}

export const rebasin: StepKind<RebasinStep, RebasinAnalysis, RebasinRecord, GivenRecord, RebasinStep | MergeStep> = {
  kind: 'rebasin',
  schema,
  definitions: { spec: specSchema },
  checkedByReader: ['spec'],
  short: {
    order: 1,
    list: {
      describe: 'Aligns models before the merge.',
      replaces: (at) => textOf(get(at, 'model')),
    },
  },
  parts: { noun: 'alignment', of: partsOfAlignment },
  read: readRebasin,
  readFiles: (step, locate, read, report) => readSpecFile(readGivenFiles(step, locate, report), locate, read, report),
  uses: ({ joint, model, onto, given }) => (given ? [model] : [...(joint?.models ?? [model]), onto]),
  like: ({ model }) => model,
  measured: {
    of: ({ statistics }) => statistics ?? [],
    named: (step, statistics) => (step.kind === 'rebasin' ? { ...step, statistics } : step),
  },
  files: ({ statistics }) => (statistics ?? []).map(({ file }) => file),
  keepsShares: true,
  check: ({ check, model }) => check && { ...check, model },
  plan: (step, { recipe, values, configOf, analyses, faults }) => ({
    value: planRebasin(recipe, step, values, configOf, analyses, faults),
  }),
  analysis,
  readsFiles: ({ given }) => given?.files.map(({ file }) => file) ?? [],
  recordedFiles: ({ permutations }) => permutations?.files ?? [],
  says: givenRecord,
  readRecord: readRebasinRecord,
  line: (_, record) => alignedLine(record),
  notes: ({ kept }) => staysNotes(kept),
}
