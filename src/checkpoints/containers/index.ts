/** The containers that terge knows, in the order of preference: where a folder has files of several, they hold the same. */
import type { ByteSource } from '../../storage/types.js'
import type { Allowance } from './allowance.js'
import { refuseForeign } from './foreign.js'
import { pytorch } from './pytorch/index.js'
import { safetensors } from './safetensors/index.js'
import { type Container, type ContainerHeader, HEAD_BYTES } from './types.js'

export const CONTAINERS: readonly Container[] = [safetensors, pytorch]

/** What outputs are written as. */
export const OUTPUT = { ...safetensors, extension: safetensors.extensions[0]! }

/** Every extension, without dots, as a part of a regular expression. */
export const EXTENSIONS = CONTAINERS.flatMap(({ extensions }) => extensions.map((one) => one.slice(1))).join('|')

const hasExtension = (name: string, { extensions }: Container): boolean =>
  extensions.some((extension) => name.endsWith(extension))

/** Whether a file of a folder holds weights, by its name. */
export const isWeightsOf = (name: string, container: Container): boolean =>
  hasExtension(name, container) && !container.notWeights?.test(name)

/** Whether a file's name is one of an index of this container's files. A variant's has its name before `.json`. */
export const isIndexOf = (name: string, { indexed }: Container): boolean =>
  indexed !== undefined && new RegExp(`\\${indexed}\\.index(\\.\\w+)?\\.json$`).test(name)

export const isIndex = (name: string): boolean => CONTAINERS.some((container) => isIndexOf(name, container))

/** What the index is called that tells of the parts of a whole file. */
export const indexName = (whole: string): string => `${whole}.index.json`

/** Whether an output of this path is one file, not a folder. */
export const isOutputFile = (path: string): boolean => path.endsWith(OUTPUT.extension)

/**
 * Reads the header of a file of any kind: its content says which. `fileName` is its own name, `source.name` what messages call it.
 * Faults: `unsupported-format`, those of the container. What no container recognises is read as the first one: its checks say what is wrong.
 */
export async function openContainer(
  source: ByteSource,
  allowance: Allowance,
  fileName: string,
): Promise<ContainerHeader> {
  const head = await source.read(0, Math.min(source.size, HEAD_BYTES))
  const container = CONTAINERS.find((container) => container.recognises(head))
  if (!container) refuseForeign(head, source.name)
  return (container ?? CONTAINERS[0]!).open(source, allowance, fileName)
}
