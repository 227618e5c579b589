/** Adapters that can't be applied, and unusual ones that can: errors appear at `lora`, before tensor data is read. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, validate } from '../../src/index.js'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { i64, inFolder, type RawTensor, writeModel } from '../support/files.js'

const P = 'base_model.model.'
const A = `${P}layers.0.q.lora_A.weight`
const B = `${P}layers.0.q.lora_B.weight`
const tensor = (...shape: number[]): RawTensor => stored(matrix(shape, shape.length))
const FACTORS = { [A]: tensor(4, 6), [B]: tensor(8, 4) }
const CONFIG = { r: 4, lora_alpha: 8 }

const BASE = {
  'model.layers.0.q.weight': tensor(8, 6),
  'model.layers.0.k.weight': tensor(8, 6),
  'model.layers.0.q.bias': tensor(8),
  'model.ids': i64([2], [1n, 2n]),
}

/** Errors and warnings about an adapter, as `code: message`, without the place. */
async function reported(
  tensors: Readonly<Record<string, RawTensor>>,
  config: unknown,
  { lora = 'adapter', more = '' } = {},
): Promise<string[]> {
  return inFolder(async (folder) => {
    writeModel(path.join(folder, 'base.safetensors'), BASE)
    const made = typeof config === 'object' && config !== null && !Array.isArray(config) ? config : {}
    writeAdapter(path.join(folder, 'adapter'), tensors, { ...made })
    if (made !== config) writeFileSync(path.join(folder, 'adapter/adapter_config.json'), String(config))
    const file = path.join(folder, 'r.yml')
    writeFileSync(
      file,
      `terge: 1\nmodels:\n  m: {path: base.safetensors, lora: ${lora}${more}}\nmerge: {method: passthrough}\noutput: o\n`,
    )
    const { diagnostics } = await validate(file)
    for (const { place } of diagnostics) assert.is(place?.line, 3, JSON.stringify(diagnostics))
    return diagnostics.map(
      ({ code, message, hint }) =>
        `${code}: ${message.replaceAll(folder, '')}${code === 'adapter-rank' ? ` (${hint})` : ''}`,
    )
  })
}

test('an adapter saved by PEFT has no errors, also if its names have a prefix more or less', async () => {
  assert.equal(await reported(FACTORS, CONFIG), [])
  const longer = {
    [A.replace('layers', 'outer.model.layers')]: FACTORS[A]!,
    [B.replace('layers', 'outer.model.layers')]: FACTORS[B]!,
  }
  assert.equal(await reported(longer, CONFIG), [])
  const harmless = {
    lora_dropout: 0.1,
    init_lora_weights: 'eva',
    loftq_config: {},
    megatron_config: null,
    layer_replication: null,
  }
  assert.equal(await reported(FACTORS, { ...CONFIG, ...harmless, rank_pattern: { '.*\\.k': 7, 'q|v': 4 } }), [])
})

test('wrong and unsupported adapter configurations are errors', async () => {
  const cases: readonly (readonly [config: unknown, expected: string])[] = [
    ['[1]', 'bad-config: adapter/adapter_config.json: not a JSON object'],
    ['{"r": ', 'bad-config: adapter/adapter_config.json: not valid JSON'],
    [`{"r": ${'['.repeat(400)}${']'.repeat(400)}}`, 'bad-config: adapter/adapter_config.json: nested deeper than 100'],
    [{ ...CONFIG, r: '4' }, 'bad-adapter: m.lora: adapter_config.json: r is "4", not a positive integer'],
    [{ ...CONFIG, r: 0 }, 'bad-adapter: m.lora: adapter_config.json: r is 0, not a positive integer'],
    [{ ...CONFIG, r: 1e300 }, 'bad-adapter: m.lora: adapter_config.json: r is 1e+300, not a positive integer'],
    ['{"r": 4, "lora_alpha": "NaN"}', 'bad-adapter: m.lora: adapter_config.json: lora_alpha is "NaN", not a number'],
    ['{"r": 4, "lora_alpha": 1e999}', 'bad-adapter: m.lora: adapter_config.json: lora_alpha is null, not a number'],
    [{ ...CONFIG, use_rslora: 'yes' }, 'bad-adapter: m.lora: adapter_config.json: use_rslora is "yes", not true or false'],
    [{ ...CONFIG, alpha_pattern: [1] }, 'bad-adapter: m.lora: adapter_config.json: alpha_pattern is [1], not a mapping'],
    [{ ...CONFIG, rank_pattern: { '(': 2 } }, 'bad-adapter: m.lora: adapter_config.json: rank_pattern[\'(\']'],
    [{ ...CONFIG, rank_pattern: { q: 3 } }, 'adapter-rank: m.lora: layers.0.q has rank 4 in the tensors and 3 in adapter_config.json'],
    [{ ...CONFIG, peft_type: 'BOFT' }, 'adapter-arithmetic: m.lora: the adapter uses the method \'BOFT\''],
    [{ ...CONFIG, use_dora: true }, 'adapter-factor: m.lora: layers.0.q has no lora_magnitude_vector, but use_dora is true'],
    [{ ...CONFIG, layer_replication: [[0, 2]] }, 'adapter-arithmetic: m.lora: the adapter uses layer_replication'],
    [{ ...CONFIG, alora_invocation_tokens: [1] }, 'adapter-arithmetic: m.lora: the adapter uses an activated LoRA'],
    [{ ...CONFIG, init_lora_weights: 'pissa_niter_16' }, 'adapter-arithmetic: m.lora: the adapter uses init_lora_weights: pissa_niter_16'],
    [{ ...CONFIG, init_lora_weights: 'new' }, 'adapter-arithmetic: m.lora: the adapter uses init_lora_weights: new'],
    [{ ...CONFIG, kasa_config: { r: 1 }, use_qalora: true }, 'adapter-arithmetic: m.lora: the adapter uses QALoRA, which pools the inputs: terge does not support this (and 1 more)'],
    [{ ...CONFIG, lora_magic: 3 }, 'unknown-adapter-key: m.lora: adapter_config.json: terge ignores the unknown key \'lora_magic\''],
  ] // biome-ignore format: one case per line
  for (const [config, expected] of cases) {
    const found = await reported(FACTORS, config)
    assert.is(found.length, 1, `${JSON.stringify(config)}: ${found.join('\n')}`)
    assert.ok(found[0]!.startsWith(expected), `${JSON.stringify(config)}: ${found[0]}`)
  }
})

test('adapter tensors that do not fit the model or each other are errors', async () => {
  const cases: readonly (readonly [tensors: Readonly<Record<string, RawTensor>>, expected: string])[] = [
    [{ [A]: FACTORS[A]! }, 'adapter-factor: m.lora: layers.0.q has factor A but not factor B'],
    [{ x: tensor(2) }, 'bad-adapter: m.lora: it has 1 tensor but no updates, such as …q_proj.lora_A.weight'],
    [{ ...FACTORS, [A.replace('A.w', 'A.one.w')]: tensor(4, 6) }, 'bad-adapter: m.lora: \'base_model.model.layers.0.q.lora_A'],
    [{ [A.replace('A.w', 'A.one.w')]: FACTORS[A]!, [B.replace('B.w', 'B.two.w')]: FACTORS[B]! }, 'bad-adapter: m.lora: it has the tensors of several adapters: \'one\', \'two\''],
    [{ [A.replace('.q.', '.query.')]: FACTORS[A]!, [B.replace('.q.', '.query.')]: FACTORS[B]! }, 'adapter-target: m.lora: it changes \'layers.0.query.weight\', which the model does not have'],
    [{ ...FACTORS, [`${P}head.weight`]: tensor(3) }, 'adapter-target: m.lora: it changes \'head.weight\''],
    [{ [A]: tensor(4, 7), [B]: FACTORS[B]! }, 'adapter-shape: m.lora: layers.0.q: the shapes do not fit: A [4, 7], B [8, 4] and the weight [8, 6]'],
    [{ [A]: FACTORS[A]!, [B]: tensor(8, 3) }, 'adapter-shape: m.lora: layers.0.q: this is a grouped convolution, or its factors have different ranks'],
    [{ [A]: tensor(4), [B]: FACTORS[B]! }, 'adapter-shape: m.lora: layers.0.q: the factors are not matrices'],
    [{ [A]: i64([4, 1], [1n, 2n, 3n, 4n]), [B]: FACTORS[B]! }, 'adapter-shape: m.lora: layers.0.q: terge can\'t add factors in I64 and F32 to a weight in F32'],
    [{ ...FACTORS, [`${P}layers.0.q.lora_B.bias`]: tensor(7) }, 'adapter-shape: m.lora: its bias of layers.0.q does not fit'],
    [{ ...FACTORS, [`${P}layers.0.k.lora_B.bias`]: tensor(8) }, 'adapter-target: m.lora: it changes \'layers.0.k.bias\''],
    [{ ...FACTORS, [`${P}layers.0.q.lora_magnitude_vector`]: tensor(8) }, 'adapter-factor: m.lora: layers.0.q has a lora_magnitude_vector, but use_dora is not true'],
    [{ ...FACTORS, [`${P}layers.0.k.weight`]: tensor(9, 6) }, 'adapter-resizes: m.lora: model.layers.0.k.weight has shape [9, 6] in the adapter'],
  ] // biome-ignore format: one case per line
  for (const [tensors, expected] of cases) {
    const found = await reported(tensors, CONFIG)
    assert.is(found.length, 1, `${Object.keys(tensors)}: ${found.join('\n')}`)
    assert.ok(found[0]!.startsWith(expected), found[0])
  }
})

test('lora_include applies a part of an adapter', async () => {
  const more = {
    ...FACTORS,
    [`${P}vision.x.lora_A.weight`]: tensor(4, 6),
    [`${P}vision.x.lora_B.weight`]: tensor(8, 4),
  }
  const only = (pattern: string) => ({ more: `, lora_include: ['${pattern}']` })
  assert.match(
    (await reported(more, CONFIG)).join(),
    /adapter-target: .*'vision.x.weight', which the model does not have/,
  )
  assert.equal(await reported(more, CONFIG, only('**.layers.**')), [])
  assert.match(
    (await reported(more, CONFIG, only('**.text.**')))[0]!,
    /no-match: the pattern '\*\*\.text\.\*\*' matches no tensor/,
  )
  const unused = { ...FACTORS, [`${P}layers.0.q.lora_E`]: tensor(4, 1) }
  assert.match((await reported(unused, CONFIG))[0]!, /adapter-unused: .*layers.0.q.lora_E/)
})

test('an adapter for packed weights is an error', () =>
  inFolder(async (folder) => {
    const model = {
      'layers.0.q.qweight': i64([8, 2], Array(16).fill(1n)),
      'layers.0.q.scales': tensor(8, 2),
      'layers.0.q.qzeros': i64([8, 1], Array(8).fill(1n)),
    }
    for (const entry of Object.values(model))
      if (entry.dtype === 'I64')
        Object.assign(entry, { dtype: 'I32', bytes: entry.bytes.subarray(0, entry.bytes.length / 2) })
    writeModel(path.join(folder, 'base.safetensors'), model)
    writeAdapter(path.join(folder, 'adapter'), FACTORS, CONFIG)
    const file = path.join(folder, 'r.yml')
    writeFileSync(
      file,
      'terge: 1\nmodels: {m: {path: base.safetensors, lora: adapter}}\nmerge: {method: passthrough}\noutput: o\n',
    )
    assert.ok((await validate(file)).diagnostics.some(({ code }) => code === 'packed-weights'))
  }))

test('a rank above the limit is an error with a hint', async () => {
  const huge = { [A]: tensor(70000, 6), [B]: tensor(8, 70000) }
  assert.equal(await reported(huge, { r: 70000, lora_alpha: 1 }), [
    'adapter-rank: m.lora: layers.0.q has rank 70000; terge supports ranks up to 65536 (merge the adapter with PEFT)',
  ])
})

test('too many adapters with a huge rank are an error before a worker runs out of memory', () =>
  inFolder(async (folder) => {
    const rank = 65536
    writeModel(path.join(folder, 'base.safetensors'), { 'q.weight': tensor(8, 6) })
    const factors = { [`${P}q.lora_A.weight`]: tensor(rank, 6), [`${P}q.lora_B.weight`]: tensor(8, rank) }
    writeAdapter(path.join(folder, 'adapter'), factors, { r: rank, lora_alpha: 1 })
    const of = async (count: number) => {
      const file = path.join(folder, 'r.yml')
      const models = Array.from({ length: count }, (_, i) => `m${i}: {path: base.safetensors, lora: adapter}`)
      writeFileSync(file, `terge: 1\nmodels: {${models.join(', ')}}\nmerge: {method: linear}\noutput: o\n`)
      return (await validate(file)).diagnostics.map(({ code, message }) => `${code}: ${message}`)
    }
    assert.equal(await of(8), [])
    assert.equal(await of(24), [
      'too-many-inputs: q.weight depends on too many stored tensors at once: 72, and the ranks of their adapters are too high',
    ])
  }))

test('the plan counts factors once for the update and once for their digests', () =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'base.safetensors'), { 'q.weight': tensor(8, 6) })
    const factors = { [`${P}q.lora_A.weight`]: tensor(4, 6), [`${P}q.lora_B.weight`]: tensor(8, 4) }
    writeAdapter(path.join(folder, 'adapter'), factors, CONFIG)
    const file = path.join(folder, 'r.yml')
    writeFileSync(
      file,
      'terge: 1\nmodels: {m: {path: base.safetensors, lora: adapter}}\nmerge: {method: passthrough}\noutput: o\n',
    )
    assert.is((await plan(file)).plan.cost.read, 4 * (8 * 6 + 2 * (4 * 6 + 8 * 4)))
  }))

test('a missing adapter, a missing configuration and an invalid scale are errors', async () => {
  assert.match(
    (await reported(FACTORS, CONFIG, { lora: 'adaptor' }))[0]!,
    'missing-model: adaptor: there is no such file',
  )
  assert.match(
    (await reported(FACTORS, CONFIG, { lora: 'base.safetensors' })).join('\n'),
    'no-adapter: m.lora: it has no adapter_config.json',
  )
  assert.match((await reported(FACTORS, CONFIG, { more: ', lora_scale: .inf' }))[0]!, 'bad-type')
  assert.equal(await reported(FACTORS, CONFIG, { more: ', lora_scale: 0' }), [])
  assert.match((await reported(FACTORS, CONFIG, { lora: 'hf:nothing' }))[0]!, 'bad-value')
})

test('a folder may also hold the model; a configuration must be a file and not a pipe, folder or broken link', () =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'base.safetensors'), BASE)
    const adapter = path.join(folder, 'adapter')
    writeAdapter(adapter, FACTORS, CONFIG)
    writeModel(path.join(adapter, 'model.safetensors'), BASE)
    const file = path.join(folder, 'r.yml')
    writeFileSync(
      file,
      'terge: 1\nmodels: {m: {path: adapter, lora: adapter}}\nmerge: {method: passthrough}\noutput: o\n',
    )
    assert.equal((await validate(file)).diagnostics, [])
    const config = path.join(adapter, 'adapter_config.json')
    writeFileSync(
      file,
      'terge: 1\nmodels: {m: {path: base.safetensors, lora: adapter}}\nmerge: {method: passthrough}\noutput: o\n',
    )
    rmSync(config)
    mkdirSync(config)
    assert.is((await validate(file)).diagnostics.length, 1)
    rmSync(config, { recursive: true })
    symlinkSync(path.join(folder, 'nowhere'), config)
    assert.equal(
      (await validate(file)).diagnostics.map(({ code }) => code),
      ['outside-link'],
    )
  }))

test.run()
