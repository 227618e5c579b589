/**
 * Options accept an `AbortSignal`. TypeScript knows the type from DOM or Node types. Projects with neither get this
 * minimal declaration; for all others it merges with theirs.
 */
declare global {
  interface AbortSignal {
    readonly aborted: boolean
  }
}

export {}
