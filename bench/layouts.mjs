// What it costs to read a model in another layout: a merge with a model in the layout of the base beside the same merge with that model
// in the other layout, in turns.
// `node bench/layouts.mjs [CASE]... [--dtype BF16] [--method linear] [--rounds 7] [--threads 1] [--work DIR] [--keep]`
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { warm, writeTensors } from './inputs.mjs'
import { compile, measure, median, table } from './measure.mjs'
import { inWorkFolder } from './work.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../bin/run.js')

const times = (count, make) => Array.from({ length: count }, (_, n) => make(n))
const DTYPES = { BF16: 'bfloat16', F16: 'float16', F32: 'float32' }

const HIDDEN = 2048
const VOCABULARY = 128_256

/** The matrices of a layer of GPT-2, [inputs, outputs]. */
const GPT2 = times(4, (n) => [
  [`h.${n}.attn.c_attn.weight`, [HIDDEN, 3 * HIDDEN]],
  [`h.${n}.attn.c_proj.weight`, [HIDDEN, HIDDEN]],
  [`h.${n}.mlp.c_fc.weight`, [HIDDEN, 4 * HIDDEN]],
  [`h.${n}.mlp.c_proj.weight`, [4 * HIDDEN, HIDDEN]],
]).flat()

/** Experts of Llama 4, fused and one by one. */
const [LAYERS, EXPERTS, INNER] = [2, 8, 2048]
const FUSED = times(LAYERS, (n) => [
  [`h.${n}.experts.gate_up_proj`, [EXPERTS, HIDDEN, 2 * INNER]],
  [`h.${n}.experts.down_proj`, [EXPERTS, INNER, HIDDEN]],
]).flat()
const PARTS = times(LAYERS, (n) =>
  times(EXPERTS, (e) => [
    [`h.${n}.experts.${e}.gate_proj.weight`, [INNER, HIDDEN]],
    [`h.${n}.experts.${e}.up_proj.weight`, [INNER, HIDDEN]],
    [`h.${n}.experts.${e}.down_proj.weight`, [HIDDEN, INNER]],
  ]).flat(),
).flat()
const part = (name) => ({ stack: { transpose: `h.{n}.experts.{e}.${name}.weight` } })
const EXPERT_RULES = [
  { tensor: 'h.{n}.experts.gate_up_proj', concat: [part('gate_proj'), part('up_proj')], axis: 2 },
  { tensor: 'h.{n}.experts.down_proj', ...part('down_proj') },
]

const HEAD = [['h.0.head.weight', [HIDDEN, VOCABULARY]]]

/** The same tensors with their last two axes swapped, under other names: a rule needs two. */
const turned = (list) =>
  list.map(([name, shape]) => [name.replace('h.', 'turned.'), [...shape.slice(0, -2), ...shape.slice(-2).reverse()]])
const TURNED_RULES = [{ tensor: 'h.{n}.{rest}', transpose: 'turned.{n}.{rest}' }]

/** By name: the tensors of the base and of the other model, and the rules that the other one needs. */
const CASES = {
  'gpt2-linear': { base: GPT2, other: turned(GPT2), rules: TURNED_RULES },
  'linear-gpt2': { base: turned(GPT2), other: GPT2, rules: TURNED_RULES },
  'fused-rows': { base: FUSED, other: turned(FUSED), rules: TURNED_RULES },
  'rows-fused': { base: turned(FUSED), other: FUSED, rules: TURNED_RULES },
  'fused-parts': { base: FUSED, other: PARTS, rules: EXPERT_RULES },
  'parts-fused': { base: PARTS, other: FUSED, rules: EXPERT_RULES },
  'long-rows': { base: HEAD, other: turned(HEAD), rules: TURNED_RULES },
  'short-rows': { base: turned(HEAD), other: HEAD, rules: TURNED_RULES },
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: 'string', default: 'BF16' },
    method: { type: 'string', default: 'linear' },
    rounds: { type: 'string', default: '7' },
    threads: { type: 'string', default: '1' },
    work: { type: 'string', default: path.join(here, '.work') },
    keep: { type: 'boolean', default: false },
  },
})

const { dtype, method, threads } = flags
const cases = positionals.length > 0 ? positionals : Object.keys(CASES)
const unknown = cases.find((name) => !(name in CASES))
if (unknown) throw new Error(`there is no case ${unknown}: ${Object.keys(CASES).join(', ')}`)

await inWorkFolder(path.resolve(flags.work), flags.keep, bench)

async function bench(work) {
  const timed = compile('timed', work)
  const out = path.join(work, 'out')
  console.log(`${method} of 2 models in ${dtype}, ${threads} threads, not synced`)
  const rows = []
  for (const name of cases) {
    const load = loadavg()[0].toFixed(1)
    const folder = path.join(work, `${name}-${dtype}`)
    const [one, two] = prepare(folder, CASES[name], out)
    const ratios = []
    // The first pair is not counted. The two of a pair change places from one pair to the next.
    for (let round = 0; round <= Number(flags.rounds); round++) {
      const pair = round % 2 === 0 ? [one, two] : [two, one]
      const results = new Map()
      for (const command of pair) {
        rmSync(out, { recursive: true, force: true })
        results.set(command, await measure(timed, command, { cwd: work }))
      }
      const [a, b] = [results.get(two), results.get(one)]
      if (round > 0) ratios.push({ ...{ user: a.user / b.user, cpu: a.cpu / b.cpu, wall: a.wall / b.wall }, a, b })
    }
    const of = (key) => ratios.map((ratio) => ratio[key])
    const all = of('cpu')
    const seconds = (list) => median(list.map(({ cpu }) => cpu)).toFixed(2)
    // Of the least times: on a busy machine, other programs disturb these least.
    const least = (list) => Math.min(...list.map(({ cpu }) => cpu))
    const row = [
      ...[
        name,
        seconds(of('b')),
        seconds(of('a')),
        (least(of('a')) / least(of('b'))).toFixed(2),
        median(all).toFixed(2),
      ],
      ...[`${Math.min(...all).toFixed(2)}–${Math.max(...all).toFixed(2)}`, median(of('user')).toFixed(2)],
      ...[median(of('wall')).toFixed(2), `${load}–${loadavg()[0].toFixed(1)}`],
    ]
    rows.push(row)
    console.log(row.join('  '))
    if (!flags.keep) rmSync(folder, { recursive: true, force: true })
  }
  const head = ['case', 'one layout CPU s', 'two CPU s', 'least × CPU', '× CPU', 'from–to', '× user', '× wall', 'load']
  console.log(table([head, ...rows]))
}

/** Models and recipes; the command for one layout and for two. */
function prepare(folder, { base, other, rules }, out) {
  mkdirSync(folder, { recursive: true })
  const write = (name, list, seed) => writeTensors(path.join(folder, `${name}.safetensors`), list, dtype, seed)
  const [a, b, c] = [write('base', base, 1), write('same', base, 2), write('other', other, 2)]
  warm([a, b, c])
  return [b, { path: c, layout: rules }].map((second, n) => {
    const recipe = path.join(folder, `recipe-${n + 1}.yml`)
    const merge = method === 'linear' ? { method } : { method, models: ['b'] }
    const output = { path: path.join(out, 'merged.safetensors'), dtype: DTYPES[dtype] }
    writeFileSync(recipe, JSON.stringify({ terge: 1, models: { a, b: second }, base: 'a', merge, output }))
    return [process.execPath, BIN, 'run', recipe, '--threads', threads, '--no-sync']
  })
}
