/** Codes of decoded numbers: where they are in memory, and how they become numbers. */
import { wordsOf } from '../../../../views/decodeForm.js'
import { rowsAt, wordsAt } from './band.js'
import type { DecodedState } from './state.js'

/** Where scales and zero points of a box are: those of its first row and column, and how far it is to the others. */
export interface Grid {
  readonly scales: number
  /** 0 for none. */
  readonly zeros: number
  /** Bytes from one row to the next, and from one scale of a row to the next. */
  readonly line: number
  readonly step: number
  /** Columns that share a scale with those before them, and columns with one scale. */
  readonly first: number
  readonly run: number
}

/**
 * Puts the numbers of `n` rows, from row `first` of those that were found on, to an address. Undefined if codes of this
 * kind are not scaled at once.
 */
export type Decode = (first: number, n: number, to: number, grid: Grid) => void

/** Finds the codes of rows and columns. The caller limits the rows to `codeRows`. */
export function findCodes(state: DecodedState, row: number, rows: number, column: number, columns: number): Decode {
  const { codes } = state.reader.form
  const { unpack } = state.reading.worker.kernels
  switch (codes.kind) {
    case 'numbers': {
      const { address, stride } = rowsAt(state, row, rows, column, columns)
      const numbers = unpack.numbers(codes.dtype)
      return (first, n, to, { scales, zeros, line, step, first: skip, run }) =>
        numbers(address + first * stride, stride, to, n, columns, scales, zeros, line, step, skip, run)
    }
    case 'nibbles': {
      const from = Math.floor(column / 2)
      const { address, stride } = rowsAt(state, row, rows, from, Math.ceil((column + columns) / 2) - from)
      return nibbles(state, address, stride, columns, column % 2, codes.first === 'high')
    }
    case 'fields':
      return fields(state, row, rows, column, columns)
    case 'across': {
      const { order, bits } = codes
      const height = order.length
      const top = Math.floor(row / height)
      const bottom = Math.floor((row + rows - 1) / height)
      const address = wordsAt(state, top * state.columns + column, bottom * state.columns + column + columns)
      return (first, n, to, { scales, zeros, line, step, first: skip, run }) => {
        const at = (row % height) + first
        const stride = 4 * state.columns
        const grid = [scales, zeros, line, step, skip, run] as const
        unpack.across(address, stride, to, n, columns, ...grid, at, state.codeOrder, height, bits)
      }
    }
  }
}

function nibbles(
  { reading, table }: DecodedState,
  address: number,
  stride: number,
  columns: number,
  odd: number,
  high: boolean,
): Decode {
  const { unpack } = reading.worker.kernels
  return (first, n, to, { scales, zeros, line, step, first: skip, run }) => {
    const source = address + first * stride
    unpack.nibbles(source, stride, to, n, columns, scales, zeros, line, step, skip, run, odd, high ? 1 : 0, table)
  }
}

function fields(state: DecodedState, row: number, rows: number, column: number, columns: number): Decode {
  const { codes } = state.reader.form
  if (codes.kind !== 'fields') throw new Error('internal: codes that are not fields')
  const { unpack } = state.reading.worker.kernels
  const { bits, perWord } = codes
  // Fields begin at a word again and again.
  const skip = column % (perWord || 32)
  const from = 4 * wordsOf(column - skip, bits, perWord)
  const { address, stride } = rowsAt(state, row, rows, from, 4 * wordsOf(column + columns, bits, perWord) - from)
  if (bits === 4) return nibbles(state, address + (skip >> 1), stride, columns, skip % 2, false)
  if (bits === 8)
    return (first, n, to, { scales, zeros, line, step, first: inRun, run }) => {
      const source = address + skip + first * stride
      unpack.numbers('U8')(source, stride, to, n, columns, scales, zeros, line, step, inRun, run)
    }
  return (first, n, to, { scales, zeros, line, step, first: inRun, run }) => {
    unpack.fields(address + first * stride, stride, to, n, columns, skip, bits, perWord)
    unpack.scaleRuns(to, n, columns, scales, zeros, line, step, inRun, run)
  }
}
