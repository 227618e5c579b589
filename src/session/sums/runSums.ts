/** The SHA-256 of a run's inputs and outputs. */
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import type { Listener } from '../../execute/events.js'
import { openSums, type Sums } from '../../execute/hashing/sums.js'
import type { Bindings, FileEnds } from '../../execute/types.js'
import type { FileSum } from '../../lineage/build.js'
import type { Digest, Lineage } from '../../lineage/types.js'
import type { Plan } from '../../plan/types.js'
import { FileProblem } from '../../storage/local/regular.js'
import { addressOf } from '../destinations/places.js'
import type { OpenStream } from '../opened/streaming.js'
import type { Prepared } from '../plan.js'
import { LEAST_REMEMBERED, openMemo, remember, type Summed } from './memo.js'
import { publishedSums, refuseOther } from './published.js'

/** Files of outputs that leave this machine before the lineage is written. By `Plan.outputs` and their files. */
export interface UploadSums {
  /** 64 hexadecimal digits: of a file that is about to leave. */
  of(output: number, file: number, place: string): Promise<string>
  /** An earlier run has uploaded the file. */
  know(output: number, file: number, sum: string): void
}

export interface RunSums {
  /** Hashes files as soon as the run is done with them. */
  readonly ends: FileEnds
  readonly uploads: UploadSums
  /** For small files, each once. */
  readonly files: Sums
  /**
   * By `Plan.files`. `digests`: their tree digests. `isHere`: whether a file is to be hashed; default: all. Error: `hub-digest`.
   */
  inputs(
    digests: readonly (Digest | null)[],
    isHere?: (file: number) => boolean,
  ): Promise<readonly (FileSum | undefined)[]>
  /** Of an output's staged files. */
  outputs(output: number, places: readonly string[]): Promise<readonly Digest[]>
  /** Remembers the inputs for later runs. Called when the outputs are published. */
  remember(outputs: readonly Summed[]): Promise<void>
  close(): Promise<void>
}

export interface RunSumsOptions {
  readonly threads: number
  readonly listen: Listener
  readonly signal?: AbortSignal | undefined
  /** What parts of the run have found out: of inputs by `Plan.files`, and of files that they have uploaded. */
  readonly known?: {
    readonly inputs?: ReadonlyMap<number, Digest> | undefined
    readonly outputs?: ((output: number, file: number) => Digest | undefined) | undefined
  }
  readonly stream?: OpenStream | undefined
}

export function openRunSums(
  prepared: Pick<Prepared, 'plan' | 'bindings' | 'models' | 'recipe'>,
  { threads, listen, signal, known: { inputs: known, outputs: sumOfMade } = {}, stream }: RunSumsOptions,
): RunSums {
  const { plan, bindings } = prepared
  const files = openSums({ threads, signal })
  const memo = openMemo()
  const uploaded = new Map<string, Promise<Digest>>()
  const learnt: Summed[] = []
  const away = new Set(stream?.away.map(({ file }) => file))
  const isLarge = (file: number): boolean => plan.files[file]!.size >= LEAST_REMEMBERED
  /** Files that an earlier run has hashed, if they still are what they were. */
  const mayBeKnown = async (file: number): Promise<boolean> =>
    known?.has(file) === true || (isLarge(file) && (await memo.find(bindings.files[file]!)) !== undefined)

  /** The SHA-256 of a file that an earlier run has hashed together with its tree digest. */
  async function sumKnown(file: number, digest: Digest | null | undefined): Promise<Digest | undefined> {
    const own = known?.get(file)
    if (own !== undefined || !isLarge(file)) return own
    const entry = await memo.find(bindings.files[file]!)
    return entry && entry.digest === digest ? entry.sha256 : undefined
  }

  const inputs: RunSums['inputs'] = async (digests, isHere = () => true) => {
    const published = await publishedSums(prepared)
    const wanted = [...bindings.files.keys()].filter(isHere)
    const found = new Map<number, Digest>()
    for (const file of wanted) {
      const sum = away.has(file) ? await sumOfAway(stream!, file) : await sumKnown(file, digests[file])
      if (sum !== undefined) found.set(file, sum)
    }
    const missing = wanted.filter((file) => !found.has(file)).map((file) => bindings.files[file]!)
    await files.settle([...new Set(missing)], listen)
    for (const file of wanted) {
      const place = bindings.files[file]!
      const sum = found.get(file) ?? (await sumOf(files, place))
      found.set(file, sum)
      const { name, model } = plan.files[file]!
      refuseOther(`${plan.models[model]!.reference}: ${name}`, sum, published[file])
      const digest = digests[file]
      if (isLarge(file) && !away.has(file) && !known?.has(file) && digest)
        learnt.push({ path: place, digest, sha256: sum })
    }
    return bindings.files.map((_, file) => {
      const sha256 = found.get(file)
      return sha256 === undefined ? undefined : { sha256, sha256_from: 'computed' }
    })
  }

  return {
    files,
    inputs,
    ends: {
      input(file) {
        // Files that come and go are hashed when they come.
        if (away.has(file)) return
        mayBeKnown(file).then(
          (is) => is || files.begin(bindings.files[file]!),
          () => {},
        )
      },
      output: files.begin,
    },
    uploads: uploadSums(files, uploaded),
    async outputs(output, places) {
      const gone = (file: number) => uploaded.get(`${output} ${file}`) ?? sumOfMade?.(output, file)
      const left = places.filter((_, file) => gone(file) === undefined)
      await files.settle(left, listen)
      return Promise.all(places.map((place, file) => gone(file) ?? files.of(place)))
    },
    remember: (outputs) => remember([...learnt, ...outputs]),
    close: files.close,
  }
}

const uploadSums = (files: Sums, uploaded: Map<string, Promise<Digest>>): UploadSums => ({
  async of(output, file, place) {
    const sum = files.of(place)
    uploaded.set(`${output} ${file}`, sum)
    return (await sum).replace(/^sha256:/, '')
  },
  know: (output, file, sum) => void uploaded.set(`${output} ${file}`, Promise.resolve(`sha256:${sum}`)),
})

/** Error with exit 1: `input-changed` if the file is gone. */
const sumOf = (files: Sums, place: string): Promise<Digest> =>
  files.of(place).catch((error: unknown) => {
    if (!(error instanceof FileProblem)) throw error
    throw fault('input-changed', `${place} ${error.message}`, 'run again when nothing writes to it', 1)
  })

/**
 * The SHA-256 of a file that came for the run and went. A resumed run may not have fetched it: then its content is one that an earlier
 * attempt checked, or it comes once more.
 */
export async function sumOfAway({ supply }: OpenStream, file: number): Promise<Digest> {
  const known = supply.sumOf(file)
  if (known !== undefined) return known
  const [, checked] = /^sha256 ([0-9a-f]{64})$/.exec(supply.identityOf(file) ?? '') ?? []
  if (checked !== undefined) return `sha256:${checked}`
  await supply.need([file])
  const sum = supply.sumOf(file)!
  await supply.drop([file])
  return sum
}

/** The large files of outputs that a run has published on this machine now. `done`: outputs of an earlier run. */
export const publishedFiles = (
  { outputs }: Plan,
  { outputs: places }: Pick<Bindings, 'outputs'>,
  lineages: ReadonlyMap<number, Lineage>,
  done: ReadonlySet<number>,
): Summed[] =>
  [...lineages].flatMap(([index, { output }]) => {
    const { layout, keep } = outputs[index]!
    if (done.has(index) || !keep || addressOf(outputs[index]!)) return []
    const folder = layout === 'folder' ? places[index]! : path.dirname(places[index]!)
    return output.files.flatMap(({ name, size, digest, sha256 }) =>
      size >= LEAST_REMEMBERED && digest !== null && sha256 !== undefined
        ? [{ path: path.join(folder, ...name.split('/')), digest, sha256 }]
        : [],
    )
  })
