// The memory that adapters take: each kind applied to a base of zeros (a sparse file), and adapters merged with each other. Samples
// the anonymous memory of the process (RssAnon in /proc), which does not count mapped files. Linux only.
// `node bench/adapters/memory.mjs [--gigabytes 12] [--kinds LoRA,DoRA,LoHa,LoKr,kohya,PiSSA,HRA,merged,ties] [--memory 1GB] [--work DIR]`
import { spawn } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { inWorkFolder } from '../work.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../../bin/run.js')
const { values: flags } = parseArgs({
  options: {
    gigabytes: { type: 'string', default: '12' },
    kinds: { type: 'string', default: 'LoRA,DoRA,LoHa,LoKr,kohya,PiSSA,HRA,merged,ties' },
    memory: { type: 'string', default: '1GB' },
    threads: { type: 'string', default: '2' },
    work: { type: 'string', default: path.join(here, '../.work') },
    keep: { type: 'boolean', default: false },
  },
})

/** The sizes of a language model with 70 billion parameters. */
const SHAPES = { 'self_attn.q_proj': [8192, 8192], 'mlp.down_proj': [8192, 28672] }
const LAYER_BYTES = Object.values(SHAPES).reduce((sum, [rows, columns]) => sum + 2 * rows * columns, 0)
const RANK = 16
const P = 'base_model.model.'

async function bench(work) {
  const layers = Math.ceil((Number(flags.gigabytes) * 1e9) / LAYER_BYTES)
  const base = path.join(work, 'base')
  writeBase(base, layers)
  for (const kind of flags.kinds.split(',')) {
    const adapter = (seed) => writeAdapter(path.join(work, `adapter-${seed}`), kind, layers, seed)
    const recipe = path.join(work, 'r.yml')
    const merges = { merged: '{method: linear, rank: full}', ties: '{method: ties, rank: full}' }
    const models = merges[kind] ? `{a: ${adapter(1)}, b: ${adapter(2)}}` : `{m: {path: ${base}, lora: ${adapter(1)}}}`
    writeFileSync(
      recipe,
      `terge: 1\nmodels: ${models}\nmerge: ${merges[kind] ?? '{method: passthrough}'}\noutput: ${path.join(work, 'out')}\n`,
    )
    const { code, error, most, average, files, seconds } = await sampled(recipe)
    const mb = (kilobytes) => `${Math.round(kilobytes / 1000)} MB`
    console.log(
      code === 0
        ? `${kind.padEnd(7)} ${layers} layers: anonymous at most ${mb(most)}, ${mb(average)} on average; mapped files ${mb(files)}; ${seconds.toFixed(0)} s`
        : `${kind.padEnd(7)} ${error.trim().split('\n').slice(0, 2).join(' ')}`,
    )
    rmSync(path.join(work, 'out'), { recursive: true, force: true })
  }
}

/** Runs a recipe. Memory in kilobytes. */
async function sampled(recipe) {
  const started = Date.now()
  const args = ['--no-sync', '--force', '--memory', flags.memory, '--threads', flags.threads]
  const child = spawn(process.execPath, [BIN, 'run', recipe, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  const samples = []
  let [error, files] = ['', 0]
  child.stderr.on('data', (text) => {
    error += text
  })
  const timer = setInterval(() => {
    const status = statusOf(child.pid)
    const size = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
    if (status === '') return
    samples.push(size('RssAnon'))
    files = Math.max(files, size('RssFile') + size('RssShmem'))
  }, 50)
  const code = await new Promise((resolve) => child.on('close', resolve))
  clearInterval(timer)
  const average = samples.reduce((sum, one) => sum + one, 0) / Math.max(1, samples.length)
  return { code, error, most: Math.max(0, ...samples), average, files, seconds: (Date.now() - started) / 1000 }
}

function statusOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}

/** The header of a file, and the size of its data. */
function headerOf(tensors) {
  let at = 0
  const entries = Object.entries(tensors).map(([name, [dtype, shape]]) => {
    const bytes = shape.reduce((product, size) => product * size, dtype === 'BF16' ? 2 : 4)
    const entry = [name, { dtype, shape, data_offsets: [at, at + bytes] }]
    at += bytes
    return entry
  })
  const text = JSON.stringify(Object.fromEntries(entries))
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return { header: Buffer.concat([length, json]), bytes: at }
}

const each = (layers, of) =>
  Object.fromEntries(
    Array.from({ length: layers }, (_, layer) =>
      Object.entries(SHAPES).flatMap(([name, shape]) => of(`model.layers.${layer}.${name}`, shape)),
    ).flat(),
  )

function writeBase(folder, layers) {
  mkdirSync(folder, { recursive: true })
  const { header, bytes } = headerOf(each(layers, (name, shape) => [[`${name}.weight`, ['BF16', shape]]]))
  const file = openSync(path.join(folder, 'model.safetensors'), 'w')
  writeSync(file, header)
  ftruncateSync(file, header.length + bytes)
  closeSync(file)
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ model_type: 'llama' }))
}

/** By kind: the tensors of one module, and the configuration. Without one, a file of LyCORIS. */
const LORA = (name, [rows, columns]) => [
  [`${P}${name}.lora_A.weight`, ['F32', [RANK, columns]]],
  [`${P}${name}.lora_B.weight`, ['F32', [rows, RANK]]],
]
const KINDS = {
  LoRA: [LORA, { peft_type: 'LORA', r: RANK, lora_alpha: RANK }],
  merged: [LORA, { peft_type: 'LORA', r: RANK, lora_alpha: RANK }],
  ties: [LORA, { peft_type: 'LORA', r: RANK, lora_alpha: RANK }],
  PiSSA: [LORA, { peft_type: 'LORA', r: RANK, lora_alpha: RANK, init_lora_weights: 'pissa' }],
  DoRA: [
    (name, shape) => [...LORA(name, shape), [`${P}${name}.lora_magnitude_vector`, ['F32', [shape[0]]]]],
    { peft_type: 'LORA', r: RANK, lora_alpha: RANK, use_dora: true },
  ],
  LoHa: [
    (name, [rows, columns]) =>
      ['w1', 'w2'].flatMap((side) => [
        [`${P}${name}.hada_${side}_a`, ['F32', [rows, RANK]]],
        [`${P}${name}.hada_${side}_b`, ['F32', [RANK, columns]]],
      ]),
    { peft_type: 'LOHA', r: RANK, alpha: RANK },
  ],
  LoKr: [
    (name, [rows, columns]) => [
      [`${P}${name}.lokr_w1`, ['F32', [8, 8]]],
      [`${P}${name}.lokr_w2_a`, ['F32', [rows / 8, RANK]]],
      [`${P}${name}.lokr_w2_b`, ['F32', [RANK, columns / 8]]],
    ],
    { peft_type: 'LOKR', r: RANK, alpha: RANK },
  ],
  HRA: [
    (name, [, columns]) => [[`${P}${name}.hra_u`, ['F32', [columns, 8]]]],
    { peft_type: 'HRA', r: 8, apply_GS: false },
  ],
  kohya: [
    (name, [rows, columns]) => {
      const flat = `lycoris_${name.replaceAll('.', '_')}`
      return [
        [`${flat}.alpha`, ['F32', []]],
        [`${flat}.lora_down.weight`, ['F32', [RANK, columns]]],
        [`${flat}.lora_up.weight`, ['F32', [rows, RANK]]],
      ]
    },
    undefined,
  ],
}

/** Returns the path of an adapter with numbers from a seed. */
function writeAdapter(folder, kind, layers, seed) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const [tensors, config] = KINDS[kind]
  const { header, bytes } = headerOf(each(layers, tensors))
  const file = path.join(folder, 'adapter_model.safetensors')
  const values = new Float32Array(bytes / 4)
  let state = seed
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    values[i] = (state + 1) / 2 ** 33
  }
  writeFileSync(file, Buffer.concat([header, Buffer.from(values.buffer)]))
  if (!config) return file
  writeFileSync(
    path.join(folder, 'adapter_config.json'),
    JSON.stringify({ ...config, target_modules: Object.keys(SHAPES) }),
  )
  return folder
}

await inWorkFolder(path.resolve(flags.work), flags.keep, bench)
