import { rm } from 'node:fs/promises'
import path from 'node:path'
import { ownValue } from '../../core/collections/ownValue.js'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import type { Listener } from '../../execute/events.js'
import { listOf } from '../../lineage/compare.js'
import { firstDifference, inside, readLineage } from '../../lineage/disk.js'
import { lineageDigest } from '../../lineage/serialize.js'
import type { Lineage } from '../../lineage/types.js'
import { writtenBytes } from '../../plan/placements.js'
import { makeScratch } from '../../storage/local/scratch.js'
import { plan as planRecipe } from '../plan.js'
import { run } from '../run.js'

/** How the recipe is run again. */
export interface ReproduceOptions {
  /** The recipe's `evaluate` commands run again too. */
  readonly allowCommands?: boolean
  readonly listen?: Listener
  readonly threads?: number
  /** In bytes. */
  readonly memory?: number
  readonly signal?: AbortSignal
}

interface Reproduction {
  readonly lineage: Lineage
  /** Of the lineage's text as it lies on disk. */
  readonly digest: string
  /** The output's. */
  readonly folder: string
  readonly recipeFolder: string
  /** Differences are added to it. */
  readonly problems: Diagnostic[]
  readonly options: ReproduceOptions
}

/**
 * Runs the lineage's recipe again into a hidden folder beside the output, compares every byte, and removes the folder.
 * Commands in the recipe run only where they may; else the evaluations are taken as they stand. Faults: those of planning and running it.
 */
export async function reproduce(given: Reproduction): Promise<boolean> {
  const { lineage, folder, recipeFolder, options } = given
  const { text, set } = lineage.recipe
  const prepared = await planRecipe(path.join(recipeFolder, 'recipe.yml'), { text, set, commits: commitsOf(lineage) })
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
  // Outputs of one step may have one size; then the name tells, unless the run was told to write elsewhere.
  const named = fitting.find((place) => path.basename(prepared.bindings.outputs[place]!) === wanted[0])
  const index = named ?? fitting[0]
  if (index === undefined)
    throw fault(
      'not-reproducible',
      'the lineage’s recipe no longer produces this output',
      'the tensors of an input have changed',
    )
  // Beside the output, so that there is room for it; a folder's own inside stays as it is.
  const layout = prepared.plan.outputs[index]!.layout
  const hidden = await makeScratch(layout === 'folder' ? path.dirname(folder) : folder)
  try {
    const output = path.join(hidden, layout === 'folder' ? (lineage.output.point?.name ?? 'model') : wanted[0]!)
    // This output alone, and elsewhere: a plan's digest says nothing of places.
    const made = { ...prepared.plan.outputs[index]!, path: output }
    const write = made.tensors.reduce((sum, tensor) => sum + writtenBytes(tensor), 0)
    const result = await run(
      {
        ...prepared,
        plan: { ...prepared.plan, outputs: [made], cost: { ...prepared.plan.cost, write } },
        bindings: { ...prepared.bindings, outputs: [output] },
      },
      {
        commands: options.allowCommands ? 'run' : 'skip',
        sync: false,
        digests: lineage.output.digest !== null,
        sha256: lineage.output.files.some((file) => file.sha256 !== undefined),
        ...(options.threads === undefined ? {} : { threads: options.threads }),
        ...(options.memory === undefined ? {} : { memory: options.memory }),
        ...(options.listen === undefined ? {} : { listen: options.listen }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
    )
    const again = result.outputs[0]!
    return await compare(given, layout === 'folder' ? again.path : path.dirname(again.path), again)
  } finally {
    await rm(hidden, { recursive: true, force: true })
  }
}

/** What the models' branches were then. */
const commitsOf = ({ models }: Lineage): Map<string, string> =>
  new Map(
    Object.entries(models).flatMap(([name, { revision }]) =>
      revision !== undefined && /^[0-9a-f]{40}$/.test(revision) ? [[name, revision] as const] : [],
    ),
  )

/** The one file of an output is called as the output is, which a lineage written under another name may change. */
const sameName = (layout: 'file' | 'folder', planned: string, name: string | undefined): boolean =>
  layout === 'file' ? name !== undefined : planned === name

async function compare(
  { lineage, digest, folder, problems, options }: Reproduction,
  again: string,
  result: { readonly lineage: Lineage; readonly lineagePath: string },
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
  const written = options.allowCommands
    ? (await readLineage(result.lineagePath)).digest
    : lineageDigest({ ...result.lineage, ...(lineage.evaluations ? { evaluations: lineage.evaluations } : {}) })
  // Another version writes another version's number, and may write more.
  const same = result.lineage.terge === lineage.terge && result.lineage.lineage === lineage.lineage
  if (same && differing.length === 0 && written !== digest)
    report(
      'the lineage itself differs from the second run',
      'the lineage was edited after the merge, or an evaluate command printed other numbers',
    )
  return problems.length === before
}
