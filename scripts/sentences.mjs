// How long the sentences of README.md and docs/ are. Headings, code blocks, tables and generated parts are skipped.
//   node scripts/sentences.mjs            one line per page
//   node scripts/sentences.mjs --long     also the sentences over 30 words
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const LONG = 30

/** The pages that people read first to last; docs/errors.md is generated. */
export const pages = () =>
  [
    'README.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'recipes/README.md',
    'bench/README.md',
    ...readdirSync(path.join(root, 'docs'))
      .filter((name) => name.endsWith('.md') && name !== 'errors.md')
      .map((name) => `docs/${name}`),
  ].filter((name) => readable(name))

const readable = (name) => {
  try {
    return readFileSync(path.join(root, name), 'utf8') !== ''
  } catch {
    return false
  }
}

/** Paragraphs and list items as plain text, with a span of code as one word. */
function paragraphs(markdown) {
  const text = markdown
    .replace(/<!-- made: [\s\S]*?<!-- end -->/g, '\n\n')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/^( *)(```|~~~)[\s\S]*?^\1\2 *$/gm, '\n\n')
    .replace(/^ {4,}\S.*$/gm, (line) => (/^ {4,}([-*]|\d+\.) /.test(line) ? line : '\n'))
    .replace(/^\s*\|.*$/gm, '\n')
    .replace(/^#+ .*$/gm, '\n')
    .replace(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/`[^`]+`/g, 'CODE')
    .replace(/[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}/g, '')
  return text
    .split(/\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )/)
    .map((block) =>
      block
        .replace(/^\s*(?:[-*]|\d+\.|>) /, '')
        .replace(/\s+/g, ' ')
        .trim(),
    )
    .filter((block) => block !== '')
}

export const sentences = (markdown) =>
  paragraphs(markdown).flatMap((block) => block.split(/(?<=[.!?]["')]?) (?=["'(]?(?:[A-Z\d]|terge\b))/))

const words = (sentence) => sentence.split(' ').filter((word) => /[\p{L}\d]/u.test(word)).length

/** Words per sentence, the share of long ones, and the long ones. */
export function measure(markdown) {
  const all = sentences(markdown)
    .map((text) => ({ text, words: words(text) }))
    .filter((sentence) => sentence.words > 2)
  const long = all.filter((sentence) => sentence.words > LONG)
  const total = all.reduce((sum, sentence) => sum + sentence.words, 0)
  return { sentences: all.length, average: total / (all.length || 1), share: long.length / (all.length || 1), long }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const texts = pages().map((page) => [page, readFileSync(path.join(root, page), 'utf8')])
  texts.push(['all pages', texts.map(([, text]) => text).join('\n\n')])
  for (const [page, text] of texts) {
    const { sentences: count, average, share, long } = measure(text)
    console.log(
      `${page}: ${count} sentences, ${average.toFixed(1)} words each, ${(100 * share).toFixed(1)} % over ${LONG}`,
    )
    if (process.argv.includes('--long') && page !== 'all pages')
      for (const sentence of long) console.log(`  ${sentence.words}: ${sentence.text}`)
  }
}
