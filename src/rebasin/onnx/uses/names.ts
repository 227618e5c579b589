/** Names of tensors in an export and in a checkpoint. */
import { addTo } from '../../../core/collections/lists.js'
import type { Shapes } from '../../spec.js'
import type { OnnxTensor } from '../graph/model.js'

/** Names by each of their ends of up to twelve parts. */
export function nameEnds(names: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const ends = new Map<string, string[]>()
  for (const name of names) {
    const parts = name.split('.')
    for (let k = Math.max(0, parts.length - 12); k < parts.length; k++) addTo(ends, parts.slice(k).join('.'), name)
  }
  return ends
}

/** The tensor of this name, or the only one whose name ends in it. */
export function tensorAt(
  name: string,
  shapes: Shapes,
  ends: ReadonlyMap<string, readonly string[]>,
): string | undefined {
  if (shapes.has(name)) return name
  const found = ends.get(name) ?? []
  return found.length === 1 ? found[0] : undefined
}

/** Names of initializers as the checkpoint has them: the same, or with one prefix more or less in all names. */
export function renaming(floats: readonly OnnxTensor[], shapes: Shapes): (name: string) => string | undefined {
  const exact = (name: string) => (shapes.has(name) ? name : undefined)
  const names = floats.map(({ name }) => name).filter((name) => !name.startsWith('onnx::'))
  const count = (rename: (name: string) => string | undefined) =>
    names.filter((name) => rename(name) !== undefined).length
  const candidates: ((name: string) => string | undefined)[] = [exact]
  // The export may have a prefix such as `module.`, and the checkpoint one such as `model.`.
  const inner = names[0]
  if (inner !== undefined && count(exact) < names.length) {
    const parts = inner.split('.')
    for (let k = 1; k < Math.min(parts.length, 5); k++) {
      const prefix = `${parts.slice(0, k).join('.')}.`
      candidates.push((name) => (name.startsWith(prefix) ? exact(name.slice(prefix.length)) : undefined))
    }
    const holder = [...shapes.keys()].find((name) => name.endsWith(`.${inner}`))
    if (holder !== undefined) candidates.push((name) => exact(holder.slice(0, -inner.length) + name))
  }
  return candidates.reduce((best, other) => (count(other) > count(best) ? other : best))
}
