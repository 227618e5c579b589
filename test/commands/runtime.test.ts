import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fixture, tergeProcess } from '../support/terge.js'

const [A, B] = [fixture('digits/mlp256-0.safetensors'), fixture('digits/mlp256-1.safetensors')]

/** Reports each load of the package that maps files, in a process that looks like another runtime. */
const preload = (versions: object): string =>
  `import Module from 'node:module'
  Object.defineProperty(process, 'versions', { value: { ...process.versions, ...${JSON.stringify(versions)} } })
  const load = Module._load
  Module._load = function (request, ...rest) {
    if (request.startsWith('@koromix/')) process.stderr.write('maps files\\n')
    return load.call(this, request, ...rest)
  }`

test('TERGE_IO=map maps files only where the runtime is Node', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-runtime-'))
  try {
    const merged = async (versions: object, output: string) => {
      const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(preload(versions))}`
      const env = { NODE_OPTIONS, TERGE_IO: 'map' }
      const { code, err } = await tergeProcess(['merge', A, B, '-o', output, '--threads', '1'], folder, env)
      assert.is(code, 0, err)
      return { maps: err.includes('maps files'), bytes: readFileSync(path.join(folder, output)) }
    }
    const node = await merged({}, 'node.safetensors')
    if (process.platform === 'linux') assert.ok(node.maps)
    for (const versions of [{ bun: '1.2.0' }, { deno: '2.0.0' }]) {
      const other = await merged(versions, `${Object.keys(versions)[0]}.safetensors`)
      assert.not.ok(other.maps)
      assert.ok(other.bytes.equals(node.bytes))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
