/** The page of a lineage names the output, and says what became of a point on a path. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
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

test.run()
