/** What was done differently: `terge diff` of two lineages. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compareLineages, type Difference } from '../../src/index.js'
import { safetensors } from '../support/files.js'
import { terge } from '../support/terge.js'
import { RECIPE, tensorsOf, withRepository } from './setup.js'

test('lineages say which tensors have other bytes, and whether recipe or inputs explain it', () =>
  withRepository(async ({ folder, write }) => {
    const runs = { first: RECIPE, same: `# c\n${RECIPE}`, heavy: RECIPE.replace('a: 1', 'a: 3') }
    const run = async (name: string, text: string): Promise<void> => {
      write('recipe.yml', text.replace('out/merged', `out/${name}`))
      const { code, err } = await terge(['run', 'recipe.yml', '--no-sync'], folder)
      assert.is(code, 0, err)
    }
    for (const [name, text] of Object.entries(runs)) await run(name, text)
    const { 'lm_head.weight': head } = tensorsOf(9)
    write('models/b.safetensors', safetensors({ ...tensorsOf(2), 'lm_head.weight': head! }))
    await run('inputs', RECIPE)
    const place = (name: string): string => path.join(folder, `out/${name}.lineage.json`)
    const between = (b: string): Promise<Difference> => compareLineages(place('first'), place(b))

    const same = await between('same')
    assert.is(same.bytes, 'same')
    assert.equal(same.outputs[0]!.tensors.same, 8)

    const heavy = await between('heavy')
    assert.is(heavy.bytes, 'differ')
    assert.equal(
      heavy.outputs[0]!.groups.map(({ state, tensors, changes }) => ({ state, tensors, changes })),
      [
        {
          ...{ state: 'changed', tensors: 8 },
          changes: [
            { what: 'weight', of: 'a', a: 0.5, b: 0.75 },
            { what: 'weight', of: 'b', a: 0.5, b: 0.25 },
          ],
        },
      ],
    )
    assert.equal(
      heavy.recipe.map(({ what }) => what),
      ['merge.weights.a', 'output'],
    )

    const inputs = await between('inputs')
    assert.equal(
      inputs.outputs[0]!.groups.map(({ state, tensors, changes }) => ({ state, tensors, changes })),
      [{ state: 'changed', tensors: 1, changes: [{ what: 'content', of: 'b' }] }],
    )
    assert.equal(
      inputs.models.map(({ name, state }) => [name, state]),
      [['b', 'changed']],
    )

    // Nothing explains other bytes, and another way that gives the same bytes.
    const text = readFileSync(place('first'), 'utf8')
    write('out/strange.lineage.json', text.replace(/("lm_head\.weight": \{.*"digest": "\w+:)\w{4}/, '$10000'))
    const [strange] = (await between('strange')).outputs[0]!.groups
    assert.equal([strange!.state, strange!.changes], ['changed', [{ what: 'bytes' }]])
    write('out/remade.lineage.json', text.replaceAll('"weight": 0.5', '"weight": 0.4'))
    const remade = await between('remade')
    assert.is(remade.bytes, 'same')
    assert.equal([remade.outputs[0]!.groups[0]!.state, remade.outputs[0]!.groups[0]!.tensors], ['remade', 8])
    // Digests of another kind say nothing.
    const without = text.replace(/, "sha256": "\w+:\w+"/g, '')
    for (const [name, other] of [
      ['blind', without.replace(/("digest": )"xxh3t:\w+"/g, '$1null')],
      ['later', without.replaceAll('"xxh3t:', '"xxh4t:')],
    ] as const) {
      write(`out/${name}.lineage.json`, other)
      const unknown = await between(name)
      assert.equal([unknown.bytes, unknown.outputs[0]!.tensors.unknown], ['unknown', 8], JSON.stringify(unknown))
    }

    const shown = await terge(['diff', 'out/first.lineage.json', 'out/inputs.lineage.json', '--exit-code'], folder)
    assert.is(shown.code, 1)
    assert.match(shown.out, /1 tensor, 48 B: other files of b/)
    const models = await terge(['diff', 'out/first.safetensors', 'out/same.safetensors', '--exit-code'], folder)
    assert.is(models.code, 0)
    assert.match(models.out, /^all equal: 8 tensors/)
    const flags = await terge(['diff', 'out/first.lineage.json', 'out/inputs.lineage.json', '--all'], folder)
    assert.match(flags.err, /bad-flag/)
  }))

test.run()
