/** The whole rows that n elements from `first` on lie in: from row `first` to before row `end`. */
export function rowsTouched(
  first: number,
  n: number,
  rowLength: number,
  elements: number,
): { readonly first: number; readonly end: number } {
  return {
    first: Math.floor(first / rowLength),
    end: Math.min(Math.ceil((first + n) / rowLength), elements / rowLength),
  }
}
