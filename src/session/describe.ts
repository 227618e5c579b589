/** Makes the lineages of outputs from the records of a run. */
import { createHash } from 'node:crypto'
import { OUTPUT } from '../checkpoints/containers/index.js'
import { ADAPTER_CONFIG } from '../checkpoints/sidecars.js'
import { smallFolderOf } from '../checkpoints/types.js'
import { mapEach } from '../core/collections/eachOf.js'
import { fault } from '../core/diagnostics.js'
import { sha256 } from '../core/digest.js'
import { VERSION } from '../core/version.js'
import type { Sums } from '../execute/hashing/sums.js'
import { lineageName } from '../execute/outputs.js'
import type { Description, Executed, ExecutedOutput } from '../execute/types.js'
import { bytesDigest, type Kernels } from '../kernels/index.js'
import { describeOutput, type FileSum, type LineageInput, type MadeOutput, type ReadDigests } from '../lineage/build.js'
import { fileSize, xxh3OfFile } from '../lineage/disk.js'
import { type BytesDigest, fileDigest, wholeDigest } from '../lineage/fileDigest.js'
import { companionsOf, modelCard } from '../lineage/forms/card.js'
import { lineagePieces } from '../lineage/serialize.js'
import type { Digest, LineageFile, LineageTensor } from '../lineage/types.js'
import { partsIn } from '../plan/placements.js'
import type { PlanOutput } from '../plan/types.js'
import { boundsOf } from '../storage/local/regular.js'
import { adapterFile } from './opened/adapterFile.js'
import { smallFilesOf } from './opened/inputs.js'
import { madePermutations } from './permutationFiles.js'
import type { Prepared } from './plan.js'
import { checksumsText, type SummedName } from './sums/checksumsText.js'
import { publishedSums } from './sums/published.js'
import type { RunSums } from './sums/runSums.js'

/** How many small files are read at the same time. */
const FILES_AT_ONCE = 4

/** The texts of an output's lineage and model card. The card contains the lineage's digest, so it comes second. */
export function describedAs(input: LineageInput, name: string): Description {
  const { frame, tensors } = describeOutput(input)
  const { layout, checksums } = input.plan.outputs[input.output]!
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
  const companions = companionsOf(input.recipe.models.values())
  let known: string | undefined
  const digest = (): string => (known ??= `sha256:${hash.digest('hex')}`)
  const card = (): string => modelCard(frame, { digest: digest(), methods, quantized, companions }, name)
  const files = (): SummedName[] => [
    ...frame.output.files.map((file) => ({ name: layout === 'file' ? name : file.name, sha256: file.sha256! })),
    { name: lineageName(layout, name), sha256: digest() },
    ...(layout === 'folder' ? [{ name: 'README.md', sha256: sha256(card()) }] : []),
  ]
  return {
    ...(permutations ? { permutations: permutations.content } : {}),
    ...(checksums ? { checksums: () => checksumsText(files()) } : {}),
    ...{ lineage: lineage(), card },
  }
}

export interface DescribeOptions {
  /** Whether there are tree digests. */
  readonly digests: boolean
  /** Absent: the lineage has no SHA-256 but published ones. */
  readonly sums?: RunSums | undefined
}

/** The inputs of `buildLineage` for some of the outputs. */
export async function describeOutputs(
  prepared: Prepared,
  executed: Executed,
  { digests: wanted, sums }: DescribeOptions,
): Promise<LineageInput[]> {
  const { plan, recipe, bindings, models } = prepared
  const { steps, scopes, checks } = executed
  const hash = (bytes: Uint8Array) => bytesDigest(executed.kernels, bytes)
  const files = plan.files.map(({ headerDigest }, file) => fileDigest(headerDigest, executed.inputs(file), hash))
  const read: ReadDigests = {
    files,
    sums: sums ? await sums.inputs(files) : wanted ? await published(prepared) : [],
    adapters: adaptersOf(prepared, wanted, sums !== undefined, hash),
    beside: await smallFilesRead(prepared, wanted, sums?.files),
    records: new Map([...models].map(([name, { records = {} }]) => [name, records])),
  }
  return mapEach(executed.outputs, 1, async ({ output, records, beside, files, evaluations }) => {
    const written = await sums?.outputs(output, files)
    const permutations = madePermutations(plan, output, bindings.outputs[output]!, executed.found)
    const made: MadeOutput = {
      records,
      files: writtenFiles(plan.outputs[output]!, records, hash),
      others: beside.map(({ sha256, ...file }) => (sums ? { ...file, sha256 } : file)),
      ...(permutations ? { permutations } : {}),
      ...(written ? { sha256: written } : {}),
      ...(evaluations ? { evaluations } : {}),
    }
    return { plan, recipe, output, made, read, steps, scopes, checks, version: VERSION, bytesDigest: hash }
  })
}

/** Digests of the files with tensors of an output. */
const writtenFiles = (
  { files, tensors }: PlanOutput,
  records: ExecutedOutput['records'],
  hash: BytesDigest,
): (Digest | null)[] =>
  files.map(({ header }, file) => {
    const inOrder = partsIn(tensors, file).map(({ tensor, part }) => records[tensor]!.outputs[part]!)
    return fileDigest(sha256(OUTPUT.write.encode(header)), inOrder, hash)
  })

/** The digest that the lineage of an output would have. */
export function digestOfMade(output: PlanOutput, { records, beside }: ExecutedOutput, kernels: Kernels): Digest | null {
  const hash = (bytes: Uint8Array) => bytesDigest(kernels, bytes)
  return wholeDigest([...writtenFiles(output, records, hash), ...beside.map(({ digest }) => digest)], hash)
}

const published = async (prepared: Prepared): Promise<readonly (FileSum | undefined)[]> =>
  (await publishedSums(prepared)).map((sum) =>
    sum === undefined ? undefined : { sha256: `sha256:${sum}`, sha256_from: 'published' },
  )

/** By model: the configuration of an adapter. */
function adaptersOf({ models }: Prepared, wanted: boolean, summed: boolean, hash: BytesDigest) {
  return new Map(
    [...models].flatMap(([name, { checkpoint }]) => {
      const bytes = adapterFile(checkpoint)
      if (!bytes) return []
      const file = { name: ADAPTER_CONFIG, size: bytes.length, digest: wanted ? hash(bytes) : null }
      return [[name, summed ? { ...file, ...computed(sha256(bytes)) } : file] as const]
    }),
  )
}

const computed = (sum: Digest): FileSum => ({ sha256: sum, sha256_from: 'computed' })

/** By model: the small files that planning has read or outputs copy. Error: `input-changed`. */
export async function smallFilesRead(
  { plan, bindings, models }: Pick<Prepared, 'plan' | 'bindings' | 'models'>,
  wanted: boolean,
  sums: Sums | undefined,
): Promise<ReadonlyMap<string, readonly LineageFile[]>> {
  const there = new Set(bindings.inputs.map((input) => input.path))
  const found = new Map<string, readonly LineageFile[]>()
  for (const [index, { name }] of plan.models.entries()) {
    const { checkpoint } = models.get(name)!
    const small = (await smallFilesOf(plan, index, checkpoint)).filter(({ path }) => there.has(path))
    const within = small.length > 0 ? await boundsOf(smallFolderOf(checkpoint)) : undefined
    const files = await mapEach(small, FILES_AT_ONCE, async ({ name, path: place }): Promise<LineageFile> => {
      const size = await fileSize(place)
      if ('problem' in size) throw fault('input-changed', `${place} ${size.problem}`, CHANGED_HINT, 1)
      const digest = wanted ? await xxh3OfFile(place) : null
      return { name, size: size.size, digest, ...(sums ? computed(await sums.of(place, within)) : {}) }
    })
    if (files.length > 0) found.set(name, files)
  }
  return found
}

const CHANGED_HINT = 'run again when nothing writes to the model'
