/** The public API, as a program uses it. */
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, load, openRecipe, plan, planOpened, run, validate } from '../../src/index.js'
import { makeOpener } from '../../src/session/opened/models.js'
import { f32, inFolder, writeModel } from '../support/files.js'

const mean = (folder: string) => ({
  terge: 1,
  models: { a: path.join(folder, 'a.safetensors'), b: path.join(folder, 'b.safetensors') },
  merge: { method: 'linear', weights: { a: 3, b: 1 } },
  output: path.join(folder, 'out.safetensors'),
})

const withModels = (work: (folder: string) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'a.safetensors'), { w: f32([2], [1, 2]) })
    writeModel(path.join(folder, 'b.safetensors'), { w: f32([2], [5, 10]) })
    await work(folder)
  })

test('a recipe may be an object', () =>
  withModels(async (folder) => {
    const { outputs } = await run(await plan(mean(folder)))
    const bytes = readFileSync(outputs[0]!.path)
    assert.equal(bytes.subarray(bytes.length - 8), Buffer.from(new Float32Array([2, 4]).buffer))
    assert.equal(load(mean(folder)).diagnostics, [])
  }))

test('errors of an object have their place in its JSON', () =>
  withModels(async (folder) => {
    const wrong = { ...mean(folder), merge: { method: 'linaer' } }
    const { diagnostics } = await validate(wrong)
    assert.equal(
      diagnostics.map(({ code, place }) => [code, place?.file, place?.text]),
      [['unknown-method', '(recipe)', '    "method": "linaer"']],
    )
    const error = await plan(wrong).catch((thrown: unknown) => thrown)
    assert.instance(error, Fault)
    assert.equal((error as Fault).diagnostics, diagnostics)
  }))

test('a recipe that is opened can be planned without its models', () =>
  withModels(async (folder) => {
    const expected = (await plan(mean(folder))).plan.digest
    const opened = await openRecipe(mean(folder))
    for (const name of ['a', 'b']) rmSync(path.join(folder, `${name}.safetensors`))
    assert.is((await planOpened(opened)).plan.digest, expected)
  }))

test('a model that is asked for again is not opened again', () =>
  withModels(async (folder) => {
    const { recipe } = load(mean(folder))
    const open = makeOpener()
    const first = await open(recipe!, 'a')
    rmSync(path.join(folder, 'a.safetensors'))
    assert.ok(first.model)
    assert.is((await open(recipe!, 'a')).model, first.model)
  }))

test.run()
