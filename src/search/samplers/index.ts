/** The search methods. */
import type { SearchMethod } from '../../recipe/search/types.js'
import type { Sampler } from '../types.js'
import { cmaEs } from './cmaEs.js'
import { grid } from './grid.js'
import { random } from './random.js'
import { tpe } from './tpe.js'

/** By name. */
export const SAMPLERS: Readonly<Record<SearchMethod, Sampler>> = { grid, random, 'cma-es': cmaEs, tpe }
