/** The compiler's own library (fdlibm and musl), so that no engine's version of these decides a bit of a result. */
export function sin(x: f64): f64 { return NativeMath.sin(x) }
export function cos(x: f64): f64 { return NativeMath.cos(x) }
export function acos(x: f64): f64 { return NativeMath.acos(x) }
export function exp(x: f64): f64 { return NativeMath.exp(x) }
export function log(x: f64): f64 { return NativeMath.log(x) }
export function pow(x: f64, y: f64): f64 { return NativeMath.pow(x, y) }
export function tanh(x: f64): f64 { return NativeMath.tanh(x) }
