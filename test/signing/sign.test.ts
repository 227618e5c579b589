/** `terge sign` and `terge verify --key`, through the real commands. */
import { generateKeyPairSync } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, sign, verify } from '../../src/index.js'
import { signedBundle } from '../../src/signing/bundle.js'
import { compareByParts } from '../../src/signing/files.js'
import { privateKeyOf } from '../../src/signing/keys.js'
import { f32, inFolder, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

function writeKeys(folder: string, namedCurve = 'P-256'): void {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve })
  writeFileSync(path.join(folder, 'key.pem'), privateKey.export({ type: 'sec1', format: 'pem' }))
  writeFileSync(path.join(folder, 'pub.pem'), publicKey.export({ type: 'spki', format: 'pem' }))
}

/** A merged folder, a merged file, and keys. */
async function writeMerged(folder: string, more: readonly string[] = []): Promise<void> {
  writeKeys(folder)
  for (const [name, x] of [
    ['a', 1],
    ['b', 3],
  ] as const)
    writeModel(path.join(folder, `${name}.safetensors`), { w: f32([2], [x, x]) })
  for (const out of ['merged', 'one.safetensors']) {
    const { code, err } = await terge(['merge', 'a.safetensors', 'b.safetensors', '-o', out, ...more], folder)
    assert.is(code, 0, err)
  }
}

const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'nothing',
    (error: unknown) => {
      if (!(error instanceof Fault)) throw error
      return error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
    },
  )

test('a folder and a file: signed, checked with the lineage, and changed', () =>
  inFolder(async (folder) => {
    await writeMerged(folder)
    const signed = await terge(['sign', 'merged', '--key', 'key.pem'], folder)
    assert.equal([signed.code, signed.out], [0, 'wrote merged/model.sig: signs 3 files\n'])
    const checked = await terge(['verify', 'merged', '--key', 'pub.pem'], folder)
    assert.is(checked.code, 0, checked.err)
    assert.match(checked.out, /^unchanged: .*; the signature is valid; inputs without a signature: a, b\n$/)
    const unchecked = await terge(['verify', 'merged'], folder)
    assert.is(unchecked.code, 0)
    assert.match(unchecked.err, 'warning signature-unchecked: merged/model.sig was not checked')
    assert.match(
      (await terge(['sign', 'merged', '--key', 'key.pem'], folder)).err,
      'error file-exists: merged/model.sig',
    )

    appendFileSync(path.join(folder, 'merged/README.md'), 'more')
    writeFileSync(path.join(folder, 'merged/new.py'), '')
    const changed = await terge(['verify', 'merged', '--key', 'pub.pem'], folder)
    assert.is(changed.code, 1)
    assert.match(changed.err, "error signed-files: 'README.md' differs from the file that was signed")
    assert.match(changed.err, "error signed-files: 'new.py' is not in the signed list of files")

    const place = (name: string): string => path.join(folder, name)
    const { path: file, text } = await sign(place('one.lineage.json'), { key: place('key.pem') })
    assert.is(file, place('one.sig'))
    writeFileSync(file, text)
    const result = await verify(place('one.safetensors'), { key: place('pub.pem'), recipeFolder: folder })
    assert.equal([result.ok, result.signed, result.lineage], [true, true, true])
  }))

/** Writes a bundle around a statement. */
const rewritten = (file: string, change: (statement: string) => string, folder: string): void => {
  const bundle = JSON.parse(readFileSync(file, 'utf8'))
  const statement = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString()
  const key = privateKeyOf(readFileSync(path.join(folder, 'key.pem'), 'utf8'), 'key.pem')
  writeFileSync(file, signedBundle(change(statement), key))
}

/** The names of the files that signed provenance is about. */
const subjectsOf = (text: string): string[] =>
  JSON.parse(Buffer.from(JSON.parse(text).dsseEnvelope.payload, 'base64').toString()).subject.map(
    ({ name }: { readonly name: string }) => name,
  )

test('signed provenance: written, checked with the model, and about other files', () =>
  inFolder(async (folder) => {
    await writeMerged(folder, ['--checksums'])
    const place = (name: string): string => path.join(folder, name)
    const signed = await terge(['sign', 'merged', '--key', 'key.pem', '--attest'], folder)
    assert.is(
      signed.out,
      'wrote merged/model.sig: signs 4 files\nwrote merged/provenance.sig: signed provenance\n',
      signed.err,
    )
    const checked = await terge(['verify', 'merged', '--key', 'pub.pem'], folder)
    assert.match(checked.out, 'the signature is valid, and the signed provenance is about these files', checked.err)

    const check = (given = 'merged', more: object = {}) =>
      verify(place(given), { key: place('pub.pem'), recipeFolder: folder, ...more })
    const alone = await check('merged', { signature: place('merged/provenance.sig') })
    assert.equal([alone.ok, alone.attested], [true, true])
    rewritten(place('merged/provenance.sig'), (text) => text.replace(/[0-9a-f]{64}/, '0'.repeat(64)), folder)
    const other = await check()
    assert.equal([other.ok, other.attested], [false, false])
    assert.match(other.problems[0]!.message, "'model.safetensors' differs: the provenance is about another file")
    const statements: readonly (readonly [(text: string) => string, string])[] = [
      [(text) => text.replace('slsa.dev/provenance/v1', 'slsa.dev/provenance/v2'), 'it signs a predicate'],
      [(text) => text.replace(/"subject":\[.*?\]/, '"subject":[]'), 'is about no file'],
      [(text) => text.replace(/"name":"model.safetensors"/, '"name":"../key.pem"'), "'../key.pem' is missing"],
    ]
    for (const [change, message] of statements) {
      const again = await sign(place('merged'), { key: place('key.pem'), attest: true, force: true })
      writeFileSync(again.attestation!.path, again.attestation!.text)
      rewritten(again.attestation!.path, change, folder)
      const found = await check()
      assert.equal([found.ok, found.attested], [false, false], message)
      assert.match(found.problems.map(({ message }) => message).join('\n'), message)
    }

    const again = await sign(place('merged'), { key: place('key.pem'), attest: true, force: true })
    assert.equal(subjectsOf(again.attestation!.text), ['model.safetensors', 'lineage.json', 'README.md', 'SHA256SUMS'])
    // What people write into a card does not come from the run. Its signature covers it.
    appendFileSync(place('merged/README.md'), '\nOur best model.\n')
    const edited = await sign(place('merged'), { key: place('key.pem'), attest: true, force: true })
    assert.equal(subjectsOf(edited.attestation!.text), ['model.safetensors', 'lineage.json'])
    writeFileSync(edited.path, edited.text)
    writeFileSync(edited.attestation!.path, edited.attestation!.text)
    assert.equal([(await check()).ok, (await check()).attested], [true, true])

    const one = await sign(place('one.safetensors'), { key: place('key.pem'), attest: true })
    assert.is(one.attestation!.path, place('one.provenance.sig'))
    writeFileSync(one.path, one.text)
    writeFileSync(one.attestation!.path, one.attestation!.text)
    assert.equal(subjectsOf(one.attestation!.text), ['one.safetensors', 'one.lineage.json', 'one.sha256'])
    const single = await check('one.safetensors')
    assert.equal([single.ok, single.attested], [true, true])
    appendFileSync(place('one.lineage.json'), ' ')
    const changed = await check('one.safetensors')
    assert.equal([changed.ok, changed.attested], [false, false])
    assert.match(changed.problems[0]!.message, "'one.lineage.json' differs: the provenance is about another file")
    const file = place('merged/model.safetensors')
    const bytes = readFileSync(file)
    writeFileSync(file, Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]))
    const refused = await failure(sign(place('merged'), { key: place('key.pem'), attest: true, force: true }))
    assert.match(refused, "signed-files: 'model.safetensors' differs: the provenance is about another file")
  }))

test('what is not covered, other curves, and a model without a lineage', () =>
  inFolder(async (folder) => {
    writeKeys(folder, 'P-521')
    const model = path.join(folder, 'model')
    mkdirSync(path.join(model, 'notes'), { recursive: true })
    writeModel(path.join(model, 'w.safetensors'), { w: f32([1], [1]) })
    writeFileSync(path.join(model, 'notes/a.txt'), 'a')
    writeFileSync(path.join(model, '.gitattributes'), '')
    const signed = await sign(model, { key: path.join(folder, 'key.pem'), ignore: ['notes/'] })
    assert.is(signed.files, 1)
    writeFileSync(signed.path, signed.text)
    writeFileSync(path.join(model, 'notes/b.txt'), 'b')
    const checked = await verify(model, { key: path.join(folder, 'pub.pem') })
    assert.equal([checked.ok, checked.signed, checked.lineage, checked.checked.files], [true, true, false, 1])
    const other = path.join(folder, 'other.sig')
    writeFileSync(other, readFileSync(signed.path, 'utf8').replace('"keyid":""', '"keyid":"","x":1'))
    const odd = await verify(model, { key: path.join(folder, 'pub.pem'), signature: other })
    assert.match(odd.problems[0]!.message, 'the signature has an unknown field "x"')
  }))

test('keys that are refused, and what cannot be signed', () =>
  inFolder(async (folder) => {
    writeKeys(folder)
    const place = (name: string): string => path.join(folder, name)
    writeModel(place('w.safetensors'), { w: f32([1], [1]) })
    const refusal = (key: string) => failure(sign(place('w.safetensors'), { key: place(key) }))
    const ed = generateKeyPairSync('ed25519').privateKey
    writeFileSync(place('ed.pem'), ed.export({ type: 'pkcs8', format: 'pem' }))
    assert.match(await refusal('ed.pem'), /^bad-signing-key: .*of the kind ed25519.*only elliptic-curve keys/)
    writeKeys(place('.'), 'secp256k1')
    assert.match(await refusal('key.pem'), /^bad-signing-key: .*on the curve secp256k1/)
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const locked = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' } as const
    writeFileSync(place('locked.pem'), p256.privateKey.export(locked))
    assert.match(await refusal('locked.pem'), /^bad-signing-key: .*is encrypted/)
    writeFileSync(place('private.pem'), p256.privateKey.export({ type: 'pkcs8', format: 'pem' }))
    assert.match(await refusal('pub.pem'), /^bad-signing-key: .*is not a private key in PEM/)
    assert.match(await refusal('none.pem'), /^bad-signing-key: .*there is no such file/)
    const { path: file, text } = await sign(place('w.safetensors'), { key: place('private.pem') })
    writeFileSync(file, text)
    const check = (options: object) => failure(verify(place('w.safetensors'), options))
    assert.match(await check({ key: place('private.pem') }), /^bad-signing-key: .*is a private key/)
    assert.match(await check({ signature: file }), /^contradiction: a signature can only be checked with a key/)
    assert.match(await check({ key: place('pub.pem'), signature: place('none.sig') }), /^missing-signature: /)
    assert.match(await check({ certificate: place('pub.pem') }), /^bad-signing-key: .*has no certificate in PEM/)
    symlinkSync('w.safetensors', place('link.safetensors'))
    assert.match(await failure(sign(folder, { key: place('private.pem') })), /^signed-files: .*is a symbolic link/)
    assert.not.ok(existsSync(place('model.sig')))
  }))

test('the order of names: by parts, and those by code points', () => {
  const names = ['a/b', 'a-b', 'a', 'B', '\u{10400}', '\uff21', 'a/b/c', 'a/a']
  assert.equal(names.sort(compareByParts), ['B', 'a', 'a/a', 'a/b', 'a/b/c', 'a-b', '\uff21', '\u{10400}'])
})

test('files that an older signature ignored without saying so need none; those that it signs are compared', () =>
  inFolder(async (folder) => {
    writeKeys(folder)
    const place = (name: string): string => path.join(folder, name)
    mkdirSync(place('m/cache'), { recursive: true })
    for (const name of ['m/w.bin', 'm/cache/signed.txt']) writeFileSync(place(name), name)
    const made = await sign(place('m'), { key: place('key.pem') })
    writeFileSync(made.path, made.text)
    writeFileSync(place('m/cache/log.txt'), '')
    const check = (ignore: readonly string[]) => verify(place('m'), { key: place('pub.pem'), ignore })
    const messages = async (ignore: readonly string[]) => (await check(ignore)).problems.map(({ message }) => message)
    assert.equal(await messages(['w.bin']), [
      "'cache/log.txt' is not in the signed list of files: it was added after signing",
    ])
    assert.ok((await check(['cache/'])).ok)
    appendFileSync(place('m/cache/signed.txt'), 'more')
    assert.equal(await messages(['cache']), ["'cache/signed.txt' differs from the file that was signed"])
    assert.match(await failure(check(['../m'])), 'bad-flag')
    assert.match(await failure(verify(place('m'), { ignore: ['cache'] })), 'contradiction')
  }))

test.run()
