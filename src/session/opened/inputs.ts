import { smallInputs } from '../../checkpoints/smallInputs.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import { TOKENIZER_FILES } from '../../plan/tokens/tokenizer.js'
import type { Plan } from '../../plan/types.js'
import { type InputState, inputStates } from '../../storage/local/inputStates.js'

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

/** The states of the files that a plan reads: weights by `Plan.files`, then small files. */
export async function inputsOf(
  plan: Plan,
  used: readonly Checkpoint[],
  states: ReadonlyMap<string, InputState>,
): Promise<readonly InputState[]> {
  const small = used.map((checkpoint, model) => {
    const copied = plan.outputs.flatMap(({ sidecars }) =>
      sidecars.flatMap((sidecar) => (sidecar.kind === 'copy' && sidecar.model === model ? [sidecar.name] : [])),
    )
    return smallInputs(checkpoint, [...copied, ...TOKENIZER_FILES])
  })
  const weights = used.flatMap(({ files }) => files.map(({ path }) => states.get(path) ?? { path }))
  const beside = [...new Set((await Promise.all(small)).flat())].flatMap((path) => states.get(path) ?? [])
  return [...weights, ...beside.filter(({ state }) => state !== undefined)]
}
