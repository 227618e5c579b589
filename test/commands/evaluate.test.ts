/** Evaluate commands through the real command: allowed or not, right or wrong, and interrupted. */

import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { BIN, fixture, plainEnv, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))

function write(folder: string, script: string): void {
  writeFileSync(path.join(folder, 'evaluate.mjs'), script)
  writeFileSync(
    path.join(folder, 'r.yml'),
    `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: out.safetensors\nevaluate: {command: [node, evaluate.mjs, "{model}", "$HOME;{model}"]}\n`,
  )
}

test('commands run only if allowed, without a shell, in the recipe’s folder', () =>
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

test('a command must print one object of finite numbers; the error shows its output', () =>
  inFolder(async (folder) => {
    const cases: [script: string, told: RegExp][] = [
      [
        'console.error("no such\\u001b[2J device"); process.exit(3)',
        /evaluate-failed: node evaluate\.mjs .*: exited with code 3\nno such\ufffd\[2J device\n/,
      ],
      ['console.log("0.5")', /must print one JSON object of numbers: it printed another JSON value/],
      ['console.log("loss = 1")', /it printed "loss = 1\\n"/],
      ['', /it printed nothing/],
      ['console.log(`{"loss": 1e999}`)', /"loss" is not a finite number/],
      ['console.log(`{"loss": {"a": 1}}`)', /"loss" is not a finite number/],
      [
        'for (;;) process.stdout.write("x".repeat(1 << 16)) || await new Promise((go) => process.stdout.once("drain", go))',
        /printed more than 1048576 bytes/,
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

/** Writes a recipe whose command is as given. */
const writeCommand = (folder: string, evaluate: string): void =>
  writeFileSync(
    path.join(folder, 'r.yml'),
    `terge: 1\nmodels: {a: ${A}, b: ${B}}\nmerge: {method: linear}\noutput: out.safetensors\nevaluate: ${evaluate}\n`,
  )

const gone = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

/** A process that ended may be there until somebody has asked for its exit code. */
async function assertGone(folder: string, file = 'pid'): Promise<void> {
  const pid = Number(readFileSync(path.join(folder, file), 'utf8'))
  for (let tries = 0; tries < 600 && !gone(pid); tries++) await sleep(50)
  assert.ok(gone(pid), `process ${pid} is still there`)
}

const COMMANDS: readonly (readonly [what: string, script: string, more: string, told: RegExp])[] = [
  ['prints without end in the background', 'yes & echo $! > pid; wait', '', /printed more than 1048576 bytes/],
  ['ignores SIGTERM', `trap "" TERM; sh -c 'trap "" TERM; yes' & echo $! > pid; wait`, '', /printed more than/],
  [
    'takes too long',
    'sleep 1000 & echo $! > pid; wait',
    ', timeout: 0.5',
    /evaluate-timeout: sh .*timed out after 0.5 s/,
  ],
  [
    'takes too long and ignores SIGTERM',
    'trap "" TERM; echo $$ > pid; while :; do sleep 1; done',
    ', timeout: 0.5',
    /evaluate-timeout/,
  ],
  ['leaves something that holds its output', 'sleep 1000 & echo $! > pid; exit 3', '', /exited with code 3/],
]
if (process.platform !== 'win32') {
  for (const [what, script, more, told] of COMMANDS)
    test(`a command that ${what} is ended with all that it started`, () =>
      inFolder(async (folder) => {
        writeCommand(folder, `{command: [sh, -c, ${JSON.stringify(script)}]${more}}`)
        const ran = await terge(['run', 'r.yml', '--allow-commands', '--threads', '1'], folder)
        assert.equal([ran.code, ran.out], [1, ''])
        assert.match(ran.err, told)
        await assertGone(folder)
        assert.equal(readdirSync(folder).sort(), ['pid', 'r.yml'], 'nothing stays behind')
      }))

  test('what a command printed counts though something that it left holds its output, and that is ended', () =>
    inFolder(async (folder) => {
      writeCommand(folder, `{command: [sh, -c, ${JSON.stringify(`sleep 1000 & echo $! > pid; echo '{"loss": 1}'`)}]}`)
      const ran = await terge(['run', 'r.yml', '--allow-commands', '--threads', '1'], folder)
      assert.is(ran.code, 0, ran.err)
      assert.match(ran.out, 'loss 1')
      await assertGone(folder)
    }))

  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    test(`${signal} ends a command’s grandchildren too`, () =>
      inFolder(async (folder) => {
        writeCommand(folder, '{command: [sh, -c, "sleep 1000 & echo $! > pid.new; mv pid.new pid; wait"]}')
        const child = spawn(process.execPath, [BIN, 'run', 'r.yml', '--allow-commands'], { cwd: folder, env: plainEnv })
        const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
        while (!existsSync(path.join(folder, 'pid'))) await sleep(50)
        child.kill(signal)
        assert.is(await ended, signal === 'SIGTERM' ? 143 : 130)
        await assertGone(folder)
        assert.equal(readdirSync(folder).sort(), ['pid', 'r.yml'])
      }))
}

for (const [what, script, told] of [
  ['changes the result', 'fs.appendFileSync(model, "x")', 'changed out.safetensors'],
  [
    'replaces the result by a copy',
    'fs.copyFileSync(model, model + ".new"); fs.renameSync(model + ".new", model)',
    'changed out.safetensors',
  ],
  ['removes the result', 'fs.rmSync(model)', 'removed out.safetensors'],
  ['removes its folder', 'fs.rmSync(path.dirname(model), { recursive: true })', 'removed out.safetensors'],
  ['adds a link', 'fs.symlinkSync("/etc/hosts", path.join(path.dirname(model), "hosts"))', 'added hosts'],
] as const)
  test(`a command that ${what} ends the run with an error`, () =>
    inFolder(async (folder) => {
      const text = `import fs from 'node:fs'; import path from 'node:path'; const model = process.argv[2]; ${script}; console.log('{}')`
      write(folder, text)
      const ran = await terge(['run', 'r.yml', '--allow-commands', '--threads', '1'], folder)
      assert.equal([ran.code, ran.out], [1, ''], ran.err)
      assert.match(ran.err, /error evaluate-failed: node evaluate\.mjs /)
      assert.match(ran.err, `${told}`)
      assert.equal(readdirSync(folder).sort(), ['evaluate.mjs', 'r.yml'], 'nothing stays behind')
    }))

test('terge does not pass credentials to a command unless the recipe lists them', () =>
  inFolder(async (folder) => {
    const secret = {
      HF_TOKEN: 'hf_x',
      HUGGING_FACE_HUB_TOKEN: 'hf_x',
      AWS_SECRET_ACCESS_KEY: 'x',
      AWS_PROFILE: 'x',
      OPENAI_API_KEY: 'x',
      my_password: 'x',
      MYSQL_PWD: 'x',
      GITHUB_PAT: 'x',
      SSH_AUTH_SOCK: 'x',
      GOOGLE_APPLICATION_CREDENTIALS: 'x',
      DATABASE_URL: 'postgres://me:pass@db/x',
      PLAIN: 'ghp_0123456789abcdef',
      SERVICE_KEY2: 'x',
      ERRORS_DSN: 'x',
      REPORTS: 'https://0123456789abcdef@errors.example/7',
      HEADER: 'Bearer 0123',
      SESSION: 'eyJhbGciOiJub25lIn0.eyJhIjoxfQ.',
    }
    const plain = {
      HF_HOME: folder,
      HF_HUB_OFFLINE: '1',
      TOKENIZERS_PARALLELISM: 'false',
      AWS_REGION: 'x',
      AWS_CA_BUNDLE: '/etc/ssl/ca.pem',
      KEYBOARD: 'x',
      CUDA_VISIBLE_DEVICES: '0',
    }
    const shown = path.join(folder, 'env.json')
    const script = `require("fs").writeFileSync(${JSON.stringify(shown)}, JSON.stringify(process.env)); console.log("{}")`
    for (const [more, asked] of [
      ['', []],
      [', env: [HF_TOKEN, AWS_PROFILE, NOT_SET]', ['HF_TOKEN', 'AWS_PROFILE']],
    ] as const) {
      writeCommand(folder, `{command: [node, -e, ${JSON.stringify(script)}]${more}}`)
      const env = { ...secret, ...plain }
      const ran = await terge(['run', 'r.yml', '--allow-commands', '--threads', '1', '--force'], folder, env)
      assert.is(ran.code, 0, ran.err)
      const seen = JSON.parse(readFileSync(shown, 'utf8'))
      assert.equal(
        Object.keys(env).filter((name) => name in seen),
        [...Object.keys(secret).filter((name) => (asked as readonly string[]).includes(name)), ...Object.keys(plain)],
      )
      assert.ok('PATH' in seen)
    }
    writeCommand(folder, '{command: [node, -e, "process.exit(4)"], env: [OPENAI_API_KEY]}')
    const refused = await terge(['run', 'r.yml', '--force'], folder)
    assert.match(refused.err, /the recipe runs a command: node -e .* \(with access to OPENAI_API_KEY\)/)
    const failed = await terge(['run', 'r.yml', '--allow-commands', '--force'], folder, { HF_TOKEN: 'hf_x' })
    assert.is(failed.code, 1)
    assert.match(
      failed.err,
      /hint: terge does not pass credentials to commands \(.*HF_TOKEN.*\): list the ones that it needs in evaluate\.env/,
    )
  }))

test('a wrong timeout or name of a variable is an error at its place', () =>
  inFolder(async (folder) => {
    for (const [more, told] of [
      ['timeout: 0', /5:\d+: error bad-value: 'timeout' must be at least 0.001, not '0'/],
      ['timeout: soon', /bad-type: 'timeout' must be a number/],
      ['env: [A=B]', /bad-value: 'env\[0\]' must be the name of an environment variable/],
      ['command: ["a\\0b"]', /error bad-value: a string can’t contain the character U\+0000/],
    ] as const) {
      writeCommand(folder, more.startsWith('command') ? `{${more}}` : `{command: [x], ${more}}`)
      const ran = await terge(['validate', 'r.yml'], folder)
      assert.is(ran.code, 2)
      assert.match(ran.err, told)
    }
  }))

test.run()
