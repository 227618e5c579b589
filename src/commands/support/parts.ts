/** Runs in parts: their flags, and what a part prints. */
import { fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { counted } from '../../core/words.js'
import type { PartChoice, Prepared } from '../../index.js'
import { shownPath } from '../../ui/result.js'
import { toJson } from '../../ui/text.js'
import { chosenFormat, digestsFlag, Flags, onOff } from './flags.js'
import { given } from './options.js'
import { partChoice } from './partChoice.js'
import { type RunFlags, showPlan, threadsOf, withProgress, withResume } from './perform.js'
import { complain, print } from './print.js'

export const partFlags = {
  part: Flags.string({
    description: 'do one part of the run: I/N from 0, auto/N or auto for the index of a cluster’s task, or analyse',
    helpValue: 'I/N',
  }),
  finish: onOff('publish the outputs of a run in parts, after checking all parts'),
  work: Flags.string({
    description:
      'where unfinished work is: of parts, a folder that all machines share or s3://bucket/prefix (default: beside the output); of outputs for the hub or a store, a folder (default: in terge’s cache)',
    helpValue: 'PLACE',
  }),
}

interface PartFlags extends RunFlags {
  readonly part?: string | undefined
  readonly finish: boolean
  readonly work?: string | undefined
}

/** The part to do; undefined for a run or `--finish`. Errors: `bad-flag`, `no-task`. */
export function refuseMixed(flags: PartFlags, env: NodeJS.ProcessEnv): PartChoice | undefined {
  const { part, finish, checksums } = flags
  const both = (a: string, b: string, hint: string) => fault('bad-flag', `${a} and ${b} cannot be used together`, hint)
  if (part !== undefined && finish) throw both('--part', '--finish', 'run all parts first, then --finish')
  if (part !== undefined && checksums)
    throw both('--part', '--checksums', 'give --checksums to --finish, which publishes the outputs')
  if (digestsFlag(flags) === 'none' && (part !== undefined || finish)) {
    const none = flags['no-digests'] ? '--no-digests' : '--digests none'
    throw both(finish ? '--finish' : '--part', none, `remove ${none}: parts are recognized by digests`)
  }
  return part === undefined ? undefined : partChoice(part, env)
}

/** Does one part with progress, and prints what it did. */
export async function performPart(prepared: Prepared, part: PartChoice, flags: PartFlags): Promise<void> {
  const json = chosenFormat(flags, 'text') === 'json'
  if (flags['dry-run']) return showPlan(prepared, json ? 'json' : 'tree', flags)
  const { runPart } = await import('../../index.js')
  complain(prepared.diagnostics)
  const result = await withProgress(json, (listen, signal) =>
    runPart(prepared, part, {
      threads: threadsOf(flags),
      ...given({ memory: flags.memory, disk: flags.disk, work: flags.work }),
      force: flags.force,
      commands: flags['allow-commands'] ? 'run' : 'refuse',
      sync: !flags['no-sync'],
      digests: digestsFlag(flags),
      strict: flags.strict,
      listen,
      signal,
    }),
  ).catch((error: unknown) => {
    throw withResume(error)
  })
  const { work, tensors, bytes } = result
  if (json) return print(toJson({ part: part === 'analyse' ? part : `${part.index}/${part.of}`, ...result }))
  const what = part === 'analyse' ? 'analyses done' : `part ${part.index} of ${part.of} done`
  const made = part === 'analyse' ? '' : `: ${counted(tensors, 'tensor')}, ${formatSize(bytes)}`
  print(`${what}${made}; recorded in ${shownPath(work, process.cwd())}`)
}
