/**
 * A run may be ended, or a call of the system may fail, anywhere: no half-written file ever has an output's name, no lineage
 * stands beside a model that it isn't of, `--resume` ends with exactly the right bytes, and then nothing else is left.
 * TERGE_SWEEP=kill,EIO,ENOSPC,DEAD,again tries every call of every scenario, in these ways; else some of each.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { plan } from '../../src/session/plan.js'
import { runWith } from '../../src/session/run.js'
import { f32, numbers, type RawTensor, writeModel } from '../support/files.js'
import { openInline } from '../support/pools.js'
import { buildShim, type How } from './failAt.js'

const swept = process.env.TERGE_SWEEP?.split(',')
const sweep = swept !== undefined
const wanted = (how: How | 'again', share: number): number => (sweep ? (swept.includes(how) ? Infinity : 0) : share)
const shim = buildShim()
if (!shim) console.log('skipped: killing runs at system calls needs Linux and a C compiler')

const root = mkdtempSync(path.join(os.tmpdir(), 'terge-failing-'))
test.after(() => {
  rmSync(root, { recursive: true, force: true })
  shim?.remove()
})
let count = 0
const place = (): string => path.join(root, `${count++}`)

const model = (seed: number): Record<string, RawTensor> => ({
  v: f32([3], numbers(3, seed)),
  w: f32([4, 5], numbers(20, seed + 1)),
})

type Files = Readonly<Record<string, string>>

/** All files below a folder, by name, and what they hold. */
function filesOf(folder: string): Record<string, string> {
  if (!existsSync(folder)) return {}
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
  return Object.fromEntries(
    files.sort().map((file) => [path.relative(folder, file), readFileSync(file).toString('base64')]),
  )
}

interface Scenario {
  readonly name: string
  readonly outputs: string
  readonly flags: readonly string[]
  /** An earlier result of other inputs is there. */
  readonly over?: true
}

const FILE = 'output: out.safetensors'
const FOLDER = 'output: out'
const BOTH = 'outputs: [{from: m, path: out.safetensors}, {from: m, path: out, dtype: bfloat16}]'
const SCENARIOS: readonly Scenario[] = [
  { name: 'a new file', outputs: FILE, flags: [] },
  { name: 'a file over another', outputs: FILE, flags: ['--force'], over: true },
  { name: 'a folder over another', outputs: FOLDER, flags: ['--force'], over: true },
  { name: 'a new folder, resumable', outputs: FOLDER, flags: ['--resume'] },
  { name: 'a file over another, resumable', outputs: FILE, flags: ['--force', '--resume'], over: true },
  { name: 'two outputs over others', outputs: BOTH, flags: ['--force'], over: true },
]

/** Names of what belongs to one output, which come together. */
const UNITS = [['out.safetensors', 'out.lineage.json'], ['out']] as const

function prepare(folder: string, { outputs }: Scenario): void {
  mkdirSync(path.join(folder, 'a'), { recursive: true })
  writeModel(path.join(folder, 'a', 'model.safetensors'), model(1))
  writeFileSync(path.join(folder, 'a', 'generation_config.json'), '{"n": 1}')
  writeModel(path.join(folder, 'b.safetensors'), model(10))
  writeFileSync(
    path.join(folder, 'r.yml'),
    `terge: 1\nmodels: {a: a, b: b.safetensors}\nsteps: {m: {merge: {method: linear}}}\n${outputs}\n`,
  )
}

/** In this process, which is quicker. */
const go = async (folder: string, flags: readonly string[]): Promise<string | undefined> => {
  try {
    const options = { force: flags.includes('--force'), resume: flags.includes('--resume'), threads: 1, sync: false }
    await runWith(await plan(path.join(folder, 'r.yml')), options, { openPool: openInline })
    return undefined
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
  }
}

/** Of one output: is it there whole, as it was or as it is to be? */
function checkUnits(folder: string, before: Files, after: Files, at: string, settled = false): void {
  const now = filesOf(folder)
  const unfinished = readdirSync(folder).some((name) => name.startsWith('.terge-'))
  const pick = (files: Files, unit: readonly string[]) =>
    Object.entries(files).filter(([name]) => unit.some((own) => name === own || name.startsWith(`${own}/`)))
  for (const unit of UNITS) {
    // In the order of names, a file's lineage first.
    const [seen, was, will] = [now, before, after].map((files) => pick(files, unit))
    const same = (wanted: typeof seen) => JSON.stringify(seen) === JSON.stringify(wanted)
    if (same(was) || same(will)) continue
    // In the middle of publishing, with its work folder there to end it: no folder; of a file that is new, its lineage alone; of
    // one that replaces another, a model whose lineage is away.
    const alone = was!.length > 0 ? [was, will].map((files) => files!.slice(1)) : [will!.slice(0, 1)]
    const moment = unit.length === 1 ? seen!.length === 0 : alone.some(same)
    assert.ok(unfinished && moment && !settled, `${at}: ${seen!.map(([name]) => name)} of ${unit}`)
  }
}

interface Case {
  readonly template: string
  readonly flags: readonly string[]
  readonly before: Files
  readonly after: Files
}

/** One run that ends early, and what comes after it. Returns false where the call was never reached. */
async function attempt(given: Case, at: number, how: How, name: string): Promise<boolean> {
  const { template, flags, before, after } = given
  const folder = place()
  cpSync(template, folder, { recursive: true, preserveTimestamps: true })
  const shown = `${name}, ${how} at call ${at}`
  const ended = await shim!.run(folder, ['run', 'r.yml', '--threads', '1', ...flags], { at, how })
  const reached = ended.calls.length >= at
  const shownCall = `${shown} (${ended.calls[at - 1]})`
  if (how !== 'kill') {
    assert.ok([0, 1, 2].includes(ended.code!), `${shownCall}: ${ended.code}`)
    assert.not.match(ended.err, 'internal', shownCall)
    assert.is(ended.code === 0, !ended.err.includes('error '), `${shownCall}: ${ended.err}`)
  }
  checkUnits(folder, before, after, shownCall)
  if (how === 'kill' && at % 3 === 0) {
    // Another run without --resume: it starts over, or is refused; either way nothing is left between old and new, of no output.
    const plain = await go(folder, at % 2 === 0 ? [] : flags.filter((flag) => flag !== '--resume'))
    assert.ok(plain === undefined || plain.startsWith('output-exists'), `${shownCall}, then run: ${plain}`)
    checkUnits(folder, before, after, `${shownCall}, then run`, true)
  }
  const problem = await go(folder, [...flags, '--resume'])
  assert.is(problem, undefined, `${shownCall}, then --resume: ${problem}`)
  assert.equal(filesOf(folder), after, `${shownCall}, then --resume`)
  assert.equal(
    readdirSync(folder).filter((name) => name.startsWith('.')),
    [],
    shownCall,
  )
  rmSync(folder, { recursive: true })
  return reached
}

type Prepared = Case & { readonly calls: readonly string[] }
const known = new Map<Scenario, Promise<Prepared>>()
/** Folder before, and what a run that nothing disturbs makes of it. */
function prepared(scenario: Scenario): Promise<Prepared> {
  const result = known.get(scenario) ?? prepareOnce(scenario)
  known.set(scenario, result)
  return result
}

async function prepareOnce(scenario: Scenario): Promise<Prepared> {
  const template = place()
  prepare(template, scenario)
  if (scenario.over) {
    // The old result is of another b, with the same names, shapes and size.
    writeModel(path.join(template, 'b.safetensors'), model(20))
    assert.is(await go(template, []), undefined)
    writeModel(path.join(template, 'b.safetensors'), model(10))
  }
  const whole = place()
  cpSync(template, whole, { recursive: true })
  const { code, err, calls } = await shim!.run(whole, ['run', 'r.yml', '--threads', '1', ...scenario.flags])
  assert.is(code, 0, err)
  const given = { template, flags: scenario.flags, before: filesOf(template), after: filesOf(whole) }
  assert.not.equal(given.before, given.after)
  return { ...given, calls }
}

/** At which calls of a recovery it is ended: at each one in a sweep, which counts them first, and else early in it. */
async function recoveryCalls(given: Case, at: number, flags: readonly string[]): Promise<readonly number[]> {
  if (!sweep) return [1 + (at % 4)]
  const probe = place()
  cpSync(given.template, probe, { recursive: true, preserveTimestamps: true })
  await shim!.run(probe, ['run', 'r.yml', '--threads', '1', ...given.flags], { at: at + 1, how: 'kill' })
  const { calls } = await shim!.run(probe, ['run', 'r.yml', '--threads', '1', ...flags])
  return calls.map((_, index) => index + 1)
}

let tried = 0
const tryAll = async (given: Case, calls: number, how: How, name: string, share: number): Promise<void> => {
  if (share === 0) return
  const step = Math.max(1, Math.floor(calls / share))
  // Each scenario begins at another call, so that together they try calls from the first to the last.
  const which = SCENARIOS.findIndex((scenario) => scenario.name === name)
  const first = sweep ? 1 : 1 + Math.floor((step * (which + 0.5)) / SCENARIOS.length)
  for (let at = first; at <= calls; at += step) {
    await attempt(given, at, how, name)
    tried++
  }
}

if (shim) {
  for (const scenario of SCENARIOS)
    test(`${scenario.name}: killed or failing at a system call`, async () => {
      const given = await prepared(scenario)
      await tryAll(given, given.calls.length, 'kill', scenario.name, wanted('kill', 2))
      for (const [how, share] of [
        ['EIO', 1],
        ['ENOSPC', 1],
        ['DEAD', 0],
      ] as const)
        await tryAll(given, given.calls.length, how, scenario.name, wanted(how, share))
    })

  test('killed during publication, and again during recovery', async () => {
    const share = wanted('again', 1)
    for (const scenario of share > 0 ? SCENARIOS.filter(({ over }) => over) : []) {
      const given = await prepared(scenario)
      const renames = [...given.calls.entries()].filter(([, call]) => call === 'rename').map(([index]) => index + 1)
      // The last ones publish. After each of them nothing more is done: it is the next call that ends the process.
      for (const at of sweep ? renames : renames.slice(-1)) {
        // A copy of a work folder is not believed: each run gets its own.
        const flags = [...given.flags.filter((flag) => flag !== '--resume'), '--resume']
        for (const again of await recoveryCalls(given, at, flags)) {
          const folder = place()
          cpSync(given.template, folder, { recursive: true, preserveTimestamps: true })
          const name = `${scenario.name}, killed after call ${at}, then at call ${again}`
          await shim.run(folder, ['run', 'r.yml', '--threads', '1', ...given.flags], { at: at + 1, how: 'kill' })
          await shim.run(folder, ['run', 'r.yml', '--threads', '1', ...flags], { at: again, how: 'kill' })
          checkUnits(folder, given.before, given.after, name)
          assert.is(await go(folder, flags), undefined, name)
          assert.equal(filesOf(folder), given.after, name)
          assert.equal(
            readdirSync(folder).filter((name) => name.startsWith('.')),
            [],
            name,
          )
          rmSync(folder, { recursive: true })
          tried += 2
        }
      }
    }
  })

  test.after(() => {
    if (sweep) console.log(`${tried} runs were ended or failed`)
  })
}

test.run()
