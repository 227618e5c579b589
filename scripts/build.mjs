// Builds everything that `bin/run.js` needs: the kernels (AssemblyScript to WebAssembly), then the TypeScript.
// `node scripts/build.mjs --tests` compiles the tests as well, beside the program in dist/.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)

/** Runs a package's own program with this Node, so that no shell and no PATH decide which. */
function run(packageName, bin, args) {
  const program = path.join(path.dirname(require.resolve(`${packageName}/package.json`)), bin)
  const { status } = spawnSync(process.execPath, [program, ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const newest = (folder) =>
  Math.max(...readdirSync(folder, { recursive: true }).map((name) => statSync(path.join(folder, name)).mtimeMs))

const assembly = path.join(root, 'src/kernels/assembly')
const wasm = path.join(root, 'dist/src/kernels/terge.wasm')
if (!existsSync(wasm) || statSync(wasm).mtimeMs < newest(assembly)) {
  mkdirSync(path.dirname(wasm), { recursive: true })
  run('assemblyscript', 'bin/asc.js', [
    'src/kernels/assembly/index.ts',
    ...['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--importMemory', '--use', 'abort='],
    ...['-o', 'dist/src/kernels/terge.wasm'],
  ])
}
run('typescript', 'bin/tsc', ['-p', process.argv.includes('--tests') ? 'tsconfig.test.json' : 'tsconfig.json'])
