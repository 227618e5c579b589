/** The system's limits through the real command: enough for the work, or an error that names the limit and the way out. */

import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { resourceFault } from '../../src/core/resources.js'
import { inFolder } from '../support/files.js'
import { BIN, fixture, plainEnv, type Ran, terge } from '../support/terge.js'

const SHARDS = 100

/** A model of one small tensor a shard. */
function shardedModel(folder: string, fill: number): void {
  mkdirSync(folder)
  const weights: Record<string, string> = {}
  for (let i = 0; i < SHARDS; i++) {
    const [file, name] = [`model-${i + 1}-of-${SHARDS}.safetensors`, `layers.${i}.weight`]
    const header = Buffer.from(
      JSON.stringify({ [name]: { dtype: 'F32', shape: [16, 16], data_offsets: [0, 1024] } }).padEnd(96),
    )
    const size = Buffer.alloc(8)
    size.writeBigUInt64LE(BigInt(header.length))
    writeFileSync(path.join(folder, file), Buffer.concat([size, header, Buffer.alloc(1024, fill)]))
    weights[name] = file
  }
  writeFileSync(path.join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weights }))
}

/** Runs terge under limits of the shell, with standard output where `to` says. */
const limited = (limit: string, args: readonly string[], cwd: string, to = ''): Promise<Ran> =>
  new Promise((resolve) => {
    const script = `${limit}\nexec "$0" "$@" ${to}`
    execFile('bash', ['-c', script, process.execPath, BIN, ...args], { cwd, env: plainEnv }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    )
  })

const leftovers = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('.terge'))

if (process.platform === 'linux') {
  test('models of hundreds of shards under a low limit of open files, into hundreds of shards', () =>
    inFolder(async (folder) => {
      for (const [index, name] of ['a', 'b', 'c'].entries()) shardedModel(path.join(folder, name), index + 1)
      const recipe = (output: string) =>
        `terge: 1\nmodels: {a: a, b: b, c: c}\nmerge: {method: linear}\noutput: {path: ${output}, shard_size: 1100B}\n`
      writeFileSync(path.join(folder, 'r.yml'), recipe('free'))
      const free = await terge(['run', 'r.yml', '--threads', '2'], folder)
      assert.is(free.code, 0, free.err)
      for (const [files, threads] of [
        [256, 8],
        [48, 4],
      ] as const) {
        writeFileSync(path.join(folder, 'r.yml'), recipe('tight'))
        const ran = await limited(`ulimit -n ${files}`, ['run', 'r.yml', '--force', '--threads', `${threads}`], folder)
        assert.is(ran.code, 0, ran.err)
        const names = readdirSync(path.join(folder, 'free')).filter((name) => name.endsWith('.safetensors'))
        assert.is(names.length, SHARDS)
        for (const name of names.slice(0, 5))
          assert.ok(
            readFileSync(path.join(folder, 'free', name)).equals(readFileSync(path.join(folder, 'tight', name))),
          )
      }
      for (const files of [20, 26]) {
        const ran = await limited(`ulimit -n ${files}`, ['run', 'r.yml', '--force'], folder)
        assert.is(ran.code, 1, `${files} files: ${ran.err}`)
        assert.match(ran.err, /^error too-few-resources: too many open files/)
        assert.match(ran.err, 'ulimit -n')
      }
      assert.equal(leftovers(folder), [])
    }))

  test('little address space is enough', () =>
    inFolder(async (folder) => {
      const [a, b] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {a: ${a}, b: ${b}}\nmerge: {method: ties}\nbase: a\noutput: o.safetensors\n`,
      )
      const free = await terge(['run', 'r.yml'], folder)
      assert.is(free.code, 0, free.err)
      const bytes = readFileSync(path.join(folder, 'o.safetensors'))
      for (const gigabytes of [4, 16]) {
        const limit = `ulimit -v ${gigabytes}000000`
        const ran = await limited(limit, ['run', 'r.yml', '--force', '--threads', '2'], folder)
        assert.is(ran.code, 0, `${gigabytes} GB: ${ran.err}`)
        assert.ok(bytes.equals(readFileSync(path.join(folder, 'o.safetensors'))))
      }
      assert.equal(leftovers(folder), [])
    }))

  test('commands that start threads late find room for them, or say that there is none', () =>
    inFolder(async (folder) => {
      const [a, b] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
      const text = `terge: 1\nmodels: {a: ${a}, b: ${b}}\nmerge: {method: linear}\noutput: o.safetensors\n`
      writeFileSync(path.join(folder, 'r.yml'), text)
      // Room for some of the threads, and for none of the last ones.
      for (const gigabytes of [3, 5])
        for (const args of [
          ['lock', 'r.yml', '--threads', '4'],
          ['diff', a!, b!],
          ['run', 'r.yml', '--threads', '8', '--force'],
        ]) {
          const ran = await limited(`ulimit -v ${gigabytes}000000`, args, folder)
          assert.ok(ran.code === 0 || ran.code === 1, `${gigabytes} GB, ${args[0]}: ${ran.code} ${ran.err}`)
          if (ran.code === 1) assert.match(ran.err, 'error too-few-resources: the address space is used up')
        }
      assert.equal(leftovers(folder), [])
    }))

  test('an output above the file size limit, and results that cannot be printed', () =>
    inFolder(async (folder) => {
      const [a, b] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {a: ${a}, b: ${b}}\nmerge: {method: linear}\noutput: o.safetensors\n`,
      )
      const long = await limited('ulimit -f 8', ['run', 'r.yml'], folder)
      assert.ok(long.code === 1 || long.code === 2, long.err)
      assert.match(long.err, /error [a-z-]+: .*(EFBIG|too large)/)
      assert.equal(readdirSync(folder), ['r.yml'])
      const mute = await limited(':', ['plan', 'r.yml'], folder, '> /dev/full')
      assert.is(mute.code, 1)
      assert.match(mute.err, /^error write-failed: standard output: ENOSPC/)
      assert.not.match(mute.err, '    at ')
    }))
}

test('system errors that name a limit', () => {
  const told = (error: unknown) => resourceFault(error)?.diagnostics[0]?.message
  assert.match(told(Object.assign(new Error('open x'), { code: 'EMFILE' })) ?? '', 'too many open files')
  assert.match(
    told(new RangeError('WebAssembly.Memory(): could not allocate memory')) ?? '',
    /address space|out of memory/,
  )
  assert.match(told(Object.assign(new Error('x'), { code: 'ERR_WORKER_INIT_FAILED' })) ?? '', 'another thread')
  assert.is(told(new Error('internal: something else')), undefined)
})

test.run()
