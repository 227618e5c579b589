// Passages of 65 characters of three kinds of text, as tokens of test/fixtures/lm: from a file of passages, or from this project.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

const LENGTH = 65

/** So many of a list, evenly spread. */
const some = (list, count) =>
  Array.from({ length: count }, (_, index) => list[Math.floor((index * list.length) / count)])

/** Line breaks are 0, other characters their code less 31; characters that the models do not know are left out. */
const tokensOf = (text) =>
  [...text].flatMap((letter) => {
    const code = letter.charCodeAt(0)
    return letter === '\n' ? [0] : code >= 32 && code < 127 ? [code - 31] : []
  })

/** Texts of the project that its models never saw. */
export function ownPassages(root, count) {
  const sources = { prose: ['docs', '.md'], python: ['bench', '.py'], c: ['bench', '.c'] }
  const kinds = Object.entries(sources).map(([kind, [folder, ending]]) => {
    const files = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith(ending),
    )
    const tokens = files.sort().flatMap((name) => tokensOf(readFileSync(path.join(root, folder, name), 'utf8')))
    const step = Math.floor((tokens.length - LENGTH) / (count - 1))
    return [kind, Array.from({ length: count }, (_, index) => tokens.slice(index * step, index * step + LENGTH))]
  })
  return Object.fromEntries(kinds)
}

/** A safetensors file with U8 tensors of tokens, named by the kind of text. */
export function passagesOf(file, count) {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const { __metadata__: _, ...tensors } = JSON.parse(bytes.subarray(8, start).toString('utf8'))
  const kinds = Object.entries(tensors).map(([kind, { shape, data_offsets: offsets }]) => {
    const all = [...bytes.subarray(start + offsets[0], start + offsets[1])]
    const rows = Array.from({ length: shape[0] }, (_, row) => all.slice(row * shape[1], (row + 1) * shape[1]))
    return [kind, some(rows, count)]
  })
  return Object.fromEntries(kinds)
}
