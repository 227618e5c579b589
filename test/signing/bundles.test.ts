/** Signatures against the bundles of the OpenSSF Model Signing tool (test/fixtures/signing), good and tampered. */
import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, formatDiagnostic, verify } from '../../src/index.js'
import { inFolder } from '../support/files.js'
import { fixture } from '../support/terge.js'

type Op = readonly [kind: string, file: string, value?: string | number]
interface Case {
  readonly name: string
  readonly model: string
  readonly folder: string
  readonly key: string
  readonly bundle: string
  readonly ops: readonly Op[]
  readonly want: 'accept' | 'reject' | 'info'
  readonly either?: boolean
  readonly words: readonly string[]
}

const place = (name: string): string => fixture(`signing/${name}`)
const json = <T>(name: string): T => JSON.parse(readFileSync(place(name), 'utf8')) as T
const { cases } = json<{ cases: readonly Case[] }>('cases.json')
const models = json<Record<string, Record<string, string | { link: string }>>>('models.json')

function put(folder: string, name: string, content: string | { link: string }): void {
  const file = path.join(folder, name)
  mkdirSync(path.dirname(file), { recursive: true })
  if (typeof content === 'string') writeFileSync(file, Buffer.from(content, 'base64'))
  else symlinkSync(content.link, file)
}

const CHANGES: Readonly<Record<string, (folder: string, file: string, value: never) => void>> = {
  flip(folder, file, at: number) {
    const bytes = readFileSync(path.join(folder, file))
    bytes[at]! ^= 1
    writeFileSync(path.join(folder, file), bytes)
  },
  remove: (folder, file) => rmSync(path.join(folder, file)),
  add: (folder, file, content: string) => put(folder, file, content),
  append: (folder, file, content: string) => appendFileSync(path.join(folder, file), Buffer.from(content, 'base64')),
  rename: (folder, from, to: string) => renameSync(path.join(folder, from), path.join(folder, to)),
  link(folder, file, target: string) {
    rmSync(path.join(folder, file))
    symlinkSync(target, path.join(folder, file))
  },
}

/** What terge says of a case: no text if it accepts it. */
const told = (one: Case): Promise<string> =>
  inFolder(async (root) => {
    const folder = path.join(root, one.folder)
    for (const [name, content] of Object.entries(models[one.model]!)) put(folder, name, content)
    for (const [kind, file, value] of one.ops) CHANGES[kind]!(folder, file, value as never)
    const signature = path.join(folder, 'model.sig')
    writeFileSync(signature, readFileSync(place(`bundles/${one.bundle}`)))
    const given = one.model === 'single' ? path.join(folder, 'model.safetensors') : folder
    try {
      const { ok, problems, signed } = await verify(given, { key: place(`keys/${one.key}.pub`), signature })
      assert.is(signed, ok)
      assert.is(problems.length === 0, ok)
      return problems.map(formatDiagnostic).join('\n')
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      return error.diagnostics.map(formatDiagnostic).join('\n')
    }
  })

for (const one of cases)
  test(`${one.name}: ${one.want}`, async () => {
    const text = await told(one)
    const isNamed = one.words.some((word) => text.toLowerCase().includes(word.toLowerCase()))
    if (one.want === 'accept') assert.ok(text === '' || (one.either && isNamed), text)
    else if (one.want === 'reject') assert.ok(text !== '' && isNamed, text || 'accepted')
  })

test('what the standard leaves open: terge refuses what could mean two things', async () => {
  const open = Object.fromEntries(cases.filter(({ want }) => want === 'info').map((one) => [one.name, one]))
  const names = ['hint-of-another-key', 'link-to-same-bytes', 'name-twice', 'two-subjects', 'unknown-field']
  for (const name of names) assert.is.not(await told(open[name]!), '', name)
})

test.run()
