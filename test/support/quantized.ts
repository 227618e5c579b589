/** Quantized models of the fixtures, as numbers. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type RawTensor, tensorsIn, tensorsOf } from './files.js'
import { fixture } from './terge.js'

export const PACKED = fixture('packed')

/** The names of the folders with quantized models, one for each format and variant. */
export const packedModels = (): string[] =>
  readdirSync(PACKED, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()

type Tensors = Record<string, RawTensor>

/** What the library that wrote a model says that its weights are, in float32. */
export const wantedOf = (model: string): Tensors =>
  tensorsIn(gunzipSync(readFileSync(path.join(PACKED, model, 'want.safetensors.gz'))))

/** How exactly each weight is known: see the README of the fixtures. */
export const kindsOf = (
  model: string,
): Record<string, [kind: 'exact' | 'f32' | 'nested', shape: number[], digest: string]> =>
  JSON.parse(readFileSync(path.join(PACKED, 'want.json'), 'utf8'))[model].tensors

export const floatsOf = ({ bytes }: RawTensor): Float32Array => new Float32Array(bytes.slice().buffer)

/** The same model without quantization, in float32: its weights as they should be, and all other tensors. */
export function unquantized(model: string): Tensors {
  const wanted = wantedOf(model)
  const stored = tensorsOf(path.join(PACKED, model))
  const plain = Object.entries(stored).filter(([name, { dtype }]) => isPlain(name, dtype) && !(name in wanted))
  return { ...Object.fromEntries(plain), ...wanted }
}

const isPlain = (name: string, dtype: string): boolean =>
  (dtype === 'BF16' || dtype === 'F16' || dtype === 'F32') &&
  /(embed_tokens|norm|lm_head|router|gate|proj|shared_experts\.\w+)\.(weight|bias)$|_bias$|\.sinks$/.test(name)
