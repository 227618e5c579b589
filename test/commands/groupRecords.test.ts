/** What the lineage records of each group of an alignment, compared with the weights that the run read and wrote. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { GroupRecord } from '../../src/steps/rebasin/types.js'
import { loadModel, type Model, type Tensor } from '../rebasin/load.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const schema = JSON.parse(readFileSync('schemas/lineage.v2.schema.json', 'utf8'))
const matches = new Ajv({ strict: true, allErrors: true }).compile(schema)

/** Aligns b to a, writes the aligned model, and returns its lineage. */
async function align(folder: string, a: string, b: string, output: string, ...flags: string[]): Promise<string> {
  const spec = output === 'out' ? 'auto' : 'chain'
  const recipe = `terge: 1\nmodels: {a: ${a}, b: ${b}}\nsteps: {al: {rebasin: {model: b, onto: a, spec: ${spec}}}}\noutput: {from: al, path: ${output}}\n`
  writeFileSync(path.join(folder, 'r.yml'), recipe)
  const ran = await terge(['run', 'r.yml', ...flags], folder)
  assert.is(ran.code, 0, ran.err)
  const lineage = output.endsWith('.safetensors')
    ? output.replace(/\.safetensors$/, '.lineage.json')
    : `${output}/lineage.json`
  return readFileSync(path.join(folder, lineage), 'utf8')
}

const groupsOf = (text: string): Record<string, GroupRecord> => JSON.parse(text).steps.al.groups

/** Row i of the result is row order[i] of what it was made from. */
function takesRows(made: Tensor, from: Tensor, order: readonly number[]): void {
  const width = from.values.length / from.shape[0]!
  const rows = order.map((row) => [...from.values.subarray(row * width, (row + 1) * width)])
  assert.equal([...made.values], rows.flat())
}

const dot = (a: Tensor, b: Tensor): number => a.values.reduce((sum, x, i) => sum + x * b.values[i]!, 0)

/** The cosine of two models over some tensors. */
function cosine(a: Model, b: Model, names: readonly string[]): number {
  const sum = (x: Model, y: Model) => names.reduce((total, name) => total + dot(x.get(name)!, y.get(name)!), 0)
  return sum(a, b) / Math.sqrt(sum(a, a) * sum(b, b))
}

test('each group has its similarities and its order, whatever the number of threads and the memory', () =>
  inFolder(async (folder) => {
    const [a, b] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`)) as [string, string]
    const text = await align(folder, a, b, 'out.safetensors')
    assert.is(await align(folder, a, b, 'out.safetensors', '--force', '--threads', '2', '--memory', '150MB'), text)
    assert.ok(matches(JSON.parse(text)), JSON.stringify(matches.errors))
    const groups = groupsOf(text)
    const [from, onto, made] = [b, a, path.join(folder, 'out.safetensors')].map((file) => loadModel(file)) as [
      Model,
      Model,
      Model,
    ]
    const tensors = {
      fc1: ['fc1.weight', 'fc1.bias', 'fc2.weight'],
      fc2: ['fc2.weight', 'fc2.bias', 'fc3.weight'],
      fc3: ['fc3.weight', 'fc3.bias', 'fc4.weight'],
    }
    assert.equal(Object.keys(groups), Object.keys(tensors))
    for (const [name, names] of Object.entries(tensors)) {
      const { similarity, order, moved } = groups[name]!
      assert.ok(Math.abs(similarity!.before - cosine(onto, from, names)) < 1e-9)
      assert.ok(Math.abs(similarity!.after - cosine(onto, made, names)) < 1e-9)
      assert.ok(similarity!.after > similarity!.before + 0.2)
      takesRows(made.get(`${name}.bias`)!, from.get(`${name}.bias`)!, order!)
      assert.is(order!.filter((unit, i) => unit !== i).length, moved)
    }
  }))

test('a group inside another one counts its units over all outer units, and large groups have a digest alone', () =>
  inFolder(async (folder) => {
    const [a, b] = ['base', 'indep'].map((name) => fixture(`lm/${name}`)) as [string, string]
    const groups = groupsOf(await align(folder, a, b, 'out'))
    const from = loadModel(path.join(b, 'model.safetensors'))
    const made = loadModel(path.join(folder, 'out/model.safetensors'))
    const name = 'layers.0.v'
    assert.is(groups[name]!.inside, 'layers.0.kv')
    const { order, size } = groups[name]!
    assert.is(order!.length, size * groups['layers.0.kv']!.size)
    // The values of a key/value head are in the rows of v_proj, head by head; the residual stream keeps its columns.
    const stream = groups.hidden ?? Object.values(groups).find(({ size }) => size === 96)
    const columns = stream?.order ?? Array.from({ length: 96 }, (_, i) => i)
    const v = from.get('model.layers.0.self_attn.v_proj.weight')!
    const width = v.shape[1]!
    const values = v.values.map((_, at) => v.values[Math.floor(at / width) * width + columns[at % width]!]!)
    takesRows(made.get('model.layers.0.self_attn.v_proj.weight')!, { ...v, values }, order!)
    for (const [group, { similarity }] of Object.entries(groups))
      assert.ok(similarity!.after >= similarity!.before, group)
  }))

test('a group of more than 512 units has no order in the lineage', () =>
  inFolder(async (folder) => {
    for (const [name, seed] of [
      ['a', 1],
      ['b', 2],
    ] as const)
      writeModel(path.join(folder, `${name}.safetensors`), {
        '0.weight': f32([513, 2], numbers(1026, seed)),
        '2.weight': f32([512, 513], numbers(512 * 513, seed + 10)),
        '4.weight': f32([2, 512], numbers(1024, seed + 20)),
      })
    const groups = Object.values(groupsOf(await align(folder, 'a.safetensors', 'b.safetensors', 'out.safetensors')))
    assert.equal(
      groups.map(({ size, order }) => [size, order?.length]),
      [
        [513, undefined],
        [512, 512],
      ],
    )
    for (const { permutation } of groups) assert.match(permutation, /^sha256:/)
  }))

test('a group of zeros has no similarity', () =>
  inFolder(async (folder) => {
    for (const [name, seed] of [
      ['a', 1],
      ['b', 2],
    ] as const)
      writeModel(path.join(folder, `${name}.safetensors`), {
        '0.weight': f32([4, 3], numbers(12, seed)),
        '2.weight': f32([3, 4], numbers(12, 0).fill(0)),
        '4.weight': f32([2, 3], numbers(6, 0).fill(0)),
      })
    const groups = groupsOf(await align(folder, 'a.safetensors', 'b.safetensors', 'out.safetensors'))
    assert.equal(
      Object.values(groups).map(({ similarity }) => similarity !== undefined),
      [true, false],
    )
  }))

test.run()
