/** Fills a spec with the groups of a family. */
import { isObject } from '../../../core/json/text.js'
import type { AxisText } from '../../spec.js'
import type { Builder } from '../builder.js'
import { type Cell, type Config, type Family, has, type Row, STREAM, type Stack } from './family.js'
import { type Attention, attentionRuns, headsOf, isAttention } from './heads.js'

/** Whether places inside of query and key heads have no order: of models that are known to have no rotary positions. */
function placesFree({ plain, positions }: Family, shapes: Builder['shapes'], config: Config): boolean {
  const { model_type: type, position_embedding_type: kind } = config ?? {}
  const known = type !== undefined || positions === undefined || has(shapes, positions)
  const listed = plain !== undefined && known && (type === undefined || plain.includes(String(type)))
  return listed && (kind === undefined || kind === 'absolute')
}

const CONV1D = /(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$/
const UNTOLD = 'whether its layers are stored as [in, out] or as [out, in] is not clear'
const HEADLESS = 'the model has no head: the units of its residual stream are its outputs'

/** Whether layers are stored as [in, out], like Conv1D of GPT-2, and not as nn.Linear is. Undefined if that is not clear. */
function orientationOf(shapes: Builder['shapes'], config: Config): boolean | undefined {
  const width = [...shapes].find(([name]) => /(^|\.)(wte|lm_head)\.weight$/.test(name))?.[1].shape[1]
  const found = new Set<boolean>()
  for (const [name, { shape }] of shapes)
    if (/(attn\.c_attn|mlp\.c_fc)\.weight$/.test(name) && shape.length === 2 && shape[0] !== shape[1])
      for (const [axis, size] of shape.entries()) if (size === width) found.add(axis === 0)
  const [first, second] = found
  if (second !== undefined) return undefined
  return first ?? (config?.model_type === 'gpt2' ? true : undefined)
}

const HEAD = /^(?:.*\.)?(lm_head|score|cls|classifier|cls_classifier|qa_outputs|head)\./

/** Whether what the model gives is its residual stream, as an encoder without a head does. */
export function isHeadless(
  { encoder, layer, head, onlyHead }: Pick<Family, 'encoder' | 'layer' | 'head' | 'onlyHead'>,
  prefix: string,
  shapes: Builder['shapes'],
  config: Config,
): boolean {
  const isHead = (tensor: string) =>
    !layer.test(tensor) && (onlyHead ? onlyHead.test(tensor) : HEAD.test(tensor) || head?.test(tensor))
  if ([...shapes.keys()].some(isHead)) return false
  const { architectures } = config ?? {}
  const [first] = Array.isArray(architectures) ? architectures : []
  if (typeof first === 'string') return /(Model|Encoder)$/.test(first) && !/Head/.test(first)
  // The parts of a model with a tied head have a prefix.
  return encoder === true || prefix === ''
}

/** What the rows of a family mean in one model. */
interface Reader {
  readonly family: Family
  readonly builder: Builder
  readonly turned: boolean | undefined
  readonly attention: (stack: Stack | undefined) => Attention | string
  /** Names of groups of heads with a tensor. */
  readonly outers: Set<string>
}

export function describe(family: Family, builder: Builder, config: Config): void {
  const { shapes } = builder
  const turned = family.conv1d ? orientationOf(shapes, config) : false
  const reader: Reader = {
    family,
    builder,
    turned,
    attention: attentions(family, shapes, config, turned === true),
    outers: new Set(),
  }
  const sign = [...shapes.keys()].find((name) => family.sign.test(name))!
  const prefix = sign.slice(0, Math.max(0, sign.search(family.layer)))
  const rows = [...(family.choose?.(shapes, config) ?? []), ...family.rows]
  const streams = new Set(['hidden'])
  /** Layers with tensors that no row knows. */
  const odd = new Map<string, string>()
  const keeps = Object.entries(family.keeps?.(shapes, config) ?? {})
  let [unknown, frozen]: (string | undefined)[] = []
  for (const name of shapes.keys()) {
    const row = rows.find(([pattern]) => pattern.test(name))
    const at = name.search(family.layer)
    const own = (at < 0 || at === prefix.length) && (at < 0 || name.startsWith(prefix))
    const layer = at < 0 ? '' : family.layer.exec(name)![0]
    if (own && layer !== '') for (const [group, reason] of keeps) builder.keep(`${layer}.${group}`, reason)
    if (row && own) {
      describeTensor(reader, name, layer, row)
      continue
    }
    const reason = `the ${family.name} family has no tensor ${name}`
    frozen ??= reason
    // Outside of layers it may tie the heads of all: a table of position biases does.
    if (layer === '' && name.startsWith(prefix)) unknown ??= reason
    if (layer !== '') odd.set(layer, odd.get(layer) ?? reason)
  }
  for (const [layer, reason] of odd)
    for (const group of [`${layer}.kv`, `${layer}.ffn`, ...builder.groups()])
      if (group.startsWith(`${layer}.`) && !STREAM.test(group)) builder.keep(group, reason)
  for (const group of builder.groups()) if (STREAM.test(group)) streams.add(group)
  if (turned === undefined) for (const group of builder.groups()) builder.keep(group, UNTOLD)
  frozen ??= isHeadless(family, prefix, shapes, config) ? HEADLESS : family.fixedStream?.(shapes, config)
  for (const stream of streams) if (frozen !== undefined) builder.keep(stream, frozen)
  if (unknown !== undefined) for (const outer of reader.outers) builder.keep(outer, unknown)
}

/** The settings of a part; those of the whole if the model is this part alone. */
function partOf(config: Config, part: string | undefined): Config {
  if (part === undefined || config === undefined) return config
  const { model_cfg: model } = config
  for (const settings of [config, model])
    if (isObject(settings) && isObject(settings[part])) return { model_type: config.model_type, ...settings[part] }
  return config
}

/** The attention of each stack. */
function attentions(family: Family, shapes: Builder['shapes'], config: Config, turned: boolean): Reader['attention'] {
  const known = new Map<string, Attention | string>()
  return (stack) => {
    const key = JSON.stringify(stack ?? null)
    const found = known.get(key)
    if (found !== undefined) return found
    const part = partOf(config, stack?.part)
    const heads = headsOf(family, shapes, part, turned, stack)
    const fixed = family.fixedHeads?.(part)
    const attention =
      typeof heads === 'string'
        ? heads
        : {
            ...heads,
            grouped: family.grouped === true || heads.q > 1,
            free: placesFree(family, shapes, part),
            interleaved: family.interleaved?.(part) === true,
            ...(fixed === undefined ? {} : { fixed }),
          }
    known.set(key, attention)
    return attention
  }
}

function describeTensor(reader: Reader, name: string, layer: string, row: Row): void {
  const { family, builder } = reader
  const stack = family.stack?.(name)
  const attention = reader.attention(stack)
  const names = family.attention?.(name, layer) ?? { outer: `${layer}.kv`, inner: layer }
  const { shape } = builder.shapes.get(name)!
  const plainRun = (run: string, axis: number, parts: number): string => {
    const places = run.split('*').filter((unit) => /^\d+$/.test(unit))
    const rest = shape[axis]! / parts / places.reduce((product, n) => product * Number(n), 1)
    let outer: string | undefined
    // `*` before a dot is no product.
    return run
      .split(/(?<=.)\*/)
      .map((unit) => {
        if (/^\d+$/.test(unit)) return unit
        const [word, size] = unit.replace(/^\*/, '').split('=') as [string, string | undefined]
        const group = groupOf(word, name, layer, stack)
        builder.group(group, size === undefined ? rest : Number(size), outer)
        outer ??= group
        return group
      })
      .join('*')
  }
  const text = (cell: Cell, axis: number): AxisText => {
    if (cell === null) return null
    const cells = typeof cell === 'string' ? [cell] : cell
    if (!cells.some(isAttention)) {
      const runs = cells.map((unit) => plainRun(unit, axis, cells.length))
      return typeof cell === 'string' ? runs[0]! : runs
    }
    if (typeof attention === 'string') return null
    const runs = cells.flatMap((word) => attentionRuns(word, attention, names, builder.group))
    return runs.length === 1 ? runs[0]! : runs
  }
  const axes = axesOf(reader, name, row[1], attention)
  builder.tensor(name, axes.map(text))
  if (!axes.some((cell) => (typeof cell === 'string' ? [cell] : (cell ?? [])).some(isAttention))) return
  reader.outers.add(names.outer)
  const reason = typeof attention === 'string' ? attention : attention.fixed
  if (reason !== undefined) builder.keep(names.outer, reason)
}

/** The group that a word of a row means for a tensor. */
function groupOf(word: string, name: string, layer: string, stack: Stack | undefined): string {
  if (word === 'hidden') return stack?.stream ?? 'hidden'
  if (word === 'SOURCE') return stack?.source ?? stack?.stream ?? 'hidden'
  if (word.startsWith('.')) return layer + word
  return word.startsWith('MODULE') ? name.replace(/\.\w+\.(weight|bias)$/, '') + word.slice(6) : word
}

/** The axes of a row, with those that depend on shapes and on other tensors. */
function axesOf(
  { family, builder, turned }: Reader,
  name: string,
  cells: readonly Cell[],
  attention: Attention | string,
) {
  const { shape } = builder.shapes.get(name)!
  const [first] = cells
  // The same layers as nn.Linear.
  if (turned === false && family.conv1d && CONV1D.test(name)) return [cells[1]!, cells[0]!]
  // One weight per place of a head, of all heads' places, or of each head's (cohere).
  if (first === 'QKNORM') {
    const each = /q_norm|q_ln/.test(name) ? 'H' : 'G'
    const shared = typeof attention !== 'string' && shape.length === 1 && shape[0] === attention.width
    return shared ? [null] : shape.length === 2 ? [each] : [each === 'H' ? 'Q' : 'K']
  }
  // A classifier reads the stream itself (roberta: a layer of its own), or the pooler's output, which stays.
  if (first === 'LAST') return shape.map((_, axis) => (axis === shape.length - 1 ? 'hidden' : null))
  if (first === 'CLASSIFIER') return has(builder.shapes, /pooler(\.dense)?\.weight$/) ? [] : [null, 'hidden']
  return cells
}
