/** Attention heads: how many there are, and the runs of an axis that has them. */
import type { Builder } from '../builder.js'
import { setting } from '../builder.js'
import type { AttentionNames, Config, Family, Stack } from './family.js'

/** Head counts and widths of a model, or why they are not known. */
export interface Heads {
  readonly kv: number
  /** Query heads of each key/value head. */
  readonly q: number
  readonly width: number
}

const FUSED = /qkv|c_attn|query_key_value|in_proj_weight/

export function headsOf(
  family: Family,
  shapes: Builder['shapes'],
  config: Config,
  turned = family.conv1d === true,
  stack?: Stack,
): Heads | string {
  const own = (name: string) => stack === undefined || family.stack?.(name)?.stream === stack.stream
  const names = [...shapes.keys()].filter(own)
  const name =
    names.find((tensor) => family.query.test(tensor)) ?? names.find((tensor) => family.sign.test(tensor)) ?? ''
  const shape = shapes.get(name)?.shape ?? []
  const rows = shape[turned ? 1 : 0] ?? 0
  const heads = setting(config, ...(stack?.heads ?? []), ...family.heads) ?? family.headCount?.(config)
  if (heads === undefined) return 'the number of attention heads is not known without config.json'
  const kv =
    family.keyValueHeads?.(config, heads) ??
    (family.grouped ? (setting(config, 'num_key_value_heads') ?? heads) : heads)
  const fused = FUSED.test(name)
  const total = fused ? (rows * heads) / (heads + 2 * kv) : rows
  const width = setting(config, 'head_dim', 'd_kv') ?? total / heads
  if (!Number.isInteger(width) || width * heads !== total || heads % kv !== 0)
    return `${heads} heads of ${width} places do not fit ${name} of shape [${shape.join(', ')}]`
  return { kv, q: heads / kv, width }
}

/** What of a model's attention can move. */
export interface Attention extends Heads {
  /** There are query groups even if each key/value head has one query head. */
  readonly grouped: boolean
  /** Places of query and key heads have no order. */
  readonly free: boolean
  readonly interleaved: boolean
  /** Why heads keep their order. */
  readonly fixed?: string
}

const WORD = /^(Q|K|V|O|H|G|QKV)$/
export const isAttention = (cell: string): boolean => WORD.test(cell)

/** The runs of an axis, or of a part of it. Declares their groups. */
export function attentionRuns(
  word: string,
  attention: Attention,
  names: AttentionNames,
  declare: Builder['group'],
): readonly string[] {
  return attention.fixed === undefined
    ? movingHeads(word, attention, names, declare)
    : fixedHeads(word, attention, names, declare)
}

function movingHeads(
  word: string,
  { kv, q, width, grouped, free, interleaved }: Attention,
  { outer, inner }: AttentionNames,
  declare: Builder['group'],
): readonly string[] {
  declare(outer, kv)
  const query = () => {
    if (grouped) declare(`${inner}.q`, q, outer)
    return grouped ? [outer, `${inner}.q`] : [outer]
  }
  const inside = (kind: 'v' | 'qk') => {
    declare(`${inner}.${kind}`, width, outer)
    return `${inner}.${kind}`
  }
  // A run has one product: the parts of a head keep their order if they follow each other head by head.
  if (interleaved && kv > 1) {
    if (word === 'QKV') return [[outer, (q + 2) * width].join('*')]
    if (word === 'O') return [[outer, q * width].join('*')]
  }
  const places = free ? () => inside('qk') : () => String(width)
  const run = (one: string): string => {
    if (one === 'Q') return [...query(), places()].join('*')
    if (one === 'K') return [outer, places()].join('*')
    if (one === 'V') return [outer, inside('v')].join('*')
    if (one === 'O') return [...query(), inside('v')].join('*')
    return one === 'H' ? query().join('*') : outer
  }
  return word === 'QKV' ? ['Q', 'K', 'V'].map(run) : [run(word)]
}

/** Heads in order: each has groups of its own. */
function fixedHeads(
  word: string,
  { kv, q, width, free, interleaved }: Attention,
  { inner }: AttentionNames,
  declare: Builder['group'],
): readonly string[] {
  const inside = (kind: 'v' | 'qk', head: number) => {
    if (kind === 'qk' && !free) return String(width)
    declare(`${inner}.${kind}.${head}`, width)
    return `${inner}.${kind}.${head}`
  }
  const times = (count: number, run: string) => Array<string>(count).fill(run)
  const each = (of: (head: number) => readonly string[]) => Array.from({ length: kv }, (_, head) => of(head)).flat()
  const rows = (one: string) =>
    each((head) => times(one === 'Q' || one === 'O' ? q : 1, inside(one === 'Q' || one === 'K' ? 'qk' : 'v', head)))
  if (word === 'H' || word === 'G') return [String(word === 'H' ? kv * q : kv)]
  if (word !== 'QKV') return rows(word)
  if (!interleaved) return ['Q', 'K', 'V'].flatMap(rows)
  return each((head) => [...times(q + 1, inside('qk', head)), inside('v', head)])
}
