import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { didYouMean, quote } from '../core/suggest.js'
import { findLineage } from '../lineage/disk.js'
import { type Trace, traceTensor } from '../lineage/history/trace.js'
import { ancestorsOf } from './history/ancestors.js'

/** Where to look for the inputs of a lineage. */
export interface TraceOptions {
  /** The folder that the recipe’s paths are relative to. Default: searched near the lineage and in the working folder. */
  readonly recipeFolder?: string
}

/**
 * Traces one tensor of an output through its lineage and the lineages beside its inputs: what it was made from, and the effective
 * weights of models that no lineage goes beyond, where all methods on the way are linear. Compares recorded digests, and reads no tensors.
 *
 * @throws `missing-lineage` if there is no lineage
 * @throws `bad-lineage` or `lineage-version` if the file is not a lineage that this version reads
 * @throws `missing-tensor` if the lineage has no such tensor
 */
export async function trace(given: string, tensor: string, { recipeFolder }: TraceOptions = {}): Promise<Trace> {
  const read = await findLineage(given)
  const found = traceTensor(read.lineage, await ancestorsOf(read, recipeFolder), tensor)
  if (found) return found
  const names = Object.keys(read.lineage.tensors)
  throw fault(
    'missing-tensor',
    `${path.relative(process.cwd(), read.file) || read.file} has no tensor ${quote(tensor)}`,
    didYouMean(tensor, names, 'its tensors') ?? 'terge report --format json lists them',
  )
}
