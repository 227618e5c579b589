export * from './convert'
export * from './digest'
export * from './elementwise'
export * from './fusion'
export * from './gram'
export * from './map'
export * from './math'
export * from './pcb'
export * from './ranked'
export * from './reduce'
export * from './sce'
export * from './select'
export * from './sparse'
export * from './sparseSums'
export * from './table'

/** First byte after the module's own data: the memory from here on is the caller's. */
export function dataEnd(): usize { return __heap_base }
