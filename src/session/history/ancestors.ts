/** Reads the records beside inputs, generation by generation. They are anybody's: of limited number, depth and size, inside one folder. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { Fault } from '../../core/diagnostics.js'
import { addressIn } from '../../core/names/fileNames.js'
import { formatSize } from '../../core/sizes.js'
import { fileSize, follow, inside, lineageBeside, type ReadLineage, readLineage, readText } from '../../lineage/disk.js'
import { modelsOfOutput } from '../../lineage/forms/standard/identity.js'
import { MOST_CARD, readCard } from '../../lineage/history/card.js'
import { whyNotOf } from '../../lineage/history/compare.js'
import type { Ancestor, InputOrigin } from '../../lineage/history/types.js'
import type { LineageModel } from '../../lineage/types.js'
import { findRecipeFolder, inputPlaces } from '../proof/places.js'

const MOST_GENERATIONS = 32
const MOST_MODELS = 2000
/** In bytes: of one lineage, and of all together. */
const MOST_LINEAGE = 256 * 2 ** 20
const MOST_TOGETHER = 2 ** 30

interface Walk {
  /** Inputs of the user's own lineage can be anywhere, those of other generations only in here. */
  readonly root: string
  /** Inputs by digest of the lineage. A model that several others were made from is read once. */
  readonly known: Map<string, readonly Ancestor[]>
  /** Digests of the lineages on the way here. */
  readonly way: readonly string[]
  readonly left: { models: number; bytes: number }
}

/** How the inputs of a lineage were made. `recipeFolder`: as for `verify`. Never throws for records that are damaged. */
export async function ancestorsOf(read: ReadLineage, recipeFolder?: string): Promise<readonly Ancestor[]> {
  const folder = path.dirname(path.resolve(read.file))
  const found = (await findRecipeFolder(read.lineage, folder, recipeFolder)) ?? folder
  const left = { models: MOST_MODELS, bytes: MOST_TOGETHER }
  return inputsOf(read, found, { root: path.dirname(found), known: new Map(), way: [], left })
}

async function inputsOf(
  { lineage, digest }: ReadLineage,
  recipeFolder: string,
  walk: Walk,
): Promise<readonly Ancestor[]> {
  const known = walk.known.get(digest)
  if (known) return known
  const below: Walk = { ...walk, way: [...walk.way, digest] }
  const places = await inputPlaces(lineage, recipeFolder)
  const inputs: Ancestor[] = []
  for (const [name, model] of modelsOfOutput(lineage))
    inputs.push({ name, model, origin: await originOf(model, places.get(model), below) })
  walk.known.set(digest, inputs)
  return inputs
}

const stopped = (why: string): InputOrigin => ({ kind: 'stopped', why })

async function originOf(model: LineageModel, place: string | undefined, walk: Walk): Promise<InputOrigin> {
  if (place === undefined) return { kind: 'unknown' }
  if (--walk.left.models < 0) return stopped(`there are more than ${MOST_MODELS} models`)
  if (walk.way.length > MOST_GENERATIONS) return stopped(`there are more than ${MOST_GENERATIONS} generations`)
  const isLocal = addressIn(model.reference) === undefined
  if (isLocal && walk.way.length > 1 && inside(await follow(walk.root), await follow(place)) === undefined)
    return stopped(`${model.reference} is outside of ${walk.root}`)
  const entry = await stat(place).catch(() => undefined)
  if (!entry) return { kind: 'unknown' }
  const file = await lineageBeside(place, entry.isDirectory() ? 'folder' : 'file')
  if (file === undefined) return entry.isDirectory() ? cardOf(place) : { kind: 'unknown' }
  const size = await fileSize(file)
  const bytes = 'size' in size ? size.size : 0
  if (bytes > MOST_LINEAGE || bytes > walk.left.bytes) return stopped(`its lineage has ${formatSize(bytes)}`)
  walk.left.bytes -= bytes
  return lineageOf(model, file, walk)
}

/** The lineage in a file, if it is that of the input. */
async function lineageOf(model: LineageModel, file: string, walk: Walk): Promise<InputOrigin> {
  let read: ReadLineage
  try {
    read = await readLineage(file)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return { kind: 'refused', file, why: error.diagnostics[0]!.message }
  }
  if (walk.way.includes(read.digest))
    return stopped('its lineage is one that it was made for: they go round in a circle')
  const why = whyNotOf(model, read.lineage, read.digest) ?? (await otherSizes(read))
  if (why !== undefined) return { kind: 'refused', file, why }
  const folder = path.dirname(path.resolve(file))
  const recipeFolder = (await findRecipeFolder(read.lineage, folder)) ?? folder
  return { kind: 'lineage', read, inputs: await inputsOf(read, recipeFolder, walk) }
}

/** Why the files that are there are not those of their lineage: only their sizes are compared, and `verify` reads them. */
async function otherSizes({ file, lineage }: ReadLineage): Promise<string | undefined> {
  for (const { name, size } of lineage.output.files) {
    const place = inside(path.dirname(file), name)
    const found = place === undefined ? undefined : await fileSize(place)
    if (found && 'size' in found && found.size !== size)
      return `${name} has ${found.size} bytes, but ${size} in its lineage: it was changed after it was made`
  }
  return undefined
}

/** What a card of terge says: models without a lineage, or whose lineage was lost. */
async function cardOf(folder: string): Promise<InputOrigin> {
  const text = await readText(path.join(folder, 'README.md'), MOST_CARD).catch((error: unknown) => {
    if (error instanceof Fault) return undefined
    throw error
  })
  const { tags, bases } = readCard(text ?? '')
  return tags.includes('terge') && bases.length > 0 ? { kind: 'card', bases } : { kind: 'unknown' }
}
