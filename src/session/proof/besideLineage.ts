/** The files that a run writes beside a lineage and that the lineage cannot list: they contain its digest. */
import path from 'node:path'
import { OUTPUT } from '../../checkpoints/containers/index.js'
import { sha256 } from '../../core/digest.js'
import { checksumsName } from '../../execute/outputs.js'
import { type ReadLineage, readText } from '../../lineage/disk.js'
import { companionsOf, modelCard } from '../../lineage/forms/card.js'
import type { Lineage } from '../../lineage/types.js'
import { loadRecipe } from '../../recipe/load.js'
import { checksumsText, type SummedName } from '../sums/checksumsText.js'
import { recordedRecipe } from './places.js'

/** In bytes: more than the recipe of a card and the lines of checksums need. */
const MOST = 2 ** 24
const CARD = 'README.md'

/**
 * The lineage file itself, the model card and the checksums, with their SHA-256. The card and the checksums only if they are there and are
 * what terge wrote: people edit cards, and what they wrote does not come from the run.
 */
export async function writtenBeside({ file, lineage, digest }: ReadLineage): Promise<SummedName[]> {
  const { dir, base } = path.parse(file)
  const isFolder = base === 'lineage.json'
  const found: SummedName[] = [{ name: base, sha256: digest }]
  const card = isFolder ? await textAt(path.join(dir, CARD)) : undefined
  if (card !== undefined && isCard(card, lineage, digest)) found.push({ name: CARD, sha256: sha256(card) })
  const sums = checksumsName(isFolder ? 'folder' : 'file', base.replace(/\.lineage\.json$/, OUTPUT.extension))
  const listed = lineage.output.files.flatMap(({ name, sha256 }) => (sha256 === undefined ? [] : [{ name, sha256 }]))
  const text = await textAt(path.join(dir, sums))
  if (text !== undefined && text === checksumsText([...listed, ...found]))
    found.push({ name: sums, sha256: sha256(text) })
  return found
}

const textAt = (file: string): Promise<string | undefined> => readText(file, MOST).catch(() => undefined)

/** Whether a card is that of a lineage, whatever the name of its folder was. */
function isCard(text: string, lineage: Lineage, digest: string): boolean {
  const { recipe } = loadRecipe('recipe.yml', recordedRecipe(lineage))
  const companions = companionsOf(recipe?.models.values() ?? [])
  const tensors = Object.values(lineage.tensors)
  const methods = new Set(tensors.map(({ method }) => method))
  const quantized = tensors.some((tensor) => tensor.quantized !== undefined)
  const withoutName = (card: string): string => card.replace(/^# .*$/m, '#')
  return withoutName(text) === withoutName(modelCard(lineage, { digest, methods, quantized, companions }, ''))
}
