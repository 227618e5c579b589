/** XXH3-128, seed 0, default secret, in whole numbers: the law that assembly/memory/digest.ts is held to. After the public description of xxHash 0.8. */

const SECRET = Buffer.from(
  'b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221' +
    'b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8' +
    'a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb' +
    '170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e',
  'hex',
)
const [P32_1, P32_2, P32_3] = [0x9e3779b1n, 0x85ebca77n, 0xc2b2ae3dn]
const P64_1 = 0x9e3779b185ebca87n
const P64_2 = 0xc2b2ae3d27d4eb4fn
const P64_3 = 0x165667b19e3779f9n
const P64_4 = 0x85ebca77c2b2ae63n
const P64_5 = 0x27d4eb2f165667c5n
const MIX_1 = 0x165667919e3779f9n
const MIX_2 = 0x9fb21c651e98df25n

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x)
const u32 = (x: bigint): bigint => BigInt.asUintN(32, x)
const low = (product: bigint): bigint => u64(product)
const high = (product: bigint): bigint => product >> 64n
const fold = (a: bigint, b: bigint): bigint => low(a * b) ^ high(a * b)
const shifted = (x: bigint, bits: bigint): bigint => x ^ (x >> bits)
const avalanche = (h: bigint): bigint => shifted(u64(shifted(h, 37n) * MIX_1), 32n)
const avalanche64 = (h: bigint): bigint => shifted(u64(shifted(u64(shifted(h, 33n) * P64_2), 29n) * P64_3), 32n)

type Words = readonly [low: bigint, high: bigint]

function swap(x: bigint, bytes: number): bigint {
  let swapped = 0n
  for (let i = 0n; i < bytes; i++) swapped = (swapped << 8n) | ((x >> (8n * i)) & 0xffn)
  return swapped
}

/** Digest of 16 bytes, big-endian, high word first. */
export function xxh3(bytes: Uint8Array): Uint8Array {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const [l, h] = words(data)
  const out = Buffer.alloc(16)
  out.writeBigUInt64BE(h, 0)
  out.writeBigUInt64BE(l, 8)
  return out
}

const words = (data: Buffer): Words => {
  const n = data.length
  if (n === 0) return [avalanche64(key(64) ^ key(72)), avalanche64(key(80) ^ key(88))]
  if (n <= 3) return upTo3(data)
  if (n <= 8) return upTo8(data)
  if (n <= 16) return upTo16(data)
  if (n <= 240) return upTo240(data)
  return long(data)
}

const key = (at: number): bigint => SECRET.readBigUInt64LE(at)
const key32 = (at: number): bigint => BigInt(SECRET.readUInt32LE(at))

function upTo3(data: Buffer): Words {
  const n = data.length
  const combined = BigInt((data[0]! << 16) | (data[n >> 1]! * 2 ** 24) | data[n - 1]! | (n << 8)) & 0xffffffffn
  const swapped = swap(combined, 4)
  const rotated = u32((swapped << 13n) | (swapped >> 19n))
  return [avalanche64(combined ^ key32(0) ^ key32(4)), avalanche64(rotated ^ key32(8) ^ key32(12))]
}

function upTo8(data: Buffer): Words {
  const n = data.length
  const input = BigInt(data.readUInt32LE(0)) | (BigInt(data.readUInt32LE(n - 4)) << 32n)
  const product = (input ^ key(16) ^ key(24)) * u64(P64_1 + BigInt(n << 2))
  const h = u64(high(product) + (low(product) << 1n))
  const l = u64(shifted(low(product) ^ (h >> 3n), 35n) * MIX_2)
  return [shifted(l, 28n), avalanche(h)]
}

function upTo16(data: Buffer): Words {
  const n = data.length
  const last = data.readBigUInt64LE(n - 8)
  const product = (data.readBigUInt64LE(0) ^ last ^ key(32) ^ key(40)) * P64_1
  const keyed = last ^ key(48) ^ key(56)
  const h = u64(high(product) + keyed + u32(keyed) * (P32_2 - 1n))
  const l = u64(low(product) + (BigInt(n - 1) << 54n)) ^ swap(h, 8)
  const second = l * P64_2
  return [avalanche(low(second)), avalanche(u64(high(second) + h * P64_2))]
}

function upTo240(data: Buffer): Words {
  const n = data.length
  let [l, h] = [u64(BigInt(n) * P64_1), 0n]
  const pair = (at: number): Words => [data.readBigUInt64LE(at), data.readBigUInt64LE(at + 8)]
  const mix = (at: number, secret: number): bigint => fold(pair(at)[0] ^ key(secret), pair(at)[1] ^ key(secret + 8))
  const step = (first: number, second: number, secret: number): void => {
    l = u64(l + mix(first, secret)) ^ u64(pair(second)[0] + pair(second)[1])
    h = u64(h + mix(second, secret + 16)) ^ u64(pair(first)[0] + pair(first)[1])
  }
  if (n <= 128) for (let i = (n - 1) >> 5; i >= 0; i--) step(16 * i, n - 16 * (i + 1), 32 * i)
  else {
    for (let i = 0; i < 128; i += 32) step(i, i + 16, i)
    l = avalanche(l)
    h = avalanche(h)
    for (let i = 128; i + 32 <= n; i += 32) step(i, i + 16, i - 125)
    step(n - 16, n - 32, 103)
  }
  return [avalanche(u64(l + h)), u64(-avalanche(u64(l * P64_1 + h * P64_4 + BigInt(n) * P64_2)))]
}

function long(data: Buffer): Words {
  const n = data.length
  const sums = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
  const stripe = (at: number, secret: number): void => {
    for (let i = 0; i < 8; i++) {
      const word = data.readBigUInt64LE(at + 8 * i)
      const keyed = word ^ key(secret + 8 * i)
      sums[i ^ 1] = u64(sums[i ^ 1]! + word)
      sums[i] = u64(sums[i]! + u32(keyed) * (keyed >> 32n))
    }
  }
  const stripes = Math.floor((n - 1) / 64)
  for (let s = 0; s < stripes; s++) {
    stripe(64 * s, 8 * (s % 16))
    if (s % 16 === 15) for (let i = 0; i < 8; i++) sums[i] = u64((shifted(sums[i]!, 47n) ^ key(128 + 8 * i)) * P32_1)
  }
  stripe(n - 64, 121)
  const merge = (secret: number, start: bigint): bigint => {
    let result = start
    for (let i = 0; i < 8; i += 2)
      result += fold(sums[i]! ^ key(secret + 8 * i), sums[i + 1]! ^ key(secret + 8 * i + 8))
    return avalanche(u64(result))
  }
  return [merge(11, u64(BigInt(n) * P64_1)), merge(117, u64(~(BigInt(n) * P64_2)))]
}
