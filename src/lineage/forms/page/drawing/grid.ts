/** Tensors as a grid, layer × module, for each stack of layers of a model. */
import { naturalOrder } from '../../../../core/collections/naturalOrder.js'
import { stacksOf, withLayer } from '../../../../networks/layerNames.js'

export interface Module {
  /** The name inside a layer, with `*` for further numbers; the whole name outside of stacks. */
  readonly label: string
  /** A search expression for all of its tensors. */
  readonly search: string
  /** Names of tensors by layer. Outside of stacks: all of them under layer 0. */
  readonly cells: ReadonlyMap<number, readonly string[]>
}

export interface Grid {
  /** The prefix of the layers; undefined for tensors outside of stacks. */
  readonly prefix?: string
  readonly depth: number
  readonly modules: readonly Module[]
}

/** Layers of a grid. Tensors of later ones are only in the table. */
const MOST_LAYERS = 1000

const escapeExpression = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')

/** `experts.3.w1` → `experts.*.w1`. */
const starred = (text: string): string => text.replace(/(^|\.)\d+(?=\.|$)/g, '$1*')

/** A regular expression for the names of a pattern; `*` are numbers. */
const searchOf = (pattern: string): string => `/^${pattern.split('*').map(escapeExpression).join('\\d+')}$/`

export function gridsOf(names: readonly string[]): Grid[] {
  const { list, of } = stacksOf(names)
  const modules = new Map<string, Map<string, { search: string; cells: Map<number, string[]> }>>()
  const add = (stack: string, label: string, layer: number, name: string, search: string): void => {
    const rows = modules.get(stack) ?? new Map()
    modules.set(stack, rows)
    const row = rows.get(label) ?? { search, cells: new Map<number, string[]>() }
    rows.set(label, row)
    const cell = row.cells.get(layer)
    if (cell) cell.push(name)
    else row.cells.set(layer, [name])
  }
  // The key of tensors outside of stacks is no prefix of any stack, which has no null character in front.
  const OUTSIDE = '\0'
  for (const name of names) {
    const site = of(name)
    if (!site) add(OUTSIDE, starred(name), 0, name, searchOf(starred(name)))
    else if (site.layer < MOST_LAYERS) {
      const rest = withLayer(name, '*').slice(site.stack.prefix === '' ? 2 : site.stack.prefix.length + 3)
      const label = starred(rest)
      const prefix = site.stack.prefix === '' ? '' : `${site.stack.prefix}.`
      add(
        site.stack.prefix,
        label === '' ? '(layer)' : label,
        site.layer,
        name,
        searchOf(`${prefix}*${label === '' ? '' : `.${label}`}`),
      )
    }
  }
  const grid = (stack: string, depth: number): Grid[] => {
    const rows = modules.get(stack)
    if (!rows) return []
    return [
      {
        ...(stack === OUTSIDE ? {} : { prefix: stack }),
        depth,
        modules: [...rows]
          .map(([label, { search, cells }]) => ({ label, search, cells }))
          .sort((a, b) => naturalOrder(a.label, b.label)),
      },
    ]
  }
  return shortened([
    ...grid(OUTSIDE, 1),
    ...list.flatMap(({ prefix, depth }) => grid(prefix, Math.min(depth, MOST_LAYERS))),
  ])
}

const WEIGHT = '.weight'

/** Where every label ends in `.weight`, none says it. */
function shortened(grids: readonly Grid[]): Grid[] {
  const all = grids.every(({ modules }) => modules.every(({ label }) => label.endsWith(WEIGHT)))
  const short = ({ label, ...rest }: Module): Module => ({ label: label.slice(0, -WEIGHT.length), ...rest })
  return grids.map((grid) => (all ? { ...grid, modules: grid.modules.map(short) } : grid))
}
