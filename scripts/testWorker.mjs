// Runs the test files that its parent names on standard input, one after another, with uvu.
// After each file it prints a line with the marker that it was started with, so that the parent can tell the files' output apart.
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const marker = process.argv[2]
// Tells uvu that somebody else decides when suites run; it would start each one as soon as its file is loaded.
globalThis.UVU_DEFER = 1
globalThis.UVU_INDEX = 0
const { exec } = await import('uvu')

for await (const file of createInterface({ input: process.stdin })) {
  globalThis.UVU_QUEUE.length = 0
  globalThis.UVU_QUEUE.push([null])
  try {
    await import(pathToFileURL(file).href)
    await exec()
  } catch (error) {
    console.error(error)
    console.log('\n  Total:     1\n  Passed:    0')
  }
  process.stdout.write(`\n${marker}\n`)
}
process.exitCode = 0
