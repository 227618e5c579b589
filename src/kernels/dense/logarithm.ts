/** The natural logarithm by additions, products and divisions alone, so that every engine gives the same bits. About 1e-15. */
export function ln(x: number): number {
  if (!(x > 0) || x === Number.POSITIVE_INFINITY) return x === 0 ? Number.NEGATIVE_INFINITY : x > 0 ? x : Number.NaN
  let [mantissa, exponent] = [x, 0]
  for (; mantissa > Math.SQRT2; mantissa /= 2) exponent++
  for (; mantissa < Math.SQRT1_2; mantissa *= 2) exponent--
  // 2 artanh z, z = (m − 1)/(m + 1), |z| < 0.172
  const z = (mantissa - 1) / (mantissa + 1)
  const square = z * z
  let [power, sum] = [z, 0]
  for (let k = 1; k < 24; k += 2) {
    sum += power / k
    power *= square
  }
  return 2 * sum + exponent * Math.LN2
}
