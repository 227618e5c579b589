/** Evaluate commands through the real command: allowed or not, right or wrong, and interrupted. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BIN, fixture, inFolder, plainEnv, terge } from './terge.js'

const [A, B] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))

function write(folder: string, script: string): void {
  writeFileSync(path.join(folder, 'evaluate.mjs'), script)
  writeFileSync(
    path.join(folder, 'r.yml'),
    `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: out.safetensors\nevaluate: {command: [node, evaluate.mjs, "{model}", "$HOME;{model}"]}\n`,
  )
}

test('commands run only where they are allowed, without a shell, from the recipe’s folder', () =>
  inFolder((folder) =>
    inFolder(async (elsewhere) => {
      write(
        folder,
        'const [, , a, b] = process.argv; console.log(JSON.stringify({ n: process.argv.length, same: +(b === "$HOME;" + a) }))',
      )
      const file = path.join(folder, 'r.yml')
      const refused = await terge(['run', file], elsewhere)
      assert.equal([refused.code, refused.out, readdirSync(folder).length], [2, '', 2])
      assert.match(refused.err, /r\.yml:5:1: error needs-commands: the recipe runs a command: node evaluate\.mjs/)
      assert.match(refused.err, '--allow-commands')
      const ran = await terge(['run', file, '--allow-commands'], elsewhere)
      assert.is(ran.code, 0, ran.err)
      const lineage = path.join(folder, 'out.lineage.json')
      assert.equal(JSON.parse(readFileSync(lineage, 'utf8')).evaluations, { n: 4, same: 1 })
      assert.match(ran.out, ', n 4, same 1; lineage in ')
      assert.is((await terge(['verify', lineage])).code, 0)
    }),
  ))

test('what a command prints is one object of finite numbers, or a fault with what it said', () =>
  inFolder(async (folder) => {
    const cases: [script: string, told: RegExp][] = [
      [
        'console.error("no such\\u001b[2J device"); process.exit(3)',
        /evaluate-failed: node evaluate\.mjs .*: ended with 3\nno such\ufffd\[2J device\n/,
      ],
      ['console.log("0.5")', /must print one JSON object of numbers: it printed something else/],
      ['console.log("loss = 1")', /it printed "loss = 1\\n"/],
      ['', /it printed nothing/],
      ['console.log(`{"loss": 1e999}`)', /"loss" is no finite number/],
      ['console.log(`{"loss": {"a": 1}}`)', /"loss" is no finite number/],
      [
        'for (;;) process.stdout.write("x".repeat(1 << 16)) || await new Promise((go) => process.stdout.once("drain", go))',
        /prints more than 1048576 bytes/,
      ],
    ]
    for (const [script, told] of cases) {
      write(folder, script)
      const ran = await terge(['run', 'r.yml', '--allow-commands', '--threads', '1'], folder)
      assert.equal([ran.code, ran.out], [1, ''], script)
      assert.match(ran.err, told)
      assert.equal(readdirSync(folder).sort(), ['evaluate.mjs', 'r.yml'], 'nothing stays behind')
    }
  }))

test('Ctrl-C ends the command too', () =>
  inFolder(async (folder) => {
    write(
      folder,
      'import { writeFileSync } from "node:fs"; writeFileSync("pid", String(process.pid)); setInterval(() => {}, 1000)',
    )
    const child = spawn(process.execPath, [BIN, 'run', 'r.yml', '--allow-commands'], { cwd: folder, env: plainEnv })
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
    const file = path.join(folder, 'pid')
    while (!existsSync(file) || readFileSync(file, 'utf8') === '') await sleep(50)
    const pid = Number(readFileSync(file, 'utf8'))
    child.kill('SIGINT')
    assert.is(await ended, 130)
    assert.throws(() => process.kill(pid, 0), /ESRCH/)
    assert.equal(readdirSync(folder).sort(), ['evaluate.mjs', 'pid', 'r.yml'])
  }))

test.run()
