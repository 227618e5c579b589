/** Addresses where a local path belongs. */
import { readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const A = fixture('digits/mlp256-0.safetensors')

for (const output of ['https://example.com/model.safetensors', 'gs://b/m', 'ftp://host/model'])
  test(`an output ${output} is refused, in the recipe and with -o, and nothing is written`, () =>
    inFolder(async (folder) => {
      const file = path.join(folder, 'r.yml')
      writeFileSync(file, `terge: 1\nmodels: {a: '${A}'}\nmerge: {method: passthrough}\noutput: '${output}'\n`)
      const { code, err } = await terge(['run', file])
      assert.is(code, 2)
      assert.match(
        err,
        /r\.yml:4:9: error bad-value: '\S+': terge writes local files and folders, to the hub and to S3 stores, not to /,
      )
      assert.match(err, /hint: write a path/)
      const flag = await terge(['run', file, '-o', output])
      assert.is(flag.code, 2)
      assert.match(flag.err, /-o '\S+': terge writes local files/)
      assert.equal(readdirSync(folder), ['r.yml'])
    }))

test('a model at an address that terge can not read is missing, with a hint', async () => {
  const { code, err } = await terge(['inspect', 'gs://bucket/model'])
  assert.is(code, 2)
  assert.match(err, /missing-model: gs:\/\/bucket\/model: terge can't read from gs:\/\//)
  assert.match(err, /hint: download the model/)
})

for (const command of ['verify', 'report'])
  test(`${command} of an output that was uploaded says what to do`, async () => {
    const { code, err } = await terge([command, 's3://bucket/model'])
    assert.is(code, 2)
    assert.match(err, /missing-lineage: s3:\/\/bucket\/model: terge reads lineages on this machine/)
    assert.match(err, /hint: download the output/)
  })

test.run()
