/** Alignments as text for people: before and after a run. */
import { formatSize } from '../../core/sizes.js'
import { counted, formatCount } from '../../core/words.js'
import { groupsLine } from '../../rebasin/describe.js'
import { orthogonalForm } from '../../rebasin/orthogonal/form.js'
import type { Spec } from '../../rebasin/spec.js'
import type { AnalysisCost, Lines } from '../analysis.js'
import { staysLines } from '../shared/stays.js'
import type { CheckRecord } from '../types.js'
import { activationsSpec } from './measured/spec.js'
import { matchedSpec } from './spec/matched.js'
import type { GivenRecord, GroupRecord, RebasinAnalysis, RebasinRecord } from './types.js'

type Activations = NonNullable<RebasinAnalysis['activations']>

const SCALES = [
  [1e12, 'trillion'],
  [1e9, 'billion'],
  [1e6, 'million'],
  [1e3, 'thousand'],
] as const

/** An approximate number such as `3.5 billion`. */
function roughly(count: number): string {
  const [scale, word] = SCALES.find(([least]) => count >= least) ?? [1, '']
  return `${Number((count / scale).toPrecision(2))} ${word}`.trimEnd()
}

export function alignmentLines(analysis: RebasinAnalysis, { bytes, multiplications }: AnalysisCost): Lines {
  const { onto, models, method, symmetry, family, maxIterations, activations, given } = analysis
  const spec = matchedSpec(analysis)
  if (given) {
    const text = `${models[0]!.name}: given permutations, family ${family}`
    return { text, branches: [{ text: groupsLine(spec) }] }
  }
  const turns = symmetry === 'orthogonal'
  const moved = models.map(({ name }) => name).join(', ')
  return {
    text: `${moved} onto ${onto.name}: ${method}${turns ? ', orthogonal' : ''}, family ${family}`,
    branches: [
      { text: turns ? turnsLine(analysis) : groupsLine(spec) },
      ...(activations ? [{ text: activationLine(activations, spec, turns ? spec : activationsSpec(analysis)) }] : []),
      ...(analysis.restarts === undefined ? [] : [{ text: restartsLine(analysis, analysis.restarts) }]),
      ...staysLines(spec.kept),
      {
        text: `roughly ${roughly(multiplications)} multiplications per ${turns ? 'round' : 'sweep'}, at most ${counted(maxIterations, turns ? 'round' : 'sweep')}; needs at least ${formatSize(bytes)} of memory`,
      },
    ],
  }
}

function restartsLine({ seed, select }: RebasinAnalysis, restarts: number): string {
  const by = select
    ? `the ${select.maximize ? 'largest' : 'smallest'} ${select.metric} of the evaluated output`
    : 'the best score'
  return `${counted(restarts, 'seed')} from ${seed}, keeps the one with ${by}`
}

/** `residual stream of 48: rotated; 3 layers with 4 heads and 96 feed-forward units` */
function turnsLine({ onto: { tensors, config } }: RebasinAnalysis): string {
  const { hidden, basis, layers, shape, units } = orthogonalForm({
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    ...(config ? { config } : {}),
  })
  const heads = shape ? `${counted(shape.kv * shape.q, 'head')} and ` : ''
  return `residual stream of ${formatCount(hidden)}: ${basis}; ${counted(layers.length, 'layer')} with ${heads}${counted(units, 'feed-forward unit')}`
}

/** How many samples there are, and which groups have none. */
function activationLine({ onto }: Activations, spec: Spec, measured: Spec): string {
  const samples = [...new Set(onto.tensors.map(({ shape }) => shape[0]!))].sort((a, b) => a - b)
  const range =
    samples.length > 1 ? `${formatCount(samples[0]!)} to ${formatCount(samples.at(-1)!)}` : formatCount(samples[0]!)
  const without = Object.keys(spec.groups).filter((group) => !Object.hasOwn(measured.groups, group))
  const rest =
    without.length > 0
      ? `; by weights only: ${without.slice(0, 3).join(', ')}${without.length > 3 ? ` and ${formatCount(without.length - 3)} more` : ''}`
      : ''
  return `activations: ${counted(onto.tensors.length, 'tensor')} with ${range} samples${rest}`
}

/** Units of a group. For a group inside another one, over all units of the outer group. */
function unitsOf(groups: Readonly<Record<string, GroupRecord>>, { size, inside }: GroupRecord): number {
  return inside === undefined ? size : size * (groups[inside]?.size ?? 1)
}

/** Metrics of a check in one line. */
const MOST_METRICS = 3

function checkedText({ before, after }: CheckRecord): string {
  const names = Object.keys(after).sort()
  const number = (value: number): number => Number(value.toPrecision(4))
  const shown = names.slice(0, MOST_METRICS).map((name) => `${name} ${number(before[name]!)} → ${number(after[name]!)}`)
  const more = names.length > MOST_METRICS ? [`and ${formatCount(names.length - MOST_METRICS)} more`] : []
  return `check passed: ${[...shown, ...more].join(', ')}`
}

export function alignedLine(record: RebasinRecord & Pick<GivenRecord, 'check'>): string {
  const { model, onto, moved, groups = {}, rotation, similarity, correlation, iterations, restarts, check } = record
  const all = Object.values(groups).reduce((sum, group) => sum + unitsOf(groups, group), 0)
  const parts = [
    ...(moved === undefined ? [] : [`${formatCount(moved)} of ${counted(all, 'unit')} moved`]),
    ...(rotation
      ? [`residual stream of ${formatCount(rotation.size)} ${rotation.permuted ? 'permuted' : 'rotated'}`]
      : []),
    ...(similarity ? [`similarity ${similarity.before.toFixed(4)} → ${similarity.after.toFixed(4)}`] : []),
    ...(correlation ? [`correlation ${correlation.before.toFixed(4)} → ${correlation.after.toFixed(4)}`] : []),
    ...(iterations === undefined ? [] : [counted(iterations, 'iteration')]),
    ...(restarts ? [`seed ${restarts.seed} of ${restarts.candidates.length} by ${restarts.by}`] : []),
  ]
  const checked = check ? `; ${checkedText(check)}` : ''
  return `${model} ${onto === undefined ? 'permuted' : `aligned to ${onto}`}: ${parts.join(', ')}${checked}`
}
