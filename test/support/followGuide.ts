/**
 * Follows pages like docs/adding-a-method.md to the letter in a copy of the source, so that tests can use what they made.
 *
 * A page is prose with blocks of code. The paragraph before a block names the block's file as `a/path.ts`:
 *
 *     a block in any language           is the whole text of a new file
 *     a `diff` block                    changes a file that is there; a line `@@` starts another place of the same file
 *     a `sh` block                      is run in the copy, as written, after the changes; building is its own affair
 *     `text` and `console` blocks       are only shown
 *
 * The lines of a place that are unchanged or removed must stand in the file exactly once, together. So a page breaks its test
 * when the code that it quotes has moved on.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))

export type GuideAction =
  | { readonly kind: 'create'; readonly file: string; readonly text: string }
  | { readonly kind: 'change'; readonly file: string; readonly places: readonly Place[] }
  | { readonly kind: 'run'; readonly script: string }

interface Place {
  readonly before: string
  readonly after: string
}

/** What a page asks for, in its order. */
export function readGuide(text: string): GuideAction[] {
  const actions: GuideAction[] = []
  const block = /^( *)```(\w*)[^\n]*\n([\s\S]*?)^\1```$/gm
  let end = 0
  for (const found of text.matchAll(block)) {
    const [all, indent, language, body] = found as unknown as [string, string, string, string]
    const code = body.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
    const paragraph =
      text
        .slice(end, found.index)
        .trimEnd()
        .split(/\n\s*\n/)
        .at(-1) ?? ''
    end = found.index + all.length
    if (language === 'text' || language === 'console') continue
    if (language === 'sh') {
      actions.push({ kind: 'run', script: code })
      continue
    }
    const file = [...paragraph.matchAll(/`([\w./-]+\.\w+)`/g)].at(-1)?.[1]
    if (file === undefined) throw new Error(`the paragraph before this block names no file:\n${code}`)
    if (language === 'diff') actions.push({ kind: 'change', file, places: placesOf(code) })
    else actions.push({ kind: 'create', file, text: code })
  }
  return actions
}

function placesOf(diff: string): Place[] {
  const places = diff
    .trimEnd()
    .split(/^@@.*\n/m)
    .filter((place) => place !== '')
  const side = (place: string, marks: string): string =>
    place
      .replace(/\n$/, '')
      .split('\n')
      .filter((line) => line === '' || marks.includes(line[0]!))
      .map((line) => `${line.slice(1)}\n`)
      .join('')
  return places.map((place) => ({ before: side(place, ' -'), after: side(place, ' +') }))
}

/** The text of a file with its places changed. */
export function changeText(text: string, places: readonly Place[]): string {
  let changed = text
  for (const { before, after } of places) {
    const starts = [...`\n${changed}`.matchAll(/\n/g)]
      .map(({ index }) => index)
      .filter((start) => changed.startsWith(before, start))
    if (before === '' || starts.length !== 1)
      throw new Error(`these lines stand in the file ${starts.length} times:\n${before}`)
    const [start] = starts as [number]
    changed = changed.slice(0, start) + after + changed.slice(start + before.length)
  }
  return changed
}

export interface Followed {
  /** A copy of the project, built: `bin/run.js` in it is the program with the pages' changes. */
  readonly folder: string
  readonly created: ReadonlyMap<string, readonly string[]>
  readonly changed: ReadonlyMap<string, readonly string[]>
  /** Runs the copy's command; what it printed. A failure throws. */
  readonly terge: (args: readonly string[], cwd: string) => string
  readonly remove: () => void
}

/**
 * Does what these pages say in one copy: first their changes, page by page, and then their scripts, so that the copy is compiled
 * once. Builds it where no page does.
 */
export function followGuides(pages: readonly string[]): Followed {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-guides-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  try {
    copyProject(folder)
    const actions = pages.flatMap((page) =>
      readGuide(readFileSync(path.join(root, page), 'utf8')).map((action) => ({ page, action })),
    )
    const files = (kind: GuideAction['kind']) =>
      new Map(
        pages.map((page) => [
          page,
          actions.flatMap((one) =>
            one.page === page && one.action.kind === kind && 'file' in one.action ? [one.action.file] : [],
          ),
        ]),
      )
    for (const { page, action } of actions) if (action.kind !== 'run') edit(folder, page, action)
    const scripts = actions.flatMap(({ action }) => (action.kind === 'run' ? [action.script] : []))
    for (const script of scripts) run(folder, 'sh', ['-ec', script])
    if (scripts.length === 0) run(folder, process.execPath, ['scripts/build.mjs'])
    const terge: Followed['terge'] = (args, cwd) =>
      run(cwd, process.execPath, [path.join(folder, 'bin/run.js'), ...args])
    return { folder, created: files('create'), changed: files('change'), terge, remove }
  } catch (error) {
    remove()
    throw error
  }
}

function run(cwd: string, program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 26 })
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')}: ${error ?? status}\n${stdout}${stderr}`)
  return stdout
}

function edit(folder: string, page: string, action: Exclude<GuideAction, { kind: 'run' }>): void {
  const file = path.join(folder, action.file)
  if (action.kind === 'create' && existsSync(file)) throw new Error(`${page} creates ${action.file}, which is there`)
  if (action.kind === 'change' && !existsSync(file)) throw new Error(`${page} changes ${action.file}: no such file`)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, action.kind === 'create' ? action.text : changeText(readFileSync(file, 'utf8'), action.places))
}

/**
 * All that building and testing needs. Packages and fixtures are links. What was built is copied as well, so that only what a page changes
 * is compiled again.
 */
function copyProject(folder: string): void {
  const linked = path.join(root, 'test/fixtures')
  for (const name of [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.test.json',
    'biome.json',
    'README.md',
  ])
    cpSync(path.join(root, name), path.join(folder, name))
  // What was built comes last, so that it is not older than its sources.
  for (const name of ['src', 'test', 'scripts', 'bin', 'docs', 'schemas', 'recipes', 'bench', 'dist'])
    cpSync(path.join(root, name), path.join(folder, name), {
      recursive: true,
      filter: (file) => file !== linked,
    })
  symlinkSync(linked, path.join(folder, 'test/fixtures'))
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'))
}
