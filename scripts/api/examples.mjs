// The examples of the pages of the library: their text, and what they print in a copy of the quickstart.
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { FOLDER, inCopy } from '../readme/quickstart.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const examples = path.join(root, 'scripts/api/examples')

let shown
/** By function. */
export const shownExamples = () => {
  shown ??= inCopy(({ folder, node }) => {
    const names = readdirSync(examples).sort()
    const quickstart = path.join(folder, FOLDER)
    cpSync(examples, quickstart, { recursive: true })
    // The package by its name, as a program imports it.
    mkdirSync(path.join(folder, 'node_modules'))
    symlinkSync(root, path.join(folder, 'node_modules/terge'))
    const { status, stdout, stderr } = node(path.join(root, 'scripts/api/run.mjs'), quickstart, ...names)
    if (status !== 0) throw new Error(`an example of the library fails:\n${stderr}`)
    const printed = JSON.parse(stdout)
    return new Map(
      names.map((name) => {
        const text = readFileSync(path.join(examples, name), 'utf8').trimEnd()
        return [path.basename(name, '.mjs'), { text, printed: printed[path.basename(name, '.mjs')] }]
      }),
    )
  })
  return shown
}
