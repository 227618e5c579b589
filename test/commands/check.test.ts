/** `check`: the model is evaluated before and after its alignment, and the run fails if the metrics differ. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { BIN, fixture, plainEnv, terge } from '../support/terge.js'

const [A, B, C] = [0, 1, 2].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
const EVALUATE = fixture('../../recipes/quickstart/evaluate.mjs')
const DIGITS = `check: {command: [node, ${EVALUATE}, "{model}"]}`

/** Not what the network does: the order of its hidden units matters to it. */
const WRONG = '{tensors: {fc1.weight: [fc1], fc1.bias: [fc1]}}'

function write(folder: string, rebasin: string, more = ''): void {
  writeFileSync(
    path.join(folder, 'r.yml'),
    `terge: 1\nmodels: {a: ${A}, b: ${B}, c: ${C}}\nrebasin: {${rebasin}}\nmerge: {method: linear, models: [a, b]}\noutput: out.safetensors\n${more}`,
  )
}

const run = (folder: string, ...more: string[]) => terge(['run', 'r.yml', '--threads', '2', ...more], folder)
const ALLOW = '--allow-commands'
const lineageIn = (folder: string) => JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))

test('an alignment that keeps what the model computes passes, and plan, run and lineage say so', () =>
  inFolder(async (folder) => {
    write(folder, `model: b, onto: a, spec: chain, ${DIGITS}`)
    const planned = await terge(['plan', 'r.yml'], folder)
    assert.match(
      planned.out.replaceAll(/[\s│]+/g, ' '),
      /check before and after: node .*evaluate\.mjs \{model\}; metrics may differ by 0\.1 %/,
    )
    const data = JSON.parse((await terge(['plan', 'r.yml', '--json'], folder)).out)
    assert.equal(data.checks[0].tolerance, 0.001)
    const refused = await run(folder)
    assert.is(refused.code, 2)
    assert.match(refused.err, /needs-commands: the recipe runs a command: node/)

    const ran = await run(folder, ALLOW)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.out, /^b aligned to a: .*; check passed: accuracy 0\.98\d* → 0\.98\d*, loss (0\.\d+) → \1\n/)
    const { check } = lineageIn(folder).steps['rebasin-b']
    assert.is(check.tolerance, 0.001)
    assert.is(check.before.accuracy, check.after.accuracy)
    assert.equal(readdirSync(folder).sort(), ['out.lineage.json', 'out.safetensors', 'r.yml'])
    assert.is((await terge(['verify', 'out.lineage.json'], folder)).code, 0)
    assert.match((await terge(['report', 'out.lineage.json'], folder)).out, /check passed/)

    // The same bytes as without the check.
    const bytes = readFileSync(path.join(folder, 'out.safetensors'))
    write(folder, 'model: b, onto: a, spec: chain')
    assert.is((await run(folder, '--force')).code, 0)
    assert.ok(readFileSync(path.join(folder, 'out.safetensors')).equals(bytes))

    // A finished output without the check is not finished for a recipe with it.
    write(folder, `model: b, onto: a, spec: chain, ${DIGITS}`)
    const again = await run(folder, '--resume', ALLOW)
    assert.is(again.code, 2)
    assert.match(again.err, /output-exists.*its alignments were not checked/)
  }))

test('an alignment that breaks the model fails with the metrics, and nothing is written', () =>
  inFolder(async (folder) => {
    write(folder, `model: b, onto: a, spec: ${WRONG}, ${DIGITS}`)
    for (const more of [[], ['--resume']]) {
      const ran = await run(folder, ALLOW, ...more)
      assert.equal([ran.code, ran.out], [1, ''])
      assert.match(
        ran.err,
        /error alignment-check-failed: rebasin-b: the aligned model computes something else: accuracy 0\.98\d* → 0\.[0-6]\d*, loss /,
      )
      assert.match(ran.err, 'spec: model.onnx')
      assert.not.ok(existsSync(path.join(folder, 'out.safetensors')))
      assert.not(readdirSync(folder).some((name) => name.includes('check-')))
    }
  }))

test('the command must print the same metrics, and some; tolerance allows a difference', () =>
  inFolder(async (folder) => {
    const script = (text: string) => writeFileSync(path.join(folder, 'c.mjs'), `import fs from "node:fs"\n${text}`)
    const counted = 'fs.appendFileSync("runs", "x"); const runs = fs.readFileSync("runs", "utf8").length\n'
    const cases: [text: string, check: string, told: RegExp | undefined][] = [
      ['console.log("{}")', '', /the check printed no metric/],
      [
        `${counted}console.log(runs % 2 ? '{"a": 1}' : '{"b": 1}')`,
        '',
        /the check printed a only before the alignment/,
      ],
      [`${counted}console.log(JSON.stringify({ loss: runs % 2 ? 1 : 1.01 }))`, '', /loss 1 → 1\.01 \(node c\.mjs/],
      [`${counted}console.log(JSON.stringify({ loss: runs % 2 ? 1 : 1.01 }))`, ', tolerance: 0.02', undefined],
      [`fs.writeFileSync(process.argv[2], "")\nconsole.log('{"a": 1}')`, '', /evaluate-failed.*must not change/],
      [`await new Promise((go) => setTimeout(go, 1e5))`, ', timeout: 0.2', /evaluate-timeout/],
      [`console.log(JSON.stringify({ token: +(process.env.HF_TOKEN !== undefined) }))`, '', undefined],
    ]
    for (const [text, more, told] of cases) {
      write(
        folder,
        `model: b, onto: a, spec: chain, max_iterations: 1, check: {command: [node, c.mjs, "{model}"]${more}}`,
      )
      script(text)
      const ran = await terge(['run', 'r.yml', ALLOW, '--force'], folder, { HF_TOKEN: 'secret' })
      assert.is(ran.code, told ? 1 : 0, ran.err)
      if (told) assert.match(ran.err, told)
      writeFileSync(path.join(folder, 'runs'), '')
    }
    assert.equal(lineageIn(folder).steps['rebasin-b'].check.after, { token: 0 })
  }))

test('check: evaluate is the command of the recipe; without one it is an error', () =>
  inFolder(async (folder) => {
    write(folder, 'model: b, onto: a, spec: chain, check: evaluate')
    assert.match((await terge(['plan', 'r.yml'], folder)).err, /missing-key: check has no command/)
    write(folder, 'model: b, onto: a, spec: chain, check: {timeout: 3}')
    assert.match((await terge(['plan', 'r.yml'], folder)).err, /check has timeout but no command/)
    write(
      folder,
      `models: [a, b, c], method: merge-many, max_iterations: 1, spec: chain, check: evaluate`,
      `evaluate: {command: [node, ${EVALUATE}, "{model}"]}\n`,
    )
    const text = readFileSync(path.join(folder, 'r.yml'), 'utf8')
    writeFileSync(path.join(folder, 'r.yml'), text.replace('models: [a, b]}', 'models: [a, b, c]}'))
    const ran = await run(folder, ALLOW)
    assert.is(ran.code, 0, ran.err)
    assert.is(ran.out.match(/check passed: accuracy/g)?.length, 2)

    // Candidates are judged by the output, not by the checkpoints of the check.
    const counted = path.join(folder, 'c.mjs')
    writeFileSync(counted, 'console.log(JSON.stringify({ n: process.argv[2].length }))')
    write(
      folder,
      `model: b, onto: a, max_iterations: 2, spec: chain, restarts: 2, select: {maximize: accuracy}, check: {command: [node, c.mjs, "x"]}`,
      `evaluate: {command: [node, ${EVALUATE}, "{model}"]}\n`,
    )
    const chosen = await run(folder, ALLOW, '--force')
    assert.is(chosen.code, 0, chosen.err)
    assert.match(chosen.out, /check passed: n 1 → 1/)
    const { accuracy } = lineageIn(folder).evaluations
    assert.ok(accuracy > 0.9 && chosen.out.includes('of 2 by accuracy'), chosen.out)
  }))

test('a run that is killed in its check continues with the alignment that it has found', () =>
  inFolder(async (folder) => {
    writeFileSync(
      path.join(folder, 'c.mjs'),
      'import fs from "node:fs"\nif (!fs.existsSync("go")) { fs.writeFileSync("here", ""); await new Promise((go) => setTimeout(go, 1e6)) }\nconsole.log(`{"a": 1}`)',
    )
    write(folder, 'model: b, onto: a, spec: chain, check: {command: [node, c.mjs]}')
    const child = spawn(process.execPath, [BIN, 'run', 'r.yml', ALLOW, '--resume'], { cwd: folder, env: plainEnv })
    const ended = new Promise((resolve) => child.on('exit', resolve))
    while (!existsSync(path.join(folder, 'here'))) await sleep(50)
    child.kill('SIGINT')
    await ended
    assert.not.ok(existsSync(path.join(folder, 'out.safetensors')))
    writeFileSync(path.join(folder, 'go'), '')
    const ran = await run(folder, ALLOW, '--resume')
    assert.is(ran.code, 0, ran.err)
    assert.not.match(ran.err, /sweep/)
    assert.match(ran.err, /already done/)
    assert.match(ran.out, /check passed: a 1 → 1/)
    assert.equal(readdirSync(folder).sort(), ['c.mjs', 'go', 'here', 'out.lineage.json', 'out.safetensors', 'r.yml'])
  }))

/** The script of the docs, if a Python with torch is here; otherwise the same outputs in JavaScript. */
function exampleIn(folder: string): string[] {
  const docs = readFileSync(new URL('../../../docs/alignment.md', import.meta.url), 'utf8')
  const [, script] = /```python\n(import json, sys, torch\n[\s\S]*?)```/.exec(docs)!
  writeFileSync(path.join(folder, 'check.py'), script!)
  const python = process.env.TERGE_TEST_PYTHON ?? 'python3'
  const { status } = spawnSync(python, ['-c', 'import torch, safetensors'], { stdio: 'ignore' })
  if (status === 0) return [python, 'check.py']
  const forward = readFileSync(EVALUATE, 'utf8').split('/** The share of the test digits')[0]!
  writeFileSync(
    path.join(folder, 'check.mjs'),
    `${forward}const inputs = Array.from({ length: 8 }, (_, n) => Float64Array.from({ length: 64 }, (_, i) => (((n * 64 + i) * 7919) % 101) / 101))
const outputs = inputs.flatMap((input) => [...forward(read(process.argv[2]), input)])
console.log(JSON.stringify(Object.fromEntries(outputs.map((value, i) => [\`output \${i}\`, value]))))`,
  )
  return ['node', 'check.mjs']
}

test('the script of the docs finds out on random inputs whether the network is the same', () =>
  inFolder(async (folder) => {
    const check = `check: {tolerance: 1e-10, command: [${exampleIn(folder).join(', ')}, "{model}"]}`
    write(folder, `model: b, onto: a, spec: chain, ${check}`)
    const ran = await run(folder, ALLOW)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.out, /check passed: output 0 .* and 77 more/)
    write(folder, `model: b, onto: a, spec: ${WRONG}, ${check}`)
    const broken = await run(folder, ALLOW, '--force')
    assert.is(broken.code, 1)
    assert.match(broken.err, /alignment-check-failed: .*output 0 .* → .*, and \d+ more/)
  }))

test.run()
