// Dense linear algebra on memories that threads share. No function keeps anything between calls; every result is a chain of
// operations that its operands' sizes alone decide. Strides are in bytes.
export * from './assignment'
export * from './gemm'
export * from './integers'
export * from './product'
export * from './pursuit'
export * from './secular'
export * from './vectors'

/** First byte after the module's own data. */
export function dataEnd(): usize { return __heap_base }
