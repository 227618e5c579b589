import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMANDS, loadCommand } from '../../src/commands/map.js'
import { Fault, formatDiagnostic } from '../../src/core/diagnostics.js'
import { fixture, terge, tergeProcess } from '../support/terge.js'

/** The fault's text as the user reads it. */
async function faultOf(...argv: string[]): Promise<string> {
  try {
    await (await loadCommand(argv[0]!)).run(argv.slice(1))
  } catch (error) {
    if (error instanceof Fault) {
      assert.is(error.exit, 2)
      return error.diagnostics.map(formatDiagnostic).join('\n')
    }
    throw error
  }
  throw new Error('no fault')
}

test('a run that waits forever ends with an error', async () => {
  const never =
    'import fs from "node:fs"; import { syncBuiltinESMExports } from "node:module"; fs.promises.open = () => new Promise(() => {}); syncBuiltinESMExports()'
  const options = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(never)}` }
  const { code, out, err } = await tergeProcess(['inspect', fixture('digits/mlp256-0.safetensors')], undefined, options)
  assert.equal([code, out], [1, ''])
  assert.match(err, /^error internal: the run is waiting for an event that never comes/)
})

test('with --json errors are lines of JSON, of usage too', async () => {
  for (const argv of [
    ['validate', 'nothing.yml', '--no-models', '--jso', '--json'],
    ['plan', 'nothing.yml', '--json'],
    ['plan', 'nothing.yml', '--format=json'],
    ['plan', 'nothing.yml', '--format', 'json'],
  ]) {
    const { code, out, err } = await terge(argv)
    assert.equal([code, out], [2, ''], argv.join(' '))
    const { kind, diagnostic } = JSON.parse(err)
    assert.is(kind, 'error')
    assert.match(diagnostic.code, argv.includes('--jso') ? 'unknown-flag' : 'missing-recipe')
  }
  assert.match((await terge(['plan', 'nothing.yml'])).err, /^error missing-recipe: /)
})

test('unknown commands and flags, through the real command', async () => {
  assert.equal(await terge(['rum', 'recipe.yml']), {
    code: 2,
    out: '',
    err: "error unknown-command: terge has no command 'rum'\n  hint: did you mean 'run'?\n",
  })
  assert.equal(await terge(['run', 'recipe.yml', '--outptu=x']), {
    code: 2,
    out: '',
    err: "error unknown-flag: terge run has no flag '--outptu'\n  hint: did you mean '--output'?\n",
  })
  assert.equal(await terge(['--versoin']), {
    code: 2,
    out: '',
    err: "error unknown-flag: terge has no flag '--versoin' before a command\n  hint: did you mean '--version'?\n",
  })
})

const NAMES = Object.keys(COMMANDS)

const CASES: readonly (readonly [argv: readonly string[], text: string])[] = [
  [
    ['constructor'],
    `error unknown-command: terge has no command 'constructor'\n  hint: commands: ${NAMES.slice(0, 12)
      .map((name) => `'${name}'`)
      .join(', ')}, and ${NAMES.length - 12} more`,
  ],
  [['run'], 'error missing-argument: terge run requires RECIPE\n  hint: run terge run --help'],
  [['diff'], 'error missing-argument: terge diff requires A and B\n  hint: run terge diff --help'],
  [['run', 'a', 'b'], "error unexpected-argument: unexpected argument 'b' for terge run\n  hint: run terge run --help"],
  [['merge', 'a', 'b'], 'error missing-flag: terge merge requires --output\n  hint: run terge merge --help'],
  [['run', 'a', '-x'], "error unknown-flag: terge run has no flag '-x'\n  hint: run terge run --help"],
  [['run', 'a', '--output'], 'error bad-usage: Flag --output expects a value\n  hint: run terge run --help'],
  [['run', 'a', '--threads', '0'], "error bad-flag: --threads must be an integer from 1 to 512, not '0'"],
  [['run', 'a', '--threads', '2.5'], "error bad-flag: --threads must be an integer from 1 to 512, not '2.5'"],
  [
    ['run', 'a', '--memory', '2 apples'],
    "error bad-flag: --memory must be a size, not '2 apples'\n  hint: write 500MB, 2GB or 1.5GiB",
  ],
  [
    ['plan', 'a', '--format', 'tre'],
    "error bad-flag: --format must be one of tree, json, mermaid, dot, markdown, not 'tre'\n  hint: did you mean 'tree'?",
  ],
  [
    ['plan', 'a', '--json', '--format', 'dot'],
    'error bad-flag: --json and --format dot cannot be used together\n  hint: remove one of them',
  ],
  [
    ['merge', 'a', '-o', 'b', '--weights', '1,x'],
    "error bad-flag: --weights must be numbers separated by commas, not 'x'\n  hint: write --weights 0.7,0.3",
  ],
  [
    ['merge', 'a', '-o', 'b', '--param', 't'],
    "error bad-flag: --param must be name=value, not 't'\n  hint: write --param t=0.3",
  ],
  [['methods', 'slrp'], "error unknown-method: there is no method 'slrp'\n  hint: did you mean 'slerp'?"],
  [['inspect', '/nowhere/x'], 'error missing-model: /nowhere/x: there is no such file or folder'],
]

for (const [argv, text] of CASES) {
  test(`error of terge ${argv.join(' ')}`, async () => {
    assert.is((await faultOf(...argv)).slice(0, text.length), text)
  })
}

test('FORCE_COLOR colours errors', async () => {
  const { err } = await terge(['methods', 'slrp'], undefined, { NO_COLOR: '', FORCE_COLOR: '1' })
  assert.match(
    err,
    "\u001b[1;31merror unknown-method\u001b[0m: there is no method 'slrp'\n  \u001b[1;36mhint\u001b[0m: ",
  )
})

test('control characters in a name do not reach the terminal', async () => {
  const { err } = await terge(['\u001b[2Jrun'])
  assert.not.match(err, '\u001b')
})

test.run()
