/** Makes the lineages of outputs from the records of a run. */
import { createHash } from 'node:crypto'
import { OUTPUT } from '../checkpoints/containers/index.js'
import { ADAPTER_CONFIG } from '../checkpoints/sidecars.js'
import { mapEach } from '../core/collections/eachOf.js'
import { sha256 } from '../core/digest.js'
import { VERSION } from '../core/version.js'
import type { Description, Executed } from '../execute/types.js'
import { bytesDigest } from '../kernels/index.js'
import { describeOutput, type LineageInput, type MadeOutput, type ReadDigests } from '../lineage/build.js'
import { sha256 as sha256OfFile } from '../lineage/disk.js'
import { fileDigest } from '../lineage/fileDigest.js'
import { modelCard } from '../lineage/forms/card.js'
import { lineagePieces } from '../lineage/serialize.js'
import type { LineageTensor } from '../lineage/types.js'
import { partsIn } from '../plan/placements.js'
import { adapterFile } from './opened/adapterFile.js'
import { madePermutations } from './permutationFiles.js'
import type { Prepared } from './plan.js'

/** How many whole files are hashed at the same time. */
const FILES_AT_ONCE = 4

/** The texts of an output's lineage and model card. The card contains the lineage's digest, so it comes second. */
export function describedAs(input: LineageInput, name: string): Description {
  const { frame, tensors } = describeOutput(input)
  const methods = new Set<string>()
  let quantized = false
  const hash = createHash('sha256')
  function* noted(): Generator<readonly [string, LineageTensor]> {
    for (const entry of tensors()) {
      methods.add(entry[1].method)
      quantized ||= entry[1].quantized !== undefined
      yield entry
    }
  }
  function* lineage(): Generator<string> {
    for (const piece of lineagePieces(frame, noted())) {
      hash.update(piece)
      yield piece
    }
  }
  const { permutations } = input.made
  const companions = new Map(
    [...input.recipe.models.values()].flatMap(({ name, companion }) => (companion ? [[name, companion] as const] : [])),
  )
  return {
    ...(permutations ? { permutations: permutations.content } : {}),
    lineage: lineage(),
    card: () => modelCard(frame, { digest: `sha256:${hash.digest('hex')}`, methods, quantized, companions }, name),
  }
}

export interface DescribeOptions {
  readonly digests: boolean
  /** Whether the lineage has the SHA-256 of whole files. */
  readonly sha256: boolean
  /** By `Plan.files`: `sha256:…` of those that are not there any more. */
  readonly sumOf?: ((file: number) => string | undefined) | undefined
  /** The same by `Plan.outputs` and `PlanOutput.files`. */
  readonly madeSumOf?: ((output: number, file: number) => string | undefined) | undefined
}

/** The inputs of `buildLineage` for some of the outputs. */
export async function describeOutputs(
  { plan, recipe, bindings, models }: Prepared,
  executed: Executed,
  { digests: wanted, sha256: whole, sumOf, madeSumOf }: DescribeOptions,
): Promise<LineageInput[]> {
  const { steps, scopes, checks } = executed
  const hash = (bytes: Uint8Array) => bytesDigest(executed.kernels, bytes)
  const sums = async (files: readonly string[], known: DescribeOptions['sumOf'] = undefined) =>
    whole
      ? await mapEach(
          [...files.entries()],
          FILES_AT_ONCE,
          async ([index, file]) => known?.(index) ?? sha256OfFile(file),
        )
      : undefined
  const inputs = await sums(bindings.files, sumOf)
  const configs = [...models].flatMap(([name, { checkpoint }]) => {
    const bytes = adapterFile(checkpoint)
    if (!bytes) return []
    const file = { name: ADAPTER_CONFIG, size: bytes.length, digest: wanted ? hash(bytes) : null }
    return [[name, whole ? { ...file, sha256: sha256(bytes) } : file] as const]
  })
  const read: ReadDigests = {
    beside: new Map(configs),
    records: new Map([...models].map(([name, { records = {} }]) => [name, records])),
    files: plan.files.map(({ headerDigest }, file) => fileDigest(headerDigest, executed.inputs(file), hash)),
    ...(inputs ? { sha256: inputs } : {}),
  }
  return mapEach(executed.outputs, 1, async ({ output, records, beside, files, evaluations }) => {
    const { files: planned, tensors } = plan.outputs[output]!
    const written = await sums(files, (file) => madeSumOf?.(output, file))
    const permutations = madePermutations(plan, output, bindings.outputs[output]!, executed.found)
    const made: MadeOutput = {
      records,
      files: planned.map(({ header }, file) => {
        const inOrder = partsIn(tensors, file).map(({ tensor, part }) => records[tensor]!.outputs[part]!)
        return fileDigest(sha256(OUTPUT.write.encode(header)), inOrder, hash)
      }),
      others: beside,
      ...(permutations ? { permutations } : {}),
      ...(written ? { sha256: written } : {}),
      ...(evaluations ? { evaluations } : {}),
    }
    return { plan, recipe, output, made, read, steps, scopes, checks, version: VERSION, bytesDigest: hash }
  })
}
