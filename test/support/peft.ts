/** Models with adapters in memory: written, run, and read back. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Diagnostic, Fault, inspect, plan, run } from '../../src/index.js'
import { type Matrix, matrix, merged, stored, writeAdapter } from './adapters.js'
import { inFolder, type RawTensor, writeModel } from './files.js'

export const PEFT = 'base_model.model.'
type Json = Readonly<Record<string, unknown>>

/** The two factors of an update of rank 2, under PEFT's names; `scale` is what the configuration makes of it. */
export function factors(module: string, [outputs, inputs]: readonly [number, number], seed: number) {
  const [a, b] = [matrix([2, inputs], seed), matrix([outputs, 2], seed + 1)]
  return {
    a,
    b,
    tensors: {
      [`${PEFT}${module}.lora_A.weight`]: stored(a),
      [`${PEFT}${module}.lora_B.weight`]: stored(b),
    } as Readonly<Record<string, RawTensor>>,
  }
}

/** Those of an embedding. */
export function embeddingFactors(module: string, [rows, columns]: readonly [number, number], seed: number) {
  const [a, b] = [matrix([2, rows], seed), matrix([columns, 2], seed + 1)]
  return {
    a,
    b,
    tensors: {
      [`${PEFT}${module}.lora_embedding_A`]: stored(a),
      [`${PEFT}${module}.lora_embedding_B`]: stored(b),
    } as Readonly<Record<string, RawTensor>>,
  }
}

export const SCALE = 2
export const updatedBy = (weight: Matrix, { a, b }: { a: Matrix; b: Matrix }, turned = false): Float64Array =>
  merged(weight, a, b, SCALE, turned)

export interface Result {
  /** By name. */
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>
  readonly config: Record<string, unknown>
  readonly files: (name: string) => string | undefined
  readonly diagnostics: readonly Diagnostic[]
}

export interface Folder {
  readonly tensors: Readonly<Record<string, RawTensor>>
  readonly config?: Json
  readonly files?: Readonly<Record<string, string>>
}

export function writeFolders(
  folder: string,
  models: Readonly<Record<string, Folder>>,
  adapters: Readonly<Record<string, Folder>>,
) {
  for (const [name, { tensors, config, files = {} }] of Object.entries(models)) {
    mkdirSync(path.join(folder, name), { recursive: true })
    writeModel(path.join(folder, name, 'model.safetensors'), tensors)
    if (config) writeFileSync(path.join(folder, name, 'config.json'), JSON.stringify(config, null, 2))
    for (const [file, text] of Object.entries(files)) writeFileSync(path.join(folder, name, file), text)
  }
  for (const [name, { tensors, config, files = {} }] of Object.entries(adapters)) {
    writeAdapter(path.join(folder, name), tensors, { r: 2, lora_alpha: 2 * SCALE, ...config })
    for (const [file, text] of Object.entries(files)) writeFileSync(path.join(folder, name, file), text)
  }
}

/** Runs a recipe over folders; codes of errors where it is refused. */
export const made = (
  models: Readonly<Record<string, Folder>>,
  adapters: Readonly<Record<string, Folder>>,
  recipe: string,
): Promise<Result | { readonly refused: readonly string[] }> =>
  inFolder(async (folder) => {
    writeFolders(folder, models, adapters)
    const file = path.join(folder, 'r.yml')
    writeFileSync(file, `terge: 1\n${recipe}\noutput: out\n`)
    try {
      const prepared = await plan(file)
      await run(prepared, { threads: 1, sync: false })
      return { ...(await resultOf(path.join(folder, 'out'))), diagnostics: prepared.diagnostics }
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      const errors = error.diagnostics.filter(({ severity }) => severity === 'error')
      return { refused: errors.map(({ code, message }) => `${code}: ${message}`) }
    }
  })

async function resultOf(folder: string): Promise<Omit<Result, 'diagnostics'>> {
  const { stored: tensors, files } = await inspect(folder)
  const content = readFileSync(files[0]!.path)
  const config = JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8'))
  const texts = new Map<string, string>()
  for (const name of ['tokenizer.json', 'adapter_config.json'])
    try {
      texts.set(name, readFileSync(path.join(folder, name), 'utf8'))
    } catch {}
  return {
    tensors: new Map(
      [...tensors].map(([name, { shape, offset, bytes }]) => [
        name,
        { shape, values: new Float32Array(Uint8Array.from(content.subarray(offset, offset + bytes)).buffer) },
      ]),
    ),
    config,
    files: (name) => texts.get(name),
  }
}

/** One adapter on one base, and nothing else. */
export const applied = (base: Folder, adapter: Folder) =>
  made({ base }, { ad: adapter }, 'models: {m: {path: base, lora: ad}}\nmerge: {method: passthrough}')

export function isResult(result: Awaited<ReturnType<typeof made>>): asserts result is Result {
  if ('refused' in result) throw new Error(`refused: ${result.refused.join('; ')}`)
}

/** Whether float32 numbers are those, as far as float32 goes. */
export function close(got: ArrayLike<number> | undefined, wanted: ArrayLike<number>, error = 1e-6): boolean {
  if (got?.length !== wanted.length) return false
  const most = Array.from(wanted).reduce((largest, x) => Math.max(largest, Math.abs(x)), 1e-30)
  return Array.from(wanted).every((x, at) => Math.abs(x - got[at]!) <= error * most)
}
