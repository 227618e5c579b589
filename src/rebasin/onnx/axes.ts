/** Which axes go by one permutation: a union-find over nodes, in which a node may be another's units, each of several places. */
export interface Axis {
  /** Of an axis that may be permuted; without it the axis keeps its order. */
  readonly node?: number
  /** Places, where it is known. */
  readonly length?: number
}

export interface Units {
  readonly root: number
  /** Places of each unit. */
  readonly times: number
}

export interface Axes {
  /** A node of `size` places; without a size: of `of`'s units, as many places each as the first axis it meets says. */
  readonly node: (size: number | undefined, of?: number) => number
  /** A node's units, or nothing where its size was never told. */
  readonly units: (node: number) => Units | undefined
  readonly size: (node: number) => number | undefined
  /** Both go by one permutation from here on; where that cannot be, both stay. */
  readonly tie: (x: number, y: number, where: string) => void
  readonly freeze: (node: number, reason: string) => void
  readonly frozen: (node: number) => string | undefined
}

/** A union-find. All lists are by node. */
interface Forest {
  readonly parents: { node: number; times: number | undefined }[]
  readonly sizes: (number | undefined)[]
  /** Of roots: why their axes keep their order. */
  readonly reasons: (string | undefined)[]
}

/** The root above a node; `times` is unknown as long as a size between them is. */
function find({ parents }: Forest, start: number): { root: number; times: number | undefined } {
  const way: number[] = []
  let [node, times]: [number, number | undefined] = [start, 1]
  while (parents[node]!.node !== node) {
    const { node: above, times: factor } = parents[node]!
    if (factor === undefined) way.length = 0
    else way.push(node)
    times = times === undefined || factor === undefined ? undefined : times * factor
    node = above
  }
  // The way is shortened from the last unknown size on.
  let left = way.reduce((product, each) => product * parents[each]!.times!, 1)
  for (const each of way) {
    const factor = parents[each]!.times!
    parents[each] = { node, times: left }
    left /= factor
  }
  return { root: node, times }
}

function freeze(forest: Forest, node: number, reason: string): void {
  forest.reasons[find(forest, node).root] ??= reason
}

/** Gives a node that waits for its size that size. False where it cannot have it. */
function settle({ parents, sizes }: Forest, node: number, size: number): boolean {
  const { node: above } = parents[node]!
  const unit = sizes[above]
  if (unit === undefined || size % unit !== 0) return false
  parents[node] = { node: above, times: size / unit }
  sizes[node] = size
  return true
}

/** Joins the trees of two nodes. Returns why that is not possible. */
function join(forest: Forest, x: number, y: number): string | undefined {
  const { parents, sizes, reasons } = forest
  const [sizeX, sizeY] = [sizes[x], sizes[y]]
  if (sizeX === undefined && sizeY !== undefined && !settle(forest, x, sizeY)) return 'the sizes do not come out'
  if (sizeY === undefined && sizeX !== undefined && !settle(forest, y, sizeX)) return 'the sizes do not come out'
  const [a, b] = [find(forest, x), find(forest, y)]
  if (a.times === undefined || b.times === undefined) return 'two axes of unknown sizes meet'
  if (sizes[x] !== sizes[y]) return `axes of ${sizes[x]} and ${sizes[y]} places meet`
  if (a.root === b.root) return a.times === b.times ? undefined : 'an axis meets itself in another order'
  const [coarse, fine] = a.times < b.times ? [b, a] : [a, b]
  const ratio = coarse.times! / fine.times!
  if (!Number.isInteger(ratio)) return 'units of the two axes overlap'
  const reason = reasons[coarse.root] ?? reasons[fine.root]
  parents[fine.root] = { node: coarse.root, times: ratio }
  if (reason !== undefined) reasons[coarse.root] = reason
  return undefined
}

export function createAxes(): Axes {
  const forest: Forest = { parents: [], sizes: [], reasons: [] }
  const { parents, sizes, reasons } = forest
  return {
    node: (size, of) => {
      const node = parents.length
      const unit = of === undefined ? undefined : sizes[of]
      const times = size === undefined || unit === undefined ? undefined : size / unit
      parents.push(of === undefined ? { node, times: 1 } : { node: of, times })
      sizes.push(size)
      reasons.push(undefined)
      return node
    },
    units: (node) => {
      const { root, times } = find(forest, node)
      return times === undefined ? undefined : { root, times }
    },
    size: (node) => sizes[node],
    tie: (x, y, where) => {
      const problem = x === y ? undefined : join(forest, x, y)
      if (problem === undefined) return
      freeze(forest, x, `${where}: ${problem}`)
      freeze(forest, y, `${where}: ${problem}`)
    },
    freeze: (node, reason) => freeze(forest, node, reason),
    frozen: (node) => reasons[find(forest, node).root],
  }
}
