/** The search methods. */
import type { SearchMethod } from '../../recipe/search/types.js'
import type { Sampler } from '../types.js'
import { grid } from './grid.js'
import { random } from './random.js'

/** By name. */
export const SAMPLERS: Readonly<Partial<Record<SearchMethod, Sampler>>> = { grid, random }

/** A method that this version has. */
export type KnownMethod = keyof typeof SAMPLERS
