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

const assembly = path.join(root, 'src/kernels/assembly')
/** Compiles a module of kernels where its sources are newer. */
function compile(entry, name, flags) {
  const wasm = path.join(root, 'dist/src/kernels', name)
  if (existsSync(wasm) && statSync(wasm).mtimeMs >= newest(assembly)) return
  mkdirSync(path.dirname(wasm), { recursive: true })
  run('assemblyscript', 'bin/asc.js', [
    path.join('src/kernels/assembly', entry),
    ...['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--importMemory', '--use', 'abort=', ...flags],
    ...['-o', path.join('dist/src/kernels', name)],
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
for (const page of ['src/lineage/forms/page/browser', 'src/search/page/browser'])
  run('typescript', 'bin/tsc', ['-p', page])
const page = spawnSync(process.execPath, ['scripts/page.mjs'], { cwd: root, stdio: 'inherit' })
const schema = spawnSync(process.execPath, ['scripts/schema.mjs'], { cwd: root, stdio: 'inherit' })
const bundle = spawnSync(process.execPath, ['scripts/bundle.mjs'], { cwd: root, stdio: 'inherit' })
process.exit(tsc.status || page.status || schema.status || bundle.status || 0)
