/** Objects of known classes in a pickle: terge reads their attributes and never makes them. */
import { describe, isDict, isGlobal, isNatural, isOpaque, type Value } from './values.js'

export type Attributes = ReadonlyMap<Value, Value>

/** PyTorch's own limit. */
const MAX_RANK = 64

/** Whether a value is an object of one of these classes. */
export const isOf = (value: Value | undefined, classes: ReadonlySet<string>): boolean =>
  value !== undefined && isOpaque(value) && classes.has(value.name)

/** The state that an object was given after it was made; undefined if it has none. */
export const stateOf = (value: Value | undefined): Value | undefined =>
  value !== undefined && isOpaque(value) ? value.parts[1] : undefined

/**
 * The attributes of an object of one of these classes; undefined for anything else. The state of objects with slots is a pair: the usual
 * attributes, if any, and those in slots.
 */
export function attributesOf(value: Value | undefined, classes: ReadonlySet<string>): Attributes | undefined {
  if (!isOf(value, classes)) return undefined
  const state = stateOf(value) ?? null
  if (isDict(state)) return state
  if (!Array.isArray(state) || state.length !== 2) return undefined
  const [usual, slots] = state as [Value, Value]
  if (usual === null || (isDict(usual) && usual.size === 0)) return isDict(slots) ? slots : undefined
  return isDict(usual) && isDict(slots) ? new Map([...usual, ...slots]) : undefined
}

/** Sizes or offsets of a tensor; undefined if they are anything else. */
export function sizesOf(value: Value | undefined): readonly number[] | undefined {
  if (!Array.isArray(value) || value.length > MAX_RANK) return undefined
  return value.every(isNatural) ? value : undefined
}

/** How messages name a dtype that terge does not know. */
export const dtypeName = (value: Value | undefined): string =>
  value === undefined ? 'missing' : isGlobal(value) ? value.name : describe(value)
