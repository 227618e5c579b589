/** Fields of the context that kernels are called with; the layout is written down in ../types.ts. */

// @ts-ignore: decorator
@inline
export function inputCount(context: usize): u32 { return load<u32>(context) }
// @ts-ignore: decorator
@inline
export function inputs(context: usize): usize { return <usize>load<u32>(context, 4) }
// @ts-ignore: decorator
@inline
export function input(context: usize, index: usize): usize { return <usize>load<u32>(inputs(context) + (index << 2)) }
// @ts-ignore: decorator
@inline
export function base(context: usize): usize { return <usize>load<u32>(context, 8) }
// @ts-ignore: decorator
@inline
export function output(context: usize): usize { return <usize>load<u32>(context, 12) }
// @ts-ignore: decorator
@inline
export function coefficients(context: usize): usize { return <usize>load<u32>(context, 16) }
// @ts-ignore: decorator
@inline
export function sums(context: usize): usize { return <usize>load<u32>(context, 20) }
// @ts-ignore: decorator
@inline
export function first(context: usize): u64 { return load<u64>(context, 24) }
// @ts-ignore: decorator
@inline
export function rowLength(context: usize): usize { return <usize>load<u32>(context, 32) }
// @ts-ignore: decorator
@inline
export function table(context: usize): usize { return <usize>load<u32>(context, 36) }
// @ts-ignore: decorator
@inline
export function scratch(context: usize): usize { return <usize>load<u32>(context, 40) }
// @ts-ignore: decorator
@inline
export function wide(context: usize): u32 { return load<u32>(context, 44) }
// @ts-ignore: decorator
@inline
export function partStart(context: usize): usize { return <usize>load<u32>(context, 44) }
// @ts-ignore: decorator
@inline
export function partEnd(context: usize): usize { return <usize>load<u32>(context, 48) }
// @ts-ignore: decorator
@inline
export function partPlace(context: usize): usize { return <usize>load<u32>(context, 52) }
// @ts-ignore: decorator
@inline
export function partIsLast(context: usize): bool { return load<u32>(context, 56) != 0 }
