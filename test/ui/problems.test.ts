import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Diagnostic } from '../../src/core/diagnostics.js'
import { diffText } from '../../src/ui/diff.js'
import { githubAnnotation, verdict } from '../../src/ui/problems.js'
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

test('verdicts', () => {
  const warning = { ...problem, severity: 'warning' } as const
  assert.is(verdict('r.yml', []), 'r.yml: valid')
  assert.is(verdict('r.yml', [warning]), 'r.yml: valid, 1 warning')
  assert.is(verdict('r.yml', [problem, warning, problem]), 'r.yml: 2 errors, 1 warning')
})

test('differences as a table', () => {
  const text = diffText([
    { tensor: 'a\u001b', state: 'differs', cosine: 0.5, relativeL2: 1 / 3, largest: 1e-7 },
    { tensor: 'b', state: 'equal' },
    { tensor: 'c', state: 'only-a' },
  ])
  assert.equal(text.split('\n'), [
    'tensor  state        cosine  relative L2     largest',
    'a\ufffd      differs    0.500000     0.333333  1.00000e-7',
    'b       equal             -            -           -',
    'c       only in A         -            -           -',
    '',
    '2 of 3 tensors differ',
  ])
  assert.match(diffText([{ tensor: 'b', state: 'equal' }]), /\n\nall equal$/)
})

test('paths as one would write them', () => {
  assert.is(shownPath('/w/a/b', '/w'), 'a/b')
  assert.is(shownPath('/w/..a', '/w'), '..a')
  assert.is(shownPath('/x/a', '/w'), '/x/a')
  assert.is(shownPath('/w', '/w'), '/w')
})

test.run()
