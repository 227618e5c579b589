/** Gives a model another model's vocabulary. A recipe's `tokenizer` makes such steps. */
import { list, natural, number, object, oneOf, text } from '../../core/json/shape.js'
import { formatSize } from '../../core/sizes.js'
import { counted } from '../../core/words.js'
import type { AnalysisKind } from '../analysis.js'
import type { StepKind, UsesRecord } from '../types.js'
import { besideBytes, findRows, transplantCost } from './analyse.js'
import { planTransplant } from './plan.js'
import { PART } from './pursuit.js'
import { grownTensor } from './rows.js'
import type {
  Missing,
  NearestWeights,
  ResidualRecord,
  SubwordWeights,
  TransplantAnalysis,
  TransplantRecord,
  TransplantStep,
} from './types.js'

const METHODS: Readonly<Record<Missing, string>> = {
  omp: 'orthogonal matching pursuit',
  nearest: 'nearest rows',
  subword: 'pieces of tokens',
  mean: 'the mean of all rows',
  zero: 'zeros',
}

const analysis: AnalysisKind<TransplantAnalysis, TransplantRecord> = {
  tensors: ({ parts, grown }) => [...parts, ...grown].map(({ tensor }) => tensor),
  cost: transplantCost,
  lines: (analysis, { bytes }) => {
    const { steps, missing, made, runs, rows, parts, shared } = analysis
    const branches = [
      ...(parts.length > 0
        ? [
            `${counted(shared.donor.length, 'shared row')} to combine, for ${parts.map(({ role }) => role).join(' and ')}`,
          ]
        : []),
      ...(runs.length > 0
        ? [
            `needs at least ${formatSize(bytes)} of memory, and ${formatSize(besideBytes(analysis))} more or as much disk beside the output`,
          ]
        : []),
    ]
    return {
      text: `${steps[0]}: ${counted(made.length, 'missing token')} of ${counted(rows, 'row')} by ${METHODS[missing]}`,
      branches: branches.map((text) => ({ text })),
    }
  },
  inParts: ({ missing, made }) => missing === 'omp' && made.length > PART,
  run: findRows,
  computed: grownTensor,
}

const residuals = object<ResidualRecord>({
  ...{ mean: number, max: number, most: natural, average: number },
  worst: list(object({ token: text, residual: number })),
})
const weights = oneOf<SubwordWeights>({ even: true, first: true, last: true })

export const transplant: StepKind<TransplantStep, TransplantAnalysis, TransplantRecord> = {
  kind: 'transplant',
  inner: true,
  schema: {},
  read: () => undefined,
  uses: ({ model, donor }) => [...new Set([model, donor])],
  like: ({ model }) => model,
  donor: ({ donor }) => donor,
  cuts: ({ missing, model }) => (missing === 'subword' ? model : undefined),
  keepsShares: true,
  plan: (step, context) => ({ value: planTransplant(step, context) }),
  analysis,
  readRecord: object<TransplantRecord & UsesRecord>(
    {
      models: list(text),
      missing: oneOf<Missing>({ omp: true, nearest: true, subword: true, mean: true, zero: true }),
      k: natural,
      nearest_weights: oneOf<NearestWeights>({ distance: true, cosine: true, barycentric: true, least_squares: true }),
      subword_weights: object({ embedding: weights, head: weights }),
      ...{ rows: natural, shared: natural, approximated: natural, filled: natural },
      residuals: object({ embedding: residuals, head: residuals }, 'embedding', 'head'),
    },
    ...(['k', 'nearest_weights', 'subword_weights', 'residuals'] as const),
  ),
  line(name, { missing, shared, approximated, residuals }) {
    const parts = Object.entries(residuals ?? {}).map(
      ([role, { mean, max }]) => `${role} residual ${mean.toFixed(3)} on average, at most ${max.toFixed(3)}`,
    )
    const how = approximated === 0 ? '' : `, ${counted(approximated, 'row')} by ${METHODS[missing]}`
    return [`${name}: ${counted(shared, 'row')} copied${how}`, ...parts].join('; ')
  },
}
