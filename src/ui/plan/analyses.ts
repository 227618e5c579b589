import { formatSize } from '../../core/sizes.js'
import type { Analysis, AnalysisCost, Plan, RebasinAnalysis, RepairAnalysis } from '../../plan/types.js'
import { readSpec } from '../../rebasin/spec.js'
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
  { onto, models, method, symmetry, family, spec, maxIterations }: RebasinAnalysis,
  { bytes, multiplications }: AnalysisCost,
): Branch {
  const read = readSpec(spec, new Map(onto.tensors.map((tensor) => [tensor.name, tensor])))
  const moved = models.map(({ name }) => printable(name)).join(', ')
  const turns = symmetry === 'orthogonal'
  return {
    text: `${moved} onto ${printable(onto.name)}: ${method}${turns ? ', orthogonal' : ''}, family ${printable(family)}`,
    branches: [
      { text: groupsLine(read) },
      ...stays(read.kept),
      {
        text: `roughly ${roughly(multiplications)} multiplications a ${turns ? 'round' : 'sweep'}, at most ${counted(maxIterations, turns ? 'round' : 'sweep')}; takes ${formatSize(bytes)} of memory or more`,
      },
    ],
  }
}

const repairBranch = ({ step, norms, left }: RepairAnalysis): Branch => ({
  text: `${printable(step)}: ${counted(norms.length, 'BatchNorm')}, running variances by correlation`,
  branches: stays(left),
})

/** What is found out before tensors are written, of each alignment and repair. */
export const analysesBranches = ({ analyses, cost }: Plan): Branch[] =>
  analyses.map((analysis: Analysis, index) =>
    analysis.kind === 'rebasin' ? rebasinBranch(analysis, cost.analyses![index]!) : repairBranch(analysis),
  )
