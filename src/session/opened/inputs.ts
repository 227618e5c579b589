import path from 'node:path'
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import { smallInputs } from '../../checkpoints/smallInputs.js'
import { type Checkpoint, smallFolderOf } from '../../checkpoints/types.js'
import { withSlashes } from '../../core/names/fileNames.js'
import { TOKENIZER_FILES } from '../../plan/tokens/tokenizer.js'
import type { Plan } from '../../plan/types.js'
import { type InputState, inputStates } from '../../storage/local/inputStates.js'
import { adapterFile } from './adapterFile.js'

/** The states of all files of models, which were opened after `opened`, by path. `wait`: see `inputStates`. */
export async function openedStates(
  checkpoints: readonly Checkpoint[],
  opened: number,
): Promise<{ readonly states: ReadonlyMap<string, InputState>; readonly wait: number }> {
  const small = await Promise.all(
    checkpoints.map((checkpoint) => smallInputs(checkpoint, [...checkpoint.sidecars, ...TOKENIZER_FILES])),
  )
  const weights = checkpoints.flatMap((checkpoint) => checkpoint.files.map((file) => file.path))
  const { inputs, wait } = await inputStates([...new Set([...weights, ...small.flat()])], opened)
  // Files in the hub cache are named by their content, and can be new.
  const local = checkpoints.some(({ revision }) => revision === undefined)
  return { states: new Map(inputs.map((input) => [input.path, input])), wait: local ? wait : 0 }
}

/** Names of the small files of a model that a plan reads or copies, apart from those that describe weights. */
const copiedFrom = ({ outputs }: Plan, model: number): readonly string[] => [
  ...outputs.flatMap(({ sidecars }) =>
    sidecars.flatMap((sidecar) => (sidecar.kind === 'copy' && sidecar.model === model ? [sidecar.name] : [])),
  ),
  ...TOKENIZER_FILES,
]

/** The small files of a model that may be read or copied, with their names from the model's folder: without those that the lineage lists elsewhere. */
export async function smallFilesOf(
  plan: Plan,
  model: number,
  checkpoint: Checkpoint,
): Promise<{ readonly name: string; readonly path: string }[]> {
  const folder = smallFolderOf(checkpoint)
  const given = new Set((checkpoint.configFiles ?? []).map((file) => file.path))
  const config = adapterFile(checkpoint) && path.join(folder, ADAPTER_CONFIG)
  const all = await smallInputs(checkpoint, copiedFrom(plan, model))
  return all
    .filter((one) => !given.has(one) && one !== config && checkpoint.layout !== 'file')
    .map((one) => ({ name: withSlashes(path.relative(checkpoint.path, one)), path: one }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The states of the files that a plan reads: weights by `Plan.files`, then small files. */
export async function inputsOf(
  plan: Plan,
  used: readonly Checkpoint[],
  states: ReadonlyMap<string, InputState>,
): Promise<readonly InputState[]> {
  const small = used.map((checkpoint, model) => smallInputs(checkpoint, copiedFrom(plan, model)))
  const weights = used.flatMap(({ files }) => files.map(({ path }) => states.get(path) ?? { path }))
  const beside = [...new Set((await Promise.all(small)).flat())].flatMap((path) => states.get(path) ?? [])
  return [...weights, ...beside.filter(({ state }) => state !== undefined)]
}
