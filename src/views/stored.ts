/** The stored tensors and findings that a view is made of. */
import { type Finding, type FoundGather, isFound, type RowGather, type StoredView, type View } from './types.js'

/** The direct parts of a view. */
function partsOfView(view: View): readonly View[] {
  switch (view.kind) {
    case 'stored':
      return []
    case 'slice':
    case 'permute':
    case 'reshape':
    case 'repeat':
      return [view.of]
    case 'concat':
      return view.parts
    case 'gather':
    case 'decode':
      return view.of
  }
}

/** The same view with other parts. */
function withParts(view: View, change: (part: View) => View): View {
  switch (view.kind) {
    case 'stored':
      return view
    case 'slice':
    case 'permute':
    case 'reshape':
    case 'repeat':
      return { ...view, of: change(view.of) }
    case 'concat':
      return { ...view, parts: view.parts.map(change) }
    case 'decode':
      return { ...view, of: view.of.map(change) }
    case 'gather':
      return isFound(view) ? { ...view, of: [change(view.of[0])] } : { ...view, of: view.of.map(change) }
  }
}

/** The same view with each stored tensor replaced. */
export const mapStored = (view: View, change: (stored: StoredView) => View): View =>
  view.kind === 'stored' ? change(view) : withParts(view, (part) => mapStored(part, change))

/** Every stored tensor that a view reads, each once, in the order of first mention. */
export function storedOf(view: View): readonly StoredView[] {
  if (view.kind === 'stored') return [view]
  const found = new Map<string, StoredView>()
  const visit = (part: View): void => {
    if (part.kind !== 'stored') for (const inner of partsOfView(part)) visit(inner)
    else if (!found.has(placeKey(part))) found.set(placeKey(part), part)
  }
  visit(view)
  return [...found.values()]
}

const placeKey = ({ file, offset, bytes, tensor, dtype, strides }: StoredView): string =>
  `${file}:${offset}:${bytes}:${dtype}:${strides ?? ''}:${tensor}`

/** The main stored tensor of a view: the first that it mentions. Rows and parts of others may be added to it. */
export function mainStored(view: View): StoredView {
  return view.kind === 'stored' ? view : mainStored(partsOfView(view)[0]!)
}

/**
 * The parts of a view that lie one after the other and belong to several models, each stored tensor once. Otherwise the view
 * itself. `modelOf`: the model of a file.
 */
export function partsByModel(view: View, modelOf: (file: number) => unknown): readonly View[] {
  let whole = view
  while (whole.kind === 'reshape') whole = whole.of
  if (whole.kind !== 'concat') return [view]
  const parts = new Map<string, View>()
  const models = new Set<unknown>()
  for (const part of whole.parts) {
    const { file, tensor } = mainStored(part)
    models.add(modelOf(file))
    const key = `${file}\0${tensor}`
    if (!parts.has(key)) parts.set(key, part)
  }
  return models.size > 1 ? [...parts.values()] : [view]
}

/** Whether a view is a contiguous stored tensor, whose bytes can be digested while they are read. */
export const isPlain = (view: View): view is StoredView => view.kind === 'stored' && !view.strides

/** Whether elements of a view are computed from codes, so that its bytes are not stored as they are. */
export const isDecoded = (view: View): boolean => view.kind === 'decode' || partsOfView(view).some(isDecoded)

/** The format of the first decoded numbers in a view; undefined if it has none. */
export function formatOf(view: View): string | undefined {
  if (view.kind === 'decode') return view.format
  for (const part of partsOfView(view)) {
    const found = formatOf(part)
    if (found !== undefined) return found
  }
  return undefined
}

/** Whether a view contains rows of several tensors, or rows of zeros. */
export const hasOtherRows = (view: View): boolean =>
  (view.kind === 'gather' && !isFound(view)) || partsOfView(view).some(hasOtherRows)

/** Selected rows of a view (places along its first axis), in this order. */
export function pickedRows(view: View, rows: Int32Array): RowGather {
  const runs: number[] = []
  for (const row of rows) {
    const last = runs.length - 3
    if (last >= 0 && runs[last + 2]! + runs[last]! === row) runs[last]!++
    else runs.push(1, 0, row)
  }
  return { kind: 'gather', of: [view], map: { rows: rows.length, runs, means: [] } }
}

/** The view with the permutation that a step will find. */
export const withFinding = (view: View, { step, tensor }: Finding): FoundGather => ({
  kind: 'gather',
  of: [view],
  map: { step, tensor },
})

/** The last finding that applies to a view, below slices and reshapes. Views with several parts have none. */
export function lastFinding(view: View): Finding | undefined {
  if (view.kind === 'stored' || view.kind === 'concat' || view.kind === 'decode') return undefined
  if (view.kind === 'gather') return isFound(view) ? view.map : undefined
  return lastFinding(view.of)
}

/** The view without its last finding; undefined if it has none. */
export function withoutLastFinding(view: View): View | undefined {
  if (view.kind === 'stored' || view.kind === 'concat' || view.kind === 'decode') return undefined
  if (view.kind === 'gather') return isFound(view) ? view.of[0] : undefined
  const of = withoutLastFinding(view.of)
  return of && { ...view, of }
}

/** The findings at the top of a view, in order of application, and the view below them. */
export function findingsOf(view: View): { readonly findings: readonly Finding[]; readonly below: View } {
  if (view.kind !== 'gather' || !isFound(view)) return { findings: [], below: view }
  const { findings, below } = findingsOf(view.of[0])
  return { findings: [...findings, view.map], below }
}
