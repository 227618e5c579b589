/** A seeded order: the same list, numbers and place in the work give the same order everywhere. */
export function shuffled<T>(items: readonly T[], ...key: readonly number[]): T[] {
  const random = generator(...key)
  const order = [...items]
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const keep = order[i]!
    order[i] = order[j]!
    order[j] = keep
  }
  return order
}

/** Uniform numbers in [0, 1) of 32 bits: SplitMix32 from a mixture of the key's numbers. */
export function generator(...key: readonly number[]): () => number {
  let state = 0x9e3779b9
  for (const number of key) {
    state = mix(state ^ mix(number | 0))
    state = mix(state + (Math.floor(number / 2 ** 32) | 0))
  }
  return () => {
    state = (state + 0x9e3779b9) | 0
    return (mix(state) >>> 0) / 2 ** 32
  }
}

function mix(x: number): number {
  let z = x | 0
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
  return z ^ (z >>> 15)
}
