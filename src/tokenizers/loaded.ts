/**
 * The token ids that the tokenizers library gives when it loads a file. It ignores the ids of added tokens in the file.
 */

/**
 * The ids of all tokens after loading. A piece of the model keeps its id. An added token that is not a piece gets the
 * number of pieces plus the number of such tokens before it. `places`: the number of pieces if a piece's id is its
 * position, where a text may appear twice.
 */
export function loadedIds(
  pieces: ReadonlyMap<string, number>,
  added: Iterable<string>,
  places = pieces.size,
): Map<string, number> {
  const ids = new Map(pieces)
  let next = places
  for (const content of added) if (content !== '' && !ids.has(content)) ids.set(content, next++)
  return ids
}

/**
 * Whether every version of the library gives these ids. Newer versions count as in `loadedIds`. Older versions continue
 * from the highest id of an added token if that is not below the number of pieces.
 */
export function loadsAs(
  ids: ReadonlyMap<string, number>,
  pieces: ReadonlyMap<string, number>,
  added: readonly string[],
  places = pieces.size,
): boolean {
  if (!sameIds(ids, loadedIds(pieces, added, places))) return false
  const beside = added.filter((token) => !pieces.has(token))
  return beside.length === 0 || added.every((token) => !pieces.has(token) || pieces.get(token)! < places)
}

export function sameIds(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  if (a.size !== b.size) return false
  for (const [token, id] of a) if (b.get(token) !== id) return false
  return true
}
