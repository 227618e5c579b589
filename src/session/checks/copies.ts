/** Checks the small files that a plan copies before anything is executed. */
import { checkSidecar } from '../../checkpoints/sidecars.js'
import { type Checkpoint, smallFolderOf } from '../../checkpoints/types.js'
import { type Diagnostic, Fault } from '../../core/diagnostics.js'
import type { Plan } from '../../plan/types.js'
import type { Recipe } from '../../recipe/types.js'
import { placed } from '../opened/models.js'

/** Errors for files whose content does not match their name, or that are links out of their folder. Reads each file once. */
export async function unsoundCopies(
  { models, outputs }: Plan,
  recipe: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
): Promise<Diagnostic[]> {
  const found: Diagnostic[] = []
  const seen = new Set<string>()
  for (const sidecar of outputs.flatMap(({ sidecars }) => sidecars)) {
    if (sidecar.kind !== 'copy') continue
    const { name } = models[sidecar.model]!
    const checkpoint = checkpoints.get(name)!
    const { reference } = checkpoint
    const folder = smallFolderOf(checkpoint)
    const key = `${folder}\0${sidecar.name}`
    if (seen.has(key)) continue
    seen.add(key)
    try {
      await checkSidecar(folder, sidecar.name, `${reference}/${sidecar.name}`)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      const at = recipe.models.get(name)?.at
      found.push(...(at ? placed(recipe, at, error).diagnostics : error.diagnostics))
    }
  }
  return found
}
