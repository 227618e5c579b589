/** A transplant that is interrupted and run again. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { sha256 } from '../../src/core/digest.js'
import { plan, run } from '../../src/index.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'

const [SHARED, ROWS, WIDTH] = [60, 1200, 8]

function writeSide(folder: string, name: string, rows: number, seed: number): void {
  const home = path.join(folder, name)
  mkdirSync(home)
  writeModel(path.join(home, 'model.safetensors'), {
    'model.embed_tokens.weight': f32([rows, WIDTH], numbers(rows * WIDTH, seed)),
  })
  const token = (id: number): string => (id < SHARED ? `s${id}` : `${name}${id}`)
  const vocab = Object.fromEntries(Array.from({ length: rows }, (_, id) => [token(id), id]))
  const decoder = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true }
  const files = {
    'tokenizer.json': { version: '1.0', added_tokens: [], decoder, model: { type: 'BPE', vocab, merges: [] } },
    'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast' },
    'config.json': { model_type: 'llama', vocab_size: rows, hidden_size: WIDTH, tie_word_embeddings: true },
  }
  for (const [file, content] of Object.entries(files)) writeFileSync(path.join(home, file), JSON.stringify(content))
}

test('a run continues with the tokens that were done before it was interrupted', () =>
  inFolder(async (folder) => {
    writeSide(folder, 'donor', ROWS, 1)
    writeSide(folder, 'base', SHARED + 20, 2)
    const recipe = (out: string): string => {
      const file = path.join(folder, `${out}.yml`)
      const settings = 'tokenizer: {source: donor, missing: omp, k: 6}'
      writeFileSync(
        file,
        `terge: 1\nmodels: {base: ./base, donor: ./donor}\n${settings}\noutput: {path: ${out}, from: base}\n`,
      )
      return file
    }
    /** Makes a result, or stops when some tokens are done. */
    const make = async (out: string, early = false): Promise<string> => {
      const stop = new AbortController()
      try {
        await run(await plan(recipe(out)), {
          ...{ threads: 1, sync: false, resume: true, signal: stop.signal },
          listen(event) {
            if (early && event.kind === 'step' && event.text.includes('rows of missing tokens')) stop.abort()
          },
        })
        return 'done'
      } catch (error) {
        return error instanceof Fault ? error.diagnostics[0]!.code : String(error)
      }
    }
    const rows = (out: string): Buffer =>
      readFileSync(path.join(folder, out, 'model.safetensors')).subarray(-ROWS * WIDTH * 4)
    assert.is(await make('whole'), 'done')
    assert.is(await make('again', true), 'interrupted')
    // As after a kill: the record of the first tokens is there, and nothing else.
    const journal = path.join(folder, '.terge-again', 'journal')
    const [head, ...lines] = readFileSync(journal, 'utf8').split('\n')
    const first = lines.find((line) => line !== '' && JSON.parse(line)[0].key?.endsWith(' 0/0'))!
    writeFileSync(journal, `${head}\n${first}\n`)
    assert.is(await make('again'), 'done')
    assert.ok(rows('again').equals(rows('whole')))

    // It is taken over and not found again: with other weights in it, these tokens have other rows.
    assert.is(await make('changed', true), 'interrupted')
    const record = JSON.parse(first)[0]
    record.findings = record.findings.map(([name, type, text]: [string, string, string]) =>
      name === 'weights'
        ? [name, type, Buffer.alloc(Buffer.from(text, 'base64').length).toString('base64')]
        : [name, type, text],
    )
    const text = JSON.stringify(record)
    writeFileSync(path.join(folder, '.terge-changed', 'journal'), `${head}\n[${text},"${sha256(text)}"]\n`)
    assert.is(await make('changed'), 'done')
    const [from, to] = [SHARED * WIDTH * 4, (SHARED + 512) * WIDTH * 4]
    assert.ok(
      rows('changed')
        .subarray(from, to)
        .every((byte) => byte === 0),
    )
    assert.ok(rows('changed').subarray(to).equals(rows('whole').subarray(to)))
  }))

test.run()
