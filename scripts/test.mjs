// Builds program and tests, then runs every test file: `node scripts/test.mjs [PATTERN] [--times]`.
// Files run side by side, one process per CPU core and one for files that mostly wait. Each one's result is printed as soon as it is
// there. With `--times` the CPU time of every test follows its file, the most first.
// The last line is `N passed, N failed`. A floor on the number of tests keeps a suite that ran nothing from passing.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** About nine tenths of the tests that there were when it was last set. */
const FLOOR = 2900
const MARKER = '--- end of file ---'
const MARKER_LINE = new RegExp(`^${MARKER} ([0-9.]+)\\n`, 'm')

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const pattern = process.argv.slice(2).find((argument) => argument !== '--times')
const withTimes = process.argv.includes('--times')
for (const needed of ['typescript', 'assemblyscript', 'uvu'])
  if (!existsSync(path.join(root, 'node_modules', needed))) {
    console.error(`${needed} is not installed: run npm ci first`)
    process.exit(1)
  }
const build = spawnSync(process.execPath, ['scripts/build.mjs', '--tests'], { cwd: root, stdio: 'inherit' })
if (build.status !== 0) process.exit(build.status ?? 1)

const folder = path.join(root, 'dist/test')
const wanted = new RegExp(pattern ?? '.')
/** These mostly wait: for servers that stall, commands that end late, and a browser. They get a process beside the others. */
const WAITING =
  /^(commands\/evaluate|hub\/(faults|transfer)|lineage\/pageInBrowser|s3\/(transfer|upload)|search\/page)\b/
// Tests of whole commands take longest: what starts first leaves no core idle at the end.
const isLong = (name) => /^(commands|hub|methods)\b/.test(name)
const files = readdirSync(folder, { recursive: true })
  .filter((name) => name.endsWith('.test.js') && wanted.test(name))
  // A test file that was renamed or removed leaves its compiled form behind.
  .filter((name) => existsSync(path.join(root, 'test', name.replace(/\.js$/, '.ts'))))
  .sort((a, b) => Number(isLong(b)) - Number(isLong(a)) || (a < b ? -1 : 1))

const counts = { total: 0, passed: 0, broken: 0, cpu: 0 }
const isWaiting = (name) => WAITING.test(name.split(path.sep).join('/'))
const [waiting, busy] = [files.filter(isWaiting), files.filter((name) => !isWaiting(name))]
const started = performance.now()
await Promise.all([
  work([waiting]),
  ...Array.from({ length: Math.min(availableParallelism(), busy.length) }, () => work([busy, waiting])),
])

/** Takes files from the first list that has any; where a file ends its process, the next one gets a new process. */
async function work(lists) {
  while (lists.some(({ length }) => length > 0)) await workInOneProcess(lists)
}

function workInOneProcess(lists) {
  // Threads that collect garbage beside one another cost more time of the processor than they save: every core has a worker.
  const child = spawn(
    process.execPath,
    ['--single-threaded-gc', 'scripts/testWorker.mjs', MARKER, ...(withTimes ? ['--times'] : [])],
    {
      cwd: root,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    },
  )
  let [file, since, output] = ['', 0, '']
  const next = () => {
    file = lists.find(({ length }) => length > 0)?.shift()
    if (file === undefined) return child.stdin.end()
    ;[since, output] = [performance.now(), '']
    child.stdin.write(`${path.join(folder, file)}\n`)
  }
  const hear = (chunk) => {
    output += chunk
    const end = MARKER_LINE.exec(output)
    if (end === null) return
    report(file, output.slice(0, end.index), performance.now() - since, Number(end[1]))
    next()
  }
  child.stdin.on('error', () => {})
  child.stdout.setEncoding('utf8').on('data', hear)
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    output += chunk
  })
  next()
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      if (file !== undefined) {
        counts.broken += 1
        console.log(`FAIL  ${file}: the process ended early (${signal ?? `exit ${code}`})\n${output}`)
      }
      resolve()
    })
  })
}

function report(file, output, milliseconds, cpu) {
  const count = (label) => Number(new RegExp(`^\\s*${label}:\\s*(\\d+)`, 'm').exec(output)?.[1] ?? 0)
  const [total, passed] = [count('Total'), count('Passed')]
  counts.cpu += cpu
  counts.total += total
  counts.passed += passed
  // A file that throws while it is loaded counts as a failure even when none of its tests ran.
  const failed = total === 0 || passed < total
  if (total === 0) counts.broken += 1
  console.log(
    `${failed ? 'FAIL' : 'ok  '}  ${file.replace(/\.js$/, '.ts')}  ${passed} of ${total}  ${(milliseconds / 1000).toFixed(1)} s, CPU ${cpu.toFixed(1)} s`,
  )
  const perTest = [...output.matchAll(/^time: ([0-9.]+) (.*)$/gm)].sort((a, b) => b[1] - a[1])
  for (const [, seconds, name] of perTest) if (seconds >= 0.05) console.log(`      ${seconds.padStart(6)}  ${name}`)
  if (failed) console.log(output)
  // What a machine has no program for is said, not hidden.
  else for (const [line] of output.matchAll(/^skipped: .*$/gm)) console.log(`      ${line}`)
}

const { total, passed, broken } = counts
const short = pattern === undefined && total < FLOOR
if (short) console.log(`only ${total} tests ran; at least ${FLOOR} are expected`)
const failed = total - passed + broken + (short ? 1 : 0)
console.log(
  `${files.length} files in ${((performance.now() - started) / 1000).toFixed(0)} s, CPU ${counts.cpu.toFixed(0)} s`,
)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
