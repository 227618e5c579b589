/** What config.json says of the sizes of groups. */
import type { ZipGroup } from '../../rebasin/zip/network.js'

/** Keys with the number of units between the two layers of a feed-forward block. */
const UNITS = [
  'intermediate_size',
  'ffn_dim',
  'encoder_ffn_dim',
  'decoder_ffn_dim',
  'd_ff',
  'n_inner',
  'hidden_dim',
  'mlp_dim',
]

export interface ConfigChange {
  readonly changes: Readonly<Record<string, number>>
  /** A group whose size is in no key that could change. */
  readonly unknown?: string
}

/** A key changes if all groups of its size get the same other one. */
export function configChange(
  config: Readonly<Record<string, unknown>>,
  groups: Readonly<Record<string, ZipGroup>>,
): ConfigChange {
  const changes: Record<string, number> = {}
  const covered = new Set<string>()
  for (const key of UNITS) {
    const own = Object.entries(groups).filter(
      ([, { sizes, treatment }]) => treatment === 'zip' && sizes[0] === config[key],
    )
    const widths = new Set(own.map(([, { width }]) => width))
    if (widths.size !== 1) continue
    for (const [name] of own) covered.add(name)
    changes[key] = own[0]![1].width
  }
  const unknown = Object.entries(groups).find(
    ([name, { sizes, width }]) => width !== sizes[0] && !covered.has(name),
  )?.[0]
  return { changes, ...(unknown === undefined ? {} : { unknown }) }
}
