export * from './assignment'
export * from './convert'
export * from './digest'
export * from './elementwise'
export * from './gemm'
export * from './gram'
export * from './map'
export * from './math'
export * from './reduce'
export * from './table'

/** First byte after the module's own data: the memory from here on is the caller's. */
export function dataEnd(): usize { return __heap_base }
