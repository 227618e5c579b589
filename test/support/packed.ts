/** The package as it is published. */
import { execFileSync } from 'node:child_process'
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

/** The names of all files in the package, with `/`. */
export function packedNames(): string[] {
  const told = JSON.parse(npm('pack', '--dry-run', '--json', '--ignore-scripts'))
  const [{ files }] = Array.isArray(told) ? told : Object.values(told)
  return files.map((file: { path: string }) => file.path)
}

/** Packs the package into a folder, and returns the file. */
export function pack(folder: string): string {
  const told = JSON.parse(npm('pack', '--json', '--ignore-scripts', '--pack-destination', folder))
  const [{ filename }] = Array.isArray(told) ? told : Object.values(told)
  return path.join(folder, filename)
}
