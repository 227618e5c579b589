import { readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import all from '../../src/commands/all.js'
import { COMMANDS } from '../../src/commands/map.js'
import { BIN, terge } from '../support/terge.js'

/** The contract's table, of this version. */
const FLAGS: Readonly<Record<string, readonly string[]>> = {
  run: [
    'output',
    'set',
    'threads',
    'memory',
    'dry-run',
    'resume',
    'force',
    'no-sync',
    'no-digests',
    'sha256',
    'locked',
    'json',
    'strict',
  ],
  merge: [
    'output',
    'method',
    'weights',
    'base',
    'include',
    'exclude',
    'param',
    'save-recipe',
    'no-digests',
    'sha256',
    'json',
  ],
  validate: ['no-models', 'format', 'json', 'strict'],
  plan: ['format', 'json', 'strict', 'against', 'licenses', 'disk'],
  convert: ['output', 'layout', 'from', 'drop', 'config', 'dry-run', 'resume', 'force', 'sha256', 'json'],
  inspect: ['filter', 'layout', 'layouts', 'json'],
  diff: ['filter', 'all', 'exit-code', 'json'],
  lock: ['set', 'threads', 'json', 'format'],
  search: ['output', 'set', 'threads', 'memory', 'resume', 'force', 'allow-commands', 'work', 'no-sync', 'json'],
  verify: ['reproduce', 'key', 'ignore', 'json'],
  sign: ['key', 'ignore', 'attest', 'force', 'json'],
  report: ['output', 'force', 'format', 'spec-version', 'timestamp', 'json'],
  trace: ['json'],
  submit: ['engine', 'parts', 'submit', 'script', 'option', 'output', 'set', 'work', 'threads', 'memory', 'force'],
  import: ['output', 'force', 'strict'],
  methods: ['json'],
  init: ['output', 'force'],
  completions: [],
}

test('exactly the documented commands exist', () => {
  assert.equal(Object.keys(COMMANDS).sort(), Object.keys(FLAGS).sort())
  assert.equal(Object.keys(all).sort(), Object.keys(FLAGS).sort())
  for (const [id, flags] of Object.entries(FLAGS)) {
    const command = all[id]!
    assert.is(command.id, id)
    for (const flag of flags) assert.ok(flag in command.flags, `${id} --${flag}`)
    for (const [name, arg] of Object.entries(command.args))
      assert.ok(arg.ignoreStdin, `${id} ${name}: oclif would wait for standard input`)
  }
})

test('every help shows description and examples', async () => {
  const ids = Object.keys(FLAGS)
  const ran = await Promise.all(ids.map((id) => terge([id, '--help'])))
  for (const [i, id] of ids.entries()) {
    const { code, out, err } = ran[i]!
    assert.is(code, 0, id)
    assert.is(err, '')
    assert.match(out, `$ terge ${id}`)
    assert.match(out, all[id]!.summary)
    assert.match(out, /\nDESCRIPTION\n/)
    assert.match(out, /\nEXAMPLES\n[\s\S]*\$ terge/)
    assert.not.match(out, '<%=')
    assert.ok(
      out.split('\n').every((line) => line.length <= 80),
      `${id}: lines of 80 columns`,
    )
  }
})

test('every form of help lists the commands', async () => {
  const [{ code, out }, long, other] = await Promise.all([
    terge([]),
    terge(['--help'], os.homedir()),
    terge(['help', 'run']),
  ])
  assert.is(code, 0)
  for (const id of Object.keys(FLAGS)) assert.match(out, new RegExp(`^  ${id} +\\S`, 'm'))
  const order = ['init', 'validate', 'plan', 'run', 'search', 'verify', 'sign', 'report']
  const listed = [...out.split('\nCOMMANDS\n')[1]!.matchAll(/^ {2}([a-z]+) /gm)].map(([, id]) => id)
  assert.equal(listed.slice(0, order.length), order)
  assert.equal([...listed].sort(), Object.keys(FLAGS).sort())
  assert.match(out, 'Documentation: https://github.com/terge/terge/tree/main/docs\n')
  assert.is(long.out, out)
  assert.match(other.out, '$ terge run RECIPE')
  // Commands without the program's name at their start too.
  assert.match((await terge(['completions', '--help'])).out, '\n\n    $ eval "$(terge completions bash)"\n')
})

test('--version, -v and version print the package’s version', async () => {
  const manifest = JSON.parse(readFileSync(path.join(path.dirname(BIN), '../package.json'), 'utf8'))
  for (const word of ['--version', '-v', 'version'])
    assert.equal(await terge([word]), { code: 0, out: `terge ${manifest.version}\n`, err: '' })
})

test.run()
