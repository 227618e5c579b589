/** Recipes whose output is on the hub: one commit with the bytes of an output on a disk. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan } from '../../src/session/plan.js'
import { runWith } from '../../src/session/run.js'
import { countingTiles } from '../support/pools.js'
import type { Options } from './server.js'
import { type Bench, everything, FIRST, mean, repository, single, withHub } from './setup.js'
import { within } from './streams.js'

const TOKEN = 'hf_outputtoken'
/** Rows of a tensor with three tiles. */
const LONG = 12_288
const RECIPE =
  'terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear}\noutput: {path: hf:org/merged, shard_size: 17KB}\n'

const withOutput = (more: Partial<Options>, work: (bench: Bench) => Promise<void>): Promise<void> =>
  withHub({ repositories: {}, token: TOKEN, ...more }, async (bench) => {
    for (const [index, name] of ['a', 'b'].entries()) {
      mkdirSync(path.join(bench.folder, name))
      for (const [file, bytes] of Object.entries(single(index + 1)))
        writeFileSync(path.join(bench.folder, name, file), bytes)
    }
    bench.write('recipe.yml', RECIPE)
    const env = { TERGE_CACHE: path.join(bench.folder, 'terge'), HF_TOKEN: TOKEN }
    await work({ ...bench, run: (args, extra = {}) => bench.run(args, { ...env, ...extra }) })
  })

const filesOf = ({ hub }: Bench, branch = 'main'): Record<string, Uint8Array> => {
  const { commits, refs } = hub.options.repositories['org/merged']!
  return commits[refs[branch]!]!
}

const unfinished = ({ folder }: Bench): string[] => {
  const cache = path.join(folder, 'terge')
  const names = existsSync(cache) ? readdirSync(cache, { recursive: true, encoding: 'utf8' }) : []
  return names.filter((name) => name.includes('.terge-'))
}

function noSecrets({ hub, folder }: Bench, shown: string): void {
  const found = `${shown}\n${everything(folder).text}`
  for (const secret of [TOKEN, 'SIGNED', 'SECRETID']) assert.not(found.includes(secret), `${secret} is shown`)
  assert.not(everything(folder).text.includes(hub.url))
}

test('an output on the hub has the bytes and the lineage of one on a disk, in one commit', () =>
  withOutput({ uploads: { chunk: 10_000 } }, async (bench) => {
    const { run, hub, folder } = bench
    const ran = await run(['run', 'recipe.yml', '--json'])
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.err, 'made the private repository org/merged')
    const { outputs } = JSON.parse(ran.out) as { outputs: { path: string; lineage: string; revision: string }[] }
    const { refs, commits } = hub.options.repositories['org/merged']!
    assert.equal(
      outputs.map(({ path, lineage, revision }) => [path, lineage, revision]),
      [['hf:org/merged@main', 'hf:org/merged@main/lineage.json', refs.main]],
    )
    assert.is(Object.keys(commits).length, 2)
    const here = await run(['run', 'recipe.yml', '-o', 'merged'])
    assert.is(here.code, 0, here.err)
    const names = readdirSync(path.join(folder, 'merged')).sort()
    assert.equal(Object.keys(filesOf(bench)).sort(), ['.gitattributes', ...names].sort())
    for (const name of names)
      assert.ok(readFileSync(path.join(folder, 'merged', name)).equals(Buffer.from(filesOf(bench)[name]!)), name)
    assert.equal(unfinished(bench), [])
    noSecrets(bench, ran.out + ran.err)

    const again = await run(['run', 'recipe.yml'])
    assert.is(again.code, 2)
    assert.match(again.err, 'output-exists')
    const kept = await run(['run', 'recipe.yml', '--resume'])
    assert.is(kept.code, 0, kept.err)
    assert.is(Object.keys(commits).length, 2, 'it is published already')
    const branch = await run(['run', 'recipe.yml', '-o', 'hf:org/merged@other', '--set', 'output.shard_size=1GB'])
    assert.is(branch.code, 0, branch.err)
    assert.match(branch.out, 'hf:org/merged@other: 2 tensors')
    assert.equal(
      Object.keys(filesOf(bench, 'other')).filter((name) => /\.safetensors$|index/.test(name)),
      ['model.safetensors'],
    )
    const read = await run(['inspect', 'hf:org/merged@other'])
    assert.is(read.code, 0, read.err)
  }))

test('a commit of somebody else during the upload: nothing is lost', () => {
  let moved = false
  const options: { hub?: Bench['hub'] } = {}
  const disturb: NonNullable<Options['uploads']>['disturb'] = (verb) => {
    if (verb !== 'commit' || moved) return undefined
    moved = true
    const repository = options.hub!.options.repositories['org/merged']!
    const other = 'e'.repeat(40)
    repository.commits[other] = { ...repository.commits[FIRST]!, 'notes.txt': Buffer.from('notes') }
    repository.refs.main = other
    return undefined
  }
  const repositories = { 'org/merged': repository({ '.gitattributes': Buffer.from('') }) }
  return withOutput({ repositories, uploads: { disturb } }, async (bench) => {
    options.hub = bench.hub
    const { run, hub } = bench
    const failed = await run(['run', 'recipe.yml'])
    assert.is(failed.code, 1)
    assert.match(failed.err, 'hub-moved')
    assert.equal(Object.keys(filesOf(bench)), ['.gitattributes', 'notes.txt'])
    const sent = hub.seen.filter(({ method }) => method === 'PUT').length
    const resumed = await run(['run', 'recipe.yml', '--resume'])
    assert.is(resumed.code, 0, resumed.err)
    assert.is(hub.seen.filter(({ method }) => method === 'PUT').length, sent, 'nothing is sent twice')
    assert.ok(filesOf(bench)['notes.txt'] && filesOf(bench)['lineage.json'])
    assert.equal(unfinished(bench), [])
  })
})

test('without a token nothing is computed', () =>
  withOutput({}, async (bench) => {
    const ran = await bench.run(['run', 'recipe.yml'], { HF_TOKEN: '' })
    assert.is(ran.code, 2)
    assert.match(ran.err, 'hub-login')
    assert.match(ran.err, 'set HF_TOKEN')
    const offline = await bench.run(['run', 'recipe.yml'], { HF_HUB_OFFLINE: '1' })
    assert.is(offline.code, 2)
    assert.match(offline.err, 'hub-offline')
    assert.equal(bench.hub.seen, [])
    assert.equal(unfinished(bench), [])
  }))

test('points of an interpolation are commits of their own, each in a folder of the branch', () =>
  withOutput({ uploads: {} }, async (bench) => {
    const { run, hub, folder, write } = bench
    write(
      'recipe.yml',
      `terge: 1\nmodels: {a: ./a, b: ./b}\nsteps: {way: {interpolate: {from: a, to: b, points: 3}}}\noutput: hf:org/merged\nevaluate: {command: [node, -e, 'console.log(JSON.stringify({loss: 1}))']}\n`,
    )
    const ran = await run(['run', 'recipe.yml', '--allow-commands', '--json'])
    assert.is(ran.code, 0, ran.err)
    const { outputs, summaries } = JSON.parse(ran.out) as {
      outputs: { path: string; lineage: string; revision: string }[]
      summaries: string[]
    }
    const here = await run(['run', 'recipe.yml', '--allow-commands', '-o', 'way'])
    assert.is(here.code, 0, here.err)
    const points = readdirSync(path.join(folder, 'way'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
    assert.equal(
      outputs.map(({ path, lineage }) => [path, lineage]).sort(),
      points.map((name) => [`hf:org/merged@main:${name}`, `hf:org/merged@main:${name}/lineage.json`]).sort(),
    )
    assert.equal(summaries, ['hf:org/merged@main:summary.json', 'hf:org/merged@main:summary.csv'])
    const names = readdirSync(path.join(folder, 'way'), { recursive: true, encoding: 'utf8' }).filter(
      (name) => /\.\w+$/.test(name) && !points.includes(name),
    )
    const files = filesOf(bench)
    assert.equal(Object.keys(files).sort(), ['.gitattributes', ...names].sort())
    for (const name of names)
      assert.ok(readFileSync(path.join(folder, 'way', name)).equals(Buffer.from(files[name]!)), name)
    // The first commit, three points and the summary.
    assert.is(Object.keys(hub.options.repositories['org/merged']!.commits).length, 5)
    const kept = await run(['run', 'recipe.yml', '--allow-commands', '--resume'])
    assert.is(kept.code, 0, kept.err)
    assert.is(Object.keys(hub.options.repositories['org/merged']!.commits).length, 5, 'it is published already')
    assert.match((await run(['run', 'recipe.yml', '--allow-commands'])).err, 'output-exists')
    const forced = await run([
      'run',
      'recipe.yml',
      '--allow-commands',
      '--force',
      '--set',
      'steps.way.interpolate.points=2',
    ])
    assert.is(forced.code, 0, forced.err)
    assert.is((filesOf(bench)['summary.csv'] as Buffer).toString().trim().split('\n').length, 3)
  }))

test('with --disk, an interrupted tensor is resumed at its tiles, while its inputs come from the hub and its output goes there', () =>
  withHub(
    {
      repositories: { 'org/a': repository(single(1, LONG)), 'org/b': repository(single(2, LONG)) },
      token: TOKEN,
      uploads: { chunk: 10_000_000 },
    },
    (bench) =>
      within(
        { ...bench, env: { ...bench.env, TERGE_CACHE: path.join(bench.folder, 'terge'), HF_TOKEN: TOKEN } },
        async () => {
          const file = bench.write(
            'recipe.yml',
            mean('hf:org/a', 'hf:org/b').replace(/output: .*/, 'output: {path: hf:org/merged, shard_size: 4MB}'),
          )
          const options = { threads: 1, sync: false, resume: true, disk: 20e6 }
          const stop = new AbortController()
          const first = countingTiles(5, () => stop.abort())
          const failed = runWith(await plan(file), { ...options, signal: stop.signal }, { openPool: first.openPool })
          assert.match(String(await failed.catch((error: unknown) => error)), 'interrupted')
          const second = countingTiles()
          await runWith(await plan(file), options, { openPool: second.openPool })
          assert.is(first.done.write! + second.done.write!, 6)
          await runWith(
            await plan(file, { output: path.join(bench.folder, 'merged') }),
            { threads: 1, sync: false },
            {},
          )
          for (const name of readdirSync(path.join(bench.folder, 'merged')))
            assert.ok(
              readFileSync(path.join(bench.folder, 'merged', name)).equals(Buffer.from(filesOf(bench)[name]!)),
              name,
            )
        },
      ),
  ))

test.run()
