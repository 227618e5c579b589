/** The updates of one module, as sd-scripts and LyCORIS compute them in their forward passes. */
import { elements, sameShape } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import { kindOf } from '../kinds/index.js'
import { EMPTY, misfit, RIGHT_BASE, report } from '../misfit.js'
import type { AdapterFiles, KindName, Magnitude, Parts, Reporter, Update } from '../types.js'
import { permute, read, reshape, viewOf } from '../views.js'
import type { ModuleTensors, Role } from './roles.js'
import type { Target } from './targets.js'

type One = Extract<Target, { readonly kind: 'one' }>

/** Added to norms: the distance of 1 to the next float32. */
const EPSILON = 2 ** -23

/** A change of the weight. */
interface Weight {
  readonly kind: KindName
  readonly parts: Parts
  /** For alpha; 0 if alpha does not apply. */
  readonly rank: number
}

/** Errors: `adapter-factor`, `adapter-shape`, `bad-adapter`. */
export function updatesOf(
  module: ModuleTensors,
  target: One,
  files: AdapterFiles,
  reporter: Reporter,
): readonly Update[] {
  const { name, tensors } = module
  const of = (leaf: 'weight' | 'bias') => ({ module: name, target: { name: `${target.module}.${leaf}` } })
  const updates: Update[] = []
  const wanted = WEIGHTS.filter(({ roles }) => roles.some((role) => tensors.has(role)))
  const shape = target.shapeOf('weight')
  if (wanted.length > 1) {
    report(misfit('adapter-factor', ' has the tensors of several kinds of updates', RIGHT_BASE), name, reporter)
    return []
  }
  const empty = [...tensors].find(([role, { shape }]) => role !== 'alpha' && elements(shape) === 0)
  if (empty) {
    reporter.error('bad-adapter', `${module.stored.get(empty[0])!} is empty: ${listed(empty[1])}`, EMPTY)
    return []
  }
  const [kind] = wanted
  const lacks = kind?.lacking(tensors)
  if (lacks !== undefined) {
    reporter.error('adapter-factor', `${name} has no ${lacks}`, 'the adapter is incomplete: download it again')
    return []
  }
  const dependent = (['alpha', 'dora_scale', 'magnitude', 'up_bias'] as const).find((role) => tensors.has(role))
  const scaled = kind !== undefined && kind !== FULL
  if (!scaled && dependent !== undefined) {
    reporter.error(
      'adapter-factor',
      `${name} has ${module.stored.get(dependent)} but no factors`,
      'the adapter is incomplete: download it again',
    )
    return []
  }
  if (kind && !shape) {
    // The plan reports the missing tensor.
    updates.push({ ...of('weight'), kind: 'full', parts: {}, scale: 1 })
    return updates
  }
  const weight = kind?.read(tensors, shape!)
  if (typeof weight === 'string') {
    report(misfit('adapter-shape', `: ${weight}`, RIGHT_BASE), name, reporter)
    return []
  }
  const scale = weight && scaleOf(module, weight.rank, files, reporter)
  if (weight && scale === undefined) return []
  if (weight) {
    const magnitude = magnitudeOf(tensors, shape!)
    if (typeof magnitude === 'string') {
      report(misfit('adapter-shape', `: ${magnitude}`, RIGHT_BASE), name, reporter)
      return []
    }
    updates.push({ ...of('weight'), kind: weight.kind, parts: weight.parts, scale: scale!, ...magnitude })
  }
  const [bias, norm, normBias] = [tensors.get('diff_b'), tensors.get('w_norm'), tensors.get('b_norm')]
  const upBias = tensors.get('up_bias')
  if (upBias) updates.push({ ...of('bias'), kind: 'bias', parts: { b: upBias }, scale: scale! })
  if (norm) updates.push({ ...of('weight'), kind: 'full', parts: { diff: norm }, scale: 1 })
  for (const diff of [bias, normBias])
    if (diff) updates.push({ ...of('bias'), kind: 'full', parts: { diff }, scale: 1 })
  return updates
}

/** The shape of the weight that a module's tensors change, as far as they show it. Empty if they do not fit each other. */
export function ownShape(tensors: Tensors): readonly number[] {
  const [down, up, mid, diff] = (['down', 'up', 'mid', 'diff'] as const).map((role) => tensors.get(role))
  if (diff) return diff.shape
  if (down && up)
    return mid ? [up.shape[0]!, down.shape[1]!, ...mid.shape.slice(2)] : [up.shape[0]!, ...down.shape.slice(1)]
  const way = WEIGHTS.find(({ roles }) => roles.some((role) => tensors.has(role)))
  if (!way || way.lacking(tensors) !== undefined) return []
  const read = way.read(tensors, [])
  const own = typeof read === 'string' ? undefined : kindOf(read.kind).alone?.({ ...read, ...NOWHERE })
  if (!own) return []
  const norms = tensors.get('dora_scale')?.shape ?? []
  const [columns = 0, ...kernel] = own.inputs
  if (norms.length !== 4 || kernel.length > 0) return [own.rows, ...own.inputs]
  // The norms show that it is a convolution: one per output, or one per input channel.
  const channels = norms[0] === own.rows ? columns : norms[1]!
  return [own.rows, channels, columns / channels, 1]
}

const NOWHERE = { module: '', target: { name: '' }, scale: 1 } as const

type Tensors = ModuleTensors['tensors']

/** A way to change a weight. */
interface Way {
  readonly roles: readonly Role[]
  /** What is missing, in words. */
  readonly lacking: (tensors: Tensors) => string | undefined
  /** The parts of the kind; a string says why they do not fit the weight. */
  readonly read: (tensors: Tensors, shape: readonly number[]) => Weight | string
}

const first = (tensors: Tensors, roles: readonly Role[]): string | undefined => roles.find((role) => !tensors.has(role))

const LORA: Way = {
  roles: ['down', 'up', 'mid'],
  lacking: (tensors) => (!tensors.has('down') ? 'lora_down' : !tensors.has('up') ? 'lora_up' : undefined),
  read(tensors, shape) {
    const [down, up, mid] = [tensors.get('down')!, tensors.get('up')!, tensors.get('mid')]
    const rank = down.shape[0] ?? 0
    const [outputs = 0, ...inputs] = shape
    const given = `lora_down ${listed(down)}${mid ? `, lora_mid ${listed(mid)}` : ''}, lora_up ${listed(up)} and the weight [${shape.join(', ')}]`
    if (mid) {
      const [channels = 0] = inputs
      const fits = isMatrix(down, rank, channels) && isMatrix(up, outputs, mid.shape[0] ?? 0) && mid.shape[1] === rank
      if (!fits) return `the shapes do not fit: ${given}`
      const turned = permute(reshape(viewOf(up), [outputs, mid.shape[0]!]), [1, 0])
      return {
        kind: 'tucker',
        parts: {
          a: shaped(down, [rank, channels]),
          b: { ...up, shape: [mid.shape[0]!, outputs], expr: read(turned) },
          mid,
        },
        rank,
      }
    }
    const whole = sameShape(trimmed(down.shape.slice(1)), trimmed(inputs)) || isMatrix(down, rank, elements(inputs))
    if (!whole || inputs.length === 0 || rank === 0 || !isMatrix(up, outputs, rank))
      return `the shapes do not fit: ${given}`
    return {
      kind: 'lora',
      parts: { a: shaped(down, [rank, ...inputs]), b: shaped(up, [outputs, rank]) },
      rank,
    }
  },
}

const LOHA: Way = {
  roles: ['hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b', 'hada_t1', 'hada_t2'],
  lacking: (tensors) =>
    first(tensors, ['hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b']) ??
    (tensors.has('hada_t1') !== tensors.has('hada_t2') ? first(tensors, ['hada_t1', 'hada_t2']) : undefined),
  read: (tensors) => ({
    kind: 'loha',
    parts: parts(tensors, 'hada_'),
    rank: tensors.get('hada_w1_b')!.shape[0] ?? 0,
  }),
}

const LOKR: Way = {
  roles: ['lokr_w1', 'lokr_w1_a', 'lokr_w1_b', 'lokr_w2', 'lokr_w2_a', 'lokr_w2_b', 'lokr_t2'],
  lacking: (tensors) =>
    (tensors.has('lokr_w1') ? undefined : first(tensors, ['lokr_w1_a', 'lokr_w1_b'])) ??
    (tensors.has('lokr_w2') ? undefined : first(tensors, ['lokr_w2_a', 'lokr_w2_b'])),
  read(tensors) {
    const twice = (['1', '2'] as const).find(
      (side) =>
        tensors.has(`lokr_w${side}`) &&
        (tensors.has(`lokr_w${side}_a`) || tensors.has(`lokr_w${side}_b`) || (side === '2' && tensors.has('lokr_t2'))),
    )
    if (twice !== undefined) return `W${twice} is there both whole and in factors`
    // Whole factors ignore alpha.
    const low = tensors.get('lokr_w1_b') ?? tensors.get('lokr_w2_b')
    return { kind: 'lokr', parts: parts(tensors, 'lokr_'), rank: low?.shape[0] ?? 0 }
  },
}

const FULL: Way = {
  roles: ['diff'],
  lacking: () => undefined,
  read: (tensors, shape) => {
    const diff = tensors.get('diff')!
    if (sameShape(trimmed(diff.shape), trimmed(shape))) return { kind: 'full', parts: { diff }, rank: 0 }
    return `the shapes do not fit: diff ${listed(diff)} and the weight [${shape.join(', ')}]`
  },
}

const WEIGHTS: readonly Way[] = [LORA, LOHA, LOKR, FULL]

const parts = (tensors: Tensors, prefix: 'hada_' | 'lokr_'): Parts =>
  Object.fromEntries(
    [...tensors].flatMap(([role, tensor]) => (role.startsWith(prefix) ? [[role.slice(prefix.length), tensor]] : [])),
  )

const listed = ({ shape }: ValueTensor): string => `[${shape.join(', ')}]`

/** A shape without axes of size 1 at its end. */
const trimmed = (shape: readonly number[]): readonly number[] => {
  let end = shape.length
  while (end > 0 && shape[end - 1] === 1) end--
  return shape.slice(0, end)
}

const isMatrix = ({ shape }: ValueTensor, rows: number, columns: number): boolean =>
  shape[0] === rows && shape[1] === columns && shape.slice(2).every((size) => size === 1)

/** The same elements in another shape. */
const shaped = (tensor: ValueTensor, shape: readonly number[]): ValueTensor =>
  sameShape(tensor.shape, shape) ? tensor : { ...tensor, shape, expr: read(reshape(viewOf(tensor), shape)) }

/** Alpha / rank; 1 without alpha. The stored alpha of rsLoRA holds √rank. */
function scaleOf(
  { name, tensors, stored }: ModuleTensors,
  rank: number,
  { numberOf }: AdapterFiles,
  reporter: Reporter,
): number | undefined {
  const alpha = tensors.get('alpha')
  if (!alpha || rank === 0) return 1
  const value = numberOf?.(alpha)
  const shown = stored.get('alpha')!
  const bad = (message: string): undefined => {
    reporter.error('bad-adapter', message, 'the adapter is damaged: download it again')
  }
  if (value === undefined) return bad(`${shown} is not one number: ${alpha.dtype} ${listed(alpha)}`)
  if (!Number.isFinite(value)) return bad(`${shown} is ${value}, not a finite number`)
  if (value === 0)
    return bad(
      `${shown} is 0: training libraries read that as a scale of 1, others as one of 0, so ${name} is uncertain`,
    )
  return value / rank
}

/** The norms of DoRA, in LyCORIS's form or in PEFT's. */
function magnitudeOf(tensors: Tensors, shape: readonly number[]): { readonly magnitude?: Magnitude } | string {
  const [scale, peft] = [tensors.get('dora_scale'), tensors.get('magnitude')]
  if (scale && peft) return 'it has both dora_scale and lora_magnitude_vector'
  if (peft) return { magnitude: { tensor: peft, epsilon: 0, scales: 'update' } }
  if (!scale) return {}
  const [rows = 0, inputs = 0] = shape
  const own = scale.shape
  const per: Magnitude['per'] | undefined =
    own.length !== shape.length
      ? undefined
      : own[0] === rows && elements(own) === rows
        ? 'rows'
        : own[1] === inputs && elements(own) === inputs
          ? shape.length > 2
            ? 'channels'
            : 'columns'
          : undefined
  if (!per) return `dora_scale ${listed(scale)} has no number per row or per input of the weight [${shape.join(', ')}]`
  return { magnitude: { tensor: scale, per, epsilon: EPSILON, scales: 'norms' } }
}
