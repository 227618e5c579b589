/** Signatures with certificates: what OpenSSL and the standard's tool said of each is in test/fixtures/signing/README.md. */
import { appendFileSync, copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { verify } from '../../src/index.js'
import { firstSignedBytes } from '../../src/signing/first.js'
import { inFolder } from '../support/files.js'
import { fixture } from '../support/terge.js'

const place = (name: string): string => fixture(`signing/certificates/${name}`)

/** The errors of a signature, checked against certificates. */
const told = (name: string, trusted = 'ca.pem', change: (text: string) => string = (text) => text): Promise<string> =>
  inFolder(async (folder) => {
    copyFileSync(place('config.json'), path.join(folder, 'config.json'))
    writeFileSync(path.join(folder, 'model.sig'), change(readFileSync(place(`${name}.sig`), 'utf8')))
    const { problems } = await verify(folder, { certificate: place(trusted) })
    return problems.map(({ message }) => message).join('\n')
  })

test('a chain to a trusted root, also when the certificate has expired since', async () => {
  assert.is(await told('good'), '')
  assert.is(await told('code-signing'), '')
  assert.is(await told('self-signed', 'other.pem').then((text) => text.includes('is not for signatures')), true)
})

test('chains that do not lead to the root, or may not', async () => {
  for (const name of ['no-issuer', 'below-a-leaf', 'too-deep', 'self-signed'])
    assert.match(await told(name), /does not lead to one that you trust/, name)
  assert.match(await told('good', 'other.pem'), /does not lead to one that you trust/)
  assert.match(await told('not-for-signing'), /is not for signatures/)
})

test('conditions that only OpenSSL checks, and bytes that are more than a certificate', async () => {
  assert.match(await told('limited-names', 'conditions.pem'), /limits the names below it/)
  assert.match(await told('critical', 'conditions.pem'), /a critical extension that terge does not know/)
  const longer = (text: string): string => {
    const bundle = JSON.parse(text)
    const [signer] = bundle.verificationMaterial.x509CertificateChain.certificates
    signer.rawBytes = Buffer.concat([Buffer.from(signer.rawBytes, 'base64'), Buffer.from('more')]).toString('base64')
    return JSON.stringify(bundle)
  }
  assert.match(await told('good', 'ca.pem', longer), /holds a certificate that cannot be read/)
})

test('bundles of version 0.2, with files as subjects', () =>
  inFolder(async (folder) => {
    const model = path.join(folder, 'm')
    cpSync(fixture('signing/version-0.2'), model, { recursive: true })
    const certificate = fixture('signing/version-0.2-ca.pem')
    const messages = async (): Promise<string> =>
      (await verify(model, { certificate })).problems.map(({ message }) => message).join('\n')
    assert.is(await messages(), '')
    appendFileSync(path.join(model, 'signme-2'), 'more')
    writeFileSync(path.join(model, 'new'), '')
    assert.match(await messages(), /'new' is not in the signed list.*\n'signme-2' differs from the file/)
    const bundle = JSON.parse(readFileSync(path.join(model, 'model.sig'), 'utf8'))
    const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString('utf8').replace('signme-2', 'signme-3')
    bundle.dsseEnvelope.payload = Buffer.from(payload).toString('base64')
    writeFileSync(path.join(model, 'model.sig'), JSON.stringify(bundle))
    assert.match(await messages(), /the signature does not fit/)

    // As Python 3.11 printed them: repr(b'…').
    const signed = (text: string): string =>
      firstSignedBytes({ payloadType: 'x', payload: Buffer.from(text, 'latin1') }).toString()
    assert.is(signed("it's \\ \n\x00\xe9~"), 'DSSEV1 1 x 11 b"it\'s \\\\ \\n\\x00\\xe9~"')
    assert.is(signed('\'"'), "DSSEV1 1 x 2 b'\\'\"'")
  }))

test('a changed payload, and a certificate that signed something else', async () => {
  const edited = (text: string): string => {
    const bundle = JSON.parse(text)
    const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString('utf8')
    bundle.dsseEnvelope.payload = Buffer.from(payload.replace('"config.json"', '"other.json"')).toString('base64')
    return JSON.stringify(bundle)
  }
  assert.match(await told('good', 'ca.pem', edited), /the signature does not fit/)
  const other = JSON.parse(readFileSync(place('code-signing.sig'), 'utf8')).verificationMaterial
  const swapped = (text: string): string => JSON.stringify({ ...JSON.parse(text), verificationMaterial: other })
  assert.match(await told('good', 'ca.pem', swapped), /the signature does not fit/)
})

test.run()
