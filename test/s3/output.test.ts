/** Recipes whose output is in an S3 store: the same bytes as on a disk, all at once, or nothing. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { everything, single } from '../hub/setup.js'
import { BIN, plainEnv } from '../support/terge.js'
import { KEYS, type S3Bench, withS3 } from './setup.js'

const recipe = (output: string, more = ''): string =>
  `terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear}\n${more}output: ${output}\n`
/** Each file has one tensor, and there are two. */
const SHARDED = '{path: s3://bucket/made/merged, shard_size: 17KB}'

function models({ folder }: Pick<S3Bench, 'folder'>): void {
  for (const [index, name] of ['a', 'b'].entries()) {
    mkdirSync(path.join(folder, name), { recursive: true })
    for (const [file, bytes] of Object.entries(single(index + 1))) writeFileSync(path.join(folder, name, file), bytes)
  }
}

const store = (more: object = {}) => ({ buckets: { bucket: {} }, keys: KEYS, ...more })
const keysOf = ({ s3 }: S3Bench): string[] => Object.keys(s3.options.buckets.bucket!).sort()
const textOf = ({ s3 }: S3Bench, key: string): string => Buffer.from(s3.options.buckets.bucket![key]!.bytes).toString()
/** Every file that a run on this disk writes is in the store, with the same bytes. */
async function sameAsHere(bench: S3Bench): Promise<void> {
  const here = await bench.run(['run', 'recipe.yml', '-o', 'merged'])
  assert.is(here.code, 0, here.err)
  const folder = path.join(bench.folder, 'merged')
  for (const name of readdirSync(folder))
    assert.is(textOf(bench, `made/merged/${name}`), readFileSync(path.join(folder, name)).toString(), name)
}

/** What is left of unfinished work. */
const work = ({ cache }: S3Bench): string[] =>
  existsSync(cache)
    ? readdirSync(cache, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('.terge-'))
    : []

function noSecrets({ s3, folder }: S3Bench, shown: string): void {
  const found = `${shown}\n${everything(folder).text}`
  for (const secret of [KEYS.secret, KEYS.id, new URL(s3.url).host])
    assert.not(found.includes(secret), 'a secret is shown')
}

test('an output in a store has the bytes and the lineage of one on a disk', () =>
  withS3(store(), async (bench) => {
    const { folder, write, run, s3 } = bench
    models(bench)
    write('recipe.yml', recipe(SHARDED))
    const planned = await run(['plan', 'recipe.yml'])
    assert.match(planned.out, /s3:\/\/bucket\/made\/merged from merge/)
    assert.match(planned.out, /uploads 33\.\d kB/)
    const ran = await run(['run', 'recipe.yml', '--json'])
    assert.is(ran.code, 0, ran.err)
    const { outputs } = JSON.parse(ran.out) as { outputs: { path: string; lineage: string }[] }
    assert.equal(
      outputs.map(({ path, lineage }) => [path, lineage]),
      [['s3://bucket/made/merged', 's3://bucket/made/merged/lineage.json']],
    )
    const here = await run(['run', 'recipe.yml', '-o', 'merged'])
    assert.is(here.code, 0, here.err)
    const names = readdirSync(path.join(folder, 'merged')).sort()
    assert.ok(names.filter((name) => name.endsWith('.safetensors')).length === 2)
    assert.equal(keysOf(bench), [...names, '_SUCCESS'].map((name) => `made/merged/${name}`).sort())
    for (const name of names) {
      const bytes = Buffer.from(s3.options.buckets.bucket![`made/merged/${name}`]!.bytes)
      assert.ok(readFileSync(path.join(folder, 'merged', name)).equals(bytes), name)
    }
    assert.equal(work(bench), [])
    noSecrets(bench, ran.out + ran.err + planned.out)

    const again = await run(['run', 'recipe.yml'])
    assert.is(again.code, 2)
    assert.match(again.err, 'output-exists')
    const seen = s3.seen.length
    const kept = await run(['run', 'recipe.yml', '--resume'])
    assert.is(kept.code, 0, kept.err)
    assert.ok(
      s3.seen.slice(seen).every(({ method }) => method === 'GET'),
      'it is published already',
    )
    s3.options.buckets.bucket!['made/merged/config.json'] = { bytes: Buffer.from('{}') }
    const changed = await run(['run', 'recipe.yml', '--resume'])
    assert.is(changed.code, 2)
    assert.match(changed.err, 'output-exists')
    const forced = await run(['run', 'recipe.yml', '--force'])
    assert.is(forced.code, 0, forced.err)
    assert.match(forced.out, 's3://bucket/made/merged: 2 tensors')
    // What is in a store is a model like any other.
    const read = await run(['inspect', 's3://bucket/made/merged'])
    assert.is(read.code, 0, read.err)
    const one = await run(['run', 'recipe.yml', '--set', 'output.shard_size=1GB', '-o', 's3://bucket/x.safetensors'])
    assert.is(one.code, 0, one.err)
    assert.ok(keysOf(bench).includes('x.safetensors') && keysOf(bench).includes('x.lineage.json'))
  }))

/** A store that completes no upload while it is broken. */
const refusing = (isBroken: () => boolean) =>
  store({
    disturbUpload: ({ verb }: { verb: string }) =>
      isBroken() && verb === 'complete' ? { inside: 'AccessDenied' } : undefined,
  })

test('a store that fails for good leaves the merged files for a resume, which another store error does not change', () => {
  let broken = true
  return withS3(
    refusing(() => broken),
    async (bench) => {
      const { write, run, s3 } = bench
      models(bench)
      write('recipe.yml', recipe(SHARDED))
      const failed = await run(['run', 'recipe.yml'])
      assert.is(failed.code, 1)
      assert.match(failed.err, 'run again with --resume')
      assert.equal(keysOf(bench), [])
      assert.is(s3.uploads.size, 2, 'the uploads are kept')
      noSecrets(bench, failed.err)
      broken = false
      const parts = s3.seen.filter(({ url }) => url.includes('partNumber')).length
      const resumed = await run(['run', 'recipe.yml', '--resume'])
      assert.is(resumed.code, 0, resumed.err)
      assert.is(s3.seen.filter(({ url }) => url.includes('partNumber')).length, parts, 'nothing is sent twice')
      assert.ok(keysOf(bench).includes('made/merged/_SUCCESS'))
      assert.is(s3.uploads.size, 0)
      assert.equal(work(bench), [])
    },
  )
})

test('without a resume, the uploads of a failed run are removed before new ones begin', () => {
  let broken = true
  return withS3(
    refusing(() => broken),
    async (bench) => {
      const { write, run, s3 } = bench
      models(bench)
      write('recipe.yml', recipe(SHARDED))
      await run(['run', 'recipe.yml'])
      const before = [...s3.uploads.keys()]
      broken = false
      const ran = await run(['run', 'recipe.yml'])
      assert.is(ran.code, 0, ran.err)
      assert.ok(
        before.every((id) =>
          s3.seen.some(({ method, url }) => method === 'DELETE' && url.includes(encodeURIComponent(id))),
        ),
      )
      assert.is(s3.uploads.size, 0)
    },
  )
})

/** Runs the command in a process, and ends it when the store sees a request. */
async function ended(bench: S3Bench, signal: NodeJS.Signals, args: readonly string[]): Promise<number | null> {
  const child = spawn(process.execPath, [BIN, ...args], {
    ...{ cwd: bench.folder, env: { ...plainEnv, ...bench.env }, stdio: 'ignore' as const },
  })
  killer = () => child.kill(signal)
  const code = await new Promise<number | null>((resolve) => child.on('exit', resolve))
  killer = undefined
  return code
}
let killer: (() => void) | undefined

test('a run that is killed between two objects is resumed: the same bytes, and every object once', () => {
  let completed = 0
  return withS3(
    store({
      disturbUpload: ({ verb }: { verb: string }) => {
        if (verb === 'complete' && ++completed === 1) return { before: () => void setTimeout(() => killer?.(), 20) }
        if (verb === 'complete' && killer) return { status: 503 }
        return undefined
      },
    }),
    async (bench) => {
      const { write, run, s3 } = bench
      models(bench)
      write('recipe.yml', recipe(SHARDED))
      await ended(bench, 'SIGKILL', ['run', 'recipe.yml', '--threads', '1'])
      assert.ok(!keysOf(bench).includes('made/merged/_SUCCESS'), 'what is not whole has no marker')
      const resumed = await run(['run', 'recipe.yml', '--resume'])
      assert.is(resumed.code, 0, resumed.err)
      assert.is(s3.uploads.size, 0)
      await sameAsHere(bench)
    },
  )
})

const sent = ({ s3 }: S3Bench, name: string): number =>
  s3.seen.filter(({ method, url }) => method === 'PUT' && url.includes(name) && url.includes('partNumber')).length

test('with --disk, each file is uploaded and removed when it is complete; a kill costs no file that was uploaded', () => {
  let stop = true
  let beside: string[] = []
  const inputs = Object.fromEntries(Object.entries(single(2)).map(([name, bytes]) => [`in/${name}`, { bytes }]))
  return withS3(
    store({
      buckets: { bucket: inputs },
      disturbUpload: ({ verb, key }: { verb: string; key: string }) => {
        if (verb !== 'part') return undefined
        if (key.includes('00002')) beside = staged()
        if (!stop || key.includes('00001')) return undefined
        stop = false
        killer?.()
        return { cut: true }
      },
    }),
    async (bench) => {
      const { write, run, s3, cache } = bench
      models(bench)
      staged = () => {
        const names = existsSync(cache) ? readdirSync(cache, { recursive: true, encoding: 'utf8' }) : []
        return names.filter((name) => /new.model-\d+-of-\d+\.safetensors$/.test(name))
      }
      write('recipe.yml', recipe(SHARDED).replace('./b', 's3://bucket/in'))
      const small = await run(['run', 'recipe.yml', '--disk', '10KB'])
      assert.is(small.code, 2)
      assert.match(small.err, 'disk-too-small')
      const least = /needs --disk (\S+)/.exec(small.err)![1]!
      await ended(bench, 'SIGKILL', ['run', 'recipe.yml', '--threads', '1', '--disk', least, '--resume'])
      assert.equal(keysOf(bench), Object.keys(inputs).sort())
      assert.is(sent(bench, '00001-of'), 1)
      assert.equal(
        beside.map((name) => name.slice(-'00002-of-00002.safetensors'.length)),
        ['00002-of-00002.safetensors'],
        'what was uploaded is no longer here',
      )
      const resumed = await run(['run', 'recipe.yml', '--disk', least, '--resume'])
      assert.is(resumed.code, 0, resumed.err)
      assert.match(resumed.err, /32\.8 kB already done/, resumed.err)
      assert.is(sent(bench, '00001-of'), 1, 'what was uploaded is used')
      assert.equal(work(bench), [])
      assert.is(s3.uploads.size, 0)
      await sameAsHere(bench)
    },
  )
})
let staged = (): string[] => []

test('Ctrl-C leaves nothing: no object, no upload, no file', () =>
  withS3(
    store({
      disturbUpload: ({ verb }: { verb: string }) => {
        if (verb === 'part') killer?.()
        return verb === 'part' ? { status: 503 } : undefined
      },
    }),
    async (bench) => {
      models(bench)
      bench.write('recipe.yml', recipe(SHARDED))
      assert.is(await ended(bench, 'SIGINT', ['run', 'recipe.yml', '--threads', '1']), 130)
      assert.equal(keysOf(bench), [])
      assert.is(bench.s3.uploads.size, 0)
      assert.equal(work(bench), [])
    },
  ))

test('an evaluate command gets the local files, and its failure publishes nothing', () =>
  withS3(store(), async (bench) => {
    const { write, run } = bench
    models(bench)
    const command = (text: string) => `evaluate: {command: [node, -e, ${JSON.stringify(text)}, "{model}"]}\n`
    const good = 'console.log(JSON.stringify({files: require("fs").readdirSync(process.argv[1]).length}))'
    write('recipe.yml', recipe('s3://bucket/e', command(good)))
    const ran = await run(['run', 'recipe.yml', '--allow-commands'])
    assert.is(ran.code, 0, ran.err)
    assert.is(JSON.parse(textOf(bench, 'e/lineage.json')).evaluations.files, 3)
    write('bad.yml', recipe('s3://bucket/f', command('process.exit(3)')))
    const failed = await run(['run', 'bad.yml', '--allow-commands'])
    assert.is(failed.code, 1)
    assert.ok(keysOf(bench).every((key) => key.startsWith('e/')))
    assert.equal(work(bench), [])
  }))

test('what cannot be uploaded is refused with its place', () =>
  withS3(store(), async (bench) => {
    const { write, run, s3 } = bench
    models(bench)
    const refused = async (text: string, code: string, what: RegExp): Promise<void> => {
      write('recipe.yml', text)
      const { code: exit, err } = await run(['validate', 'recipe.yml'])
      assert.is(exit, 2, text)
      assert.match(err, code)
      assert.match(err, what)
    }
    await refused(recipe('gs://bucket/a'), 'bad-value', /to the hub and to S3 stores, not to gs:/)
    await refused(recipe('s3://'), 'bad-value', /s3:\/\/bucket\/prefix/)
    await refused(recipe('hf:merged'), 'bad-value', /hf:org\/name@branch/)
    await refused(recipe('hf:org/merged@refs/pr/1'), 'bad-value', /not a branch/)
    await refused(recipe(`hf:org/merged@${'a'.repeat(40)}`), 'bad-value', /not a branch/)
    await refused(recipe('hf:org/a.safetensors'), 'bad-value', /a repository is a folder/)
    await refused(recipe('s3://bucket/a.bin'), 'bad-value', /safetensors/)
    await refused(recipe('{path: s3://bucket/a, permutations: true}'), 'contradiction', /next to it on this machine/)
    const two =
      'terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear}\noutputs: [{path: s3://bucket/m}, {path: s3://bucket/m/n}]\n'
    await refused(two, 'contradiction', /is inside the output/)
    await refused(two.replace('m/n', 'm/'), 'contradiction', /two outputs/)
    assert.is(s3.seen.length, 0)
    write('recipe.yml', recipe('s3://absent/a'))
    const absent = await run(['run', 'recipe.yml'])
    assert.is(absent.code, 2)
    assert.match(absent.err, 's3-not-found')
    const mean = 'terge: 1\nmodels: {a: s3://bucket/in/a, b: ./b}\nmerge: {method: linear}\noutput: s3://bucket/in/a/\n'
    s3.options.buckets.bucket = Object.fromEntries(
      Object.entries(single(1)).map(([name, bytes]) => [`in/a/${name}`, { bytes }]),
    )
    await refused(mean, 'output-is-input', /would replace its input model/)
  }))

const WAY =
  'terge: 1\nmodels: {a: ./a, b: ./b}\nsteps: {way: {interpolate: {from: a, to: b, points: 3}}}\noutput: s3://bucket/way\n'
const EVALUATED = `${WAY}evaluate: {command: [node, -e, 'console.log(JSON.stringify({loss: 1}))']}\n`

test('points of an interpolation are outputs of their own below an address, with their summary', () =>
  withS3(store(), async (bench) => {
    const { folder, write, run, s3 } = bench
    models(bench)
    write('recipe.yml', EVALUATED)
    const ran = await run(['run', 'recipe.yml', '--allow-commands', '--json'])
    assert.is(ran.code, 0, ran.err)
    const { outputs, summaries } = JSON.parse(ran.out) as {
      outputs: { path: string; lineage: string }[]
      summaries: string[]
    }
    const here = await run(['run', 'recipe.yml', '--allow-commands', '-o', 'way', '--json'])
    assert.is(here.code, 0, here.err)
    assert.equal(summaries, ['s3://bucket/way/summary.json', 's3://bucket/way/summary.csv'])
    const names = readdirSync(path.join(folder, 'way'), { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => path.relative(folder, path.join(parentPath, name)))
    const points = outputs.map((one) => one.path.slice('s3://bucket/'.length))
    assert.is(points.length, 3)
    assert.equal(
      outputs.map(({ lineage }) => lineage),
      points.map((point) => `s3://bucket/${point}/lineage.json`),
    )
    assert.equal(keysOf(bench), [...names, ...points.map((point) => `${point}/_SUCCESS`)].sort())
    for (const name of names)
      assert.ok(
        readFileSync(path.join(folder, name)).equals(Buffer.from(s3.options.buckets.bucket![name]!.bytes)),
        name,
      )
    assert.equal(work(bench), [])
    noSecrets(bench, ran.out + ran.err)

    const before = keysOf(bench)
    assert.match((await run(['run', 'recipe.yml', '--allow-commands'])).err, 'output-exists')
    const kept = await run(['run', 'recipe.yml', '--allow-commands', '--resume'])
    assert.is(kept.code, 0, kept.err)
    assert.equal(keysOf(bench), before)
    // Other points, of which only the lineages stay: the old summary goes before the first of them comes.
    const seen = s3.seen.length
    const forced = await run([
      'run',
      'recipe.yml',
      '--allow-commands',
      '--force',
      '--set',
      'steps.way.interpolate.keep=false',
    ])
    assert.is(forced.code, 0, forced.err)
    const changes = s3.seen
      .slice(seen)
      .filter(({ method }) => method === 'DELETE' || method === 'PUT')
      .map(({ url }) => url)
    assert.ok(
      changes.findIndex((one) => one.includes('summary.json')) <
        changes.findIndex((one) => one.includes('lineage.json')),
    )
    assert.equal(
      keysOf(bench),
      [...points.map((point) => `${point}/lineage.json`), 'way/summary.csv', 'way/summary.json'].sort(),
    )
    assert.match(textOf(bench, 'way/summary.json'), '"kept":false')
    const again = await run([
      'run',
      'recipe.yml',
      '--allow-commands',
      '--resume',
      '--set',
      'steps.way.interpolate.keep=false',
    ])
    assert.is(again.code, 0, again.err)

    write('recipe.yml', WAY.replace('./a', `s3://bucket/${points[1]}`))
    s3.options.buckets.bucket![`${points[1]}/model.safetensors`] = { bytes: single(1)['model.safetensors']! }
    const own = await run(['validate', 'recipe.yml'])
    assert.match(own.err, 'output-is-input')
  }))

test.run()
