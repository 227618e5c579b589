/** Whole runs: the same bytes whatever the circumstances, resume, kill, interrupt, inputs that change. */
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import type { RunEvent } from '../../src/execute/events.js'
import { inspect } from '../../src/session/inspect.js'
import { plan } from '../../src/session/plan.js'
import { type RunOptions, run } from '../../src/session/run.js'
import { bf16, f32, i64, inFolder, numbers, type RawTensor, raw, writeModel } from '../support/files.js'
import { BIN, plainEnv, terge } from '../support/terge.js'

/** More than one tile, not a whole number of chunks, and the odds and ends of real checkpoints. */
const tensorsOf = (seed: number): Record<string, RawTensor> => ({
  'layers.0.big': bf16([601, 1003], numbers(601 * 1003, seed)),
  'layers.1.big': f32([300001], numbers(300001, seed + 1)),
  'layers.1.odd': bf16([7], numbers(7, seed + 2)),
  counter: i64([1], [BigInt(seed)]),
  empty: f32([0, 4], []),
  nibbles: raw('F4', [4], [1, 2]),
  scalar: f32([], [seed]),
})

const RECIPE = `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
steps:
  soup: {merge: {method: linear, models: [a, b], weights: [1, 2]}}
  final:
    merge:
      base: a
      method: slerp
      models: [soup, c]
      parameters: {t: 0.3}
      rules: [{match: layers.1.*, method: task_arithmetic, models: [b, soup], parameters: {lambda: [0.5, 1]}}]
output: {from: final, path: out, shard_size: 1MB}
`

function prepareFolder(folder: string, recipe = RECIPE): string {
  for (const [index, name] of ['a', 'b', 'c'].entries()) {
    writeModel(path.join(folder, `${name}.safetensors`), tensorsOf(10 * (index + 1)))
  }
  const file = path.join(folder, 'r.yaml')
  writeFileSync(file, recipe)
  return file
}

const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(path.join(folder, name)).toString('latin1')]),
  )

async function runIn(folder: string, options: RunOptions = {}, recipe = RECIPE) {
  const prepared = await plan(prepareFolder(folder, recipe))
  return run(prepared, { sync: false, ...options })
}

test('the same bytes of output and lineage: threads, memory, mapped or read', async () => {
  const once = (options: RunOptions, io = '') =>
    inFolder(async (folder) => {
      process.env.TERGE_IO = io
      try {
        await runIn(folder, options)
      } finally {
        delete process.env.TERGE_IO
      }
      return contents(path.join(folder, 'out'))
    })
  const expected = await once({ threads: 1 })
  assert.equal(Object.keys(expected), [
    'README.md',
    'lineage.json',
    'model-00001-of-00004.safetensors',
    'model-00002-of-00004.safetensors',
    'model-00003-of-00004.safetensors',
    'model-00004-of-00004.safetensors',
    'model.safetensors.index.json',
  ])
  assert.equal(await once({ threads: 2 }), expected)
  assert.equal(await once({ threads: 7 }), expected)
  assert.equal(await once({ threads: 4, memory: 70e6 }), expected)
  for (const io of ['read', 'map']) assert.equal(await once({ threads: 2 }, io), expected)
})

test('what is copied keeps its bytes: integers, packed dtypes, empty and scalar tensors', async () => {
  await inFolder(async (folder) => {
    await runIn(folder)
    const out = await inspect(path.join(folder, 'out'))
    for (const [name, { dtype, shape, bytes }] of Object.entries(tensorsOf(10))) {
      const found = out.stored.get(name)!
      assert.equal([found.dtype, found.shape, found.bytes], [dtype, shape, bytes.length], name)
      if (!['counter', 'nibbles', 'empty'].includes(name)) continue
      const file = readFileSync(out.files[found.file]!.path)
      assert.equal([...file.subarray(found.offset, found.offset + found.bytes)], [...bytes], name)
    }
  })
})

test('a merge that looks at all of its tensors together may round its result', () =>
  inFolder(async (folder) => {
    const text = (method: string, dtype: string, output: string) =>
      `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors, c: c.safetensors}\nmerge: {base: a, method: ${method}, models: [b, c]${dtype}}\noutput: {path: ${output}, dtype: float16}\n`
    for (const [index, name] of ['a', 'b', 'c'].entries())
      writeModel(path.join(folder, `${name}.safetensors`), {
        v: f32([4], numbers(4, index + 9)),
        w: f32([5, 6], numbers(30, index + 1)),
      })
    for (const method of ['metagpt', 'pcb']) {
      const bytes: string[] = []
      for (const [index, dtype] of ['', ', dtype: float16'].entries()) {
        const output = `${method}${index}.safetensors`
        await run(await plan(path.join(folder, 'r.yml'), { text: text(method, dtype, output) }), { sync: false })
        bytes.push(readFileSync(path.join(folder, output)).toString('base64'))
      }
      assert.is(bytes[1], bytes[0], method)
    }
  }))

test('a weight of 0 skips a model: its inf and NaN do not reach the result', async () => {
  await inFolder(async (folder) => {
    writeModel(path.join(folder, 'a.safetensors'), { w: f32([4], [1, 2, 3, 4]) })
    writeModel(path.join(folder, 'b.safetensors'), { w: f32([4], [Infinity, NaN, -Infinity, 1]) })
    const text = `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nmerge: {method: linear, weights: {b: 0}}\noutput: out.safetensors\n`
    const { outputs } = await run(await plan(path.join(folder, 'r.yaml'), { text }), { sync: false })
    const bytes = readFileSync(outputs[0]!.path)
    assert.equal(
      [...new Float32Array(bytes.buffer.slice(bytes.byteOffset + bytes.length - 16, bytes.byteOffset + bytes.length))],
      [1, 2, 3, 4],
    )
  })
})

test('a run with little memory uses fewer threads and says so, or fails', async () => {
  await inFolder(async (folder) => {
    const prepared = await plan(prepareFolder(folder))
    const events: RunEvent[] = []
    await run(prepared, { sync: false, threads: 6, memory: 80e6, listen: (event) => events.push(event) })
    const notice = events.find((event) => event.kind === 'notice')
    assert.match(notice!.kind === 'notice' ? notice!.message : '', /^--memory is enough for \d of 6 threads: using \d$/)
    const fault = await run(prepared, { force: true, memory: 20e6 }).catch((error: unknown) => error)
    assert.ok(fault instanceof Fault && fault.exit === 2)
    assert.is(fault.diagnostics[0]!.code, 'memory-too-small')
    assert.equal(
      readdirSync(folder).filter((name) => name.startsWith('.')),
      [],
    )
  })
})

test('a run without resume says that it removed the work of an interrupted one', () =>
  inFolder(async (folder) => {
    const file = prepareFolder(folder)
    const stop = new AbortController()
    const notices: string[] = []
    const listen = (event: RunEvent) => event.kind === 'notice' && notices.push(event.message)
    const stopped = await run(await plan(file), {
      ...{ sync: false, threads: 1, resume: true, signal: stop.signal },
      listen: (event) => event.kind === 'progress' && event.tensors > 0 && stop.abort(),
    }).catch((error: unknown) => error)
    assert.ok(stopped instanceof Fault && stopped.exit === 130)
    await run(await plan(file), { sync: false, threads: 1, listen })
    assert.is(notices.length, 1)
    assert.match(
      notices[0]!,
      /^removed what an interrupted run had done for .*out: without --resume, a run starts again$/,
    )
    await run(await plan(file), { sync: false, threads: 1, force: true, listen })
    assert.is(notices.length, 1)
  }))

test('resume checks finished tensors, makes the others, and gives the same bytes', async () => {
  const expected = await inFolder(async (folder) => {
    await runIn(folder)
    return contents(path.join(folder, 'out'))
  })
  await inFolder(async (folder) => {
    const file = prepareFolder(folder)
    // Stop at the first finished tensors, as an interrupt would, and keep what is there.
    const stop = new AbortController()
    const stopped = await run(await plan(file), {
      sync: false,
      threads: 1,
      resume: true,
      signal: stop.signal,
      listen: (event) => event.kind === 'progress' && event.tensors > 0 && stop.abort(),
    }).catch((error: unknown) => error)
    assert.ok(stopped instanceof Fault && stopped.exit === 130)
    const hidden = path.join(folder, '.terge-out')
    const journal = readFileSync(path.join(hidden, 'journal'), 'utf8').trim().split('\n')
    assert.ok(journal.length > 1, 'something was finished')
    // A torn line at the end, and a finished tensor whose bytes are not what the journal says.
    appendFileSync(path.join(hidden, 'journal'), '{"tensor":3,"dig')
    const spoilt = readdirSync(path.join(hidden, 'new')).find((name) => name.endsWith('.safetensors'))!
    const bytes = readFileSync(path.join(hidden, 'new', spoilt))
    bytes[bytes.length - 1]! ^= 255
    writeFileSync(path.join(hidden, 'new', spoilt), bytes)
    let done = -1
    await run(await plan(file), {
      sync: false,
      resume: true,
      listen: (event) => {
        if (event.kind === 'start') done = event.done
      },
    })
    assert.ok(done >= 0)
    assert.equal(contents(path.join(folder, 'out')), expected)
    assert.is(existsSync(hidden), false)
    // A resume of what is whole already does nothing and succeeds.
    await run(await plan(file), { resume: true })
    assert.equal(contents(path.join(folder, 'out')), expected)
  })
})

test('resume starts over if an input has changed', async () => {
  await inFolder(async (folder) => {
    const file = prepareFolder(folder)
    const stop = new AbortController()
    const listen = (event: RunEvent) => event.kind === 'progress' && event.tensors > 0 && stop.abort()
    await run(await plan(file), { threads: 1, resume: true, signal: stop.signal, listen }).catch(() => {})
    writeModel(path.join(folder, 'a.safetensors'), tensorsOf(77))
    await run(await plan(file), { sync: false, resume: true })
    const resumed = contents(path.join(folder, 'out'))
    await run(await plan(file), { sync: false, force: true })
    assert.equal(contents(path.join(folder, 'out')), resumed)
  })
})

/** A sparse model: large without taking room. */
function sparseModel(file: string, gigabytes: number): void {
  const rows = gigabytes * 2 ** 18
  const header = JSON.stringify({ w: { dtype: 'BF16', shape: [rows, 2048], data_offsets: [0, rows * 4096] } })
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  writeFileSync(file, Buffer.concat([length, Buffer.from(header)]))
  truncateSync(file, 8 + header.length + rows * 4096)
}

const SPARSE =
  'terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nmerge: {method: linear}\noutput: out.safetensors\n'

/** Bytes that are written before the signal: some of a tensor is recorded then. */
const RECORDED = 64e6

for (const [signal, code, resumes] of [
  ['SIGINT', 130, false],
  ['SIGTERM', 143, true],
  ['SIGHUP', 130, false],
  ['SIGKILL', null, true],
] as const)
  test(`${signal} in the middle of a large tensor${resumes ? ', and --resume' : ''}`, async () => {
    await inFolder(async (folder) => {
      for (const name of ['a', 'b']) sparseModel(path.join(folder, `${name}.safetensors`), 0.25)
      writeFileSync(path.join(folder, 'r.yaml'), SPARSE)
      const args = ['run', 'r.yaml', '--no-sync', '--json', ...(resumes ? ['--resume'] : [])]
      const child = spawn(process.execPath, [BIN, ...args, '--threads', '1'], {
        cwd: folder,
        env: plainEnv,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      let killed = false
      child.stderr.on('data', (text: Buffer) => {
        const written = /"progress".*"written":(\d+)/.exec(String(text))?.[1]
        if (killed || written === undefined || (resumes && Number(written) < RECORDED)) return
        killed = true
        child.kill(signal)
      })
      const exit = await new Promise((resolve) => child.on('exit', resolve))
      assert.ok(killed)
      assert.is(exit, code)
      assert.is(existsSync(path.join(folder, 'out.safetensors')), false)
      const hidden = readdirSync(folder).filter((name) => name.startsWith('.'))
      assert.equal(hidden, resumes ? ['.terge-out.safetensors'] : [])
      const again = await terge(args, folder)
      assert.is(again.code, 0, again.err)
      const done = /"start".*"done":(\d+)/.exec(again.err)![1]
      assert.is(Number(done) > 0, resumes, `${done} bytes of an earlier run`)
      assert.equal(readdirSync(folder).sort(), [
        'a.safetensors',
        'b.safetensors',
        'out.lineage.json',
        'out.safetensors',
        'r.yaml',
      ])
    })
  })

test('an input that shrinks while it is read fails with exit code 1 and leaves nothing behind', async () => {
  await inFolder(async (folder) => {
    const file = prepareFolder(folder)
    const prepared = await plan(file)
    truncateSync(path.join(folder, 'c.safetensors'), statSync(path.join(folder, 'c.safetensors')).size - 4096)
    const fault = await run(prepared).catch((error: unknown) => error)
    assert.ok(fault instanceof Fault && fault.exit === 1)
    assert.is(fault.diagnostics[0]!.code, 'input-changed')
    assert.equal(readdirSync(folder).sort(), ['a.safetensors', 'b.safetensors', 'c.safetensors', 'r.yaml'])
  })
})

test('one recipe with several outputs writes an intermediate result', async () => {
  await inFolder(async (folder) => {
    const recipe = RECIPE.replace(
      /output: .*/,
      'outputs: [{from: soup, path: soup.safetensors}, {from: final, path: out}]',
    )
    const { outputs } = await runIn(folder, {}, recipe)
    assert.equal(
      outputs.map(({ lineagePath }) => path.basename(lineagePath)),
      ['soup.lineage.json', 'lineage.json'],
    )
    assert.is((await inspect(path.join(folder, 'soup.safetensors'))).tensors.size, 7)
  })
})

test.run()
