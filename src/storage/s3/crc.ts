/** The checksums that S3 stores: CRC-32, CRC-32C and CRC-64/NVME, all reflected, with ones at the start and the end. */

/** Reflected polynomials: the upper and the lower 32 bits. */
const POLYNOMIALS = {
  crc32: [0, 0xedb88320],
  crc32c: [0, 0x82f63b78],
  crc64nvme: [0x9a6c9329, 0xac4bc9b5],
} as const

export type CrcName = keyof typeof POLYNOMIALS

export interface Crc {
  update(bytes: Uint8Array): void
  /** Big-endian, in base64, as S3 writes it. */
  text(): string
}

interface Table {
  readonly high: Int32Array
  readonly low: Int32Array
}

const tables = new Map<CrcName, Table>()

function tableOf(name: CrcName): Table {
  const found = tables.get(name)
  if (found) return found
  const [upper, lower] = POLYNOMIALS[name]
  const table: Table = { high: new Int32Array(256), low: new Int32Array(256) }
  for (let byte = 0; byte < 256; byte++) {
    let [high, low] = [0, byte]
    for (let bit = 0; bit < 8; bit++) {
      const odd = low & 1
      low = (low >>> 1) | (high << 31)
      high >>>= 1
      if (odd) [high, low] = [high ^ upper, low ^ lower]
    }
    table.high[byte] = high
    table.low[byte] = low
  }
  tables.set(name, table)
  return table
}

export function crc(name: CrcName): Crc {
  const { high: upper, low: lower } = tableOf(name)
  const wide = name === 'crc64nvme'
  let high = wide ? -1 : 0
  let low = -1
  return {
    update(bytes) {
      for (let at = 0; at < bytes.length; at++) {
        const index = (low ^ bytes[at]!) & 255
        low = ((low >>> 8) | (high << 24)) ^ lower[index]!
        high = (high >>> 8) ^ upper[index]!
      }
    },
    text() {
      const bytes = Buffer.alloc(wide ? 8 : 4)
      if (wide) bytes.writeInt32BE(~high, 0)
      bytes.writeInt32BE(~low, wide ? 4 : 0)
      return bytes.toString('base64')
    },
  }
}
