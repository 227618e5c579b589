/** Does a plan's analyses, and computes what steps make of their findings. */
import type { WebAssembly } from '../core/webassembly.js'
import { tensorsOf } from '../plan/analysisCost.js'
import type { Plan } from '../plan/types.js'
import { createPool } from '../rebasin/team.js'
import type { Found, Workshop } from '../steps/analysis.js'
import { type Analysis, analysisKindOf, type StepRecord } from '../steps/index.js'
import type { Listener } from './events.js'
import { type Findings, NO_FINDINGS, noFactor } from './findings.js'
import { refuseInterrupted } from './interrupted.js'
import { openLocal } from './pools/localReader.js'

export interface AnalyseOptions {
  readonly threads: number
  /** Bytes of anonymous memory for the analyses; what they need at the least is there. */
  readonly memory: number
  readonly listen: Listener
  readonly signal?: AbortSignal
}

/** An analysis that was done, and what it found for one of its steps. */
interface Done {
  readonly analysis: Analysis
  readonly found: Found<StepRecord>
  readonly spare: number
}

/** Does a plan's analyses in their order. The reader stays open for what is computed later: close it when the run is over. */
export async function analyse(
  plan: Plan,
  inputs: readonly string[],
  module: WebAssembly.Module,
  options: AnalyseOptions,
): Promise<{ findings: Findings; close: () => Promise<void> }> {
  if (plan.analyses.length === 0) return { findings: NO_FINDINGS, close: async () => {} }
  const { memory, listen, signal } = options
  const done = new Map<string, Done>()
  let scopes: Findings['scopes'] = []
  const doneFor = (step: string): Done => {
    const found = done.get(step)
    if (!found) throw new Error(`internal: step ${step} has not been done`)
    return found
  }
  const findings: Findings = {
    maps({ step, tensor }, shape) {
      const { analysis, found } = doneFor(step)
      return analysisKindOf(analysis).maps!(analysis, found.arrays, tensor, shape)
    },
    async computed(step, tensor) {
      const { analysis, found, spare } = doneFor(step)
      // Whoever asks for it may be reading: the inner reader does not wait for its turn.
      const workshop: Workshop = { reader: reader.inner, team, spare }
      return analysisKindOf(analysis).computed(analysis, found.arrays, { step, tensor }, workshop)
    },
    factor: noFactor,
    get scopes() {
      return scopes
    },
    get records() {
      return new Map([...done].map(([step, { found }]) => [step, found.record]))
    },
  }
  const reader = openLocal(plan, inputs, module, plan.analyses.flatMap(tensorsOf), () => findings)
  const team = createPool(options.threads)
  // Whoever waits for a long product or assignment is sent away at once.
  const stop = () => void team.close()
  signal?.addEventListener('abort', stop)
  const close = async () => {
    signal?.removeEventListener('abort', stop)
    reader.close()
    await team.close()
  }
  try {
    for (const [index, analysis] of plan.analyses.entries()) {
      refuseInterrupted(signal)
      const spare = Math.max(0, memory - plan.cost.analyses![index]!.bytes)
      scopes = await reader.scopes(tensorsOf(analysis))
      const found = await analysisKindOf(analysis).run(analysis, { reader, team, spare }, (progress) =>
        listen({ kind: 'step', ...progress }),
      )
      for (const [step, own] of found) done.set(step, { analysis, found: own, spare })
    }
  } catch (error) {
    await close()
    refuseInterrupted(signal)
    throw error
  }
  return { findings, close }
}
