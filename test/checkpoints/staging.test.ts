import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { irreplaceable } from '../../src/checkpoints/replaceable.js'
import {
  discard,
  leave,
  openStaging as openAny,
  preallocate,
  publish,
  type Staging,
  type StagingOptions,
  stageFile,
} from '../../src/storage/local/staging.js'
import { asyncFaultOf, layOut } from './helpers.js'

const root = mkdtempSync(path.join(tmpdir(), 'terge-staging-'))
test.after(() => rmSync(root, { recursive: true, force: true }))
let count = 0
const place = (): string => {
  const where = path.join(root, `case-${count++}`)
  mkdirSync(where)
  return where
}

type Kind = 'file' | 'folder'
const nameOf = (kind: Kind): string => (kind === 'file' ? 'out.safetensors' : 'out')
const fresh = { force: false, resume: false }
const openStaging = (output: string, options: Omit<StagingOptions, 'irreplaceable'>): Promise<Staging> =>
  openAny(output, { irreplaceable, ...options })

/** Stages a whole output with `mark` in each file. */
async function stage(staging: Staging, mark: string): Promise<void> {
  const layout = layOut([{ name: 'a', dtype: 'F32', shape: [4] }], {
    kind: staging.kind,
    fileName: 'out.safetensors',
    metadata: { mark },
  })
  await preallocate(staging, layout.files)
  await stageFile(staging, staging.kind === 'file' ? 'out.lineage.json' : 'lineage.json', mark)
  if (staging.kind === 'folder') await stageFile(staging, 'config.json', mark)
}

/** The mark in all files of the published output; `bare` for a single file without a lineage. */
function markAt(where: string, kind: Kind): string | undefined {
  const output = path.join(where, nameOf(kind))
  if (!existsSync(output)) return undefined
  const files =
    kind === 'file'
      ? [output, path.join(where, 'out.lineage.json')]
      : ['model.safetensors', 'lineage.json', 'config.json'].map((name) => path.join(output, name))
  if (kind === 'file' && !existsSync(files[1]!)) return 'bare'
  const marks = files.map((file) => /one|two/.exec(readFileSync(file, 'latin1'))?.[0])
  return marks.every((mark) => mark === marks[0]) ? marks[0] : `mixed: ${marks}`
}

async function write(where: string, kind: Kind, mark: string, force = false): Promise<void> {
  const staging = await openStaging(path.join(where, nameOf(kind)), { kind, force, resume: false })
  await stage(staging, mark)
  await publish(staging, { sync: false })
}

const leftovers = (where: string): string[] => readdirSync(where).filter((name) => name.startsWith('.terge-'))

for (const kind of ['file', 'folder'] as const) {
  test(`${kind}: the output appears whole and nothing else stays`, async () => {
    const where = place()
    const staging = await openStaging(path.join(where, nameOf(kind)), { kind, ...fresh })
    assert.equal([staging.existing, staging.resumed], [false, false])
    assert.equal(leftovers(where), [`.terge-${nameOf(kind)}`])
    await stage(staging, 'one')
    assert.is(markAt(where, kind), undefined)
    await publish(staging, { sync: true })
    assert.is(markAt(where, kind), 'one')
    assert.equal(leftovers(where), [])
  })

  test(`${kind}: an output that exists is refused, and replaced by force`, async () => {
    const where = place()
    await write(where, kind, 'one')
    const { code, exit, hint } = await asyncFaultOf(() => write(where, kind, 'two'))
    assert.equal([code, exit, hint], ['output-exists', 2, 'use --force to replace it'])
    assert.equal([markAt(where, kind), leftovers(where)], ['one', []])
    await write(where, kind, 'two', true)
    assert.equal([markAt(where, kind), leftovers(where)], ['two', []])
  })

  for (const before of [undefined, 'one'])
    test(`${kind}: cut off at every step, ${before ? 'replacing' : 'new'}; and recovery cut off too`, async () => {
      let killed = 0
      let recoveryKilled = 0
      // Interrupts each step of publishing, and after each of these each step of the recovery.
      for (let at = 1, more = true; more; at++) {
        for (let recoveryAt = 1, moreRecovery = true; moreRecovery; recoveryAt++) {
          const where = place()
          if (before) await write(where, kind, before)
          const output = path.join(where, nameOf(kind))
          const cut = (step: number) => {
            let left = step
            return () => {
              if (--left === 0) throw new Error('cut')
            }
          }
          const cutOff = async (work: () => Promise<unknown>): Promise<boolean> => {
            try {
              await work()
              return false
            } catch (error) {
              assert.is((error as Error).message, 'cut')
              // As if the process had died.
              for (const hidden of leftovers(where))
                for (const name of readdirSync(path.join(where, hidden)))
                  if (name.startsWith('lock.')) writeFileSync(path.join(where, hidden, name), '999999999 -')
              return true
            }
          }
          const staging = await openStaging(output, { kind, force: true, resume: false })
          await stage(staging, 'two')
          more = await cutOff(() => publish({ ...staging, step: cut(at) }, { sync: false }))
          if (more) killed++
          // A lineage is never beside another model. Until the next command, a model may have no lineage.
          const moment = kind === 'file' && before ? 'bare' : undefined
          const seen = markAt(where, kind)
          assert.ok([before, 'two', moment].includes(seen), `${seen} after step ${at}`)
          const resume = recoveryAt % 2 === 0
          const recover = (step: () => void) => openStaging(output, { kind, force: true, resume, step })
          moreRecovery = more && (await cutOff(() => recover(cut(recoveryAt))))
          if (moreRecovery) recoveryKilled++
          else if (!more) continue
          if (!moreRecovery) continue
          const again = await recover(() => {})
          const now = markAt(where, kind)
          assert.ok(now === before || now === 'two', `${now} after steps ${at}, ${recoveryAt}`)
          assert.is(again.existing, now !== undefined)
          if (
            again.resumed &&
            resume &&
            existsSync(path.join(again.files, kind === 'file' ? 'out.safetensors' : 'model.safetensors'))
          )
            await publish(again, { sync: false })
          else {
            await stage(again, 'two')
            await publish(again, { sync: false })
          }
          assert.equal([markAt(where, kind), leftovers(where)], ['two', []])
        }
      }
      assert.ok(killed >= 6 && recoveryKilled >= 8, `${killed} and ${recoveryKilled} cuts`)
    })

  test(`${kind}: a resume finds what was finished, a new start does not`, async () => {
    const where = place()
    const output = path.join(where, nameOf(kind))
    const first = await openStaging(output, { kind, ...fresh })
    await stage(first, 'one')
    writeFileSync(path.join(first.folder, 'journal'), 'x')
    const file = path.join(first.files, kind === 'file' ? 'out.safetensors' : 'model.safetensors')
    const whole = readFileSync(file)
    whole.fill(7, whole.length - 16)
    writeFileSync(file, whole)
    await leave(first)
    const second = await openStaging(output, { kind, force: false, resume: true })
    assert.ok(second.resumed)
    await stage(second, 'one')
    assert.ok(readFileSync(file).equals(whole), 'same header and size: the data stays')
    await stage(second, 'two')
    assert.not.ok(readFileSync(file).equals(whole), 'another header: made anew')
    await leave(second)
    const third = await openStaging(output, { kind, ...fresh })
    assert.equal(
      [third.resumed, readdirSync(third.files), existsSync(path.join(third.folder, 'journal'))],
      [false, [], false],
    )
    await discard(third)
    assert.equal(readdirSync(where), [])
  })
}

test('preallocates files with their full size and header', async () => {
  const where = place()
  const staging = await openStaging(path.join(where, 'out'), { kind: 'folder', ...fresh })
  const { files } = layOut([{ name: 'a', dtype: 'F32', shape: [2 ** 18] }], { kind: 'folder', metadata: {} })
  await preallocate(staging, files)
  const file = path.join(staging.files, 'model.safetensors')
  assert.is(statSync(file).size, files[0]!.size)
  assert.ok(readFileSync(file).subarray(0, files[0]!.header.length).equals(files[0]!.header))
  const huge = [{ name: 'b.safetensors', size: 2 ** 52, header: new Uint8Array(8) }]
  const { code, exit } = await asyncFaultOf(() => preallocate(staging, huge))
  assert.equal([code, exit, readdirSync(staging.files)], ['disk-full', 2, []])
  await discard(staging)
})

test('removes folders that were made for the output together with it', async () => {
  const where = place()
  const staging = await openStaging(path.join(where, 'a/b/out'), { kind: 'folder', ...fresh })
  await discard(staging)
  assert.equal(readdirSync(where), [])
  await write(where, 'folder', 'one')
  const other = await openStaging(path.join(where, 'c/out'), { kind: 'folder', ...fresh })
  await stage(other, 'one')
  await publish(other, { sync: false })
  assert.equal(readdirSync(path.join(where, 'c')), ['out'])
})

test('--force replaces only models, and no folder by a file', async () => {
  const where = place()
  mkdirSync(path.join(where, 'out'))
  writeFileSync(path.join(where, 'out', 'diary.txt'), '')
  const folder = await asyncFaultOf(() => write(where, 'folder', 'one', true))
  assert.match(folder.message, 'a folder that holds no model')
  mkdirSync(path.join(where, 'out.safetensors'))
  const file = await asyncFaultOf(() => write(where, 'file', 'one', true))
  assert.match(file.message, 'is a folder, but the output is a file')
  assert.equal(readdirSync(where), ['out', 'out.safetensors'])
})

test('reports an output that cannot be written', async () => {
  const where = place()
  writeFileSync(path.join(where, 'file'), '')
  const { code, exit } = await asyncFaultOf(() => write(path.join(where, 'file'), 'folder', 'one'))
  assert.equal([code, exit], ['cannot-write', 2])
})

test('a running process holds the output, a killed one does not', async () => {
  const where = place()
  const output = path.join(where, 'out')
  const module = new URL('../../src/storage/local/staging.js', import.meta.url).href
  const script = `import { openStaging } from ${JSON.stringify(module)}
    await openStaging(${JSON.stringify(output)}, { kind: 'folder', force: false, resume: false, irreplaceable: async () => undefined })
    console.log('locked'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const { code, message, exit } = await asyncFaultOf(() => openStaging(output, { kind: 'folder', ...fresh }))
  assert.equal([code, exit], ['output-in-use', 2])
  assert.match(message, `process ${child.pid}, is writing it`)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const staging = await openStaging(output, { kind: 'folder', ...fresh })
  assert.is((await asyncFaultOf(() => openStaging(output, { kind: 'folder', ...fresh }))).code, 'output-in-use')
  await discard(staging)
  // The same process number, but with a different start time.
  const again = await openStaging(output, { kind: 'folder', ...fresh })
  writeFileSync(path.join(again.folder, 'lock.1'), `${process.pid} other/1`)
  if (process.platform === 'linux') await discard(await openStaging(output, { kind: 'folder', ...fresh }))
})

test('only one of many processes gets an output', async () => {
  const where = place()
  const output = path.join(where, 'out')
  mkdirSync(path.join(where, '.terge-out'))
  writeFileSync(path.join(where, '.terge-out', 'lock.1'), '999999999 -')
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, () => openStaging(output, { kind: 'folder', ...fresh })),
  )
  const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  assert.is(won.length, 1)
  await discard(won[0]!)
  assert.equal(readdirSync(where), [])
})

test.run()
