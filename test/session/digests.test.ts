/** SHA-256 of whole files: in lineages, beside outputs, and as they are remembered. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openHasher } from '../../src/execute/hashing/hasher.js'
import type { Lineage, LineageFile } from '../../src/lineage/types.js'
import { plan } from '../../src/session/plan.js'
import { type RunOptions, runWith } from '../../src/session/run.js'
import { checksumsText } from '../../src/session/sums/checksumsText.js'
import { verify } from '../../src/session/verify.js'
import { asyncFaultOf as faultOf } from '../checkpoints/helpers.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { openInline } from '../support/pools.js'

const LM = path.resolve('test/fixtures/lm')
const sumOf = (file: string): string => `sha256:${createHash('sha256').update(readFileSync(file)).digest('hex')}`

const RECIPE = `terge: 1
models: {base: base, a: python}
merge: {method: task_arithmetic, base: base, models: [a]}
output: out
`

async function runText(folder: string, text: string, options: RunOptions = {}): Promise<Lineage> {
  const file = path.join(folder, 'recipe.yml')
  writeFileSync(file, text)
  const quick = { threads: 1, sync: false, ...options }
  const { outputs } = await runWith(await plan(file), quick, { openPool: openInline })
  return outputs[0]!.lineage
}

const withModels = (work: (folder: string) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    for (const name of ['base', 'python']) cpSync(path.join(LM, name), path.join(folder, name), { recursive: true })
    await work(folder)
  })

const checkSums = (folder: string, file: string): string => {
  const { status, stdout, stderr } = spawnSync('sha256sum', ['--strict', '-c', file], { cwd: folder, encoding: 'utf8' })
  assert.is(status, 0, `${stdout}${stderr}`)
  return stdout
}
const hasSha256sum = spawnSync('sha256sum', ['--version']).status === 0

test('a lineage has the SHA-256 of every file that is read or written', () =>
  withModels(async (folder) => {
    const { models, output } = await runText(folder, RECIPE)
    const compare = (place: string, files: readonly LineageFile[]): string[] =>
      files.map(({ name, sha256 }) => {
        assert.is(sha256, sumOf(path.join(folder, place, name)), name)
        return name
      })
    const { base, a } = models
    assert.equal(compare('base', base!.files), ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'])
    assert.equal(compare('base', base!.beside!), [
      'config.json',
      'generation_config.json',
      'model.safetensors.index.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
    compare('python', [...a!.files, ...a!.beside!])
    for (const file of [base!, a!].flatMap(({ files, beside }) => [...files, ...beside!]))
      assert.is(file.sha256_from, 'computed')
    const written = compare('out', output.files)
    assert.equal(
      readdirSync(path.join(folder, 'out')).filter((name) => !written.includes(name)),
      ['README.md', 'lineage.json'],
    )
    assert.equal((await verify(path.join(folder, 'out'), { threads: 1 })).problems, [])
  }))

test('--digests fast and none leave SHA-256 away, and contradictions are refused', () =>
  withModels(async (folder) => {
    const fast = await runText(folder, RECIPE, { digests: 'fast' })
    const none = await runText(folder, RECIPE, { digests: 'none', force: true })
    const files = ({ models, output }: Lineage) => [
      ...Object.values(models).flatMap(({ files, beside }) => [...files, ...beside!]),
      ...output.files,
    ]
    for (const lineage of [fast, none])
      assert.ok(files(lineage).every(({ sha256, sha256_from: from }) => sha256 === undefined && from === undefined))
    assert.ok(files(fast).every(({ digest }) => digest?.startsWith('xxh3t:')))
    assert.ok(files(none).every(({ digest }) => digest === null))
    for (const options of [
      { digests: 'fast', checksums: true },
      { digests: 'fast', sha256: true },
    ] as const) {
      const fault = await faultOf(() => runText(folder, RECIPE, { ...options, force: true }))
      assert.is(fault.code, 'contradiction')
    }
  }))

test('verify compares SHA-256: of bytes that belong to no tensor, and of small files', () =>
  withModels(async (folder) => {
    const messages = async (): Promise<string[]> =>
      (await verify(path.join(folder, 'out'), { threads: 1 })).problems.map(
        ({ code, message }) => `${code}: ${message}`,
      )
    const file = path.join(folder, 'a.pt')
    cpSync('test/fixtures/torch/mlp256-0.pt', file)
    await runText(folder, 'terge: 1\nmodels: {a: a.pt, b: a.pt}\nmerge: {method: linear}\noutput: out/x.safetensors\n')
    assert.equal(await messages(), [])
    const bytes = readFileSync(file)
    // The version of the format, which is in a file of its own in the archive.
    const at = bytes.indexOf('/version') + 8
    const digit = bytes.indexOf('3\n', at)
    bytes[digit] = '4'.charCodeAt(0)
    writeFileSync(file, bytes)
    const found = await messages()
    assert.is(found.length, 2)
    for (const message of found) assert.match(message, /^input-digest: [ab] \(a\.pt\): SHA-256 is .* in the lineage$/)

    await runText(folder, RECIPE.replace('output: out', 'output: out/model'))
    writeFileSync(path.join(folder, 'python/config.json'), '{}')
    writeFileSync(path.join(folder, 'out/model/README.md'), 'may change')
    const small = (await verify(path.join(folder, 'out/model'), { threads: 1 })).problems
    assert.equal(
      small.map(({ code, message }) => `${code}: ${message.replace(/has.*/, '')}`),
      ['input-size: a (python): config.json '],
    )
  }))

test('checksums are what sha256sum checks, also after a resume, and for odd names', () =>
  withModels(async (folder) => {
    const out = path.join(folder, 'out')
    await runText(folder, `${RECIPE.replace('output: out', 'output: {path: out, checksums: true}')}`)
    const text = readFileSync(path.join(out, 'SHA256SUMS'), 'utf8')
    assert.equal(
      text
        .trimEnd()
        .split('\n')
        .map((line) => line.slice(66))
        .sort(),
      readdirSync(out)
        .filter((name) => name !== 'SHA256SUMS')
        .sort(),
    )
    if (hasSha256sum) assert.match(checkSums(out, 'SHA256SUMS'), 'README.md: OK')
    rmSync(path.join(out, 'SHA256SUMS'))
    await runText(folder, RECIPE, { resume: true, checksums: true })
    assert.is(readFileSync(path.join(out, 'SHA256SUMS'), 'utf8'), text)

    const odd = RECIPE.replace('output: out', 'output: "a\\nb.safetensors"')
    await runText(folder, odd, { checksums: true })
    assert.match(readFileSync(path.join(folder, 'a\nb.sha256'), 'utf8'), /^\\[0-9a-f]{64} {2}a\\nb\.safetensors\n\\/)
    if (hasSha256sum) checkSums(folder, 'a\nb.sha256')
    // They never lie beside another file.
    await runText(folder, odd, { force: true })
    assert.not(existsSync(path.join(folder, 'a\nb.sha256')))
    writeFileSync(path.join(folder, 'a\nb.sha256'), 'notes')
    rmSync(path.join(folder, 'a\nb.safetensors'))
    rmSync(path.join(folder, 'a\nb.lineage.json'))
    assert.is((await faultOf(() => runText(folder, odd, { checksums: true }))).code, 'output-exists')
    assert.is(checksumsText([{ name: 'a\\b', sha256: `sha256:${'0'.repeat(64)}` }]), `\\${'0'.repeat(64)}  a\\\\b\n`)
  }))

test('a large file is hashed in a thread, which an abort ends', () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'large')
    writeFileSync(file, Buffer.alloc(9_000_001, 'terge'))
    const hasher = openHasher({ threads: 2 })
    assert.equal(await Promise.all([file, file, file].map((one) => hasher.sum(one))), new Array(3).fill(sumOf(file)))
    await hasher.close()
    const stop = new AbortController()
    const stopped = openHasher({ threads: 1, signal: stop.signal })
    const sums = [stopped.sum(file), stopped.sum(file)].map((sum) => faultOf(() => sum))
    stop.abort()
    assert.equal(
      (await Promise.all(sums)).map(({ code }) => code),
      ['interrupted', 'interrupted'],
    )
    await stopped.close()
  }))

test('the SHA-256 of a large input is remembered for the same content in the same state', () =>
  inFolder(async (folder) => {
    const before = process.env.TERGE_CACHE
    process.env.TERGE_CACHE = path.join(folder, 'cache')
    try {
      const values = numbers(4_200_000, 1)
      for (const name of ['a', 'b']) {
        writeModel(path.join(folder, `${name}.safetensors`), { w: f32([values.length], values) })
        values.reverse()
      }
      const text =
        'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nmerge: {method: linear}\noutput: x.safetensors\n'
      const again = () => runText(folder, text, { force: true })
      const sumOfA = ({ models }: Lineage): string | undefined => models.a!.files[0]!.sha256
      const computed = sumOf(path.join(folder, 'a.safetensors'))
      assert.is(sumOfA(await again()), computed)
      // Nothing but the cache knows this digest.
      const memo = path.join(folder, 'cache/sums.json')
      const other = `sha256:${'5'.repeat(64)}`
      const change = (from: string, to: string) => writeFileSync(memo, readFileSync(memo, 'utf8').replace(from, to))
      change(computed, other)
      assert.is(sumOfA(await again()), other)
      // Another tree digest, or another state: the file is hashed.
      const { digest } = (await again()).models.a!.files[0]!
      change(digest!, `xxh3t:${'0'.repeat(32)}`)
      assert.is(sumOfA(await again()), computed)
      change(computed, other)
      cpSync(path.join(folder, 'a.safetensors'), path.join(folder, 'c'))
      rmSync(path.join(folder, 'a.safetensors'))
      cpSync(path.join(folder, 'c'), path.join(folder, 'a.safetensors'))
      assert.is(sumOfA(await again()), computed)
      writeFileSync(memo, '{"sums":1,"files":[[1]]}')
      assert.is(sumOfA(await again()), computed)
    } finally {
      if (before === undefined) delete process.env.TERGE_CACHE
      else process.env.TERGE_CACHE = before
    }
  }))

test.run()
