/** Another vocabulary for networks of other kinds: biases, heads apart, ids in configurations. Expected values follow from the rules by hand. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, plan, run } from '../../src/index.js'
import { f32Of, inFolder, type RawTensor } from '../support/files.js'
import { type Files, jsonOf, matrix, valuesOf, weights, writeFolder } from './families.js'

/** Whole tokens, with marks of words as SentencePiece has them. */
const tokenizer = (tokens: readonly string[]) => ({
  added_tokens: [],
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [] },
})

const BASE = ['<pad>', '</s>', '<img>', '▁a', 'b', 'c']
const DONOR = ['c', '<end>', '▁a', 'x', '[PAD]', 'b', '<img>']
/** Rows of the base, by token of the donor. */
const SAME = [5, 1, 3, -1, 0, 4, 2]
const ROLES = { tokenizer_class: 'PreTrainedTokenizerFast', eos_token: '</s>', pad_token: '<pad>' }
const THEIRS = { tokenizer_class: 'PreTrainedTokenizerFast', eos_token: '<end>', pad_token: '[PAD]' }

interface Given {
  readonly tensors?: Readonly<Record<string, RawTensor>>
  readonly config?: object
  readonly generation?: object
  readonly donor?: Files
}

function write(folder: string, { tensors = {}, config = {}, generation, donor = {} }: Given): void {
  writeFolder(path.join(folder, 'base'), {
    'model.safetensors': weights({ 'model.embed_tokens.weight': matrix(1, 7, 3), ...tensors }),
    'config.json': { model_type: 'x', vocab_size: 7, ...config },
    'tokenizer.json': tokenizer(BASE),
    'tokenizer_config.json': ROLES,
    ...(generation ? { 'generation_config.json': generation } : {}),
  })
  writeFolder(path.join(folder, 'donor'), {
    'model.safetensors': weights({ 'model.embed_tokens.weight': matrix(9, 7, 4), 'lm_head.weight': matrix(8, 7, 4) }),
    'config.json': { model_type: 'y', vocab_size: 7, tie_word_embeddings: false },
    'tokenizer.json': tokenizer(DONOR),
    'tokenizer_config.json': THEIRS,
    ...donor,
  })
}

/** A recipe that gives `from` the vocabulary of the donor. */
function recipeIn(folder: string, { missing = 'zero', base = './base', from = 'base', steps = '' } = {}): string {
  const file = path.join(folder, 'r.yaml')
  writeFileSync(
    file,
    `terge: 1\nmodels: {base: ${base}, donor: ./donor}\n${steps}tokenizer: {source: donor, missing: ${missing}}\noutput: {path: out, from: ${from}}\n`,
  )
  return file
}

const planned = async (folder: string, given: Given, missing = 'zero') => {
  write(folder, given)
  const prepared = await plan(recipeIn(folder, { missing }))
  const textOf = (name: string): Record<string, unknown> => {
    const file = prepared.plan.outputs[0]!.sidecars.find((one) => one.name === name)
    return file?.kind === 'text' ? JSON.parse(file.text) : {}
  }
  return { prepared, textOf, warnings: prepared.diagnostics.map(({ code, message }) => `${code}: ${message}`) }
}

const refused = async (folder: string, given: Given): Promise<string> => {
  try {
    await planned(folder, given)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
  }
  throw new Error('nothing was refused')
}

test('biases of heads follow the tokens, also as a matrix of one row; a stored head is not taken for the embedding', () =>
  inFolder(async (folder) => {
    // The names of several networks at once. The configuration does not say whether the head is tied.
    const tensors = {
      'lm_head.weight': matrix(2, 7, 3),
      'lm_head.bias': matrix(3, 7),
      'cls.predictions.bias': matrix(4, 7),
      'vocab_projector.bias': matrix(5, 7),
      'generator_lm_head.bias': matrix(6, 7),
      'decoder.bias': matrix(7, 7),
      final_logits_bias: matrix(10, 1, 7),
    }
    const { prepared, warnings } = await planned(folder, { tensors }, 'omp, k: 1')
    assert.equal(warnings, [])
    await run(prepared, { threads: 1, sync: false })
    const [out, base, donor] = ['out', 'base', 'donor'].map((name) => path.join(folder, name, 'model.safetensors'))
    /** The token whose row in the donor has the largest product with that of x, and its share. */
    const nearest = (name: string): readonly [row: number, share: number] => {
      const all = valuesOf(donor!, name)
      const row = (at: number) => all.subarray(4 * at, 4 * at + 4)
      const dot = (a: number, b: number) => row(a).reduce((sum, value, i) => sum + value * row(b)[i]!, 0)
      const others = SAME.flatMap((same, at) => (same < 0 ? [] : [at]))
      const best = others.reduce((a, b) => (Math.abs(dot(b, 3)) > Math.abs(dot(a, 3)) ? b : a))
      return [SAME[best]!, dot(best, 3) / dot(best, best)]
    }
    for (const name of ['model.embed_tokens.weight', ...Object.keys(tensors)]) {
      const [own, made] = [valuesOf(base!, name), valuesOf(out!, name)]
      const width = own.length / 7
      const [row, share] = nearest(name.startsWith('model.') ? name : 'lm_head.weight')
      assert.is(made.length, DONOR.length * width, name)
      for (const [at, same] of SAME.entries())
        for (let i = 0; i < width; i++) {
          const expected = same < 0 ? share * own[row * width + i]! : own[same * width + i]!
          assert.ok(Math.abs(made[at * width + i]! - expected) < (same < 0 ? 1e-5 : 1e-30), `${name}: ${DONOR[at]}`)
        }
    }
    const { tensors: shapes } = jsonOf(path.join(folder, 'out'), 'lineage.json')
    assert.equal(shapes.final_logits_bias.shape, [1, 7])
  }))

test('tensors of tokens that cannot follow are refused; those that could be are named', () =>
  inFolder(async (folder) => {
    assert.match(
      await refused(folder, { tensors: { 'lm_head.weight': matrix(2, 8, 3) } }),
      'no-token-rows: base: lm_head.weight [8, 3] does not have one row for each of the 7 rows',
    )
    assert.match(
      await refused(folder, { tensors: { 'model.embed_tokens_per_layer.weight': matrix(2, 7, 6) } }),
      'embed_tokens_per_layer.weight [7, 6] does not',
    )
    assert.match(
      await refused(folder, {
        donor: { 'tokenizer.json': tokenizer([...DONOR, '']) },
        tensors: { 'decoder.embed_tokens.weight': matrix(2, 6, 3), 'encoder.embed_tokens.weight': matrix(2, 7, 3) },
      }),
      'no-token-rows: base: decoder.embed_tokens.weight [6, 3]',
    )
    const far = tokenizer(DONOR)
    assert.match(
      await refused(folder, {
        donor: { 'tokenizer.json': { ...far, model: { ...far.model, vocab: { ...far.model.vocab, far: 9e6 } } } },
      }),
      'bad-tokenizer: donor: 8 tokens have ids up to 9000000, far beyond the 7 rows',
    )
    const tensors = { 'model.table.weight': matrix(2, 2, 7) }
    assert.match(
      (await planned(folder, { tensors })).warnings.join(),
      'such as model.table.weight, has 7 rows or columns',
    )
    assert.equal((await planned(folder, { tensors, config: { hidden_size: 7 } })).warnings, [])
  }))

test('ids in configurations: of the donor, else of its special tokens, else of the same token', () =>
  inFolder(async (folder) => {
    const config = {
      ...{ eos_token_id: 1, pad_token_id: 0, bos_token_id: null, decoder_start_token_id: 0, image_token_id: 2 },
      ...{ forced_eos_token_id: [1, 4], forced_bos_token_id: 6, decoder_vocab_size: 7 },
      text_config: { vocab_size: 7, eos_token_id: [1], pad_token_id: 0 },
    }
    const generation = { eos_token_id: [1], suppress_tokens: [3, 4], decoder_start_token_id: 1, top_k: 5 }
    const alone = await planned(folder, { config, generation })
    assert.equal(alone.textOf('config.json'), {
      ...{ model_type: 'x', vocab_size: 7, eos_token_id: 1, pad_token_id: 4, bos_token_id: null },
      ...{
        decoder_start_token_id: 4,
        image_token_id: 6,
        forced_eos_token_id: [1, 5],
        forced_bos_token_id: null,
        decoder_vocab_size: 7,
      },
      text_config: { vocab_size: 7, eos_token_id: 1, pad_token_id: 4 },
    })
    assert.equal(alone.textOf('generation_config.json'), { eos_token_id: 1, decoder_start_token_id: 1, top_k: 5 })
    assert.equal(alone.warnings, [
      'lost-token-ids: donor has no token for forced_bos_token_id, suppress_tokens of base: the configuration of the result has none',
    ])
    // Each file has what the same file of the donor says; with only one file, it has what generation follows.
    const donor = {
      'config.json': {
        vocab_size: 7,
        tie_word_embeddings: false,
        eos_token_id: 3,
        pad_token_id: null,
        image_token_id: 0,
      },
      'generation_config.json': { eos_token_id: [1, 3], pad_token_id: 4 },
    }
    const both = await planned(folder, { config, generation, donor })
    const { eos_token_id: eos, pad_token_id: pad, image_token_id: image } = both.textOf('config.json')
    assert.equal([eos, pad, image], [3, null, 6])
    assert.equal(both.textOf('generation_config.json').eos_token_id, [1, 3])
  }))

test('every size of the vocabulary follows', () =>
  inFolder(async (folder) => {
    const config = { decoder_vocab_size: 7, type_vocab_size: 2, text_config: { vocab_size: 7 } }
    const { textOf } = await planned(folder, { config }, 'zero, pad_to_multiple_of: 8')
    const {
      vocab_size: own,
      decoder_vocab_size: other,
      type_vocab_size: types,
      text_config: text,
    } = textOf('config.json')
    assert.equal([own, other, types, text], [8, 8, 2, { vocab_size: 8 }])
  }))

test('a model is refused if the donor lacks a token that it needs', () =>
  inFolder(async (folder) => {
    assert.match(
      await refused(folder, { config: { audio_token_id: 6, text_config: { vocab_size: 7, video_token_index: 6 } } }),
      'lost-token-ids: donor has no token for audio_token_id, text_config.video_token_index of base',
    )
  }))

test('without generation_config.json, the configuration has the ids that generation follows', () =>
  inFolder(async (folder) => {
    const donor = {
      'config.json': { vocab_size: 7, tie_word_embeddings: false, eos_token_id: 3 },
      'generation_config.json': { eos_token_id: [1, 3] },
    }
    assert.equal((await planned(folder, { donor })).textOf('config.json').eos_token_id, [1, 3])
  }))

const ADAPTED = { base: '{path: ./base, lora: ./lora}' }

/** An adapter that saved its embedding. */
function writeAdapter(folder: string, rows: RawTensor, more: Files = {}): void {
  writeFolder(path.join(folder, 'lora'), {
    'adapter_model.safetensors': weights({
      'base_model.model.model.embed_tokens.weight': rows,
      'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight': matrix(3, 1, 3),
      'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight': matrix(4, 3, 1),
    }),
    'adapter_config.json': {
      ...{ peft_type: 'LORA', r: 1, lora_alpha: 1, target_modules: ['q_proj'], modules_to_save: ['embed_tokens'] },
      ...{ task_type: 'CAUSAL_LM', bias: 'none' },
    },
    ...more,
  })
}

test('tokens that an adapter added are those of its own tokenizer', () =>
  inFolder(async (folder) => {
    const rows = matrix(20, 8, 3)
    const added = [...BASE, 'w', 'x']
    const config = { tie_word_embeddings: false }
    write(folder, { config, tensors: { 'model.layers.0.self_attn.q_proj.weight': matrix(2, 3, 3) } })
    writeAdapter(folder, rows, { 'tokenizer.json': tokenizer(added), 'tokenizer_config.json': ROLES })
    await run(await plan(recipeIn(folder, ADAPTED)), { threads: 1, sync: false })
    const out = path.join(folder, 'out', 'model.safetensors')
    const [own, made] = [f32Of(rows), valuesOf(out, 'model.embed_tokens.weight')]
    // The adapter's token x is one of the donor's.
    for (const [at, token] of DONOR.entries()) {
      const row = token === 'x' ? added.indexOf('x') : SAME[at]!
      assert.equal([...made.subarray(3 * at, 3 * at + 3)], [...own.subarray(3 * row, 3 * row + 3)], token)
    }
  }))

test('a head that an adapter set apart keeps its rows, though the model ties it', () =>
  inFolder(async (folder) => {
    const tensors = { 'model.layers.0.self_attn.q_proj.weight': matrix(2, 3, 3) }
    write(folder, { config: { tie_word_embeddings: true }, tensors })
    const rows = matrix(20, 7, 3)
    writeAdapter(folder, rows)
    await run(await plan(recipeIn(folder, ADAPTED)), { threads: 1, sync: false })
    const out = path.join(folder, 'out', 'model.safetensors')
    const own = valuesOf(path.join(folder, 'base', 'model.safetensors'), 'model.embed_tokens.weight')
    const [embedding, head] = ['model.embed_tokens.weight', 'lm_head.weight'].map((name) => valuesOf(out, name))
    for (const [at, row] of SAME.entries()) {
      const part = (values: Float32Array, row: number) => [...values.subarray(3 * row, 3 * row + 3)]
      assert.equal(part(embedding!, at), row < 0 ? [0, 0, 0] : part(f32Of(rows), row))
      assert.equal(part(head!, at), row < 0 ? [0, 0, 0] : part(own, row))
    }
    assert.is(jsonOf(path.join(folder, 'out'), 'config.json').tie_word_embeddings, false)
  }))

test('a tied head that is stored as well stays tied, whatever the donor has', () =>
  inFolder(async (folder) => {
    const given = { tensors: { 'lm_head.weight': matrix(1, 7, 3) }, config: { tie_word_embeddings: true } }
    const { prepared, textOf } = await planned(folder, given, 'omp, k: 1')
    assert.is.not(textOf('config.json').tie_word_embeddings, false)
    await run(prepared, { threads: 1, sync: false })
    const out = path.join(folder, 'out', 'model.safetensors')
    assert.equal(valuesOf(out, 'lm_head.weight'), valuesOf(out, 'model.embed_tokens.weight'))
  }))

test('models that count positions from the padding token need the same id for it', () =>
  inFolder(async (folder) => {
    const config = { model_type: 'roberta', pad_token_id: 0 }
    assert.match(
      await refused(folder, { config }),
      'moved-padding: base: models of type roberta count positions from the id of the padding token, which is 0, and donor has padding token 4',
    )
    assert.equal((await planned(folder, { config: { ...config, pad_token_id: 4 } })).warnings, [])
  }))

test('a path between models is no model that can get a vocabulary', () =>
  inFolder(async (folder) => {
    write(folder, {})
    const steps = 'steps: {way: {interpolate: {from: base, to: base, points: 3}}}\n'
    try {
      await plan(recipeIn(folder, { from: 'way', steps }))
      assert.unreachable()
    } catch (error) {
      assert.match((error as Error).message, /way|several/)
    }
  }))

test.run()
