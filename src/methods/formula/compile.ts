/** Compiles values of a graph to a program: which parts are done in one instruction, and in which registers. */
import type { FormulaCode, Instruction, Measure, Operand, Operation } from '../../kernels/formula.js'
import { argsOf, type Graph } from './graph.js'

/** A number of a program: a value that is the same for all elements, or where a quantile cuts. */
export type NumberOf =
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'key' | 'cut'; readonly reduction: number }

export interface Compiled extends FormulaCode {
  readonly filled: readonly NumberOf[]
}

/** What to compute: the result of the formula, or values that are measured. */
export type Wanted =
  | { readonly kind: 'result'; readonly value: number }
  | { readonly kind: 'measures'; readonly of: readonly { readonly value: number; readonly measure: Measure }[] }

interface Draft {
  readonly graph: Graph
  readonly instructions: Instruction[]
  readonly filled: NumberOf[]
  /** By text of a number: its index. */
  readonly numbers: Map<string, number>
  /** By value: where it is. */
  readonly places: Map<number, Operand>
  /** By value: the last instruction that uses it. */
  readonly lastUse: Map<number, number>
  readonly free: number[]
  registers: number
}

/** An instruction before registers are chosen. */
interface Step {
  readonly value: number
  readonly operation: Operation
  readonly args: readonly number[]
  readonly reduction?: number
}

/** The values that are computed for each element, with what they need, in order. */
function neededOf({ values, facts }: Graph, roots: readonly number[]): number[] {
  const needed = new Set<number>()
  const open = [...roots]
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (needed.has(id) || !facts[id]!.element) continue
    needed.add(id)
    open.push(...argsOf(values[id]!))
  }
  return [...needed].sort((a, b) => a - b)
}

/** The instruction for each value that needs one. */
function stepsOf(graph: Graph, roots: readonly number[]): Step[] {
  const { values } = graph
  const needed = neededOf(graph, roots)
  const uses = new Map<number, number>()
  for (const id of [...needed.flatMap((id) => argsOf(values[id]!)), ...roots]) uses.set(id, (uses.get(id) ?? 0) + 1)
  const single = (id: number): boolean => uses.get(id) === 1
  const fused = new Set<number>()
  const steps: Step[] = []
  for (const id of [...needed].reverse()) {
    if (fused.has(id)) continue
    const value = values[id]!
    if (value.kind === 'delta') steps.push({ value: id, operation: 'delta', args: [] })
    else if (value.kind === 'ranked')
      steps.push({ value: id, operation: 'whereRanked', args: value.args, reduction: value.reduction })
    else if (value.kind === 'apply' || value.kind === 'where') {
      const product = value.operation === 'add' ? productIn(graph, value.args, single) : undefined
      if (!product) steps.push({ value: id, operation: value.operation, args: value.args })
      else {
        const { sum, factor, of, at } = product
        fused.add(at)
        const task = values[of]!.kind === 'delta' && single(of)
        if (task) fused.add(of)
        steps.push({ value: id, operation: task ? 'term' : 'multiplyAdd', args: [sum, factor, of] })
      }
    }
  }
  // From the last to the first, so that what is part of another instruction is known before it comes.
  return steps.reverse()
}

/** A product of a number and elements that only this sum uses: a + s·x is one instruction. */
function productIn(
  { values, facts }: Graph,
  [left, right]: readonly number[],
  single: (id: number) => boolean,
): { readonly sum: number; readonly factor: number; readonly of: number; readonly at: number } | undefined {
  for (const [at, sum] of [
    [right!, left!],
    [left!, right!],
  ] as const) {
    const value = values[at]!
    if (at === sum || value.kind !== 'apply' || value.operation !== 'multiply' || !facts[at]!.element || !single(at))
      continue
    const [a, b] = value.args as readonly [number, number]
    if (!facts[a]!.element) return { sum, factor: a, of: b, at }
    if (!facts[b]!.element) return { sum, factor: b, of: a, at }
  }
  return undefined
}

export function compile(graph: Graph, wanted: Wanted): Compiled {
  const roots = wanted.kind === 'result' ? [wanted.value] : wanted.of.map(({ value }) => value)
  const steps = stepsOf(graph, roots)
  const draft: Draft = {
    ...{ graph, instructions: [], filled: [], numbers: new Map(), places: new Map() },
    ...{ lastUse: lastUses(graph, steps, roots), free: [], registers: 0 },
  }
  const result = wanted.kind === 'result' ? steps.at(-1) : undefined
  for (const [index, step] of steps.entries()) emit(draft, step, index, step === result && result?.value === roots[0])
  if (wanted.kind === 'result' && result?.value !== wanted.value)
    draft.instructions.push({ operation: 'move', to: { kind: 'output' }, operands: [operandOf(draft, wanted.value)] })
  const outputs =
    wanted.kind === 'result' ? [] : wanted.of.map(({ value, measure }) => ({ from: operandOf(draft, value), measure }))
  const { instructions, filled, registers } = draft
  return { instructions, outputs, registers, numbers: filled.length, filled }
}

/** By value: the index of the last instruction that reads it. Outputs are read after all. */
function lastUses({ values }: Graph, steps: readonly Step[], roots: readonly number[]): Map<number, number> {
  const last = new Map<number, number>()
  for (const [index, { args }] of steps.entries()) for (const arg of args) last.set(arg, index)
  for (const root of roots) if (values[root]!.kind !== 'constant') last.set(root, steps.length)
  return last
}

function emit(draft: Draft, step: Step, index: number, isResult: boolean): void {
  const { graph, places, lastUse, free, instructions } = draft
  const term = step.operation === 'term'
  const operands = (term ? step.args.slice(0, 2) : step.args).map((arg) => operandOf(draft, arg))
  if (term || step.operation === 'delta')
    operands.push(inputOf(graph, term ? step.args[2]! : step.value), { kind: 'base' })
  if (step.reduction !== undefined) operands.push(cutOf(draft, step.reduction))
  // An element is written after all operands of it are read, so that a register can be used again at once.
  for (const arg of new Set(step.args)) {
    const place = places.get(arg)
    if (place?.kind === 'register' && lastUse.get(arg) === index) free.push(place.index)
  }
  const to: Operand = isResult ? { kind: 'output' } : { kind: 'register', index: free.pop() ?? draft.registers++ }
  places.set(step.value, to)
  instructions.push({ operation: step.operation, to, operands })
}

function inputOf({ values }: Graph, id: number): Operand {
  const value = values[id]!
  if (value.kind !== 'delta') throw new Error('internal: a difference of something else than a model')
  return { kind: 'input', index: value.index }
}

/** Where a value is. One that is the same for all elements is a number of the program. */
function operandOf(draft: Draft, id: number): Operand {
  const { graph, places } = draft
  const value = graph.values[id]!
  if (!graph.facts[id]!.element) return numberOf(draft, `${id}`, { kind: 'value', value: id })
  if (value.kind === 'input') return { kind: 'input', index: value.index }
  if (value.kind === 'base') return { kind: 'base' }
  const place = places.get(id)
  if (!place) throw new Error('internal: a value is used before it is computed')
  return place
}

function numberOf({ filled, numbers }: Draft, key: string, of: NumberOf): Operand {
  const index = numbers.get(key) ?? filled.push(of) - 1
  numbers.set(key, index)
  return { kind: 'number', index }
}

/** A quantile's key. Its cut is the next number. */
function cutOf(draft: Draft, reduction: number): Operand {
  const key = `cut ${reduction}`
  const known = draft.numbers.has(key)
  const operand = numberOf(draft, key, { kind: 'key', reduction })
  if (!known) draft.filled.push({ kind: 'cut', reduction })
  return operand
}
