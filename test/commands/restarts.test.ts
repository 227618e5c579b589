/** Several seeds of an alignment: the best score, or the best metric of the model that is made with each. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

/** Networks with nothing in common, so that each order of the groups ends elsewhere. */
const network = (seed: number) => ({
  'fc1.weight': f32([12, 8], numbers(96, seed)),
  'fc2.weight': f32([12, 12], numbers(144, seed + 1)),
  'fc3.weight': f32([12, 12], numbers(144, seed + 2)),
  'fc4.weight': f32([4, 12], numbers(48, seed + 3)),
})
/** The metric: the first weight of the average. Counts its calls. */
const EVALUATE = `import { appendFileSync, readFileSync } from 'node:fs'
appendFileSync('calls', 'x')
const bytes = readFileSync(process.argv[2])
const start = 8 + Number(bytes.readBigUInt64LE())
const header = JSON.parse(bytes.toString('utf8', 8, start))
console.log(JSON.stringify({ height: bytes.readFloatLE(start + header['fc2.weight'].data_offsets[0]) }))
`

const withNetworks = (work: (folder: string) => Promise<void>) =>
  inFolder(async (folder) => {
    for (const [index, name] of ['a', 'b', 'c'].entries())
      writeModel(path.join(folder, `${name}.safetensors`), network(1 + 10 * index))
    writeFileSync(path.join(folder, 'evaluate.mjs'), EVALUATE)
    await work(folder)
  })

const recipe = (rebasin: string, evaluate = true): string =>
  `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
rebasin: {spec: chain, ${rebasin}}
merge: {method: linear${rebasin.includes('models') ? '' : ', models: [a, b]'}}
output: out.safetensors
${evaluate ? 'evaluate: {command: [node, evaluate.mjs, "{model}"]}' : ''}
`
const lineage = (folder: string) => JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))

async function run(folder: string, text: string, ...flags: string[]) {
  writeFileSync(path.join(folder, 'r.yml'), text)
  const ran = await terge(['run', 'r.yml', '--threads', '1', '--allow-commands', ...flags], folder)
  assert.is(ran.code, 0, ran.err)
  return { out: ran.out, lineage: lineage(folder) }
}

interface Candidate {
  readonly seed: number
  readonly score: number
  readonly value?: number
}

test('restarts keep the best score; the seed alone gives the same again', () =>
  withNetworks(async (folder) => {
    const { lineage: found, out } = await run(folder, recipe('model: b, onto: a, seed: 5, restarts: 6', false))
    const { restarts, seed, score } = found.steps['rebasin-b']
    const scores = restarts.candidates.map((candidate: Candidate) => candidate.score)
    assert.equal(
      restarts.candidates.map((candidate: Candidate) => candidate.seed),
      [5, 6, 7, 8, 9, 10],
    )
    assert.ok(new Set(scores).size > 1, 'seeds find different optima')
    assert.is(score.after, Math.max(...scores))
    assert.is(restarts.by, 'score')
    assert.is(restarts.seed, seed)
    assert.match(out, `seed ${seed} of 6 by score`)
    const { lineage: again } = await run(
      folder,
      recipe(`model: b, onto: a, seed: ${seed}, restarts: 1`, false),
      '--force',
    )
    assert.is(again.output.digest, found.output.digest)
  }))

for (const [name, rebasin, step] of [
  ['weight-matching', 'model: b, onto: a', 'rebasin-b'],
  ['merge-many', 'models: [a, b, c], method: merge-many', 'rebasin.b'],
  ['c2m3', 'models: [a, b, c], method: c2m3', 'rebasin.b'],
] as const)
  test(`select by a metric: ${name}`, () =>
    withNetworks(async (folder) => {
      const select = (how: string) => recipe(`${rebasin}, restarts: 4, select: {${how}: height}`)
      const most = await run(folder, select('maximize'))
      const own = Object.entries(most.lineage.steps).find(([name]) => name.startsWith('rebasin') && name.endsWith('b'))!
      assert.ok(own, step)
      const { restarts } = own[1] as { restarts: { seed: number; by: string; candidates: Candidate[] } }
      const values = restarts.candidates.map(({ value }) => value!)
      assert.is(restarts.by, 'height')
      assert.is(most.lineage.evaluations.height, Math.max(...values))
      assert.is(restarts.candidates.find(({ seed }) => seed === restarts.seed)!.value, Math.max(...values))
      // The final model is evaluated once more; seeds with equal results are evaluated once.
      const scores = new Set(restarts.candidates.map(({ score }) => score)).size
      assert.ok(readFileSync(path.join(folder, 'calls')).length <= scores + 1)
      assert.is((await terge(['verify', 'out.safetensors', '--reproduce'], folder)).code, 0)
      const least = await run(folder, select('minimize'), '--force')
      assert.is(least.lineage.evaluations.height, Math.min(...values))
    }))

test('a resumed run keeps the choice, and commands are needed for it', () =>
  withNetworks(async (folder) => {
    const text = recipe('model: b, onto: a, restarts: 3, select: {maximize: height}')
    const first = await run(folder, text, '--resume')
    rmSync(path.join(folder, 'calls'))
    const second = await run(folder, text, '--resume')
    assert.is(second.lineage.output.digest, first.lineage.output.digest)
    assert.not(existsSync(path.join(folder, 'calls')))
    const refused = await terge(['run', 'r.yml', '--force'], folder)
    assert.is(refused.code, 2)
    assert.match(refused.err, 'needs-commands')
    writeFileSync(path.join(folder, 'r.yml'), text.replace('maximize: height', 'maximize: width'))
    const missing = await terge(['run', 'r.yml', '--force', '--allow-commands'], folder)
    assert.is(missing.code, 1)
    assert.match(missing.err, "printed no metric 'width'")
  }))

test('keys that do not go together', () =>
  withNetworks(async (folder) => {
    const refuse = async (text: string, message: string) => {
      writeFileSync(path.join(folder, 'r.yml'), text)
      const found = await terge(['validate', 'r.yml'], folder)
      assert.is(found.code, 2)
      assert.match(found.err, message)
    }
    await refuse(recipe('model: b, onto: a, select: {maximize: height}'), 'select needs the number of seeds')
    await refuse(recipe('model: b, onto: a, restarts: 2, select: {}'), 'select needs a metric')
    await refuse(recipe('model: b, onto: a, restarts: 2, symmetry: orthogonal'), 'finds the same for every seed')
    const none = recipe('model: b, onto: a, restarts: 2, select: {maximize: height}', false)
    await refuse(none, 'select measures one output, but the recipe evaluates no output')
  }))

test.run()
