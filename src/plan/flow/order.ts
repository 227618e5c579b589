/** Orders pieces of work so that few bytes have to be on a disk at the same time, and none has to come twice. */

/** Pieces of work that become possible when some things are there. */
export interface OrderStep {
  /** Indexes of pieces, ascending. */
  readonly pieces: readonly number[]
  /** Things that come before it, and that go after it. */
  readonly opens: readonly number[]
  readonly closes: readonly number[]
  /** Bytes that are there during it. */
  readonly bytes: number
}

export interface OrderOptions {
  /** Things that are there already. */
  readonly there: ReadonlySet<number>
  /** Things that stay, because later work needs them. */
  readonly stay: ReadonlySet<number>
}

const NOTHING: OrderOptions = { there: new Set(), stay: new Set() }

/**
 * How the next piece is chosen, from the bytes that have to come for it and those that can go after it: the least number first, the
 * first piece among equals.
 */
type Choice = (comes: number, goes: () => number) => number

const CHOICES: readonly Choice[] = [(comes) => comes, (comes, goes) => comes - goes(), () => 0]

/**
 * The order of `pieces`, each given by the things that it needs. A thing comes once, before the first piece that needs it, and goes
 * after the last one. Of several greedy orders, the one with the fewest bytes at the same time.
 */
export function orderOf(
  pieces: readonly (readonly number[])[],
  sizes: readonly number[],
  options: OrderOptions = NOTHING,
): OrderStep[] {
  const found = CHOICES.map((choice) => greedy(pieces, sizes, options, choice))
  return found.reduce((best, one) => (peakOf(one) < peakOf(best) ? one : best))
}

const peakOf = (steps: readonly OrderStep[]): number => steps.reduce((most, { bytes }) => Math.max(most, bytes), 0)

function greedy(
  pieces: readonly (readonly number[])[],
  sizes: readonly number[],
  { there, stay }: OrderOptions,
  choice: Choice,
): OrderStep[] {
  const open = new Set(there)
  const usersOf = new Map<number, number[]>()
  for (const [piece, things] of pieces.entries())
    for (const thing of things) {
      const users = usersOf.get(thing) ?? []
      usersOf.set(thing, users)
      users.push(piece)
    }
  const left = new Map([...usersOf].map(([thing, users]) => [thing, users.length]))
  const lacking = pieces.map((things) => things.filter((thing) => !open.has(thing)).length)
  const comes = pieces.map((things) => sum(things, (thing) => (open.has(thing) ? 0 : sizes[thing]!)))
  const done = new Uint8Array(pieces.length)
  let bytes = sum(open, (thing) => sizes[thing]!)
  let ready = [...pieces.keys()].filter((piece) => lacking[piece] === 0)
  let remaining = pieces.length
  const steps: OrderStep[] = []

  const bring = (thing: number): void => {
    open.add(thing)
    bytes += sizes[thing]!
    for (const user of usersOf.get(thing)!) {
      comes[user]! -= sizes[thing]!
      if (--lacking[user]! === 0 && done[user] === 0) ready.push(user)
    }
  }
  const goes = (piece: number): number =>
    sum(pieces[piece]!, (thing) => (left.get(thing) === 1 && !stay.has(thing) ? sizes[thing]! : 0))
  const next = (): number => {
    let [best, least] = [-1, Number.POSITIVE_INFINITY]
    for (let piece = 0; piece < pieces.length; piece++) {
      if (done[piece] === 1) continue
      const value = choice(comes[piece]!, () => goes(piece))
      if (value < least) [best, least] = [piece, value]
    }
    return best
  }

  let opens: number[] = []
  while (remaining > 0) {
    if (ready.length === 0) {
      opens = pieces[next()]!.filter((thing) => !open.has(thing))
      for (const thing of opens) bring(thing)
    }
    const closes: number[] = []
    const during = bytes
    for (const piece of ready) {
      done[piece] = 1
      remaining--
      for (const thing of pieces[piece]!) {
        const users = left.get(thing)! - 1
        left.set(thing, users)
        if (users > 0 || stay.has(thing)) continue
        closes.push(thing)
        open.delete(thing)
        bytes -= sizes[thing]!
      }
    }
    steps.push({ pieces: ready.sort((a, b) => a - b), opens, closes, bytes: during })
    ready = []
    opens = []
  }
  return steps
}

function sum<T>(all: Iterable<T>, of: (one: T) => number): number {
  let total = 0
  for (const one of all) total += of(one)
  return total
}
