/** Heads and embeddings that one model stores twice and another once, whatever they are called. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrix, stored } from '../support/adapters.js'
import type { RawTensor } from '../support/files.js'
import { close, isResult, made, type Result } from '../support/peft.js'

const [H, V] = [8, 12]
const embedding = (seed: number): RawTensor => stored(matrix([V, H], seed))
const mean = (a: number, b: number, shape: readonly number[] = [V, H]): Float32Array => {
  const other = matrix(shape, b).values
  return matrix(shape, a).values.map((x, at) => Math.fround((x + other[at]!) / 2))
}
/** As large as a few embeddings: most of a model is merged. */
const layer = (seed: number) => ({ 'encoder.0.w.weight': stored(matrix([8 * H, H], seed)) })

/** The mean of a model that stores these and of one that does not. */
async function average(
  [base, other]: readonly [Readonly<Record<string, RawTensor>>, Readonly<Record<string, RawTensor>>],
  [config, theirs]: readonly [object | undefined, object | undefined] = [{}, {}],
): Promise<Result> {
  const folder = (tensors: Readonly<Record<string, RawTensor>>, config: object | undefined) => ({
    tensors,
    config: { ...config },
  })
  const files = (own: object | undefined) => (own === undefined ? '/model.safetensors' : '')
  const got = await made(
    { a: folder(base, config), b: folder(other, theirs) },
    {},
    `models: {a: a, b: b${files(theirs)}}\nmerge: {method: linear}`,
  )
  isResult(got)
  return got
}

test('a model with a tied head merges its embedding as the head', async () => {
  for (const [own, head] of [
    ['model.embed_tokens', 'lm_head'],
    ['transformer.wte', 'lm_head'],
    ['gpt_neox.embed_in', 'embed_out'],
    ['model.decoder.embed_tokens', 'proj_out'],
    ['roberta.embeddings.word_embeddings', 'lm_head.decoder'],
    ['bert.embeddings.word_embeddings', 'cls.predictions.decoder'],
    ['albert.embeddings.word_embeddings', 'predictions.decoder'],
    ['distilbert.embeddings.word_embeddings', 'vocab_projector'],
    ['model.embeddings.tok_embeddings', 'decoder'],
    ['electra.embeddings.word_embeddings', 'generator_lm_head'],
    ['transformer.word_embedding', 'lm_loss'],
    ['transformer.embeddings', 'pred_layer.proj'],
    ['backbone.embeddings', 'lm_head'],
    ['rwkv.embeddings', 'head'],
    ['model.language_model.embed_tokens', 'lm_head'],
    ['vilt.embeddings.text_embeddings.word_embeddings', 'mlm_score.decoder'],
  ] as const) {
    // The base ties too, or its head is its own.
    for (const stored of [1, 9]) {
      const base = { [`${own}.weight`]: embedding(1), [`${head}.weight`]: embedding(stored), ...layer(2) }
      const { tensors, config, diagnostics } = await average([base, { [`${own}.weight`]: embedding(11), ...layer(12) }])
      assert.ok(close(tensors.get(`${head}.weight`)?.values, mean(stored, 11)), `${head} ${stored}`)
      assert.ok(close(tensors.get(`${own}.weight`)?.values, mean(1, 11)), own)
      assert.ok(
        diagnostics.some(
          ({ code, message, hint }) =>
            code === 'tied-head' && message.includes(head) && hint === 'store the head in all models to merge it',
        ),
        head,
      )
      assert.is(config.tie_word_embeddings, undefined, head)
    }
  }
})

test('a model whose configuration unties the head lacks the tensor', async () => {
  const base = { 'model.embed_tokens.weight': embedding(1), 'proj_out.weight': embedding(9), ...layer(2) }
  const other = { 'model.embed_tokens.weight': embedding(11), ...layer(12) }
  const { tensors } = await average([base, other], [{ tie_word_embeddings: false }, { tie_word_embeddings: false }])
  assert.equal(tensors.get('proj_out.weight')?.values, matrix([V, H], 9).values)
})

test('a head with an unknown name is found by its content; another matrix with its shape is not', async () => {
  const base = {
    'model.embed_tokens.weight': embedding(1),
    'net.unheard_of.weight': embedding(1),
    'net.other.weight': embedding(9),
    ...layer(2),
  }
  const other = { 'model.embed_tokens.weight': embedding(11), ...layer(12) }
  // A single file without a configuration says nothing of tying: the content of the base's does.
  for (const theirs of [{}, undefined]) {
    const { tensors, diagnostics } = await average([base, other], [{}, theirs])
    assert.ok(close(tensors.get('net.unheard_of.weight')?.values, mean(1, 11)), JSON.stringify(theirs))
    assert.equal(tensors.get('net.other.weight')?.values, matrix([V, H], 9).values)
    assert.equal(
      diagnostics.filter(({ code }) => code === 'tied-head').map(({ message }) => message.split(':')[0]),
      ['b has no net.unheard_of.weight'],
    )
  }
  const { tensors } = await average([base, other], [{}, { tie_word_embeddings: false }])
  assert.equal(tensors.get('net.unheard_of.weight')?.values, matrix([V, H], 1).values)
})

test('a bias of a head can have two names', async () => {
  const word = 'bert.embeddings.word_embeddings.weight'
  const bias = (seed: number) => stored(matrix([V], seed))
  for (const [ours, theirs] of [
    ['cls.predictions.decoder.bias', 'cls.predictions.bias'],
    ['cls.predictions.bias', 'cls.predictions.decoder.bias'],
    ['lm_head.decoder.bias', 'lm_head.bias'],
  ] as const) {
    const { tensors } = await average([
      { [word]: embedding(1), [ours]: bias(5), [theirs]: bias(5) },
      { [word]: embedding(11), [theirs]: bias(15) },
    ])
    assert.ok(close(tensors.get(ours)?.values, mean(5, 15, [V])), ours)
  }
})

test('encoder and decoder can share one embedding under several names', async () => {
  for (const [one, names] of [
    [
      'model.shared.weight',
      ['model.encoder.embed_tokens.weight', 'model.decoder.embed_tokens.weight', 'lm_head.weight'],
    ],
    ['shared.weight', ['text_encoder.embed_tokens.weight', 'text_decoder.embed_tokens.weight']],
    ['model.encoder.embed_tokens.weight', ['model.shared.weight', 'model.decoder.embed_tokens.weight']],
  ] as const) {
    const all = Object.fromEntries([one, ...names].map((name) => [name, embedding(1)]))
    const { tensors } = await average([
      { ...all, ...layer(2) },
      { [one]: embedding(11), ...layer(12) },
    ])
    for (const name of [one, ...names]) assert.ok(close(tensors.get(name)?.values, mean(1, 11)), `${one} ${name}`)
  }
})

test('a model that stores only its head merges it as the embedding of the base', async () => {
  for (const [own, head] of [
    ['model.embed_tokens', 'lm_head'],
    ['gpt_neox.embed_in', 'embed_out'],
    ['model.shared', 'lm_head'],
    ['transformer.word_embedding', 'lm_loss'],
    ['bert.embeddings.word_embeddings', 'cls.predictions.decoder'],
    ['decoder.model.decoder.embed_tokens', 'decoder.output_projection'],
  ] as const) {
    const [e, h] = [`${own}.weight`, `${head}.weight`]
    const other = { [h]: embedding(11), ...layer(12) }
    for (const base of [{ [e]: embedding(1) }, { [e]: embedding(1), [h]: embedding(1) }]) {
      const { tensors, config, diagnostics } = await average([{ ...base, ...layer(2) }, other])
      for (const name of Object.keys(base)) assert.ok(close(tensors.get(name)?.values, mean(1, 11)), name)
      assert.is(tensors.has(h), h in base, h)
      assert.is(config.tie_word_embeddings, undefined, head)
      assert.not.ok(diagnostics.some(({ code }) => code === 'unmerged-tensors'))
    }
    // Both names in the other: the second is the first once more.
    const twice = { [e]: embedding(11), ...other }
    const { diagnostics } = await average([{ [e]: embedding(1), ...layer(2) }, twice])
    assert.equal(diagnostics, [], head)
    const { tensors } = await average([
      { [h]: embedding(1), ...layer(2) },
      { [e]: embedding(11), ...layer(12) },
    ])
    assert.ok(close(tensors.get(h)?.values, mean(1, 11)), `${head} alone`)
  }
})

test('an untied head is not used as an embedding', async () => {
  const base = { 'model.embed_tokens.weight': embedding(1), ...layer(2) }
  const other = { 'lm_head.weight': embedding(11), ...layer(12) }
  const { tensors } = await average([base, other], [{}, { tie_word_embeddings: false }])
  assert.equal(tensors.get('model.embed_tokens.weight')?.values, matrix([V, H], 1).values)
})

test('the text model of a pipeline has an embedding and no head', async () => {
  const own = (seed: number) => ({
    'text_model.embeddings.token_embedding.weight': embedding(seed),
    ...layer(seed + 1),
  })
  const { tensors, diagnostics } = await average([
    { ...own(1), 'text_projection.weight': stored(matrix([H, H], 7)) },
    own(11),
  ])
  assert.equal(tensors.get('text_projection.weight')?.values, matrix([H, H], 7).values)
  assert.is(
    diagnostics.some(({ code }) => code === 'tied-head'),
    false,
  )
})

test.run()
