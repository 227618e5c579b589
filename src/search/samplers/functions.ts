/**
 * Functions by additions, products, divisions and square roots alone, so that every engine proposes the same points. `Math.exp` and
 * `Math.log` differ between engines in the last bit.
 */
import { ln } from '../../kernels/dense/logarithm.js'

export { ln }

/** The upper bits of ln 2: a product with a small integer is exact. */
const LN2_HIGH = 0.6931471803691238
const LN2_LOW = 1.9082149292705877e-10

/** e to the power of x, to about 1e-15. */
export function exp(x: number): number {
  if (Number.isNaN(x)) return x
  if (x < -745) return 0
  if (x > 709.78) return Number.POSITIVE_INFINITY
  const power = Math.round(x / Math.LN2)
  const rest = x - power * LN2_HIGH - power * LN2_LOW
  let value = 1
  for (let k = 16; k > 0; k--) value = 1 + (value * rest) / k
  for (let left = power; left > 0; left--) value *= 2
  for (let left = power; left < 0; left++) value /= 2
  return value
}

/** c0 + c1 x + c2 x² + … */
const polynomial = (coefficients: readonly number[], x: number): number =>
  coefficients.reduceRight((sum, one) => sum * x + one, 0)

// W. J. Cody's and J. F. Hart's rational function, as in G. West, "Better approximations to cumulative normal functions", 2005.
const ABOVE = [
  220.206867912376, 221.213596169931, 112.079291497871, 33.912866078383, 6.37396220353165, 0.700383064443688,
  3.52624965998911e-2,
]
const BELOW = [
  440.413735824752, 793.826512519948, 637.333633378831, 296.564248779674, 86.7807322029461, 16.064177579207,
  1.75566716318264, 8.83883476483184e-2,
]

/** The share of the standard normal distribution below x. */
export function normalShare(x: number): number {
  const size = Math.abs(x)
  if (size > 37) return x > 0 ? 1 : 0
  const density = exp((-size * size) / 2)
  const tail =
    size < 7.07106781186547
      ? (density * polynomial(ABOVE, size)) / polynomial(BELOW, size)
      : density / (size + 1 / (size + 2 / (size + 3 / (size + 4 / (size + 0.65))))) / 2.506628274631
  return x > 0 ? 1 - tail : tail
}

// M. J. Wichura's algorithm AS 241 (PPND16), Applied Statistics 37, 1988.
const CENTRE = [
  [
    3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987, 67265.7709270087,
    33430.57558358813, 2509.0809287301227,
  ],
  [
    1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
    28729.085735721943, 5226.495278852854,
  ],
] as const
const MIDDLE = [
  [
    1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
    0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
  ],
  [
    1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
    0.0005475938084995345, 1.0507500716444169e-9,
  ],
] as const
const FAR = [
  [
    6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
    0.0012426609473880784, 2.7115555687434876e-5, 2.0103343992922881e-7,
  ],
  [
    1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133, 1.8463183175100548e-5,
    1.421511758316446e-7, 2.0442631033899397e-15,
  ],
] as const

const ratio = ([above, below]: readonly [readonly number[], readonly number[]], x: number): number =>
  polynomial(above, x) / polynomial(below, x)

/** The x below which this share of the standard normal distribution lies. `share` is above 0 and below 1. */
export function normalAt(share: number): number {
  const q = share - 0.5
  if (Math.abs(q) <= 0.425) return q * ratio(CENTRE, 0.180625 - q * q)
  const root = Math.sqrt(-ln(q < 0 ? share : 1 - share))
  const x = root <= 5 ? ratio(MIDDLE, root - 1.6) : ratio(FAR, root - 5)
  return q < 0 ? -x : x
}
