// Runs the test files that its parent names on standard input, one after another, with uvu.
// After each file it prints a line with the marker that it was started with, so that the parent can tell the files' output apart,
// and how many seconds of CPU time the file took. With `--times` after the marker it also prints them for loading the file and
// for each test.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { kept } from '../dist/src/execute/pools/keptWorkers.js'

const [, , marker, times] = process.argv

/** Of this process and of those that it started and that have ended; Linux counts both in hundredths. */
function cpuSeconds() {
  const { user, system } = process.cpuUsage()
  if (process.platform !== 'linux') return (user + system) / 1e6
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  const [childrenUser, childrenSystem] = fields.slice(13, 15).map(Number)
  return (user + system) / 1e6 + (childrenUser + childrenSystem) / 100
}

const LOADING = 'load the file'
/** What takes CPU time now, and since when: uvu says before each test which one it is, on the state of the suite. */
let current = { name: '', since: 0 }
function enter(name) {
  // A suite that is made while its file is loaded.
  if (name === '' && current.name === LOADING) return
  const now = cpuSeconds()
  if (current.name !== '') console.log(`\ntime: ${(now - current.since).toFixed(2)} ${current.name}`)
  current = { name, since: now }
}
if (times === '--times')
  Object.defineProperty(Object.prototype, '__test__', { get: () => current.name, set: enter, configurable: true })

// Most tests do small runs, to which starting workers is most of the work.
kept.most = 3
// Tells uvu that somebody else decides when suites run; it would start each one as soon as its file is loaded.
globalThis.UVU_DEFER = 1
globalThis.UVU_INDEX = 0
const { exec } = await import('uvu')

for await (const file of createInterface({ input: process.stdin })) {
  globalThis.UVU_QUEUE.length = 0
  globalThis.UVU_QUEUE.push([null])
  const before = cpuSeconds()
  current = { name: LOADING, since: before }
  try {
    await import(pathToFileURL(file).href)
    await exec()
  } catch (error) {
    console.error(error)
    console.log('\n  Total:     1\n  Passed:    0')
  }
  process.stdout.write(`\n${marker} ${(cpuSeconds() - before).toFixed(1)}\n`)
}
process.exitCode = 0
