import type { Net } from './network.js'

/** How a known network computes. */
export interface Architecture {
  readonly name: string
  /** A tensor that only this architecture has; what stands before the match is the prefix of all names. */
  readonly sign: RegExp
  /** Repeats the network's forward pass. Everything that a network of this architecture has must be read. */
  readonly forward: (net: Net) => void
}
