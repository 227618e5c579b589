import path from 'node:path'
import { formatSize } from '../core/sizes.js'
import type { Lineage } from '../lineage/types.js'
import { counted, printable } from './text.js'

/** A path as the user would write it from `folder`: relative where it lies below. */
export function shownPath(file: string, folder: string): string {
  const relative = path.relative(folder, file)
  const below =
    relative !== '' && relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative)
  return printable(below ? relative : file)
}

/** One line an output: what a run wrote. */
export const runText = (
  outputs: readonly {
    readonly path: string
    readonly lineagePath: string
    readonly lineage: Lineage
    readonly bytes: number
  }[],
  folder: string,
): string =>
  outputs
    .map(({ path: file, lineagePath, lineage, bytes }) => {
      const what = `${counted(lineage.output.tensors, 'tensor')}, ${formatSize(bytes)}`
      return `${shownPath(file, folder)}: ${what}; lineage in ${shownPath(lineagePath, folder)}`
    })
    .join('\n')
