/**
 * Permutations as a file: safetensors with one I32 tensor `STEP/GROUP` per group. Place i of the aligned model takes unit
 * tensor[i] of the model; in a group inside another one, units are counted over all outer units. The metadata say which axes of
 * which tensors each group orders, so that the permutations can be applied to another checkpoint later.
 */

import { OUTPUT } from '../checkpoints/containers/index.js'
import { parseHeader } from '../checkpoints/containers/safetensors/header.js'
import type { ContainerTensor } from '../checkpoints/containers/types.js'
import { emptyTable, recordOf } from '../core/collections/ownValue.js'
import { fault } from '../core/diagnostics.js'
import { sha256 } from '../core/digest.js'
import { Bad, bad, digest, list, natural, object, type Read, record, text } from '../core/json/shape.js'
import { isObject } from '../core/json/text.js'
import { orderOf, type Permutations } from './apply.js'
import type { AxisText, Group, Spec, SpecText } from './spec.js'

export type StoredSpec = Required<Pick<SpecText, 'groups' | 'tensors'>>

/** The permutations of one step. */
export interface StoredPermutations {
  /** The model that they permute, and the model that it was aligned to, by their names in the recipe. */
  readonly model: string
  readonly onto: string
  readonly family: string
  readonly spec: StoredSpec
  /** Tensors of the model that keep their order. */
  readonly untouched: readonly string[]
  readonly permutations: Permutations
}

/** In bytes. */
export const MAX_PERMUTATIONS = 2 ** 30
const KEY = 'terge.permutations'
const DAMAGED = 'write it again: run the recipe that aligned the model, with output: {permutations: true}'

/** JSON with sorted keys. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner) =>
    isObject(inner)
      ? recordOf(
          Object.keys(inner)
            .sort()
            .map((key) => [key, inner[key]]),
        )
      : inner,
  )

/** A spec without what does not decide the order of units. Equal texts permute equal structures. */
export const specKey = ({ groups, tensors }: StoredSpec): string => canonical({ groups, tensors })

/** The groups of a spec that was written by `writeSpec`. */
export function groupsOf({ groups }: Pick<StoredSpec, 'groups'>): Pick<Spec, 'groups'> {
  const entries = Object.entries(groups).map(([name, group]): [string, Group] => [
    name,
    typeof group === 'number' ? { size: group } : group,
  ])
  return { groups: recordOf(entries) }
}

/** The file of some steps' permutations. The same permutations give the same bytes. Errors: those of writing headers. */
export function encodePermutations(steps: ReadonlyMap<string, StoredPermutations>, name: string): Uint8Array {
  const orders = [...steps].flatMap(([step, { spec, permutations }]) => {
    const own = groupsOf(spec)
    return Object.keys(own.groups).map((group) => {
      const order = orderOf(own, permutations, group)
      return { name: `${step}/${group}`, dtype: 'I32' as const, shape: [order.length], bytes: 4 * order.length, order }
    })
  })
  orders.sort(OUTPUT.write.compare)
  const described = recordOf(
    [...steps].map(([step, { permutations: _, spec, ...rest }]) => [
      step,
      { ...rest, spec: { groups: spec.groups, tensors: spec.tensors }, digest: sha256(specKey(spec)) },
    ]),
  )
  const metadata = { [KEY]: canonical({ version: 1, steps: described }) }
  const header = OUTPUT.write.encode(OUTPUT.write.header(orders, metadata, name).text)
  const bytes = new Uint8Array(orders.reduce((size, { bytes }) => size + bytes, header.length))
  bytes.set(header)
  const view = new DataView(bytes.buffer)
  let at = header.length
  for (const { order } of orders)
    for (const unit of order) {
      view.setInt32(at, unit, true)
      at += 4
    }
  return bytes
}

const axis: Read<AxisText> = (value, at, depth) =>
  value === null || typeof value === 'string' ? value : list(text)(value, at, depth)
const group: Read<number | { readonly size: number; readonly inside?: string }> = (value, at, depth) =>
  typeof value === 'number'
    ? natural(value, at, depth)
    : object<{ readonly size: number; readonly inside?: string }>({ size: natural, inside: text }, 'inside')(
        value,
        at,
        depth,
      )

const described = object<{
  readonly version: number
  readonly steps: Readonly<Record<string, Omit<StoredPermutations, 'permutations'> & { readonly digest: string }>>
}>({
  version: (value, at) => (value === 1 ? value : bad(at, '1')),
  steps: record(
    object<Omit<StoredPermutations, 'permutations'> & { readonly digest: string }>({
      model: text,
      onto: text,
      family: text,
      spec: object<StoredSpec>({ groups: record(group), tensors: record(list(axis)) }),
      untouched: list(text),
      digest,
    }),
  ),
})

/** Reads a file that can be damaged or hostile. `name`: the file in messages. Error: `bad-permutations`. */
export function decodePermutations(bytes: Uint8Array, name: string): ReadonlyMap<string, StoredPermutations> {
  const fail = (message: string) => fault('bad-permutations', `${name}: ${message}`, DAMAGED)
  const { tensors, metadata } = parseHeader(bytes, bytes.length, name)
  const said = Object.hasOwn(metadata, KEY) ? metadata[KEY]! : undefined
  if (said === undefined) throw fail(`its metadata have no ${KEY}, so it is not a file of permutations`)
  const { steps } = read(said, fail)
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const found = new Map<string, StoredPermutations>()
  for (const [step, { digest, ...rest }] of Object.entries(steps)) {
    if (sha256(specKey(rest.spec)) !== digest) throw fail(`the spec of ${step} does not match its digest`)
    const { groups } = groupsOf(rest.spec)
    const permutations = emptyTable<Int32Array>()
    // Outer groups first: the units of the others are counted in them.
    for (const [name, { inside }] of Object.entries(groups).sort(
      ([, a], [, b]) => Number(!!a.inside) - Number(!!b.inside),
    )) {
      const own = inside === undefined ? undefined : Object.hasOwn(groups, inside) ? groups[inside] : null
      if (own === null || own?.inside !== undefined)
        throw fail(`the group ${name} of ${step} is inside ${inside}, which is not an outer group`)
      const tensor = byName.get(`${step}/${name}`)
      byName.delete(`${step}/${name}`)
      const outer = inside === undefined ? undefined : permutations[inside]
      permutations[name] = ordered(bytes, tensor, groups[name]!.size, outer, (what) =>
        fail(`the group ${name} of ${step} ${what}`),
      )
    }
    found.set(step, { ...rest, permutations })
  }
  const [unknown] = byName.keys()
  if (unknown !== undefined) throw fail(`the tensor ${unknown} belongs to no group`)
  if (found.size === 0) throw fail('it has no permutations')
  return found
}

function read(said: string, fail: (message: string) => Error): ReturnType<typeof described> {
  try {
    return described(JSON.parse(said), '', 0)
  } catch (error) {
    if (error instanceof Bad) throw fail(`in its metadata, ${error.describe('the description')}`)
    throw error instanceof SyntaxError ? fail('its metadata are not JSON') : error
  }
}

/** A group's permutation, after a check that it is one. */
function ordered(
  bytes: Uint8Array,
  tensor: ContainerTensor | undefined,
  size: number,
  outer: Int32Array | undefined,
  fail: (what: string) => Error,
): Int32Array {
  if (!tensor) throw fail('has no tensor')
  const units = size * (outer?.length ?? 1)
  const { dtype, shape, offset } = tensor
  if (dtype !== 'I32' || shape.length !== 1 || shape[0] !== units)
    throw fail(`has a tensor ${dtype} [${shape.join(', ')}] instead of I32 [${units}]`)
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 4 * units)
  const permutation = new Int32Array(units)
  const seen = new Uint8Array(units)
  for (let i = 0; i < units; i++) {
    const unit = view.getInt32(4 * i, true)
    if (unit < 0 || unit >= units || seen[unit] === 1) throw fail(`is not a permutation: place ${i} takes unit ${unit}`)
    seen[unit] = 1
    const inside = unit - (outer ? outer[Math.floor(i / size)]! * size : 0)
    if (inside < 0 || inside >= size) throw fail(`moves unit ${unit} out of its outer unit`)
    permutation[i] = inside
  }
  return permutation
}
