import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Diagnostic } from '../../src/core/diagnostics.js'
import { diffText } from '../../src/ui/diff.js'
import { diagnosticText, githubAnnotation, showsColours, verdict } from '../../src/ui/problems.js'
import { shownPath } from '../../src/ui/result.js'

const problem: Diagnostic = {
  severity: 'error',
  code: 'unknown-key',
  message: 'no, 100 %: that\nis unknown',
  hint: 'see: a,b',
}

test('a problem for GitHub can’t forge a command or a property', () => {
  const place = { file: 'a,b:c%\u001b.yml', line: 3, column: 5, length: 4, text: '' }
  assert.is(
    githubAnnotation({ ...problem, place }, 'x'),
    '::error file=a%2Cb%3Ac%25\ufffd.yml,line=3,endLine=3,col=5,endColumn=9,title=terge unknown-key::' +
      'no, 100 %25: that%0Ais unknown%0Ahint: see: a,b',
  )
  assert.is(
    githubAnnotation({ severity: 'warning', code: 'unused-model', message: 'm\r' }, 'r.yml'),
    '::warning file=r.yml,title=terge unused-model::m%0D',
  )
})

test('severity, code, caret and hint are coloured', () => {
  const place = { file: 'r.yml', line: 3, column: 5, length: 4, text: '  a: ^bcd' }
  const warning: Diagnostic = {
    severity: 'warning',
    code: 'unused-model',
    message: 'error x\nmore',
    hint: 'one\ntwo',
    place,
  }
  const [yellow, cyan, end] = ['\u001b[1;33m', '\u001b[1;36m', '\u001b[0m']
  assert.is(
    diagnosticText(warning, true),
    `r.yml:3:5: ${yellow}warning unused-model${end}: error x\nmore\n    a: ^bcd\n      ${yellow}^^^^${end}\n  ${cyan}hint${end}: one\ntwo`,
  )
  const { hint: _, place: __, ...bare } = warning
  assert.is(
    diagnosticText({ ...bare, severity: 'error' }, true),
    '\u001b[1;31merror unused-model\u001b[0m: error x\nmore',
  )
})

test('colours are the only difference, also with names that are not safe to print', () => {
  const place = { file: '\u001b]0;x\u0007\u202e.yml', line: 1, column: 2, length: 9, text: '\t\u001b[2Jx' }
  for (const one of [problem, { ...problem, place }, { ...problem, place, message: '\u001b[31m' }]) {
    const plain = diagnosticText(one, false)
    assert.not.match(plain, '\u001b')
    assert.is(diagnosticText(one, true).replace(/\u001b\[[\d;]*m/g, ''), plain)
  }
})

test('an interruption is one plain line', () => {
  const interrupted: Diagnostic = { severity: 'error', code: 'interrupted', message: 'interrupted' }
  assert.equal([diagnosticText(interrupted, true), diagnosticText(interrupted, false)], ['interrupted', 'interrupted'])
})

test('colours are for terminals, NO_COLOR turns them off and FORCE_COLOR on', () => {
  const cases: [isTTY: boolean, env: NodeJS.ProcessEnv, expected: boolean][] = [
    [true, { TERM: 'xterm' }, true],
    [true, {}, true],
    [false, {}, false],
    [true, { TERM: 'dumb' }, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { FORCE_COLOR: '0' }, false],
    [false, { FORCE_COLOR: '1' }, true],
    [true, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
  ]
  for (const [isTTY, env, expected] of cases) assert.is(showsColours({ isTTY }, env), expected, JSON.stringify(env))
})

test('verdicts', () => {
  const warning = { ...problem, severity: 'warning' } as const
  assert.is(verdict('r.yml', []), 'r.yml: valid')
  assert.is(verdict('r.yml', [warning]), 'r.yml: valid, 1 warning')
  assert.is(verdict('r.yml', [problem, warning, problem]), 'r.yml: 2 errors, 1 warning')
})

test('differences: overall figures, then tensors, the most different first', () => {
  const rows = [
    { tensor: 'a\u001b', state: 'differs', cosine: 0.5, relativeL2: 1 / 3, largest: 1e-7 },
    { tensor: 'b', state: 'equal' },
    { tensor: 'c', state: 'only-a' },
    { tensor: 'd', state: 'differs', cosine: 0.25, relativeL2: 0.5, largest: 1e-8 },
    { tensor: 'e', state: 'differs', cosine: 0.25, relativeL2: Number.NaN, largest: Number.NaN },
  ] as const
  const states = { equal: 1, differs: 3, 'only-a': 1, 'only-b': 0, shape: 0, dtype: 0 }
  const overall = { tensors: 5, states, cosine: 0.5, l2: 2, relativeL2: 0.25, largest: 1 }
  const look = { all: false, width: Number.POSITIVE_INFINITY, unicode: false }
  const shown = (more: object = {}) =>
    diffText({ overall, layers: [], tensors: rows }, { ...look, ...more }).split('\n')
  const figures = [
    '4 of 5 tensors differ',
    'equal: 1',
    'only in A: 1',
    'all tensors of both: cosine 0.500000, L2 2.00000, relative L2 0.250000',
    'largest relative L2: 0.500000 (d)',
    'largest |a − b|: 1.00000e-7 (a\ufffd)',
    '',
  ]
  const differing = [
    'tensor  state        cosine  relative L2     largest',
    'c       only in A         -            -           -',
    'e       differs    0.250000          NaN         NaN',
    'd       differs    0.250000     0.500000  1.00000e-8',
    'a\ufffd      differs    0.500000     0.333333  1.00000e-7',
  ]
  assert.equal(shown(), [...figures, ...differing])
  assert.equal(shown({ all: true }), [...figures, ...differing, 'b       equal             -            -           -'])
  const equal = { tensors: 1, states: { ...states, differs: 0, 'only-a': 0 } }
  assert.is(diffText({ overall: equal, layers: [], tensors: [rows[1]] }, look), 'all equal: 1 tensor')
})

test('paths as the user would write them', () => {
  assert.is(shownPath('/w/a/b', '/w'), 'a/b')
  assert.is(shownPath('/w/..a', '/w'), '..a')
  assert.is(shownPath('/x/a', '/w'), '/x/a')
  assert.is(shownPath('/w', '/w'), '/w')
})

test.run()
