/** Inputs that another process shortens while they are read, through the real command: an error that names them, and nothing left. */

import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readdirSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { generator } from '../../src/rebasin/order.js'
import { inFolder } from '../support/files.js'
import { BIN, plainEnv } from '../support/terge.js'

const TENSORS = 12
const TENSOR = 8 * 2 ** 20

/** A model of zeros that takes no room on the disk. */
function sparseModel(file: string): void {
  const entries = Array.from({ length: TENSORS }, (_, i) => [
    `layers.${i}.weight`,
    { dtype: 'BF16', shape: [TENSOR / 2048, 1024], data_offsets: [i * TENSOR, (i + 1) * TENSOR] },
  ])
  const text = Buffer.from(JSON.stringify(Object.fromEntries(entries)).padEnd(2048))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  const fd = openSync(file, 'w')
  writeSync(fd, Buffer.concat([size, text]))
  ftruncateSync(fd, 8 + text.length + TENSORS * TENSOR)
  closeSync(fd)
}

/** Runs terge, and shortens a file so many milliseconds after its work folder has appeared, or after its start. */
async function shortened(folder: string, args: readonly string[], file: string, wait: number, length: number) {
  const child = spawn(process.execPath, [BIN, ...args], { cwd: folder, env: plainEnv })
  let err = ''
  child.stdout.resume()
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const ended = new Promise<readonly [number | null, NodeJS.Signals | null]>((resolve) => {
    child.on('close', (code, signal) => resolve([code, signal]))
  })
  const begun = async () => {
    while (args[0] === 'run' && !existsSync(path.join(folder, '.terge-out'))) await sleep(2)
    await sleep(wait)
  }
  await Promise.race([begun(), ended])
  truncateSync(path.join(folder, file), length)
  const [code, signal] = await ended
  return { code, signal, err }
}

const recipe = (method: string, more = '') =>
  `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\n${more}merge: {method: ${method}}\noutput: {path: out}\n`

const COMMANDS: readonly (readonly string[])[] = [
  ['run', 'linear.yml', '--force'],
  ['run', 'ties.yml', '--force', '--threads', '1'],
  ['diff', 'a.safetensors', 'b.safetensors'],
  ['lock', 'linear.yml'],
]

for (const args of COMMANDS)
  test(`terge ${args.join(' ')}: an input that is shortened at any moment`, () =>
    inFolder(async (folder) => {
      writeFileSync(path.join(folder, 'linear.yml'), recipe('linear'))
      writeFileSync(path.join(folder, 'ties.yml'), recipe('ties', 'base: a\n'))
      const random = generator(args.join(' ').length)
      let told = 0
      for (let trial = 0; trial < 5; trial++) {
        sparseModel(path.join(folder, 'a.safetensors'))
        sparseModel(path.join(folder, 'b.safetensors'))
        const victim = random() < 0.5 ? 'a' : 'b'
        const length = Math.floor(random() * TENSORS * TENSOR)
        const ran = await shortened(
          folder,
          args,
          `${victim}.safetensors`,
          random() * (args[0] === 'run' ? 150 : 600),
          length,
        )
        assert.is(ran.signal, null, `${args.join(' ')}: ${ran.err}`)
        assert.ok([0, 1, 2].includes(ran.code!), `exit ${ran.code}: ${ran.err}`)
        assert.not.match(ran.err, 'internal')
        if (args[0] === 'run') assert.is.not(ran.code, 2)
        if (ran.code !== 0) {
          assert.match(ran.err, `${victim}.safetensors`)
          told++
        }
        assert.equal(
          readdirSync(folder).filter((name) => name.startsWith('.terge')),
          [],
        )
      }
      assert.ok(told > 0)
    }))

test.run()
