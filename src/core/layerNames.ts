/** Where a tensor's name says which layer it belongs to: the first whole-number part, as in `model.layers.12.mlp…`. */

const partOf = (parts: readonly string[]): number => parts.findIndex((part) => /^\d+$/.test(part))

/** A tensor's layer; undefined outside layers. */
export function layerOf(name: string): number | undefined {
  const parts = name.split('.')
  const part = parts[partOf(parts)]
  return part === undefined ? undefined : Number(part)
}

/** The name with another word in the place of its layer; outside layers the name as it is. */
export function withLayer(name: string, layer: number | string): string {
  const parts = name.split('.')
  const at = partOf(parts)
  if (at >= 0) parts[at] = String(layer)
  return parts.join('.')
}

/** The layers of a model are 0…n-1 with n one more than the highest layer in its names; 0 where no name has one. */
export function layerCount(names: Iterable<string>): number {
  let count = 0
  for (const name of names) count = Math.max(count, (layerOf(name) ?? -1) + 1)
  return count
}
