/** Tensors of an orthogonally aligned model. */
import { sharedCopy } from '../../core/collections/sharedArrays.js'
import type { ThreadTeam } from '../team/team.js'
import type { Weights } from '../weights.js'
import { orthogonalChanges, turnedOf } from './changes.js'
import { productWith } from './folded.js'
import type { OrthogonalMaps } from './form.js'
import type { Matrix } from './layout.js'
import { applyChanges, changedTensor } from './products.js'

export async function turnedTensor(
  maps: OrthogonalMaps,
  weights: Weights,
  name: string,
  team: ThreadTeam,
): Promise<Float32Array> {
  const { shape } = weights.source.tensors.get(name)!
  const whole = normValues(maps, name)
  if (whole) return sharedCopy(whole)
  const changes = orthogonalChanges(maps, name, shape)
  const more = await fromNorm(maps, weights, name)
  if (more) {
    const values = (await weights.get(name)).map((value, i) => value + more[i]!)
    return applyChanges(values, shape, changes, team)
  }
  return changes.length === 0 ? weights.get(name) : changedTensor(weights, name, changes, team)
}

/** The weight or bias of a LayerNorm: those of `onto`, if its readers have biases that make up for the difference. */
function normValues(maps: OrthogonalMaps, name: string): Float32Array | undefined {
  const { layout, norms } = maps
  const part = layout.parts.get(name)
  if (part?.kind !== 'norm' || layout.basis !== 'rotated' || layout.kind === 'rms') return undefined
  const { weight, folds } = layout.norms.get(part.module)!
  if (part.part === 'weight' || folds) return norms[name]!.onto
  // Without its weight, the bias is a vector of the stream as any other.
  const [{ turned }, { hidden }] = [turnedOf(maps), layout]
  const scale = weight === undefined ? undefined : norms[weight]!
  const plain = norms[name]!.model.map((value, j) => value / (scale?.model[j] ?? 1))
  return Float32Array.from({ length: hidden }, (_, i) => {
    let sum = 0
    for (let j = 0; j < hidden; j++) sum += turned[i * hidden + j]! * plain[j]!
    return sum * (scale?.onto[i] ?? 1)
  })
}

/** What the bias of a reader must add because the norm before it has the other model's bias: W · (b - what that is in the own basis). */
async function fromNorm(maps: OrthogonalMaps, weights: Weights, name: string): Promise<Float32Array | undefined> {
  const { layout, norms } = maps
  const part = layout.parts.get(name)
  if (part?.kind !== 'bias' || layout.basis !== 'rotated') return undefined
  const readers = part.matrices.filter((matrix) => biasOf(maps, matrix) !== undefined)
  if (readers.length === 0) return undefined
  const [{ turned }, { hidden }] = [turnedOf(maps), layout]
  const out = new Float32Array(weights.source.tensors.get(name)!.shape[0]!)
  for (const matrix of readers) {
    const { weight } = layout.norms.get(matrix.norm!)!
    const scale = weight === undefined ? undefined : norms[weight]!
    const bias = norms[biasOf(maps, matrix)!]!
    const difference = Float64Array.from(bias.model)
    for (let i = 0; i < hidden; i++) {
      const other = bias.onto[i]! / (scale?.onto[i] ?? 1)
      for (let j = 0; j < hidden; j++)
        difference[j] = difference[j]! - turned[i * hidden + j]! * other * (scale?.model[j] ?? 1)
    }
    out.set(await productWith(matrix, layout, weights, difference), matrix.from)
  }
  return out
}

/** The bias of the norm before a matrix, where it is moved into the bias of the matrix. */
function biasOf({ layout }: OrthogonalMaps, { norm, writes }: Matrix): string | undefined {
  const found = writes || norm === undefined ? undefined : layout.norms.get(norm)
  return found?.folds ? found.bias : undefined
}
