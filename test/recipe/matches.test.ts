/** Patterns of paths in `models` and in lists of models. */
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Fault } from '../../src/core/diagnostics.js'
import { parsePathPattern, partMatches } from '../../src/core/names/pathPattern.js'
import { verify, viewPlan } from '../../src/index.js'
import type { LoadOptions } from '../../src/recipe/load.js'
import { lock } from '../../src/session/lock.js'
import { recipeOf } from '../../src/session/newRecipes/init.js'
import { type Prepared, plan, validate } from '../../src/session/plan.js'
import { load } from '../../src/session/recipe.js'
import { run } from '../../src/session/run.js'
import { planTree } from '../../src/ui/plan/tree.js'
import { f32, inFolder, writeModel } from '../support/files.js'

/** A folder with checkpoints, each of one tensor with its value. */
function writeCheckpoints(folder: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    const file = path.join(folder, name)
    const isFile = /\.\w+$/.test(name) && !/\.\d+$/.test(name)
    mkdirSync(isFile ? path.dirname(file) : file, { recursive: true })
    writeModel(isFile ? file : path.join(file, 'model.safetensors'), { w: f32([2], [value, -value]) })
  }
}

const RUN = { 'runs/checkpoint-2': 1, 'runs/checkpoint-10': 2, 'runs/checkpoint-100': 4 }

/** What a recipe means: the merged models in order, or errors; and all warnings. */
const read = (folder: string, body: string, options: LoadOptions = {}) => {
  const { recipe, diagnostics } = load(path.join(folder, 'r.yml'), {
    text: `terge: 1\n${body}`,
    models: true,
    ...options,
  })
  const steps = recipe?.steps.map((step) => (step.kind === 'merge' ? step.settings.models : []))
  return {
    models: steps?.at(-1),
    diagnostics: diagnostics.map(({ code, message }) => `${code}: ${message}`),
    all: diagnostics,
  }
}

const AVERAGE = 'merge: {method: linear}\noutput: out.safetensors\n'

test('a name for many: natural order, weights by shape, one pass', () =>
  inFolder(async (folder) => {
    writeCheckpoints(folder, RUN)
    const text = `terge: 1\nmodels: {run: runs/checkpoint-*}\nmerge: {method: linear, weights: {shape: linear}}\noutput: out.safetensors\n`
    const file = path.join(folder, 'r.yml')
    writeFileSync(file, text)
    const prepared = await plan(file)
    const names = ['run/checkpoint-2', 'run/checkpoint-10', 'run/checkpoint-100']
    assert.equal(
      prepared.plan.models.map(({ name }) => name),
      names,
    )
    assert.equal(
      prepared.plan.models.map(({ reference }) => reference),
      names.map((name) => name.replace('run', 'runs')),
    )
    const tree = planTree(prepared.plan, viewPlan(prepared.plan, { threads: 1 }), 200)
    assert.match(
      tree,
      /runs\/checkpoint-\*: 3 models, in this order\n.*run\/checkpoint-2:.*\n.*run\/checkpoint-10:.*\n.*run\/checkpoint-100:/,
    )
    await run(prepared, { threads: 1 })
    // Its only tensor is two float32 at the end.
    const value = readFileSync(path.join(folder, 'out.safetensors')).subarray(-8).readFloatLE(0)
    assert.ok(Math.abs(value - (1 * 1 + 2 * 2 + 3 * 4) / 6) < 1e-6, `${value}`)
    // Checkpoints that come later change the next run, and not what an earlier one means.
    writeCheckpoints(folder, { 'runs/checkpoint-1000': 99 })
    assert.is((await plan(file)).plan.models.length, 4)
    const again = await verify(path.join(folder, 'out.lineage.json'), { reproduce: true })
    assert.equal(
      again.problems.map(({ message }) => message),
      [],
    )
  }))

test('in a list of models; a checkpoint that has a name keeps it', () =>
  inFolder((folder) => {
    writeCheckpoints(folder, { ...RUN, base: 0 })
    const models = 'models: {base: base, first: runs/checkpoint-2}\n'
    const merge = (list: string, rest = '') =>
      read(folder, `${models}merge: {method: linear, models: ${list}${rest}}\noutput: o\n`)
    const all = ['first', 'runs/checkpoint-10', 'runs/checkpoint-100']
    assert.equal(merge('["runs/checkpoint-*"]').models, all)
    assert.equal(merge('["./runs/checkpoint-*", base]').models, [...all, 'base'])
    assert.equal(merge('["runs/checkpoint-*", first]').diagnostics, ["duplicate-model: 'first' is listed twice"])
    assert.equal(
      merge('[base, first]', ', rules: [{match: w, models: ["runs/checkpoint-1*"], weights: {runs/checkpoint-10: 3}}]')
        .diagnostics,
      [],
    )
    // The name of a pattern stands for its models in every list, and alone for none.
    const own = (rest: string) => read(folder, `models: {base: base, run: runs/checkpoint-*}\n${rest}\noutput: o\n`)
    assert.equal(own('base: base\nmerge: {method: task_arithmetic, models: [run]}').models?.length, 3)
    assert.equal(own('base: base\nmerge: {method: task_arithmetic}').models?.length, 3)
    assert.equal(own('base: run\nmerge: {method: linear}').diagnostics, [
      "several-models: 'run' is 3 models, and this key takes one",
    ])
    assert.equal(own('merge: {method: linear, models: [base, run/checkpoint-2]}').diagnostics, [
      "unused-model: no step uses the model 'run/checkpoint-10'",
      "unused-model: no step uses the model 'run/checkpoint-100'",
    ])
    // Options apply to every model of a pattern. Another way to read a checkpoint is another model.
    const options = 'models: {first: runs/checkpoint-2, run: {path: runs/checkpoint-*, strip_prefix: "m."}}\n'
    assert.equal(read(folder, options + AVERAGE).models, [
      'first',
      'run/checkpoint-2',
      'run/checkpoint-10',
      'run/checkpoint-100',
    ])
  }))

test('what a pattern skips, with a warning, and what it refuses', () =>
  inFolder((folder) => {
    writeCheckpoints(folder, {
      ...{ ...RUN, 'runs/checkpoint-200.tmp-ab': 3, 'runs/.checkpoint-7': 1, 'runs/log-1': 1 },
      ...{
        'files/s-1.safetensors': 1,
        'files/s-2.safetensors': 1,
        'both/s-1.safetensors': 1,
        'both/s-2': 1,
        'elsewhere/x': 1,
      },
      ...{ 'shards/model-00001-of-00002.safetensors': 1, 'shards/model-00002-of-00002.safetensors': 1 },
      ...{ 'links/checkpoint-1': 1, 'links/checkpoint-2': 1, 'out/checkpoint-1': 1 },
    })
    writeFileSync(path.join(folder, 'files/s-1.lineage.json'), '{}')
    writeFileSync(path.join(folder, 'files/s-1.json'), '{}')
    symlinkSync('checkpoint-2', path.join(folder, 'links/checkpoint-last'))
    symlinkSync('../elsewhere/x', path.join(folder, 'out/checkpoint-2'))
    const one = (pattern: string, options?: LoadOptions) =>
      read(folder, `models: {run: ${JSON.stringify(pattern)}}\n${AVERAGE}`, options)
    assert.equal(one('runs/checkpoint-*'), {
      ...one('runs/checkpoint-*'),
      models: ['run/checkpoint-2', 'run/checkpoint-10', 'run/checkpoint-100'],
      diagnostics: [
        "skipped-match: 'runs/checkpoint-*' skips runs/checkpoint-200.tmp-ab: its name is that of a temporary file",
      ],
    })
    assert.equal(one('./runs/*-2').models, undefined, 'one model is not enough for an average')
    assert.equal(one('files/*').models, ['run/s-1.safetensors', 'run/s-2.safetensors'])
    assert.equal(one('files/*').diagnostics, [
      "skipped-match: 'files/*' skips files/s-1.json: it is not a file of weights, and 1 more match",
    ])
    assert.equal(one('links/checkpoint-*').diagnostics, [
      "skipped-match: 'links/checkpoint-*' skips links/checkpoint-last: it is a link to the same checkpoint as links/checkpoint-2",
    ])
    assert.equal(one('*/checkpoint-1').models, ['run/links/checkpoint-1', 'run/out/checkpoint-1'])
    for (const [pattern, error] of [
      ['runs/chekpoint-*', "no-checkpoints: 'runs/chekpoint-*' matches no file or folder"],
      ['run/checkpoint-*', "no-checkpoints: 'run/checkpoint-*' matches no file or folder: there is no folder 'run'"],
      [
        'files/*.json',
        "no-checkpoints: 'files/*.json' matches no checkpoint: files/s-1.json does not count, because it is not a file of weights",
      ],
      [
        'both/s-*',
        "mixed-matches: 'both/s-*' matches both files and folders, such as both/s-1.safetensors and both/s-2",
      ],
      [
        'shards/*',
        "mixed-matches: 'shards/*' matches shards/model-00001-of-00002.safetensors, which is one of several files of a model",
      ],
      [
        'out/checkpoint-*',
        "outside-link: out/checkpoint-2 is a link that leads out of the folder of 'out/checkpoint-*'",
      ],
      ['runs/**', "bad-pattern: 'runs/**' has '**', but a pattern of paths has no pattern for any number of folders"],
      ['runs/*/../x', "bad-pattern: 'runs/*/../x' has '..' after a *"],
      ['hf:org/run-*', "bad-value: 'hf:org/run-*' is on the hub, and patterns name checkpoints on this machine only"],
      [
        's3://bucket/run-*',
        "bad-value: 's3://bucket/run-*' is in a store, and patterns name checkpoints on this machine only",
      ],
    ] as const)
      assert.equal(one(pattern).diagnostics, [error])
    const hints = ['runs/chekpoint-*', 'run/checkpoint-*'].map((pattern) => one(pattern).all[0]?.hint)
    assert.equal(hints, ["did you mean 'checkpoint-*'?", "did you mean 'runs'?"])
    assert.equal(one('both/s-*/').diagnostics.slice(0, 1), [
      "skipped-match: 'both/s-*/' skips both/s-1.safetensors: it is not a folder",
    ])
    for (const key of ['sha256', 'lora', 'statistics'])
      assert.match(
        read(folder, `models: {run: {path: runs/checkpoint-*, ${key}: ${'a'.repeat(64)}}}\n${AVERAGE}`).diagnostics[0]!,
        `contradiction: ${key} belongs to one model`,
      )
    assert.match(
      read(
        folder,
        `models: {run: runs/checkpoint-*, run/checkpoint-2: files/s-1.safetensors}\n${AVERAGE}`,
      ).diagnostics.join(),
      "name-taken: the pattern makes a model named 'run/checkpoint-2'",
    )
    // Without the models, a pattern that matches nothing is one model; a recipe with a literal star still works.
    assert.equal(one('nowhere/*', { models: false }).diagnostics, [])
    writeCheckpoints(folder, { 'runs/a*': 1 })
    assert.equal(read(folder, `models: {a: runs/a*, b: base}\n${AVERAGE}`).models, ['a', 'b'])
  }))

test('an output that the pattern would match is refused, before it exists', () =>
  inFolder((folder) => {
    writeCheckpoints(folder, RUN)
    symlinkSync('runs', path.join(folder, 'same'))
    const to = (output: string, pattern = 'runs/checkpoint-*', options?: LoadOptions) =>
      read(folder, `models: {run: ${pattern}}\nmerge: {method: linear}\noutput: ${output}\n`, options).diagnostics
    const refused = (output: string, pattern = 'runs/checkpoint-*') => [
      `output-is-input: the output '${output}' matches the pattern '${pattern}', so that the next run would read it`,
    ]
    for (const output of ['runs/checkpoint-mean', 'same/checkpoint-mean', 'runs/checkpoint-new/merged'])
      assert.equal(to(output), refused(output))
    for (const output of ['runs/mean', 'checkpoint-mean', 'runs/.checkpoint-mean', 'hf:org/checkpoint-mean'])
      assert.equal(to(output), [], output)
    assert.equal(to('runs/mean', 'runs/*/*.safetensors'), refused('runs/mean', 'runs/*/*.safetensors'))
    const given = path.join(folder, 'runs/checkpoint-mean')
    assert.match(to('out', 'runs/checkpoint-*', { output: given })[0]!, /^output-is-input/)
  }))

test('an order that names do not show is a warning where it counts', () =>
  inFolder((folder) => {
    writeCheckpoints(folder, { ...RUN, 'runs/checkpoint-last': 1, 'e/step-0.5': 1, 'e/step-0.25': 1, 'e/step-0.75': 1 })
    const order = (pattern: string, weights = '{shape: uniform}', models = '') =>
      read(folder, `models: {${models}run: ${pattern}}\nmerge: {method: linear, weights: ${weights}}\noutput: o\n`)
        .diagnostics
    assert.equal(order('runs/checkpoint-*'), [
      "unclear-order: 'checkpoint-last' has no number, so its place in the order comes from its letters",
    ])
    assert.equal(order('runs/checkpoint-*', '[1, 1, 1, 1]'), [])
    assert.equal(order('runs/checkpoint-1*'), [])
    assert.match(order('e/*')[0]!, /^unclear-order: step-0.5 comes before step-0.25/)
    assert.match(
      order('runs/checkpoint-1*', '{shape: sqrt}', 'late: runs/checkpoint-100, ')[0]!,
      /^unclear-order: 'late' also matches/,
    )
  }))

test('a lock names each checkpoint: one more or one less is a difference', () =>
  inFolder(async (folder) => {
    writeCheckpoints(folder, RUN)
    const file = path.join(folder, 'r.yml')
    writeFileSync(file, `terge: 1\nmodels: {run: runs/checkpoint-*}\n${AVERAGE}`)
    const locked = await lock(file)
    writeFileSync(locked.path, locked.text)
    const differences = async (): Promise<readonly string[]> =>
      plan(file, { locked: true }).then(
        () => [],
        (error: Fault) => error.diagnostics.map(({ message }) => message),
      )
    assert.equal(await differences(), [])
    writeCheckpoints(folder, { 'runs/checkpoint-3': 1 })
    assert.equal(await differences(), ['the model run/checkpoint-3 is not in the lock'])
    rmSync(path.join(folder, 'runs/checkpoint-3'), { recursive: true })
    renameSync(path.join(folder, 'runs/checkpoint-10'), path.join(folder, 'moved'))
    assert.equal(await differences(), [
      "the model run/checkpoint-10 is in the lock, but 'runs/checkpoint-*' no longer matches it",
    ])
  }))

test('a folder that matches and is no model is an error of that model', () =>
  inFolder(async (folder) => {
    writeCheckpoints(folder, RUN)
    mkdirSync(path.join(folder, 'runs/checkpoint-101'))
    const { diagnostics } = await validate(path.join(folder, 'r.yml'), {
      text: `terge: 1\nmodels: {run: runs/checkpoint-*}\n${AVERAGE}`,
    })
    assert.match(diagnostics.map(({ message }) => message).join(), 'runs/checkpoint-101')
    assert.is(diagnostics.filter(({ severity }) => severity === 'error').length, 1)
  }))

test('terge merge with a pattern that the shell did not expand', () =>
  inFolder(async (folder) => {
    writeCheckpoints(folder, RUN)
    const text = recipeOf({ models: ['runs/checkpoint-*'], output: 'o.safetensors', method: 'linear' }, { folder })
    const prepared: Prepared = await plan(path.join(folder, 'r.yml'), { text })
    assert.equal(
      prepared.plan.models.map(({ reference }) => reference),
      Object.keys(RUN),
    )
  }))

test('stars match as in a regular expression, in no more time than lengths multiplied', () => {
  const letters = ['a', 'b', '*', '.', '1']
  let state = 7
  const random = (n: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % n
  }
  for (let i = 0; i < 3000; i++) {
    const part = Array.from({ length: 1 + random(7) }, () => letters[random(5)]).join('')
    const name = Array.from({ length: 1 + random(8) }, () => letters[random(5)])
      .join('')
      .replaceAll('*', 'b')
    const hidden = name.startsWith('.') && part.startsWith('*')
    const oracle = new RegExp(`^${part.replace(/[.]/g, '\\.').replace(/\*+/g, '.*')}$`)
    assert.is(partMatches(part, name), !hidden && oracle.test(name), `${part} on ${name}`)
  }
  // A matcher that tries every way would not end.
  assert.not.ok(partMatches(`${'a*'.repeat(400)}b`, 'a'.repeat(5000)))
  assert.ok('problem' in parsePathPattern('*a'.repeat(600)))
  const windows = parsePathPattern('runs\\x\\check-*', 'win32')
  assert.is('root' in windows && windows.root, 'runs/x/')
})

test.run()
