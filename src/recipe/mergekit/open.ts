/** A mergekit configuration's text, read and converted. */
import type { Diagnostic } from '../../core/diagnostics.js'
import { applyOverrides } from '../overrides.js'
import { readDocuments } from '../source.js'
import { childOf, type Node } from '../tree.js'
import { type Conversion, convertMergekit, type Places } from './index.js'

export interface OpenOptions extends Places {
  /** `KEY=VALUE`, in the configuration's own keys; of several documents, laid over the one that makes the output. */
  readonly set: readonly string[]
  readonly strict: boolean
}

export function openMergekit(name: string, text: string, options: OpenOptions): Conversion {
  const { roots, faults } = readDocuments(name, text)
  const unnamed = roots.findIndex((root) => childOf(root, 'name') === undefined)
  const main = unnamed < 0 ? roots.length - 1 : unnamed
  const found: Diagnostic[] = [...faults]
  const documents = roots.map((root, index): Node => {
    if (index !== main) return root
    const overridden = applyOverrides(root, options.set)
    found.push(...overridden.faults)
    return overridden.root
  })
  if (found.length > 0) return { comments: new Map(), diagnostics: found }
  return convertMergekit(documents, options, options.strict)
}
