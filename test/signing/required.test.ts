/** Signed locks, and inputs that must be signed. */
import { generateKeyPairSync } from 'node:crypto'
import { appendFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, lock, type PlanOptions, plan, sign, verify } from '../../src/index.js'
import { runWith } from '../../src/session/run.js'
import { inFolder } from '../support/files.js'
import { openInline } from '../support/pools.js'
import { terge } from '../support/terge.js'

const RECIPE = 'terge: 1\nmodels: {a: a, b: b.safetensors}\nmerge: {method: linear}\noutput: out.safetensors\n'

interface Bench {
  readonly folder: string
  readonly recipe: string
  readonly at: (name: string) => string
  readonly sign: (name: string, key?: string) => Promise<void>
  /** The codes of errors, or `done`. */
  readonly run: (options: PlanOptions, resume?: boolean) => Promise<string>
}

const withModels = (work: (bench: Bench) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const at = (name: string): string => path.join(folder, name)
    for (const name of ['key', 'other']) {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      writeFileSync(at(`${name}.pem`), privateKey.export({ type: 'sec1', format: 'pem' }))
      writeFileSync(at(`${name}.pub`), publicKey.export({ type: 'spki', format: 'pem' }))
    }
    cpSync('test/fixtures/lm/python', at('a'), { recursive: true })
    cpSync('test/fixtures/lm/c/model.safetensors', at('b.safetensors'))
    const recipe = at('recipe.yml')
    writeFileSync(recipe, RECIPE)
    await work({
      ...{ folder, recipe, at },
      async sign(name, key = 'key') {
        const signed = await sign(at(name), { key: at(`${key}.pem`), force: true })
        writeFileSync(signed.path, signed.text)
      },
      async run(options, resume = false) {
        try {
          const prepared = await plan(recipe, options)
          await runWith(prepared, { threads: 1, sync: false, force: !resume, resume }, { openPool: openInline })
          return 'done'
        } catch (error) {
          if (!(error instanceof Fault)) throw error
          return error.diagnostics
            .map(({ code, message }) => `${code}: ${message.replaceAll(`${folder}/`, '')}`)
            .join('\n')
        }
      },
    })
  })

test('a lock is signed and checked, and a run refuses others before it reads anything', () =>
  withModels(async ({ recipe, at, sign, run }) => {
    const made = await lock(recipe, { threads: 1 })
    writeFileSync(made.path, made.text)
    const key = at('key.pub')
    const locked = { locked: true, key }
    assert.match(
      await run(locked),
      /^missing-signature: recipe\.yml\.lock has no signature: there is no recipe\.yml\.lock\.sig$/,
    )
    await sign('recipe.yml.lock')
    assert.is(await run(locked), 'done')
    assert.match(await run({ ...locked, key: at('other.pub') }), /^bad-signature: /)
    const { diagnostics } = await plan(recipe, { locked: true })
    assert.equal(
      diagnostics.map(({ code }) => code),
      ['signature-unchecked'],
    )
    const checked = await verify(made.path, { threads: 1, key })
    assert.equal([checked.ok, checked.signed, checked.lineage, checked.problems], [true, true, false, []])
    // A signature that comes later is no difference.
    await sign('a')
    await sign('b.safetensors')
    assert.is(await run(locked), 'done')

    // Even if a model is gone, the lock is refused first.
    writeFileSync(made.path, made.text.replace('"lock": 1', '"lock":  1'))
    rmSync(at('b.safetensors'))
    assert.is(await run(locked), 'signed-files: recipe.yml.lock differs from the file that was signed')
    const codes = (await verify(made.path, { threads: 1, key })).problems.map(({ code }) => code)
    assert.equal(codes, ['signed-files', 'input-missing'])
  }))

test('with requireSigned, a run refuses models without a signature of the key, and files that were not signed', () =>
  withModels(async ({ at, sign, run }) => {
    const required = { requireSigned: true, key: at('key.pub') }
    assert.match(await run(required), /^missing-signature: .*\nmissing-signature: .* there is no b\.sig$/)
    await sign('a')
    await sign('b.safetensors', 'other')
    assert.match(await run(required), /^bad-signature: b\.sig/)
    await sign('b.safetensors')
    assert.is(await run(required), 'done')
    assert.is(await run(required, true), 'done')

    const config = readFileSync(at('a/config.json'))
    appendFileSync(at('a/config.json'), ' ')
    assert.is(await run(required), "signed-files: a: 'config.json' differs from the file that was signed")
    writeFileSync(at('a/config.json'), config)
    writeFileSync(at('a/special_tokens_map.json'), '{}')
    assert.is(await run(required), "signed-files: a: 'special_tokens_map.json' is not in the signed list of files")
    rmSync(at('a/special_tokens_map.json'))
    // What no run reads is not its business.
    writeFileSync(at('a/notes.txt'), 'x')
    assert.is(await run(required), 'done')

    const changed = readFileSync(at('a/model.safetensors'))
    changed[changed.length - 1]! ^= 1
    writeFileSync(at('a/model.safetensors'), changed)
    assert.is(await run(required), "signed-files: a: 'model.safetensors' differs from the file that was signed")
  }))

test('verify checks the signatures of inputs with the key, and says which it did not check', () =>
  withModels(async ({ folder, recipe, at, sign, run }) => {
    assert.is(await run({}), 'done')
    const made = await lock(recipe, { threads: 1 })
    writeFileSync(made.path, made.text)
    for (const name of ['out.safetensors', 'recipe.yml.lock', 'a']) await sign(name)
    const check = async (given: string, key: string | undefined = 'key.pub') => {
      const found = await verify(at(given), { threads: 1, ...(key === '' ? {} : { key: at(key) }) })
      const problems = found.problems.map(({ code, message }) => `${code}: ${message.replaceAll(`${folder}/`, '')}`)
      return { ok: found.ok, inputs: found.inputs, problems }
    }
    for (const given of ['out.safetensors', 'recipe.yml.lock'])
      assert.equal(await check(given), { ok: true, inputs: { a: 'valid', b: 'unsigned' }, problems: [] })
    const said = (await terge(['verify', 'out.safetensors', '--key', 'key.pub'], folder)).out
    assert.match(said, /; the signature is valid; signed inputs: a; inputs without a signature: b\n$/)

    await sign('b.safetensors', 'other')
    const other = 'b (b.safetensors): b.sig: was made with another key than the one given (it names the public key)'
    for (const given of ['out.safetensors', 'recipe.yml.lock'])
      assert.equal(await check(given), {
        ...{ ok: true, inputs: { a: 'valid', b: 'unchecked' } },
        problems: [`signature-unchecked: ${other}`],
      })
    const { problems } = await check('out.safetensors', '')
    assert.equal(problems, [
      'signature-unchecked: out.sig was not checked',
      'signature-unchecked: a (a): its signature was not checked',
      'signature-unchecked: b (b.safetensors): its signature was not checked',
    ])

    // The lineage alone would not notice these: the signer did not sign the file that the run read, or something of the bundle differs.
    const bundle = readFileSync(at('a/model.sig'), 'utf8')
    const ignoring = await signModelWithout(at, 'config.json')
    for (const [text, message] of [
      [ignoring, "signed-files: a (a): 'config.json' is not in the signed list of files"],
      [bundle.replace(/"sig":"..../, '"sig":"AAAA'), /^bad-signature: a \(a\): model.sig: the signature does not fit/],
      [bundle.replace('"sig"', '"sog"'), /^bad-signature: a \(a\): model.sig: is not a bundle/],
    ] as const) {
      writeFileSync(at('a/model.sig'), text)
      const found = await check('out.safetensors')
      assert.equal([found.ok, found.inputs], [false, { a: 'invalid', b: 'unchecked' }])
      assert.match(found.problems[0]!, message)
    }
    writeFileSync(at('a/model.sig'), bundle)
    rmSync(at('b.safetensors'))
    assert.equal((await check('out.safetensors')).inputs, { a: 'valid', b: 'missing' })
  }))

/** The text of a signature of `a` that does not cover a file. */
const signModelWithout = async (at: Bench['at'], name: string): Promise<string> =>
  (await sign(at('a'), { key: at('key.pem'), force: true, ignore: [name] })).text

test('a key without something to check, and signatures without a key, are refused', () =>
  withModels(async ({ at, run }) => {
    assert.match(await run({ key: at('key.pub') }), /^contradiction: there is nothing that this key/)
    assert.match(await run({ requireSigned: true }), /^contradiction: signed models are required/)
  }))

test.run()
