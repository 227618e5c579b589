/** The package as it is published. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../../', import.meta.url))

/** Runs npm, by its own file where npm runs the tests: on Windows, `npm` itself is a script for a shell. */
export function npm(...words: readonly string[]): string {
  const file = process.env.npm_execpath
  const [program, first]: [string, string[]] = file === undefined ? ['npm', []] : [process.execPath, [file]]
  return execFileSync(program, [...first, ...words], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
}

let names: readonly string[] | undefined
let packed: string | undefined

interface Told {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

/** Has npm pack, and notes the names of all files. */
function npmPack(...words: readonly string[]): Told {
  const told = JSON.parse(npm('pack', '--json', '--ignore-scripts', ...words))
  const [one] = (Array.isArray(told) ? told : Object.values(told)) as [Told]
  names = one.files.map((file) => file.path)
  return one
}

/** The names of all files in the package, with `/`. */
export function packedNames(): readonly string[] {
  if (!names) npmPack('--dry-run')
  return names!
}

/** Packs the package, once, into a folder that ends with the process. */
function packOnce(): string {
  if (packed) return packed
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-packed-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  packed = path.join(folder, npmPack('--pack-destination', folder).filename)
  return packed
}

/** Puts the packed package into a folder, and returns the file. */
export function pack(folder: string): string {
  const file = path.join(folder, path.basename(packOnce()))
  cpSync(packOnce(), file)
  return file
}
