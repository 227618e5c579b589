import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-find-'))
test.after(() => rmSync(folder, { recursive: true }))
const file = (...names: string[]) => path.join(folder, ...names)
for (const name of ['a', 'b']) writeModel(file(`${name}.safetensors`), { w: f32([2], [1, name === 'a' ? 2 : 3]) })
mkdirSync(file('model'))
copyFileSync(file('a.safetensors'), file('model', 'model.safetensors'))

test('outputs to find', async () => {
  for (const output of ['one/out.safetensors', 'two/out.safetensors', 'two/more.safetensors']) {
    mkdirSync(path.dirname(file(output)), { recursive: true })
    const { code, err } = await terge(['merge', 'a.safetensors', 'b.safetensors', '-o', output], folder)
    assert.is(code, 0, err)
  }
  for (const output of ['merged', 'above/out', 'two/folder']) {
    const { code, err } = await terge(['merge', 'model', 'b.safetensors', '-o', output], folder)
    assert.is(code, 0, err)
  }
})

const FOUND = [
  ['merged', 'merged/lineage.json'],
  ['merged/', 'merged/lineage.json'],
  ['merged/model.safetensors', 'merged/lineage.json'],
  ['one/out.safetensors', 'one/out.lineage.json'],
  ['one', 'one/out.lineage.json'],
  ['two/more.safetensors', 'two/more.lineage.json'],
  ['above', 'above/out/lineage.json'],
] as const

test('verify and report find the lineage of an output folder or a checkpoint file', async () => {
  for (const [given, lineage] of FOUND) {
    const { code, out, err } = await terge(['verify', given], folder)
    assert.equal([code, err], [0, ''], given)
    assert.match(out, /^unchanged: /)
    const json = await terge(['report', given, '--format', 'json'], folder)
    assert.is(json.out, readFileSync(file(lineage), 'utf8'), given)
  }
  assert.is((await terge(['verify', '.'], file('merged'))).code, 0)
  // Two folders below the inputs, from elsewhere.
  assert.is((await terge(['verify', file('above', 'out')])).code, 0)
  assert.is((await terge(['verify', 'more.safetensors'], file('two'))).code, 0)
})

test('a changed checkpoint that was given by its name is an error', async () => {
  const changed = file('two', 'more.safetensors')
  const bytes = readFileSync(changed)
  bytes[bytes.length - 1]! ^= 1
  writeFileSync(changed, bytes)
  assert.is((await terge(['verify', changed])).code, 1)
  rmSync(changed)
  // The lineage is still there.
  assert.is((await terge(['verify', changed])).code, 1)
})

test('a lineage under another name is read as one', async () => {
  copyFileSync(file('merged', 'lineage.json'), file('merged', 'kept.json'))
  assert.match((await terge(['report', 'merged/kept.json', '--format', 'json'], folder)).out, '"terge":')
})

test('without a lineage, or with several, the hint says what to give', async () => {
  const errorOf = async (given: string) => {
    const { code, err } = await terge(['verify', given], folder)
    assert.is(code, 2)
    return err
  }
  assert.match(
    await errorOf('a.safetensors'),
    /^error missing-lineage: a\.safetensors has no lineage next to it\n {2}hint: only terge writes lineages/,
  )
  assert.match(await errorOf('model'), /^error missing-lineage: model has no lineage\.json\n/)
  assert.match(
    await errorOf('two'),
    'error missing-lineage: two has 3 lineages\n  hint: give one of them: two/more.lineage.json, two/out.lineage.json, two/folder/lineage.json\n',
  )
  assert.match(await errorOf('nothing'), /^error missing-lineage: nothing does not exist/)
  // The lineage in a folder describes only the files of its model.
  copyFileSync(file('a.safetensors'), file('merged', 'other.safetensors'))
  assert.match(await errorOf('merged/other.safetensors'), /has no lineage next to it/)
})

test('report, init and import replace a file only with --force', async () => {
  writeFileSync(
    file('mergekit.yml'),
    'models: [{model: a.safetensors}, {model: b.safetensors}]\nmerge_method: linear\nparameters: {weight: 1}\ndtype: float32\n',
  )
  for (const args of [
    ['report', 'merged'],
    ['init', 'a.safetensors', 'b.safetensors'],
    ['import', 'mergekit.yml'],
  ]) {
    const output = file('written.txt')
    writeFileSync(output, 'old')
    const refused = await terge([...args, '-o', output], folder)
    assert.is(refused.code, 2, args[0])
    assert.match(refused.err, /^error file-exists: .*\n {2}hint: add --force to replace it, or choose another name\n$/)
    assert.is(readFileSync(output, 'utf8'), 'old')
    const replaced = await terge([...args, '-o', output, '--force'], folder)
    assert.is(replaced.code, 0, replaced.err)
    const text = readFileSync(output, 'utf8')
    assert.ok(text.length > 20, args[0])
    renameSync(output, file('first.txt'))
    await terge([...args, '-o', output, '--force'], folder)
    assert.is(readFileSync(output, 'utf8'), text, 'a new file with --force')
    rmSync(output)
    const other = await terge([...args, '-o', file('model'), '--force'], folder)
    assert.match(other.err, /^error file-exists: .* is not a regular file\n/)
    const missing = await terge([...args, '-o', file('none', 'x'), '--force'], folder)
    assert.match(missing.err, /^error missing-folder: /)
  }
})

test.run()
