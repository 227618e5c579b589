/** The tensors of an aligned model, from the findings of its alignment. */
import { sharedCopy } from '../../core/collections/sharedArrays.js'
import { axisMaps, gather, type Permutations } from '../../rebasin/apply.js'
import { turnedTensor } from '../../rebasin/orthogonal/aligned.js'
import { mapsOf } from '../../rebasin/orthogonal/arrays.js'
import type { OrthogonalMaps } from '../../rebasin/orthogonal/form.js'
import type { StoredPermutations } from '../../rebasin/stored.js'
import { createWeights, type TensorSource } from '../../rebasin/weights.js'
import type { AxisMap } from '../../views/types.js'
import type { FoundArrays, Workshop } from '../analysis.js'
import { budgetOf } from './cost.js'
import { sourceOf } from './measured/source.js'
import { matchedSpec } from './spec/matched.js'
import type { RebasinAnalysis } from './types.js'

export const alignedMaps = (
  analysis: RebasinAnalysis,
  found: FoundArrays,
  tensor: string,
  shape: readonly number[],
): readonly AxisMap[] => axisMaps(matchedSpec(analysis), found as Permutations, tensor, shape)

export async function alignedTensor(
  analysis: RebasinAnalysis,
  found: FoundArrays,
  { step, tensor }: { readonly step: string; readonly tensor: string },
  { reader, team, spare }: Workshop,
): Promise<Float32Array> {
  const model = sourceOf(analysis.models[analysis.steps.indexOf(step)]!, reader)
  const { shape } = model.tensors.get(tensor)!
  if (analysis.symmetry === 'permutation') {
    const values = await model.read(tensor)
    return sharedCopy(gather(values, shape, alignedMaps(analysis, found, tensor, shape)))
  }
  const weights = createWeights(model, { ...budgetOf(analysis, spare), kept: 0 })
  return turnedTensor(rotationOf(found, model), weights, tensor, team)
}

const rotations = new WeakMap<FoundArrays, OrthogonalMaps>()

function rotationOf(found: FoundArrays, model: TensorSource): OrthogonalMaps {
  const maps = rotations.get(found) ?? mapsOf(found, model)
  rotations.set(found, maps)
  return maps
}

export const orderedTensors = (analysis: RebasinAnalysis): ReadonlySet<string> =>
  new Set(matchedSpec(analysis).parts.map(({ tensor }) => tensor))

/** The permutations of a step, as a file has them. */
export function storedOf(
  { spec: { groups = {}, tensors }, steps, models, onto, family, given }: RebasinAnalysis,
  step: string,
  found: FoundArrays,
): Omit<StoredPermutations, 'untouched'> {
  const ends = given?.ends ?? { model: models[steps.indexOf(step)]!.name, onto: onto.name }
  return { ...ends, family, spec: { groups, tensors }, permutations: found as Permutations }
}
