/** Reads and converts the text of a mergekit configuration. */
import { type Diagnostic, hasErrors } from '../../core/diagnostics.js'
import { applyOverrides } from '../../language/overrides.js'
import { readDocuments } from '../../language/source.js'
import { childOf, makeMap, makeOrigin, type Node } from '../../language/tree.js'
import { type Conversion, convertMergekit, type Places } from './index.js'

/** Options of mergekit's command line, which `--set` accepts under mergekit's names. */
const OPTION = /^(random_seed|out_shard_size)=/

export interface OpenOptions extends Places {
  /**
   * `KEY=VALUE` with keys of the configuration. With several documents, they apply to the one that makes the output.
   */
  readonly set: readonly string[]
  readonly strict: boolean
}

export function openMergekit(name: string, text: string, options: OpenOptions): Conversion {
  const { roots, faults } = readDocuments(name, text)
  const unnamed = roots.findIndex((root) => childOf(root, 'name') === undefined)
  const main = unnamed < 0 ? roots.length - 1 : unnamed
  const found: Diagnostic[] = faults.map((fault) =>
    // Keys that mergekit silently ignores.
    options.strict && fault.severity === 'warning' ? { ...fault, severity: 'error' } : fault,
  )
  const own = options.set.filter((text) => !OPTION.test(text))
  const flags = applyOverrides(
    makeMap({ origin: makeOrigin(name, ''), start: 0, end: 0 }, new Map()),
    options.set.filter((text) => OPTION.test(text)),
  )
  found.push(...flags.faults)
  const documents = roots.map((root, index): Node => {
    if (index !== main) return root
    const overridden = applyOverrides(root, own)
    found.push(...overridden.faults)
    return overridden.root
  })
  if (faults.some(({ severity }) => severity === 'error') || hasErrors(found.slice(faults.length)))
    return { comments: new Map(), diagnostics: found }
  const conversion = convertMergekit(documents, options, options.strict, {
    seed: childOf(flags.root, 'random_seed'),
    shardSize: childOf(flags.root, 'out_shard_size'),
  })
  return { ...conversion, diagnostics: [...found, ...conversion.diagnostics] }
}
