/** Reads the pieces, their scores and the model type from the protocol buffer of a SentencePiece model. */
import { Buffer, isUtf8 } from 'node:buffer'

export interface SentencePieces {
  /** By id. */
  readonly pieces: readonly string[]
  readonly scores: readonly number[]
  readonly unigram: boolean
}

/** Fields of `ModelProto`, `SentencePiece` and `TrainerSpec`. */
const PIECES = 1
const TRAINER = 2
const TEXT = 1
const SCORE = 2
const MODEL_TYPE = 3
/** `TrainerSpec.ModelType`; also the default. */
const UNIGRAM = 1

/** How a field is stored. */
const VARINT = 0
const EIGHT_BYTES = 1
const BYTES = 2
const FOUR_BYTES = 5

/** `fail` throws an error; `most` limits the number of pieces. */
export function readSentencePieces(model: Uint8Array, most: number, fail: (what: string) => never): SentencePieces {
  const pieces: string[] = []
  const scores: number[] = []
  let unigram = true
  for (const [field, value] of fields(model, fail)) {
    if (field === TRAINER && value instanceof Uint8Array) {
      for (const [inner, type] of fields(value, fail)) if (inner === MODEL_TYPE) unigram = type === UNIGRAM
    }
    if (field !== PIECES) continue
    if (!(value instanceof Uint8Array)) fail('it has an invalid piece')
    if (pieces.length >= most) fail('it has too many pieces')
    let text = ''
    let score = 0
    for (const [inner, part] of fields(value as Uint8Array, fail)) {
      if (inner === TEXT && part instanceof Uint8Array) {
        if (!isUtf8(part)) fail(`piece ${pieces.length} is not UTF-8`)
        text = Buffer.from(part.buffer, part.byteOffset, part.length).toString('utf8')
      } else if (inner === SCORE && part instanceof Uint8Array && part.length === 4)
        score = new DataView(part.buffer, part.byteOffset, 4).getFloat32(0, true)
    }
    pieces.push(text)
    scores.push(score)
  }
  if (pieces.length === 0) fail('it has no pieces')
  return { pieces, scores, unigram }
}

/** The fields of a message in order: numbers for varints, bytes for all others. */
function* fields(bytes: Uint8Array, fail: (what: string) => never): Generator<readonly [number, number | Uint8Array]> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; scale <= 2 ** 63; scale *= 128) {
      const byte = bytes[at++]
      if (byte === undefined) return fail('it ends inside a field')
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    return fail('it has an unterminated number')
  }
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) fail('it ends inside a field')
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const key = varint()
    const field = Math.floor(key / 8)
    switch (key % 8) {
      case VARINT:
        yield [field, varint()]
        break
      case EIGHT_BYTES:
        yield [field, take(8)]
        break
      case BYTES:
        yield [field, take(varint())]
        break
      case FOUR_BYTES:
        yield [field, take(4)]
        break
      default:
        fail('it is not a protocol buffer')
    }
  }
}
