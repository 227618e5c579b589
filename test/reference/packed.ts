/** Scalar reference of quantized weights: each number by itself, from the stored tensors and the configuration. */
import type { RawTensor } from '../support/files.js'

type Tensors = Readonly<Record<string, RawTensor>>

interface Group {
  readonly weights?: { readonly block_structure?: readonly [number, number] | null }
}

export interface PackedConfig {
  readonly quant_method?: string
  readonly bits?: number
  readonly checkpoint_format?: string
  readonly format?: string
  readonly weight_block_size?: readonly [number, number] | null
  readonly config_groups?: Readonly<Record<string, Group>>
}

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]

const e2m1 = (code: number): number => (code < 8 ? E2M1[code]! : -E2M1[code - 8]!)
const power = (byte: number): number => 2 ** (byte - 127)

/** A floating-point number with so many bits of exponent and fraction, without infinities. */
function float(bits: number, exponents: number, fractions: number): number {
  const sign = bits >> (exponents + fractions) ? -1 : 1
  const exponent = (bits >> fractions) & (2 ** exponents - 1)
  const fraction = bits & (2 ** fractions - 1)
  const least = 2 - 2 ** (exponents - 1)
  if (exponent === 0) return sign * fraction * 2 ** (least - fractions)
  return sign * (1 + fraction / 2 ** fractions) * 2 ** (least + exponent - 1)
}

const e4m3 = (byte: number): number => ((byte & 127) === 127 ? Number.NaN : float(byte, 4, 3))

function numberAt({ dtype, bytes }: RawTensor, index: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  switch (dtype) {
    case 'F32':
      return view.getFloat32(index * 4, true)
    case 'BF16':
      return float(view.getUint16(index * 2, true), 8, 7)
    case 'F16':
      return float(view.getUint16(index * 2, true), 5, 10)
    case 'F8_E4M3':
      return e4m3(bytes[index]!)
    case 'F8_E8M0':
      return power(bytes[index]!)
    case 'I8':
      return view.getInt8(index)
    case 'I32':
      return view.getInt32(index * 4, true)
    default:
      return bytes[index]!
  }
}

/** Bits of a 32-bit word. */
function field(words: RawTensor, word: number, shift: number, bits: number): number {
  return (numberAt(words, word) >>> shift) & (2 ** bits - 1)
}

const nibble = ({ bytes }: RawTensor, index: number, isHighFirst: boolean): number =>
  (index % 2 === 1) === isHighFirst ? bytes[index >> 1]! & 15 : bytes[index >> 1]! >> 4

/** The numbers of a quantized weight by row-major index. */
export function packedNumbers(
  tensors: Tensors,
  config: PackedConfig,
  name: string,
  shape: readonly number[],
): Float32Array {
  const at = numbersFrom(tensors, config, name, shape)
  const columns = shape.at(-1)!
  const count = shape.reduce((product, size) => product * size, 1)
  return Float32Array.from({ length: count }, (_, index) => at(Math.floor(index / columns), index % columns))
}

type ValueAt = (row: number, column: number) => number

function numbersFrom(tensors: Tensors, config: PackedConfig, name: string, shape: readonly number[]): ValueAt {
  const module = name.replace(/\.weight$/, '')
  const columns = shape.at(-1)!
  if (`${module}.qweight` in tensors)
    return config.quant_method === 'awq' ? awq(tensors, module, shape) : gptq(tensors, config, module, shape)
  if (`${name}_blocks` in tensors) return gptOss(tensors, name, shape)
  if (`${name}.absmax` in tensors) return bitsandbytes(tensors, name, columns)
  if (tensors[`${name}_packed`]?.dtype === 'I32') return words(tensors, name, shape)
  if (`${name}_packed` in tensors || `${name}_scale_2` in tensors) return fp4(tensors, name, columns)
  return whole(tensors, config, name, shape)
}

function awq(tensors: Tensors, module: string, [rows]: readonly number[]): ValueAt {
  const [codes, zeros, scales] = ['qweight', 'qzeros', 'scales'].map((end) => tensors[`${module}.${end}`]!)
  const size = codes!.shape[0]! / scales!.shape[0]!
  return (row, column) => {
    const group = Math.floor(column / size)
    const shift = 4 * AWQ_ORDER.indexOf(row % 8)
    const word = (line: number): number => line * (rows! / 8) + Math.floor(row / 8)
    const zero = field(zeros!, word(group), shift, 4)
    return (field(codes!, word(column), shift, 4) - zero) * numberAt(scales!, group * rows! + row)
  }
}

function gptq(tensors: Tensors, config: PackedConfig, module: string, [rows]: readonly number[]): ValueAt {
  const [codes, zeros, scales, groups] = ['qweight', 'qzeros', 'scales', 'g_idx'].map(
    (end) => tensors[`${module}.${end}`]!,
  )
  const bits = config.bits!
  const each = 32 / bits
  const plus = (config.checkpoint_format ?? config.format ?? 'gptq') === 'gptq_v2' ? 0 : 1
  return (row, column) => {
    const group = numberAt(groups!, column)
    const code = field(codes!, Math.floor(column / each) * rows! + row, (column % each) * bits, bits)
    const zero = field(zeros!, group * (rows! / each) + Math.floor(row / each), (row % each) * bits, bits) + plus
    return (code - zero) * numberAt(scales!, group * rows! + row)
  }
}

/** Matrices [experts, in, out] of stored ones [experts, out, in]. */
function gptOss(tensors: Tensors, name: string, [, high, wide]: readonly number[]): ValueAt {
  const [codes, scales] = [tensors[`${name}_blocks`]!, tensors[`${name}_scales`]!]
  return (row, column) => {
    const index = (Math.floor(row / high!) * wide! + column) * high! + (row % high!)
    return e2m1(nibble(codes, index, false)) * power(scales.bytes[Math.floor(index / 32)]!)
  }
}

function bitsandbytes(tensors: Tensors, name: string, columns: number): ValueAt {
  const part = (end: string): RawTensor => tensors[`${name}.${end}`]!
  const key = Object.keys(tensors).find((other) => other.startsWith(`${name}.quant_state.`))!
  const state = JSON.parse(new TextDecoder().decode(tensors[key]!.bytes))
  const scale = (block: number): number => {
    const own = numberAt(part('absmax'), block)
    if (!tensors[`${name}.nested_absmax`]) return own
    const outer = numberAt(part('nested_absmax'), Math.floor(block / state.nested_blocksize))
    return Math.fround(numberAt(part('nested_quant_map'), own) * outer + state.nested_offset)
  }
  return (row, column) => {
    const index = row * columns + column
    const code = nibble(tensors[name]!, index, true)
    return numberAt(part('quant_map'), code) * scale(Math.floor(index / state.blocksize))
  }
}

/** Fields of words along the rows, and zero points across them; half of their range is subtracted from both. */
function words(tensors: Tensors, name: string, [, columns]: readonly number[]): ValueAt {
  const [codes, scales] = [tensors[`${name}_packed`]!, tensors[`${name}_scale`]!]
  const [zeros, map] = [tensors[`${name}_zero_point`], tensors[`${name}_g_idx`]]
  const length = codes.shape[1]!
  const groups = scales.shape[1] ?? 1
  const bits = Math.floor((length * 32) / columns!)
  return (row, column) => {
    const mapped = map ? numberAt(map, column) : -1
    const group = mapped >= 0 ? mapped : Math.floor(column / Math.ceil(columns! / groups))
    const bit = column * bits
    const code = field(codes, row * length + Math.floor(bit / 32), bit % 32, bits)
    const place = row * bits
    const zero = zeros ? field(zeros, Math.floor(place / 32) * groups + group, place % 32, bits) : 2 ** (bits - 1)
    return (code - zero) * numberAt(scales, row * groups + group)
  }
}

function fp4(tensors: Tensors, name: string, columns: number): ValueAt {
  const [codes, scales] = [tensors[`${name}_packed`] ?? tensors[name]!, tensors[`${name}_scale`]!]
  const [over, times] = [tensors[`${name}_global_scale`], tensors[`${name}_scale_2`]]
  const scale = (index: number): number => {
    if (over) return Math.fround(numberAt(scales, index) / numberAt(over, 0))
    return times ? Math.fround(numberAt(scales, index) * numberAt(times, 0)) : power(scales.bytes[index]!)
  }
  const size = over || times ? 16 : 32
  return (row, column) => {
    const index = row * columns + column
    return e2m1(nibble(codes, index, false)) * scale(Math.floor(index / size))
  }
}

/** One stored element for each number: FP8 and INT8. */
function whole(tensors: Tensors, config: PackedConfig, name: string, shape: readonly number[]): ValueAt {
  const module = name.replace(/\.weight$/, '')
  const [high, columns] = [shape.at(-2)!, shape.at(-1)!]
  const codes = tensors[name]!
  const rowScale = tensors[`${module}.SCB`]
  const scales = rowScale ?? tensors[`${name}_scale_inv`] ?? tensors[`${name}_scale`] ?? tensors[`${module}.scale`]!
  const zeros = tensors[`${name}_zero_point`]
  const count = scales.shape.reduce((product, size) => product * size, 1)
  const structure = Object.values(config.config_groups ?? {}).find(({ weights }) => weights?.block_structure)
  const [a, b] = config.weight_block_size ?? structure?.weights?.block_structure ?? [128, 128]
  // A scale for everything, for each row, for 32 columns, or for a block.
  const scaleIndex: ValueAt =
    count === 1
      ? () => 0
      : scales.dtype === 'U8'
        ? (row, column) => Math.floor((row * columns + column) / 32)
        : scales.shape.length === 1 || (scales.shape.length === 2 && scales.shape[1] === 1 && count === high)
          ? (row) => row
          : (row, column) => {
              const line = Math.floor(row / high) * Math.ceil(high / a) + Math.floor((row % high) / a)
              return line * Math.ceil(columns / b) + Math.floor(column / b)
            }
  return (row, column) => {
    const index = scaleIndex(row, column)
    const own = scales.dtype === 'U8' ? power(scales.bytes[index]!) : numberAt(scales, index)
    const scale = rowScale ? Math.fround(own / 127) : own
    return (numberAt(codes, row * columns + column) - (zeros ? numberAt(zeros, index) : 0)) * scale
  }
}
