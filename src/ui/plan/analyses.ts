import { formatSize } from '../../core/sizes.js'
import type { Analysis, AnalysisCost, Plan, RebasinAnalysis, RepairAnalysis, Spec } from '../../index.js'
import { groupsLine, keptBranches } from '../spec.js'
import { type Branch, counted, printable } from '../text.js'

const SCALES = [
  [1e12, 'trillion'],
  [1e9, 'billion'],
  [1e6, 'million'],
  [1e3, 'thousand'],
] as const

/** `3.5 billion`: a number of which only the size is known. */
function roughly(count: number): string {
  const [scale, word] = SCALES.find(([least]) => count >= least) ?? [1, '']
  return `${Number((count / scale).toPrecision(2))} ${word}`.trimEnd()
}

const stays = (kept: Readonly<Record<string, string>>): Branch[] =>
  Object.keys(kept).length === 0 ? [] : [{ text: 'stays as it is', branches: keptBranches(kept) }]

function rebasinBranch(
  { onto, models, method, symmetry, family, maxIterations }: RebasinAnalysis,
  { bytes, multiplications }: AnalysisCost,
  spec: Spec,
): Branch {
  const moved = models.map(({ name }) => printable(name)).join(', ')
  const turns = symmetry === 'orthogonal'
  return {
    text: `${moved} onto ${printable(onto.name)}: ${method}${turns ? ', orthogonal' : ''}, family ${printable(family)}`,
    branches: [
      { text: groupsLine(spec) },
      ...stays(spec.kept),
      {
        text: `roughly ${roughly(multiplications)} multiplications a ${turns ? 'round' : 'sweep'}, at most ${counted(maxIterations, turns ? 'round' : 'sweep')}; takes ${formatSize(bytes)} of memory or more`,
      },
    ],
  }
}

const repairBranch = ({ steps, norms, left }: RepairAnalysis): Branch => ({
  text: `${printable(steps[0]!)}: ${counted(norms.length, 'BatchNorm')}, running variances by correlation`,
  branches: stays(left),
})

/** What is found out before tensors are written, of each alignment and repair. */
export const analysesBranches = ({ analyses, cost }: Plan, specs: readonly (Spec | undefined)[]): Branch[] =>
  analyses.map((analysis: Analysis, index) =>
    analysis.kind === 'rebasin'
      ? rebasinBranch(analysis, cost.analyses![index]!, specs[index]!)
      : repairBranch(analysis),
  )
