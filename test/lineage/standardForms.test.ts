/** CycloneDX and SLSA of lineages: valid, complete, and the same bytes each time. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Validation } from '@cyclonedx/cyclonedx-library'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sha256 } from '../../src/core/digest.js'
import { type CycloneDxVersion, type Diagnostic, Fault, report } from '../../src/index.js'
import { standardLicense } from '../../src/lineage/forms/standard/licenses.js'
import { lineageText } from '../../src/lineage/serialize.js'
import type { Lineage, LineageFile } from '../../src/lineage/types.js'
import { inFolder } from '../support/files.js'
import { sample } from './sample.js'

const CYCLONEDX_VERSIONS: readonly CycloneDxVersion[] = ['1.6', '1.7']

const sum = (digit: string): `sha256:${string}` => `sha256:${digit.repeat(64)}`
const COMMIT = 'AbCdEf0123456789abcdef0123456789abcdef01'

const hashed = (file: LineageFile, digit: string): LineageFile => ({ ...file, sha256: sum(digit) })

/** The sample with models on the hub, in a store and in a folder, with SHA-256 and licenses. */
const published: Lineage = {
  ...sample,
  models: {
    a: {
      ...sample.models.a!,
      reference: 'hf:Org/Some.Model@main',
      revision: COMMIT,
      license: { id: 'apache-2.0' },
      files: [
        { name: 'model-00001-of-00002.safetensors', size: 5, digest: null, sha256: sum('1') },
        { name: 'model-00002-of-00002.safetensors', size: 6, digest: null, sha256: sum('2') },
      ],
    },
    b: {
      ...sample.models.b!,
      reference: 's3://bucket/models/b c.safetensors',
      license: { id: 'llama3.1' },
      files: [{ name: 'b c.safetensors', size: 6, digest: null, sha256: sum('3') }],
    },
    c: { ...sample.models.c!, files: sample.models.c!.files.map((file) => hashed(file, '4')) },
  },
  output: { ...sample.output, files: sample.output.files.map((file) => hashed(file, '5')) },
  evaluations: { perplexity: 3.25 },
}

interface Document {
  readonly specVersion: string
  readonly serialNumber: string
  readonly metadata: { readonly timestamp?: string; readonly component: Part }
}
interface Part {
  readonly name: string
  readonly group?: string
  readonly version?: string
  readonly purl?: string
  readonly hashes?: readonly { alg: string; content: string }[]
  readonly licenses?: readonly unknown[]
  readonly components?: readonly Part[]
  readonly pedigree?: { readonly ancestors: readonly Part[] }
  readonly properties: readonly { name: string; value: string }[]
  readonly modelCard?: { readonly quantitativeAnalysis: unknown; readonly properties: Part['properties'] }
}

const write = (folder: string, lineage: Lineage): string => {
  const file = path.join(folder, 'merged.lineage.json')
  writeFileSync(file, lineageText(lineage))
  return file
}

const validators = new Map(
  CYCLONEDX_VERSIONS.map((version) => [version, new Validation.JsonStrictValidator(version as never)]),
)

async function refuseInvalid(text: string, version: CycloneDxVersion, shown: string): Promise<void> {
  const errors = await validators.get(version)!.validate(text)
  assert.is(errors, null, `${shown}: ${JSON.stringify(errors)}`)
}

test('CycloneDX is valid in both versions, has every input, and is the same each time', () =>
  inFolder(async (folder) => {
    const file = write(folder, published)
    const warnings: Diagnostic[] = []
    for (const specVersion of CYCLONEDX_VERSIONS) {
      const text = await report(file, 'cyclonedx', {
        specVersion,
        listen: (event) => event.kind === 'warning' && warnings.push(event.diagnostic),
      })
      await refuseInvalid(text, specVersion, specVersion)
      assert.is(text, await report(file, 'cyclonedx', { specVersion }))
      const { metadata, ...rest } = JSON.parse(text) as Document
      assert.is(rest.specVersion, specVersion)
      assert.not.ok('timestamp' in metadata)
      const { component } = metadata
      assert.equal(component.hashes, [{ alg: 'SHA-256', content: '5'.repeat(64) }])
      const inputs = component.pedigree!.ancestors
      const [a, b, c] = ['a', 'b', 'c'].map((name) => inputs.find((one) => one.properties[0]!.value === name)!) as [
        Part,
        Part,
        Part,
      ]
      assert.is(a.purl, `pkg:huggingface/Org/Some.Model@${COMMIT.toLowerCase()}`)
      assert.equal([a.group, a.name, a.version], ['Org', 'Some.Model', COMMIT.toLowerCase()])
      assert.equal(
        a.components!.map(({ name, hashes }) => [name, hashes![0]!.content[0]]),
        [
          ['model-00001-of-00002.safetensors', '1'],
          ['model-00002-of-00002.safetensors', '2'],
        ],
      )
      assert.equal(a.licenses, [{ license: { id: 'Apache-2.0', acknowledgement: 'declared' } }])
      assert.match(JSON.stringify(b.licenses), /"name":"llama3.1","url":"https:\/\/github.com\/meta-llama\/.*LICENSE"/)
      assert.equal([c.purl, c.licenses, c.hashes![0]!.content[0]], [undefined, undefined, '4'])
      const facts = component.modelCard!.properties.map(({ name, value }) => `${name}=${value}`)
      for (const one of ['terge:method=linear', 'terge:method:task_arithmetic:parameter:lambda=1'])
        assert.ok(facts.includes(one), one)
      assert.equal(component.modelCard!.quantitativeAnalysis, {
        performanceMetrics: [{ type: 'perplexity', value: '3.25' }],
      })
      // The inputs are under different terms.
      assert.is(component.licenses, undefined)
      const own = component.properties.map(({ name, value }) => `${name}=${value}`)
      for (const one of ['terge:input-license:b=llama3.1', 'terge:input-license:c=unknown'])
        assert.ok(own.includes(one), one)
    }
    assert.equal(warnings, [])
    const timed = await report(file, 'cyclonedx', { timestamp: '2026-11-26T18:30:00Z' })
    await refuseInvalid(timed, '1.6', 'with a time')
    const [one, other] = [JSON.parse(timed), JSON.parse(await report(file, 'cyclonedx'))] as [Document, Document]
    assert.equal([one.metadata.timestamp, one.serialNumber], ['2026-11-26T18:30:00Z', other.serialNumber])
  }))

test('without SHA-256, CycloneDX leaves hashes out and says so; SLSA is refused', () =>
  inFolder(async (folder) => {
    const file = write(folder, sample)
    const warnings: string[] = []
    const text = await report(file, 'cyclonedx', {
      listen: (event) => event.kind === 'warning' && warnings.push(event.diagnostic.message),
    })
    await refuseInvalid(text, '1.6', 'without hashes')
    assert.not.match(text, '"SHA-256",\n          "content": "5')
    assert.is(warnings.length, 1)
    assert.match(warnings[0]!, /has no SHA-256 of .*a: a\.safetensors/)
    try {
      await report(file, 'slsa')
      assert.unreachable()
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      assert.is(error.diagnostics[0]!.code, 'missing-sha256')
    }
  }))

test('lineages of version 1 give valid documents', async () => {
  const fixtures = 'test/fixtures/lineage-v1'
  for (const name of readdirSync(fixtures).filter((name) => name.endsWith('.json')))
    await refuseInvalid(await report(path.join(fixtures, name), 'cyclonedx'), '1.6', name)
})

test('names that need care give valid documents', () =>
  inFolder(async (folder) => {
    mkdirSync(path.join(folder, 'a b%'))
    const odd = {
      ...published.models.a!,
      index: 9,
      reference: 'models/x\u0000\u{1f600} <y>',
      license: { id: 'other', name: 'Mine\u{1f600}', link: 'javascript:alert(1)' },
    }
    const file = path.join(folder, 'a b%', 'lineage.json')
    writeFileSync(file, lineageText({ ...published, models: { ...published.models, __proto__x: odd } }))
    const text = await report(file, 'cyclonedx')
    await refuseInvalid(text, '1.6', 'odd names')
    assert.not.match(text, '"url": "javascript:')
    assert.is((JSON.parse(text) as Document).metadata.component.name, 'a b%')

    // Halves of characters, and texts that are longer than the standard allows.
    const far = { ...published.models.a!, index: 8, reference: 's3://bucket/a\ud800', revision: 'x'.repeat(2000) }
    const damaged = { ...published, terge: `1\udfff${'0'.repeat(2000)}`, models: { ...published.models, far } }
    writeFileSync(file, lineageText(damaged))
    await refuseInvalid(await report(file, 'cyclonedx'), '1.6', 'damaged names')
    assert.match(await report(file, 'slsa'), 's3://bucket/a%EF%BF%BD')
  }))

test('the hub’s words become SPDX identifiers that there are', () => {
  const schema = 'node_modules/@cyclonedx/cyclonedx-library/res/schema/spdx.SNAPSHOT.schema.json'
  const known = new Set((JSON.parse(readFileSync(schema, 'utf8')) as { enum: string[] }).enum)
  const words = readFileSync('src/lineage/forms/standard/licenses.ts', 'utf8').match(/[a-z][\w.-]*[\w]/gi)!
  const ids = words.flatMap((word) => {
    const found = standardLicense({ id: word.toLowerCase() })
    return found && 'id' in found ? [found.id] : []
  })
  assert.ok(new Set(ids).size > 50)
  for (const id of ids) assert.ok(known.has(id), id)
  assert.equal(standardLicense({ id: 'odc-by' }), { id: 'ODC-By-1.0' })
  assert.equal(standardLicense({ id: 'gemma' }), { name: 'gemma', url: 'https://ai.google.dev/gemma/terms' })
  assert.equal(standardLicense({ id: 'unknown' }), undefined)
  const hub = { reference: 'hf:o/n', revision: 'a'.repeat(40) }
  assert.equal(standardLicense({ id: 'other', name: 'x', link: 'LICENSE' }, hub), {
    name: 'x',
    url: `https://huggingface.co/o/n/tree/${'a'.repeat(40)}`,
  })
})

test('SLSA: subjects, inputs, recipe and builder', () =>
  inFolder(async (folder) => {
    const text = await report(write(folder, published), 'slsa')
    assert.is(text, await report(path.join(folder, 'merged.lineage.json'), 'slsa'))
    const { _type, subject, predicateType, predicate } = JSON.parse(text)
    assert.equal([_type, predicateType], ['https://in-toto.io/Statement/v1', 'https://slsa.dev/provenance/v1'])
    const ofLineage = sha256(readFileSync(path.join(folder, 'merged.lineage.json'))).slice('sha256:'.length)
    assert.equal(subject, [
      { name: sample.output.files[0]!.name, digest: { sha256: '5'.repeat(64) } },
      { name: 'merged.lineage.json', digest: { sha256: ofLineage } },
    ])
    const { buildDefinition, runDetails } = predicate
    assert.equal(runDetails.builder, { id: `pkg:npm/terge@${sample.terge}`, version: { terge: sample.terge } })
    assert.equal(buildDefinition.externalParameters.recipe, sample.recipe.text)
    assert.equal(
      buildDefinition.resolvedDependencies
        .sort((one: { name: string }, other: { name: string }) => (one.name < other.name ? -1 : 1))
        .map((one: { uri?: string; digest: object }) => [one.uri, one.digest]),
      [
        ...['1', '2'].map((digit) => [
          `pkg:huggingface/Org/Some.Model@${COMMIT.toLowerCase()}#model-0000${digit}-of-00002.safetensors`,
          { sha256: digit.repeat(64), gitCommit: COMMIT.toLowerCase() },
        ]),
        ['s3://bucket/models/b%20c.safetensors', { sha256: '3'.repeat(64) }],
        [undefined, { sha256: '4'.repeat(64) }],
      ],
    )
    // The type of the build is a heading of the documentation.
    const [, page, heading] = /blob\/main\/(.*)#(.*)$/.exec(buildDefinition.buildType)!
    const headings = readFileSync(page!, 'utf8').match(/^#+ .*$/gm)!
    assert.ok(headings.some((one) => one.replace(/^#+ /, '').toLowerCase().replaceAll(' ', '-') === heading))
  }))

test.run()
