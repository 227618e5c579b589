// What the language has and this version does not execute: found by asking the program, not by a list of ours.
import { COMMANDS } from '../../dist/src/commands/map.js'
import { load } from '../../dist/src/lineage/session.js'
import { plannedMethods } from '../../dist/src/recipe/unsupported.js'
import { ticks } from './markdown.mjs'

const recipe = (rest, models = '{a: a.safetensors, b: b.safetensors}') =>
  `terge: 1\nmodels: ${models}\n${rest}\noutput: {path: out}\n`
const merge = 'merge: {method: linear}'
const step = (text) => recipe(`steps: {x: ${text}}`)
const model = (text) => recipe(merge, `{a: a.safetensors, b: ${text}}`)

/** What is asked for, in words, and the smallest recipe with it. */
const PROBES = {
  rebasin: ['aligning models (`rebasin`)', recipe(`rebasin: [{model: b, onto: a}]\n${merge}`)],
  repair: ['`repair`', recipe(`${merge}\nrepair: {batch_norm: correlation}`)],
  interpolate: ['`interpolate`', step('{interpolate: {from: a, to: b, points: 3}}')],
  stack: ['`stack`', step('{stack: [{model: a, layers: [0, 1]}, {model: b, layers: [0, 1]}]}')],
  extract: ['`extract`', step('{extract: {lora: {from: b, base: a, rank: 4}}}')],
  hub: ['models from the hub (`hf:…`, `hub`, `revision`)', model('hf:org/name@main')],
  subfolder: ['`subfolder`', model('{path: b, subfolder: c}')],
  lora: ['`lora`, `lora_scale`', model('{path: b, lora: c}')],
  prefix: ['`strip_prefix`', model('{path: b, strip_prefix: c.}')],
  rename: ['`rename`', model('{path: b, rename: [{from: c, to: d}]}')],
  statistics: ['`statistics`', model('{path: b, statistics: c.safetensors}')],
  sha256: ['`sha256` of a model', model(`{path: b, sha256: ${'0a'.repeat(32)}}`)],
  lines: [
    '`lines` of task-vector methods',
    recipe('merge: {method: task_arithmetic, parameters: {lines: {alpha: 1, beta: 0}}}'),
  ],
  crop: ['`on_mismatch: crop`', recipe('merge: {method: linear, on_mismatch: crop}')],
  tokenizer: ['a `tokenizer` other than `base`', recipe(`${merge}\ntokenizer: union`)],
  template: ['`chat_template`', recipe(`${merge}\nchat_template: chatml`)],
  evaluate: ['`evaluate`', recipe(`${merge}\nevaluate: {command: [node, evaluate.mjs, "{model}"]}`)],
  mergekit: ['mergekit configurations', 'merge_method: linear\nmodels: [{model: a}, {model: b}]\n'],
}

const missing = (text) => load('probe.yml', { text }).diagnostics.some(({ code }) => code === 'not-in-this-version')

/** One text or the other, by whether this version lacks what the probe asks for. */
export const whileNot = (probe, lacking, there) => (missing(PROBES[probe][1]) ? lacking : there)

export function notYet() {
  const keys = Object.values(PROBES).filter(([, text]) => missing(text))
  const methods = plannedMethods()
  const commands = ['lock', 'import'].filter((name) => !(name in COMMANDS))
  const lines = [
    ...keys.map(([words]) => `- ${words}`),
    ...(methods.length > 0 ? [`- the methods ${methods.map(ticks).join(', ')}`] : []),
    ...(commands.length > 0 ? [`- the commands ${commands.map((name) => ticks(`terge ${name}`)).join(', ')}`] : []),
  ]
  if (lines.length === 0) return 'Everything in this document works in this version.'
  return [
    'The language has these, the schema knows them, and **this version does not execute them**: a recipe that asks for one is told so, with its place, before anything is read.',
    '',
    ...lines,
  ].join('\n')
}
