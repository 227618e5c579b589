import type { Plan } from './types.js'

/** The stored tensors of a plan's files, numbered: file after file, and in each file in the order in which they lie. */
export interface StoredTensors {
  readonly count: number
  /** The number of a stored tensor by its place. Tensors that share their bytes have the number of the first of them. */
  numberOf(place: StoredPlace): number
  /** The numbers that tensors have: of those that share their bytes, one. */
  numbers(): Generator<number>
  placeOf(number: number): StoredPlace & { readonly name: string }
}

/** Bytes of one of a plan's files. */
export interface StoredPlace {
  /** Index into `Plan.files`. */
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

export function storedTensors({ files }: Pick<Plan, 'files'>): StoredTensors {
  const firsts: number[] = []
  let count = 0
  for (const { tensors } of files) {
    firsts.push(count)
    count += tensors.length
  }
  return {
    count,
    numberOf(place) {
      const { file, offset, bytes } = place
      const tensors = files[file]?.tensors ?? []
      // They are sorted by offset and size, so that no table is needed: there may be a million.
      let [low, high] = [0, tensors.length]
      while (low < high) {
        const middle = (low + high) >>> 1
        const at = tensors[middle]!
        if (at.offset < offset || (at.offset === offset && at.bytes < bytes)) low = middle + 1
        else high = middle
      }
      const found = tensors[low]
      if (found?.offset !== offset || found.bytes !== bytes)
        throw new Error(`internal: file ${file} has no tensor of ${bytes} bytes at ${offset}`)
      return firsts[file]! + low
    },
    *numbers() {
      for (const [file, { tensors }] of files.entries())
        for (const [index, { offset, bytes }] of tensors.entries()) {
          const before = tensors[index - 1]
          if (before?.offset !== offset || before.bytes !== bytes) yield firsts[file]! + index
        }
    },
    placeOf(number) {
      const file = firsts.findLastIndex((first) => first <= number)
      return { file, ...files[file]!.tensors[number - firsts[file]!]! }
    },
  }
}
