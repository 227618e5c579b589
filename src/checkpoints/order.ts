/** Compares tensors by their place in a file. Empty tensors share an offset with the next one; their names decide. */
export const byPlace = (
  a: { readonly name: string; readonly offset: number; readonly bytes: number },
  b: { readonly name: string; readonly offset: number; readonly bytes: number },
): number => a.offset - b.offset || a.bytes - b.bytes || (a.name < b.name ? -1 : 1)
