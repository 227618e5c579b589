/**
 * Small Stable Diffusion models in both forms, from the table of names that diffusers made: `names.tsv` has each tensor of diffusers,
 * its shape, the original tensor, and what else happens to it. Written without terge's rules.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { bf16, numbers, type RawTensor, writeModel } from './files.js'
import { fixture } from './terge.js'

export type RawTensors = Record<string, RawTensor>
export type DiffusionKind = 'sd15' | 'sdxl'

const fixtureOf = (kind: DiffusionKind, name: string): string => path.join(fixture('layouts'), kind, name)

type Line = [name: string, shape: string, original: string, note?: string]

const linesOf = (kind: DiffusionKind): Line[] =>
  gunzipSync(readFileSync(fixtureOf(kind, 'names.tsv.gz')))
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t') as Line)

/** One model in both forms, with the same elements. */
export function diffusionModel(kind: DiffusionKind, seed = 1): { diffusers: RawTensors; original: RawTensors } {
  const diffusers: RawTensors = {}
  const original: RawTensors = {}
  const rows = new Map<string, [start: number, tensor: RawTensor][]>()
  const lines = gunzipSync(readFileSync(fixtureOf(kind, 'names.tsv.gz')))
    .toString()
    .trimEnd()
    .split('\n')
  for (const [index, line] of lines.entries()) {
    const [name, sizes, target, note = ''] = line.split('\t') as [string, string, string, string?]
    const shape: number[] = JSON.parse(sizes)
    const count = shape.reduce((product, size) => product * size, 1)
    const tensor = bf16(shape, numbers(count, seed * 10_000 + index))
    diffusers[name] = tensor
    const start = /^rows (\d+)/.exec(note)
    if (start) rows.set(target, [...(rows.get(target) ?? []), [Number(start[1]), tensor]])
    else if (note === 'transposed') original[target] = turned(tensor)
    else original[target] = note.startsWith('shape') ? { ...tensor, shape: [...shape, 1, 1] } : tensor
  }
  for (const [name, parts] of rows) {
    const inOrder = parts.sort(([a], [b]) => a - b).map(([, tensor]) => tensor)
    const height = inOrder.reduce((sum, { shape }) => sum + shape[0]!, 0)
    const bytes = Buffer.concat(inOrder.map(({ bytes }) => bytes))
    original[name] = { dtype: 'BF16', shape: inOrder[0]!.shape.with(0, height), bytes: new Uint8Array(bytes) }
  }
  return { diffusers, original }
}

function turned({ shape, bytes }: RawTensor): RawTensor {
  const [height, width] = shape as [number, number]
  const words = new Uint16Array(bytes.buffer)
  const across = Uint16Array.from(words, (_, index) => words[(index % height) * width + Math.floor(index / height)]!)
  return { dtype: 'BF16', shape: [width, height], bytes: new Uint8Array(across.buffer) }
}

/** Writes tensors of diffusers as a folder with modules. */
export function writePipeline(folder: string, kind: DiffusionKind, tensors: RawTensors): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'model_index.json'), readFileSync(fixtureOf(kind, 'model_index.json')))
  const configs: Record<string, object> = JSON.parse(readFileSync(fixtureOf(kind, 'configs.json'), 'utf8'))
  for (const [module, config] of Object.entries(configs)) {
    const place = path.join(folder, module)
    mkdirSync(place, { recursive: true })
    writeFileSync(path.join(place, 'config.json'), JSON.stringify(config, null, 2))
    const file = module.startsWith('text_encoder') ? 'model' : 'diffusion_pytorch_model'
    writeModel(path.join(place, `${file}.safetensors`), moduleOf(tensors, `${module}.`))
  }
}

/** The tensors under a prefix, without it. */
export const moduleOf = (tensors: RawTensors, prefix: string): RawTensors =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor] as const] : [],
    ),
  )

/** By name in diffusers: the original name. */
export const originalNames = (kind: DiffusionKind): ReadonlyMap<string, string> =>
  new Map(linesOf(kind).map(([name, , target]) => [name, target]))
