/** The summary of a path: what it has, when it is written, and when it is not. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Fault } from '../../src/core/diagnostics.js'
import { readLineage } from '../../src/lineage/disk.js'
import { readPath, readPathOf } from '../../src/lineage/path/read.js'
import { parseSummary } from '../../src/lineage/path/summary.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

/** The loss has a bump, the accuracy a hole, and names of metrics can be anything. */
const SCRIPT = `const t = Number(/t-(\\d\\.\\d+)/.exec(process.argv[2])[1])
if (process.env.FAIL === String(t)) process.exit(3)
console.log(JSON.stringify({ loss: 1 + 4 * t * (1 - t), accuracy: t === 0.25 ? 0.5 : 1, 'a,"b"': 2, __proto__x: 1, ...(t === 1 ? { late: 7 } : {}) }))
`
const ALLOW = '--allow-commands'

const recipe = (keys: string, output = 'out'): string =>
  `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nsteps:\n  path: {interpolate: {from: a, to: b, ${keys}}}\noutput: ${output}\n`
const EVALUATE = 'evaluate: {command: [node, e.mjs, "{model}"]}'

const inPlace = (work: (folder: string, at: (name: string) => string) => Promise<void>) => () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'e.mjs'), SCRIPT)
    for (const [name, seed] of [
      ['a', 1],
      ['b', 2],
    ] as const)
      writeModel(path.join(folder, `${name}.safetensors`), { w: f32([2, 3], numbers(6, seed)) })
    writeFileSync(path.join(folder, 'r.yml'), recipe(`at: [0.25, 1, 0, 0.5], ${EVALUATE}`))
    await work(folder, (name) => path.join(folder, name))
  })

const readAt = (file: string): string => readFileSync(file, 'utf8')

test(
  'all points by t, barriers, drops, and the same table as CSV',
  inPlace(async (folder, at) => {
    const ran = await terge(['run', 'r.yml', ALLOW, '--json'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.equal(JSON.parse(ran.out).summaries, [at('out/summary.json'), at('out/summary.csv')])
    const summary = JSON.parse(readAt(at('out/summary.json')))
    assert.equal(
      summary.points.map(({ t }: { t: number }) => t),
      [0, 0.25, 0.5, 1],
    )
    assert.equal(summary.points[1], {
      t: 0.25,
      name: 't-0.250',
      lineage: 't-0.250.lineage.json',
      kept: true,
      metrics: { accuracy: 0.5, loss: 1.75, 'a,"b"': 2, __proto__x: 1 },
    })
    assert.equal([summary.step, summary.summary], ['path', 1])
    assert.equal(summary.barriers, { loss: { height: 1, t: 0.5 } })
    assert.equal(summary.drops, { accuracy: { height: 0.5, t: 0.25 } })
    assert.is(
      readAt(at('out/summary.csv')),
      't,point,__proto__x,"a,""b""",accuracy,late,loss\n0,t-0.000,1,2,1,,1\n0.25,t-0.250,1,2,0.5,,1.75\n0.5,t-0.500,1,2,1,,2\n1,t-1.000,1,2,1,7,1\n',
    )
    // Each point leads to the whole path, and so do the lineages alone.
    const found = await readPath(at('out'))
    assert.equal(JSON.parse(JSON.stringify(found)), summary)
    const { lineage } = await readLineage(at('out/t-0.500.lineage.json'))
    assert.equal(await readPathOf(lineage, at('out/t-0.500.lineage.json')), found)
    rmSync(at('out/summary.json'))
    assert.equal(await readPath(at('out')), found)
  }),
)

test(
  'a run that was interrupted, resumed or forced has the same bytes, and no summary of other points is left',
  inPlace(async (folder, at) => {
    const run = (...flags: string[]) => terge(['run', 'r.yml', ALLOW, '--threads', '1', ...flags], folder)
    assert.is((await run()).code, 0)
    const texts = () => ['json', 'csv'].map((form) => readAt(at(`out/summary.${form}`)))
    const expected = texts()
    const refused = await run()
    assert.is(refused.code, 2)
    // Killed by its command at the third point, a forced run leaves no summary.
    writeFileSync(at('e.mjs'), SCRIPT.replace('process.env.FAIL', '"0"'))
    assert.is((await run('--force', '--resume')).code, 0)
    assert.equal(texts(), expected)
    writeFileSync(at('r.yml'), recipe(`at: [0.25, 1, 0, 0.5, 0.75], ${EVALUATE}`))
    const failed = await run('--force')
    assert.is(failed.code, 1, failed.err)
    assert.not(existsSync(at('out/summary.json')) || existsSync(at('out/summary.csv')))
    writeFileSync(at('e.mjs'), SCRIPT)
    writeFileSync(at('r.yml'), recipe(`at: [0.25, 1, 0, 0.5], ${EVALUATE}`))
    assert.is((await run('--force')).code, 0)
    assert.equal(texts(), expected)
    const made = statSync(at('out/summary.json')).mtimeMs
    rmSync(at('out/t-0.500.lineage.json'))
    rmSync(at('out/t-0.500.safetensors'))
    rmSync(at('out/summary.csv'))
    assert.is((await run('--resume')).code, 0)
    assert.equal(texts(), expected)
    assert.ok(statSync(at('out/summary.json')).mtimeMs >= made)
  }),
)

test(
  'keep: false has a summary of the points that were not kept; a path without evaluate has none',
  inPlace(async (folder, at) => {
    writeFileSync(at('r.yml'), recipe(`points: 2, keep: false, ${EVALUATE}`))
    assert.is((await terge(['run', 'r.yml', ALLOW], folder)).code, 0)
    const { points } = JSON.parse(readAt(at('out/summary.json')))
    assert.equal(
      points.map(({ lineage, kept }: { lineage: string; kept: boolean }) => [lineage, kept]),
      [
        ['t-0.000/lineage.json', false],
        ['t-1.000/lineage.json', false],
      ],
    )
    writeFileSync(at('n.yml'), recipe('points: 2', 'plain'))
    assert.is((await terge(['run', 'n.yml'], folder)).code, 0)
    assert.not(existsSync(at('plain/summary.json')))
  }),
)

test(
  'other files with these names are refused, two paths in one folder and an output in the way as well',
  inPlace(async (folder, at) => {
    mkdirSync(at('out'))
    writeFileSync(at('out/summary.csv'), 'mine')
    for (const flags of [[], ['--resume']]) {
      const ran = await terge(['run', 'r.yml', ALLOW, ...flags], folder)
      assert.is(ran.code, 2)
      assert.match(ran.err, /error output-exists: .*summary\.csv: exists already/)
    }
    assert.is(readAt(at('out/summary.csv')), 'mine')
    renameSync(at('out/summary.csv'), at('out/other.csv'))
    mkdirSync(at('out/summary.json'))
    assert.match((await terge(['run', 'r.yml', ALLOW, '--force'], folder)).err, /summary\.json: is not a file/)
    const both = recipe(`at: [0], ${EVALUATE}`).replace(
      '\noutput: out',
      '\n  more: {interpolate: {from: a, to: b, at: [1]}}\noutputs: [{from: path, path: o}, {from: more, path: l}]',
    )
    mkdirSync(at('o'))
    symlinkSync('o', at('l'))
    writeFileSync(at('two.yml'), both)
    assert.match(
      (await terge(['validate', 'two.yml'], folder)).err,
      /error contradiction: .*is in the folder of .*another path/,
    )
    writeFileSync(at('two.yml'), both.replace('{from: more, path: l}', '{from: a, path: o/summary.json}'))
    assert.match(
      (await terge(['validate', 'two.yml'], folder)).err,
      /error contradiction: .*has the name of the summary/,
    )
  }),
)

test('a hostile summary is an error', () => {
  const good = {
    terge: '1',
    summary: 1,
    step: 's',
    plan: { digest: `sha256:${'0'.repeat(64)}` },
    points: [],
    barriers: {},
    drops: {},
  }
  assert.equal(parseSummary(JSON.stringify(good), 'x').step, 's')
  const point = { t: 0, name: 'a', lineage: 'a.lineage.json', kept: true, metrics: {} }
  const bad = [
    '{',
    JSON.stringify({ ...good, summary: 2 }),
    JSON.stringify({ ...good, more: 1 }),
    ...[{ lineage: '../x' }, { t: '0' }, { metrics: { a: 'b' } }, { kept: 1 }].map((wrong) =>
      JSON.stringify({ ...good, points: [{ ...point, ...wrong }] }),
    ),
  ]
  for (const text of bad)
    try {
      parseSummary(text, 'x')
      assert.unreachable(text)
    } catch (error) {
      assert.is((error as Fault).diagnostics?.[0]?.code, 'bad-summary', text)
    }
})

test.run()
