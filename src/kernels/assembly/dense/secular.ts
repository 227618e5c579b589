// The secular equation of a diagonal matrix plus a multiple of a rank-one matrix, D + ρ z zᵀ: the heart of the
// divide-and-conquer eigensolver (Cuppen 1981; roots by the fixed weight method, Li 1993; vectors by Gu and Eisenstat 1994).

const EPSILON: f64 = 1.1102230246251565e-16

let sum: f64 = 0
let slope: f64 = 0

/** sum and slope: Σ z_i²/Δ_i and Σ z_i²/Δ_i², Δ_i = (d_i − origin) − τ, for i from `from` to before `to`. */
function poles(d: usize, z2: usize, origin: f64, tau: f64, from: i32, to: i32): void {
  let s = f64x2.splat(0), t = s
  const o = f64x2.splat(origin), shift = f64x2.splat(tau)
  let i = from
  for (; i + 2 <= to; i += 2) {
    const at = <usize>i << 3
    const gap = f64x2.sub(f64x2.sub(v128.load(d + at), o), shift)
    const term = f64x2.div(v128.load(z2 + at), gap)
    s = f64x2.add(s, term)
    t = f64x2.add(t, f64x2.div(term, gap))
  }
  sum = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1)
  slope = f64x2.extract_lane(t, 0) + f64x2.extract_lane(t, 1)
  for (; i < to; i++) {
    const at = <usize>i << 3
    const gap = load<f64>(d + at) - origin - tau
    const term = load<f64>(z2 + at) / gap
    sum += term
    slope += term / gap
  }
}

/**
 * Root j of 1/ρ + Σ z_i²/(d_i − λ) = 0, for k poles d_i that rise strictly, no z_i being 0: between d_j and d_{j+1}. Writes d_i − λ,
 * each to full relative accuracy, to `gaps`, and returns λ.
 */
export function secularRoot(k: i32, d: usize, z2: usize, rho: f64, norm2: f64, j: i32, gaps: usize): f64 {
  const inverse = 1 / rho
  const last = j == k - 1
  const left = load<f64>(d + (<usize>j << 3))
  let origin = left
  let low: f64 = 0
  let high: f64 = rho * norm2
  // The two poles that the iteration fits: those on both sides, or the last two.
  const p = last ? max(j - 1, 0) : j
  const q = last ? j : j + 1
  let atLeft = true
  let tau = high
  if (!last) {
    const half = (load<f64>(d + (<usize>(j + 1) << 3)) - left) / 2
    poles(d, z2, left, half, 0, k)
    if (inverse + sum >= 0) high = half
    else {
      origin = load<f64>(d + (<usize>(j + 1) << 3))
      low = -half
      high = 0
      atLeft = false
    }
    tau = atLeft ? high : low
  } else if (k > 1) tau = high / 2
  for (let round = 0; round < 120; round++) {
    poles(d, z2, origin, tau, 0, last ? j : j + 1)
    const psi = sum, dpsi = slope
    poles(d, z2, origin, tau, last ? j : j + 1, k)
    const phi = sum, dphi = slope
    const w = inverse + psi + phi, dw = dpsi + dphi
    if (!(abs(w) > EPSILON * (8 * (abs(psi) + abs(phi)) + inverse + abs(tau) * dw))) break
    if (w < 0) low = tau
    else high = tau
    const gp = load<f64>(d + (<usize>p << 3)) - origin - tau, gq = load<f64>(d + (<usize>q << 3)) - origin - tau
    const zp = load<f64>(z2 + (<usize>p << 3)), zq = load<f64>(z2 + (<usize>q << 3))
    const apart = load<f64>(d + (<usize>p << 3)) - load<f64>(d + (<usize>q << 3))
    let c: f64
    let step: f64
    const a = (gp + gq) * w - gp * gq * dw
    const b = gp * gq * w
    if (last) {
      c = abs(w - gp * dpsi - gq * dphi)
      const root = sqrt(abs(a * a - 4 * b * c))
      step = a >= 0 ? (a + root) / (2 * c) : (2 * b) / (a - root)
    } else {
      c = atLeft ? w - gq * dw - apart * (zp / gp / gp) : w - gp * dw + apart * (zq / gq / gq)
      const root = sqrt(abs(a * a - 4 * b * c))
      step = a <= 0 ? (a - root) / (2 * c) : (2 * b) / (a + root)
    }
    if (!(w * step < 0)) step = -w / dw
    let next = tau + step
    if (!(next > low && next < high) || round > 40) next = (low + high) / 2
    if (next == tau || next == low || next == high) break
    tau = next
  }
  for (let i = 0; i < k; i++) {
    const at = <usize>i << 3
    store<f64>(gaps + at, load<f64>(d + at) - origin - tau)
  }
  return origin + tau
}

/** w_i *= Π over the k rows of gaps (d_i − λ_j)/(d_i − d_j), j ≠ i, and d_i − λ_i: −ẑ_i², for i from `from` to before `to`. */
export function weights(k: i32, d: usize, gaps: usize, stride: usize, from: i32, to: i32, w: usize): void {
  for (let j = 0; j < k; j++) {
    const row = gaps + <usize>j * stride
    const other = load<f64>(d + (<usize>j << 3))
    for (let i = from; i < to; i++) {
      const at = <usize>i << 3
      const gap = load<f64>(row + at)
      const apart = i == j ? 1 : load<f64>(d + at) - other
      store<f64>(w + at, load<f64>(w + at) * (gap / apart))
    }
  }
}

/** The eigenvector ẑ_i/(d_i − λ) of one row of gaps, of length 1, element i at place `places[i]` (i32) of `out`. */
export function secularVector(k: i32, z: usize, gaps: usize, places: usize, out: usize): void {
  let squares: f64 = 0
  for (let i = 0; i < k; i++) {
    const at = <usize>i << 3
    const x = load<f64>(z + at) / load<f64>(gaps + at)
    squares += x * x
    store<f64>(out + (<usize>load<i32>(places + (<usize>i << 2)) << 3), x)
  }
  const factor = 1 / sqrt(squares)
  for (let i = 0; i < k; i++) {
    const at = out + (<usize>i << 3)
    store<f64>(at, load<f64>(at) * factor)
  }
}
