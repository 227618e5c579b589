/** The registry of containers: the only place with file extensions, and how it classifies names. */
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CONTAINERS, isIndex, isOutputFile, isWeightsOf } from '../../src/checkpoints/containers/index.js'
import { isWeights } from '../../src/checkpoints/sidecarNames.js'

test('only the containers mention their file extensions', () => {
  const source = new URL('../../../src/', import.meta.url)
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.ts') && !name.startsWith('checkpoints/containers/'))
  const extensions = CONTAINERS.flatMap((container) => container.extensions.map((one) => one.slice(1)))
  // At the start of a string, or in a regular expression: examples in texts have a name before them.
  const known = new RegExp(`['"\`}\\\\]\\.(${extensions.join('|')})\\b|\\b(${extensions.join('|')})\\|`)
  assert.ok(known.test("endsWith('.safetensors')") && known.test('/\\.(bin|pt)$/'))
  assert.equal(
    files.filter((name) => known.test(readFileSync(new URL(name, source), 'utf8'))),
    [],
  )
})

test('recognizes names of weights and of indexes', () => {
  const containerOf = (name: string) => CONTAINERS.find((container) => isWeightsOf(name, container))?.name
  assert.is(containerOf('model-00001-of-00002.safetensors'), 'safetensors')
  assert.is(containerOf('pytorch_model.bin'), 'PyTorch')
  assert.is(containerOf('last.ckpt'), 'PyTorch')
  for (const name of ['optimizer.pt', 'training_args.bin', 'rng_state_0.pth', 'scheduler.pt', 'config.json', 'a.gguf'])
    assert.is(containerOf(name), undefined, name)
  assert.ok(isWeights('a.gguf') && isWeights('optimizer.pt') && !isWeights('merges.txt'))
  assert.ok(isIndex('model.safetensors.index.json') && isIndex('pytorch_model.bin.index.fp16.json'))
  assert.not(isIndex('model.pt.index.json'))
  assert.ok(isOutputFile('out.safetensors') && !isOutputFile('out.bin') && !isOutputFile('out'))
})

test.run()
