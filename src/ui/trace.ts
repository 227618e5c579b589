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
    const { model, tensor, reference, format, stopped, of } = source
    const where = reference === undefined ? '' : ` (${reference})`
    const stored = format === undefined ? '' : ` (${format})`
    const made = of ? `, ${stepText(of)}${shown.has(of) ? ' (shown above)' : ''}` : ''
    const why = stopped === undefined ? '' : `; not followed: ${stopped}`
    return {
      text: printable(`${shareText(source)}${model}${where}: ${tensor}${stored}${made}${why}`),
      branches: of && !shown.has(of) ? branchesOf(of, shown) : [],
    }
  })
}

function stepText({ method, why, rows, ofChange, quantized }: TraceStep): string {
  const notes = [
    ...(ofChange ? ['of the changes by the adapters, not of this factor'] : []),
    ...(rows === undefined ? [] : [`only of the first ${rows} rows`]),
    ...(quantized === undefined ? [] : [`quantized as ${quantized}`]),
    ...(why === undefined ? [] : [`no weights: ${why}`]),
  ]
  return `${method}${notes.length === 0 ? '' : ` [${notes.join('; ')}]`}`
}

/** The way of a tensor as a tree, and its effective weights, in lines of at most `width` columns. */
export function traceText({ tensor, step, weights, linear, rows: first }: Trace, width: number): string {
  const tree = drawTree(
    { text: printable(`${tensor}: ${stepText(step)}`), branches: branchesOf(step, new Set()) },
    width,
  )
  const rows = weights.map(({ weight, reference, revision, tensors, scale, permuted = [] }) => [
    weight === null ? '-' : short(weight),
    printable(revision === undefined ? reference : `${reference} at ${revision}`),
    printable(`${tensors.join(', ')}${scaleText(scale)}${permuted.map((step) => `, permuted by ${step}`).join('')}`),
  ])
  const limits = first === undefined ? '' : `, of the first ${first} rows`
  const title = `effective weights${limits}, ${linear ? 'over all ways' : 'where all ways are linear'}`
  const table = fitted([{ title: 'weight', align: 'right' }, { title: 'model' }, { title: 'tensor' }], rows, width)
  return rows.length === 0 ? tree : `${tree}\n\n${title}:\n${table}`
}
