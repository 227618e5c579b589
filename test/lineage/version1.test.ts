/** Lineages that were written before version 2: they are still read, reported and verified. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { REASONS_OF_VERSION_1 } from '../../src/core/reasons.js'
import { REPORT_FORMS, report, stepLine, verify } from '../../src/index.js'
import { parseLineage } from '../../src/lineage/parse.js'
import { lineageText } from '../../src/lineage/serialize.js'

const folder = 'test/fixtures/lineage-v1'
const files = readdirSync(folder).filter((name) => name.endsWith('.json'))

test('each file of version 1 is read completely, with codes instead of texts', () => {
  assert.ok(files.length >= 10)
  for (const file of files) {
    const text = readFileSync(path.join(folder, file), 'utf8')
    const lineage = parseLineage(text, file)
    assert.is(lineage.lineage, 1)
    assert.equal(parseLineage(lineageText(lineage), file), lineage)
    const { tensors, steps } = JSON.parse(text)
    for (const [name, tensor] of Object.entries(lineage.tensors)) {
      const words = tensor.reason && REASONS_OF_VERSION_1[tensor.reason]
      assert.is(words, tensors[name].reason, `${file}: ${name}`)
    }
    // Without the records' own prototype.
    assert.equal(JSON.parse(JSON.stringify(lineage.steps)), steps, file)
    for (const [name, step] of Object.entries(lineage.steps))
      assert.not.match(stepLine(name, step) ?? '', /undefined|NaN/)
  }
})

test('each gives every form of report', async () => {
  for (const file of files)
    for (const form of REPORT_FORMS.filter((form) => form !== 'slsa'))
      assert.ok((await report(path.join(folder, file), form)).length > 2, `${file}: ${form}`)
})

test('verify reads each, and reports that the outputs are missing', async () => {
  for (const file of files) {
    const { problems } = await verify(path.join(folder, file))
    const codes = problems.map(({ code }) => code)
    // What was only evaluated has no files.
    const { dropped } = JSON.parse(readFileSync(path.join(folder, file), 'utf8')).output
    assert.is(codes.includes('output-missing'), !dropped, `${file}: ${codes}`)
  }
})

test.run()
