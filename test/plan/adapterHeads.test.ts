/** Adapters of embeddings and heads that a model ties: as in PEFT, the head of the network that was trained. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix, stored } from '../support/adapters.js'
import type { RawTensor } from '../support/files.js'
import {
  applied,
  close,
  embeddingFactors,
  type Folder,
  factors,
  isResult,
  made,
  PEFT,
  updatedBy,
} from '../support/peft.js'

const [H, V, MORE] = [8, 12, 15]
const E = matrix([V, H], 1)
const Q = 'model.layers.0.self_attn.q_proj'
const EMBED = 'model.embed_tokens'
const q = factors(Q, [H, H], 41)
const tied: Folder = {
  tensors: { [`${EMBED}.weight`]: stored(E), [`${Q}.weight`]: stored(matrix([H, H], 2)) },
  config: { model_type: 'llama', architectures: ['LlamaForCausalLM'], tie_word_embeddings: true, vocab_size: V },
}
const whole = (module: string, seed: number, rows = V) => ({
  [`${PEFT}${module}.weight`]: stored(matrix([rows, H], seed)),
})
const lora = embeddingFactors(EMBED, [V, H], 13)

async function result(base: Folder, tensors: Readonly<Record<string, RawTensor>>, config: object = {}, files = {}) {
  const got = await applied(base, { tensors, config: { ...config }, files })
  isResult(got)
  return got
}
const valuesOf = (values: { values: Float32Array } | undefined) => values?.values

test('if only the embedding was trained, the head keeps its weights and is stored untied', async () => {
  for (const config of [tied.config!, { model_type: 'gemma' }, { model_type: 'llama', tie_word_embeddings: true }]) {
    const { tensors, config: made, diagnostics } = await result({ ...tied, config }, lora.tensors)
    assert.equal(valuesOf(tensors.get('lm_head.weight')), E.values)
    assert.ok(close(valuesOf(tensors.get(`${EMBED}.weight`)), updatedBy(E, lora, true)))
    assert.is(made.tie_word_embeddings, false)
    assert.equal(
      diagnostics.map(({ code, severity }) => `${severity} ${code}`),
      ['warning adapter-tied'],
    )
  }
  const saved = await result(tied, { ...q.tensors, ...whole(EMBED, 21) }, { modules_to_save: ['embed_tokens'] })
  assert.equal(valuesOf(saved.tensors.get('lm_head.weight')), E.values)
  assert.equal(valuesOf(saved.tensors.get(`${EMBED}.weight`)), matrix([V, H], 21).values)
  assert.is(saved.config.tie_word_embeddings, false)
})

test('heads are named by architecture, in parts of configurations, with biases under two names', async () => {
  const cases: readonly (readonly [
    embedding: string,
    head: string,
    config: object,
    more?: Record<string, RawTensor>,
  ])[] = [
    ['transformer.wte', 'lm_head.weight', { model_type: 'gpt2' }],
    ['transformer.word_embeddings', 'lm_head.weight', { model_type: 'bloom' }],
    ['gpt_neox.embed_in', 'embed_out.weight', { model_type: 'gpt_neox', tie_word_embeddings: true }],
    ['model.decoder.embed_tokens', 'lm_head.weight', { model_type: 'opt' }],
    ['model.decoder.embed_tokens', 'proj_out.weight', { model_type: 'whisper', is_encoder_decoder: true }],
    [
      'model.language_model.embed_tokens',
      'lm_head.weight',
      { model_type: 'llava', text_config: { tie_word_embeddings: true } },
    ],
    [
      'language_model.model.embed_tokens',
      'language_model.lm_head.weight',
      { text_config: { tie_word_embeddings: true } },
    ],
    ['backbone.embeddings', 'lm_head.weight', { model_type: 'mamba' }],
    [
      'distilbert.embeddings.word_embeddings',
      'vocab_projector.weight',
      {},
      { 'vocab_projector.bias': stored(matrix([V], 5)) },
    ],
    [
      'decoder.transformer.wte',
      'decoder.lm_head.weight',
      { model_type: 'vision-encoder-decoder', tie_word_embeddings: false, decoder: { model_type: 'gpt2' } },
    ],
  ]
  for (const [module, head, config, more = {}] of cases) {
    const own = embeddingFactors(module, [V, H], 13)
    const { tensors, config: made } = await result(
      { tensors: { [`${module}.weight`]: stored(E), ...more }, config: { ...config } },
      own.tensors,
    )
    assert.equal(valuesOf(tensors.get(head)), E.values, `${module} ${JSON.stringify(config)}`)
    const part = 'decoder' in config ? (made.decoder as Record<string, unknown>) : made
    assert.is(part.tie_word_embeddings, false, module)
    assert.is((made.text_config as Record<string, unknown> | undefined)?.tie_word_embeddings ?? false, false)
  }
  // The same flag ties this bias to that one.
  const bert = 'bert.embeddings.word_embeddings'
  const bias = matrix([V], 5)
  const { tensors } = await result(
    {
      tensors: { [`${bert}.weight`]: stored(E), 'cls.predictions.bias': stored(bias) },
      config: { model_type: 'bert' },
    },
    embeddingFactors(bert, [V, H], 13).tensors,
  )
  assert.equal(valuesOf(tensors.get('cls.predictions.decoder.weight')), E.values)
  assert.equal(valuesOf(tensors.get('cls.predictions.decoder.bias')), bias.values)
})

test('a bare network gets its prefix when a head is added; a bias is found under its other name', async () => {
  const bare = {
    tensors: { 'wte.weight': stored(E), 'h.0.attn.c_proj.weight': stored(matrix([H, H], 2)) },
    config: { model_type: 'gpt2', architectures: ['GPT2Model'] },
  }
  const own = embeddingFactors('transformer.wte', [V, H], 13).tensors
  const { tensors } = await result(bare, own, { task_type: 'CAUSAL_LM' })
  assert.equal([...tensors.keys()], ['lm_head.weight', 'transformer.h.0.attn.c_proj.weight', 'transformer.wte.weight'])
  const word = 'bert.embeddings.word_embeddings'
  const bert = {
    tensors: { [`${word}.weight`]: stored(E), 'cls.predictions.bias': stored(matrix([V], 5)) },
    config: { model_type: 'bert', vocab_size: V },
  }
  const layer = embeddingFactors('bert.embeddings.word_embeddings', [MORE, H], 3)
  const grown = await result(
    bert,
    {
      ...layer.tensors,
      [`${PEFT}${word}.base_layer.weight`]: stored(matrix([MORE, H], 21)),
      [`${PEFT}cls.predictions.decoder.bias`]: stored(matrix([MORE], 22)),
    },
    {},
  )
  assert.equal(valuesOf(grown.tensors.get('cls.predictions.bias')), matrix([MORE], 22).values)
  assert.equal(valuesOf(grown.tensors.get('cls.predictions.decoder.bias')), matrix([MORE], 22).values)
  assert.is(grown.config.vocab_size, MORE)
})

test('a network without a head, or with a separate head, gets no head', async () => {
  const bare = { ...tied, config: { model_type: 'llama', architectures: ['LlamaModel'], tie_word_embeddings: true } }
  assert.is((await result(bare, lora.tensors)).tensors.has('lm_head.weight'), false)
  assert.is((await result(tied, lora.tensors, { task_type: 'SEQ_CLS' })).tensors.has('lm_head.weight'), false)
  const untied = {
    ...tied,
    tensors: { ...tied.tensors, 'lm_head.weight': stored(matrix([V, H], 9)) },
    config: { tie_word_embeddings: false },
  }
  const { tensors, diagnostics } = await result(untied, lora.tensors)
  assert.equal(valuesOf(tensors.get('lm_head.weight')), matrix([V, H], 9).values)
  assert.is(diagnostics.length, 0)
})

test('with ensure_weight_tying the head follows the embedding, whichever was saved', async () => {
  const ensured = { ensure_weight_tying: true }
  const update = updatedBy(E, lora, true)
  for (const more of [
    {},
    { [`${PEFT}lm_head.base_layer.weight`]: stored(E), [`${PEFT}${EMBED}.base_layer.weight`]: stored(E) },
  ]) {
    const { tensors, config } = await result(tied, { ...lora.tensors, ...more }, ensured)
    assert.is(tensors.has('lm_head.weight'), false)
    assert.ok(close(valuesOf(tensors.get(`${EMBED}.weight`)), update))
    assert.is(config.tie_word_embeddings, true)
  }
  const both = await result(
    tied,
    { ...q.tensors, ...whole(EMBED, 21), ...whole('lm_head', 21) },
    { ...ensured, modules_to_save: ['embed_tokens', EMBED] },
  )
  assert.is(both.tensors.has('lm_head.weight'), false)
  // A base that stores what it ties.
  const twice = { ...tied, tensors: { ...tied.tensors, 'lm_head.weight': stored(E) } }
  const stores = await result(twice, lora.tensors, ensured)
  assert.ok(close(valuesOf(stores.tensors.get('lm_head.weight')), update))
  assert.is(stores.config.tie_word_embeddings, true)
  // PEFT 0.21 knows but these names; what later ones know is not certain.
  const other = {
    tensors: { 'gpt_neox.embed_in.weight': stored(E) },
    config: { model_type: 'gpt_neox', tie_word_embeddings: true },
  }
  const factorsOf = embeddingFactors('gpt_neox.embed_in', [V, H], 13).tensors
  assert.ok((await result(other, factorsOf, { ...ensured, peft_version: '0.21.0' })).tensors.has('embed_out.weight'))
  const later = await applied(other, { tensors: factorsOf, config: { ...ensured, peft_version: '0.30.0' } })
  assert.ok('refused' in later && later.refused.length === 1 && later.refused[0]!.startsWith('adapter-tied'))
})

test('a trained head is stored; a head equal to the embedding stays tied', async () => {
  const saved = await result(tied, { ...q.tensors, ...whole('lm_head', 21) }, { modules_to_save: ['lm_head'] })
  assert.equal(valuesOf(saved.tensors.get('lm_head.weight')), matrix([V, H], 21).values)
  assert.equal(valuesOf(saved.tensors.get(`${EMBED}.weight`)), E.values)
  assert.is(saved.config.tie_word_embeddings, false)
  const head = factors('lm_head', [V, H], 51)
  for (const more of [{}, { [`${PEFT}lm_head.base_layer.weight`]: stored(E) }]) {
    const updated = await result(tied, { ...head.tensors, ...more })
    assert.ok(close(valuesOf(updated.tensors.get('lm_head.weight')), updatedBy(E, head)))
    assert.equal(valuesOf(updated.tensors.get(`${EMBED}.weight`)), E.values)
    assert.is(updated.config.tie_word_embeddings, false)
  }
  for (const config of [{}, { modules_to_save: ['lm_head'] }]) {
    const same = await result(tied, { ...q.tensors, ...whole('lm_head', 1) }, config)
    assert.is(same.tensors.has('lm_head.weight'), false)
    assert.is(same.config.tie_word_embeddings, true)
  }
})

test('if encoder and decoder share one embedding, changing only one use is an error', async () => {
  const base = {
    tensors: {
      'shared.weight': stored(E),
      'encoder.block.0.layer.0.SelfAttention.q.weight': stored(matrix([H, H], 2)),
    },
    config: { model_type: 't5', is_encoder_decoder: true },
  }
  const refused = async (tensors: Readonly<Record<string, RawTensor>>, config = {}) => {
    const got = await applied(base, { tensors, config })
    return 'refused' in got ? got.refused.map((text) => text.split(':')[0]) : []
  }
  const layer = factors('encoder.block.0.layer.0.SelfAttention.q', [H, H], 3).tensors
  assert.equal(await refused(layer), [])
  assert.equal(await refused(embeddingFactors('shared', [V, H], 5).tensors), ['adapter-tied'])
  assert.equal(await refused({ ...layer, ...whole('shared', 7) }, { modules_to_save: ['shared'] }), ['adapter-tied'])
  assert.equal(await refused({ ...layer, ...whole('lm_head', 7) }, { modules_to_save: ['lm_head'] }), ['adapter-tied'])
})

test('a resized vocabulary updates vocab_size everywhere and uses the tokenizer beside the adapter', async () => {
  const grown = (module: string) => whole(module, 21, MORE)
  const tokenizer = { 'tokenizer.json': '{"of": "base"}' }
  for (const [own, path] of [
    [{ vocab_size: V, tie_word_embeddings: true }, []],
    [
      { tie_word_embeddings: true, text_config: { vocab_size: V, hidden_size: H }, vision_config: { vocab_size: 99 } },
      ['text_config'],
    ],
    [
      { tie_word_embeddings: true, vocab_size: V, thinker_config: { text_config: { vocab_size: V } } },
      ['thinker_config', 'text_config'],
    ],
  ] as const) {
    const { tensors, config, diagnostics, files } = await result(
      { ...tied, config: own as Record<string, unknown>, files: tokenizer },
      { ...q.tensors, ...grown(EMBED), ...grown('lm_head') },
      {},
      { 'tokenizer.json': '{"of": "adapter"}' },
    )
    assert.equal(tensors.get(`${EMBED}.weight`)?.shape, [MORE, H])
    assert.is(tensors.has('lm_head.weight'), false)
    const part = path.reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, config)
    assert.is(part.vocab_size, MORE)
    assert.equal((config.vision_config as object | undefined) ?? { vocab_size: 99 }, { vocab_size: 99 })
    assert.equal(
      diagnostics.map(({ code }) => code),
      ['adapter-resizes'],
    )
    assert.is(files('tokenizer.json'), '{"of": "adapter"}')
  }
  // Beneath an update: the head has the rows from before training.
  const beneath = matrix([MORE, H], 31)
  const more = embeddingFactors(EMBED, [MORE, H], 33)
  const { tensors, config, files } = await result(
    { ...tied, files: tokenizer },
    { ...more.tensors, [`${PEFT}${EMBED}.base_layer.weight`]: stored(beneath) },
  )
  assert.ok(close(valuesOf(tensors.get(`${EMBED}.weight`)), updatedBy(beneath, more, true)))
  assert.equal(valuesOf(tensors.get('lm_head.weight')), beneath.values)
  assert.equal([config.vocab_size, config.tie_word_embeddings], [MORE, false])
  assert.is(files('tokenizer.json'), '{"of": "base"}')
  // A head of its own has to have grown with it.
  const untied = {
    ...tied,
    tensors: { ...tied.tensors, 'lm_head.weight': stored(matrix([V, H], 9)) },
    config: { tie_word_embeddings: false, vocab_size: V },
  }
  const half = await applied(untied, { tensors: { ...q.tensors, ...grown(EMBED) } })
  assert.equal('refused' in half && half.refused.map((text) => text.split(':')[0]), ['adapter-rows'])
})

test('a classifier that was saved whole is part of the result, and the configuration describes it', async () => {
  const head = { [`${PEFT}score.weight`]: stored(matrix([3, H], 5)) }
  const cls = { task_type: 'SEQ_CLS', modules_to_save: ['classifier', 'score'] }
  const { tensors, config, diagnostics } = await result(tied, { ...q.tensors, ...head }, cls)
  assert.equal(valuesOf(tensors.get('score.weight')), matrix([3, H], 5).values)
  assert.equal(config.architectures, ['LlamaForSequenceClassification'])
  assert.equal(Object.keys(config.id2label as object), ['0', '1', '2'])
  assert.equal(
    diagnostics.map(({ code }) => code),
    ['adapter-adds'],
  )
  // Saved without its head a network has no prefix: with a head it has.
  const bert = {
    tensors: { 'encoder.layer.0.attention.self.query.weight': stored(matrix([H, H], 2)) },
    config: { model_type: 'bert', architectures: ['BertModel'] },
  }
  const query = factors('bert.encoder.layer.0.attention.self.query', [H, H], 7)
  const whole = await result(bert, { ...query.tensors, [`${PEFT}classifier.weight`]: stored(matrix([2, H], 5)) }, cls)
  assert.equal([...whole.tensors.keys()], ['bert.encoder.layer.0.attention.self.query.weight', 'classifier.weight'])
  assert.is(whole.config.id2label, undefined)
  // What lies within the network, and an adapter whose layers are not there, were made for another base.
  const foreign = await applied(tied, {
    tensors: { ...factors('model.layers.7.self_attn.q_proj', [H, H], 7).tensors, ...head },
    config: cls,
  })
  assert.ok('refused' in foreign && foreign.refused[0]!.startsWith('adapter-target'))
  const inner = await applied(tied, {
    tensors: { ...q.tensors, [`${PEFT}model.layers.0.extra.weight`]: stored(matrix([3, H], 5)) },
    config: cls,
  })
  assert.ok('refused' in inner && inner.refused[0]!.startsWith('adapter-target'))
})

test('a head that an adapter untied is merged with the tied heads of other models', async () => {
  const other = {
    ...tied,
    tensors: { [`${EMBED}.weight`]: stored(matrix([V, H], 61)), [`${Q}.weight`]: stored(matrix([H, H], 62)) },
  }
  const got = await made(
    { base: tied, other },
    { ad: { tensors: lora.tensors } },
    'models: {b: base, o: other, m: {path: base, lora: ad}}\nmerge: {method: linear, models: [o, m], base: b}',
  )
  isResult(got)
  const mean = Float32Array.from(E.values, (x, at) => Math.fround((x + matrix([V, H], 61).values[at]!) / 2))
  assert.ok(close(valuesOf(got.tensors.get('lm_head.weight')), mean))
  assert.is(got.config.tie_word_embeddings, false)
})

test.run()
