/** The chat templates that a recipe may name, rendered as the models' own are: these texts are what the originals give. */
import { Template } from '@huggingface/jinja'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { templateNames, templateOf } from '../../src/tokenizers/templates.js'

type Turn = readonly [role: string, content: string]

const render = (name: string, turns: readonly Turn[], prompt = false): string =>
  new Template(templateOf(name)!).render({
    messages: turns.map(([role, content]) => ({ role, content })),
    bos_token: '<s>',
    eos_token: '</s>',
    add_generation_prompt: prompt,
  })

const SYSTEM: Turn = ['system', 'Be brief.']
const TURNS: readonly Turn[] = [
  ['user', 'Hi there'],
  ['assistant', 'Hello'],
  ['user', 'Go on'],
]

const RENDERED: Readonly<Record<string, { system: string; plain: string; prompt: string }>> = {
  chatml: {
    system: '<|im_start|>system\nBe brief.<|im_end|>\n',
    plain:
      '<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nGo on<|im_end|>\n',
    prompt: '<|im_start|>assistant\n',
  },
  llama3: {
    system: '<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>',
    plain:
      '<s><|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nGo on<|eot_id|>',
    prompt: '<|start_header_id|>assistant<|end_header_id|>\n\n',
  },
  alpaca: {
    system: 'Be brief.\n\n',
    plain: '\n\n### Instruction:\nHi there\n\n### Response:\nHello\n\n### Instruction:\nGo on',
    prompt: '\n\n### Response:\n',
  },
  mistral: {
    system: '<s> [INST] Be brief.\n\nHi there [/INST]',
    plain: '<s> [INST] Hi there [/INST] Hello</s> [INST] Go on [/INST]',
    prompt: '',
  },
  exaone: {
    system: '[|system|]Be brief.[|endofturn|]\n',
    plain: '[|system|][|endofturn|]\n[|user|]Hi there\n[|assistant|]Hello[|endofturn|]\n[|user|]Go on\n',
    prompt: '[|assistant|]',
  },
}

test('each named template renders turns, a leading system message and the generation prompt', () => {
  assert.equal(templateNames().sort(), Object.keys(RENDERED).sort())
  assert.is(templateOf('constructor'), undefined)
  for (const [name, { system, plain, prompt }] of Object.entries(RENDERED)) {
    assert.is(render(name, TURNS), plain, name)
    assert.is(render(name, TURNS, true), plain + prompt, name)
    // What stands before the first turn without a system message does not stand there with one.
    const rest = name === 'mistral' ? plain.slice('<s> [INST] Hi there [/INST]'.length) : plain.slice(leadOf(name))
    assert.is(render(name, [SYSTEM, ...TURNS]), system + rest, `${name} with a system message`)
    assert.is(render(name, [SYSTEM, ...TURNS], true), system + rest + prompt, `${name} with both`)
  }
})

const leadOf = (name: string): number =>
  ({ alpaca: 2, llama3: 3, exaone: '[|system|][|endofturn|]\n'.length })[name] ?? 0

test('mistral: the system message belongs to the first turn, and turns alternate', () => {
  assert.is(render('mistral', [SYSTEM, ['user', 'Hi']]), '<s> [INST] Be brief.\n\nHi [/INST]')
  for (const turns of [
    [
      ['user', 'a'],
      ['user', 'b'],
    ],
    [['assistant', 'a']],
    [
      ['user', 'a'],
      ['tool', 'b'],
    ],
    [SYSTEM, SYSTEM],
  ] as Turn[][])
    assert.throws(() => render('mistral', turns), /messages/)
})

test('alpaca: inputs, an existing answer, and the last of several system messages', () => {
  const turns: Turn[] = [
    ['user', 'Add. '],
    ['user_context', '1 2'],
    ['system', 'S'],
    ['assistant', '3'],
  ]
  assert.is(render('alpaca', turns, true), 'S\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3')
  assert.is(render('alpaca', [SYSTEM], true), 'Be brief.\n\n### Response:\n')
})

test.run()
