import path from 'node:path'
import { isOutputFile, OUTPUT } from '../../checkpoints/containers/index.js'
import { samePath } from '../../core/names/fileNames.js'
import { type PathPattern, partMatches } from '../../core/names/pathPattern.js'
import { quote } from '../../core/suggest.js'
import { outputAddress } from '../../language/addresses.js'
import type { Report } from '../../language/report.js'
import { settle } from '../../storage/local/places.js'
import type { OutputSpec } from '../types.js'
import type { Groups } from './types.js'

/**
 * Refuses outputs that a pattern of the recipe matches, or in which it would look: the next run would merge the result of this one.
 * Error: `output-is-input`.
 */
export function refuseMatchedOutputs(
  outputs: readonly OutputSpec[],
  groups: Groups,
  resolve: (written: string) => string,
  report: Report,
): void {
  for (const { path: written, resolved, at } of outputs) {
    if (outputAddress(written)) continue
    const pattern = [...groups.values()].find(({ pattern }) => isMatched(pattern, resolved, resolve))?.pattern
    if (!pattern) continue
    const message = `the output ${quote(written)} matches the pattern ${quote(pattern.text)}, so that the next run would read it`
    report.error('output-is-input', message, at.length === 0 ? [] : [...at, 'path'], {
      hint: 'write to a path that the pattern does not match',
    })
  }
}

/** What can be in the folder of an output. */
const FILES = ['model', 'model-00001-of-00002', 'adapter_model', 'diffusion_pytorch_model'].map(
  (name) => name + OUTPUT.extension,
)

function isMatched({ root, parts }: PathPattern, resolved: string, resolve: (written: string) => string): boolean {
  const folder = resolve(root === '' ? '.' : root)
  // Either can contain links.
  return [
    [folder, resolved],
    [settle(folder), settle(resolved)],
  ].some(([from, to]) => {
    const within = path.relative(samePath(from!), samePath(to!)).split(path.sep)
    if (within[0] === '' || within[0] === '..' || path.isAbsolute(within[0]!)) return false
    const count = Math.min(within.length, parts.length)
    const inside = parts.length - count
    if (
      inside > 1 ||
      (inside === 1 && (isOutputFile(resolved) || !FILES.some((name) => partMatches(parts[count]!, name))))
    )
      return false
    return within.slice(0, count).every((name, depth) => partMatches(samePath(parts[depth]!), name))
  })
}
