/** What is published, what it depends on, and that no test is left out by mistake. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packedNames, root } from './support/packed.js'

const json = (name: string) => JSON.parse(readFileSync(path.join(root, name), 'utf8'))
const manifest = json('package.json')

/** A dependency stays only as long as its reason does. */
const DEPENDENCIES = {
  '@huggingface/hub': 'files of repositories on the hub',
  '@huggingface/tokenizers': 'cuts texts into tokens: prompts of mixtures, pieces of other vocabularies',
  '@oclif/core': 'commands: flags, help',
  aws4fetch: 'signatures of requests to S3 stores',
  'cross-spawn': 'starts .cmd programs on Windows without a shell that reads their words',
  'fastest-levenshtein': 'did-you-mean',
  listr2: 'progress in a terminal',
  re2js: 'regular expressions in linear time, whoever wrote them',
  yaml: 'YAML with the place of every node, for faults with line and column',
}
/** The native modules of koffi: they call mmap, which Node has not. One per platform that terge calls it on. */
const OPTIONAL = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64'].map((name) => `@koromix/koffi-${name}`)
const DEVELOPMENT = {
  '@biomejs/biome': 'format and lint',
  '@cyclonedx/cyclonedx-library': 'has the official schemas of CycloneDX and a strict validator, for tests',
  '@huggingface/jinja': 'an independent renderer of chat templates in tests',
  '@types/cross-spawn': 'types of cross-spawn',
  '@types/node': 'types of Node',
  ajv: 'compiles the recipe schema to a validator while building',
  'ajv-formats': 'what the validator of CycloneDX needs',
  'ajv-formats-draft2019': 'what the validator of CycloneDX needs',
  assemblyscript: 'compiles the kernels',
  'axe-core': 'finds what keeps people out of the report page, in tests',
  esbuild: 'bundles what starting up loads, for its speed',
  'hash-wasm': 'an independent XXH3 in tests',
  'playwright-core': 'drives a browser on the report page, in tests',
  safetensors: 'an independent reader in tests',
  typescript: 'compiles',
  uvu: 'runs the tests',
  'yaml-language-server': 'what editors show of the recipe schema, in tests',
}

test('the dependencies are those that have a reason', () => {
  assert.equal(Object.keys(manifest.dependencies).sort(), Object.keys(DEPENDENCIES).sort())
  assert.equal(Object.keys(manifest.devDependencies).sort(), Object.keys(DEVELOPMENT).sort())
  assert.equal(Object.keys(manifest.optionalDependencies).sort(), OPTIONAL)
})

test('the native modules have one exact version, and the installed one is that', () => {
  const versions = new Set<string>(Object.values(manifest.optionalDependencies))
  assert.is(versions.size, 1)
  const [version] = [...versions]
  assert.match(version!, /^\d+\.\d+\.\d+$/)
  for (const name of OPTIONAL) {
    const folder = path.join(root, 'node_modules', name)
    if (!existsSync(folder)) continue
    assert.is(json(`node_modules/${name}/package.json`).version, version)
    assert.is(createRequire(path.join(root, 'dist/src/index.js'))(name).version, version)
  }
})

test('installing the package runs no script, in it or in what it depends on', () => {
  const { packages } = json('package-lock.json') as {
    packages: Record<string, { dev?: boolean; hasInstallScript?: boolean }>
  }
  const running = Object.entries(packages).filter(([, { dev, hasInstallScript }]) => hasInstallScript && !dev)
  assert.equal(
    running.map(([name]) => name),
    [],
  )
  // npm runs these for a package that is installed, and warns about them where it does not.
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare'])
    assert.not.ok(script in manifest.scripts, script)
})

test('the lock file installs anywhere: it knows every optional package and no host', () => {
  const { packages } = json('package-lock.json') as {
    packages: Record<string, { resolved?: string; optionalDependencies?: Record<string, string> }>
  }
  assert.equal(Object.keys(packages[''] as object).includes('dependencies'), true)
  for (const [name, { resolved, optionalDependencies = {} }] of Object.entries(packages)) {
    assert.is(resolved, undefined, `${name} is pinned to a host`)
    for (const optional of Object.keys(optionalDependencies))
      assert.ok(packages[`node_modules/${optional}`], `${name || 'the project'} wants ${optional}: npm ci would fail`)
  }
  const { dependencies, devDependencies } = packages[''] as typeof manifest
  assert.equal([dependencies, devDependencies], [manifest.dependencies, manifest.devDependencies])
})

test('the package holds what a user needs and nothing else', () => {
  const names = packedNames()
  const expected =
    /^(bin\/run\.js|dist\/(src|cli)\/.+\.(js|d\.ts|wasm)|dist\/cli\/LICENSES\.txt|docs\/(api\/)?[\w-]+\.md|docs\/images\/\w+\.(png|svg)|scripts\/prepare\.mjs|schemas\/[\w.]+\.json|recipes\/quickstart\/.+|recipes\/cluster\/\w+\.template|recipes\/evaluate\/\w+\.py|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/
  assert.equal(
    names.filter((name) => !expected.test(name)),
    [],
  )
  assert.equal(
    names.filter((name) => name.includes('/out/') || name.includes('test/')),
    [],
  )
  for (const name of [
    'bin/run.js',
    'dist/src/index.js',
    'dist/src/index.d.ts',
    'dist/src/kernels/terge.wasm',
    'dist/src/recipe/schema-validator.js',
    'schemas/recipe.v1.schema.json',
    'schemas/lineage.v1.schema.json',
    'schemas/lineage.v2.schema.json',
    'schemas/difference.v1.schema.json',
    'schemas/trials.v1.schema.json',
    'recipes/quickstart/NOTICE.md',
    'LICENSE',
    'README.md',
  ])
    assert.ok(names.includes(name), `${name} is missing`)
})

test('the code is formatted, and the linter has nothing to say', () => {
  const biome = path.join(root, 'node_modules/@biomejs/biome/bin/biome')
  const { status, stdout, stderr } = spawnSync(process.execPath, [biome, 'check', '--error-on-warnings'], {
    cwd: root,
    encoding: 'utf8',
  })
  assert.is(status, 0, `${stdout}${stderr}`)
})

test('the package is imported by its name', async () => {
  // A name that the compiler does not look up: it stands for the build's own output.
  const name: string = manifest.name
  const library = await import(name)
  for (const verb of ['load', 'validate', 'plan', 'run', 'verify', 'inspect']) assert.type(library[verb], 'function')
  assert.is(manifest.bin.terge, 'bin/run.js')
  assert.is(manifest.engines.node, '>=20')
})

test('every test file ends in its run, and none relies on a hook that may throw unseen', () => {
  const files = readdirSync(path.join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.test.ts'),
  )
  assert.ok(files.length > 20)
  for (const file of files) {
    const text = readFileSync(path.join(root, 'test', file), 'utf8')
    assert.match(text, /\.run\(\)\s*$/, `${file} does not end in .run()`)
    for (const [, suite] of text.matchAll(/^const (\w+) = suite\(/gm))
      assert.ok(text.includes(`${suite}.run()`), `${file}: ${suite} is never run`)
    // uvu swallows what it throws (what before.each throws fails its test).
    assert.not.match(text, /^\s*\w+\.before\(/m, `${file} has a before hook`)
  }
})

test.run()
