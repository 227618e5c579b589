/** The errors that the pages of the functions name are the ones that the functions throw. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  diff,
  Fault,
  findMethod,
  importBlockWeights,
  importMergekit,
  init,
  inspect,
  lock,
  openRecipe,
  permutationSpec,
  plan,
  planOpened,
  readPath,
  recipeOf,
  report,
  run,
  verify,
  viewPlan,
} from '../../src/index.js'
import { f32, inFolder, writeModel } from '../support/files.js'

const recipe = (folder: string, more: object = {}) => ({
  terge: 1,
  models: { a: path.join(folder, 'a.safetensors'), b: path.join(folder, 'b.safetensors') },
  merge: { method: 'linear' },
  output: path.join(folder, 'out.safetensors'),
  ...more,
})

const ABORTED = AbortSignal.abort()
const evaluate = { command: ['node', '--eval', 'process.exit(3)'] }

/** By the call, the code of its first error and the exit code. */
const THROWN: Readonly<Record<string, readonly [(folder: string) => unknown, code: string, exit?: number]>> = {
  'plan: a wrong recipe': [(at) => plan(recipe(at, { merge: { method: 'lineer' } })), 'unknown-method'],
  'plan: no lock': [
    (at) => {
      writeFileSync(path.join(at, 'recipe.yml'), JSON.stringify(recipe(at)))
      return plan(path.join(at, 'recipe.yml'), { locked: true })
    },
    'missing-lock',
  ],
  'plan: a lock that is not one': [
    (at) => {
      writeFileSync(path.join(at, 'recipe.yml'), JSON.stringify(recipe(at)))
      writeFileSync(path.join(at, 'recipe.yml.lock'), '{}')
      return plan(path.join(at, 'recipe.yml'), { locked: true })
    },
    'bad-lock',
  ],
  'plan: a model that differs from the lock': [
    async (at) => {
      writeFileSync(path.join(at, 'recipe.yml'), JSON.stringify(recipe(at)))
      const locked = await lock(path.join(at, 'recipe.yml'))
      writeFileSync(locked.path, locked.text)
      writeModel(path.join(at, 'b.safetensors'), { w: f32([3], [1, 2, 3]) })
      return plan(path.join(at, 'recipe.yml'), { locked: true })
    },
    'lock-differs',
  ],
  'plan: a folder': [(at) => plan(at), 'unreadable-recipe'],
  'openRecipe: a wrong text': [(at) => openRecipe(recipe(at, { merge: { method: 'lineer' } })), 'unknown-method'],
  'planOpened: a model that is not there': [
    async (at) =>
      planOpened(await openRecipe(recipe(at, { models: { a: path.join(at, 'c'), b: path.join(at, 'd') } }))),
    'missing-model',
  ],
  'run: an output that exists': [
    async (at) => {
      writeModel(path.join(at, 'out.safetensors'), { w: f32([1], [0]) })
      await run(await plan(recipe(at)), { threads: 1 })
    },
    'output-exists',
  ],
  'run: a command': [async (at) => run(await plan(recipe(at, { evaluate })), { threads: 1 }), 'needs-commands'],
  'run: a command that fails': [
    async (at) => run(await plan(recipe(at, { evaluate })), { threads: 1, commands: 'run' }),
    'evaluate-failed',
    1,
  ],
  'run: too little memory': [
    async (at) => run(await plan(recipe(at)), { threads: 1, memory: 1000 }),
    'memory-too-small',
  ],
  'run: aborted': [async (at) => run(await plan(recipe(at)), { threads: 1, signal: ABORTED }), 'interrupted', 130],
  'run: a command that takes too long': [
    async (at) => {
      const slow = { command: ['node', '--eval', 'setTimeout(() => {}, 60_000)'], timeout: 1 }
      await run(await plan(recipe(at, { evaluate: slow })), { threads: 1, commands: 'run' })
    },
    'evaluate-timeout',
    1,
  ],
  'run: a result that is not finite': [
    async (at) => {
      for (const name of ['a', 'b']) writeModel(path.join(at, `${name}.safetensors`), { w: f32([1], [3e38]) })
      const weights = { method: 'linear', weights: [4, 4], parameters: { normalize: false } }
      await run(await plan(recipe(at, { merge: weights })), { threads: 1, strict: true })
    },
    'not-finite',
    1,
  ],
  'viewPlan: too little memory': [
    async (at) => viewPlan((await plan(recipe(at))).plan, { threads: 1, memory: 1000 }),
    'memory-too-small',
  ],
  'lock: a model that is not there': [
    (at) => {
      writeFileSync(path.join(at, 'recipe.yml'), JSON.stringify(recipe(at, { models: { a: 'c', b: 'd' } })))
      return lock(path.join(at, 'recipe.yml'))
    },
    'missing-model',
  ],
  'verify: no lineage': [(at) => verify(path.join(at, 'none.json')), 'missing-lineage'],
  'verify: another file': [
    (at) => {
      writeFileSync(path.join(at, 'x.lineage.json'), '{}')
      return verify(path.join(at, 'x.lineage.json'))
    },
    'bad-lineage',
  ],
  'verify: a lineage of a later version': [
    (at) => {
      writeFileSync(path.join(at, 'x.lineage.json'), '{"lineage": 99}')
      return verify(path.join(at, 'x.lineage.json'))
    },
    'lineage-version',
  ],
  'report: no lineage': [(at) => report(path.join(at, 'none.json')), 'missing-lineage'],
  'inspect: nothing': [(at) => inspect(path.join(at, 'none')), 'missing-model'],
  'inspect: an empty folder': [
    (at) => {
      mkdirSync(path.join(at, 'empty'))
      return inspect(path.join(at, 'empty'))
    },
    'no-weights',
  ],
  'permutationSpec: no known network': [
    async (at) => permutationSpec(await inspect(path.join(at, 'a.safetensors'))),
    'spec-unknown',
  ],
  'diff: nothing': [(at) => diff(path.join(at, 'a.safetensors'), path.join(at, 'none')), 'missing-model'],
  'diff: aborted': [
    (at) => diff(path.join(at, 'a.safetensors'), path.join(at, 'b.safetensors'), { signal: ABORTED }),
    'interrupted',
    130,
  ],
  'init: nothing': [(at) => init([path.join(at, 'none')]), 'missing-model'],
  'recipeOf: a parameter without a value': [
    () => recipeOf({ models: ['a', 'b'], method: 'slerp', output: 'o', param: ['t'] }),
    'bad-flag',
  ],
  'plan: no base': [
    (at) =>
      plan(path.join(at, 'one.yml'), {
        text: recipeOf({ models: ['a.safetensors', 'b.safetensors'], method: 'ties', output: 'o' }, { folder: at }),
      }),
    'missing-base',
  ],
  'importMergekit: a recipe': [
    (at) => {
      writeFileSync(path.join(at, 'recipe.yml'), JSON.stringify(recipe(at)))
      return importMergekit(path.join(at, 'recipe.yml'))
    },
    'not-mergekit',
  ],
  'importMergekit: nothing': [(at) => importMergekit(path.join(at, 'none.yml')), 'missing-recipe'],
  'importBlockWeights: 24 numbers': [
    () => importBlockWeights(Array.from({ length: 24 }, () => 1).join(','), ['a', 'b']),
    'bad-flag',
  ],
  'importBlockWeights: one model': [() => importBlockWeights('0,1', ['a']), 'bad-flag'],
  'findMethod: no method': [() => findMethod('tise'), 'unknown-method'],
  'readPath: no summary': [
    (at) => {
      writeFileSync(path.join(at, 'summary.json'), '[]')
      return readPath(at)
    },
    'bad-summary',
  ],
}

for (const [name, [call, code, exit = 2]] of Object.entries(THROWN))
  test(name, () =>
    inFolder(async (folder) => {
      writeModel(path.join(folder, 'a.safetensors'), { w: f32([2], [1, 2]) })
      writeModel(path.join(folder, 'b.safetensors'), { w: f32([2], [5, 10]) })
      const error = await Promise.resolve(folder)
        .then(call)
        .then(
          () => assert.unreachable('nothing was thrown'),
          (thrown: unknown) => thrown,
        )
      assert.instance(error, Fault)
      assert.equal([(error as Fault).diagnostics[0]?.code, (error as Fault).exit], [code, exit])
    }),
  )

test.run()
