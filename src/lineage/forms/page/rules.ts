/** Which rules of merge steps made a tensor, found again from the recorded patterns and the names. */
import { compilePattern } from '../../../core/patterns.js'
import type { Lineage, LineageMerge, LineageSource, LineageTensor } from '../../types.js'
import type { RuleData } from './pageData.js'

export interface Rules {
  readonly list: readonly RuleData[]
  /** Indexes into `list`: the rule of each step that made the tensor. */
  readonly of: (name: string, tensor: LineageTensor) => readonly number[]
}

/** The element of a step, and of a rule in it (from 1). */
export const stepId = (index: number, rule?: number): string =>
  `step-${index + 1}${rule === undefined ? '' : `-rule-${rule}`}`

/** By step: the first rule that matches a name. A broken pattern in a lineage matches nothing. */
function choosers(lineage: Lineage): { list: RuleData[]; choose: Map<string, (name: string) => number | undefined> } {
  const list: RuleData[] = []
  const choose = new Map<string, (name: string) => number | undefined>()
  for (const [index, [step, record]] of Object.entries(lineage.steps).entries()) {
    if (record.kind === 'tokenizer') continue
    const places = new Map<number, number>()
    const rules = record.patterns.flatMap(({ pattern, where, rule }) => {
      if (where !== 'rule' || rule === undefined) return []
      if (!places.has(rule)) places.set(rule, list.push({ step, number: rule + 1, id: stepId(index, rule + 1) }) - 1)
      const compiled = compilePattern(pattern)
      return compiled.kind === 'fault' ? [] : [{ place: places.get(rule)!, rule, matches: compiled.matches }]
    })
    if (rules.length === 0) continue
    rules.sort((a, b) => a.rule - b.rule)
    const known = new Map<string, number | undefined>()
    choose.set(step, (name) => {
      if (!known.has(name)) known.set(name, rules.find(({ matches }) => matches(name))?.place)
      return known.get(name)
    })
  }
  return { list, choose }
}

/** Readers of lineages refuse deeper ones, so the walk ends. */
export function rulesOf(lineage: Lineage): Rules {
  const { list, choose } = choosers(lineage)
  if (choose.size === 0) return { list, of: () => [] }
  const of = (name: string, tensor: LineageTensor): readonly number[] => {
    const found = new Set<number>()
    const visit = (step: string, tensorName: string, merge: LineageMerge): void => {
      // A step that only copied the tensor applied no rule to it.
      const rule = merge.method === 'copy' ? undefined : choose.get(step)?.(tensorName)
      if (rule !== undefined) found.add(rule)
      const inner = (source: LineageSource): void => {
        if (source.of) visit(source.model, source.tensor, source.of)
      }
      merge.sources.forEach(inner)
      if (merge.base) inner(merge.base)
    }
    visit(lineage.output.from, name, tensor)
    for (const part of tensor.parts ?? []) visit(part.model, part.tensor, part)
    return [...found].sort((a, b) => a - b)
  }
  return { list, of }
}
