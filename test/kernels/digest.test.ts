import { xxhash128 } from 'hash-wasm'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sha256 } from '../../src/core/digest.js'
import { bytesDigest, DIGEST_BYTES, LEAF, leafCount, treeDigest } from '../../src/kernels/index.js'
import { bytesAt, generator, kernelBackend, kernels, put, randomBytes, referenceBackend } from './backends.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

for (const backend of [referenceBackend, kernelBackend(), kernelBackend(3)])
  test(`${backend.name}: XXH3-128 as another implementation has it`, async () => {
    const data = randomBytes(1, 70000)
    const next = generator(2)
    const lengths = [
      ...Array(601).keys(),
      1023,
      1024,
      1025,
      1088,
      2048,
      2049,
      ...Array.from({ length: 12 }, () => next() % 70000),
    ]
    for (const length of lengths) {
      const bytes = data.subarray(length % 7, (length % 7) + Math.min(length, 69990))
      assert.is(hex(backend.xxh3(bytes)), await xxhash128(bytes), `${length} bytes`)
    }
  })

test('leaves have one digest each, also a shorter last one; empty tensors have none', async () => {
  for (const length of [0, 1, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF + 100]) {
    const data = randomBytes(length, length)
    const [source, out] = put(0, data, new Uint8Array((leafCount(length) + 1) * DIGEST_BYTES)) as [number, number]
    kernels.leaves(source, length, LEAF, out)
    const expected = []
    for (let at = 0; at < length; at += LEAF) expected.push(await xxhash128(data.subarray(at, at + LEAF)))
    assert.is(hex(bytesAt(out, (leafCount(length) + 1) * DIGEST_BYTES)), expected.join('') + '00'.repeat(DIGEST_BYTES))
  }
})

test('the tensor digest agrees with its description and another implementation of XXH3', async () => {
  for (const length of [0, 5, LEAF, 2 * LEAF + 17]) {
    const data = randomBytes(length + 1, length)
    let joined = ''
    for (let at = 0; at < length; at += LEAF) joined += await xxhash128(data.subarray(at, at + LEAF))
    const tail = Buffer.alloc(8)
    tail.writeBigUInt64LE(BigInt(length))
    const expected = `xxh3t:${await xxhash128(Buffer.concat([Buffer.from(joined, 'hex'), tail]))}`
    assert.is(bytesDigest(kernels, data), expected)
    assert.is(treeDigest(kernels, Buffer.from(joined, 'hex'), BigInt(length)), expected)
  }
  assert.throws(() => treeDigest(kernels, new Uint8Array(16), LEAF + 1), /internal: 16 bytes of leaf digests/)
})

test('sha256: a vector of the standard', () => {
  const expected = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  assert.is(sha256('abc'), expected)
  assert.is(sha256(Uint8Array.of(97, 98, 99)), expected)
})

test.run()
