/** How the tokenizers library numbers tokens when it loads a file: ids of added tokens in the file have no effect. */

/**
 * Ids of all tokens after loading: a piece of the model keeps its id; each added token that is no piece gets the number of
 * pieces plus the number of such tokens before it, whatever ids the pieces have. `places`: the number of pieces where a piece's
 * id is its place and a text may stand twice.
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
 * Whether every version of the library gives these ids: newer ones count as `loadedIds` does; older ones go on from the highest
 * id of an added token, where that is no lower than the number of pieces.
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
