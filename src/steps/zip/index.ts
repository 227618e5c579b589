/** `zip`: merges models whose layers may have different widths into one network of a given width. */
import type { AnalysisKind } from '../analysis.js'
import { readSpecFile } from '../rebasin/spec/read.js'
import type { StepKind } from '../types.js'
import { findZip, madeTensor, summary, zipCost } from './analyse.js'
import { zipLines } from './lines.js'
import { planZip } from './plan.js'
import { readZip } from './read.js'
import { readZipRecord } from './record.js'
import { zip as schema } from './schema.js'
import type { ZipAnalysis, ZipRecord, ZipStep } from './types.js'

const analysis: AnalysisKind<ZipAnalysis, ZipRecord> = {
  tensors: ({ models, activations = [] }) => [...models, ...activations].flatMap(({ tensors }) => tensors),
  cost: zipCost,
  lines: zipLines,
  run: findZip,
  computed: madeTensor,
}

export const zip: StepKind<ZipStep, ZipAnalysis, ZipRecord> = {
  kind: 'zip',
  schema,
  short: { order: 2 },
  read: readZip,
  readFiles: readSpecFile,
  uses: ({ models }) => models,
  like: ({ models }) => models[0] ?? '',
  sharesNames: true,
  measured: {
    of: ({ statistics }) => statistics ?? [],
    named: (step, statistics) => ({ ...step, statistics }),
  },
  files: ({ statistics }) => (statistics ?? []).map(({ file }) => file),
  plan: (step, context) => ({ value: planZip(step, context) }),
  analysis,
  readRecord: readZipRecord,
  line: (name, record) => `${name}: ${summary(record)}`,
}
