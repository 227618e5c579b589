/** The graph of steps: cycles, the steps that outputs need, and the order of execution. */
import { quote } from '../core/suggest.js'
import type { Report } from '../language/report.js'
import type { Step } from '../steps/index.js'
import type { Groups } from './matches/types.js'
import type { LinkedStep } from './steps.js'

const CIRCLE = 'change one of these steps so that it uses none of the others'

/**
 * Puts steps after those they use, otherwise in the order of the recipe. Each cycle is reported once, with all of its
 * steps. Error: `cycle`.
 */
export function orderSteps(linked: readonly LinkedStep[], report: Report): { ordered: Step[]; cyclic: boolean } {
  const byName = new Map(linked.map((entry) => [entry.step.name, entry]))
  const state = new Map<string, 'open' | 'done'>()
  const trail: string[] = []
  const ordered: Step[] = []
  let cyclic = false
  const visit = (entry: LinkedStep): void => {
    const { step, uses } = entry
    state.set(step.name, 'open')
    trail.push(step.name)
    for (const { name, at } of uses) {
      const next = byName.get(name)
      if (!next || state.get(name) === 'done') continue
      if (state.get(name) !== 'open') visit(next)
      else {
        const reported = cyclic
        cyclic = true
        const hops = [...trail.slice(trail.indexOf(name)), name]
        // A list can name one step twice, which would report the same cycle twice.
        if (!reported || !report.diagnostics.some(({ message }) => message.endsWith(hops.join(' → '))))
          report.error('cycle', `steps depend on each other in a cycle: ${hops.join(' → ')}`, at.path, { hint: CIRCLE })
      }
    }
    trail.pop()
    state.set(step.name, 'done')
    ordered.push(step)
  }
  for (const entry of linked) if (!state.has(entry.step.name)) visit(entry)
  return { ordered, cyclic }
}

/** Names of the models and steps that `from` depends on, including `from`. */
export function needed(from: readonly string[], linked: readonly LinkedStep[]): Set<string> {
  const byName = new Map(linked.map((entry) => [entry.step.name, entry]))
  const found = new Set<string>()
  const open = [...from]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name)) continue
    found.add(name)
    open.push(...(byName.get(name)?.uses.map((use) => use.name) ?? []))
  }
  return found
}

/** The steps of one block, such as a joint alignment, count as one: it is used if one of them is. */
const blockOf = ({ step }: LinkedStep): string => JSON.stringify(step.at)

/** Names of the steps that no other step uses. */
export function unusedSteps(linked: readonly LinkedStep[]): string[] {
  const users = new Map<string, Set<string>>()
  for (const entry of linked)
    for (const { name } of entry.uses) users.set(name, (users.get(name) ?? new Set()).add(blockOf(entry)))
  const used = new Set<string>()
  for (const entry of linked)
    if ([...(users.get(entry.step.name) ?? [])].some((user) => user !== blockOf(entry))) used.add(blockOf(entry))
  return linked.filter((entry) => !users.has(entry.step.name) && !used.has(blockOf(entry))).map(({ step }) => step.name)
}

/** Warns of models and steps that no output needs: `unused-model` only if no step uses the model, `unused-step`. */
export function warnUnused(
  models: Iterable<string>,
  groups: Groups,
  linked: readonly LinkedStep[],
  used: ReadonlySet<string>,
  report: Report,
): void {
  const everywhere = new Set(linked.flatMap(({ uses }) => uses.map(({ name }) => name)))
  const unused = (name: string): boolean => !used.has(name) && !everywhere.has(name)
  /** The models of patterns of which none is used: one warning is enough. */
  const together = new Set<string>()
  for (const [name, { models, at }] of groups)
    if (models.every(unused)) {
      for (const one of models) together.add(one)
      report.warn('unused-model', `no step uses the models of ${quote(name)}`, at, {
        part: 'key',
        hint: 'remove it, or use it in a step',
      })
    }
  for (const name of models)
    if (unused(name) && !together.has(name))
      report.warn('unused-model', `no step uses the model ${quote(name)}`, ['models', name], {
        part: 'key',
        hint: 'remove it, or use it in a step',
      })
  const needed = new Set(linked.filter(({ step }) => used.has(step.name)).map(blockOf))
  for (const entry of linked) {
    const { step } = entry
    if (needed.has(blockOf(entry))) continue
    needed.add(blockOf(entry))
    const at = step.at.slice(0, step.at[0] === 'steps' ? 2 : 1)
    report.warn('unused-step', `no output needs the step ${quote(entry.written)}`, at, {
      part: 'key',
      hint: 'remove it, or write its result to an output with from: NAME',
    })
  }
}
