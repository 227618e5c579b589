// Builds program and tests, then runs every test file: `node scripts/test.mjs [PATTERN]`.
// The last line is `N passed, N failed`. A floor on the number of tests keeps a suite that ran nothing from passing.
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const pattern = process.argv[2]
const build = spawnSync(process.execPath, ['scripts/build.mjs', '--tests'], { cwd: root, stdio: 'inherit' })
if (build.status !== 0) process.exit(build.status ?? 1)

const args = ['node_modules/uvu/bin.js', 'dist/test', pattern ?? '\\.test\\.js$']
const { status, stdout } = spawnSync(process.execPath, args, {
  cwd: root,
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'inherit'],
  maxBuffer: 1 << 28,
  env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
})
process.stdout.write(stdout)
const count = (label) => Number(new RegExp(`^\\s*${label}:\\s*(\\d+)`, 'm').exec(stdout)?.[1] ?? 0)
const total = count('Total')
const passed = count('Passed')
/** About nine tenths of the tests that there were when it was last set. */
const FLOOR = 990
const short = pattern === undefined && total < FLOOR
if (short) console.log(`only ${total} tests ran; at least ${FLOOR} are expected`)
// A file that throws while it is loaded counts as a failure even when none of its tests ran.
const failed = total - passed + (short || (status !== 0 && total === passed) ? 1 : 0)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
