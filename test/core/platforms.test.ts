/** What differs between systems, with the system chosen by the test. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Checkpoint } from '../../src/checkpoints/types.js'
import { signalsOf } from '../../src/commands/support/signals.js'
import { meantPath, refusedByWindows, refusedName, samePath, withSlashes } from '../../src/core/names/fileNames.js'
import { flush, move, moveSync, removeTree } from '../../src/core/system/disk.js'
import { hasMark, ownMark, type System } from '../../src/core/system/processStart.js'
import { type Ending, endTree } from '../../src/execute/commands/endTree.js'
import type { Plan } from '../../src/plan/types.js'
import type { Recipe } from '../../src/recipe/types.js'
import { misplacedOutputs } from '../../src/session/checks/outputPlaces.js'
import { leadsDown } from '../../src/storage/leadsDown.js'
import { inFolder } from '../support/files.js'

const failing = (code: string) => Object.assign(new Error(code), { code })

test('fsync opens files for writing, and folders only where the system can', () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'file')
    writeFileSync(file, 'x')
    const opened: string[] = []
    const spy = ((where: string, flags: string) => {
      opened.push(`${path.basename(where) === 'file' ? 'file' : 'folder'} ${flags}`)
      return open(where, flags)
    }) as typeof open
    await flush(file, 'win32', spy)
    await flush(folder, 'win32', spy)
    await flush(file, 'linux', spy)
    if (process.platform !== 'win32') await flush(folder, 'linux', spy)
    assert.equal(opened.slice(0, 2), ['file r+', 'file r+'])
    assert.equal(opened.slice(2), process.platform === 'win32' ? [] : ['folder r'])
  }))

test('fsync reports its errors on every system', () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'file')
    writeFileSync(file, 'x')
    for (const platform of ['win32', 'linux'] as const) {
      const refuse = () => Promise.reject(failing('EPERM'))
      const error = await flush(file, platform, refuse).catch((thrown: unknown) => thrown)
      assert.is((error as NodeJS.ErrnoException).code, 'EPERM')
    }
  }))

/** The number of attempts, and the error after the last one. */
async function attempts(codes: readonly string[], platform: NodeJS.Platform): Promise<[number, string | undefined]> {
  const patience = { platform, waits: [0, 0, 0] }
  const run = (): (() => void) => {
    const left = [...codes]
    return () => {
      count += 1
      const code = left.shift()
      if (code !== undefined) throw failing(code)
    }
  }
  let count = 0
  const codeOf = (error: NodeJS.ErrnoException) => error.code
  const attempt = run()
  const found = await move('a', 'b', patience, async () => attempt()).then(() => undefined, codeOf)
  const asynchronous = count
  count = 0
  let sync: string | undefined
  try {
    moveSync('a', 'b', patience, run())
  } catch (error) {
    sync = codeOf(error as NodeJS.ErrnoException)
  }
  assert.equal([count, sync], [asynchronous, found])
  return [asynchronous, found]
}

test('a rename is tried again on Windows while another program has the file open, and nowhere else', async () => {
  assert.equal(await attempts(['EPERM', 'EBUSY', 'EACCES'], 'win32'), [4, undefined])
  assert.equal(await attempts(['EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM'], 'win32'), [4, 'EPERM'])
  assert.equal(await attempts(['ENOENT', 'EPERM'], 'win32'), [1, 'ENOENT'])
  assert.equal(await attempts(['EPERM'], 'linux'), [1, 'EPERM'])
  assert.equal(await attempts([], 'win32'), [1, undefined])
})

test('names really change, and trees really go', () =>
  inFolder(async (folder) => {
    const [a, b] = [path.join(folder, 'a'), path.join(folder, 'b')]
    mkdirSync(path.join(a, 'inside'), { recursive: true })
    await move(a, b)
    moveSync(path.join(b, 'inside'), path.join(b, 'other'))
    assert.equal([existsSync(a), existsSync(path.join(b, 'other'))], [false, true])
    await removeTree(b, 'win32')
    await removeTree(b, 'linux')
    assert.not.ok(existsSync(b))
    const seen: unknown[] = []
    const remove = async (_: unknown, options: object) => {
      seen.push('maxRetries' in options)
    }
    await removeTree(b, 'win32', remove)
    await removeTree(b, 'darwin', remove)
    assert.equal(seen, [true, false])
  }))

/** A system without /proc, on which a process started at a time. */
const system = (platform: NodeJS.Platform, output: string | undefined, ran: string[] = []): System => ({
  ...{ platform, env: { SystemRoot: 'D:\\Win' } },
  read: () => {
    throw failing('ENOENT')
  },
  run: (program, words) => {
    ran.push([program, ...words].join(' '))
    if (output === undefined) throw failing('ENOENT')
    return output
  },
})

const AT = Date.UTC(2026, 0, 2, 3, 4, 5)

test('a lock is stale if the process with its number started after it, where only a program says so', () => {
  const programs: readonly [NodeJS.Platform, string, RegExp][] = [
    ['darwin', 'Fri Jan  2 03:04:05 2026\n', /^\/bin\/ps -o lstart= -p 1\d\d$/],
    [
      'win32',
      '2026-01-02T03:04:05Z\r\n',
      /^D:\\Win\\System32\\WindowsPowerShell\\v1\.0\\powershell\.exe .*-Id 2\d\d\)/,
    ],
  ]
  for (const [index, [platform, output, command]] of programs.entries()) {
    const pid = (index + 1) * 100
    const mark = (seconds: number) => ownMark(pid, system(platform, output), AT + seconds * 1000)
    const ran: string[] = []
    assert.is(mark(0), `~${AT}`)
    assert.ok(hasMark(pid + 1, mark(60), system(platform, output, ran)), 'it started a minute before the lock')
    assert.ok(hasMark(pid + 2, mark(-1), system(platform, output, ran)), 'clocks are not exact')
    assert.not.ok(hasMark(pid + 3, mark(-60), system(platform, output, ran)), 'it started a minute after the lock')
    assert.is(ran.length, 3)
    for (const each of ran) assert.match(each, command)
    assert.not.ok(hasMark(pid + 3, mark(-60), system(platform, output, ran)))
    assert.is(ran.length, 3, 'the same question soon after is answered from memory')
    assert.ok(hasMark(pid + 4, mark(-60), system(platform, undefined)), 'unknown: it is taken for the same')
    assert.ok(hasMark(pid + 5, mark(-60), system(platform, 'nonsense')))
  }
})

test('where the system says when this process started, the real answers agree', () => {
  const own = ownMark(process.pid)
  assert.ok(hasMark(process.pid, own))
  if (process.platform === 'linux') {
    assert.match(own, /^[0-9a-f-]{36}\/\d+$/)
    assert.not.ok(hasMark(process.pid, 'another-boot/1'))
  }
  assert.ok(hasMark(process.pid, '-'), 'a lock of an earlier version')
  if (!existsSync('/bin/ps')) return
  assert.ok(hasMark(process.pid, `~${Date.now()}`))
  assert.not.ok(hasMark(process.pid, `~${Date.now() - 24 * 3600_000 * 365}`))
})

/** What ending a process does. */
function ended(platform: NodeJS.Platform, child: { exitCode: number | null }, status: number | null = 0): string[] {
  const done: string[] = []
  const ending: Ending = {
    ...{ platform, env: {} },
    kill: (pid, signal) => done.push(`kill ${pid} ${signal}`),
    run: (program, words) => {
      done.push([program, ...words].join(' '))
      return status
    },
  }
  const kill = () => done.push('kill it alone') > 0
  endTree({ pid: 12, signalCode: null, kill, ...child }, 'SIGTERM', ending)
  return done
}

test('a command ends with what it started: by its group, and on Windows by taskkill while it runs', () => {
  const taskkill = 'C:\\Windows\\System32\\taskkill.exe /pid 12 /T /F'
  assert.equal(ended('linux', { exitCode: null }), ['kill -12 SIGTERM'])
  assert.equal(ended('linux', { exitCode: 0 }), ['kill -12 SIGTERM'])
  assert.equal(ended('win32', { exitCode: null }), [taskkill])
  assert.equal(ended('win32', { exitCode: null }, null), [taskkill, 'kill it alone'])
  assert.equal(ended('win32', { exitCode: 0 }), [], 'the number may be that of another process')
})

test('Ctrl-Break interrupts on Windows', () => {
  assert.ok(signalsOf('win32').includes('SIGBREAK'))
  assert.not.ok(signalsOf('linux').includes('SIGBREAK'))
})

test('a .cmd program gets its words literally from cmd.exe, found through PATH and PATHEXT', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'tool.cmd'), '@echo off\r\n')
    writeFileSync(path.join(folder, 'real.exe'), 'MZ')
    const require = createRequire(import.meta.url)
    const program = `
      Object.defineProperty(process, 'platform', { value: 'win32' })
      const { _parse } = require(${JSON.stringify(require.resolve('cross-spawn'))})
      const env = { PATH: process.argv[1] }
      const parse = (name, ...words) => {
        const { command, args, options } = _parse(name, words, { env })
        return [command, args, options.windowsVerbatimArguments ?? false, options.shell ?? false]
      }
      console.log(JSON.stringify([parse('tool', 'a b', '%PATH%&calc', 'say "x"'), parse('real', '%PATH%')]))`
    const env = { ...process.env, comspec: 'C:\\Windows\\System32\\cmd.exe', PATHEXT: '.exe;.cmd' }
    const [cmd, exe] = JSON.parse(execFileSync(process.execPath, ['-e', program, folder], { encoding: 'utf8', env }))
    const line = '"tool ^"a^ b^" ^"^%PATH^%^&calc^" ^"say^ \\^"x\\^"^""'
    // One more level of quotes than cmd.exe removes, so that it expands and starts nothing.
    assert.equal(cmd, ['C:\\Windows\\System32\\cmd.exe', ['/d', '/s', '/c', line], true, false])
    assert.equal(exe, ['real', ['%PATH%'], false, false])
  }))

test('names that Windows reserves, and paths with its separators', () => {
  for (const name of [
    'CON',
    'nul',
    'aux.safetensors',
    'COM1',
    'lpt9.x',
    'con .txt',
    'a:b',
    'a?',
    'dot.',
    'space ',
    '...',
  ])
    assert.ok(refusedByWindows(name), name)
  for (const name of ['console', 'com', 'com10', 'nullable', '.hidden', '..', '.', 'a.b', 'ünïcode', 'LPT'])
    assert.is(refusedByWindows(name), undefined, name)
  assert.match(refusedName('C:\\out\\nul.safetensors', 'win32')!, /'nul\.safetensors' is the name of a device/)
  assert.match(refusedName('out/a:b', 'win32')!, /'a:b' has the character ":"/)
  assert.is(refusedName('C:\\out\\both', 'win32'), undefined)
  assert.is(refusedName('out/nul', 'linux'), undefined)
  assert.is(meantPath('models\\base', 'linux'), 'models/base')
  assert.is(meantPath('models\\base', 'win32'), undefined)
  assert.is(withSlashes('unet\\model.safetensors', '\\'), 'unet/model.safetensors')
  assert.is(samePath('/x/A', 'darwin'), samePath('/x/a', 'darwin'))
  assert.is.not(samePath('/x/A', 'linux'), samePath('/x/a', 'linux'))
})

test('a name from a stranger leads down only if the system can have it', () => {
  for (const name of ['nul', 'a/con.safetensors', 'a./b', '.. /b', 'a/b '])
    assert.equal([leadsDown(name, 'win32'), leadsDown(name, 'linux')], [false, true], name)
  for (const name of ['a:b', 'a\\b', '../a', 'a//b', ''])
    assert.equal([leadsDown(name, 'win32'), leadsDown(name, 'linux')], [false, false], name)
  assert.equal([leadsDown('unet/model.safetensors', 'win32'), leadsDown('.hidden', 'win32')], [true, true])
})

test('outputs that differ in case are one file on Windows and macOS, and so is an output that differs in case from an input', () =>
  inFolder(async (folder) => {
    const outputs = ['out/A', 'out/a', 'Models/M.safetensors'].map((name, spec) => ({
      path: name,
      spec,
      layout: 'file',
    }))
    const places = outputs.map((output) => path.join(folder, output.path))
    const model = { path: path.join(folder, 'models/m.safetensors'), layout: 'file', sidecars: [] }
    const models = new Map([['m', { ...model, files: [{ path: model.path }] }]])
    const read = { outputs: outputs.map(() => ({ at: [] })), models: new Map(), steps: [], folder }
    const recipe = { ...read, placeOf: () => undefined }
    const found = async (platform: NodeJS.Platform) =>
      (
        await misplacedOutputs(
          { outputs } as unknown as Plan,
          places,
          recipe as unknown as Recipe,
          models as unknown as ReadonlyMap<string, Checkpoint>,
          platform,
        )
      ).map(({ code, message }) => `${code}: ${message}`)
    for (const platform of ['win32', 'darwin'] as const)
      assert.equal(await found(platform), [
        "output-is-input: the output 'Models/M.safetensors' would replace its input model 'm'",
        "contradiction: the output 'out/a' has the same path as 'out/A'",
      ])
    assert.equal(await found('linux'), [])
  }))

test('text of the repository has the same bytes on every system', () => {
  const attributes = new URL('../../../.gitattributes', import.meta.url)
  assert.match(readFileSync(attributes, 'utf8'), /^\* -text$/m)
})

test.run()
