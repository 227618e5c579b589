import type { StoredPlace, StoredTensors } from '../../plan/stored.js'

/** Digests of the plan's stored tensors. Each one is digested once, by the first program that reads all of it. */
export interface InputDigests {
  readonly enabled: boolean
  /** True for the first caller, which then must digest the tensor. */
  take(stored: number): boolean
  takePlace(place: StoredPlace): boolean
  get(stored: number): string | undefined
  set(stored: number, digest: string): void
  /** Takes over what is known from an earlier run. Nobody digests the tensor then. */
  know(stored: number, digest: string): void
  /** All that are known, by stored tensor. */
  all(): Generator<readonly [stored: number, digest: string]>
  /** Calls back when all of these are known. */
  whenKnown(stored: readonly number[], done: () => void): void
}

/** `noted`: called with each digest that is found here. */
export function inputDigests(
  stored: StoredTensors,
  enabled: boolean,
  noted: (stored: number, digest: string) => void = () => {},
): InputDigests {
  const taken = new Uint8Array(stored.count)
  const digests: (string | undefined)[] = new Array(stored.count)
  const waiting = new Map<number, (() => void)[]>()
  const take = (number: number): boolean => {
    if (!enabled || taken[number] === 1) return false
    taken[number] = 1
    return true
  }
  const set = (number: number, digest: string): void => {
    digests[number] = digest
    const done = waiting.get(number)
    waiting.delete(number)
    for (const call of done ?? []) call()
  }
  return {
    enabled,
    take,
    takePlace: (place) => enabled && take(stored.numberOf(place)),
    get: (number) => digests[number],
    set(number, digest) {
      // Before the records that it completes: a journal without it could not check them.
      noted(number, digest)
      set(number, digest)
    },
    know(number, digest) {
      if (take(number)) set(number, digest)
    },
    *all() {
      for (const [stored, digest] of digests.entries()) if (digest !== undefined) yield [stored, digest]
    },
    whenKnown(numbers, done) {
      const missing = enabled ? numbers.filter((number) => digests[number] === undefined) : []
      let left = missing.length
      if (left === 0) done()
      for (const number of missing) {
        const call = () => --left === 0 && done()
        waiting.set(number, [...(waiting.get(number) ?? []), call])
      }
    },
  }
}
