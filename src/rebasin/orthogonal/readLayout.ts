/** Reads the layout of a transformer of a known family from names and shapes. */
import { setting } from '../infer/builder.js'
import type { Heads } from '../infer/transformers/index.js'
import { ORTHOGONAL, type OrthogonalFamily, type TensorRole } from './families.js'
import { type Described, KEYS, type Key, type Layout, type Matrix, type Norm, type Part, writes } from './layout.js'
import { basisOf, kindOf, refusedType, rotaryPlaces } from './traits.js'

/** Why a layout is not possible. */
class Obstacle extends Error {}

/** The layout of a network, or why it allows no orthogonal maps. */
export function layoutOf(model: Described): Layout | string {
  for (const family of ORTHOGONAL)
    for (const name of model.tensors.keys()) {
      const [, prefix, layer] = family.sign.exec(name) ?? []
      if (prefix !== undefined && layer !== undefined)
        return refusedType(model) ?? readLayout(model, family, prefix, layer)
    }
  return 'terge knows how to turn transformers with the tensor names of Llama, OPT, GPT-2, BERT and ViT; this is none of them'
}

function readLayout(model: Described, family: OrthogonalFamily, prefix: string, start: string): Layout | string {
  try {
    return layoutFrom(namedTensors(model, family, prefix, start), family, prefix)
  } catch (error) {
    if (error instanceof Obstacle) return error.message
    throw error
  }
}

const isBias = (name: string): boolean => /(bias|beta)$/.test(name)
const moduleOf = (name: string): string => name.replace(/[._](weight|bias|gamma|beta)$/, '')

interface Named {
  readonly name: string
  readonly role: TensorRole
  readonly layer: number | undefined
}

/** The tensors of a model by what they are. */
interface Tensors {
  readonly model: Described
  readonly named: readonly Named[]
  readonly hidden: number
  readonly shapeOf: (name: string) => readonly number[]
  /** Weights of a role, or biases, of a layer or outside of layers. */
  readonly all: (role: TensorRole, layer?: number, bias?: boolean) => readonly string[]
  /** A weight's matrix. */
  readonly matrix: (tensor: string, stream: number, more: Pick<Matrix, 'writes'> & Partial<Matrix>) => Matrix
}

function namedTensors(model: Described, family: OrthogonalFamily, prefix: string, start: string): Tensors {
  const { tensors } = model
  const named = [...tensors.keys()].map((name): Named => {
    const own = name.startsWith(prefix) ? name.slice(prefix.length) : name
    const [, layer, rest] = /^(\d+)\.(.*)$/.exec(own.startsWith(start) ? own.slice(start.length) : '') ?? []
    const rows = rest === undefined ? family.outside : family.inside
    const role = rows.find(([pattern]) => pattern.test(rest ?? own))?.[1]
    if (!role) throw new Obstacle(`tensor ${name} is not one whose basis can be changed`)
    return { name, role, layer: layer === undefined ? undefined : Number(layer) }
  })
  const all: Tensors['all'] = (role, layer, bias = false) =>
    named.filter((own) => own.role === role && own.layer === layer && isBias(own.name) === bias).map(({ name }) => name)
  const shapeOf = (name: string) => tensors.get(name)!.shape
  // The head alone is stored where it is the embedding too.
  const [first] = [...all('rows'), ...all('head')]
  const hidden = first === undefined ? 0 : (shapeOf(first).at(-1) ?? 0)
  if (hidden === 0) throw new Obstacle('it has no embedding')
  const matrix: Tensors['matrix'] = (tensor, stream, more) => {
    const shape = shapeOf(tensor)
    if (shape[stream] !== hidden)
      throw new Obstacle(`axis ${stream} of ${tensor} is not the residual stream of ${hidden} places`)
    const bias = tensor.replace(/weight$/, 'bias')
    const own = bias !== tensor && tensors.has(bias) ? { bias } : {}
    return { tensor, stream, from: 0, units: shape.reduce((product, n) => product * n, 1) / hidden, ...own, ...more }
  }
  return { model, named, hidden, shapeOf, all, matrix }
}

function layoutFrom(of: Tensors, family: OrthogonalFamily, prefix: string): Layout {
  const { model, named, hidden } = of
  const turned = isTurned(of, family)
  const depth = named.reduce((top, { layer = -1 }) => Math.max(top, layer), -1) + 1
  const ends = endsOf(of)
  const layers = Array.from({ length: depth }, (_, layer) => layerOf(of, layer, turned))
  const matrices = [...ends, ...layers.flatMap((layer) => KEYS.flatMap((key) => layer[key] ?? []))]
  const parts = partsOf(of, matrices)
  const norms = normsOf(parts, matrices)
  const units = layers[0]!.up!.units
  if (layers.some(({ gate, up, down }) => [gate ?? up, up, down].some((one) => one!.units !== units)))
    throw new Obstacle('its layers have different numbers of feed-forward units')
  const inner = named.filter(({ role }) => role === 'inner')
  const biased = [...norms.values()].some(({ bias }) => bias !== undefined) || inner.some(({ name }) => isBias(name))
  const kind = kindOf(family, model, biased)
  const unread = [...norms.keys()].some((module) => !matrices.some(({ norm }) => norm === module))
  const { basis, reason } = basisOf(family, model, prefix, inner.length > 0 || unread)
  const bare = norms.size === 0 && model.config?.model_type === 'olmo'
  if (basis === 'rotated' && !bare && matrices.some((matrix) => !matrix.writes && matrix.norm === undefined))
    throw new Obstacle('a matrix reads the residual stream without a norm')
  const shape = headsOf(of, family, layers[0]!)
  if (typeof shape === 'string' && family.grouped) throw new Obstacle(shape)
  const rotary = typeof shape === 'string' ? undefined : rotaryPlaces(family, model, shape.width)
  const vectors = basis === 'rotated' && kind === 'rms' ? [] : vectorsOf(matrices, parts, basis !== 'rotated')
  return {
    ...{ family: family.name, prefix, hidden, units, kind, basis, layers, norms, parts },
    ...(typeof shape === 'string' ? {} : { shape }),
    ...(rotary === undefined ? {} : { rotary }),
    ends: [...ends, ...vectors],
    kept: {
      ...(reason === undefined ? {} : { 'residual stream': reason }),
      ...(typeof shape === 'string' ? { heads: shape } : rotary === undefined ? { 'queries and keys': POSITIONS } : {}),
    },
  }
}

const POSITIONS = 'what positions do to them is not known'

/** Conv1D of GPT-2 stores [in, out]. */
function isTurned({ all, shapeOf, hidden }: Tensors, { name }: OrthogonalFamily): boolean {
  if (name !== 'gpt2') return false
  const [fused] = all('qkv', 0)
  const shape = fused === undefined ? [] : shapeOf(fused)
  if (shape.length !== 2 || shape[0] === shape[1]) throw new Obstacle('its layers have unknown shapes')
  return shape[0] === hidden
}

function endsOf({ named, all, shapeOf, matrix }: Tensors): Matrix[] {
  // Of several last norms, the heads read the last.
  const [final] = all('final').slice(-1)
  const norm = final === undefined ? {} : { norm: moduleOf(final) }
  const pooled = named.some(({ name }) => /(pooler\.dense|^pre_classifier)\.weight$/.test(name))
  const heads = [...all('head'), ...(pooled ? [] : all('classifier'))]
  return [
    ...all('rows').map((name) => matrix(name, shapeOf(name).length - 1, { writes: true })),
    ...all('patch').map((name) => matrix(name, 0, { writes: true })),
    ...heads.map((name) => matrix(name, 1, { writes: false, ...norm })),
  ]
}

function layerOf({ all, matrix }: Tensors, layer: number, turned: boolean): Partial<Record<Key, Matrix>> {
  const own: Partial<Record<Key, Matrix>> = {}
  const normAt = (...roles: TensorRole[]): { norm?: string } => {
    const [name] = roles.flatMap((role) => [...all(role, layer), ...all(role, layer, true)])
    return name === undefined ? {} : { norm: moduleOf(name) }
  }
  // Sublayers side by side have one norm.
  const norms = { attention: normAt('norm1'), feedForward: normAt('norm2', 'norm1') }
  const add = (key: Key, tensors: readonly string[], third?: number) => {
    const [tensor] = tensors
    if (tensor === undefined) return
    const [factor] = all(key === 'o' ? 'scale1' : 'scale2', layer)
    const made = matrix(tensor, writes(key) === turned ? 1 : 0, {
      ...{ writes: writes(key), place: { layer, key } },
      ...(writes(key)
        ? factor === undefined
          ? {}
          : { factor }
        : key === 'up' || key === 'gate'
          ? norms.feedForward
          : norms.attention),
    })
    own[key] = third === undefined ? made : { ...made, units: made.units / 3, from: (third * made.units) / 3 }
  }
  const fused = all('qkv', layer)
  for (const [third, key] of (['q', 'k', 'v'] as const).entries())
    if (fused.length > 0) add(key, fused, third)
    else add(key, all(key, layer))
  for (const key of ['o', 'gate', 'up', 'down'] as const) add(key, all(key, layer))
  for (const key of ['q', 'k', 'v', 'o', 'up', 'down'] as const)
    if (!own[key]) throw new Obstacle(`layer ${layer} has no matrix for ${key}`)
  return own
}

function partsOf({ named }: Tensors, matrices: readonly Matrix[]): Map<string, Part> {
  return new Map(
    named.map(({ name, role }): [string, Part] => {
      const own = matrices.filter(({ tensor }) => tensor === name)
      const biased = matrices.filter(({ bias }) => bias === name)
      if (own.length > 0) return [name, { kind: 'matrix', matrices: own }]
      if (biased.length > 0) return [name, { kind: 'bias', matrices: biased }]
      switch (role) {
        case 'norm1':
        case 'norm2':
        case 'final':
          return [name, { kind: 'norm', module: moduleOf(name), part: isBias(name) ? 'bias' : 'weight' }]
        case 'inner':
          return [name, { kind: 'vector' }]
        case 'square':
          return [name, { kind: isBias(name) ? 'vector' : 'square' }]
        case 'scale1':
        case 'scale2':
          return [name, { kind: 'factor' }]
        default:
          return [name, { kind: 'none' }]
      }
    }),
  )
}

function normsOf(parts: ReadonlyMap<string, Part>, matrices: readonly Matrix[]): Map<string, Norm> {
  const norms = new Map<string, Norm>()
  for (const [name, part] of parts) {
    if (part.kind !== 'norm') continue
    const folds = matrices.every(({ norm, bias }) => norm !== part.module || bias !== undefined)
    norms.set(part.module, { ...norms.get(part.module), folds, [part.part]: name })
  }
  return norms
}

/** Single vectors of the stream, which also say something of its basis: what is added, and, where it only has other orders, its norms. */
function vectorsOf(matrices: readonly Matrix[], parts: ReadonlyMap<string, Part>, norms: boolean): Matrix[] {
  const added = matrices.flatMap(({ bias, writes: adds, factor }) =>
    adds && bias !== undefined ? [{ tensor: bias, ...(factor === undefined ? {} : { factor }) }] : [],
  )
  const own = [...parts].flatMap(([tensor, { kind }]) =>
    norms && (kind === 'vector' || kind === 'norm') ? [{ tensor }] : [],
  )
  return [...added, ...own].map((one) => ({ ...one, stream: 0, from: 0, units: 1, writes: true }))
}

function headsOf(
  { model: { config }, shapeOf }: Tensors,
  { heads: names, grouped }: OrthogonalFamily,
  { q, k, v }: Partial<Record<Key, Matrix>>,
): Heads | string {
  const heads = setting(config, ...names)
  if (heads === undefined) return 'the number of attention heads is not known without config.json'
  const kv = grouped ? (setting(config, 'num_key_value_heads') ?? heads) : heads
  const width = (grouped ? setting(config, 'head_dim') : undefined) ?? q!.units / heads
  const fits = Number.isInteger(width) && width * heads === q!.units && heads % kv === 0
  if (!fits || k!.units !== kv * width || v!.units !== kv * width)
    return `${heads} heads of ${width} places do not fit ${q!.tensor} of shape [${shapeOf(q!.tensor).join(', ')}]`
  return { kv, q: heads / kv, width }
}
