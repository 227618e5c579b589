/** Reads permutation specs: in the recipe, in a YAML file, or from an ONNX export of the model. */
import { hasErrors } from '../../../core/diagnostics.js'
import { didYouMean, quote } from '../../../core/suggest.js'
import { type Cursor, isMapping, textOf } from '../../../language/cursor.js'
import type { Report } from '../../../language/report.js'
import { readText } from '../../../language/source.js'
import { type Node, type ScalarNode, spanOf, spanPlace } from '../../../language/tree.js'
import type { Path, StepCommon } from '../../../language/types.js'
import type { AxisText, SpecText } from '../../../rebasin/spec.js'
import type { Locate, ReadFile } from '../../types.js'
import type { RebasinStep } from '../types.js'
import { readOnnxFile } from './onnx.js'

type Complain = (at: Path, message: string, hint?: string) => void

const KEYS = ['groups', 'tensors', 'kept', 'auto', 'tie', 'keep']
const isWhole = (node: Node | undefined): node is ScalarNode & { readonly value: number } =>
  node?.kind === 'scalar' && typeof node.value === 'number' && Number.isSafeInteger(node.value) && node.value >= 1

/** Checks the form of a spec. Planning checks it against a model. */
function specText(root: Node, complain: Complain): SpecText {
  const groups: Record<string, number | { size: number; inside?: string }> = Object.create(null)
  const tensors: Record<string, readonly AxisText[]> = Object.create(null)
  const kept: Record<string, string> = Object.create(null)
  const entries = (key: string): [string, Node][] => {
    const node = root.kind === 'map' ? root.entries.get(key)?.value : undefined
    if (node && node.kind !== 'map') complain([key], `${quote(key)} must be a mapping`)
    return node?.kind === 'map' ? [...node.entries].map(([name, { value }]) => [name, value]) : []
  }
  if (root.kind !== 'map') complain([], 'a permutation spec must be a mapping', 'write tensors: {NAME: [group, group]}')
  else {
    for (const key of root.entries.keys())
      if (!KEYS.includes(key)) complain([key], `a permutation spec has no key ${quote(key)}`, didYouMean(key, KEYS))
    if (!root.entries.has('tensors') && !root.entries.has('auto'))
      complain([], "a permutation spec needs the key 'tensors'", 'write tensors: {NAME: [group, group]}')
  }
  for (const [name, node] of entries('groups')) {
    if (isWhole(node)) {
      groups[name] = node.value
      continue
    }
    const own = node.kind === 'map' ? node.entries : undefined
    const [size, inside] = [own?.get('size')?.value, own?.get('inside')?.value]
    const outer = inside?.kind === 'scalar' ? inside.source : undefined
    const known = own && [...own.keys()].every((key) => key === 'size' || key === 'inside')
    if (!known || !isWhole(size) || (inside && outer === undefined))
      complain(
        ['groups', name],
        `the group ${quote(name)} must be a size, or a mapping such as {size: 16, inside: group}`,
      )
    else groups[name] = { size: size.value, ...(outer === undefined ? {} : { inside: outer }) }
  }
  for (const [name, node] of entries('tensors')) {
    if (node.kind !== 'list') complain(['tensors', name], `${quote(name)} needs a list with one entry per axis`)
    else tensors[name] = node.items.map((axis, i) => axisText(axis, ['tensors', name, i], complain))
  }
  for (const [name, node] of entries('kept'))
    if (node.kind === 'scalar') kept[name] = node.source
    else complain(['kept', name], `the reason for ${quote(name)} must be a string`)
  return { groups, tensors, ...(Object.keys(kept).length > 0 ? { kept } : {}), ...changesOf(root, complain) }
}

/** The keys that change an inferred spec. */
function changesOf(root: Node, complain: Complain): Pick<SpecText, 'auto' | 'tie' | 'keep'> {
  const at = (key: string): Node | undefined => (root.kind === 'map' ? root.entries.get(key)?.value : undefined)
  const [auto, tie, keep] = ['auto', 'tie', 'keep'].map(at)
  const texts = (node: Node, path: Path, what: string): readonly string[] => {
    const items = node.kind === 'list' ? node.items : []
    if (node.kind !== 'list' || items.some((item) => item.kind !== 'scalar')) complain(path, what)
    return items.flatMap((item) => (item.kind === 'scalar' ? [item.source] : []))
  }
  const family = auto?.kind === 'scalar' && (auto.value === true || typeof auto.value === 'string')
  if (auto && !family) complain(['auto'], 'auto must be true or the name of a family, such as chain')
  if (!auto)
    for (const [key, node] of [['tie', tie] as const, ['keep', keep] as const])
      if (node) complain([key], `${quote(key)} changes an inferred spec`, 'write auto: true, or auto: chain')
  const ties = tie?.kind === 'list' ? tie.items : []
  if (tie && tie.kind !== 'list') complain(['tie'], 'tie must be a list of lists, such as [[fc1, fc3]]')
  return {
    ...(auto?.kind === 'scalar' && family ? { auto: auto.value === true ? true : auto.source } : {}),
    ...(tie
      ? {
          tie: ties.map((node, i) => {
            const members = texts(node, ['tie', i], 'a tie must be a list of at least two groups or axes')
            if (members.length === 1) complain(['tie', i], 'a tie must be a list of at least two groups or axes')
            return members
          }),
        }
      : {}),
    ...(keep ? { keep: texts(keep, ['keep'], 'keep must be a list of patterns') } : {}),
  }
}

function axisText(node: Node, at: Path, complain: Complain): AxisText {
  const word = (part: Node): string | undefined =>
    part.kind === 'scalar' && (typeof part.value === 'string' || typeof part.value === 'number')
      ? part.source
      : undefined
  if (node.kind === 'scalar' && node.value === null) return null
  const words = node.kind === 'list' ? node.items.map(word) : [word(node)]
  if (words.some((text) => text === undefined))
    complain(at, 'an axis must be null, a group such as conv*49, or a list of groups')
  const whole = words.filter((text) => text !== undefined)
  return node.kind === 'list' ? whole : (whole[0] ?? null)
}

/** A spec in the recipe, at `at`. */
const inlineSpec = (node: Node, at: Path, report: Report): RebasinStep['spec'] => ({
  inline: specText(node, (path, message, hint) =>
    report.error('bad-spec', message, [...at, ...path], hint === undefined ? {} : { hint }),
  ),
})

/** A step with a spec. */
type WithSpec = StepCommon & Pick<RebasinStep, 'spec'>

/** The step with the content of its spec file. Errors in the file are added to `report`, with places in that file. */
export function readSpecFile<S extends WithSpec>(step: S, locate: Locate, read: ReadFile, report: Report): S {
  if (typeof step.spec !== 'object' || !('file' in step.spec)) return step
  const { file } = step.spec
  const complete = locate(file)
  const found = /\.onnx$/i.test(file) ? readOnnxFile(complete, file) : read(complete, file)
  if ('onnx' in found) return { ...step, spec: { inline: { tensors: {}, onnx: found.onnx } } }
  if ('fault' in found) {
    const { message, hint } = found.fault
    report.error(
      'bad-spec',
      `the permutation spec: ${message}`,
      [...step.at, 'spec'],
      hint === undefined ? {} : { hint },
    )
    return step
  }
  const { root, faults } = readText(file, found.text)
  report.diagnostics.push(...faults)
  if (!root || hasErrors(faults)) return step
  const placeOf = (at: Path) => spanPlace(spanOf(root, at, 'value'))
  const inline = specText(root, (at, message, hint) => {
    const place = placeOf(at)
    report.diagnostics.push({
      severity: 'error',
      code: 'bad-spec',
      message,
      place,
      ...(hint === undefined ? {} : { hint }),
    })
  })
  return { ...step, spec: { inline, placeOf } }
}

/** The `spec` key of a step. */
export function readSpec(at: Cursor | undefined, report: Report): RebasinStep['spec'] {
  const text = textOf(at)
  if (at && isMapping(at)) return inlineSpec(at.node, at.path, report)
  if (text === undefined || text === 'auto') return 'auto'
  return /[./\\]/.test(text) ? { file: text } : { family: text }
}
