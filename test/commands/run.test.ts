import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { METHODS } from '../../src/methods/registry.js'
import { methodsText } from '../../src/ui/methods.js'
import { inFolder } from '../support/files.js'
import { BIN, fixture, plainEnv, terge } from '../support/terge.js'

const A = fixture('digits/mlp256-0.safetensors')
const B = fixture('digits/mlp256-1.safetensors')

test('merge, verify, report and inspect in one command each', () =>
  inFolder(async (folder) => {
    const merged = await terge(
      ['merge', A, B, '-o', 'out.safetensors', '--weights', '2,1', '--save-recipe', 'r/merge.yml'],
      folder,
    )
    assert.equal([merged.code, merged.out], [2, ''], 'a recipe’s folder that is not there')
    mkdirSync(path.join(folder, 'r'))
    const again = await terge(
      ['merge', A, B, '-o', 'out.safetensors', '--weights', '2,1', '--save-recipe', 'r/merge.yml'],
      folder,
    )
    assert.equal(
      [again.code, again.out],
      [0, 'out.safetensors: 8 tensors, 604 kB; lineage in out.lineage.json\n'],
      again.err,
    )
    assert.match(readFileSync(path.join(folder, 'r/merge.yml'), 'utf8'), 'output: ../out.safetensors\n')

    const saved = await terge(['run', 'r/merge.yml', '-o', 'second.safetensors', '--json', '--threads', '1'], folder)
    assert.is(saved.code, 0, saved.err)
    const [output] = JSON.parse(saved.out).outputs
    assert.equal(
      [path.basename(output.path), path.basename(output.lineage), output.tensors],
      ['second.safetensors', 'second.lineage.json', 8],
    )
    const events = saved.err
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.is(events.at(-1).kind, 'end')
    assert.ok(events.some(({ kind, threads }) => kind === 'start' && threads === 1))
    const [one, two] = ['out.safetensors', 'second.safetensors'].map((name) => readFileSync(path.join(folder, name)))
    assert.ok(one!.equals(two!), 'the saved recipe gives the same bytes')

    const verified = await terge(['verify', 'out.lineage.json'], folder)
    assert.equal([verified.code, verified.err], [0, ''])
    assert.match(verified.out, /^unchanged: 3 files, /)
    const report = JSON.parse((await terge(['report', 'out.lineage.json', '--format', 'terge'], folder)).out)
    assert.equal(report['fc1.bias'], [
      'arithmetic',
      [
        [0, 2 / 3],
        [1, 1 / 3],
      ],
    ])
    const shown = await terge(['inspect', 'out.safetensors', '--filter', 'fc4.*'], folder)
    assert.match(shown.out, /^parameters {2}150,794$/m)
    assert.match(
      shown.out,
      /\n\ntensor {6}dtype {2}shape {9}size\nfc4\.bias {4}F32 {4}\[10\] {10}40 B\nfc4\.weight {2}F32 {4}\[10, 256\] {2}10\.2 kB\n$/,
    )

    const bytes = readFileSync(path.join(folder, 'out.safetensors'))
    bytes[bytes.length - 1]! ^= 1
    writeFileSync(path.join(folder, 'out.safetensors'), bytes)
    const differs = await terge(['verify', 'out.lineage.json'], folder)
    assert.is(differs.code, 1)
    assert.match(differs.out, /^1 difference; checked /)
    assert.match(differs.err, /^error /)
  }))

test('errors before executing exit with 2 and write nothing', () =>
  inFolder(async (folder) => {
    writeFileSync(
      path.join(folder, 'bad.yml'),
      `terge: 1\nmodels: {a: ${JSON.stringify(A)}}\nmerge: {metod: linear}\noutput: out\n`,
    )
    const text = await terge(['run', 'bad.yml'], folder)
    assert.is(text.code, 2)
    assert.match(text.err, /^bad\.yml:3:9: error unknown-key: /)
    const { code, out, err } = await terge(['validate', 'bad.yml', '--format', 'github'], folder)
    assert.is(code, 2)
    assert.is(err, '')
    assert.match(out, /^::error file=bad\.yml,line=3,endLine=3,col=9,endColumn=14,title=terge unknown-key::/)
    const json = await terge(['validate', 'bad.yml', '--json'], folder)
    assert.equal(
      [json.code, JSON.parse(json.out)[0].valid, JSON.parse(json.out)[0].diagnostics[0].place.line],
      [2, false, 3],
    )
    const plain = await terge(['validate', 'bad.yml', '--no-models'], folder)
    assert.match(plain.out, /^bad\.yml: \d+ errors?/)

    const refused = await terge(['merge', A, B, '-o', 'out.safetensors', '--save-recipe', 'bad.yml'], folder)
    assert.equal(
      [refused.code, refused.err],
      [2, 'error file-exists: bad.yml already exists\n  hint: add --force to replace it, or choose another name\n'],
    )
    assert.equal(readdirSync(folder), ['bad.yml'])
  }))

test('init writes a recipe that validates, plans and is not replaced', () =>
  inFolder(async (folder) => {
    const lm = ['base', 'prose'].map((name) => path.relative(folder, fixture(`lm/${name}`)))
    assert.equal(await terge(['init', ...lm, '-o', 'start.yml'], folder), {
      code: 0,
      out: 'wrote start.yml\n',
      err: '',
    })
    const planned = await terge(['plan', 'start.yml'], folder)
    assert.equal([planned.code, planned.err], [0, ''])
    assert.match(planned.out, /│ {2}│ {2}└─ linear: 39|linear: 39/)
    // As many threads as `plan` assumes.
    const threads = `--threads=${availableParallelism()}`
    assert.is((await terge(['run', 'start.yml', '--dry-run', threads], folder)).out, planned.out)
    assert.is((await terge(['init', ...lm, '-o', 'start.yml'], folder)).code, 2)
    assert.is((await terge(['init', ...lm, 'nowhere'], folder)).code, 2)
    assert.equal(readdirSync(folder), ['start.yml'])
  }))

/** A file of zeros, sparse on the disk: nothing but its header was written. */
function sparseModel(file: string, elements: number): void {
  const header = JSON.stringify({ w: { dtype: 'F32', shape: [elements], data_offsets: [0, elements * 4] } })
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  writeFileSync(file, Buffer.concat([length, Buffer.from(padded)]))
  truncateSync(file, 8 + padded.length + elements * 4)
}

test('Ctrl-C ends with 130 and leaves nothing behind', () =>
  inFolder(async (folder) => {
    for (const name of ['a', 'b']) sparseModel(path.join(folder, `${name}.safetensors`), 1 << 26)
    const child = spawn(
      process.execPath,
      [BIN, 'merge', 'a.safetensors', 'b.safetensors', '-o', 'out.safetensors', '--json'],
      {
        cwd: folder,
        env: plainEnv,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let err = ''
    child.stderr.on('data', (chunk) => {
      err += chunk
      if (String(chunk).includes('"kind":"start"')) child.kill('SIGINT')
    })
    const code = await new Promise((resolve) => child.on('close', resolve))
    assert.is(code, 130, err)
    assert.match(err, /\{"kind":"notice","message":"stopping; press Ctrl-C again to force quit"\}\n/)
    // All lines are JSON, the last one too.
    const last = JSON.parse(err.trimEnd().split('\n').at(-1)!)
    assert.is(last.kind, 'error')
    assert.is(last.diagnostic.code, 'interrupted')
    assert.is(last.diagnostic.message, 'interrupted: no output was written')
    assert.equal(readdirSync(folder).sort(), ['a.safetensors', 'b.safetensors'])
  }))

test('Ctrl-C with --resume says what is left and the command that continues, which does', () =>
  inFolder(async (folder) => {
    // The second checkpoint waits to be interrupted.
    const script = `const fs = require('fs')
      if (fs.existsSync('one') && !fs.existsSync('on')) setTimeout(() => {}, 60_000)
      else { fs.writeFileSync('one', ''); console.log('{"loss": 1}') }`
    writeFileSync(path.join(folder, 'evaluate.cjs'), script)
    const steps = 'path: {interpolate: {from: a, to: b, points: 2, evaluate: {command: [node, evaluate.cjs]}}}'
    writeFileSync(
      path.join(folder, 'the recipe.yml'),
      `terge: 1\nmodels: {a: ${A}, b: ${B}}\nsteps:\n  ${steps}\noutput: out\n`,
    )
    const args = ['run', 'the recipe.yml', '--allow-commands', '--resume', '--no-sync', '--json']
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd: folder,
      env: plainEnv,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let err = ''
    child.stderr.on('data', (chunk) => {
      err += chunk
      // A second signal would end the process at once.
      if (!child.killed && err.split('"evaluating').length === 3) child.kill('SIGTERM')
    })
    assert.is(await new Promise((resolve) => child.on('close', resolve)), 143, err)
    const { message, hint } = JSON.parse(err.trimEnd().split('\n').at(-1)!).diagnostic
    assert.is(message, 'interrupted: 1 of 2 outputs complete, and finished work is kept')
    const [, command] = /^resume with: (.*)$/.exec(hint) ?? []
    assert.match(command ?? hint, /^node \S+run\.js run 'the recipe\.yml' --allow-commands --resume --no-sync --json$/)
    writeFileSync(path.join(folder, 'on'), '')
    const again = spawnSync('sh', ['-c', command!], { cwd: folder, env: plainEnv, encoding: 'utf8' })
    assert.is(again.status, 0, again.stderr)
    assert.is(JSON.parse(again.stdout).outputs.length, 2)
  }))

test('a second Ctrl-C ends at once', async () => {
  const signals = new URL('../../src/commands/support/signals.js', import.meta.url).href
  const script = `import { interruptible } from '${signals}'
    await interruptible(() => new Promise(() => { setInterval(() => {}, 1000); console.log('on') }), () => console.error('stopping'))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: plainEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.once('data', () => child.kill('SIGINT'))
  let err = ''
  child.stderr.on('data', (chunk) => {
    err += chunk
    child.kill('SIGINT')
  })
  assert.is(await new Promise((resolve) => child.on('close', resolve)), 130)
  assert.is(err, 'stopping\n')
})

test('methods: all of the registry, and one in full', async () => {
  const [all, one, json] = await Promise.all([
    terge(['methods']),
    terge(['methods', 'arithmetic']),
    terge(['methods', '--json']),
  ])
  const lines = all.out.trimEnd().split('\n')
  assert.ok(lines.every((line) => line.length <= 80))
  assert.equal(
    lines.filter((line) => /^\S/.test(line)),
    ['averages', 'spherical', 'task vectors', 'sparse task vectors', 'singular vectors', 'statistics', 'formulas'],
  )
  const words = all.out.replace(/\s+/g, ' ')
  for (const { name, aliases, summary } of METHODS)
    assert.ok(words.includes(` ${[name, ...aliases].join(', ')}: ${summary}`), name)
  assert.ok(
    methodsText(METHODS, 40)
      .split('\n')
      .every((line) => line.length <= 40),
  )
  assert.match(one.out, /^linear, arithmetic: [^\n]+\n\n {2}computes {2}[^\n]+\n {2}models {4}2 or more\n/)
  assert.match(one.out, /\n {2}normalize {2}true or false {2}true {5}\S/)
  assert.equal(
    JSON.parse(json.out).map(({ name }: { name: string }) => name),
    METHODS.map(({ name }) => name),
  )
})

test('diff: equal and different models, and exit codes', async () => {
  const same = await terge(['diff', A, A, '--exit-code'])
  assert.equal([same.code, same.err], [0, ''])
  assert.is(same.out, 'all equal: 8 tensors\n')
  const all = await terge(['diff', A, A, '--all'])
  assert.match(all.out, /^all equal: 8 tensors\n\n/)
  assert.match(all.out, /^fc1\.bias +equal +1\.00000 +0\.00000 +0\.00000$/m)
  const text = (await terge(['diff', A, B])).out
  assert.match(
    text,
    /^8 of 8 tensors differ\nall tensors of both: cosine [\d.]+, L2 [\d.]+, relative L2 [\d.]+\nlargest relative L2: [\d.]+ \(\S+\)\nlargest \|a − b\|: [\d.]+ \(\S+\)\n\ntensor /,
  )
  const sizes = [...text.matchAll(/ differs +\S+ +(\S+) /g)].map(([, size]) => Number(size))
  assert.is(sizes.length, 8)
  assert.equal(
    sizes,
    [...sizes].sort((a, b) => b - a),
  )
  const some = await terge(['diff', A, B, '--filter', 'fc1.*', '--json'])
  assert.equal(
    JSON.parse(some.out).tensors.map(({ tensor }: { tensor: string }) => tensor),
    ['fc1.bias', 'fc1.weight'],
  )
  assert.match((await terge(['diff', A, B, '--filter', 'fc1.*'])).out, /^2 of 2 tensors differ\n/)
  const none = await terge(['diff', A, B, '--filter', 'fc1.wieght'])
  assert.equal([none.code, none.out], [2, ''])
  assert.match(
    none.err,
    /^error unmatched-pattern: 'fc1\.wieght' matches no tensor in the models\n {2}hint: nearest names: fc1\.weight/,
  )
  const other = await terge(['diff', A, B, '--exit-code', '--json'])
  const { overall, tensors } = JSON.parse(other.out)
  assert.equal([other.code, overall.tensors, overall.states.differs, tensors.length], [1, 8, 8, 8])
  assert.is((await terge(['diff', A, fixture('digits/resnet-0.safetensors')])).code, 0)
})

test('a closed pipe is not an error', () =>
  inFolder(async (folder) => {
    const child = spawn(process.execPath, [BIN, 'inspect', fixture('lm/base')], {
      cwd: folder,
      env: plainEnv,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.destroy()
    let err = ''
    child.stderr.on('data', (chunk) => (err += chunk))
    assert.is(await new Promise((resolve) => child.on('close', resolve)), 0)
    assert.is(err, '')
    assert.not.ok(existsSync(path.join(folder, 'core')))
  }))

test.run()
