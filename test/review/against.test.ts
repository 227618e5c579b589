/** What a change of a recipe does: `terge plan --against`. */
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { comparePlans, type Difference } from '../../src/index.js'
import { safetensors } from '../support/files.js'
import { terge } from '../support/terge.js'
import { RECIPE, tensorsOf, withRepository } from './setup.js'

const schema = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../../schemas/difference.v1.schema.json', import.meta.url)), 'utf8'),
)
const fits: ((value: unknown) => boolean) & { errors?: unknown } = new Ajv({ strict: true }).compile(schema)

const isValid = (found: Difference): Difference => {
  assert.ok(fits(JSON.parse(JSON.stringify(found))), JSON.stringify(fits.errors))
  return found
}

test('comments, order of keys, defaults and names of steps leave the bytes the same', () =>
  withRepository(async ({ write, commit, against }) => {
    write('recipe.yml', RECIPE)
    commit()
    const same = [
      `# A comment\n${RECIPE}`,
      RECIPE.replace('weights: {a: 1, b: 1}', 'weights: {b: 1, a: 1} # as before'),
      RECIPE.replace('  weights: {a: 1, b: 1}\n', ''),
      `${RECIPE}compute: float32\nseed: 0\n`,
      RECIPE.replace(/merge:[\s\S]*1}/, 'steps: {soup: {merge: {method: linear, models: [a, b]}}}'),
      RECIPE.replace('models/a.safetensors', './models/../models/a.safetensors'),
      RECIPE.replace(/\ba\b/g, 'first'),
    ]
    for (const text of same) {
      write('recipe.yml', text.replace('models/first', 'models/a'))
      const found = isValid(await against())
      assert.is(found.bytes, 'same', text)
      assert.equal(found.outputs[0]!.tensors, { same: 8, changed: 0, added: 0, removed: 0, unknown: 0 })
    }
  }))

test('other licenses of models, whose weights git does not have, are told', () =>
  withRepository(async ({ write, commit, against }) => {
    write('.gitignore', '*.safetensors\n')
    for (const [name, seed] of [
      ['d', 1],
      ['e', 2],
    ] as const) {
      write(`${name}/model.safetensors`, safetensors(tensorsOf(seed)))
      write(`${name}/config.json`, '{}')
    }
    write('d/README.md', '---\nlicense: mit\n---\n')
    write('recipe.yml', RECIPE.replace('models/a.safetensors', 'd').replace('models/b.safetensors', 'e'))
    commit()
    assert.equal(isValid(await against()).notes, [])
    write('d/README.md', '---\nlicense: gemma\n---\n')
    const { bytes, notes } = isValid(await against())
    assert.is(bytes, 'same')
    assert.equal(notes, ['other licenses, which the lineage and the model card record: a mit → gemma'])
  }))

test('changed tensors are grouped by what changes, with patterns, layers, counts and bytes', () =>
  withRepository(async ({ write, commit, against }) => {
    write('recipe.yml', RECIPE)
    commit()
    write(
      'recipe.yml',
      RECIPE.replace('output:', '  rules:\n    - {match: "**.q_proj.weight", weights: {a: 3, b: 1}}\noutput:'),
    )
    const { bytes, outputs, steps, recipe } = isValid(await against())
    assert.is(bytes, 'differ')
    const [{ groups, tensors }] = outputs as [Difference['outputs'][number]]
    assert.equal(tensors, { same: 6, changed: 2, added: 0, removed: 0, unknown: 0 })
    assert.equal(groups, [
      {
        ...{ state: 'changed', tensors: 2, bytes: 64 },
        changes: [
          { what: 'weight', of: 'a', a: 0.5, b: 0.75 },
          { what: 'weight', of: 'b', a: 0.5, b: 0.25 },
        ],
        places: [{ pattern: 'model.layers.*.self_attn.q_proj.weight', layers: [[0, 1]], tensors: 2 }],
      },
    ])
    assert.equal(
      steps.map(({ name, state }) => [name, state]),
      [['merge', 'changed']],
    )
    assert.equal(
      recipe.map(({ what }) => what),
      ['merge.rules'],
    )

    write('recipe.yml', RECIPE.replace('linear', 'slerp').replace(/ {2}weights.*\n/, '  parameters: {t: [0, 1]}\n'))
    const slerp = await against()
    const [along] = slerp.outputs[0]!.groups
    assert.equal(along!.changes.slice(0, 2), [
      { what: 'method', a: 'linear', b: 'slerp' },
      { what: 't', b: { from: 0, to: 1 } },
    ])
  }))

test('dtypes, models, outputs and seeds that change are named', () =>
  withRepository(async ({ write, commit, against }) => {
    write('recipe.yml', RECIPE)
    commit()
    write('recipe.yml', RECIPE.replace('b: models/b', 'c: models/c').replace('b: 1', 'c: 1'))
    const other = isValid(await against())
    assert.equal(
      other.models.map(({ name, state }) => [name, state]),
      [
        ['c', 'added'],
        ['b', 'removed'],
      ],
    )
    assert.is(other.outputs[0]!.tensors.changed, 8)

    write('recipe.yml', RECIPE.replace('output: out/merged', 'output:\n  dtype: float16\n  path: out/half'))
    const half = isValid(await against())
    assert.equal(half.outputs[0]!.was, 'out/merged.safetensors')
    assert.equal(half.outputs[0]!.groups[0]!.changes, [{ what: 'dtype', a: 'BF16', b: 'F16' }])
    assert.equal(half.outputs[0]!.files, [])

    write('recipe.yml', RECIPE.replace('merged.safetensors', 'moved.safetensors'))
    assert.is((await against()).bytes, 'same')
    write(
      'recipe.yml',
      RECIPE.replace('output: out/merged.safetensors', 'output: {path: out/merged.safetensors, metadata: {x: y}}'),
    )
    write(
      'recipe.yml',
      RECIPE.replace('output: out/merged.safetensors', 'output: {path: out/merged.safetensors, checksums: true}'),
    )
    const sums = isValid(await against())
    assert.equal([sums.bytes, sums.outputs[0]!.changes], ['differ', [{ what: 'checksums', b: true }]])
    write(
      'recipe.yml',
      RECIPE.replace('output: out/merged.safetensors', 'output: {path: out/merged.safetensors, metadata: {x: y}}'),
    )
    const header = isValid(await against())
    assert.is(header.bytes, 'differ')
    assert.equal(header.outputs[0]!.tensors.same, 8)
    assert.equal(header.outputs[0]!.files[0]!.changes, [{ what: 'header' }])

    write(
      'recipe.yml',
      `${RECIPE.replace(/merge:[\s\S]*1}/, 'steps: {soup: {merge: {method: linear, models: [a, b]}}}').replace('output: out/merged.safetensors', 'outputs:\n  - {path: out/merged.safetensors, from: soup}\n  - {path: out/b.safetensors, from: b}')}seed: 3\n`,
    )
    const two = isValid(await against())
    assert.equal(
      two.outputs.map(({ path, state }) => [path, state]),
      [
        ['out/merged.safetensors', 'same'],
        ['out/b.safetensors', 'added'],
      ],
    )
    assert.equal(two.settings, [{ what: 'seed', a: 0, b: 3 }])
    assert.is(two.bytes, 'differ')
  }))

test('random methods depend on the seed and on names of models', () =>
  withRepository(async ({ write, commit, against }) => {
    const random = RECIPE.replace('linear', 'dare_linear')
      .replace('weights:', 'base: c\n  parameters: {density: 0.5}\n  weights:')
      .replace('b: models', 'c: models/c.safetensors, b: models')
    write('recipe.yml', random)
    commit()
    write('recipe.yml', `${random}# c\n`)
    assert.is((await against()).bytes, 'same')
    write('recipe.yml', `${random}seed: 5\n`)
    const seeded = await against()
    assert.equal(seeded.outputs[0]!.groups[0]!.changes, [{ what: 'seed', a: 0, b: 5 }])
    write('recipe.yml', random.replace('a: models', 'x: models').replace('a: 1', 'x: 1'))
    const named = await against()
    assert.is(named.bytes, 'differ')
    assert.equal(named.outputs[0]!.groups[0]!.changes, [{ what: 'random numbers', of: 'merge' }])
  }))

test('files of the old revision count: models, and links to them, as git has them', () =>
  withRepository(async ({ folder, write, commit, against, git }) => {
    write('.gitignore', '')
    write('recipe.yml', RECIPE)
    symlinkSync('models', path.join(folder, 'link'))
    write('linked.yml', RECIPE.replaceAll('models/', 'link/'))
    commit()
    assert.is((await against()).bytes, 'same')
    // One tensor of one model.
    const { 'lm_head.weight': head } = tensorsOf(9)
    write('models/b.safetensors', safetensors({ ...tensorsOf(2), 'lm_head.weight': head! }))
    for (const recipe of ['recipe.yml', 'linked.yml']) {
      const found = isValid(await against(recipe))
      assert.is(found.bytes, 'differ')
      assert.equal(found.outputs[0]!.groups, [
        {
          ...{ state: 'changed', tensors: 1, bytes: 48, changes: [{ what: 'content', of: 'b' }] },
          places: [{ pattern: 'lm_head.weight', tensors: 1 }],
        },
      ])
    }
    // A file that the old revision lacks.
    git('checkout', '-q', '-b', 'next')
    writeFileSync(path.join(folder, 'models/d.safetensors'), safetensors(tensorsOf(4)))
    commit()
    write('recipe.yml', RECIPE.replace('models/a', 'models/d'))
    write('old.yml', RECIPE.replace('models/a', 'models/d'))
    const was = await against('recipe.yml')
    assert.is(was.outputs[0]!.tensors.changed, 8)
  }))

test('a pattern of paths means what the revision had, with files of today that git never had', () =>
  withRepository(async ({ folder, write, commit, git, against }) => {
    const text = RECIPE.replace(/models: .*/, 'models: {run: "kept/step-*.safetensors"}').replace(/\n {2}weights.*/, '')
    const step = (name: string, seed: number): void =>
      write(`kept/step-${name}.safetensors`, safetensors(tensorsOf(seed)))
    write('recipe.yml', text)
    for (const [index, name] of ['2', '10', '30'].entries()) step(name, index + 1)
    commit()
    assert.is((await against()).bytes, 'same')
    // One more in git, one less, and one that git ignores.
    step('100', 4)
    git('rm', '-q', 'kept/step-10.safetensors')
    git('add', '-A')
    write('.git/info/exclude', 'kept/step-7.safetensors\n')
    step('7', 5)
    const found = await against()
    assert.equal(
      found.models.map(({ name, state }) => `${name} ${state}`),
      ['run/step-100.safetensors added', 'run/step-10.safetensors removed'],
    )
    assert.is(found.bytes, 'differ')
    const text0 = await comparePlans(path.join(folder, 'recipe.yml'), 'main', { models: false })
    assert.is(text0.models.length, 2)
  }))

test('models that cannot be reached are named, and nothing is said about bytes', () =>
  withRepository(async ({ folder, write, commit, git }) => {
    write('recipe.yml', RECIPE.replace('models/b', 'models/gone'))
    commit()
    write('recipe.yml', RECIPE.replace('weights: {a: 1, b: 1}', 'weights: {a: 2, b: 1}'))
    const { code, out } = await terge(['plan', 'recipe.yml', '--against', 'main', '--json', '--exit-code'], folder)
    assert.is(code, 1)
    const found = isValid(JSON.parse(out))
    assert.is(found.bytes, 'unknown')
    assert.equal(found.outputs, [])
    assert.equal(
      found.unreachable.map(({ model }) => model),
      ['b'],
    )
    assert.match(found.unreachable[0]!.why, /models\/gone\.safetensors/)
    assert.equal(
      found.recipe.map(({ what }) => what),
      ['models.b', 'merge.weights.a'],
    )
    git('checkout', '-q', '--orphan', 'empty')
    git('commit', '-q', '-m', 'x', '--', '.gitignore')
    const fresh = await terge(['plan', 'recipe.yml', '--against', 'empty'], folder)
    assert.is(fresh.code, 0, fresh.err)
    assert.match(fresh.out, /everything is new: 8 tensors, 288 B/)
    assert.match(fresh.out, /output out\/merged\.safetensors, .*, new\n/)
  }))

test('what is said about bytes is what two runs give', () =>
  withRepository(async ({ folder, write, commit, against }) => {
    const ties = RECIPE.replace('merge:', 'base: c\nmerge:')
      .replace('b: models', 'c: models/c.safetensors, b: models')
      .replace('linear', 'ties')
      .replace('  weights', '  parameters: {density: 0.5}\n  weights')
      .replace('a: 1', 'a: 2')
    const bytes = async (): Promise<string> => {
      const { code, err } = await terge(['run', 'recipe.yml', '--no-sync', '--force', '--digests', 'none'], folder)
      assert.is(code, 0, err)
      return readFileSync(path.join(folder, 'out/merged.safetensors'), 'hex')
    }
    write('recipe.yml', ties)
    commit()
    const before = await bytes()
    const changes: Readonly<Record<string, Difference['bytes']>> = {
      [ties.replace('density: 0.5', 'density: 0.3')]: 'differ',
      [ties.replace('a: models/a', 'a: models/b').replace('b: models/b', 'b: models/a')]: 'differ',
      [ties.replace(/\b([ab])(?=: )/g, 'model-$1')]: 'same',
      [ties.replace('merge:', 'filters: {exclude: "lm_head.**"}\nmerge:')]: 'differ',
      [ties.replace('density: 0.5', 'density: 0.5, normalize: true, rescale: false')]: 'same',
    }
    for (const [text, claim] of Object.entries(changes)) {
      write('recipe.yml', text)
      assert.is((await against()).bytes, claim, text)
      assert.is((await bytes()) === before, claim === 'same', text)
    }
  }))

test('another recipe, another path in a revision and a plan file are compared too', () =>
  withRepository(async ({ folder, write, commit, git }) => {
    write('old/recipe.yml', RECIPE.replaceAll('models/', '../models/').replace('out/', '../out/'))
    commit()
    git('mv', 'old/recipe.yml', 'recipe.yml')
    write('recipe.yml', RECIPE)
    // A file with the name of a branch decides nothing.
    write('main', RECIPE)
    assert.match((await terge(['plan', 'recipe.yml', '--against', 'main'], folder)).err, /both a file and a revision/)
    const commit0 = git('rev-parse', 'main').trim()
    write(commit0, RECIPE)
    assert.match((await terge(['plan', 'recipe.yml', '--against', commit0], folder)).out, /everything is new/)
    const moved = await terge(['plan', 'recipe.yml', '--against', 'main:old/recipe.yml', '--exit-code'], folder)
    assert.is(moved.code, 0, moved.err)
    assert.match(moved.out, /^recipe\.yml against main:old\/recipe\.yml .*\nthe bytes will be the same\n/)
    write('other.yml', RECIPE.replace('a: 1', 'a: 3'))
    const other = await terge(['plan', 'recipe.yml', '--against', 'other.yml', '--exit-code'], folder)
    assert.is(other.code, 1)
    assert.match(other.out, /8 tensors, 288 B: weight of a 0\.75 → 0\.5; weight of b 0\.25 → 0\.5/)

    write('plan.json', (await terge(['plan', 'recipe.yml', '--json'], folder)).out)
    const plan = await terge(['plan', 'recipe.yml', '--against', 'plan.json', '--json', '--exit-code'], folder)
    assert.is(plan.code, 0, plan.err)
    assert.is(isValid(JSON.parse(plan.out)).bytes, 'same-for-same-inputs')
    const later = await terge(['plan', 'other.yml', '--against', 'plan.json', '--json'], folder)
    assert.is(isValid(JSON.parse(later.out)).outputs[0]!.groups[0]!.changes.length, 2)
    // Damaged plans are refused, whatever is wrong in them.
    const text = readFileSync(path.join(folder, 'plan.json'), 'utf8')
    for (const [from, to] of [
      ['"kind": "merge"', '"kind": "marge"'],
      ['"offset": ', '"offset": "1", "x": '],
      ['"inputs": [', '"inputs": 4, "y": ['],
      ['"shape": [', '"shape": "s", "z": ['],
    ] as const) {
      write('bad.json', text.replaceAll(from, to))
      const bad = await terge(['plan', 'recipe.yml', '--against', 'bad.json'], folder)
      assert.is(bad.code, 2, `${to} ${bad.out}`)
      assert.match(bad.err, /bad-plan/)
    }
  }))

test('a repository can run nothing: configuration, hooks, filters and attributes are not used', () =>
  withRepository(async ({ folder, write, commit, git }) => {
    write('.gitignore', '')
    write('recipe.yml', RECIPE)
    commit()
    const mark = path.join(folder, 'ran')
    write('run.sh', `#!/bin/sh\necho ran >> '${mark}'\ncat\n`)
    const runs = `sh '${path.join(folder, 'run.sh')}'`
    for (const key of [
      'core.fsmonitor',
      'filter.x.smudge',
      'filter.x.clean',
      'filter.x.process',
      'diff.x.textconv',
      'diff.x.command',
      'diff.external',
      'core.pager',
      'core.sshCommand',
      'core.editor',
    ])
      git('config', key, runs)
    write('.gitattributes', '* filter=x diff=x\n')
    write('models/b.safetensors', safetensors(tensorsOf(5)))
    const { code, out } = await terge(['plan', 'recipe.yml', '--against', 'main'], folder)
    assert.is(code, 0)
    assert.match(out, /other files of b/)
    assert.throws(() => readFileSync(mark))
    for (const name of ['--output=x', '-h', 'main --all', 'nope'])
      assert.match((await terge(['plan', 'recipe.yml', `--against=${name}`], folder)).err, /bad-revision/)
  }))

test('flags that need --against, and formats that contradict it, are refused', async () => {
  for (const flags of [
    ['--markdown'],
    ['--no-models'],
    ['--exit-code'],
    ['--against', 'main', '--format', 'dot'],
    ['--markdown', '--json'],
  ])
    assert.match((await terge(['plan', 'recipe.yml', ...flags])).err, /bad-flag/)
})

test.run()
