/** What a place where parts meet is for, and what was done. */
import type { FileContent } from '../local/workFolder.js'
import type { MeetingPlace } from './types.js'

/** Bytes of what a place is bound to. */
const MOST_LINE = 10_000
/** A record of a million tensors is smaller. */
const MOST_RECORD = 2 ** 30

/**
 * Binds the place to a line of text, unless it is bound already. Returns the text that it is bound to. Two processes that bind it to
 * different texts at the same moment may each read their own one: records say what they belong to as well.
 */
export async function bind(place: MeetingPlace, name: string, text: string): Promise<string> {
  const known = await boundTo(place, name)
  if (known !== undefined) return known
  await place.create(`${name}.bound`, `${text}\n`)
  return (await boundTo(place, name)) ?? text
}

/** The text that the place is bound to. */
export async function boundTo(place: MeetingPlace, name: string): Promise<string | undefined> {
  return (await place.read(`${name}.bound`, MOST_LINE))?.trimEnd()
}

/** Writes `NAME.record`, or replaces it, at once. */
export const writeRecord = (place: MeetingPlace, name: string, content: FileContent, sync: boolean): Promise<void> =>
  place.write(`${name}.record`, content, sync)

/** The text of `NAME.record`; undefined if it does not exist. */
export const readRecord = (place: MeetingPlace, name: string): Promise<string | undefined> =>
  place.read(`${name}.record`, MOST_RECORD)

/** The names of all texts that end in an extension, such as `.journal`, without it. */
export const namesOf = async (place: MeetingPlace, extension: string): Promise<string[]> =>
  (await place.names()).flatMap((name) => (name.endsWith(extension) ? [name.slice(0, -extension.length)] : [])).sort()
