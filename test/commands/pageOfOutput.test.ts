/** The page of a lineage names the output, and says what became of a point on a path. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { part } from '../support/page.js'
import { fixture, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((seed) => fixture(`digits/mlp256-${seed}.safetensors`))

test('a point says t, and lists no file that was not kept; titles are the output’s name', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'evaluate.mjs'), 'console.log(JSON.stringify({ loss: 1 }))\n')
    writeFileSync(
      path.join(folder, 'path.yml'),
      `terge: 1
models: {a: ${A}, b: ${B}}
steps:
  path: {interpolate: {from: a, to: b, at: [0.5], evaluate: {command: [node, evaluate.mjs, "{model}"]}, keep: false}}
output: out
`,
    )
    const ran = await terge(['run', 'path.yml', '--allow-commands'], folder)
    assert.is(ran.code, 0, ran.err)
    const [, lineage] = /lineage in (\S+)/.exec(ran.out)!
    const { out: page } = await terge(['report', lineage!], folder)
    assert.match(page, '<title>Lineage of t-0.500</title>')
    assert.match(page, 'from <code>path</code> at t = <code>0.5</code>')
    assert.match(page, 'The checkpoint was evaluated and not kept.')
    const files = /<section id="files">.*?<\/section>/s.exec(page)![0]
    assert.not.match(files, 'safetensors')

    assert.is((await terge(['merge', A!, B!, '-o', 'averaged'], folder)).code, 0)
    const { out: other } = await terge(['report', 'averaged/lineage.json'], folder)
    assert.match(other, '<title>Lineage of averaged</title>')
  }))

test('a folder of points gives one page for all of them, and the page of each point shows the whole curve', () =>
  inFolder(async (folder) => {
    const at = (name: string): string => path.join(folder, name)
    for (const [name, seed] of [
      ['a', 1],
      ['b', 2],
    ] as const)
      writeModel(at(`${name}.safetensors`), { w: f32([2, 3], numbers(6, seed)) })
    writeFileSync(
      at('e.mjs'),
      `const t = Number(/t-(\\d\\.\\d+)/.exec(process.argv[2])[1])
console.log(JSON.stringify({ loss: 1 + 4 * t * (1 - t) }))
`,
    )
    writeFileSync(
      at('r.yml'),
      `terge: 1
models: {a: a.safetensors, b: b.safetensors}
steps:
  path: {interpolate: {from: a, to: b, points: 5, evaluate: {command: [node, e.mjs, "{model}"]}}}
output: out
`,
    )
    assert.is((await terge(['run', 'r.yml', '--allow-commands'], folder)).code, 0)
    const curve = (page: string): string[] =>
      [...part(page, '<section id="evaluations">', '</section>').matchAll(/<title>(loss, t .*?)<\/title>/g)].map(
        ([, text]) => text!,
      )
    const all = ['loss, t 0: 1', 'loss, t 0.25: 1.75', 'loss, t 0.5: 2', 'loss, t 0.75: 1.75', 'loss, t 1: 1']
    const whole = (await terge(['report', 'out'], folder)).out
    assert.match(whole, '<title>Path out</title>')
    // The only chart has two forms.
    assert.equal(curve(whole), [...all, ...all])
    assert.match(whole, 'barrier <b>1</b> at t = 0.5')
    const { out: point } = await terge(['report', 'out/t-0.250.lineage.json'], folder)
    assert.match(point, '<title>Lineage of t-0.250</title>')
    assert.equal(curve(point), [...all, ...all])
    assert.match(point, '<b>0.25</b> this one')
    // Without the summary, from the lineages of all points.
    rmSync(at('out/summary.json'))
    assert.is((await terge(['report', 'out'], folder)).out, whole)
    // A summary that points elsewhere is refused.
    const summary = {
      points: [
        ['t-0.000', 0],
        ['t-0.500', 0.5],
      ],
      ...{ terge: '0.1.0', summary: 1, step: 'path' },
    }
    const point0 = JSON.parse(readFileSync(at('out/t-0.500.lineage.json'), 'utf8'))
    for (const [lineage, message] of [
      ['t-0.250.lineage.json', 'is not the lineage of this path at t = 0.5'],
      ['t-9.lineage.json', 'does not exist'],
    ] as const) {
      const points = summary.points.map(([name, t]) => ({ t, name, lineage, kept: true, metrics: {} }))
      writeFileSync(
        at('out/summary.json'),
        JSON.stringify({ ...summary, points, plan: point0.plan, barriers: {}, drops: {} }),
      )
      const refused = await terge(['report', 'out'], folder)
      assert.is(refused.code, 2)
      assert.match(refused.err, message)
    }
  }))

test.run()
