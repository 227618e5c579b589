import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { parseLineage } from '../../src/lineage/parse.js'
import { plan } from '../../src/session/plan.js'
import { run, runWith } from '../../src/session/run.js'
import { type VerifyOptions, verify } from '../../src/session/verify.js'
import { openInline } from '../support/pools.js'

const test = suite<{ folder: string }>('verify')
const FIXTURES = path.resolve('test/fixtures/digits')

const RECIPE = `terge: 1
models: {a: models/mlp256-0.safetensors, b: models/mlp256-1.safetensors}
merge: {method: linear, weights: {a: 3, b: 1}}
`

test.before.each(async (context) => {
  context.folder = mkdtempSync(path.join(tmpdir(), 'terge-verify-test-'))
  mkdirSync(path.join(context.folder, 'models'))
  for (const name of ['mlp256-0.safetensors', 'mlp256-1.safetensors'])
    copyFileSync(path.join(FIXTURES, name), path.join(context.folder, 'models', name))
})
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }))

/** Runs the recipe with this output; the lineage's path. */
async function merged(folder: string, output: string, options: { digests?: boolean } = {}): Promise<string> {
  const file = path.join(folder, 'recipe.yml')
  writeFileSync(file, `${RECIPE}output: ${output}\n`)
  const prepared = await plan(file)
  const { outputs } = await runWith(prepared, { threads: 1, sync: false, ...options }, { openPool: openInline })
  return outputs[0]!.lineagePath
}

const check = (lineage: string, options: VerifyOptions = {}) => verify(lineage, { threads: 1, ...options })

/** Changes the byte at `at` from the end. */
function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[bytes.length - at]! ^= 1
  writeFileSync(file, bytes)
}

const messages = (problems: readonly { code: string; message: string }[]) =>
  problems.map(({ code, message }) => `${code}: ${message}`)

test('unchanged files match the lineage and can be reproduced', async ({ folder }) => {
  for (const output of ['out/merged.safetensors', 'merged', '{path: sharded, shard_size: 300kB}']) {
    const lineage = await merged(folder, output)
    const before = readdirSync(folder, { recursive: true }).sort()
    const { ok, problems, checked, reproduced, recipeFolder } = await check(lineage, { reproduce: true })
    assert.equal(messages(problems), [], output)
    assert.ok(ok)
    assert.ok(reproduced)
    assert.ok(checked.files >= 3)
    assert.is(recipeFolder, folder)
    assert.equal(readdirSync(folder, { recursive: true }).sort(), before)
  }
})

test('an output written to another path with -o can be reproduced', async ({ folder }) => {
  const file = path.join(folder, 'recipe.yml')
  writeFileSync(file, `${RECIPE}output: merged.safetensors\n`)
  const prepared = await plan(file, { output: path.join(folder, 'other', 'name.safetensors') })
  const { outputs } = await run(prepared, { threads: 1, sync: false })
  assert.is(outputs[0]!.lineage.output.files[0]!.name, 'name.safetensors')
  const { problems, reproduced } = await check(outputs[0]!.lineagePath, { reproduce: true })
  assert.equal(messages(problems), [])
  assert.ok(reproduced)
})

test('a changed byte names its tensor', async ({ folder }) => {
  const lineage = await merged(folder, 'merged.safetensors')
  flip(path.join(folder, 'merged.safetensors'), 1)
  const { ok, problems, reproduced } = await check(lineage, { reproduce: true })
  assert.not(ok)
  assert.not(reproduced)
  assert.match(messages(problems)[0]!, /^output-digest: merged\.safetensors: 1 of \d+ tensors? differs?: \S+$/)
  assert.match(messages(problems)[1]!, /^not-reproduced: merged\.safetensors differs .* at byte \d+$/)
  assert.is(problems.length, 2)
})

test('a change of only the header is reported as such', async ({ folder }) => {
  const lineage = await merged(folder, 'merged.safetensors')
  const file = path.join(folder, 'merged.safetensors')
  writeFileSync(
    file,
    Buffer.from(readFileSync(file).toString('latin1').replace('"format":"pt"', '"format":"tp"'), 'latin1'),
  )
  const { problems } = await check(lineage)
  assert.equal(messages(problems), ['output-digest: merged.safetensors: only the header differs from the lineage'])
})

test('missing, shortened and broken outputs', async ({ folder }) => {
  const lineage = await merged(folder, 'merged.safetensors')
  const file = path.join(folder, 'merged.safetensors')
  const bytes = readFileSync(file)
  writeFileSync(file, Buffer.concat([Buffer.alloc(8, 255), bytes.subarray(8)]))
  assert.match(messages((await check(lineage)).problems)[0]!, /^output-header: merged\.safetensors/)
  truncateSync(file, 100)
  assert.equal(messages((await check(lineage)).problems), [
    `output-size: merged.safetensors has 100 bytes, but ${bytes.length} in the lineage`,
  ])
  rmSync(file)
  assert.equal(messages((await check(lineage)).problems), ['output-missing: merged.safetensors does not exist'])
})

test('changed and missing inputs', async ({ folder }) => {
  const lineage = await merged(folder, 'merged')
  flip(path.join(folder, 'models', 'mlp256-0.safetensors'), 1)
  rmSync(path.join(folder, 'models', 'mlp256-1.safetensors'))
  const { problems } = await check(lineage)
  assert.equal(messages(problems), [
    'input-digest: a (models/mlp256-0.safetensors) differs from the recorded file',
    'input-missing: b (models/mlp256-1.safetensors): mlp256-1.safetensors does not exist',
  ])
})

test('inputs are found automatically or in the given folder', async ({ folder }) => {
  const lineage = await merged(folder, 'very/deep/down/in/folders/merged.safetensors')
  const lost = await check(lineage)
  assert.is(lost.problems.filter(({ code }) => code === 'input-missing').length, 2)
  const told = await check(lineage, { recipeFolder: folder, reproduce: true })
  assert.equal(messages(told.problems), [])
  assert.is(told.recipeFolder, folder)
  assert.ok(told.reproduced)
})

test('without digests sizes are checked, and it says so', async ({ folder }) => {
  const lineage = await merged(folder, 'merged.safetensors', { digests: false })
  flip(path.join(folder, 'merged.safetensors'), 1)
  const { ok, problems } = await check(lineage)
  assert.ok(ok)
  assert.equal([...new Set(problems.map(({ code, severity }) => `${severity} ${code}`))], ['warning no-digest'])
  assert.not((await check(lineage, { reproduce: true })).ok)
})

test('a lineage cannot lead out of its folder', async ({ folder }) => {
  const lineage = await merged(folder, 'merged.safetensors')
  const text = readFileSync(lineage, 'utf8')
  for (const name of ['../secret', '/etc/hostname', 'a/../../b'])
    assert.throws(
      () => parseLineage(text.replace('"name": "merged.safetensors"', `"name": "${name}"`), 'x'),
      (error: unknown) => error instanceof Fault,
    )
})

test('an edited lineage cannot be reproduced', async ({ folder }) => {
  const lineage = await merged(folder, 'merged.safetensors')
  writeFileSync(lineage, readFileSync(lineage, 'utf8').replaceAll('"weight": 0.75', '"weight": 0.5'))
  const { problems } = await check(lineage, { reproduce: true })
  assert.equal(messages(problems), ['not-reproduced: the lineage itself differs from the second run'])
})

test('missing and invalid lineages', async ({ folder }) => {
  const code = async (file: string): Promise<string> => {
    try {
      await verify(file)
      return 'none'
    } catch (error) {
      return (error as Fault).diagnostics[0]!.code
    }
  }
  assert.is(await code(path.join(folder, 'lineage.json')), 'missing-lineage')
  assert.is(await code(folder), 'missing-lineage')
  assert.is(await code(path.join(folder, 'models', 'mlp256-0.safetensors')), 'missing-lineage')
  writeFileSync(path.join(folder, 'other.json'), '[]')
  assert.is(await code(path.join(folder, 'other.json')), 'bad-lineage')
})

test.run()
