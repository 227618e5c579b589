import type { Plan } from './types.js'

/** Numbers the stored tensors of a plan's files: file by file, and within a file by offset. */
export interface StoredTensors {
  readonly count: number
  /** The number of the stored tensor at a place. Tensors that share their bytes share the number of the first. */
  numberOf(place: StoredPlace): number
  /** All numbers in use. Tensors that share their bytes give one number. */
  numbers(): Generator<number>
  /** Those of one file. */
  numbersIn(file: number): Generator<number>
  placeOf(number: number): StoredPlace & { readonly name: string }
}

/** A byte range in one of a plan's files. */
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
  function* numbersIn(file: number): Generator<number> {
    const { tensors } = files[file]!
    for (const [index, { offset, bytes }] of tensors.entries()) {
      const before = tensors[index - 1]
      if (before?.offset !== offset || before.bytes !== bytes) yield firsts[file]! + index
    }
  }
  return {
    count,
    numberOf(place) {
      const { file, offset, bytes } = place
      const tensors = files[file]?.tensors ?? []
      // The tensors are sorted by offset and size, so a binary search replaces a table of perhaps a million entries.
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
      for (const file of files.keys()) yield* numbersIn(file)
    },
    numbersIn,
    placeOf(number) {
      const file = firsts.findLastIndex((first) => first <= number)
      return { file, ...files[file]!.tensors[number - firsts[file]!]! }
    },
  }
}
