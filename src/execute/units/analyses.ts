/** Runs analyses, and computes tensors from their findings. */
import type { WebAssembly } from '../../core/webassembly.js'
import { tensorsOf } from '../../plan/analysisCost.js'
import type { Plan } from '../../plan/types.js'
import { createThreadTeam, type ThreadTeam as Team } from '../../rebasin/team/team.js'
import type { AnalysisProgress, Found, FoundArrays, FoundParts, Workshop } from '../../steps/analysis.js'
import { type Analysis, analysisKindOf, type FoundRecord } from '../../steps/index.js'
import { type Nameless, openNameless, whileRoom } from '../../storage/nameless.js'
import type { Figures } from '../commands/command.js'
import type { Listener } from '../events.js'
import type { Findings } from '../findings.js'
import { refuseInterrupted } from '../interrupted.js'
import { type LocalReader, openLocal } from '../pools/localReader.js'
import type { UnitRecord } from './records.js'

export interface AnalysisSetup {
  readonly plan: Plan
  /** Absolute paths of the plan's files. */
  readonly files: readonly string[]
  readonly module: WebAssembly.Module
  readonly threads: number
  /** Where files may be for what does not fit into memory. */
  readonly folder: string | undefined
  /** Bytes of anonymous memory for the analyses, at least their minimum. */
  readonly memory: number
  readonly listen: Listener
  readonly signal: AbortSignal | undefined
  readonly findings: Findings
  /** What an earlier run recorded of a step, if this run reproduces it. */
  readonly earlier?: ((step: string) => object | undefined) | undefined
  /** The results of an analysis. */
  readonly recordOf: (analysis: number) => UnitRecord | undefined
}

/** A reader for the plan's tensors and threads for matrix products, opened on first use. */
/** Evaluates the output that is made with the findings of an analysis. */
export type Judge = (analysis: number, found: Pick<UnitRecord, 'findings' | 'figures'>) => Promise<Figures>

export interface AnalysisRoom extends Pick<Findings, 'maps' | 'computed'> {
  /** `judge`: for analyses that choose by a metric. */
  run(
    analysis: Analysis,
    index: number,
    judge?: Judge,
    parts?: FoundParts,
  ): Promise<Pick<UnitRecord, 'findings' | 'figures'>>
  /** Closes files of the plan until they are read again. */
  release(files: readonly number[]): void
  close(): Promise<void>
}

export function analysisRoom(setup: AnalysisSetup): AnalysisRoom {
  const { plan, files, module, threads, memory, listen, signal, findings } = setup
  let opened: { readonly reader: LocalReader; readonly team: Team } | undefined
  const open = () => {
    opened ??= {
      reader: openLocal(plan, files, module, plan.analyses.flatMap(tensorsOf), () => findings),
      team: createThreadTeam(threads),
    }
    return opened
  }
  // Code that waits for a long product or assignment stops at once.
  const stop = () => void opened?.team.close()
  signal?.addEventListener('abort', stop)
  const places = placesOf(plan)
  const spareFor = (index: number): number => Math.max(0, memory - plan.cost.analyses![index]!.bytes)
  const known = new Map<string, FoundArrays>()
  /** With values of tensors: open until the end. */
  const scratch = scratchIn(setup.folder)
  const foundFor = (step: string) => {
    const { analysis, index, place } = places.get(step)!
    const record = setup.recordOf(index)
    if (!record) throw new Error(`internal: step ${step} was not run`)
    const found = known.get(step) ?? arraysFor(record, place)
    known.set(step, found)
    return { analysis, found, spare: spareFor(index) }
  }
  return {
    maps({ step, tensor }, shape) {
      const { analysis, found } = foundFor(step)
      return analysisKindOf(analysis).maps!(analysis, found, tensor, shape)
    },
    async computed(step, tensor) {
      const { analysis, found, spare } = foundFor(step)
      const { reader, team } = open()
      // The caller can be inside a read: the inner reader does not wait for its turn.
      const workshop = { reader: reader.inner, team, spare, ...scratch.of(analysis) }
      const kind = analysisKindOf(analysis)
      return scratch.within(analysis, () => kind.computed(analysis, found, { step, tensor }, workshop))
    },
    async run(analysis, index, judge, parts) {
      const recorded = (found: ReadonlyMap<string, Found<object>>) => {
        const steps = analysis.steps.map((step) => found.get(step)!.record as FoundRecord)
        const arrays = analysis.steps.flatMap((step, place) =>
          Object.entries(found.get(step)!.arrays).map(([name, array]) => [`${place}/${name}`, array] as const),
        )
        return { findings: Object.fromEntries(arrays), figures: { steps } }
      }
      const own = scratchIn(setup.folder)
      const workshop: Workshop = {
        ...open(),
        ...own.of(analysis),
        ...(parts ? { parts } : {}),
        spare: spareFor(index),
        ...(judge ? { judge: (found) => judge(index, recorded(found)) } : {}),
        ...(setup.earlier ? { earlier: setup.earlier } : {}),
      }
      try {
        const overall = overallShare(plan, index)
        listen({ kind: 'step', step: analysis.steps[0]!, text: 'reading the models', fraction: 0, overall: overall(0) })
        const tell = ({ whole, ...progress }: AnalysisProgress): void => {
          const share = whole ?? progress.fraction
          listen({ kind: 'step', ...progress, ...(share === undefined ? {} : { overall: overall(share) }) })
        }
        return recorded(await own.within(analysis, () => analysisKindOf(analysis).run(analysis, workshop, tell)))
      } catch (error) {
        refuseInterrupted(signal)
        throw error
      } finally {
        own.close()
      }
    },
    release: (files) => opened?.reader.release(files),
    async close() {
      signal?.removeEventListener('abort', stop)
      opened?.reader.close()
      await opened?.team.close()
      scratch.close()
    },
  }
}

/** By step: its analysis, and which of its steps it is. */
const placesOf = ({ analyses }: Plan) =>
  new Map(
    analyses.flatMap((analysis, index) =>
      analysis.steps.map((step, place) => [step, { analysis, index, place }] as const),
    ),
  )

/** Files for what does not fit into memory. */
function scratchIn(folder: string | undefined) {
  const opened: Nameless[] = []
  const whatFor = ({ steps }: Analysis): string => `step ${steps[0]}`
  return {
    /** Does work of an analysis that may use such files. Error: `disk-full`. */
    within: <T>(analysis: Analysis, work: () => Promise<T>): Promise<T> =>
      folder === undefined ? work() : whileRoom(folder, whatFor(analysis), work),
    of: (analysis: Analysis): Pick<Workshop, 'scratch'> =>
      folder === undefined
        ? {}
        : {
            async scratch(bytes) {
              const one = await openNameless(folder, bytes, whatFor(analysis))
              opened.push(one)
              return one.fd
            },
          },
    close(): void {
      for (const one of opened.splice(0)) one.close()
    },
  }
}

/** The share of the work of all analyses, from the share of one. Sweeps are assumed to be as many for each. */
function overallShare({ cost: { analyses = [] } }: Plan, index: number): (share: number) => number {
  const works = analyses.map(({ multiplications }) => Math.max(1, multiplications))
  const sum = (all: readonly number[]) => all.reduce((total, work) => total + work, 0)
  const [before, whole] = [sum(works.slice(0, index)), sum(works)]
  return (share) => Math.min(1, (before + share * works[index]!) / whole)
}

/** What an analysis found for one of its steps. */
export function arraysFor({ findings }: UnitRecord, place: number): FoundArrays {
  const own = Object.entries(findings).flatMap(([name, array]) =>
    name.startsWith(`${place}/`) ? [[name.slice(`${place}/`.length), array] as const] : [],
  )
  return Object.fromEntries(own)
}
