/** Modules that an extracted adapter has in full. */
import { nearNamesHint } from '../../core/names/nearNames.js'
import type { Pattern } from '../../core/patterns.js'
import { quote } from '../../core/suggest.js'
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { type Head, tiedHeadOf } from '../../networks/heads.js'
import { moduleOf } from '../../networks/modules.js'
import { EMBEDDING, headOf, isHead, otherBiasOf, saysTied, tiesHead } from '../../networks/tied.js'
import type { InMemory } from './inMemory.js'
import type { ExtractStep } from './types.js'

/** Modules that are saved in full: what they hold is too. */
export interface WholeModules {
  /** Those that the recipe names, without modules inside others of them. */
  readonly chosen: readonly string[]
  /** Embeddings and heads of another vocabulary. */
  readonly resized: readonly string[]
  readonly sound: boolean
}

/** Error: `no-match` for an entry of `modules_to_save` that names no module of the base. */
export function wholeModules(
  recipe: RecipeHead,
  { modulesToSave, base: name, lokr }: ExtractStep,
  { from, base, storedNames }: InMemory,
  faults: Faults,
): WholeModules {
  const modules = [...new Set([...base.tensors.keys()].flatMap(holdersOf))]
  const stored = [...new Set([...base.tensors.keys()].flatMap((name) => storedNames(name).flatMap(holdersOf)))]
  const chosen = new Set<string>()
  /** The modules in memory that hold what a module of the files holds. */
  const inMemory = (module: string): string[] =>
    [...base.tensors.keys()]
      .filter((name) => storedNames(name).some((own) => own.startsWith(`${module}.`)))
      .map((name) => moduleOf(name).module)
  let sound = true
  for (const { pattern, at } of typeof modulesToSave === 'boolean' ? [] : modulesToSave) {
    const named = modules.filter((module) => isMeant(pattern, module))
    const found = named.length > 0 ? named : stored.filter((module) => isMeant(pattern, module)).flatMap(inMemory)
    for (const module of found) chosen.add(module)
    if (found.length > 0) continue
    sound = false
    const message = `${quote(pattern.text)} matches no module of the base ${quote(name)}`
    faults.error('no-match', message, recipe.placeOf(at, 'value'), nearNamesHint(pattern.text, stored))
  }
  const outer = [...chosen].filter((module) => !holdersOf(module).some((holder) => chosen.has(holder)))
  const entries = [...base.tensors]
  const resized = entries.flatMap(([tensor, { shape }]) => {
    const other = from.tensors.get(tensor)?.shape
    const rows = EMBEDDING.test(tensor) || isHead(tensor, shape, entries)
    return rows && isResized(shape, other) ? [moduleOf(tensor).module] : []
  })
  return { chosen: outer, resized: lokr ? [] : resized, sound }
}

/** Whether a tensor is of one of these modules, or of a module inside one. */
export const isWithin = (modules: readonly string[], tensor: string): boolean =>
  modules.some((module) => tensor.startsWith(`${module}.`))

/** The modules around a name, from the outermost on: `a` and `a.b` of `a.b.weight`. */
export const holdersOf = (name: string): string[] => [...name.matchAll(/\./g)].map(({ index }) => name.slice(0, index))

/** PEFT takes a name for all modules whose names end with it. */
const isMeant = ({ kind, text, matches }: Pattern, module: string): boolean =>
  matches(module) || (kind === 'exact' && module.endsWith(`.${text}`))

/** Whether two matrices differ in the number of their rows only. */
const isResized = (shape: readonly number[], other: readonly number[] | undefined): boolean =>
  shape.length === 2 && other?.length === 2 && shape[1] === other[1] && shape[0] !== other[0]

/**
 * PEFT saves every module whose name ends with the name of a saved one. Error: `adapter-saves` if that is a layer with
 * factors.
 */
export function refuseAmbiguous(whole: readonly string[], adapted: readonly string[], tell: (message: string) => void) {
  const layers = adapted.map((name) => ({ name, around: [...holdersOf(name), name] }))
  for (const module of whole) {
    const other = layers.find(({ around }) =>
      around.some((own) => own !== module && own.endsWith(module) && !own.startsWith(`${module}.`)),
    )
    if (other === undefined) continue
    tell(`PEFT finds ${module}, which is saved whole, by the end of its name, and would save ${other.name} whole too`)
    return
  }
}

/** A tied head that the adapter has too, with the embedding that it is. */
export interface TiedWhole {
  readonly embedding: string
  readonly head?: string
  /** The name of the head's bias, and of the tensor that it is. PEFT looks for all tensors of a module that it copies. */
  readonly bias?: { readonly name: string; readonly like: string }
  readonly why?: string
}

/**
 * Of tensors that are saved whole: an embedding whose tied head the base does not store. PEFT changes the head only if the adapter has it
 * as well.
 */
export function tiedWhole(
  whole: readonly string[],
  { tensors }: Value,
  config: Readonly<Record<string, unknown>> | undefined,
): TiedWhole | undefined {
  const embedding = whole.find((name) => EMBEDDING.test(name))
  const stored = headOf([...tensors])
  if (embedding === undefined || !(stored === undefined ? tiesHead(config, embedding) : saysTied(config, stored)))
    return undefined
  const head: Head = stored === undefined ? tiedHeadOf(embedding, tensors, config) : { kind: 'head', name: stored }
  if (head.kind === 'none') return undefined
  if (head.kind !== 'head') return { embedding, why: head.why }
  const name = `${moduleOf(head.name).module}.bias`
  const like = [name, otherBiasOf(name)].find((own) => own !== undefined && tensors.has(own))
  return { embedding, head: head.name, ...(like === undefined ? {} : { bias: { name, like } }) }
}
