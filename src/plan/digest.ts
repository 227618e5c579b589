import { createHash } from 'node:crypto'
import { jsonPieces } from '../core/json/pieces.js'
import { jsonForm, withShared } from '../expr/walk.js'
import { wholePlacement } from './placements.js'
import type { Plan } from './types.js'

/** The digested fields of each tensor, one tensor at a time, since a plan may have a million. */
function* rowsOf(tensors: Plan['outputs'][number]['tensors']): Generator<readonly unknown[]> {
  for (const tensor of tensors) {
    const { name, dtype, shape, expr, placements } = tensor
    const whole = wholePlacement(tensor)
    const places = whole
      ? [whole.file, whole.offset]
      : placements.map((one) => [one.name, one.dtype, one.shape, one.file, one.offset, one.from, one.count])
    yield [name, dtype, shape, ...places, jsonForm(expr)]
  }
}

/**
 * The digest of a plan: SHA-256 of the JSON of everything that decides the output's bytes, in a fixed order. It skips
 * input and output paths, threads, memory, warnings, and the file name of a single-file output.
 */
export function planDigest(plan: Omit<Plan, 'digest'>): string {
  const decisive = withShared({
    plan: plan.plan,
    compute: plan.compute,
    seed: plan.seed,
    analyses: plan.analyses,
    scopes: plan.scopes,
    ...(plan.factorings.length > 0 ? { factorings: plan.factorings } : {}),
    models: plan.models.map(({ layouts: _, readAs: __, pattern: ___, config, ...model }) => ({
      ...model,
      // Their content decides, not their names.
      ...(config ? { config: config.map(({ sha256 }) => sha256) } : {}),
    })),
    // The header's digest already covers the tensors' offsets.
    files: plan.files.map(({ tensors: _, ...file }) => file),
    outputs: plan.outputs.map(({ layout, from, point, files, indexes, tensors, sidecars, permutations }) => ({
      layout,
      from,
      point,
      files: files.map(({ name, size, header }) => ({ name: layout === 'file' ? '' : name, size, header })),
      indexes,
      tensors: rowsOf(tensors),
      sidecars,
      ...(permutations ? { permutations } : {}),
    })),
  })
  const hash = createHash('sha256')
  jsonPieces(decisive, (piece) => hash.update(piece))
  return `sha256:${hash.digest('hex')}`
}
