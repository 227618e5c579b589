/** Small tensors of adapters that planning needs: the values of `….alpha`, and whether norms of DoRA are equal. */
import { mapEach } from '../../core/collections/eachOf.js'
import { sha256 } from '../../core/digest.js'
import { elements } from '../../core/dtypes.js'
import type { ByteSource } from '../../storage/types.js'
import type { ContainerTensor } from './types.js'

const ALPHA = /\.alpha$/
/** No network has more modules than this. */
const MOST = 100_000
/** Read in parallel, for files on a hub. */
const PARALLEL = 16

type Read = (view: DataView) => number

const READ: Readonly<Partial<Record<ContainerTensor['dtype'], Read>>> = {
  F64: (view) => view.getFloat64(0, true),
  F32: (view) => view.getFloat32(0, true),
  F16: (view) => half(view.getUint16(0, true)),
  BF16: (view) => {
    const wide = new DataView(new ArrayBuffer(4))
    wide.setUint16(2, view.getUint16(0, true), true)
    return wide.getFloat32(0, true)
  },
  I64: (view) => Number(view.getBigInt64(0, true)),
  I32: (view) => view.getInt32(0, true),
  I16: (view) => view.getInt16(0, true),
  I8: (view) => view.getInt8(0),
  U8: (view) => view.getUint8(0),
}

function half(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

/** By name, the values of a file's alphas that have one element. */
export async function alphasIn(
  source: ByteSource,
  tensors: readonly ContainerTensor[],
): Promise<ReadonlyMap<string, number>> {
  const own = tensors.filter(({ name, shape, dtype }) => ALPHA.test(name) && elements(shape) === 1 && READ[dtype])
  // The parameters of a network can have this name too, but then it has no factors.
  if (own.length === 0 || own.length > MOST || !tensors.some(({ name }) => UPDATE.test(name))) return new Map()
  const values = await mapEach(own, PARALLEL, async ({ name, dtype, offset, bytes }) => {
    const { buffer, byteOffset, byteLength } = await source.read(offset, bytes)
    return [name, READ[dtype]!(new DataView(buffer, byteOffset, byteLength))] as const
  })
  return new Map(values)
}

/** The norms of DoRA in PEFT and in LyCORIS. */
const NORM = /\.(lora_magnitude_vector(\.[^.]+)?|dora_scale)$/
/** One number per row of a weight. */
const MOST_BYTES = 1 << 22

/** Weights of the base that PEFT saves with the factors of an embedding or a head. */
const COPY = /\.base_layer\.weight$/
const MOST_COPY_BYTES = 1 << 26
const MOST_COPIES = 8

/** By name, digests of a file's norms and of its copies of weights of the base: equal for equal dtypes and bytes. */
export async function normsIn(
  source: ByteSource,
  tensors: readonly ContainerTensor[],
): Promise<ReadonlyMap<string, string>> {
  const copies = tensors.filter(({ name, bytes }) => bytes <= MOST_COPY_BYTES && COPY.test(name))
  const own = [
    ...tensors.filter(({ name, bytes }) => bytes <= MOST_BYTES && NORM.test(name)),
    ...(copies.length <= MOST_COPIES ? copies : []),
  ]
  if (own.length === 0 || own.length > MOST) return new Map()
  const digests = await mapEach(own, PARALLEL, async ({ name, dtype, offset, bytes }) => {
    return [name, `${dtype} ${sha256(await source.read(offset, bytes))}`] as const
  })
  return new Map(digests)
}

/** A tensor that only adapters have. */
const UPDATE = /\.(lora_down|lora_up|lora_A|lora_B|hada_w1_[ab]|lokr_w[12](_[ab])?|lora\.down|lora\.up)(\.|$)/
