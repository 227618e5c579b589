import type { Trace, TraceSource, TraceStep } from '../index.js'
import { type Branch, drawTree, fitted } from './fit.js'
import { printable } from './text.js'

/** Numbers in traces: six digits are enough to read, and JSON has all. */
const short = (weight: number): string => String(Number(weight.toPrecision(6)))

const scaleText = (scale: number | undefined): string => (scale === undefined ? '' : ` (scale ${short(scale)})`)

/** The share of a source in its step, before its name. */
function shareText({ weight, role, scale }: TraceSource): string {
  const change = `change by${scaleText(scale)}: `
  const what = role === 'base' ? 'base: ' : role === 'adapter' ? change : ''
  return weight === null ? what : `${short(weight)} × ${what}`
}

/** A step that was shown is not repeated: several sources can be made from the same parts. */
function branchesOf(step: TraceStep, shown: Set<TraceStep>): Branch[] {
  shown.add(step)
  return step.sources.map((source) => {
    const { model, tensor, reference, stopped, of } = source
    const where = reference === undefined ? '' : ` (${reference})`
    const made = of ? `, ${stepText(of)}${shown.has(of) ? ' (shown above)' : ''}` : ''
    const why = stopped === undefined ? '' : `; not followed: ${stopped}`
    return {
      text: printable(`${shareText(source)}${model}${where}: ${tensor}${made}${why}`),
      branches: of && !shown.has(of) ? branchesOf(of, shown) : [],
    }
  })
}

const stepText = ({ method, why }: TraceStep): string => `${method}${why === undefined ? '' : ` [no weights: ${why}]`}`

/** The way of a tensor as a tree, and its effective weights, in lines of at most `width` columns. */
export function traceText({ tensor, step, weights, linear }: Trace, width: number): string {
  const tree = drawTree(
    { text: printable(`${tensor}: ${stepText(step)}`), branches: branchesOf(step, new Set()) },
    width,
  )
  const rows = weights.map(({ weight, reference, revision, tensors, scale }) => [
    weight === null ? '-' : short(weight),
    printable(revision === undefined ? reference : `${reference} at ${revision}`),
    printable(`${tensors.join(', ')}${scaleText(scale)}`),
  ])
  const title = linear ? 'effective weights, over all ways' : 'effective weights, where all ways are linear'
  const table = fitted([{ title: 'weight', align: 'right' }, { title: 'model' }, { title: 'tensor' }], rows, width)
  return rows.length === 0 ? tree : `${tree}\n\n${title}:\n${table}`
}
