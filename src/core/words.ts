/** Counts, plurals and lists for messages. */

/** The word that agrees with a count, such as `is` or `are`. */
export const agree = (count: number, one: string, many: string): string => (count === 1 ? one : many)

/** `1 file`, `2 files`. `many` is for irregular plurals: `1 index`, `2 indices`. */
export const plural = (count: number, noun: string, many = `${noun}s`): string => `${count} ${agree(count, noun, many)}`

/** `a`, `a or b`, `a, b or c`. */
export const eitherOf = (words: readonly string[]): string => listed(words, 'or')

/** `a`, `a and b`, `a, b and c`. */
export const allOf = (words: readonly string[]): string => listed(words, 'and')

const listed = (words: readonly string[], last: 'or' | 'and'): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`

/** `1234567` as `1,234,567`, in every locale. */
export const formatCount = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ',')

/** Like `plural`, with thousands separators: `1 tensor`, `1,234 tensors`. */
export const counted = (count: number, noun: string, many = `${noun}s`): string =>
  `${formatCount(count)} ${agree(count, noun, many)}`
