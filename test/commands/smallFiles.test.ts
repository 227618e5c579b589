/** Small files of models are a stranger's: only regular ones are read, links lead nowhere else, and what is copied is known. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { matrix, weights, writeFolder } from './families.js'

const model = (seed: number, files: Readonly<Record<string, string | Uint8Array | object>> = {}) => ({
  'model.safetensors': weights({ 'model.norm.weight': matrix(seed, 4) }),
  'config.json': { model_type: 'x' },
  ...files,
})

const two = (folder: string, files: Readonly<Record<string, string | Uint8Array | object>> = {}): void => {
  writeFolder(path.join(folder, 'a'), model(1, files))
  writeFolder(path.join(folder, 'b'), model(2))
}

const RECIPE = 'terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear}\noutput: o\n'

const merge = (folder: string) => {
  writeFileSync(path.join(folder, 'r.yaml'), RECIPE)
  return terge(['run', 'r.yaml', '--no-sync'], folder)
}

/** Names that terge reads or copies. */
const NAMES = [
  'special_tokens_map.json',
  'tokenizer.json',
  'generation_config.json',
  'config.json',
  'chat_template.jinja',
  'LICENSE',
  'tokenizer.model',
]

test('a link that leads out of the folder is refused, whatever its name', () =>
  inFolder(async (folder) => {
    writeFolder(folder, { 'home/token': 'hf_secret', 'home/secret.json': { secret: 1 } })
    const targets = ['../home/token', '../home/secret.json', path.join(folder, 'home/token'), 'link-to-home/token']
    for (const [index, name] of NAMES.entries()) {
      const target = targets[index % targets.length]!
      const own = path.join(folder, `${name}-${target.replaceAll('/', '_').slice(-20)}`)
      mkdirSync(own)
      two(own)
      writeFolder(own, { 'home/token': 'hf_secret', 'home/secret.json': { secret: 1 } })
      execFileSync('rm', ['-f', path.join(own, 'a', name)])
      symlinkSync('../home', path.join(own, 'a/link-to-home'))
      symlinkSync(target, path.join(own, 'a', name))
      const { code, err } = await merge(own)
      assert.is(code, 2, `${name} → ${target}: ${err}`)
      assert.match(err, /error outside-link: a\/\S+ is a link that leads out of the model's folder/)
      assert.not.ok(existsSync(path.join(own, 'o')))
    }
  }))

test('links inside the folder are followed; one to nothing is refused', () =>
  inFolder(async (folder) => {
    two(folder, { 'real/vocabulary.txt': '{"x": 1.0}', 'real/model.bin': 'x' })
    symlinkSync('real/vocabulary.txt', path.join(folder, 'a/special_tokens_map.json'))
    const { code, err } = await merge(folder)
    assert.is(code, 0, err)
    assert.is(readFileSync(path.join(folder, 'o/special_tokens_map.json'), 'utf8'), '{"x": 1.0}')
    for (const name of ['config.json', 'tokenizer.json', 'model.safetensors']) {
      const own = path.join(folder, `dangling-${name}`)
      mkdirSync(own)
      two(own)
      execFileSync('rm', ['-f', path.join(own, 'a', name)])
      symlinkSync('nowhere', path.join(own, 'a', name))
      const ran = await merge(own)
      assert.is(ran.code, 2, ran.err)
      assert.match(ran.err, /error outside-link: a\/\S+ is a link to a file that does not exist/)
    }
  }))

test('weights, indexes and configurations of adapters that are links out of the folder', () =>
  inFolder(async (folder) => {
    writeFolder(folder, { 'other/w.safetensors': weights({ x: matrix(1, 4) }), 'other/c.json': { peft_type: 'LORA' } })
    const index = { weight_map: { x: 'w.safetensors' } }
    writeFolder(path.join(folder, 'm1'), { 'model.safetensors.index.json': index })
    symlinkSync('../other/w.safetensors', path.join(folder, 'm1/w.safetensors'))
    mkdirSync(path.join(folder, 'm2'))
    symlinkSync('../other', path.join(folder, 'm2/sub'))
    writeFolder(path.join(folder, 'm2'), { 'model.safetensors.index.json': { weight_map: { x: 'sub/w.safetensors' } } })
    writeFolder(path.join(folder, 'm3'), { 'adapter_model.safetensors': weights({ x: matrix(1, 4) }) })
    symlinkSync('../other/c.json', path.join(folder, 'm3/adapter_config.json'))
    for (const name of ['m1', 'm2', 'm3']) {
      const { code, err } = await terge(['inspect', name], folder)
      assert.is(code, 2, name)
      assert.match(err, /error outside-link/, name)
    }
    // A file that the user names may lie anywhere.
    symlinkSync('other/w.safetensors', path.join(folder, 'named.safetensors'))
    assert.is((await terge(['inspect', 'named.safetensors'], folder)).code, 0)
  }))

test('pipes, folders and sockets under the names of files are refused at once', () =>
  inFolder(async (folder) => {
    const NEEDED = [...NAMES, 'model.safetensors.index.json', 'model_index.json', 'modules.json', 'adapter_config.json']
    for (const [index, name] of NEEDED.entries()) {
      const kind = index % 3 === 2 ? 'folder' : 'pipe'
      const own = path.join(folder, `${kind}-${name}`)
      mkdirSync(own)
      two(own)
      if (name.endsWith('.index.json')) execFileSync('rm', [path.join(own, 'a/model.safetensors')])
      execFileSync('rm', ['-f', path.join(own, 'a', name)])
      if (kind === 'pipe') execFileSync('mkfifo', [path.join(own, 'a', name)])
      else mkdirSync(path.join(own, 'a', name))
      const { code, err } = await merge(own)
      assert.is(code, 2, `${kind} as ${name}: ${err}`)
      assert.match(err, new RegExp(`a/${name.replaceAll('.', '\\.')}:? is a ${kind}, not a regular file`))
    }
  }))

test('pipes in place of recipes, specs, lineages and locks are refused at once', () =>
  inFolder(async (folder) => {
    two(folder)
    const pipe = (name: string) => execFileSync('mkfifo', [path.join(folder, name)])
    pipe('p.yaml')
    for (const command of ['run', 'plan', 'validate', 'lock'])
      assert.match((await terge([command, 'p.yaml'], folder)).err, /error unreadable-recipe: .*pipe/, command)
    for (const command of ['verify', 'report']) {
      const { code, err } = await terge([command, 'p.yaml'], folder)
      assert.is(code, 2)
      assert.match(err, /error missing-lineage: .*pipe/, command)
    }
    pipe('spec.yml')
    pipe('spec.onnx')
    for (const spec of ['spec.yml', 'spec.onnx']) {
      writeFileSync(path.join(folder, 's.yaml'), `${RECIPE}rebasin: {spec: ${spec}}\n`)
      const { code, err } = await terge(['plan', 's.yaml'], folder)
      assert.is(code, 2)
      assert.match(err, /pipe|not a (regular )?file/, spec)
    }
    writeFileSync(path.join(folder, 'r.yaml'), RECIPE)
    pipe('r.yaml.lock')
    const locked = await terge(['run', 'r.yaml', '--locked'], folder)
    assert.is(locked.code, 2)
    assert.match(locked.err, /pipe/)
    pipe('model.safetensors')
    assert.match((await terge(['inspect', 'model.safetensors'], folder)).err, /error cannot-read: .* is a pipe/)
  }))

test('a recipe can be read from a pipe of the shell', () =>
  inFolder(async (folder) => {
    two(folder)
    const text = RECIPE.replace('a: a, b: b', `a: ${folder}/a, b: ${folder}/b`)
    writeFileSync(path.join(folder, 'r.yaml'), text)
    const run = `exec "$0" "$1" validate /dev/fd/3 3< <(sleep 0.1; cat r.yaml)`
    const bin = new URL('../../../bin/run.js', import.meta.url).pathname
    const out = execFileSync('bash', ['-c', run, process.execPath, bin], { cwd: folder, encoding: 'utf8' })
    assert.is(out.includes('error'), false)
  }))

test('pipes and folders as lock.N of the work folder are refused, and nothing is published', () =>
  inFolder(async (folder) => {
    for (const kind of ['pipe', 'folder']) {
      const own = path.join(folder, kind)
      mkdirSync(own)
      two(own)
      mkdirSync(path.join(own, '.terge-o'))
      if (kind === 'pipe') execFileSync('mkfifo', [path.join(own, '.terge-o/lock.1')])
      else mkdirSync(path.join(own, '.terge-o/lock.1'))
      const { code, err } = await merge(own)
      assert.is(code, 2, err)
      assert.match(err, /lock\.1/)
      assert.not.ok(existsSync(path.join(own, 'o')))
    }
  }))

test('files of a training are not copied, unknown ones are named in one warning, and contents are what names say', () =>
  inFolder(async (folder) => {
    two(folder, {
      'trainer_state.json': {},
      'optimizer.pt': 'x',
      'README.md': 'of the base',
      LICENSE: 'free',
      'tokenizer_config.json': '{"a": 1.0}',
      'tekken.json': {},
      'strange.json': {},
      'notes.txt': '',
      'modeling_x.py': 'class X: pass',
    })
    const { code, err } = await merge(folder)
    assert.is(code, 0, err)
    assert.match(
      err,
      /warning files-left-out: terge does not copy 2 unknown files of 'a': 'notes\.txt', 'strange\.json'/,
    )
    const wanted = ['LICENSE', 'README.md', 'config.json', 'lineage.json', 'model.safetensors', 'tekken.json']
    assert.equal(readdirSync(path.join(folder, 'o')).sort(), [...wanted, 'tokenizer_config.json'])
    assert.not.match(readFileSync(path.join(folder, 'o/README.md'), 'utf8'), /of the base/)
    for (const [name, content] of [
      ['special_tokens_map.json', 'hf_secret'],
      ['special_tokens_map.json', '"hf_secret"'],
      ['vocab.txt', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0])],
      ['chat_template.jinja', Buffer.from([0xff, 0xfe])],
    ] as const) {
      const own = path.join(folder, `bad-${name}-${content.length}`)
      mkdirSync(own)
      two(own, { [name]: content })
      const ran = await merge(own)
      assert.is(ran.code, 2, ran.err)
      assert.match(ran.err, new RegExp(`error bad-config: a/${name}`))
    }
  }))

test('a folder with additional chat templates is copied, and replaced with --force', () =>
  inFolder(async (folder) => {
    two(folder, { 'additional_chat_templates/rag.jinja': '{{ x }}', 'chat_template.jinja': '{{ y }}' })
    assert.is((await merge(folder)).code, 0)
    assert.is(readFileSync(path.join(folder, 'o/additional_chat_templates/rag.jinja'), 'utf8'), '{{ x }}')
    const again = await terge(['run', 'r.yaml', '--no-sync', '--force'], folder)
    assert.is(again.code, 0, again.err)
  }))

test.run()
