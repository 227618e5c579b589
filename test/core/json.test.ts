import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { changeJson, editJson, RawJson } from '../../src/core/json/edit.js'
import { jsonPieces } from '../../src/core/json/pieces.js'
import { JsonTextError, parseJson, sameJson } from '../../src/core/json/text.js'

const CONFIG = `{
  "architectures": ["LlamaForCausalLM"],
  "vocab_size": 32000,
  "rope_theta": 10000.0,
  "factor": 8.0,
  "zero": 0.0,
  "minus": -0.0,
  "eps": 1e-05,
  "big": 9007199254740993,
  "model_max_length": 1000000000000000019884624838656,
  "time_step_limit": [0.0, Infinity],
  "nothing": NaN,
  "low": -Infinity,
  "text": "caf\\u00e9 \\/ NaN, \\"Infinity\\"",
  "text_config": {
    "num_hidden_layers": 2,
    "layer_types": [
      "full",
      "sliding"
    ],
    "scales": [1.0, 2.50]
  },
  "torch_dtype": "float32"
}
`

test('JSON written by Python is read: numbers out of range, NaN and infinities', () => {
  const value = parseJson(CONFIG) as Record<string, unknown>
  assert.equal(value.time_step_limit, [0, Number.POSITIVE_INFINITY])
  assert.ok(Number.isNaN(value.nothing))
  assert.is(value.low, Number.NEGATIVE_INFINITY)
  assert.is(value.text, 'café / NaN, "Infinity"')
})

test('words that Python does not read are errors', () => {
  for (const text of [
    '{"a": nan}',
    '{"a": Infinit}',
    '{"a": NaNs}',
    '[+Infinity]',
    '[NaN NaN]',
    '{NaN: 1}',
    '',
    '[1,]',
    "{'a': 1}",
  ])
    assert.throws(
      () => parseJson(text),
      (error: Error) => error instanceof JsonTextError,
      text,
    )
})

test('an edit changes only the named values', () => {
  const edited = editJson(CONFIG, [
    { path: ['vocab_size'], value: 32001 },
    { path: ['text_config', 'num_hidden_layers'], value: 3 },
    { path: ['torch_dtype'], value: 'bfloat16' },
  ])
  const wanted = CONFIG.replace('32000', '32001').replace('layers": 2', 'layers": 3').replace('float32', 'bfloat16')
  assert.is(edited, wanted)
})

test('keys are added at the end and removed with their comma, in the style of the text', () => {
  assert.is(
    editJson('{\n    "a": {"b": 1.0}\n}', [{ path: ['c'], value: { d: [1] } }]),
    '{\n    "a": {"b": 1.0},\n    "c": {\n        "d": [\n            1\n        ]\n    }\n}',
  )
  assert.is(editJson('{"a":1}', [{ path: ['b'], value: [1, 2] }]), '{"a":1,"b":[1,2]}')
  assert.is(editJson('{"a": 1, "b": 2}', [{ path: ['c', 'd'], value: 3 }]), '{"a": 1, "b": 2, "c": {"d": 3}}')
  assert.is(editJson('{}', [{ path: ['c'], value: 3 }]), '{\n  "c": 3\n}')
  assert.is(editJson('{"a": 1, "b": 2.0}\n', [{ path: ['a'], value: undefined }]), '{"b": 2.0}\n')
  assert.is(editJson('{"a": 1, "b": 2.0}\n', [{ path: ['b'], value: undefined }]), '{"a": 1}\n')
  assert.is(editJson('{\n  "a": 1\n}\n', [{ path: ['a'], value: undefined }]), '{}\n')
  assert.is(
    editJson('{\n  "a": 1,\n  "b": 2\n}', [
      { path: ['a'], value: undefined },
      { path: ['b'], value: undefined },
      { path: ['c'], value: 1 },
    ]),
    '{\n  "c": 1\n}',
  )
  assert.is(
    editJson('{"a": 1, "b": 2, "c": 3, "d": 4}', [
      { path: ['b'], value: undefined },
      { path: ['c'], value: undefined },
      { path: ['e'], value: new RawJson('8.0') },
    ]),
    '{"a": 1, "d": 4, "e": 8.0}',
  )
  assert.is(
    editJson('{"a": 1, "b": 2}', [
      { path: ['b'], value: undefined },
      { path: ['e'], value: Number.NaN },
    ]),
    '{"a": 1, "e": NaN}',
  )
})

test('byte order mark, CRLF, tabs, escaped keys and trailing white space are kept', () => {
  const text = '\ufeff{\r\n\t"a\\u0062" : 1.0,\r\n\t"c" : [ ]\r\n}\r\n\r\n'
  assert.is(
    editJson(text, [
      { path: ['ab'], value: 2 },
      { path: ['n'], value: { x: 1 } },
    ]),
    '\ufeff{\r\n\t"a\\u0062" : 2,\r\n\t"c" : [ ],\r\n\t"n" : {\r\n\t\t"x" : 1\r\n\t}\r\n}\r\n\r\n',
  )
})

test('the last of two equal keys counts, and removing the key removes both', () => {
  const text = '{"a": 1.0, "b": 2.0, "a": 3.0}'
  assert.is(changeJson(text, parseJson(text), { a: 4, b: 2 }), '{"a": 1.0, "b": 2.0, "a": 4}')
  assert.is(changeJson(text, parseJson(text), { b: 2 }), '{"b": 2.0}')
})

test('elements of a list that grows or shrinks keep their text', () => {
  const text = '{"l": [1.0, 2.50, 1e0, NaN], "m": [\n  {"x": 8.0},\n  {"x": 9.0}\n]}'
  const { l, m } = parseJson(text) as { l: unknown[]; m: unknown[] }
  assert.is(
    changeJson(text, { l, m }, { l: [l[0], l[1], l[1], l[2], l[3], 7], m: [m[1], m[0], m[1]] }),
    '{"l": [1.0, 2.50, 2.50, 1e0, NaN, 7], "m": [\n  {"x": 9.0},\n  {"x": 8.0},\n  {"x": 9.0}\n]}',
  )
})

test('equal values change nothing', () => {
  assert.is(changeJson(CONFIG, parseJson(CONFIG), parseJson(CONFIG)), undefined)
  assert.is(changeJson('{"a": 1}', { a: 1 }, { a: 1, b: undefined }), undefined)
})

test('random edits of random texts give the wanted value and keep all other text', () => {
  let state = 7
  const random = (most: number): number => {
    state = (state * 1103515245 + 12345) % 2 ** 31
    return Math.floor((state / 2 ** 31) * most)
  }
  const SCALARS = [
    '8.0',
    '1e-05',
    '9007199254740993',
    '-0.0',
    '"a\\u00e9\\\\"',
    '"]},\\""',
    'true',
    'null',
    'NaN',
    '-Infinity',
    '12',
  ]
  const value = (depth: number, indent: string, eol: string): string => {
    const kind = depth === 0 ? 2 : random(4)
    if (kind >= 2) return SCALARS[random(SCALARS.length)]!
    const count = random(4)
    const parts = Array.from({ length: count }, (_, index) => {
      const inner = value(depth - 1, `${indent}  `, eol)
      return kind === 0 ? inner : `"k${index}": ${inner}`
    })
    const [open, close] = kind === 0 ? '[]' : '{}'
    if (count === 0) return `${open}${close}`
    return random(2) === 0
      ? `${open}${parts.join(', ')}${close}`
      : `${open}${eol}${indent}  ${parts.join(`,${eol}${indent}  `)}${eol}${indent}${close}`
  }
  // A value with something changed, added or removed in it.
  const other = (before: unknown): unknown => {
    if (typeof before !== 'object' || before === null) return random(3) === 0 ? { new: [1, Number.NaN] } : random(1000)
    if (Array.isArray(before)) {
      const list = before.map((one) => (random(3) === 0 ? other(one) : one))
      if (random(3) === 0) list.splice(random(list.length + 1), random(2), list[0] ?? 'x')
      return list
    }
    const entries = Object.entries(before).filter(() => random(5) > 0)
    const changed = entries.map(([key, one]) => [key, random(3) === 0 ? other(one) : one])
    return Object.fromEntries(random(2) === 0 ? changed : [...changed, ['added', { a: 1.5 }]])
  }
  for (let round = 0; round < 3000; round++) {
    const text = value(4, '', round % 2 === 0 ? '\n' : '\r\n')
    const before = parseJson(text)
    const after = other(before)
    const changed = changeJson(text, before, after) ?? text
    assert.ok(sameJson(parseJson(changed), after), `${text}\n→ ${JSON.stringify(after)}\ngave ${changed}`)
  }
})

test('JSON that is nested too deeply or has too many values fails before it is parsed', () => {
  const deep = '['.repeat(63 * 2 ** 20)
  assert.throws(() => parseJson(deep), /nested deeper than 100/)
  assert.throws(() => parseJson(`[${'0,'.repeat(3e6)}0]`), /more than 2000000 values/)
  assert.is((parseJson(`{"a": "${'['.repeat(1000)}"}`) as { a: string }).a.length, 1000)
  assert.throws(() => parseJson('[[[1]]]', { depth: 2 }), /deeper than 2/)
})

test('a configuration with labels for 22,000 classes can be edited', () => {
  const labels = Array.from({ length: 22_000 }, (_, id) => `    "${id}": "class ${id}, a label of usual length"`)
  const text = `{\n  "id2label": {\n${labels.join(',\n')}\n  },\n  "eps": 1.0\n}`
  assert.ok(text.length > 2 ** 20)
  const before = parseJson(text) as Record<string, unknown>
  assert.is(changeJson(text, before, { ...before, eps: 2 }), text.replace('"eps": 1.0', '"eps": 2'))
})

test('JSON written in pieces equals JSON.stringify', () => {
  const deep = { a: [[[[[1, { b: undefined, c: 'é"\\u2028' }]]]]], 10: 1, 2: [undefined, null, 1e21, -0, Number.NaN] }
  const values = [
    deep,
    [],
    {},
    null,
    'x',
    [deep, deep],
    Array.from({ length: 30_000 }, (_, i) => ({ i, t: `name ${i}` })),
  ]
  for (const value of values) {
    const pieces: string[] = []
    jsonPieces(value, (piece) => pieces.push(piece))
    assert.is(pieces.join(''), JSON.stringify(value))
  }
})

test.run()
