import path from 'node:path'
import { ownValue, recordOf } from '../../core/collections/ownValue.js'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import { removeTree } from '../../core/system/disk.js'
import type { Listener } from '../../execute/events.js'
import { permutedName } from '../../execute/outputs.js'
import { listOf } from '../../lineage/compare.js'
import { firstDifference, inside } from '../../lineage/disk.js'
import { lineageDigest } from '../../lineage/serialize.js'
import type { Lineage, LineageFile } from '../../lineage/types.js'
import { writtenBytes } from '../../plan/placements.js'
import { makeScratch } from '../../storage/local/scratch.js'
import { plan as planRecipe } from '../plan.js'
import { runWith, settled } from '../run.js'
import type { Digests } from '../sums/digests.js'
import { recordedRecipe } from './places.js'

/** How to run the recipe again. */
export interface ReproduceOptions {
  /** Also run the recipe's `evaluate` commands again. */
  readonly allowCommands?: boolean
  /** Called with the progress, as events. */
  readonly listen?: Listener
  /** Default: one per CPU core. */
  readonly threads?: number
  /** The memory limit of the second run, in bytes. */
  readonly memory?: number
  /** Ends the work early. The promise then rejects with the error `interrupted`. */
  readonly signal?: AbortSignal
}

interface Reproduction {
  readonly lineage: Lineage
  /** The digest of the lineage file. */
  readonly digest: string
  /** The output's folder. */
  readonly folder: string
  readonly recipeFolder: string
  /** `reproduce` appends differences. */
  readonly problems: Diagnostic[]
  readonly options: ReproduceOptions
}

/**
 * Runs the lineage's recipe again in a hidden folder next to the output, compares every byte, and removes the folder.
 * Runs commands of the recipe only if allowed; otherwise keeps the figures of the lineage. Errors: those of planning and running.
 */
export async function reproduce(given: Reproduction): Promise<boolean> {
  const { lineage, folder, recipeFolder, options } = given
  const planned = await planRecipe(path.join(recipeFolder, 'recipe.yml'), {
    ...recordedRecipe(lineage),
    commits: commitsOf(lineage),
  })
  const prepared = await settled(planned, options)
  const wanted = lineage.output.files.map(({ name }) => name)
  const fitting = [...prepared.plan.outputs.keys()].filter((place) => {
    const output = prepared.plan.outputs[place]!
    return (
      output.from === lineage.output.from &&
      output.point?.name === lineage.output.point?.name &&
      output.files.every(
        ({ name, size }, i) => sameName(output.layout, name, wanted[i]) && size === lineage.output.files[i]?.size,
      )
    )
  })
  // Outputs of one step can have the same size. Then the name decides, unless the run wrote to another path.
  const named = fitting.find((place) => path.basename(prepared.bindings.outputs[place]!) === wanted[0])
  const index = named ?? fitting[0]
  if (index === undefined)
    throw fault(
      'not-reproducible',
      'the lineage’s recipe no longer produces this output',
      'the tensors of an input have changed',
    )
  // Next to the output, where there is enough space, and not inside its folder.
  const layout = prepared.plan.outputs[index]!.layout
  const hidden = await makeScratch(layout === 'folder' ? path.dirname(folder) : folder, '.terge-verify-')
  try {
    // The name of the permutations follows from that of the output.
    const beside = lineage.output.permutations?.name
    const folderName = lineage.output.point?.name ?? (beside === undefined ? 'model' : permutedName(beside))
    const output = path.join(hidden, layout === 'folder' ? folderName : wanted[0]!)
    // Only this output, at another path: paths are not part of a plan's digest.
    const made = { ...prepared.plan.outputs[index]!, path: output }
    const write = made.tensors.reduce((sum, tensor) => sum + writtenBytes(tensor), 0)
    const result = await runWith(
      {
        ...prepared,
        plan: { ...prepared.plan, outputs: [made], cost: { ...prepared.plan.cost, write } },
        bindings: { ...prepared.bindings, outputs: [output] },
      },
      {
        commands: options.allowCommands ? 'run' : 'skip',
        sync: false,
        digests: digestsIn(lineage),
        ...(options.threads === undefined ? {} : { threads: options.threads }),
        ...(options.memory === undefined ? {} : { memory: options.memory }),
        ...(options.listen === undefined ? {} : { listen: options.listen }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      // A choice by a metric is not made again: the metric is not terge's.
      { earlier: (step) => ownValue(lineage.steps, step) },
    )
    const again = result.outputs[0]!
    return await compare(given, layout === 'folder' ? again.path : path.dirname(again.path), again)
  } finally {
    await removeTree(hidden)
  }
}

/** The digests that a run computed for its lineage. */
const digestsIn = ({ output }: Lineage): Digests =>
  output.digest === null ? 'none' : output.files.some((file) => file.sha256 !== undefined) ? 'full' : 'fast'

/** The commits of the lineage's models. */
const commitsOf = ({ models }: Lineage): Map<string, string> =>
  new Map(
    Object.entries(models).flatMap(([name, { revision }]) =>
      revision !== undefined && /^[0-9a-f]{40}$/.test(revision) ? [[name, revision] as const] : [],
    ),
  )

/** A single file has the output's name, which the user can change with -o. */
const sameName = (layout: 'file' | 'folder', planned: string, name: string | undefined): boolean =>
  layout === 'file' ? name !== undefined : planned === name

/**
 * A lineage without what an earlier one does not have: SHA-256 of some of the files, and small files of inputs. The licenses and lineages
 * that lay beside inputs are those of the earlier run: they decide no byte of the output.
 */
function likeEarlier(now: Lineage, before: Lineage): Lineage {
  const alike = (files: readonly LineageFile[], earlier: readonly LineageFile[] = []): LineageFile[] =>
    files.map(({ sha256, sha256_from: from, ...file }, index) => ({
      ...file,
      ...(earlier[index]?.sha256 === undefined || sha256 === undefined ? {} : { sha256 }),
      ...(earlier[index]?.sha256_from === undefined || from === undefined ? {} : { sha256_from: from }),
    }))
  const models = Object.entries(now.models).map(([name, { beside, license: _, lineage: __, ...model }]) => {
    const known = ownValue(before.models, name)
    const { license, lineage } = known ?? {}
    const files = alike(model.files, known?.files)
    return [
      name,
      {
        ...{ ...model, files },
        ...(license ? { license } : {}),
        ...(lineage === undefined ? {} : { lineage }),
        ...(beside && known?.beside ? { beside: alike(beside, known.beside) } : {}),
      },
    ] as const
  })
  const output = { ...now.output, files: alike(now.output.files, before.output.files) }
  return { ...now, models: recordOf(models), output }
}

async function compare(
  { lineage, digest, folder, problems, options }: Reproduction,
  again: string,
  result: { readonly lineage: Lineage },
): Promise<boolean> {
  const before = problems.length
  const report = (message: string, hint: string): void => {
    problems.push({ severity: 'error', code: 'not-reproduced', message, hint })
  }
  const hint = 'an input or the output has changed, or the versions of terge differ'
  for (const { name } of lineage.output.dropped ? [] : lineage.output.files) {
    const [one, other] = [inside(folder, name), inside(again, name)]
    if (one === undefined || other === undefined) continue
    try {
      const at = await firstDifference(one, other, options.signal)
      if (at !== undefined) report(`${name} differs from the second run, first at byte ${at}`, hint)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined || options.signal?.aborted) throw error
      report(`${name} cannot be compared: ${(error as Error).message}`, hint)
    }
  }
  const differing = Object.entries(result.lineage.tensors)
    .filter(([name, { digest }]) => ownValue(lineage.tensors, name)?.digest !== digest)
    .map(([name]) => name)
  if (differing.length > 0) report(`tensors that differ in the second run: ${listOf(differing)}`, hint)
  const figures = options.allowCommands ? result.lineage.evaluations : lineage.evaluations
  const written = lineageDigest(
    likeEarlier({ ...result.lineage, ...(figures ? { evaluations: figures } : {}) }, lineage),
  )
  // Another version of terge writes its own number, and possibly more.
  const same = result.lineage.terge === lineage.terge && result.lineage.lineage === lineage.lineage
  if (same && differing.length === 0 && written !== digest)
    report(
      'the lineage itself differs from the second run',
      'the lineage was edited after the merge, or an evaluate command printed other numbers',
    )
  return problems.length === before
}
