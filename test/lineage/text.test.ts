import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { ABSENT_REASONS, COPY_REASONS } from '../../src/core/reasons.js'
import { buildLineage } from '../../src/lineage/build.js'
import { parseLineage } from '../../src/lineage/parse.js'
import { lineageText } from '../../src/lineage/serialize.js'
import type { Lineage } from '../../src/lineage/types.js'
import { input, sample } from './sample.js'

const text = lineageText(sample)
const schema = JSON.parse(readFileSync('schemas/lineage.v2.schema.json', 'utf8'))
const ajv = new Ajv({ strict: true, allErrors: true })
const matches = ajv.compile(schema)

/** The hint-bearing fault that reading gives, or undefined where it reads. */
function faultOf(source: string): { code: string; message: string } | undefined {
  try {
    parseLineage(source, 'x.json')
    return undefined
  } catch (error) {
    assert.instance(error, Fault)
    const [diagnostic] = (error as Fault).diagnostics
    assert.ok(diagnostic!.hint)
    return diagnostic
  }
}

test('the page about lineages names every reason', () => {
  const page = readFileSync('docs/lineage.md', 'utf8')
  for (const reason of [...Object.keys(COPY_REASONS), ...Object.keys(ABSENT_REASONS)])
    assert.ok(page.includes(`\`${reason}\``), reason)
})

test('the text is read back to the same text', () => {
  assert.is(lineageText(parseLineage(text, 'x.json')), text)
  assert.equal(JSON.parse(text).tensors['layers.0.weight'].sources[0].of.sources[1].weight, 0.25)
  assert.ok(text.endsWith('}\n'))
})

test('a lineage that is read in pieces is the same, and so are its errors', () => {
  const bytes = Buffer.from(text)
  assert.equal(parseLineage(bytes, 'x.json'), parseLineage(text, 'x.json'))
  assert.is(lineageText(parseLineage(bytes, 'x.json')), text)
  const broken = [
    text.slice(0, -3),
    text.slice(0, text.indexOf('"layers.0.weight"') + 30),
    `${text}x`,
    text.replace('"tensors": {', '"tensors": [{').replace('},\n  "output"', '}],\n  "output"'),
    text.replace(/"method": "\w+"/, '"method": 5'),
    text.replace('"lineage": 2', '"lineage": 3'),
    '[]',
    '',
    '5',
  ]
  const messageOf = (source: string | Uint8Array): string => {
    try {
      parseLineage(source, 'x.json')
      return 'read'
    } catch (error) {
      return (error as Fault).diagnostics[0]!.message
    }
  }
  for (const source of broken) assert.is(messageOf(Buffer.from(source)), messageOf(source), source.slice(-80))
  assert.match(messageOf(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), /not JSON/)
})

test('tensors are one per line in code-unit order, also names such as 10 and __proto__', () => {
  const lines = text.split('\n').filter((line) => /^ {4}"[^"]+": \{"method"/.test(line))
  assert.equal(
    lines.map((line) => /"([^"]+)"/.exec(line)![1]),
    ['10', '__proto__', 'layers.0.weight', 'layers.1.weight', 'task'],
  )
})

test('the order of names in the input does not matter', () => {
  const turned = <T>(record: Readonly<Record<string, T>>): Record<string, T> => {
    const result: Record<string, T> = Object.create(null)
    for (const [key, value] of Object.entries(record).reverse()) result[key] = value
    return result
  }
  const parameters = { b: 1, a: [2, { d: null, c: true }] }
  const entry = { ...sample.tensors.task!, parameters }
  const lineage: Lineage = { ...sample, tensors: { task: entry }, evaluations: { loss: 1e21, accuracy: -0 } }
  const other: Lineage = {
    ...lineage,
    models: turned(sample.models),
    steps: turned(sample.steps),
    tensors: { task: { ...entry, parameters: turned(parameters) } },
    evaluations: turned(lineage.evaluations!),
  }
  assert.is(lineageText(other), lineageText(lineage))
  assert.match(lineageText(lineage), '"parameters": {"a": [2, {"c": true, "d": null}], "b": 1}')
  assert.match(lineageText(lineage), '"loss": 1e+21')
})

test('NaN and infinities are internal errors', () => {
  assert.throws(() => lineageText({ ...sample, seed: Number.NaN }), /internal:/)
})

test('built lineages follow the schema, which is strict', () => {
  for (const built of [
    sample,
    buildLineage({
      ...input,
      plan: {
        ...input.plan,
        outputs: input.plan.outputs.map((output) => ({
          ...output,
          point: { step: 'path', name: 't-0.500', t: 0.5 },
          keep: false,
        })),
      },
      made: { ...input.made, evaluations: { loss: 0.5 } },
    }),
    buildLineage({
      ...input,
      read: {
        ...input.read,
        sums: [undefined, { sha256: `sha256:${'0'.repeat(64)}`, sha256_from: 'published' }, undefined],
        beside: new Map([['a', [{ name: 'config.json', size: 2, digest: null, sha256: `sha256:${'1'.repeat(64)}` }]]]),
      },
    }),
  ]) {
    assert.ok(matches(JSON.parse(lineageText(built))), ajv.errorsText(matches.errors))
    assert.is(lineageText(parseLineage(lineageText(built), 'x.json')), lineageText(built))
  }
  assert.not(matches({ ...JSON.parse(text), time: 1 }))
})

test('invalid lineages are refused with the place of the error', () => {
  assert.is(faultOf('{')!.code, 'bad-lineage')
  assert.match(faultOf('[]')!.message, 'the lineage must be an object')
  assert.is(faultOf('{"lineage": 3}')!.code, 'lineage-version')
  // biome-ignore lint/suspicious/noExplicitAny: what is broken has no type.
  const edit = (change: (lineage: any) => void): string => {
    const lineage = JSON.parse(text)
    change(lineage)
    return faultOf(JSON.stringify(lineage))!.message
  }
  assert.match(
    edit((l) => (l.tensors.task.sources[0].weight = '1')),
    'x.json: tensors.task.sources[0].weight must be a number',
  )
  assert.match(
    edit((l) => (l.tensors.task.dtype = 'F31')),
    'tensors.task.dtype',
  )
  assert.match(
    edit((l) => delete l.plan),
    'plan must be present',
  )
  assert.match(
    edit((l) => (l.host = 'me')),
    'host must be absent',
  )
  assert.match(
    edit((l) => (l.output.files[0].name = '../up')),
    'inside its folder',
  )
  assert.match(
    edit((l) => (l.output.files[0].name = '/etc/passwd')),
    'inside its folder',
  )
  assert.match(
    edit((l) => (l.output.tensors = 4)),
    'output.tensors must be the number of tensors, 5',
  )
  assert.match(
    edit((l) => (l.models.a.index = l.models.b.index)),
    'one index each',
  )
  assert.match(
    edit((l) => (l.tensors['a.b'] = 1)),
    'tensors["a.b"] must be an object',
  )
})

test('nesting is bounded', () => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000)
  assert.is(faultOf(deep)!.code, 'bad-lineage')
  const nested = text.replace('"parameters": {"', `"parameters": {"x": ${deep}, "`)
  assert.match(faultOf(nested)!.message, 'nested')
  const source = '{"model": "a", "tensor": "t", "weight": null'
  const of = `${`${source}, "of": {"method": "copy", "parameters": {}, "sources": [`.repeat(200)}${source}}${']}}'.repeat(200)}`
  assert.match(faultOf(text.replace('"sources": [', `"sources": [${of}, `))!.message, 'nested')
})

/** Values of every kind, put in the place of each part of a lineage in turn. */
const REPLACEMENTS = [
  null,
  true,
  -1,
  1.5,
  7,
  '',
  'x',
  '..',
  'sha256:00',
  `xxh3t:${'0'.repeat(32)}`,
  [],
  [1],
  {},
  { a: 1 },
  2 ** 60,
]

function* mutants(value: Record<string, unknown>): Generator<() => () => void> {
  for (const key of Object.keys(value)) {
    for (const replacement of REPLACEMENTS)
      yield () => {
        const before = value[key]
        value[key] = replacement
        return () => {
          value[key] = before
        }
      }
    yield () => {
      const before = value[key]
      delete value[key]
      return () => {
        value[key] = before
      }
    }
    if (typeof value[key] === 'object' && value[key] !== null) yield* mutants(value[key] as Record<string, unknown>)
  }
}

test('reading and the schema accept and refuse the same', () => {
  const lineage = JSON.parse(text)
  // What the schema cannot say.
  const beyond = /number of tensors|one index each/
  let accepted = 0
  let refused = 0
  for (const mutate of [...mutants(lineage)]) {
    const restore = mutate()
    const source = JSON.stringify(lineage)
    const found = faultOf(source)
    const valid = matches(JSON.parse(source))
    if (!(found && beyond.test(found.message)) && found?.code !== 'lineage-version')
      assert.is(found === undefined, valid, `${found?.message} / ${ajv.errorsText(matches.errors)}`)
    if (found) refused++
    else accepted++
    restore()
  }
  assert.ok(accepted > 100 && refused > 1000, `${accepted} ${refused}`)
})

test.run()
