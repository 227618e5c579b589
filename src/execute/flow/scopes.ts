/** Passes over the tensors of scopes, a few files at a time. */
import type { Phase, Stage } from '../../plan/flow/types.js'
import { scopeReduces } from '../../plan/scopePasses.js'
import { readsOf } from '../../plan/units.js'
import { digestInputs } from '../units/digesting.js'
import { openScope, type ScopeRun } from '../units/scopes.js'
import { recordScope } from '../units/shared.js'
import type { Engine } from '../units/types.js'

/** A pass over a scope. */
type ScopePhase = Extract<Phase, { readonly kind: 'shared' }> & { readonly pass: number }

export const isScopePass = (phase: Phase): phase is ScopePhase => phase.kind === 'shared' && phase.pass !== undefined

export interface StagedScopes {
  /** Whether a pass has nothing to find, so that its stages are not needed. It is over then. */
  skip(phase: ScopePhase): boolean
  /** A stage of a pass. */
  add(phase: ScopePhase, stage: Stage): Promise<void>
  /** All stages of a pass are done. */
  conclude(phase: ScopePhase): void
  /** All passes of a scope are over: records its results. */
  end(phase: ScopePhase): Promise<void>
}

export function stagedScopes(engine: Engine): StagedScopes {
  const { plan, units, digests, progress } = engine
  const runs = new Map<number, ScopeRun>()
  const runOf = (index: number): ScopeRun => {
    const run = runs.get(index) ?? openScope(engine, index)
    if (!runs.has(index)) {
      const unit = units.unit({ kind: 'scope', index })
      if (engine.left) throw engine.left([unit])
      progress.begin(0, 0)
      runs.set(index, run)
    }
    return run
  }
  return {
    skip({ need: { index }, pass }) {
      const run = runOf(index)
      if (!run.skips(pass)) return false
      run.conclude(pass)
      return true
    },
    async add({ need: { index }, pass }, { pieces }) {
      const tensors = pieces.flatMap(({ scoped = [] }) => scoped)
      await runOf(index).add(pass, tensors)
      if (!digests.enabled) return
      // What the pass did not digest in passing goes with its file.
      const read = tensors.flatMap((tensor) => readsOf(plan.scopes[index]!.tensors[tensor]!.expr, units.stored))
      await digestInputs(engine, new Set(read), progress.bytes)
    },
    conclude: ({ need: { index }, pass }) => runOf(index).conclude(pass),
    async end({ need: { index } }) {
      await recordScope(engine, units.unit({ kind: 'scope', index }), runOf(index).results())
      runs.delete(index)
    },
  }
}

/** Whether a pass is the last one of its scope. */
export const isLastPass = (engine: Engine, { need: { index }, pass }: ScopePhase): boolean =>
  pass === scopeReduces(engine.plan, engine.plan.scopes[index]!).length - 1
