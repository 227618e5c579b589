/** The order of tensors in their file. Those without bytes share their offset with the next one: names decide. */
export const byPlace = (
  a: { readonly name: string; readonly offset: number; readonly bytes: number },
  b: { readonly name: string; readonly offset: number; readonly bytes: number },
): number => a.offset - b.offset || a.bytes - b.bytes || (a.name < b.name ? -1 : 1)
