import type { Checkpoint } from '../../checkpoints/types.js'
import { leavesOf } from '../../expr/cost.js'
import type { Expr } from '../../expr/types.js'
import type { Value } from '../../expr/values.js'
import { inputsOf, sameMaking } from '../../expr/walk.js'
import { EMBEDDING, headOf, nearestTo, tiesHead } from '../../networks/tied.js'
import type { Recipe } from '../../recipe/types.js'
import { mainStored } from '../../views/stored.js'
import { donorsOf } from '../origins.js'

/** What is known of the models that tensors are read from. */
interface Origins {
  readonly recipe: Pick<Recipe, 'steps'>
  readonly checkpoints: ReadonlyMap<string, Checkpoint>
  readonly modelOf: (file: number) => string
}

/** The name of the head if it is computed in another way than the embedding, so that it is no longer tied. */
export function ownHead(tensors: Value['tensors'], { recipe, checkpoints, modelOf }: Origins): string | undefined {
  const name = headOf([...tensors])
  const embeddings = [...tensors].filter(([name]) => EMBEDDING.test(name))
  const embedding = name === undefined ? undefined : nearestTo(name, embeddings)?.[1].expr
  if (name === undefined || !embedding) return undefined
  const head = tensors.get(name)!.expr
  const ofAdapter = (file: number): boolean => checkpoints.get(modelOf(file))?.adapter !== undefined
  // In a model with tied weights, every name refers to the same tensor. Adapters store each separately.
  const making = (part: Expr): string => {
    const inputs = new Set<unknown>(inputsOf(part))
    return JSON.stringify(part, (key, value) => {
      if (inputs.has(value) || key === 'scopeIndex') return undefined
      return value?.kind === 'stored' && !ofAdapter(value.file)
        ? { ...value, file: modelOf(value.file), tensor: undefined, offset: undefined }
        : value
    })
  }
  const donors = donorsOf(recipe)
  const tied = leavesOf(head).every(({ view }) => {
    const { file } = mainStored(view)
    return ofAdapter(file) || donors.includes(modelOf(file)) || tiesHead(checkpoints.get(modelOf(file))?.config, name)
  })
  return !tied || !sameMaking(head, embedding, making) ? name : undefined
}
