// Installs the package into empty folders with each package manager, as a user does, and uses it from another folder:
// `node scripts/installs.mjs [NAME…]`. An installation must not print a warning or run a script. Then the recipes of the package
// must run, with the same bytes as in the clone, and a program must be able to import the library. Needs a built clone and a
// package registry; `npm test` has a cheaper test without one.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const windows = process.platform === 'win32'
const RECIPES = ['average.yml', 'rebasin.yml', 'ties.yml']
const EVALUATED = ['--allow-commands', '--force']
/** What package managers print when something is wrong, or when they refuse a script. */
const WARNING = /\bwarn|deprecat|\berror|\bERR|fail|blocked|ignored build|untrusted|YN00(02|60|86)/i

const bin = (name) => path.join('node_modules/.bin', windows ? `${name}.cmd` : name)
const bun = `bun-${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch === 'arm64' ? 'aarch64' : 'x64'}`
const bunFile = `node_modules/@oven/${bun}/bin/bun${windows ? '.exe' : ''}`

/**
 * `tool`: the package that holds the manager, and `file`: the manager in it. `add`: its words, before the package. `run`: how it
 * starts the program; by default the file in `node_modules/.bin`. `maps`: whether the native module must be used.
 */
const MANAGERS = {
  'npm 10': { tool: 'npm@10', file: bin('npm'), add: ['install'] },
  'npm 11': { tool: 'npm@11', file: bin('npm'), add: ['install'] },
  'npm without optional packages': {
    ...{ tool: 'npm@11', file: bin('npm'), add: ['install', '--omit=optional'], maps: false },
  },
  'pnpm 10': { tool: 'pnpm@10', file: bin('pnpm'), add: ['add'] },
  pnpm: { tool: 'pnpm@latest', file: bin('pnpm'), add: ['add'] },
  'yarn 1': { tool: 'yarn@1', file: bin('yarn'), add: ['add'] },
  'yarn with node_modules': {
    ...{ tool: '@yarnpkg/cli-dist', file: bin('yarn'), add: ['add'], named: true },
    files: { '.yarnrc.yml': 'nodeLinker: node-modules\n', 'yarn.lock': '' },
  },
  'yarn with Plug and Play': {
    ...{ tool: '@yarnpkg/cli-dist', file: bin('yarn'), add: ['add'], named: true, run: ['run', 'terge'] },
    // What Yarn says of itself in every project with a module.
    files: { '.yarnrc.yml': 'logFilters:\n  - code: YN0092\n    level: discard\n', 'yarn.lock': '' },
  },
  bun: { tool: `@oven/${bun}`, file: bunFile, add: ['add'] },
  'bun, as the runtime': {
    tool: `@oven/${bun}`,
    file: bunFile,
    add: ['add'],
    run: ['--bun', bin('terge')],
    maps: false,
  },
  'deno, as the runtime': {
    ...{ tool: 'deno', file: bin('deno'), add: ['add'], from: 'npm 11', maps: false },
    run: ['run', '-A', '--node-modules-dir=manual', 'node_modules/terge/bin/run.js'],
  },
}

/** Reports each load of the native module on standard error. Only for Node. */
const REPORT = `import Module from 'node:module'
const load = Module._load
Module._load = function (request, ...rest) {
  if (request.startsWith('@koromix/')) process.stderr.write('maps files\\n')
  return load.call(this, request, ...rest)
}`

const registry = run('npm', ['config', 'get', 'registry'], {}).out.trim()
const environment = {
  ...{ NO_COLOR: '1', CI: 'true', npm_config_update_notifier: 'false', DENO_NO_UPDATE_CHECK: '1' },
  ...{ YARN_ENABLE_TELEMETRY: '0', YARN_ENABLE_IMMUTABLE_INSTALLS: '0' },
  ...{ YARN_NPM_REGISTRY_SERVER: registry, NPM_CONFIG_REGISTRY: registry, BUN_CONFIG_REGISTRY: registry },
}

function run(program, words, { cwd = root, env = {} }) {
  // Programs that are scripts for cmd.exe need a shell on Windows; none of these words has a character that it reads.
  const { status, stdout, stderr, error } = spawnSync(program, words, {
    ...{ cwd, encoding: 'utf8', shell: windows, maxBuffer: 1 << 28, timeout: 600_000 },
    env: { ...cleanEnvironment(), ...env },
  })
  return { status: error ? error.message : status, out: stdout ?? '', err: stderr ?? '' }
}

/** Without what `npm run` sets for its own process, and what disturbs comparisons. */
function cleanEnvironment() {
  const kept = ([name]) => !/^(npm_(?!config_(registry|cafile|userconfig))|NODE_OPTIONS|FORCE_COLOR|TERGE_)/i.test(name)
  return Object.fromEntries(Object.entries(process.env).filter(kept))
}

class Failed extends Error {}

function check(done, what) {
  if (done.status !== 0) throw new Failed(`${what}: exit ${done.status}\n${done.out}${done.err}`)
  return done
}

/** The digests of all files that the recipes of a folder wrote, except for the lineages, which name their inputs' paths. */
function digests(recipes) {
  const files = readdirSync(path.join(recipes, 'out'), { recursive: true }).filter((name) =>
    /\.safetensors$/.test(name),
  )
  if (files.length < 4) throw new Failed(`only ${files.length} outputs in ${recipes}`)
  const digest = (name) =>
    createHash('sha256')
      .update(readFileSync(path.join(recipes, 'out', name)))
      .digest('hex')
  return files.sort().map((name) => `${name.split(path.sep).join('/')} ${digest(name)}`)
}

const work = mkdtempSync(path.join(os.tmpdir(), 'terge-installs-'))
const copyOfRecipes = (name) => {
  const folder = path.join(work, 'recipes', name)
  const notOutput = (file) => path.basename(file) !== 'out'
  cpSync(path.join(root, 'recipes/quickstart'), folder, { recursive: true, filter: notOutput })
  return folder
}

function toolOf({ tool, file }) {
  const folder = path.join(work, 'tools', tool.replaceAll(/\W/g, '-'))
  if (!existsSync(folder)) {
    mkdirSync(folder, { recursive: true })
    const words = ['install', '--no-audit', '--no-fund', '--prefix', folder, tool]
    check(run('npm', words, { cwd: folder }), `installing ${tool}`)
  }
  return path.join(folder, file)
}

/** Installs the tarball in a new folder, and returns the folder. */
function install(name, tarball) {
  const { add, named, files = {}, from } = MANAGERS[name]
  const manager = toolOf(MANAGERS[from ?? name])
  const folder = path.join(work, 'installed', name.replaceAll(/\W+/g, '-'))
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'user', version: '1.0.0', private: true }))
  for (const [file, text] of Object.entries(files)) writeFileSync(path.join(folder, file), text)
  const words = [...(from ? MANAGERS[from].add : add), named ? `terge@file:${tarball}` : tarball]
  const done = check(run(manager, words, { cwd: folder, env: environment }), 'installing')
  const warnings = `${done.out}${done.err}`
    .split('\n')
    .filter((line) => WARNING.test(line) && !/Unknown (user|env|builtin) config/.test(line))
  if (warnings.length > 0) throw new Failed(`installing prints warnings:\n${warnings.join('\n')}`)
  return folder
}

/** Runs the package's recipes from another folder, and a program that imports the library. */
function use(name, folder, expected) {
  const { run: words, maps = true } = MANAGERS[name]
  const inside = words?.[0] === 'run' && words[1] === 'terge'
  const elsewhere = path.join(work, 'elsewhere', name.replaceAll(/\W+/g, '-'))
  mkdirSync(elsewhere, { recursive: true })
  const start = (args, env = {}) =>
    words
      ? run(toolOf(MANAGERS[name]), [...words.map((word) => absolute(folder, word)), ...args], {
          cwd: inside ? folder : elsewhere,
          env: { ...environment, ...env },
        })
      : run(path.join(folder, bin('terge')), args, { cwd: elsewhere, env })
  // Plug and Play keeps the package in an archive, where no output can be written.
  const installed = path.join(folder, 'node_modules/terge/recipes/quickstart')
  const recipes = existsSync(installed) ? installed : copyOfRecipes(name.replaceAll(/\W+/g, '-'))
  for (const recipe of RECIPES) check(start(['run', path.join(recipes, recipe), ...EVALUATED]), `running ${recipe}`)
  same(digests(recipes), expected, 'reading')
  const env = { TERGE_IO: 'map', NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(REPORT)}` }
  const mapped = check(
    start(['run', path.join(recipes, 'ties.yml'), ...EVALUATED], words?.[0] === '--bun' ? { TERGE_IO: 'map' } : env),
    'mapping',
  )
  same(digests(recipes), expected, 'mapping')
  const did = mapped.err.includes('maps files')
  // Without the module, Node looks for it in vain.
  const usable = maps && ['linux', 'darwin'].includes(process.platform)
  if (usable && !did) throw new Failed('TERGE_IO=map did not load the native module')
  if (!existsSync(installed)) return
  const program = path.join(folder, 'program.mjs')
  writeFileSync(program, "import { listMethods } from 'terge'\nconsole.log(listMethods().length > 20)\n")
  const { out } = check(run(process.execPath, [program], { cwd: elsewhere }), 'importing')
  if (out !== 'true\n') throw new Failed(`importing printed ${out}`)
  check(
    run(process.execPath, [path.join(recipes, 'merge.mjs'), path.join(elsewhere, 'a.safetensors')], { cwd: elsewhere }),
    'merge.mjs',
  )
}

const absolute = (folder, word) => (word.startsWith('node_modules') ? path.join(folder, word) : word)

function same(found, expected, how) {
  if (found.join('\n') !== expected.join('\n'))
    throw new Failed(`${how}: other bytes:\n${found.join('\n')}\n${expected.join('\n')}`)
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in MANAGERS))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}\nknown: ${Object.keys(MANAGERS).join(', ')}`)
  process.exit(2)
}
let failures = 0
try {
  check(run('npm', ['pack', '--ignore-scripts', '--pack-destination', work], {}), 'npm pack')
  const tarball = path.join(
    work,
    readdirSync(work).find((name) => name.endsWith('.tgz')),
  )
  const reference = copyOfRecipes('reference')
  for (const recipe of RECIPES)
    check(run(process.execPath, ['bin/run.js', 'run', path.join(reference, recipe), ...EVALUATED], {}), recipe)
  const expected = digests(reference)
  for (const name of wanted.length > 0 ? wanted : Object.keys(MANAGERS)) {
    try {
      use(name, install(name, tarball), expected)
      console.log(`ok    ${name}`)
    } catch (error) {
      if (!(error instanceof Failed)) throw error
      failures += 1
      console.log(`FAIL  ${name}: ${error.message}`)
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
process.exit(failures === 0 ? 0 : 1)
