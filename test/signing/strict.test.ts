/** Bundles with parts that the format does not have, or that say two things; paths of `--ignore`. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Fault, sign, verify } from '../../src/index.js'
import { checkedPayload, parseBundle, signedBundle } from '../../src/signing/bundle.js'
import { checkFiles } from '../../src/signing/check.js'
import { detailsOf, pemOf, privateKeyOf } from '../../src/signing/keys.js'
import { parseManifest, statementOf } from '../../src/signing/manifest.js'
import { inFolder } from '../support/files.js'

const pemFor = (namedCurve: string): string =>
  generateKeyPairSync('ec', { namedCurve }).privateKey.export({ type: 'sec1', format: 'pem' }).toString()
const key = privateKeyOf(pemFor('P-256'), 'key.pem')
const other = privateKeyOf(pemFor('P-384'), 'other.pem')

interface Parts {
  verificationMaterial: Record<string, unknown>
  dsseEnvelope: { signatures: Record<string, unknown>[] }
}

/** What is said of a bundle after a change; nothing if it is accepted. */
function told(change: (bundle: Parts) => void): string {
  const bundle = JSON.parse(signedBundle('{}', key)) as Parts
  change(bundle)
  try {
    checkedPayload(parseBundle(JSON.stringify(bundle), 'model.sig'), key, 'model.sig')
    return ''
  } catch (error) {
    return (error as Fault).diagnostics[0]!.message
  }
}

test('parts of a bundle that the format does not have', () => {
  const material = (fields: Record<string, unknown>) => (bundle: Parts) =>
    Object.assign(bundle.verificationMaterial, fields)
  for (const [change, want] of [
    [material({ tlogEntries: 'none' }), 'tlogEntries is not a list'],
    [material({ tlogEntries: [{ odd: 1 }] }), 'an unknown field "odd"'],
    [material({ timestampVerificationData: { odd: 1 } }), 'an unknown field "odd"'],
    [material({ timestampVerificationData: 'now' }), 'timestampVerificationData is missing'],
    [material({ publicKey: undefined }), 'says nothing of the key'],
    [material({ x509CertificateChain: { certificates: [] } }), 'both publicKey and x509CertificateChain'],
    [(bundle: Parts) => Object.assign(bundle.dsseEnvelope.signatures[0]!, { keyid: 3 }), 'the keyid'],
  ] as const)
    assert.match(told(change), want)
  assert.is(told(material({ tlogEntries: [], publicKey: { hint: null } })), '')
})

test('keys of bundles before 1.1: the key, its algorithm and a hint must be those of the given key', () => {
  const old =
    (of: typeof key, keyDetails: string, more = {}) =>
    (bundle: Parts) => {
      const rawBytes = Buffer.from(pemOf(of.key)).toString('base64')
      bundle.verificationMaterial = { publicKey: { rawBytes, keyDetails, ...more } }
    }
  assert.is(told(old(key, 'PKIX_ECDSA_P256_SHA_256')), '')
  assert.match(told(old(other, detailsOf(other))), 'another key than the one given')
  assert.match(told(old(key, 'PKIX_ECDSA_P256_SHA_512')), 'names the algorithm "PKIX_ECDSA_P256_SHA_512"')
  assert.match(told(old(key, detailsOf(key), { hint: '00' })), 'another key than the one given')
})

test('paths that are ignored: in their shortest form, and inside of the model', () =>
  inFolder(async (folder) => {
    mkdirSync(path.join(folder, 'm/logs'), { recursive: true })
    for (const file of ['key.pem', 'm/config.json', 'm/logs/a.txt']) writeFileSync(path.join(folder, file), '{}')
    const signing = path.join(folder, 'key.pem')
    writeFileSync(signing, key.key.export({ type: 'sec1', format: 'pem' }))
    const { text } = await sign(path.join(folder, 'm'), { key: signing, ignore: ['./logs//'] })
    const manifest = parseManifest(checkedPayload(parseBundle(text, 'm'), key, 'm'), 'm')
    assert.ok(manifest.serialization.ignored.includes('logs'))
    assert.equal(
      manifest.resources.map(({ name }) => name),
      ['config.json'],
    )
    for (const ignore of ['.', '..', '../x', '/x', 'a/../..', ''])
      assert.match(
        await sign(path.join(folder, 'm'), { key: signing, ignore: [ignore] }).then(
          () => '',
          (error: Fault) => error.diagnostics[0]!.code,
        ),
        'bad-flag',
      )

    // The standard's tool compares paths, not texts.
    const digest = createHash('sha256')
      .update(readFileSync(path.join(folder, 'm/config.json')))
      .digest('hex')
    const check = (ignored: readonly string[]) =>
      checkFiles(
        { place: path.join(folder, 'm'), isFile: false },
        {
          serialization: { method: 'files', hash: 'sha256', allowSymlinks: false, ignored },
          resources: [{ name: 'config.json', algorithm: 'sha256', digest }],
        },
        [],
        {},
      ).then(({ problems }) => problems.map(({ message }) => message).join())
    assert.is(await check(['./logs/']), '')
    assert.match(await check(['.']), /config\.json' is missing/)
    const empty = statementOf('m', { serialization: { ...manifest.serialization }, resources: [] })
    assert.throws(() => parseManifest(Buffer.from(empty), 'm'), /no list of files/)
  }))

test('files of any kind are signed and checked, and need no lineage', () =>
  inFolder(async (folder) => {
    const [signing, known, model] = ['key.pem', 'pub.pem', 'model.gguf'].map((name) => path.join(folder, name))
    writeFileSync(signing!, key.key.export({ type: 'sec1', format: 'pem' }))
    writeFileSync(known!, pemOf(key.key))
    writeFileSync(model!, 'GGUF')
    const { path: place, text } = await sign(model!, { key: signing! })
    writeFileSync(place, text)
    const { ok, lineage, signed } = await verify(model!, { key: known! })
    assert.equal([ok, lineage, signed], [true, false, true])
    writeFileSync(model!, '{}')
    assert.equal(
      (await verify(model!, { key: known! })).problems.map(({ code }) => code),
      ['signed-files'],
    )
    // A file that says that it is a lineage has to be one.
    writeFileSync(path.join(folder, 'model.lineage.json'), '{}')
    writeFileSync(path.join(folder, 'model.safetensors'), '')
    await sign(path.join(folder, 'model.safetensors'), { key: signing! }).then((made) =>
      writeFileSync(made.path, made.text),
    )
    const code = await verify(path.join(folder, 'model.safetensors'), { key: known! }).then(
      () => '',
      (error: Fault) => error.diagnostics[0]!.code,
    )
    assert.is(code, 'bad-lineage')
  }))

test.run()
