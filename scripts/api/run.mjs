// Runs the examples in a folder, one after another: run.mjs FOLDER FILE…. Prints what each of them prints as JSON.
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { formatWithOptions } from 'node:util'

const [folder, ...files] = process.argv.slice(2)
process.chdir(folder)
const printed = {}
for (const file of files) {
  const lines = []
  console.log = (...values) => lines.push(formatWithOptions({ breakLength: 100 }, ...values))
  await import(pathToFileURL(path.join(folder, file)).href)
  printed[path.basename(file, '.mjs')] = lines.join('\n')
}
process.stdout.write(JSON.stringify(printed))
