/** Models on the hub that terge made: their licenses and lineages come with them. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mean, repository, single, withHub } from './setup.js'

const licensed = (seed: number, license: string) => ({
  ...single(seed),
  'README.md': Buffer.from(`---\nlicense: ${license}\n---\n# A model\n`),
})

test('a merge of a merge from the hub: licenses, history, trace and package URLs', () =>
  withHub(
    { repositories: { 'org/x': repository(licensed(1, 'mit')), 'org/y': repository(licensed(2, 'mit')) } },
    async ({ hub, run, write, folder }) => {
      write('one.yml', mean('hf:org/x', 'hf:org/y'))
      const first = await run(['run', 'one.yml', '--no-sync'])
      assert.is(first.code, 0, first.err)
      const out = path.join(folder, 'out')
      const files = Object.fromEntries(readdirSync(out).map((name) => [name, readFileSync(path.join(out, name))]))
      assert.match(files['README.md']!.toString(), 'base_model_relation: merge\nlicense: "mit"')
      Object.assign(hub.options.repositories, { 'org/m': repository(files) })

      write('two.yml', mean('hf:org/m', 'hf:org/x'))
      const second = await run(['run', 'two.yml', '-o', 'again', '--no-sync'])
      assert.is(second.code, 0, second.err)
      const text = (await run(['report', 'again', '--format', 'text'])).out
      assert.match(
        text,
        /├─ a: hf:org\/m at a{40}, mit — made with terge [\d.]+: linear; recorded digests agree\n│ {2}├─ a: hf:org\/x/,
      )
      const traced = JSON.parse((await run(['trace', 'again', 'layers.0.w', '--json'])).out)
      assert.equal(
        traced.weights.map(({ reference, weight }: { reference: string; weight: number }) => [reference, weight]),
        [
          ['hf:org/x', 0.75],
          ['hf:org/y', 0.25],
        ],
      )
      const { component } = JSON.parse((await run(['report', 'again', '--format', 'cyclonedx'])).out).metadata
      assert.equal(component.licenses, [{ license: { id: 'MIT', acknowledgement: 'declared' } }])
      const [m] = component.pedigree.ancestors
      assert.equal(
        [m.purl, ...m.pedigree.ancestors.map(({ purl }: { purl: string }) => purl)],
        ['m', 'x', 'y'].map((name) => `pkg:huggingface/org/${name}@${'a'.repeat(40)}`),
      )
    },
  ))

test.run()
