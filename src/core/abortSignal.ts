/**
 * Options take an `AbortSignal`. TypeScript knows it from a browser's types or from Node's; whoever has neither gets this much of it,
 * and for everybody else it is merged into what they have.
 */
declare global {
  interface AbortSignal {
    readonly aborted: boolean
  }
}

export {}
