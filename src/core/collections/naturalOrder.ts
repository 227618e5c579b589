const PARTS = /\d+|\D+/g

/** A run of digits without leading zeros: longer ones are larger numbers. */
const digits = (part: string): string | undefined => (/^\d/.test(part) ? part.replace(/^0+(?=\d)/, '') : undefined)

const compare = <T extends string | number>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0)

/** Compares names as people count: `layers.2` before `layers.10`. Text between numbers compares by code units. */
export function naturalOrder(a: string, b: string): number {
  const [one, other] = [a.match(PARTS) ?? [], b.match(PARTS) ?? []]
  for (let at = 0; at < Math.min(one.length, other.length); at++) {
    const [left, right] = [one[at]!, other[at]!]
    if (left === right) continue
    const [x, y] = [digits(left), digits(right)]
    const order =
      x === undefined || y === undefined ? compare(left, right) : compare(x.length, y.length) || compare(x, y)
    if (order !== 0) return order
  }
  return compare(one.length, other.length) || compare(a, b)
}
