/** Where the layers of a network stand: between which groups of channels. */
import type { Part } from './blocks.js'
import type { Module } from './modules.js'

/** A place between two layers: the group of its channels, none where they keep their order, and how many there are. */
export interface Stream {
  readonly group: string | undefined
  readonly size: number
  /** Units of a linear layer. */
  readonly flat: boolean
}

/** What goes into a layer or block, and what comes out. */
export interface Place {
  readonly into: Stream
  readonly out: Stream
  /** Absent for a block. */
  readonly layer?: Module
}

export interface Network {
  /** By the name of a layer or block. */
  readonly places: ReadonlyMap<string, Place>
  readonly order: readonly Part[]
  /** Groups between layers and blocks. */
  readonly streams: ReadonlySet<string>
  readonly keepAll: (reason: string) => void
}
