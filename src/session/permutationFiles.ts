/** The files of permutations next to outputs. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { sha256 } from '../core/digest.js'
import { permutationsPath } from '../execute/outputs.js'
import type { Bindings, Executed } from '../execute/types.js'
import type { MadeOutput } from '../lineage/build.js'
import type { Plan } from '../plan/types.js'
import { decodePermutations, encodePermutations, MAX_PERMUTATIONS } from '../rebasin/stored.js'
import { analysisKindOf } from '../steps/index.js'
import { readRegular } from '../storage/local/regular.js'

/**
 * Refuses to replace other files without `force`. A resumed run replaces the permutations of an interrupted one. `finished`: by
 * `Plan.outputs`, what needs no work. Error: `output-exists`.
 */
export async function refusePermutationFiles(
  { outputs }: Plan,
  places: Bindings['outputs'],
  finished: (output: number) => boolean,
  { force, resume }: { readonly force: boolean; readonly resume: boolean },
): Promise<void> {
  const refused: Diagnostic[] = []
  for (const [index, { layout, permutations }] of outputs.entries()) {
    if (!permutations || finished(index)) continue
    const file = permutationsPath(layout, places[index]!)
    const entry = await stat(file).catch(() => undefined)
    if (!entry || (entry.isFile() && (force || (resume && (await isOurs(file)))))) continue
    const [what, hint] = entry.isFile()
      ? ['exists already', 'use --force to replace it']
      : ['is not a file', 'choose another path']
    refused.push(...fault('output-exists', `${file}: ${what}, but the permutations need this name`, hint).diagnostics)
  }
  if (refused.length > 0) throw new Fault(refused)
}

const isOurs = (file: string): Promise<boolean> =>
  readRegular(file, { most: MAX_PERMUTATIONS }).then(
    (bytes) => {
      try {
        return decodePermutations(bytes, file).size > 0
      } catch {
        return false
      }
    },
    () => false,
  )

/** The permutations of an output, as a file and for its lineage. Undefined if the recipe does not ask for them. */
export function madePermutations(
  plan: Plan,
  output: number,
  place: string,
  found: Executed['found'],
): MadeOutput['permutations'] {
  const { permutations, layout } = plan.outputs[output]!
  if (!permutations) return undefined
  const name = path.basename(permutationsPath(layout, place))
  const steps = permutations.map(({ step, untouched }) => {
    const analysis = plan.analyses.find(({ steps }) => steps.some((one) => one === step))!
    return [step, { ...analysisKindOf(analysis).permutations!.of(analysis, step, found(step)), untouched }] as const
  })
  const content = encodePermutations(new Map(steps), name)
  return { file: { name, size: content.length, sha256: sha256(content) }, content }
}
