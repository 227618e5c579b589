/** Completions in real shells. A shell that is not installed is skipped, except bash. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMANDS } from '../../src/commands/map.js'
import { METHOD_NAMES } from '../../src/methods/registry.js'
import { inFolder } from '../support/files.js'
import { plainEnv, terge } from '../support/terge.js'

const IDS = Object.keys(COMMANDS)
const TOP = ['help', 'version', '--help', '--version']
const DELLA = METHOD_NAMES.filter((name) => name.startsWith('della'))

const has = (shell: string): boolean => spawnSync(shell, ['--version']).error === undefined

/** What a shell prints that has the completions as the file `script`. */
function printed(shell: string, folder: string, code: string): string[] {
  const { status, stdout, stderr } = spawnSync(shell, ['-c', code], { cwd: folder, env: plainEnv, encoding: 'utf8' })
  assert.equal([status, stderr], [0, ''], code)
  return stdout.split('\n').filter((line) => line !== '')
}

const withScript = (shell: string, work: (folder: string) => void) =>
  inFolder(async (folder) => {
    const { code, out, err } = await terge(['completions', shell])
    assert.equal([code, err], [0, ''])
    writeFileSync(path.join(folder, 'script'), out)
    work(folder)
  })

test('bash: commands, flags, values and names of methods', () =>
  withScript('bash', (folder) => {
    const after = (...words: string[]): string[] => {
      const line = words.map((word) => `'${word}'`).join(' ')
      const code = `source ./script; COMP_WORDS=(terge ${line}); COMP_CWORD=${words.length}; _terge 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`
      return printed('bash', folder, code)
    }
    assert.equal(after(''), [...IDS, ...TOP])
    assert.equal(after('pl'), ['plan'])
    assert.equal(after('run', '--for'), ['--force', '--format'])
    assert.equal(after('plan', '--format', ''), ['tree', 'json', 'mermaid', 'dot', 'markdown'])
    assert.equal(after('plan', '--format', '=', 'd'), ['dot'])
    assert.equal(after('plan', '--format', '='), ['tree', 'json', 'mermaid', 'dot', 'markdown'])
    assert.equal(after('merge', '--method', 'della').sort(), [...DELLA].sort())
    assert.equal(after('methods', 'della').sort(), [...DELLA].sort())
    assert.equal(after('help', 'me'), ['merge', 'methods'])
    assert.equal(after('completions', ''), ['bash', 'zsh', 'fish'])
    // Files come from bash itself, and where a number is written there are none.
    for (const words of [
      ['run', 'r'],
      ['run', '--output', 'o'],
      ['run', '--threads', ''],
    ])
      assert.equal(after(...words), [])
    const registered = printed('bash', folder, 'source ./script; complete -p terge')
    assert.equal(registered, ['complete -o default -F _terge terge'])
  }))

if (has('zsh'))
  test('zsh: the function is registered, and describes commands, flags and values', () =>
    withScript('zsh', (folder) => {
      assert.equal(
        printed('zsh', folder, 'autoload -Uz compinit; compinit -u -D; source ./script; print $_comps[terge]'),
        ['_terge'],
      )
      const stubs =
        'compdef() {}; _describe() { print -rl -- $commands }; _arguments() { if [[ $1 == -C ]] { state=$wanted } else { print -rl -- "$@" } };'
      const shown = (wanted: string, words: string) =>
        printed('zsh', folder, `${stubs} source ./script; wanted=${wanted} words=(${words}); _terge`)
      assert.equal(
        shown('command', '').map((line) => line.replace(/:.*/, '')),
        [...IDS, ...TOP],
      )
      const merge = shown('arguments', 'merge')
      assert.ok(merge.includes(`--method=[merge method; terge methods lists them]:METHOD:(${METHOD_NAMES.join(' ')})`))
      assert.ok(merge.includes('(--output -o)--output=[where to write]:PATH:_files'))
      assert.ok(merge.includes('(--output -o)-o[where to write]:PATH:_files'))
      assert.ok(merge.includes('*--include=[merge only tensors that match]:PATTERN: '))
      assert.ok(merge.includes('*:argument:_files'))
      assert.ok(
        shown('arguments', 'plan').includes(
          '--format=[output format (default\\: tree)]:FORMAT:(tree json mermaid dot markdown)',
        ),
      )
      assert.is(shown('arguments', 'methods').at(-1), `1:argument:(${METHOD_NAMES.join(' ')})`)
    }))

if (has('fish'))
  test('fish: commands, flags, values, names of methods and files', () =>
    withScript('fish', (folder) => {
      writeFileSync(path.join(folder, 'recipe.yml'), '')
      const after = (line: string): string[] =>
        printed('fish', folder, `source ./script; complete -C 'terge ${line}'`).map((found) =>
          found.replace(/\t.*/, ''),
        )
      assert.equal(after('').sort(), [...IDS, 'help', 'version'].sort())
      assert.equal(after('run --for').sort(), ['--force', '--format'])
      assert.equal(after('plan --format ').sort(), ['dot', 'json', 'markdown', 'mermaid', 'tree'])
      assert.equal(after('merge --method della').sort(), [...DELLA].sort())
      assert.equal(after('methods della').sort(), [...DELLA].sort())
      assert.equal(after('help me').sort(), ['merge', 'methods'])
      assert.equal(after('run rec'), ['recipe.yml'])
      assert.equal(after('run --output rec'), ['recipe.yml'])
      assert.equal(after('run --threads rec'), [])
      assert.equal(after('completions ').sort(), ['bash', 'fish', 'zsh'])
    }))

test('every flag and argument is completed by its own kind of value', async () => {
  const { out } = await terge(['completions', 'zsh'])
  for (const [id, load] of Object.entries(COMMANDS)) {
    const { flags } = await load()
    for (const name of Object.keys(flags)) assert.match(out, new RegExp(`--${name}[=[]`), `${id} --${name}`)
  }
  const bad = await terge(['completions', 'tcsh'])
  assert.equal([bad.code, bad.out], [2, ''])
  assert.match(bad.err, "error bad-usage: SHELL must be one of bash, zsh, fish, not 'tcsh'\n")
})

test.run()
