/** How a transformer's tensors touch its residual stream: what orthogonal matching and the aligned tensors follow. */
import { setting } from '../infer/builder.js'
import type { Heads } from '../infer/transformers.js'
import type { TensorSource } from '../weights.js'
import { ORTHOGONAL, type OrthogonalFamily, type TensorRole } from './families.js'
import { type Basis, basisOf, kindOf, type NormKind, refusedType, rotaryPlaces } from './traits.js'

/** The matrices of a layer, in the order in which they are compared. */
export const KEYS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const
export type Key = (typeof KEYS)[number]

/** Whether a layer's matrix adds to the stream. */
export const writes = (key: Key | undefined): boolean => key === 'o' || key === 'down'

/** A matrix between the residual stream and units, tokens or pixels. */
export interface Matrix {
  readonly tensor: string
  /** Axis of the residual stream. The others, in order, are the units'. */
  readonly stream: number
  /** Of a tensor with several matrices: the first unit. */
  readonly from: number
  readonly units: number
  /** Adds to the stream, or reads it through a norm. */
  readonly writes: boolean
  /** Where units can move. */
  readonly place?: { readonly layer: number; readonly key: Key }
  readonly bias?: string
  /** For readers: the norm before it. */
  readonly norm?: string
  /** For writers: the tensor that multiplies its output. */
  readonly factor?: string
}

export interface Norm {
  readonly weight?: string
  readonly bias?: string
  /** Everything that reads it has a bias, where its own can be added. */
  readonly folds: boolean
}

/** What a tensor is. */
export type Part =
  | { readonly kind: 'matrix' | 'bias'; readonly matrices: readonly Matrix[] }
  | { readonly kind: 'norm'; readonly module: string; readonly part: 'weight' | 'bias' }
  /** Numbers that belong to places of the stream. */
  | { readonly kind: 'factor' | 'vector' | 'square' }
  | { readonly kind: 'none' }

export interface Layout {
  readonly family: string
  readonly prefix: string
  readonly hidden: number
  /** Units of a feed-forward. */
  readonly units: number
  /** Absent if the number of heads is not known. Heads then stay as they are. */
  readonly shape?: Heads
  /** How many of a head's first places rotary positions turn. Undefined: not known, and queries and keys keep their bases. */
  readonly rotary?: number
  readonly kind: NormKind
  readonly basis: Basis
  /** What stays although it could turn in principle, with the reason. */
  readonly kept: Readonly<Record<string, string>>
  /** Matrices whose units keep their order. */
  readonly ends: readonly Matrix[]
  readonly layers: readonly Readonly<Partial<Record<Key, Matrix>>>[]
  readonly norms: ReadonlyMap<string, Norm>
  readonly parts: ReadonlyMap<string, Part>
}

export type Described = Pick<TensorSource, 'tensors' | 'config'>

/** The layout of a network, or why it allows no orthogonal maps. */
export function layoutOf(model: Described): Layout | string {
  for (const family of ORTHOGONAL)
    for (const name of model.tensors.keys()) {
      const [, prefix, layer] = family.sign.exec(name) ?? []
      if (prefix !== undefined && layer !== undefined)
        return refusedType(model) ?? createReader(model, family, prefix, layer).layout()
    }
  return 'terge knows how to turn transformers with the tensor names of Llama, OPT, GPT-2, BERT and ViT; this is none of them'
}

interface Named {
  readonly name: string
  readonly role: TensorRole
  readonly layer: number | undefined
}

const isBias = (name: string): boolean => /(bias|beta)$/.test(name)
const moduleOf = (name: string): string => name.replace(/[._](weight|bias|gamma|beta)$/, '')

/** A reason, where a layout is not possible. */
class Obstacle extends Error {}

function createReader(model: Described, family: OrthogonalFamily, prefix: string, start: string) {
  const { tensors, config } = model
  const named = namesOf(model, family, prefix, start)
  const shapeOf = (name: string) => tensors.get(name)!.shape
  const all = (role: TensorRole, layer?: number, bias = false) =>
    named.filter((own) => own.role === role && own.layer === layer && isBias(own.name) === bias).map(({ name }) => name)
  const [parts, norms] = [new Map<string, Part>(), new Map<string, Norm>()]
  const unread: string[] = []

  /** The biases that belong to a weight. */
  const biasOf = (weight: string): { bias?: string } => {
    const bias = weight.replace(/weight$/, 'bias')
    return bias !== weight && tensors.has(bias) ? { bias } : {}
  }
  const matrix = (tensor: string, stream: number, more: Pick<Matrix, 'writes'> & Partial<Matrix>): Matrix => {
    const shape = shapeOf(tensor)
    if (shape[stream] !== hidden)
      throw new Obstacle(`axis ${stream} of ${tensor} is not the residual stream of ${hidden} places`)
    const units = shape.reduce((product, n) => product * n, 1) / hidden
    return { tensor, stream, from: 0, units, ...biasOf(tensor), ...more }
  }
  const [first] = all('rows')
  const hidden = first === undefined ? 0 : shapeOf(first).at(-1)!
  const final = (all('final').at(-1) ?? undefined) && moduleOf(all('final').at(-1)!)

  function normAt(layer: number, ...roles: TensorRole[]): { norm?: string } {
    const [name] = roles.flatMap((role) => [...all(role, layer), ...all(role, layer, true)])
    return name === undefined ? {} : { norm: moduleOf(name) }
  }

  function layerAt(layer: number, turned: boolean): Partial<Record<Key, Matrix>> {
    const own: Partial<Record<Key, Matrix>> = {}
    const [before, between] = [normAt(layer, 'norm1'), normAt(layer, 'norm2', 'norm1')]
    const add = (key: Key, [tensor]: string[], third?: number) => {
      if (tensor === undefined) return
      const stream = writes(key) === turned ? 1 : 0
      const [factor] = all(key === 'o' ? 'scale1' : 'scale2', layer)
      const norm = key === 'up' || key === 'gate' ? between : before
      const made = matrix(tensor, stream, {
        ...{ writes: writes(key), place: { layer, key } },
        ...(writes(key) ? (factor === undefined ? {} : { factor }) : norm),
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

  /** Conv1D of GPT-2 stores [in, out]. */
  function isTurned(): boolean {
    if (family.name !== 'gpt2') return false
    const [fused] = all('qkv', 0)
    const shape = fused === undefined ? [] : shapeOf(fused)
    if (shape.length !== 2 || shape[0] === shape[1]) throw new Obstacle('its layers have unknown shapes')
    return shape[0] === hidden
  }

  function endsOf(): Matrix[] {
    const norm = final === undefined ? {} : { norm: final }
    const pooled = named.some(({ name }) => /pooler\.dense\.weight$/.test(name))
    return [
      ...all('rows').map((name) => matrix(name, shapeOf(name).length - 1, { writes: true })),
      ...all('patch').map((name) => matrix(name, 0, { writes: true })),
      ...[...all('head'), ...(pooled ? [] : all('classifier'))].map((name) =>
        matrix(name, 1, { writes: false, ...norm }),
      ),
    ]
  }

  function describe(matrices: readonly Matrix[]): void {
    for (const { name, role } of named) {
      const own = matrices.filter(({ tensor }) => tensor === name)
      const biased = matrices.filter(({ bias }) => bias === name)
      const part: Part =
        own.length > 0
          ? { kind: 'matrix', matrices: own }
          : biased.length > 0
            ? { kind: 'bias', matrices: biased }
            : /^(norm1|norm2|final)$/.test(role)
              ? { kind: 'norm', module: moduleOf(name), part: isBias(name) ? 'bias' : 'weight' }
              : role === 'inner'
                ? { kind: 'vector' }
                : role === 'square'
                  ? { kind: isBias(name) ? 'vector' : 'square' }
                  : role === 'scale1' || role === 'scale2'
                    ? { kind: 'factor' }
                    : { kind: 'none' }
      parts.set(name, part)
      if (part.kind === 'norm') {
        const readers = matrices.filter(({ norm }) => norm === part.module)
        if (readers.length === 0) unread.push(part.module)
        const folds = readers.every(({ bias }) => bias !== undefined)
        norms.set(part.module, { ...norms.get(part.module), folds, [part.part]: name })
      }
    }
  }

  function headsOf(layer: Partial<Record<Key, Matrix>>): Heads | string {
    const heads = setting(config, ...family.heads)
    if (heads === undefined) return 'the number of attention heads is not known without config.json'
    const kv = family.grouped ? (setting(config, 'num_key_value_heads') ?? heads) : heads
    const [rows, narrow, values] = [layer.q!.units, layer.k!.units, layer.v!.units]
    const width = family.grouped ? (setting(config, 'head_dim') ?? rows / heads) : rows / heads
    const fits = Number.isInteger(width) && width * heads === rows && heads % kv === 0
    if (!fits || narrow !== kv * width || values !== narrow)
      return `${heads} heads of ${width} places do not fit ${layer.q!.tensor} of shape [${shapeOf(layer.q!.tensor).join(', ')}]`
    return { kv, q: heads / kv, width }
  }

  function layout(): Layout | string {
    try {
      return read()
    } catch (error) {
      if (error instanceof Obstacle) return error.message
      throw error
    }
  }

  function read(): Layout {
    const odd = named.find(({ role }) => role === 'unknown')
    if (odd) throw new Obstacle(`tensor ${odd.name} is not one whose basis can be changed`)
    if (hidden === 0) throw new Obstacle('it has no embedding')
    const turned = isTurned()
    const depth = named.reduce((top, { layer = -1 }) => Math.max(top, layer), -1) + 1
    const ends = endsOf()
    const layers = Array.from({ length: depth }, (_, layer) => layerAt(layer, turned))
    const matrices = [...ends, ...layers.flatMap((layer) => KEYS.flatMap((key) => layer[key] ?? []))]
    describe(matrices)
    const units = layers[0]!.up!.units
    if (layers.some(({ gate, up, down }) => [gate ?? up, up, down].some((one) => one!.units !== units)))
      throw new Obstacle('its layers have different numbers of feed-forward units')
    const biased =
      [...norms.values()].some(({ bias }) => bias !== undefined) ||
      named.some(({ name, role }) => role === 'inner' && isBias(name))
    const kind = kindOf(family, model, biased)
    const { basis, reason } = basisOf(
      family,
      model,
      prefix,
      named.some(({ role }) => role === 'inner') || unread.length > 0,
    )
    const bare = kind === 'layer' && norms.size === 0 && basis === 'rotated' && config?.model_type === 'olmo'
    if (basis === 'rotated' && !bare && matrices.some(({ writes: adds, norm }) => !adds && norm === undefined))
      throw new Obstacle('a matrix reads the residual stream without a norm')
    const shape = headsOf(layers[0]!)
    if (typeof shape === 'string' && family.grouped) throw new Obstacle(shape)
    const rotary = typeof shape === 'string' ? undefined : rotaryPlaces(family, model, shape.width)
    const places = 'what its positions do to queries and keys is not known'
    return {
      ...{ family: family.name, prefix, hidden, units, kind, basis, layers, norms, parts },
      ...(typeof shape === 'string' ? {} : { shape }),
      ...(rotary === undefined ? {} : { rotary }),
      ends: [...ends, ...vectors(matrices, kind, basis)],
      kept: {
        ...(reason === undefined ? {} : { 'residual stream': reason }),
        ...(typeof shape === 'string' ? { heads: shape } : rotary === undefined ? { 'queries and keys': places } : {}),
      },
    }
  }

  /** Single vectors of the stream, which also say something of its basis. */
  function vectors(matrices: readonly Matrix[], kind: NormKind, basis: Basis): Matrix[] {
    if (basis === 'rotated' && kind === 'rms') return []
    const added = matrices.flatMap(({ bias, writes: adds, factor }) =>
      adds && bias !== undefined ? [{ tensor: bias, ...(factor === undefined ? {} : { factor }) }] : [],
    )
    const own = named.flatMap(({ name }) => {
      const { kind: is } = parts.get(name)!
      return is === 'vector' || is === 'norm' ? [{ tensor: name }] : []
    })
    return [...added, ...(basis === 'rotated' ? [] : own)].map((one) => ({
      ...one,
      stream: 0,
      from: 0,
      units: 1,
      writes: true,
    }))
  }

  return { layout }
}

/** What each tensor is by its name; `unknown` where no row has it. */
function namesOf({ tensors }: Described, family: OrthogonalFamily, prefix: string, start: string): Named[] {
  return [...tensors.keys()].map((name) => {
    const own = name.startsWith(prefix) ? name.slice(prefix.length) : name
    const [, layer, rest] = /^(\d+)\.(.*)$/.exec(own.startsWith(start) ? own.slice(start.length) : '') ?? []
    const rows = rest === undefined ? family.outside : family.inside
    const role = rows.find(([pattern]) => pattern.test(rest ?? own))?.[1] ?? 'unknown'
    return { name, role, layer: layer === undefined ? undefined : Number(layer) }
  })
}
