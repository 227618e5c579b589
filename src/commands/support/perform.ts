import { availableParallelism } from 'node:os'
import { Fault } from '../../core/diagnostics.js'
import type { Digests, Listener, Prepared, RunResult } from '../../index.js'
import { widthOf } from '../../ui/fit.js'
import { licensesText } from '../../ui/licenses.js'
import { formatPlan, type PlanFormat } from '../../ui/plan/index.js'
import { renderer, rendererKind } from '../../ui/progress/renderer.js'
import type { Phases } from '../../ui/progress/types.js'
import { runText } from '../../ui/result.js'
import { toJson } from '../../ui/text.js'
import { commandLine } from './commandLine.js'
import { chosenFormat, digestsFlag } from './flags.js'
import { given } from './options.js'
import { complain, print, remark } from './print.js'
import { interruptible, isInterruption } from './signals.js'

export interface RunFlags {
  readonly threads?: number | undefined
  readonly memory?: number | undefined
  readonly disk?: number | undefined
  /** The folder of outputs that are uploaded, or of parts. */
  readonly work?: string | undefined
  readonly 'dry-run': boolean
  readonly resume: boolean
  /** Publish the parts of a run. */
  readonly finish?: boolean
  readonly force: boolean
  readonly 'allow-commands': boolean
  readonly 'no-sync': boolean
  readonly digests?: Digests | undefined
  readonly 'no-digests': boolean
  readonly sha256: boolean
  readonly checksums: boolean
  readonly strict: boolean
  readonly json: boolean
  readonly format?: 'text' | 'json' | undefined
}

export const threadsOf = (flags: { readonly threads?: number | undefined }): number =>
  flags.threads ?? availableParallelism()

/** At most so many workers start early: they use memory before the memory limit of the run is known. */
const AHEAD = 4

/** Starts workers while the recipe is still being read. */
export async function startEarly(flags: Pick<RunFlags, 'threads' | 'dry-run'>): Promise<void> {
  if (flags['dry-run']) return
  const { startAhead } = await import('../../index.js')
  startAhead(Math.min(AHEAD, threadsOf(flags)))
}

/** Prints a plan: what `terge plan` and `--dry-run` do. */
export async function showPlan(
  prepared: Prepared,
  format: PlanFormat,
  flags: Pick<RunFlags, 'threads' | 'memory' | 'disk'>,
): Promise<void> {
  const { planDownloads, viewPlan } = await import('../../index.js')
  complain(prepared.diagnostics)
  if (prepared.recipe.search)
    remark('the recipe has a search: this plan uses the values that stand in the recipe; terge search varies them')
  const downloads = await planDownloads(prepared, given({ disk: flags.disk }))
  const view = viewPlan(prepared.plan, { threads: threadsOf(flags), ...given({ memory: flags.memory, downloads }) })
  print(formatPlan(prepared.plan, format, view, widthOf(process.stdout)))
}

/** Prints what `--licenses` asks for. */
export async function showLicenses(prepared: Prepared, json: boolean): Promise<void> {
  const { planLicenses } = await import('../../index.js')
  complain(prepared.diagnostics)
  const found = planLicenses(prepared)
  print(json ? toJson(found) : licensesText(found, widthOf(process.stdout)))
}

/** Executes a plan with progress, or shows it with `--dry-run`. Prints the result. */
export async function perform(prepared: Prepared, flags: RunFlags): Promise<void> {
  const json = chosenFormat(flags, 'text') === 'json'
  if (flags['dry-run']) return showPlan(prepared, json ? 'json' : 'tree', flags)
  const { finishParts, run } = await import('../../index.js')
  complain(prepared.diagnostics)
  const work = withProgress(json, (listen, signal) =>
    (flags.finish ? finishParts : run)(prepared, {
      threads: threadsOf(flags),
      ...given({ memory: flags.memory, disk: flags.disk, work: flags.work }),
      ...(flags.finish ? {} : { resume: flags.resume }),
      force: flags.force,
      commands: flags['allow-commands'] ? 'run' : 'refuse',
      sync: !flags['no-sync'],
      digests: digestsFlag(flags),
      checksums: flags.checksums,
      strict: flags.strict,
      listen,
      signal,
    }),
  )
  const result = await work.catch((error: unknown) => {
    throw flags.resume || flags.finish ? withResume(error) : error
  })
  print(json ? toJson(runJson(prepared, result)) : runText(result, process.cwd(), process.stdout.columns || 80))
}

/** An interruption says the exact command that resumes the run. */
export function withResume(error: unknown): unknown {
  if (!(error instanceof Fault) || !isInterruption(error.exit)) return error
  const hint = `resume with: ${commandLine(process.argv, process.cwd())}`
  return new Fault(
    error.diagnostics.map((diagnostic) => (diagnostic.hint === undefined ? diagnostic : { ...diagnostic, hint })),
    error.exit,
  )
}

/** Does work that signals can interrupt, with progress on standard error. `phases`: of commands other than a run. */
export async function withProgress<T>(
  json: boolean,
  work: (listen: Listener, signal: AbortSignal) => Promise<T>,
  phases?: Phases,
): Promise<T> {
  const kind = rendererKind(json, process.stderr, process.env)
  const { listen, stopping, finish } = await renderer(kind, { stream: process.stderr, ...given({ phases }) })
  return interruptible(async (signal) => {
    let outcome: 'done' | 'failed' = 'failed'
    try {
      const result = await work(listen, signal)
      outcome = 'done'
      return result
    } finally {
      await finish(outcome)
    }
  }, stopping)
}

const runJson = ({ diagnostics }: Prepared, { outputs, summaries, warnings, seconds }: RunResult) => ({
  outputs: outputs.map(({ path, lineagePath, bytes, lineage, revision }) => ({
    path,
    ...given({ revision }),
    lineage: lineagePath,
    bytes,
    tensors: lineage.output.tensors,
    digest: lineage.output.digest,
    ...(lineage.evaluations ? { evaluations: lineage.evaluations } : {}),
  })),
  ...(summaries.length > 0 ? { summaries } : {}),
  warnings: [...diagnostics.filter(({ severity }) => severity === 'warning'), ...warnings],
  seconds,
})
