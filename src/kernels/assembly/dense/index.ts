// Float64 kernels of dense linear algebra on one memory that all threads share. No function keeps anything between
// calls; every result is a chain of operations that its operands' sizes alone decide. Strides are in bytes.
export * from './product'
export * from './secular'
export * from './vectors'

/** First byte after the module's own data. */
export function dataEnd(): usize { return __heap_base }
