/** Roles of special tokens, as transformers 5.18 loads the same files. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { keyedTokens, wordMark } from '../../src/tokenizers/keys.js'
import { readTokenizer } from '../../src/tokenizers/read.js'
import { specialTokens } from '../../src/tokenizers/roles.js'

const json = (value: object | undefined, name: string): Record<string, string> =>
  value === undefined ? {} : { [name]: JSON.stringify(value) }

interface Case {
  readonly config?: object
  readonly map?: object
  readonly type?: string
  readonly roles: object
}

const GPT2 = { bos: '<|endoftext|>', eos: '<|endoftext|>', unk: '<|endoftext|>' }
const BERT = { unk: '[UNK]', sep: '[SEP]', pad: '[PAD]', cls: '[CLS]', mask: '[MASK]' }
const plain = { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: '<s>' }
const cases: Record<string, Case> = {
  'a class has its own tokens': {
    config: { tokenizer_class: 'LlamaTokenizer' },
    roles: { bos: '<s>', eos: '</s>', unk: '<unk>' },
  },
  'null is none': {
    config: { tokenizer_class: 'LlamaTokenizerFast', bos_token: null },
    roles: { eos: '</s>', unk: '<unk>' },
  },
  'Qwen has no start': {
    config: { tokenizer_class: 'Qwen2Tokenizer', unk_token: null },
    roles: { eos: '<|endoftext|>', pad: '<|endoftext|>' },
  },
  'without a class, the type of the model decides': {
    config: { model_max_length: 1024 },
    type: 'gpt2',
    roles: GPT2,
  },
  'without files too': { type: 'bert', roles: BERT },
  'a class counts more than the type': {
    config: { tokenizer_class: 'PreTrainedTokenizerFast' },
    type: 'gpt2',
    roles: {},
  },
  'other types have none': { config: {}, type: 'llama', roles: {} },
  'Roberta starts and separates': {
    config: { tokenizer_class: 'RobertaTokenizerFast' },
    roles: {
      ...{ bos: '<s>', eos: '</s>', unk: '<unk>', sep: '</s>', pad: '<pad>', cls: '<s>', mask: '<mask>' },
    },
  },
  'the older file counts more than a configuration of its time': {
    config: plain,
    map: { bos_token: { content: '</s>' }, eos_token: null },
    roles: { bos: '</s>' },
  },
  'it counts next to null': { config: { ...plain, bos_token: null }, map: { bos_token: '<s>' }, roles: { bos: '<s>' } },
  'and not next to a new configuration': {
    config: { ...plain, added_tokens_decoder: {} },
    map: { bos_token: '</s>', pad_token: '<unk>' },
    roles: { bos: '<s>' },
  },
}

for (const [name, { config, map, type, roles }] of Object.entries(cases))
  test(`roles: ${name}`, () => {
    const files = { ...json(config, 'tokenizer_config.json'), ...json(map, 'special_tokens_map.json') }
    assert.equal(Object.fromEntries(specialTokens(files, 'm', type)), roles)
  })

const tokenizer = (parts: object, tokens = ['▁', '▁a', 'a', '<s>', '_a', 'Ġa']) =>
  readTokenizer(
    {
      'tokenizer.json': JSON.stringify({
        ...parts,
        model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [] },
      }),
    },
    'm',
  )

const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content })
const marks: [string, object, string][] = [
  ['bytes', { pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Split' }, { type: 'ByteLevel' }] } }, 'Ġ'],
  ['bytes, by the decoder alone', { decoder: { type: 'ByteLevel' } }, 'Ġ'],
  ['Metaspace', { pre_tokenizer: { type: 'Metaspace', replacement: '_' } }, '_'],
  ['a normalizer', { normalizer: replace({ String: ' ' }, '_') }, '_'],
  ['a normalizer with a pattern', { normalizer: replace({ Regex: '\\s' }, '_') }, '_'],
  ['a decoder', { decoder: { type: 'Sequence', decoders: [replace({ String: '_' }, ' '), { type: 'Fuse' }] } }, '_'],
  ['nothing', {}, '▁'],
]
for (const [name, parts, mark] of marks)
  test(`the mark of a word's start is known by ${name}`, () => {
    const read = tokenizer(parts)
    assert.is(wordMark(read), mark)
    const { tokens } = keyedTokens(
      read,
      new Map([
        ['eos', '<s>'],
        ['bos', '<s>'],
      ] as const),
    )
    assert.equal(
      tokens.flatMap(({ token, word }) => (word === undefined ? [] : [token])),
      ['▁', '▁a', '_a', 'Ġa'].filter((token) => token.startsWith(mark)),
    )
    assert.is(tokens.find(({ token }) => token === '<s>')?.key, 'role bos')
  })

test.run()
