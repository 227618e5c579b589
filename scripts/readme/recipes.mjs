// The recipes of recipes/ with the first sentences of their own comments.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { table } from './markdown.mjs'

const folder = fileURLToPath(new URL('../../recipes/', import.meta.url))

export function recipeTable() {
  const names = readdirSync(folder, { recursive: true })
    .map((name) => name.split(path.sep).join('/'))
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
  return table(
    ['recipe', 'shows'],
    names.map((name) => [`[${name}](${name})`, about(readFileSync(path.join(folder, name), 'utf8'))]),
  )
}

/** The comment at its top, after the line for editors, up to the first full stop. */
function about(text) {
  const comment = []
  for (const line of text.split('\n').filter((line) => !line.includes('yaml-language-server'))) {
    if (!line.startsWith('#')) break
    comment.push(line.replace(/^# ?/, ''))
  }
  const all = comment.join(' ')
  return /^.*?\.(?= [A-Z]|$)/.exec(all)?.[0] ?? all
}
