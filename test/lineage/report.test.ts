import { createHash } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { reportHtml } from '../../src/lineage/forms/page/index.js'
import type { SourceData } from '../../src/lineage/forms/page/pageData.js'
import { tergeReport, tergeReportText } from '../../src/lineage/forms/terge.js'
import { parseLineage } from '../../src/lineage/parse.js'
import { lineageText } from '../../src/lineage/serialize.js'
import type { Lineage, LineageTensor } from '../../src/lineage/types.js'
import { dataOf, mergesOf, namesOf, part } from '../support/page.js'
import { sample } from './sample.js'

const linear = (layer: number, weights: readonly number[]): LineageTensor => ({
  method: 'linear',
  parameters: { normalize: true },
  sources: weights.map((weight, index) => ({ model: 'abc'[index]!, tensor: `m.layers.${layer}.w`, weight })),
  dtype: 'BF16',
  shape: [4, 4],
  digest: null,
})

const withTensors = (tensors: Record<string, LineageTensor>): Lineage => ({
  ...sample,
  tensors,
  output: { ...sample.output, tensors: Object.keys(tensors).length },
})

test('the library’s form: indexes in the recipe’s order, averages multiplied out, no copies', () => {
  const report = tergeReport(sample)
  assert.equal(Object.keys(report), ['layers.0.weight', 'layers.1.weight', 'task'])
  assert.equal(report['layers.0.weight'], [
    'arithmetic',
    [
      [0, 0.5],
      [1, 0.125],
      [2, 0.375],
    ],
  ])
  assert.equal(report['layers.1.weight'], [
    'arithmetic',
    [
      [0, 0.75],
      [1, 0.25],
    ],
  ])
  assert.equal(report.task, ['task_arithmetic', [[0, 0.5]]])
})

test('a method without weights gives null, and the weights of a model that occurs twice are added', () => {
  const entry = linear(0, [0.25, 0.75])
  const twice: LineageTensor = {
    ...entry,
    sources: [
      entry.sources[0]!,
      { model: 'soup', tensor: 'x', weight: 0.75, of: { ...entry, sources: [{ ...entry.sources[0]!, weight: 1 }] } },
    ],
  }
  const slerp: LineageTensor = {
    ...entry,
    method: 'slerp',
    sources: entry.sources.map((source) => ({ ...source, weight: null })),
  }
  const report = tergeReport(withTensors({ twice, slerp }))
  assert.equal(report.twice, ['arithmetic', [[0, 1]]])
  assert.equal(report.slerp, [
    'slerp',
    [
      [0, null],
      [1, null],
    ],
  ])
})

test('the library has no buffers, and only the first name of a tied parameter', () => {
  const digest = (text: string) => `xxh3-128:${text.repeat(32)}` as const
  const entry = { ...linear(0, [0.5, 0.5]), digest: digest('1') as LineageTensor['digest'] }
  const other = { ...entry, digest: digest('2') as LineageTensor['digest'] }
  const report = tergeReport(
    withTensors({
      'bn.running_mean': entry,
      'bn.running_var': other,
      'bn.weight': entry,
      'lm_head.weight': entry,
      'model.embed_tokens.weight': entry,
      'own.lm_head.weight': other,
    }),
  )
  assert.equal(Object.keys(report), ['bn.weight', 'model.embed_tokens.weight', 'own.lm_head.weight'])
})

test('parts that are listed once are followed as nested ones are, however often they are used', () => {
  const source = (model: string, weight: number) => ({ model, tensor: 'w', weight })
  const entry = linear(0, [])
  const parts = Array.from({ length: 300 }, (_, step) => ({
    ...{ model: `s${step}`, tensor: 'w', method: 'linear', parameters: {} },
    sources:
      step === 0 ? [source('a', 0.5), source('b', 0.5)] : [source(`s${step - 1}`, 0.5), source(`s${step - 1}`, 0.5)],
  }))
  const whole = { ...entry, sources: [source('s299', 0.25), source('c', 0.75)], parts }
  const lineage = withTensors({ w: whole })
  assert.equal(tergeReport(lineage).w, [
    'arithmetic',
    [
      [0, 0.75],
      [1, 0.125],
      [2, 0.125],
    ],
  ])
  const read = parseLineage(lineageText(lineage), 'l').tensors.w
  assert.equal(JSON.parse(JSON.stringify(read?.parts)), parts)
})

test('its text is JSON with one line per tensor', () => {
  const text = tergeReportText(sample)
  assert.equal(JSON.parse(text), JSON.parse(JSON.stringify(tergeReport(sample))))
  assert.match(text, '\n  "layers.1.weight": ["arithmetic", [[0, 0.75], [1, 0.25]]],\n')
  assert.is(tergeReportText(withTensors({})), '{}\n')
})

test('the page allows only its own script and style, and loads nothing', () => {
  const page = reportHtml(sample)
  const policy = part(page, 'Content-Security-Policy" content="', '"')
  const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
  assert.match(policy, "default-src 'none'")
  assert.match(policy, `script-src ${hash(part(page, '<script>', '</script>'))};`)
  assert.match(policy, `style-src ${hash(part(page, '<style>', '</style>'))};`)
  assert.ok(page.indexOf('Content-Security-Policy') < page.indexOf('<style>'))
  assert.not.match(page, /\bsrc=/)
  // Links to papers are followed, not loaded.
  assert.not.match(page, /\bhref="(?!#|https:\/\/(arxiv\.org\/abs|huggingface\.co)\/)/)
  assert.not.match(page, /<[^>]+\s(style|on\w+)=/)
})

test('nothing from a lineage becomes markup', () => {
  const evil = '</script><img src=x onerror=alert(1)>"\'&\u202e'
  const entry: LineageTensor = {
    ...linear(1, [1]),
    method: evil,
    parameters: { [evil]: evil },
    sources: [{ model: evil, tensor: evil, weight: 1 }],
    absent: [{ model: evil, reason: 'shape' }],
  }
  const file = { name: evil, size: 1, digest: null }
  const page = reportHtml({
    terge: evil,
    lineage: 1,
    recipe: { text: evil, digest: 'sha256:00', set: [evil] },
    plan: { digest: 'sha256:00' },
    seed: 0,
    models: { [evil]: { index: 0, reference: evil, revision: evil, files: [file] } },
    steps: { [evil]: { kind: 'stack', patterns: [], models: [evil] } },
    tensors: { [`layers.1.${evil}`]: entry, [evil]: { ...entry, method: 'copy', reason: 'excluded' } },
    output: { from: evil, files: [file], tensors: 2, digest: null },
    evaluations: { [evil]: 1 },
  })
  assert.not.match(page, '<img')
  assert.is(page.split('</script>').length, 5)
  assert.not.match(page, '\u202e')
  assert.equal(namesOf(page), [evil, `layers.1.${evil}`])
})

test('figures of a step are text, not JSON', () => {
  const score = { before: 5.034470945596695, after: 212.77099609375 }
  const page = reportHtml({
    ...sample,
    steps: {
      moved: {
        ...{ kind: 'rebasin', patterns: [], models: ['a', 'b'], model: 'a', onto: 'b', iterations: 3, seed: 0, score },
        ...{ method: 'weight-matching', symmetry: 'permutation', family: 'chain', similarity: { before: 0, after: 1 } },
      },
    },
  })
  assert.match(
    page,
    '<dt>score</dt><dd><b><span title="5.034470945596695">5.034</span></b> → <b><span title="212.77099609375">212.8</span></b></dd>',
  )
})

test('the page has the recipe by lines, models, copies and every tensor', () => {
  const page = reportHtml(sample)
  assert.match(page, '<code>terge: 1</code><code>models: …</code></div>')
  assert.match(page, 'Lineage of merged.safetensors')
  assert.match(page, 'excluded by filters')
  assert.match(page, 'b: has them in another shape')
  const { rows, methods, reasons } = dataOf(page)
  const merges = mergesOf(page)
  assert.equal(namesOf(page), ['10', '__proto__', 'layers.0.weight', 'layers.1.weight', 'task'])
  assert.equal(
    reasons.map(({ code }) => code),
    ['not-included', 'excluded'],
  )
  const task = merges[rows.merges[4]!]!
  assert.is(methods[task[0]], 'task_arithmetic')
  const [, , , base] = task
  const [[model, tensor]] = merges[(base as SourceData)[3]!]![2] as [SourceData]
  assert.equal([dataOf(page).names[model], tensor], ['b', 0])
})

test('heat maps and lines: one line for all modules with the same values, and gaps for copied layers', () => {
  const tensors: Record<string, LineageTensor> = {}
  for (let layer = 0; layer < 6; layer++) {
    tensors[`m.layers.${layer}.w`] = linear(layer, [layer / 5, 1 - layer / 5])
    tensors[`m.layers.${layer}.v`] = linear(layer, [layer / 5, 1 - layer / 5])
    tensors[`m.layers.${layer}.u`] = linear(layer, [0.5, 0.5])
  }
  tensors['m.layers.2.u'] = { ...linear(2, []), method: 'copy', reason: 'excluded' }
  const page = reportHtml(withTensors(tensors))
  const layers = part(page, '<section id="layers">', '</section>')
  // How each tensor was made, and the weights of both models.
  assert.is(layers.split('<figure>').length, 4)
  assert.is(layers.split('<svg').length, 4)
  assert.match(layers, 'href="#tensors?search=%2F%5Em%5C.layers%5C.%5Cd%2B%5C.v%24%2F"')
  assert.match(layers, '<title>layer 2: copied: excluded by filters</title>')
  assert.match(layers, '<title>layer 3: 0.6</title>')
  const lines = part(page, '<section id="parameters">', '</section>')
  assert.match(lines, '<span class="key c0">v, w</span>')
  assert.match(lines, '<title>v, w, layer 3: 0.6</title>')
  assert.is((lines.match(/<title>u, layer 2: 0.5/g) ?? []).length, 0)
  assert.is((lines.match(/<title>u, layer 3: 0.5/g) ?? []).length, 2)
})

test('tensors that a step computed count as made, and deep records of a step are lists', () => {
  const tensors = {
    'embed.weight': { ...linear(0, [1, 1]), method: 'transplant', parameters: {}, reason: 'transplanted' as const },
    'm.layers.0.w': { ...linear(0, [1]), method: 'copy', parameters: {}, reason: 'same-model' as const },
  }
  const worst = [
    { token: 'aa', residual: 0.5 },
    { token: 'bb', residual: 0.25 },
  ]
  const swap = {
    kind: 'transplant',
    patterns: [],
    models: ['a'],
    residuals: { embedding: { mean: 0.125, max: 0.5, worst } },
  }
  const page = reportHtml({ ...withTensors(tensors), steps: { swap } } as unknown as Lineage)
  const head = page.slice(0, page.indexOf('<section id="layers">'))
  assert.match(head, /<b>1<\/b>\s*<span>made|1<\/[a-z]+><[a-z]+>made/)
  const layers = part(page, '<section id="layers">', '</section>')
  assert.match(layers, '>transplant 1</a>')
  assert.match(layers, '>copied: the output is this model 1</a>')
  assert.not.match(part(page, '<section id="copies">', '</section>'), 'rows of another vocabulary')
  assert.match(page, '<option value="transplanted">rows of another vocabulary</option>')
  const steps = part(page, '<section id="steps">', '</section>')
  assert.match(
    steps,
    'mean <b>0.125</b> · max <b>0.5</b><ul><li>worst <ul><li>token <code>aa</code> · residual <b>0.5</b></li>',
  )
  assert.not.match(steps, '{&quot;')
})

test('50,000 tensors with weights of their own give a page of a few megabytes', () => {
  const tensors: Record<string, LineageTensor> = {}
  for (let index = 0; index < 50_000; index++) {
    const name = `model.layers.${index % 60}.mlp.experts.${Math.floor(index / 60)}.down_proj.weight`
    const weight = (index + 1) / 50_001
    tensors[name] = {
      ...linear(index % 60, [weight, 1 - weight]),
      digest: `xxh3t:${createHash('md5').update(name).digest('hex')}`,
    }
    for (const source of tensors[name].sources) Object.assign(source, { tensor: name })
  }
  const page = reportHtml(withTensors(tensors))
  const { rows } = dataOf(page)
  assert.is(rows.names.length, 50_000)
  assert.equal(namesOf(page).slice(0, 2), [
    'model.layers.0.mlp.experts.0.down_proj.weight',
    'model.layers.0.mlp.experts.1.down_proj.weight',
  ])
  assert.ok(page.length < 12e6, `${page.length}`)
})

test('papers are links, and models on the hub; other references are text', () => {
  const model = (index: number, reference: string) => ({ index, reference, files: [] })
  const page = reportHtml({
    ...sample,
    models: {
      a: model(0, 'hf:mistralai/Mistral-7B-v0.1@main'),
      b: model(1, 'hf:../evil"onload'),
      c: model(2, 'models/hf:x/y'),
      d: model(3, 'javascript:alert(1)'),
      e: model(4, 'hf:gpt2'),
    },
  })
  const links = [...page.matchAll(/href="(https[^"]*)"/g)].map(([, address]) => address)
  assert.equal(
    links.filter((address) => address!.includes('hugging')),
    ['https://huggingface.co/mistralai/Mistral-7B-v0.1', 'https://huggingface.co/gpt2'],
  )
  assert.ok(links.includes('https://arxiv.org/abs/2203.05482'))
})

test.run()
