/**
 * terge as a library. The commands are thin over these five verbs:
 *
 *     load      recipe file → Recipe and its faults (text alone)
 *     validate  recipe file → every fault, models' headers read
 *     plan      recipe file → Plan, from headers only
 *     run       Plan → outputs and lineage
 *     verify    lineage → are outputs and inputs still those of the report
 */
export type { Checkpoint, StoredTensor } from './checkpoints/types.js'
export { type Diagnostic, Fault, formatDiagnostic, type Place } from './core/diagnostics.js'
export type { Listener, RunEvent } from './execute/events.js'
export { inspect, load, lock, plan, run, validate } from './lineage/session.js'
export type { Lineage } from './lineage/types.js'
export { verify } from './lineage/verify.js'
export type { Plan } from './plan/types.js'
export type { Recipe } from './recipe/types.js'
