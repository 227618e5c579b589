/** Checks of steps: a command must print the same metrics for a model before and after the step. */
import { fault } from '../../core/diagnostics.js'
import { formatCount } from '../../core/words.js'
import type { Plan, PlanOutput } from '../../plan/types.js'
import type { CheckRecord } from '../../steps/types.js'
import type { Bindings } from '../types.js'
import type { Figures } from './command.js'

/** The plan with the checkpoints of its checks as outputs after its own. They are staged beside the first output. */
export function withChecks(plan: Plan, bindings: Bindings): { readonly plan: Plan; readonly bindings: Bindings } {
  const { checks = [] } = plan
  if (checks.length === 0) return { plan, bindings }
  const made = checks.flatMap(({ outputs }) => outputs)
  const sum = (side: 'read' | 'write') => checks.reduce((total, { cost }) => total + cost[side], plan.cost[side])
  return {
    plan: {
      ...plan,
      outputs: [...plan.outputs, ...made],
      cost: { ...plan.cost, read: sum('read'), write: sum('write') },
    },
    bindings: {
      ...bindings,
      outputs: [...bindings.outputs, ...made.map((_, index) => `${bindings.outputs[0]!}.check-${index}`)],
    },
  }
}

/** The metrics of checks as they come. */
export interface CheckBook {
  /** Error: `alignment-check-failed`, with the second checkpoint of a check. */
  readonly add: (output: PlanOutput, figures: Figures) => void
  /** By step. */
  readonly passed: ReadonlyMap<string, CheckRecord>
}

export function checkBook({ checks = [] }: Plan): CheckBook {
  const before = new Map<string, Figures>()
  const passed = new Map<string, CheckRecord>()
  return {
    passed,
    add({ from: step, check, evaluate }, figures) {
      if (check === 'before') {
        before.set(step, figures)
        return
      }
      const { tolerance } = checks.find((one) => one.step === step)!
      const record = { tolerance, before: before.get(step)!, after: figures }
      const problem = differenceIn(record)
      if (problem !== undefined)
        throw fault(
          'alignment-check-failed',
          `${step}: ${problem.message} (${evaluate!.command.join(' ')})`,
          problem.hint,
          1,
        )
      passed.set(step, record)
    },
  }
}

/** A message lists at most so many metrics. */
const LISTED = 5

const OTHER =
  'the spec does not fit the network: export it to ONNX (spec: model.onnx), or write the spec; if the command is not deterministic, fix its seeds or raise tolerance'

/** How the metrics of a check differ, if they differ by more than its tolerance. */
export function differenceIn({
  tolerance,
  before,
  after,
}: CheckRecord): { readonly message: string; readonly hint: string } | undefined {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  if (names.length === 0)
    return {
      message: 'the check printed no metric, so it can’t show that the alignment keeps what the model computes',
      hint: 'print a JSON object of numbers, such as {"loss": 0.31}',
    }
  const one = names.find((name) => before[name] === undefined || after[name] === undefined)
  if (one !== undefined)
    return {
      message: `the check printed ${one} only ${before[one] === undefined ? 'after' : 'before'} the alignment`,
      hint: 'print the same metrics for both models',
    }
  const differs = names.filter(
    (name) =>
      Math.abs(after[name]! - before[name]!) > tolerance * Math.max(Math.abs(before[name]!), Math.abs(after[name]!)),
  )
  if (differs.length === 0) return undefined
  const shown = differs
    .slice(0, LISTED)
    .map((name) => `${name} ${shortNumber(before[name]!)} → ${shortNumber(after[name]!)}`)
  const more = differs.length > LISTED ? `, and ${formatCount(differs.length - LISTED)} more` : ''
  return { message: `the aligned model computes something else: ${shown.join(', ')}${more}`, hint: OTHER }
}

const shortNumber = (value: number): number => Number(value.toPrecision(6))
