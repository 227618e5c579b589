/** Numbers for people, the same in every locale. The page's script uses them too. */

/** Six digits: enough to compare. The lineage has all of them. */
export const rounded = (value: number): number => (Number.isInteger(value) ? value : Number(value.toPrecision(6)))

/** JSON with such numbers. */
export const roundedJson = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'number' ? rounded(inner) : inner))

/** A number with four digits. */
export const short = (value: number): string => String(Number.isInteger(value) ? value : Number(value.toPrecision(4)))

const COUNTS = [
  ['T', 1e12],
  ['G', 1e9],
  ['M', 1e6],
  ['k', 1e3],
] as const

/** 7_241_732_096 → "7.242 G". */
export function countText(count: number): string {
  const unit = COUNTS.find(([, size]) => count >= size)
  return unit ? `${short(count / unit[1])} ${unit[0]}` : String(count)
}

/** An integer with thin spaces between groups of three digits. */
export const grouped = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, '\u2009')

/** Invisible characters, and those that change the direction of text: they could make a name look like another. */
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g

/** Text with such characters written as escapes. */
export const visible = (text: string): string =>
  text.replace(HIDDEN, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)
