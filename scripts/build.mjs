// Builds everything that `bin/run.js` needs: the kernels (AssemblyScript to WebAssembly), then the TypeScript.
// `node scripts/build.mjs --tests` compiles the tests as well, beside the program in dist/. They read the program's declarations, so
// that the compiler checks each file once, and tests again only where declarations changed.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)

const program = (packageName, bin) => [path.join(path.dirname(require.resolve(`${packageName}/package.json`)), bin)]

/** Runs a package's own program with this Node, so that no shell and no PATH decide which. */
function run(packageName, bin, args) {
  const { status } = spawnSync(process.execPath, [...program(packageName, bin), ...args], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}

const newest = (folder) =>
  Math.max(...readdirSync(folder, { recursive: true }).map((name) => statSync(path.join(folder, name)).mtimeMs))

/** Whether a file is younger than all that it is made from: folders and files. */
function isMade(file, ...sources) {
  const made = path.join(root, file)
  return (
    existsSync(made) &&
    sources.every((source) => {
      const from = path.join(root, source)
      return statSync(made).mtimeMs >= (statSync(from).isDirectory() ? newest(from) : statSync(from).mtimeMs)
    })
  )
}

/** Compiles a module of kernels where its sources are newer. */
function compile(entry, name, flags) {
  const wasm = path.join('dist/src/kernels', name)
  if (isMade(wasm, 'src/kernels/assembly')) return
  mkdirSync(path.join(root, path.dirname(wasm)), { recursive: true })
  run('assemblyscript', 'bin/asc.js', [
    path.join('src/kernels/assembly', entry),
    ...['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--importMemory', '--use', 'abort=', ...flags],
    ...['-o', wasm],
  ])
}
compile('index.ts', 'terge.wasm', [])
const shared = ['--enable', 'threads', '--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536']
compile('dense/index.ts', 'dense.wasm', shared)
// tsc emits in spite of type errors; the status comes last, so that one room's errors keep no other from its tests.
const config = process.argv.includes('--tests') ? 'tsconfig.test.json' : 'tsconfig.json'
const tsc = spawnSync(process.execPath, [...program('typescript', 'bin/tsc'), '-b', config], {
  cwd: root,
  stdio: 'inherit',
})
const PAGES = ['src/lineage/forms/page', 'src/search/page']
const statuses = [tsc.status]
/** Runs a script of this folder that makes a file, unless the file is younger than what it is made from. */
function make(file, script, ...sources) {
  if (isMade(file, `scripts/${script}`, 'package-lock.json', ...sources)) return
  statuses.push(spawnSync(process.execPath, [`scripts/${script}`], { cwd: root, stdio: 'inherit' }).status)
}
for (const page of PAGES) {
  run('typescript', 'bin/tsc', ['-p', `${page}/browser`])
  make(`dist/${page}/assets.js`, 'page.mjs', 'src')
}
make('dist/src/recipe/schema-validator.js', 'schema.mjs', 'dist/src')
// What the bundler writes last.
make('dist/cli/LICENSES.txt', 'bundle.mjs', 'dist/src', 'package.json')
process.exit(statuses.find((status) => status !== 0) ?? 0)
