/** Checks output paths: outputs must not replace inputs, or be inside one another. */
import path from 'node:path'
import { type Checkpoint, smallFolderOf } from '../../checkpoints/types.js'
import type { Diagnostic } from '../../core/diagnostics.js'
import { samePath } from '../../core/names/fileNames.js'
import { quote } from '../../core/suggest.js'
import { permutationsPath } from '../../execute/outputs.js'
import { follow, settle } from '../../lineage/disk.js'
import { SUMMARY } from '../../lineage/path/summary.js'
import type { Plan, PlanOutput } from '../../plan/types.js'
import type { Recipe } from '../../recipe/types.js'
import { kindOf } from '../../steps/index.js'

/**
 * Errors for outputs, at these absolute paths by `Plan.outputs`, that would replace a model's files or be written next to them
 * (`output-is-input`), and for outputs inside another output or with the same path (`contradiction`). Compares real paths, so that
 * links do not matter.
 */
export async function misplacedOutputs(
  { outputs }: Plan,
  places: readonly string[],
  recipe: Recipe,
  models: ReadonlyMap<string, Checkpoint>,
  platform = process.platform,
): Promise<Diagnostic[]> {
  const settled = (await Promise.all(places.map(settle))).map((place) => samePath(place, platform))
  const taken = new Map<string, PlanOutput>()
  const faults = new Map<string, Diagnostic>()
  const refuse = ({ path: shown, spec }: PlanOutput, what: string, fault: Pick<Diagnostic, 'code' | 'hint'>): void => {
    const place = recipe.placeOf([...recipe.outputs[spec]!.at, 'path'])
    const message = `the output ${quote(shown)} ${what}`
    // One error for all points of an interpolation.
    const key = `${spec} ${fault.code}`
    if (!faults.has(key)) faults.set(key, { severity: 'error', message, place, ...fault })
  }
  const inputs = await Promise.all(
    [...models].map(async ([name, model]) => inputOf(named(recipe, name), model, platform)),
  )
  for (const [index, output] of outputs.entries()) {
    const place = settled[index]!
    const fault = {
      code: 'output-is-input' as const,
      hint: 'write to another path: the lineage needs its inputs unchanged',
    }
    const replaced = inputs.find(({ files }) => files.some((file) => isIn(file, place)))
    const joined = inputs.find(({ folders }) => output.layout === 'file' && folders.has(path.dirname(place)))
    if (replaced) refuse(output, `would replace its input model ${replaced.name}`, fault)
    else if (joined) refuse(output, `would be written into the folder of its input model ${joined.name}`, fault)
  }
  for (const [index, output] of outputs.entries()) {
    const other = taken.get(settled[index]!)
    const fault = { code: 'contradiction' as const, hint: 'give each output its own path' }
    if (other) refuse(output, `has the same path as ${quote(other.path)}`, fault)
    else taken.set(settled[index]!, output)
  }
  // Paths write a summary next to their points, so each needs a folder of its own.
  const ofPaths = new Map<string, PlanOutput>()
  for (const [index, output] of outputs.entries()) {
    if (!output.point) continue
    const folder = path.dirname(settled[index]!)
    const other = ofPaths.get(folder) ?? output
    ofPaths.set(folder, other)
    const fault = { code: 'contradiction' as const, hint: 'give each path a folder of its own' }
    if (other.spec !== output.spec)
      refuse(output, `is in the folder of ${quote(other.path)}, which is a point of another path`, fault)
    for (const name of Object.values(SUMMARY)) {
      const inTheWay = taken.get(path.join(folder, name))
      if (inTheWay) refuse(inTheWay, 'has the name of the summary of a path', fault)
    }
  }
  const read = await Promise.all(filesOf(recipe).map(follow))
  for (const [index, output] of outputs.entries()) {
    const hint = 'write to another path'
    if (read.includes(settled[index]!))
      refuse(output, 'would replace a file that the recipe reads', { code: 'output-is-input', hint })
    if (!output.permutations) continue
    const beside = permutationsPath(output.layout, settled[index]!)
    const other = taken.get(beside)
    if (other)
      refuse(other, `has the name of the permutations of ${quote(output.path)}`, { code: 'contradiction', hint })
    if (read.includes(beside) || inputs.some(({ files }) => files.includes(beside)))
      refuse(output, 'would replace a file that the recipe reads, with its permutations', {
        code: 'output-is-input',
        hint,
      })
  }
  for (const [index, output] of outputs.entries()) {
    const outer = above(settled[index]!).find((folder) => taken.has(folder))
    const fault = { code: 'contradiction' as const, hint: 'write them to separate folders' }
    if (outer !== undefined) refuse(output, `is inside the output ${quote(taken.get(outer)!.path)}`, fault)
  }
  return [...faults.values()]
}

/** The files that steps read, absolute. */
const filesOf = ({ steps, folder }: Recipe): string[] =>
  steps.flatMap((step) => kindOf(step).readsFiles?.(step) ?? []).map((file) => path.resolve(folder, file))

/** The name that the user knows. An adapter has only its path. */
function named(recipe: Recipe, name: string): string {
  const source = recipe.models.get(name)
  return quote(source?.companion ? source.reference : name)
}

interface Input {
  readonly name: string
  /** All files that are read, under each of their names. */
  readonly files: readonly string[]
  /** Folders in which another file with weights would be taken for a part of the model. */
  readonly folders: ReadonlySet<string>
}

async function inputOf(name: string, checkpoint: Checkpoint, platform: NodeJS.Platform): Promise<Input> {
  const { path: model, layout, files, sidecars } = checkpoint
  const keys = async (paths: readonly string[], real: (file: string) => Promise<string>): Promise<string[]> =>
    (await Promise.all(paths.map(real))).map((place) => samePath(place, platform))
  const read = [
    model,
    ...files.map((file) => file.path),
    ...sidecars.map((sidecar) => path.join(smallFolderOf(checkpoint), sidecar)),
  ]
  const folders = layout === 'folder' ? files.map((file) => path.dirname(file.path)) : []
  return {
    name,
    files: [...(await keys(read, settle)), ...(await keys(read, follow))],
    folders: new Set(await keys([...(layout === 'folder' ? [model] : []), ...folders], follow)),
  }
}

const isIn = (file: string, place: string): boolean => file === place || file.startsWith(`${place}${path.sep}`)

/** The folders above a path. */
function above(place: string): string[] {
  const folder = path.dirname(place)
  return folder === place ? [] : [folder, ...above(folder)]
}
