/**
 * Sharded tensors in a pickle: DTensor (torch/distributed/tensor/_api.py), with placements on a mesh of ranks, and ShardedTensor
 * (torch/distributed/_shard/sharded_tensor), with the offsets of each shard. Both are pickled as their type and their state.
 */
import { type Fault, fault } from '../../../core/diagnostics.js'
import type { Dtype } from '../../../core/dtypes.js'
import { dtypeOf } from '../pytorch/globals.js'
import { attributesOf, dtypeName, isOf, sizesOf, stateOf } from '../pytorch/objects.js'
import { describe, isNatural, isOpaque, isTensor, type TensorRef, type Value } from '../pytorch/values.js'

/** How one axis of the mesh divides a tensor: an axis of the tensor, or undefined for copies. */
export interface Placement {
  readonly axis?: number
  /** The shards of a later mesh axis are divided by this one. */
  readonly strided?: number
}

export interface Shard {
  readonly tensor: TensorRef
  /** Present in a ShardedTensor. */
  readonly starts?: readonly number[]
  readonly shape?: readonly number[]
}

/** A rank's part of a tensor. */
export interface Sharded {
  /** `copy`: every rank has the whole tensor. */
  readonly kind: 'copy' | 'mesh' | 'boxes'
  readonly shards: readonly Shard[]
  /** Of the whole tensor; absent if every rank has it. */
  readonly whole?: { readonly dtype: Dtype; readonly shape: readonly number[] }
  readonly placements?: readonly Placement[]
  /** The place of the rank in the mesh, if the file says so. */
  readonly coordinates?: readonly number[]
}

const classes = (...names: readonly string[]): ReadonlySet<string> => new Set(names)
// Before PyTorch 2.5, DTensor was private.
const DTENSOR = classes('torch.distributed.tensor.DTensor', 'torch.distributed._tensor.api.DTensor')
const SPEC = classes(
  'torch.distributed.tensor._dtensor_spec.DTensorSpec',
  'torch.distributed._tensor._dtensor_spec.DTensorSpec',
  'torch.distributed._tensor.placement_types.DTensorSpec',
)
const MESH = classes('torch.distributed.device_mesh.DeviceMesh', 'torch.distributed._tensor.device_mesh.DeviceMesh')
const PLACEMENT = /^torch\.distributed\._?tensor\.placement_types\.(Shard|_StridedShard|Replicate)$/
const SHARDED_TENSOR = classes('torch.distributed._shard.sharded_tensor.api.ShardedTensor')
const SHARD = classes('torch.distributed._shard.sharded_tensor.shard.Shard')
const SHARD_METADATA = classes('torch.distributed._shard.metadata.ShardMetadata')

const GATHER = 'gather the whole tensors in PyTorch (full_tensor()) and save them with torch.save or as safetensors'

/** Whether a value is a tensor of a rank: plain or sharded. */
export const isRankTensor = (value: Value): boolean =>
  isTensor(value) || isOf(value, DTENSOR) || isOf(value, SHARDED_TENSOR)

/** A rank's part of a tensor; undefined if the value is not a tensor. Error: `unreadable-tensor`. */
export function shardedOf(value: Value, whose: string): Sharded | undefined {
  if (isTensor(value)) return { kind: 'copy', shards: [{ tensor: value }] }
  if (!isRankTensor(value) || !isOpaque(value)) return undefined
  const bad = (what: string): Fault => fault('unreadable-tensor', `${whose}: ${what}`, GATHER)
  // The class, dtype, shape, strides and more.
  const [args] = value.parts
  const [, named, size] = Array.isArray(args) ? args : []
  const dtype = dtypeOf(named)
  if (!dtype) throw bad(`its dtype is ${dtypeName(named)}, which terge does not read`)
  const shape = sizesOf(size)
  if (!shape) throw bad('its shape is damaged')
  return isOf(value, DTENSOR)
    ? onMesh(value, { dtype, shape }, bad)
    : { kind: 'boxes', whole: { dtype, shape }, shards: shardsOf(stateOf(value), bad) }
}

function onMesh(value: Value, whole: NonNullable<Sharded['whole']>, bad: (what: string) => Fault): Sharded {
  const attributes = attributesOf(value, DTENSOR)
  const tensor = attributes?.get('_local_tensor')
  const spec = attributesOf(attributes?.get('_spec'), SPEC)
  const placements = spec?.get('placements')
  const mesh = attributesOf(spec?.get('mesh'), MESH)
  if (tensor === undefined || !isTensor(tensor) || !Array.isArray(placements) || !mesh)
    throw bad('its part, its mesh or its placements are damaged')
  const coordinates = sizesOf(mesh.get('_coordinate_on_dim'))
  return {
    ...{ kind: 'mesh', whole, shards: [{ tensor }] },
    placements: placements.map((one) => placementOf(one, whole.shape.length, bad)),
    ...(coordinates ? { coordinates } : {}),
  }
}

function placementOf(value: Value, rank: number, bad: (what: string) => Fault): Placement {
  const kind = isOpaque(value) ? PLACEMENT.exec(value.name)?.[1] : undefined
  if (kind === undefined || !isOpaque(value))
    throw bad(`its placement is ${describe(value)}, which terge does not read`)
  if (kind === 'Replicate') return {}
  const attributes = attributesOf(value, new Set([value.name]))
  const axis = attributes?.get('dim')
  const strided = attributes?.get('split_factor')
  if (!isNatural(axis) || axis >= rank) throw bad('its placement is on an axis that it does not have')
  if (kind === 'Shard') return { axis }
  if (!isNatural(strided)) throw bad('its placement is damaged')
  return { axis, strided }
}

/** The state of a ShardedTensor is a tuple: local shards, metadata, process group and more. */
function shardsOf(state: Value | undefined, bad: (what: string) => Fault): readonly Shard[] {
  const [local] = Array.isArray(state) ? state : []
  if (!Array.isArray(local)) throw bad('its shards are damaged')
  return local.map((one): Shard => {
    const attributes = attributesOf(one, SHARD)
    const tensor = attributes?.get('tensor')
    const metadata = attributesOf(attributes?.get('metadata'), SHARD_METADATA)
    const [starts, shape] = [sizesOf(metadata?.get('shard_offsets')), sizesOf(metadata?.get('shard_sizes'))]
    if (tensor === undefined || !isTensor(tensor) || !starts || !shape) throw bad('one of its shards is damaged')
    return { tensor, starts, shape }
  })
}
