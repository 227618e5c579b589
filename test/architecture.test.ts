/** The house keeps its own rules: imports go down the rooms of docs/architecture.md, and each outside door has its keepers. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ERROR_CODES } from '../src/core/codes.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (name: string): string => readFileSync(path.join(root, name), 'utf8')
const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => `src/${name.split(path.sep).join('/')}`)
  .sort()
// Kernels' assembly is another language, with a module system of its own.
const typescript = sources.filter((name) => !name.startsWith('src/kernels/assembly/'))

/** The first column of the table in docs/architecture.md, top to bottom. */
const rooms = [...read('docs/architecture.md').matchAll(/^\| `([\w.]+)\/?` \|/gm)].map(([, room]) => room!)
const roomOf = (file: string): string => file.split('/')[1]!

interface Import {
  readonly from: string
  /** As written: a package, or a path. */
  readonly to: string
  /** Erased by the compiler. */
  readonly type: boolean
  /** At load time, not inside of a function. */
  readonly eager: boolean
}

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')

function importsOf(file: string): Import[] {
  const text = withoutComments(read(file))
  const statement = /^(?:import|export)\s+(type\s+)?(?:[\w$*{}\s,]+?\s+from\s+)?'([^']+)'/gm
  const call = /(\btypeof\s+)?(?:\bimport|\brequire|\bcreateRequire\(import\.meta\.url\))\(\s*'([^']+)'\s*\)/g
  const found = (pattern: RegExp, eager: boolean): Import[] =>
    [...text.matchAll(pattern)].map(([, type, to]) => ({ from: file, to: to!, type: type !== undefined, eager }))
  return [...found(statement, true), ...found(call, false)]
}

const all = typescript.flatMap(importsOf)
const ours = all
  .filter(({ to }) => to.startsWith('.'))
  .map((found) => ({
    ...found,
    to: path.posix.join(path.posix.dirname(found.from), found.to).replace(/\.js$/, '.ts'),
  }))
const theirs = all.filter(({ to }) => !to.startsWith('.'))

test('the parser of this test finds imports', () => {
  assert.ok(rooms.length >= 12, `rooms: ${rooms}`)
  assert.ok(ours.length > typescript.length, `${ours.length} imports in ${typescript.length} files`)
  assert.ok(theirs.some(({ to, from }) => to === '@koromix/koffi-linux-x64' && from === 'src/core/system/cLibrary.ts'))
  assert.ok(ours.some(({ to, eager }) => to === 'src/commands/run.ts' && !eager))
})

test('every source file lies in a room', () => {
  assert.equal(
    typescript.filter((file) => !rooms.includes(roomOf(file))),
    [],
  )
})

test('imports go down the list of rooms, never up', () => {
  const up = ours.filter(({ from, to }) => rooms.indexOf(roomOf(to)) < rooms.indexOf(roomOf(from)))
  assert.equal(
    up.map(({ from, to }) => `${from} imports ${to}`),
    [],
  )
})

test('imports form no cycle, those of types and inside functions included', () => {
  const next = new Map<string, string[]>()
  for (const { from, to } of ours) next.set(from, [...(next.get(from) ?? []), to])
  const done = new Set<string>()
  const visit = (file: string, way: readonly string[]): void => {
    assert.not.ok(way.includes(file), `a cycle: ${[...way.slice(way.indexOf(file)), file].join(' → ')}`)
    if (done.has(file)) return
    for (const to of next.get(file) ?? []) visit(to, [...way, file])
    done.add(file)
  }
  for (const file of next.keys()) visit(file, [])
})

test('commands and ui import the public API and core, nothing else of the program', () => {
  const allowed = (to: string): boolean =>
    ['src/index.ts'].includes(to) || ['src/core/', 'src/ui/', 'src/commands/'].some((room) => to.startsWith(room))
  const around = ours.filter(({ from, to }) => ['commands', 'ui'].includes(roomOf(from)) && !allowed(to))
  assert.equal(
    around.map(({ from, to }) => `${from} imports ${to}`),
    [],
  )
})

/** Who may import what comes from outside: folders end in a slash. What is not here may be imported by nobody. */
const ANYONE = ['src/']
const KEEPERS: Readonly<Record<string, readonly string[]>> = {
  yaml: ['src/language/source.ts', 'src/language/convert.ts'],
  '@oclif/core': ['src/commands/'],
  listr2: ['src/ui/progress/picture.ts'],
  ...Object.fromEntries(
    ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64'].map((platform) => [
      `@koromix/koffi-${platform}`,
      ['src/core/system/cLibrary.ts'],
    ]),
  ),
  '@huggingface/hub': ['src/storage/hub/'],
  aws4fetch: ['src/storage/s3/request.ts'],
  re2js: ['src/core/patterns.ts', 'src/core/rename.ts'],
  'fastest-levenshtein': ['src/core/suggest.ts'],
  // Loaded only where texts are cut.
  '@huggingface/tokenizers': ['src/tokenizers/encode.ts'],
  'node:fs': [
    'src/storage/',
    'src/checkpoints/',
    // The recipe's text, and the ONNX exports it names; the journal and outputs of a run; lineages and what verify reads; files that a command was told to write.
    'src/recipe/load.ts',
    'src/steps/rebasin/spec/onnx.ts',
    'src/execute/files.ts',
    // Whole files that are hashed.
    'src/execute/hashing/',
    'src/execute/journal.ts',
    'src/execute/run.ts',
    'src/lineage/disk.ts',
    // The files of a model that is signed.
    'src/signing/files.ts',
    'src/signing/check.ts',
    'src/session/',
    'src/commands/support/files.ts',
    'src/commands/submit.ts',
    // The templates of cluster jobs.
    'src/commands/cluster/fill.ts',
    // Changes that Windows makes differently.
    'src/core/system/disk.ts',
    // When a process started.
    'src/core/system/processStart.ts',
    // What the system says of this process's limits.
    'src/core/resources.ts',
    // The program's own files: its kernels and its version.
    'src/kernels/index.ts',
    'src/kernels/linalg.ts',
    'src/kernels/dense/team.ts',
    'src/core/version.ts',
  ],
  // Ending the processes of a recipe's commands, and when a process started: programs of the system.
  'node:child_process': [
    'src/execute/commands/endTree.ts',
    'src/core/system/processStart.ts',
    // git, for the files of a revision.
    'src/storage/git/command.ts',
    // The program of a cluster that takes jobs.
    'src/commands/cluster/handOver.ts',
  ],
  // A recipe's evaluate commands, which the user has allowed.
  'cross-spawn': ['src/execute/commands/group.ts'],
  // Ends untrusted patterns in time.
  'node:vm': ['src/tokenizers/encode.ts'],
  'node:worker_threads': ['src/execute/', 'src/rebasin/'],
  'node:buffer': ANYONE,
  'node:crypto': ANYONE,
  'node:module': ANYONE,
  'node:os': ANYONE,
  'node:path': ANYONE,
  'node:url': ANYONE,
  'node:util': ANYONE,
  // How much memory a plan may take.
  'node:v8': ['src/commands/main.ts', 'src/session/checks/heap.ts'],
}

test('each package and each part of Node has its keepers', () => {
  const packageOf = (to: string): string =>
    to.startsWith('node:')
      ? to.split('/')[0]!
      : to
          .split('/')
          .slice(0, to.startsWith('@') ? 2 : 1)
          .join('/')
  const strangers = theirs.filter(({ from, to }) => {
    const keepers = KEEPERS[packageOf(to)] ?? []
    return !keepers.some((keeper) => (keeper.endsWith('/') ? from.startsWith(keeper) : from === keeper))
  })
  assert.equal(
    strangers.map(({ from, to }) => `${from} imports ${to}`),
    [],
  )
})

test('what Windows does differently is done in one place: names change and files are fsynced only through core/system/disk.ts', () => {
  const direct = typescript.filter(
    (file) =>
      file !== 'src/core/system/disk.ts' &&
      /^import \{[^}]*\b(rename|renameSync|fsync|fsyncSync)\b[^}]*\} from 'node:fs|\.(sync|datasync)\(\)/m.test(
        read(file),
      ),
  )
  assert.equal(direct, [])
})

/** What is run, or imported by others. */
const ENTRIES = ['src/index.ts', 'src/commands/main.ts']

/** Names by the file that they are imported from, in some files' texts; dynamic imports take a whole file. */
function importedNames(files: readonly string[]): { names: Set<string>; whole: Set<string> } {
  const names = new Set<string>()
  const whole = new Set<string>()
  const resolved = (from: string, to: string) => path.posix.join(path.posix.dirname(from), to).replace(/\.js$/, '.ts')
  for (const file of files) {
    const text = read(file)
    const listed = /^(?:import|export)\s+(?:type\s+)?(?:\w+,\s*)?\{([^}]*)\}\s+from\s+'(\.[^']+)'/gm
    for (const [, list, to] of text.matchAll(listed))
      for (const one of list!.split(',')) {
        const [name] = one
          .trim()
          .replace(/^type /, '')
          .split(/\s+as\s/)
        names.add(`${resolved(file, to!)} ${name}`)
      }
    const all = /(?:\bimport\(\s*|^(?:import|export)\s+\*[^']*from\s+)'(\.[^']+)'/gm
    for (const [, to] of text.matchAll(all)) whole.add(resolved(file, to!))
  }
  return { names, whole }
}

test('each value that a source file exports is used by the program; what only tests use lies in test/', () => {
  const { names, whole } = importedNames(typescript)
  const declared = /^export\s+(?:declare\s+|async\s+|abstract\s+)*(?:const|let|function\*?|class)\s+(\w+)/gm
  // A file may export a part of what it does for its tests, but the part must be its own as well.
  const isUsedInside = (text: string, name: string): boolean =>
    withoutComments(text).match(new RegExp(`\\b${name}\\b`, 'g'))!.length > 1
  const exported = typescript
    .filter((file) => !ENTRIES.includes(file) && !file.endsWith('.d.ts') && !whole.has(file))
    .flatMap((file) => {
      const text = read(file)
      return [...text.matchAll(declared)].map(([, name]) => ({ file, name: name!, inside: isUsedInside(text, name!) }))
    })
  assert.ok(exported.length > 500, `${exported.length} exports`)
  assert.equal(
    exported.filter(({ file, name, inside }) => !inside && !names.has(`${file} ${name}`)),
    [],
  )
})

test('each part that a source file exports for a test alone is imported by one', () => {
  const tests = readdirSync(path.join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `test/${name.split(path.sep).join('/')}`)
  const scripts = readdirSync(path.join(root, 'scripts'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.mjs'))
    .map((name) => read(`scripts/${name}`))
    .join('\n')
  const { names, whole } = importedNames([...typescript, ...tests])
  const declared = /^export\s+(?:declare\s+|async\s+|abstract\s+)*(?:const|let|function\*?|class)\s+(\w+)/gm
  const unused = typescript
    .filter((file) => !ENTRIES.includes(file) && !file.endsWith('.d.ts') && !whole.has(file))
    .flatMap((file) => [...read(file).matchAll(declared)].map(([, name]) => [file, name!] as const))
    .filter(([file, name]) => !names.has(`${file} ${name}`) && !scripts.includes(name))
  assert.equal(unused, [])
})

test('no source file is longer than 400 lines, and most are far shorter', () => {
  const lengths = sources.map((file) => [file, read(file).split('\n').length] as const)
  assert.equal(
    lengths.filter(([, lines]) => lines > 400),
    [],
  )
  const sorted = lengths.map(([, lines]) => lines).sort((a, b) => a - b)
  assert.ok(sorted[sorted.length >> 1]! <= 150, `median ${sorted[sorted.length >> 1]}`)
})

/** Each function's name, first line and length: from the line that opens its body to the bracket that closes it, as the formatter sets them. */
function functionsOf(text: string): { readonly name: string; readonly lines: number }[] {
  const lines = text.split('\n')
  const opens =
    /(\bfunction\b.*|=>|^\s*(?:(?:async|static|private|get|set) )*[\w*]+\(.*\)(?:: .+)?|^\s*\)(?:: .+)?(?: =>)?) \{$/
  const control = /^\s*(?:\} )?(?:if|for|while|switch|catch|else|do)\b/
  return lines.flatMap((line, end) => {
    if (!opens.test(line) || control.test(line)) return []
    const indent = /^\s*/.exec(line)![0]
    let start = end
    // A long signature stands on several lines, its end at the same indent as its beginning.
    if (/^\s*\)/.test(line))
      do start--
      while (start > 0 && !(lines[start]!.startsWith(indent) && /^\S/.test(lines[start]!.slice(indent.length))))
    const length = lines.slice(end + 1).findIndex((other) => other.startsWith(`${indent}}`)) + 2
    return [{ name: lines[start]!.trim(), lines: length + end - start }]
  })
}

const LONGEST = 80

test(`no function is longer than ${LONGEST} lines`, () => {
  const all = sources.flatMap((file) => functionsOf(read(file)).map((found) => ({ file, ...found })))
  assert.ok(all.length > 2000, `${all.length} functions`)
  assert.equal(
    all.filter(({ lines }) => lines > LONGEST),
    [],
  )
})

const MOST_FILES = 16

test(`no folder has more than ${MOST_FILES} files`, () => {
  const counts = new Map<string, number>()
  for (const file of sources) counts.set(path.posix.dirname(file), (counts.get(path.posix.dirname(file)) ?? 0) + 1)
  assert.equal(
    [...counts].filter(([, count]) => count > MOST_FILES),
    [],
  )
})

test('each error code is used, and stands in the order of the alphabet', () => {
  const text = typescript
    .filter((file) => file !== 'src/core/codes.ts')
    .map(read)
    .join('\n')
  assert.equal([...ERROR_CODES], [...ERROR_CODES].sort())
  assert.equal(
    // Some are made of the kind of a file and what is wrong with it.
    ERROR_CODES.filter((code) => !text.includes(`'${code}'`) && !text.includes(`\`\${kind}-${code.split('-')[1]}\``)),
    [],
  )
})

test.run()
