import { formatSize } from '../../core/sizes.js'
import type { PatternCount, Plan, PlanOutput } from '../../plan/types.js'
import { type Branch, counted, drawTree, formatCount, printable } from '../text.js'
import { modelFiles, summarize } from './summary.js'

/** What the plan alone does not know: the machine's side. */
export interface PlanSetting {
  readonly threads: number
  /** Peak anonymous memory, in bytes. */
  readonly memory: number
}

const sum = (counts: ReadonlyMap<unknown, number>): number => [...counts.values()].reduce((a, b) => a + b, 0)

const byCount = (counts: ReadonlyMap<string, number>): Branch[] =>
  [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => ({ text: `${printable(name)}: ${formatCount(count)}` }))

const patternText = ({ where, rule, pattern, matches, applies }: PatternCount): string =>
  `${where === 'rule' && rule !== undefined ? `rule ${rule + 1}` : where} ${printable(pattern)}: ` +
  `matches ${formatCount(matches)}, decides ${formatCount(applies)}`

function outputBranch(output: PlanOutput): Branch {
  const { methods, copies, absent, dtypes, bytes } = summarize(output)
  const branches: Branch[] = []
  if (methods.size > 0)
    branches.push({ text: `merged: ${counted(sum(methods), 'tensor')}`, branches: byCount(methods) })
  if (copies.size > 0) branches.push({ text: `copied: ${counted(sum(copies), 'tensor')}`, branches: byCount(copies) })
  for (const { model, reason, tensors } of absent) {
    const why = reason === 'missing' ? 'lacks them' : 'has them in another shape'
    branches.push({ text: `without ${printable(model)}, which ${why}: ${counted(tensors, 'tensor')}` })
  }
  const shares = [...dtypes].map(([dtype, count]) => (dtypes.size === 1 ? dtype : `${dtype} ${formatCount(count)}`))
  const size = `${counted(output.files.length, 'file')}, ${formatSize(bytes)}, ${counted(output.tensors.length, 'tensor')}`
  branches.push({ text: `${size} (${shares.join(', ')})` })
  if (output.sidecars.length > 0)
    branches.push({ text: `beside it: ${output.sidecars.map(({ name }) => printable(name)).join(', ')}` })
  return { text: `${printable(output.path)} from ${printable(output.from)}`, branches }
}

/** The plan as a tree for people. */
export function planTree(plan: Plan, { threads, memory }: PlanSetting): string {
  const models = plan.models.map(({ name, reference }, i): Branch => {
    const { files, bytes } = modelFiles(plan, i)
    return { text: `${printable(name)}: ${printable(reference)} (${counted(files, 'file')}, ${formatSize(bytes)})` }
  })
  const steps = plan.steps.map(
    ({ name, kind, patterns }): Branch => ({
      text: name === kind ? kind : `${printable(name)}: ${printable(kind)}`,
      branches: patterns.map((pattern) => ({ text: patternText(pattern) })),
    }),
  )
  return drawTree({
    text: `plan ${plan.digest}`,
    branches: [
      { text: 'models', branches: models },
      { text: 'steps', branches: steps },
      { text: plan.outputs.length === 1 ? 'output' : 'outputs', branches: plan.outputs.map(outputBranch) },
      { text: `arithmetic: ${plan.compute}, seed ${plan.seed}` },
      { text: `to read: ${formatSize(plan.cost.read)}, to write: ${formatSize(plan.cost.write)}` },
      { text: `memory: at most ${formatSize(memory)} with ${counted(threads, 'thread')}` },
    ],
  })
}
