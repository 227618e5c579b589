/** Permutations as files: exported, applied, inverted, composed, checked, and refused. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sha256 } from '../../src/core/digest.js'
import { decodePermutations, encodePermutations, type StoredPermutations } from '../../src/rebasin/stored.js'
import { loadModel } from '../rebasin/load.js'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const schema = JSON.parse(readFileSync('schemas/lineage.v2.schema.json', 'utf8'))
const validate = new Ajv({ strict: true, allErrors: true }).compile(schema)
const inSchema = (lineage: object): void => assert.ok(validate(lineage), JSON.stringify(validate.errors))

/** A network with a tensor that keeps its order, and 9 and 7 units. In the order in which terge writes tensors. */
const network = (seed: number, prefix = ''): Record<string, RawTensor> => ({
  [`${prefix}0.bias`]: f32([9], numbers(9, seed + 1)),
  [`${prefix}0.weight`]: f32([9, 4], numbers(36, seed)),
  [`${prefix}2.weight`]: f32([7, 9], numbers(63, seed + 2)),
  [`${prefix}4.bias`]: f32([3], numbers(3, seed + 4)),
  [`${prefix}4.weight`]: f32([3, 7], numbers(21, seed + 3)),
})

type At = (name: string) => string

const inPlace = (work: (at: At, folder: string) => Promise<void>) => () =>
  inFolder(async (folder) => {
    const at: At = (name) => path.join(folder, name)
    for (const [name, seed] of [
      ['a', 1],
      ['b', 11],
      ['c', 21],
    ] as const)
      writeModel(at(`${name}.safetensors`), network(seed))
    await work(at, folder)
  })

const recipe = (steps: string, output: string): string =>
  `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors, c: c.safetensors, x: x.safetensors}\nsteps: {${steps}}\noutput: ${output}\n`

async function run(at: At, steps: string, output: string, ...flags: string[]) {
  writeFileSync(at('r.yml'), recipe(steps, output))
  if (!existsSync(at('x.safetensors'))) copyFileSync(at('b.safetensors'), at('x.safetensors'))
  return terge(['run', 'r.yml', ...flags], path.dirname(at('r.yml')))
}

/** Runs, and returns the bytes of the tensors of the output. */
async function made(at: At, steps: string, output: string, file: string): Promise<Buffer> {
  const ran = await run(at, steps, output, '--force')
  assert.is(ran.code, 0, ran.err)
  return dataOf(at(file))
}

function dataOf(file: string): Buffer {
  const bytes = readFileSync(file)
  return bytes.subarray(8 + Number(bytes.readBigUInt64LE()))
}

const EXPORT = (model: string, onto: string) =>
  [
    `al: {rebasin: {model: ${model}, onto: ${onto}, spec: chain}}`,
    `{path: ${model}_${onto}.safetensors, permutations: true}`,
    `${model}_${onto}.safetensors`,
  ] as const
const apply = (model: string, permutations: string, more = '') =>
  [`p: {rebasin: {model: ${model}, permutations: ${permutations}${more}}}`, 'p.safetensors', 'p.safetensors'] as const

test(
  'exported: one tensor per group, recorded with its SHA-256, checked, and made again with the same bytes',
  inPlace(async (at, folder) => {
    const ran = await run(at, ...(EXPORT('b', 'a').slice(0, 2) as [string, string]))
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.out, /permutations in b_a\.permutations\.safetensors\n$/)
    const file = at('b_a.permutations.safetensors')
    const bytes = readFileSync(file)
    const lineage = JSON.parse(readFileSync(at('b_a.lineage.json'), 'utf8'))
    inSchema(lineage)
    assert.equal(lineage.output.permutations, { name: path.basename(file), size: bytes.length, sha256: sha256(bytes) })
    const [[step, stored]] = [...decodePermutations(bytes, 'x')] as [[string, StoredPermutations]]
    assert.equal([step, stored.model, stored.onto, stored.untouched], ['al', 'b', 'a', ['4.bias']])
    for (const [group, { order }] of Object.entries(lineage.steps.al.groups as Record<string, { order: number[] }>)) {
      assert.equal([...stored.permutations[group]!], order)
      const length = Number(bytes.readBigUInt64LE())
      const header = JSON.parse(bytes.toString('utf8', 8, 8 + length))
      const { dtype, data_offsets } = header[`al/${group}`]
      assert.is(dtype, 'I32')
      assert.is(bytes.readInt32LE(8 + length + data_offsets[0]), order[0])
    }
    const verify = (...flags: string[]) => terge(['verify', 'b_a.lineage.json', ...flags], folder)
    const sound = await verify('--reproduce')
    assert.is(sound.code, 0, sound.err)
    bytes[bytes.length - 1]! ^= 1
    writeFileSync(file, bytes)
    assert.match((await verify()).err, /output-digest: b_a\.permutations\.safetensors differs from the lineage/)
    rmSync(file)
    assert.match((await verify()).err, /output-missing: b_a\.permutations\.safetensors does not exist/)
    // A finished output without its permutations is not finished.
    assert.match(
      (await run(at, ...(EXPORT('b', 'a').slice(0, 2) as [string, string]), '--resume')).err,
      'output-exists',
    )
    bytes[bytes.length - 1]! ^= 1
    writeFileSync(file, bytes)
    const kept = await run(at, ...(EXPORT('b', 'a').slice(0, 2) as [string, string]), '--resume')
    assert.is(kept.code, 0, kept.err)
  }),
)

test(
  'applied: the same bytes as the alignment, for other weights too; apply and inverse give the model back',
  inPlace(async (at) => {
    const aligned = await made(at, ...EXPORT('b', 'a'))
    const b = dataOf(at('b.safetensors'))
    assert.not(aligned.equals(b))
    assert.ok((await made(at, ...apply('b', 'b_a.permutations.safetensors'))).equals(aligned))
    const lineage = JSON.parse(readFileSync(at('p.lineage.json'), 'utf8'))
    inSchema(lineage)
    assert.equal(lineage.steps.p.permutations.files, [
      {
        file: 'b_a.permutations.safetensors',
        inverse: false,
        sha256: sha256(readFileSync(at('b_a.permutations.safetensors'))),
      },
    ])
    assert.equal([lineage.steps.p.method, lineage.steps.p.similarity], ['given', undefined])
    // Their inverse, applied to the result.
    copyFileSync(at('p.safetensors'), at('x.safetensors'))
    assert.ok((await made(at, ...apply('x', '{inverse: b_a.permutations.safetensors}'))).equals(b))
    const both = '[b_a.permutations.safetensors, {inverse: b_a.permutations.safetensors}]'
    assert.ok((await made(at, ...apply('c', both))).equals(dataOf(at('c.safetensors'))))
  }),
)

test(
  'composed: p then q is one after the other, as is the file of the composition',
  inPlace(async (at) => {
    await made(at, ...EXPORT('b', 'a'))
    await made(at, ...EXPORT('a', 'c'))
    const first = apply('b', 'b_a.permutations.safetensors')[0]
    const steps = `${first}, q: {rebasin: {model: p, permutations: a_c.permutations.safetensors}}`
    const one = await made(at, steps, '{path: q.safetensors, permutations: true}', 'q.safetensors')
    const composed = '[b_a.permutations.safetensors, a_c.permutations.safetensors]'
    const [made2, , file] = apply('b', composed)
    assert.ok((await made(at, made2, '{path: p.safetensors, permutations: true}', file)).equals(one))
    const [[, stored]] = [...decodePermutations(readFileSync(at('p.permutations.safetensors')), 'x')] as [
      [string, StoredPermutations],
    ]
    assert.equal([stored.model, stored.onto], ['b', 'c'])
    // Several steps in one file: one is chosen.
    const several = await run(
      at,
      ...(apply('b', 'q.permutations.safetensors').slice(0, 2) as [string, string]),
      '--force',
    )
    assert.match(
      several.err,
      /bad-permutations: q\.permutations\.safetensors has the permutations of several steps: 'p', 'q'/,
    )
    assert.ok(
      (await made(at, ...apply('b', '{file: q.permutations.safetensors, step: p}'))).equals(
        await made(at, ...apply('b', 'b_a.permutations.safetensors')),
      ),
    )
    const wrong = await run(
      at,
      ...(apply('b', '{inverse: q.permutations.safetensors, step: r}').slice(0, 2) as [string, string]),
      '--force',
    )
    assert.match(wrong.err, /has no permutations of a step 'r'/)
  }),
)

test(
  'groups inside others, a folder with its file next to it, and a joint alignment',
  inPlace(async (at, folder) => {
    const [a, b] = ['base', 'indep'].map((name) => fixture(`lm/${name}`)) as [string, string]
    writeFileSync(
      at('lm.yml'),
      `terge: 1\nmodels: {a: ${a}, b: ${b}}\nsteps: {al: {rebasin: {model: b, onto: a}}}\noutput: {path: out, permutations: true}\n`,
    )
    assert.is((await terge(['run', 'lm.yml'], folder)).code, 0)
    assert.is((await terge(['verify', 'out', '--reproduce'], folder)).code, 0)
    const aligned = dataOf(at('out/model.safetensors'))
    const again = (permutations: string, model: string) =>
      `terge: 1\nmodels: {m: ${model}}\nsteps: {p: {rebasin: {model: m, permutations: ${permutations}}}}\noutput: back\n`
    writeFileSync(at('back.yml'), again('{inverse: out.permutations.safetensors}', 'out'))
    const back = await terge(['run', 'back.yml'], folder)
    assert.is(back.code, 0, back.err)
    assert.ok(dataOf(at('back/model.safetensors')).equals(dataOf(path.join(b, 'model.safetensors'))))
    assert.not(aligned.equals(dataOf(at('back/model.safetensors'))))
    writeFileSync(
      at('joint.yml'),
      'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors, c: c.safetensors}\nsteps: {j: {rebasin: {models: [a, b, c], method: merge-many, spec: chain}}}\noutput: {path: j.safetensors, from: j, permutations: true}\n',
    )
    assert.is((await terge(['run', 'joint.yml'], folder)).code, 0)
    assert.equal([...decodePermutations(readFileSync(at('j.permutations.safetensors')), 'x').keys()], ['j.b', 'j.c'])
  }),
)

test(
  'an optimizer’s state is permuted by templates of names; what the permutations do not know is refused',
  inPlace(async (at) => {
    await made(at, ...EXPORT('b', 'a'))
    const state = { ...network(11, 'exp_avg.'), ...network(11), step: f32([], [3]) }
    writeModel(at('x.safetensors'), state)
    const unknown = await run(at, ...(apply('x', 'b_a.permutations.safetensors').slice(0, 2) as [string, string]))
    assert.is(unknown.code, 2)
    assert.match(unknown.err, /error other-structure: the permutations do not know 5 tensors of x: exp_avg\.0\.bias/)
    await made(at, ...apply('x', 'b_a.permutations.safetensors', ', names: ["{tensor}", "exp_avg.{tensor}"]'))
    const [moved, aligned] = [loadModel(at('p.safetensors')), loadModel(at('b_a.safetensors'))]
    for (const [name, { values }] of aligned) {
      assert.equal([...moved.get(`exp_avg.${name}`)!.values], [...values])
      assert.equal([...moved.get(name)!.values], [...values])
    }
    const none = await run(
      at,
      ...(apply('b', 'b_a.permutations.safetensors', ', names: ["{tensor}", "ema.{tensor}"]').slice(0, 2) as [
        string,
        string,
      ]),
      '--force',
    )
    assert.match(none.err, /error other-structure: no tensor of b is named ema\.\{tensor\}/)
    // Of other sizes, and with a tensor missing.
    writeModel(at('x.safetensors'), { ...network(11), '2.weight': f32([7, 8], numbers(56, 1)) })
    const sizes = await run(
      at,
      ...(apply('x', 'b_a.permutations.safetensors').slice(0, 2) as [string, string]),
      '--force',
    )
    assert.match(sizes.err, /error spec-misfit: x: tensor 2\.weight, axis 1: .* is 9 places, but the axis has 8/)
    const { '2.weight': _, ...partial } = network(11)
    writeModel(at('x.safetensors'), partial)
    const fewer = await run(
      at,
      ...(apply('x', 'b_a.permutations.safetensors').slice(0, 2) as [string, string]),
      '--force',
    )
    assert.is(fewer.code, 0, fewer.err)
    assert.match(fewer.err, /warning partial-permutations: x lacks 1 tensor that the permutations order: 2\.weight/)
  }),
)

test(
  'a hostile file is an error, never a result',
  inPlace(async (at) => {
    await made(at, ...EXPORT('b', 'a'))
    const good = readFileSync(at('b_a.permutations.safetensors'))
    const [[, stored]] = [...decodePermutations(good, 'x')] as [[string, StoredPermutations]]
    const [group] = Object.keys(stored.permutations) as [string]
    const withOrder = (change: (order: Int32Array) => Int32Array) =>
      encodePermutations(
        new Map([
          [
            'al',
            {
              ...stored,
              permutations: { ...stored.permutations, [group]: change(stored.permutations[group]!.slice()) },
            },
          ],
        ]),
        'x',
      )
    const withMetadata = (change: (text: string) => string) => {
      const length = Number(good.readBigUInt64LE())
      const header = JSON.parse(good.toString('utf8', 8, 8 + length))
      header.__metadata__['terge.permutations'] = change(header.__metadata__['terge.permutations'])
      const text = Buffer.from(JSON.stringify(header))
      const size = Buffer.alloc(8)
      size.writeBigUInt64LE(BigInt(text.length))
      return Buffer.concat([size, text, good.subarray(8 + length)])
    }
    const cases: [Uint8Array, RegExp][] = [
      [withOrder((order) => order.fill(0)), /is not a permutation: place 1 takes unit 0/],
      [withOrder((order) => order.fill(-1, 0, 1)), /takes unit -1/],
      [withOrder((order) => order.fill(99, 0, 1)), /takes unit 99/],
      [withOrder((order) => order.slice(1)), /has a tensor I32 \[\d+\] instead of I32/],
      [
        withMetadata((text) => text.replace('"size":', '"sizes":').replace(/"digest":"sha256:./, '"digest":"sha256:0')),
        /bad-permutations/,
      ],
      [withMetadata(() => '{'), /not JSON/],
      [
        withMetadata((text) => text.replace(/"digest":"sha256:\w{4}/, '"digest":"sha256:0000')),
        /does not match its digest/,
      ],
      [withMetadata((text) => text.replace('"version":1', '"version":2')), /bad-permutations/],
      [readFileSync(at('b.safetensors')), /not a file of permutations/],
      [good.subarray(0, good.length - 4), /error /],
      [Buffer.from('x'), /error header-too-small/],
    ]
    for (const [bytes, expected] of cases) {
      writeFileSync(at('hostile.safetensors'), bytes)
      const ran = await run(at, ...(apply('b', 'hostile.safetensors').slice(0, 2) as [string, string]))
      assert.is(ran.code, 2, String(expected))
      assert.match(ran.err, expected)
      assert.not(existsSync(at('p.safetensors')))
    }
    for (const name of ['missing.safetensors', '.'])
      assert.match((await run(at, ...(apply('b', name).slice(0, 2) as [string, string]))).err, /error bad-permutations/)
    const other = { ...stored, spec: { ...stored.spec, tensors: { '0.weight': stored.spec.tensors['0.weight']! } } }
    writeFileSync(at('hostile.safetensors'), encodePermutations(new Map([['al', other]]), 'x'))
    const composed = await run(
      at,
      ...(apply('b', '[b_a.permutations.safetensors, hostile.safetensors]').slice(0, 2) as [string, string]),
    )
    assert.match(composed.err, /error other-structure: hostile\.safetensors permutes another structure than b_a/)
  }),
)

test(
  'contradictions, and outputs without permutations or in the way',
  inPlace(async (at) => {
    await made(at, ...EXPORT('b', 'a'))
    const err = async (steps: string, output: string) => (await run(at, steps, output)).err
    const [step] = apply('b', 'b_a.permutations.safetensors')
    assert.match(
      await err(step.replace('permutations:', 'onto: a, permutations:'), 'o.safetensors'),
      /contradiction: .*both permutations and onto/,
    )
    assert.match(
      await err('p: {rebasin: {model: b, onto: a, spec: chain, names: ["{tensor}"]}}', 'o.safetensors'),
      /contradiction: 'names' applies to given/,
    )
    assert.match(
      await err(apply('b', '{step: al}')[0], 'o.safetensors'),
      /contradiction: an entry of permutations has either file or inverse/,
    )
    assert.match(
      await err(step.replace('}}', ', names: ["x"]}}'), 'o.safetensors'),
      /bad-value: 'x' must contain \{tensor\} once/,
    )
    assert.match(
      await err('m: {merge: {method: linear, models: [a, b]}}', '{path: o.safetensors, permutations: true}'),
      /no-permutations: no step on the way to m/,
    )
    assert.match(
      await err('m: {interpolate: {from: a, to: b, points: 2}}', '{path: o, permutations: true}'),
      /no-permutations: an interpolation/,
    )
    assert.match(
      await err(step, '{path: b_a.safetensors, permutations: true}'),
      /output-is-input: .*would replace a file that the recipe reads/,
    )
    assert.match(await err(step, 'b_a.permutations.safetensors'), /output-is-input/)
    writeFileSync(at('o.permutations.safetensors'), 'mine')
    for (const flags of [[], ['--resume']])
      assert.match(
        (await run(at, step, '{path: o.safetensors, permutations: true}', ...flags)).err,
        /output-exists: .*o\.permutations\.safetensors: exists already/,
      )
    assert.is(readFileSync(at('o.permutations.safetensors'), 'utf8'), 'mine')
    rmSync(at('o.permutations.safetensors'))
    mkdirSync(at('o.permutations.safetensors'))
    assert.match(
      (await run(at, step, '{path: o.safetensors, permutations: true}', '--force')).err,
      /is not a file, but the permutations/,
    )
  }),
)

test.run()
