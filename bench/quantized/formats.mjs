// Checkpoints of each quantized format: configuration, and the tensors of a matrix [rows, columns].
import { Buffer } from 'node:buffer'

const E4M3 = 'F8_E4M3'
const product = (shape) => shape.reduce((all, size) => all * size, 1)
const BYTES = { U8: 1, I8: 1, [E4M3]: 1, BF16: 2, F16: 2, F32: 4, I32: 4, I64: 8 }

export const bytesOf = ({ dtype, shape }) => BYTES[dtype] * product(shape)

/**
 * A tensor. `data`: small contents that are always written. Otherwise `kind` says which numbers fill it, and a sparse
 * file has zeros instead: `codes` are any bits, `scales` are numbers near 1.
 */
const tensor = (end, dtype, shape, kind, data) => ({ end, dtype, shape, kind, ...(data ? { data } : {}) })
const codes = (end, dtype, shape) => tensor(end, dtype, shape, 'codes')
const scales = (end, dtype, shape) => tensor(end, dtype, shape, 'scales')
const fixed = (end, dtype, shape, array) => tensor(end, dtype, shape, 'fixed', Buffer.from(array.buffer))
const up = (a, b) => Math.ceil(a / b)

const compressed = (format, weights) => ({
  quant_method: 'compressed-tensors',
  format,
  config_groups: { group_0: { targets: ['Linear'], weights: { symmetric: true, dynamic: false, ...weights } } },
  ignore: ['lm_head'],
})

const NF4 = Float32Array.from([
  -1, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.09105, 0, 0.0795803, 0.1609302, 0.2461123,
  0.3379152, 0.4407098, 0.562617, 0.7229568, 1,
])

function bitsandbytes(shape, nested) {
  const count = product(shape)
  const [blocks, size] = [up(count, 64), 256]
  const state = { quant_type: 'nf4', blocksize: 64, dtype: 'bfloat16', shape }
  if (nested) Object.assign(state, { nested_blocksize: size, nested_dtype: 'float32', nested_offset: 0.03 })
  const text = Uint8Array.from(Buffer.from(JSON.stringify(state)))
  return [
    codes('.weight', 'U8', [up(count, 2), 1]),
    nested ? codes('.weight.absmax', 'U8', [blocks]) : scales('.weight.absmax', 'F32', [blocks]),
    fixed('.weight.quant_map', 'F32', [16], NF4),
    fixed('.weight.quant_state.bitsandbytes__nf4', 'U8', [text.length], text),
    ...(nested
      ? [
          scales('.weight.nested_absmax', 'F32', [up(blocks, size)]),
          fixed(
            '.weight.nested_quant_map',
            'F32',
            [256],
            Float32Array.from({ length: 256 }, (_, n) => n / 255),
          ),
        ]
      : []),
  ]
}

const words = (fields, bits) => (32 % bits === 0 ? up(fields, 32 / bits) : up(fields * bits, 32))

function gptq([rows, columns], bits, group, map) {
  const groups = up(columns, group)
  return [
    codes('.qweight', 'I32', [words(columns, bits), rows]),
    tensor('.qzeros', 'I32', [groups, words(rows, bits)], 'zeros'),
    scales('.scales', 'F16', [groups, rows]),
    fixed('.g_idx', 'I32', [columns], Int32Array.from({ length: columns }, map)),
  ]
}

const GPTQ = (bits) => ({ quant_method: 'gptq', bits, group_size: 128, checkpoint_format: 'gptq', sym: true })

/** By name: `quantization_config`, the tensors of a matrix, and the model's own settings and name of a matrix if they differ. */
export const FORMATS = {
  BF16: { tensors: (shape) => [tensor('.weight', 'BF16', shape, 'scales')] },
  'FP8 block': {
    config: { quant_method: 'fp8', weight_block_size: [128, 128] },
    tensors: (shape) => [
      codes('.weight', E4M3, shape),
      scales(
        '.weight_scale_inv',
        'F32',
        shape.map((n) => up(n, 128)),
      ),
    ],
  },
  'FP8 channel': {
    config: compressed('float-quantized', { num_bits: 8, type: 'float', strategy: 'channel' }),
    tensors: (shape) => [codes('.weight', E4M3, shape), scales('.weight_scale', 'BF16', [shape[0], 1])],
  },
  INT8: {
    config: compressed('int-quantized', { num_bits: 8, type: 'int', strategy: 'channel' }),
    tensors: (shape) => [codes('.weight', 'I8', shape), scales('.weight_scale', 'BF16', [shape[0], 1])],
  },
  'INT8 bitsandbytes': {
    config: { quant_method: 'bitsandbytes', load_in_8bit: true },
    tensors: (shape) => [codes('.weight', 'I8', shape), scales('.SCB', 'F32', [shape[0]])],
  },
  INT4: {
    config: compressed('pack-quantized', { num_bits: 4, type: 'int', strategy: 'group', group_size: 32 }),
    tensors: ([rows, columns]) => [
      codes('.weight_packed', 'I32', [rows, up(columns, 8)]),
      scales('.weight_scale', 'BF16', [rows, up(columns, 32)]),
      fixed('.weight_shape', 'I64', [2], BigInt64Array.of(BigInt(rows), BigInt(columns))),
    ],
  },
  'INT4 zero points': {
    config: compressed('pack-quantized', {
      ...{ num_bits: 4, type: 'int', strategy: 'group', group_size: 128 },
      symmetric: false,
    }),
    tensors: ([rows, columns]) => [
      codes('.weight_packed', 'I32', [rows, up(columns, 8)]),
      scales('.weight_scale', 'BF16', [rows, up(columns, 128)]),
      codes('.weight_zero_point', 'I32', [up(rows, 8), up(columns, 128)]),
      fixed('.weight_shape', 'I64', [2], BigInt64Array.of(BigInt(rows), BigInt(columns))),
    ],
  },
  MXFP4: {
    config: compressed('mxfp4-pack-quantized', { num_bits: 4, type: 'float', strategy: 'group', group_size: 32 }),
    tensors: ([rows, columns]) => [
      codes('.weight_packed', 'U8', [rows, columns / 2]),
      tensor('.weight_scale', 'U8', [rows, columns / 32], 'exponents'),
    ],
  },
  'MXFP4 gpt-oss': {
    config: { quant_method: 'mxfp4' },
    model: { model_type: 'gpt_oss', architectures: ['GptOssForCausalLM'] },
    name: (layer) => `model.layers.${layer}.mlp.experts.down_proj`,
    large: [128, 2880, 5760],
    // As many numbers: one expert if nothing else is wanted.
    tensors: (shape) => {
      const [experts, columns, rows] = shape.length === 3 ? shape : [1, ...shape]
      return [
        codes('_blocks', 'U8', [experts, columns, rows / 32, 16]),
        tensor('_scales', 'U8', [experts, columns, rows / 32], 'exponents'),
      ]
    },
  },
  NVFP4: {
    config: compressed('nvfp4-pack-quantized', {
      num_bits: 4,
      type: 'float',
      strategy: 'tensor_group',
      group_size: 16,
    }),
    tensors: ([rows, columns]) => [
      codes('.weight_packed', 'U8', [rows, columns / 2]),
      tensor('.weight_scale', E4M3, [rows, columns / 16], 'scales'),
      fixed('.weight_global_scale', 'F32', [1], Float32Array.of(3)),
    ],
  },
  NF4: { config: { quant_method: 'bitsandbytes', load_in_4bit: true }, tensors: (shape) => bitsandbytes(shape, false) },
  'NF4 nested': {
    config: { quant_method: 'bitsandbytes', load_in_4bit: true },
    tensors: (shape) => bitsandbytes(shape, true),
  },
  AWQ: {
    config: { quant_method: 'awq', bits: 4, group_size: 128, version: 'gemm', zero_point: true },
    tensors: ([rows, columns]) => [
      codes('.qweight', 'I32', [columns, rows / 8]),
      codes('.qzeros', 'I32', [columns / 128, rows / 8]),
      scales('.scales', 'F16', [columns / 128, rows]),
    ],
  },
  GPTQ: { config: GPTQ(4), tensors: (shape) => gptq(shape, 4, 128, (_, column) => column >> 7) },
  'GPTQ desc_act': {
    config: { ...GPTQ(4), desc_act: true },
    tensors: (shape) => gptq(shape, 4, 128, (_, column) => column % up(shape[1], 128)),
  },
  'GPTQ 8 bits': { config: GPTQ(8), tensors: (shape) => gptq(shape, 8, 128, (_, column) => column >> 7) },
  'GPTQ 3 bits': { config: GPTQ(3), tensors: (shape) => gptq(shape, 3, 128, (_, column) => column >> 7) },
}

/** E4M3 codes that are about normal, four standard deviations to the largest number: as of weights in blocks. */
const NORMAL = Uint8Array.from({ length: 4096 }, (_, n) => {
  // The sum of three digits: near enough to a normal distribution.
  const x = ((n % 16) + ((n >> 4) % 16) + (n >> 8) - 22.5 + (n % 7) / 14) * 16
  const exponent = Math.max(-6, Math.floor(Math.log2(Math.abs(x))))
  const fraction = Math.min(7, Math.floor((Math.abs(x) / 2 ** exponent) * 8) % 8)
  return Math.min(0x7e, ((exponent + 7) << 3) | fraction) | (x < 0 ? 0x80 : 0)
})

/** Fills a buffer with the numbers of a tensor. */
export function fill({ dtype, kind }, buffer, random) {
  const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  const sixteen = new Uint16Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >> 1)
  const whole = new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >> 2)
  for (let i = 0; i < whole.length; i++) whole[i] = random()
  if (kind === 'exponents') for (let i = 0; i < bytes.length; i++) bytes[i] = 118 + (bytes[i] & 7)
  else if (dtype === E4M3 && kind === 'scales') for (let i = 0; i < bytes.length; i++) bytes[i] = 0x28 + (bytes[i] & 15)
  else if (dtype === E4M3)
    for (let i = 0; i < bytes.length; i++) bytes[i] = NORMAL[(bytes[i] << 4) | (bytes[(i * 7 + 1) % bytes.length] & 15)]
  // A zero point of all ones is ambiguous.
  else if (kind === 'zeros') whole.fill(0)
  else if (kind === 'scales' && dtype === 'BF16')
    for (let i = 0; i < sixteen.length; i++) sixteen[i] = (sixteen[i] & 0x807f) | ((118 + ((sixteen[i] >> 7) & 7)) << 7)
  else if (kind === 'scales' && dtype === 'F16')
    for (let i = 0; i < sixteen.length; i++) sixteen[i] = (sixteen[i] & 0x03ff) | 0x2000
  else if (kind === 'scales' && dtype === 'F32')
    for (let i = 0; i < whole.length; i++) whole[i] = (whole[i] & 0x007fffff) | (120 << 23)
}
